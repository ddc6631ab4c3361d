/* The CPU as a back end: forward.c behind the table that sessions call. */
#include <stdlib.h>

#include "engine/backend.h"
#include "engine/cpu/forward.h"

struct cpu_backend {
  struct backend base;
  struct forward *forward;
};

static struct forward *forward_of(const struct backend *b) {
  return ((const struct cpu_backend *)b)->forward;
}

static sluice_status open_cpu(const struct model *m, const struct backend_options *o, struct backend **out,
                              struct sluice_error *err) {
  const struct kernels *kernels;
  if (o->weights)
    return sluice_fail(err, SLUICE_USAGE, "weights '%s': the CPU takes weights as the files have them", o->weights);
  sluice_status st = kernels_find(o->kernel, &kernels, err);
  if (st) return st;
  struct cpu_backend *b = calloc(1, sizeof *b);
  if (!b) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  st = forward_open(m, kernels, o->threads, &b->forward, err);
  if (st) {
    free(b);
    return st;
  }
  *out = &b->base;
  return SLUICE_OK;
}

static void close_cpu(struct backend *b) {
  forward_close(forward_of(b));
  free(b);
}

static const char *kernel(const struct backend *b) {
  return forward_kernels(forward_of(b))->name;
}

static size_t width(const struct backend *b) {
  return forward_width(forward_of(b));
}

static const struct kv_place *place(struct backend *b) {
  (void)b;
  return &kv_in_host_memory;
}

static sluice_status reserve(struct backend *b, uint32_t slots, enum key_form form, struct sluice_error *err) {
  return forward_reserve(forward_of(b), slots, form, err);
}

static sluice_status run(struct backend *b, struct kv_store *s, const struct forward_plan *plan, const int32_t *ids,
                         const struct backend_result *want, struct sluice_error *err) {
  (void)err;
  forward_run(forward_of(b), &(struct backend_job){s, plan, ids, *want});
  return SLUICE_OK;
}

static sluice_status run_batch(struct backend *b, const struct backend_job *jobs, size_t n, struct sluice_error *err) {
  return forward_run_batch(forward_of(b), jobs, n, err);
}

static sluice_status logits(struct backend *b, const float *hidden, float *to, struct sluice_error *err) {
  (void)err;
  forward_logits(forward_of(b), hidden, 1, to);
  return SLUICE_OK;
}

static void watch(struct backend *b, layer_watch_fn fn, void *ctx) {
  forward_watch(forward_of(b), fn, ctx);
}

const struct backend_ops backend_cpu = {
    .name = "cpu",
    .open = open_cpu,
    .close = close_cpu,
    .kernel = kernel,
    .width = width,
    .chunk_max = CPU_CHUNK,
    .place = place,
    .reserve = reserve,
    .run = run,
    .run_batch = run_batch,
    .logits = logits,
    .watch = watch,
};
