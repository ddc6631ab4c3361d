#include "engine/backend.h"

#include <string.h>

#include "engine/cpu/rope.h"

static sluice_status find(const char *device, const struct backend_ops **out, struct sluice_error *err) {
  static const char *const names[] = {"cpu", "cuda", NULL};
  if (!device || strcmp(device, "cpu") == 0) {
    *out = &backend_cpu;
    return SLUICE_OK;
  }
  if (strcmp(device, "cuda") == 0) {
    const void *found = NULL;
    sluice_status st = cuda_symbol("backend_cuda", &found, err);
    *out = found;
    return st;
  }
  const char *near = suggest(device, names);
  if (near) return sluice_fail(err, SLUICE_USAGE, "device '%.40s': did you mean '%s'?", device, near);
  return sluice_fail(err, SLUICE_USAGE, "device '%.40s': cpu or cuda", device);
}

/* Devices keep one frequency a pair of dimensions and one factor of all scores. */
static sluice_status check_rotation(const struct model *m, const struct backend_ops *ops, struct sluice_error *err) {
  if (ops == &backend_cpu || rope_score_factor(&m->config) > 0) return SLUICE_OK;
  static const char *const types[] = {[ROPE_DYNAMIC] = "dynamic", [ROPE_YARN] = "yarn", [ROPE_LONG] = "longrope"};
  return sluice_fail(err, SLUICE_UNSUPPORTED, "device '%s': rope_scaling of type \"%s\"%s is done on the CPU alone",
                     ops->name, types[m->config.rope_scaling.type],
                     m->config.rope_scaling.type == ROPE_DYNAMIC ? "" : " in a part of each head");
}

sluice_status backend_open(const struct model *m, const struct backend_options *o, struct backend **out,
                           struct sluice_error *err) {
  const struct backend_ops *ops = NULL;
  const struct kernels *host = NULL;
  sluice_status st = find(o->device, &ops, err);
  if (!st) st = check_rotation(m, ops, err);
  if (!st) st = kernels_find(ops == &backend_cpu ? o->kernel : NULL, &host, err);
  if (!st) st = ops->open(m, o, out, err);
  if (st) return st;
  (*out)->ops = ops;
  (*out)->model = m;
  (*out)->host = host;
  (*out)->shares = 1;
  return SLUICE_OK;
}

struct backend *backend_share(struct backend *b) {
  b->shares++;
  return b;
}

void backend_close(struct backend *b) {
  if (b && --b->shares == 0) b->ops->close(b);
}
