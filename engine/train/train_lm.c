/* `sluice train lm`: the loop. One step = one batch of a stage, gradient, clip, AdamW. Deterministic from the seed for
 * one kernel and number of lanes; a checkpoint holds all that the next step depends on, so that a resumed run is the
 * same run. */
#include "engine/model/config.h"
#include "engine/train/batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_EVERY = 20 };

struct run {
  const struct train_options *options;
  struct net_shape shape;
  struct model_config config;
  struct tokenizer *tokenizer;
  struct batcher *batcher;
  const struct train_backend *backend;
  struct train_device *device;
  struct train_state state;
  uint64_t fingerprint;
  char *checkpoint;
  FILE *log;
  struct net_result since; /* results since the last line of the log */
  double weights_since, norm_since;
  int64_t began_ns, began_tokens;
};

/* Normal(0, 0.02), the two matrices that write to the residual stream scaled by 1/sqrt(2 L) (GPT-2); norms are 1. */
static void initialise(const struct net_shape *s, uint64_t seed, float *params) {
  struct rng r;
  rng_seed_named(&r, seed, "weights");
  for (size_t i = 0; i < s->size; i++) params[i] = (float)(0.02 * rng_normal(&r));
  const float residual = (float)(1.0 / sqrt(2.0 * s->L));
  for (int l = 0; l < s->L; l++) {
    const struct net_layer *y = &s->layer[l];
    for (size_t i = y->wo; i < y->norm2; i++) params[i] *= residual;
    const size_t down = (size_t)s->D * (size_t)s->F;
    for (size_t i = y->wdown; i < y->wdown + down; i++) params[i] *= residual;
    for (int d = 0; d < s->D; d++) params[y->norm1 + (size_t)d] = params[y->norm2 + (size_t)d] = 1;
  }
  for (int d = 0; d < s->D; d++) params[s->final_norm + (size_t)d] = 1;
}

static sluice_status fingerprint(struct run *r, struct sluice_error *err) {
  const struct train_options *o = r->options;
  struct buffer b;
  buffer_init(&b, 1 << 20);
  sluice_status st = buffer_printf(
      &b, err, "%s|%d %d %d %d %d %d %d %.9g|%.17g %.17g %.17g %.17g %.17g %.17g %.17g %.17g %.17g|%llu %d %s",
      tokenizer_hash(r->tokenizer), r->shape.V, r->shape.D, r->shape.L, r->shape.H, r->shape.KV, r->shape.hd,
      r->shape.F, r->shape.theta, o->lr, o->lr_end, o->warmup_steps, o->weight_decay, o->clip, o->beta1, o->beta2,
      o->adam_eps, o->answer_weight, (unsigned long long)o->seed, o->lanes, o->precision);
  for (int i = 0; !st && i < o->n_stages; i++)
    st = buffer_printf(&b, err, "|%d %d %d", o->stages[i].length, o->stages[i].batch, o->stages[i].steps);
  if (!st) r->fingerprint = hash64(b.ptr, b.len);
  buffer_free(&b);
  return st;
}

static void run_close(struct run *r) {
  if (r->device) r->backend->close(r->device);
  batcher_close(r->batcher);
  if (r->tokenizer) tokenizer_close(r->tokenizer);
  if (r->log) fclose(r->log);
  free(r->state.params), free(r->state.m), free(r->state.v);
  free(r->checkpoint);
}

static sluice_status check_options(const struct train_options *o, struct sluice_error *err) {
  if (o->n_stages < 1)
    return sluice_fail(err, SLUICE_USAGE, "no stage: give --stage FILE:LENGTH:BATCH:STEPS at least once");
  if (o->lanes < 1 || o->lanes > 256) return sluice_fail(err, SLUICE_USAGE, "lanes: 1..256, not %d", o->lanes);
  if (strcmp(o->precision, "f32") != 0 && strcmp(o->precision, "bf16") != 0)
    return sluice_fail(err, SLUICE_USAGE, "precision '%s': f32 or bf16", o->precision);
  return SLUICE_OK;
}

static sluice_status open_state(struct run *r, struct sluice_error *err) {
  struct train_state *s = &r->state;
  s->size = r->shape.size;
  s->params = malloc(s->size * sizeof(float)), s->m = calloc(s->size, sizeof(float)),
  s->v = calloc(s->size, sizeof(float));
  if (!s->params || !s->m || !s->v) return sluice_fail(err, SLUICE_NOMEM, "out of memory for %zu parameters", s->size);
  initialise(&r->shape, r->options->seed, s->params);
  if (!r->options->resume || !file_exists(r->checkpoint)) return SLUICE_OK;
  sluice_status st = checkpoint_read(r->checkpoint, s, r->fingerprint, err);
  if (!st) log_line(LOG_INFO, "resuming at step %lld from %s", (long long)s->step, r->checkpoint);
  return st;
}

static sluice_status run_open(struct run *r, struct sluice_error *err) {
  const struct train_options *o = r->options;
  sluice_status st = check_options(o, err);
  if (!st) st = model_config_read(o->config, &r->config, err);
  if (!st) st = net_shape_from_config(&r->config, &r->shape, err);
  if (!st) st = tokenizer_open(o->tokenizer, &r->tokenizer, err);
  if (!st && tokenizer_size(r->tokenizer) > r->shape.V)
    st = sluice_fail(err, SLUICE_USAGE, "%s has %d tokens, %s says vocab_size %d", o->tokenizer,
                     tokenizer_size(r->tokenizer), o->config, r->shape.V);
  if (!st && tokenizer_find(r->tokenizer, "<s>") < 0)
    st = sluice_fail(err, SLUICE_USAGE,
                     "%s has no token <s>, with which every sequence begins; make one with `sluice train tokenizer`",
                     o->tokenizer);
  if (!st) st = batcher_open(o, r->tokenizer, &r->batcher, err);
  if (!st) st = file_make_dirs(o->out, err);
  if (!st && !(r->checkpoint = sluice_format("%s/checkpoint", o->out)))
    st = sluice_fail(err, SLUICE_NOMEM, "out of memory");
  if (!st) st = fingerprint(r, err);
  if (!st) st = train_backend_find(o->device, &r->backend, err);
  if (!st) st = open_state(r, err);
  if (st || o->export_only) return st;
  st = r->backend->open(o, &r->shape, batcher_max_length(r->batcher), batcher_max_batch(r->batcher), r->state.params,
                        &r->device, err);
  if (!st && r->state.step > 0) st = r->backend->set(r->device, &r->state, err);
  if (st) return st;
  char *path = sluice_format("%s/train.log", o->out);
  r->log = path ? fopen(path, r->state.step > 0 ? "a" : "w") : NULL;
  free(path);
  return r->log ? SLUICE_OK : sluice_fail(err, SLUICE_IO, "%s/train.log: cannot be opened for writing", o->out);
}

/* A line of the log (JSON, no clock in it: two equal runs write equal logs), and one for people on stderr. */
static void report(struct run *r, int stage, double lr, int steps) {
  const struct net_result *s = &r->since;
  const double text = s->text_tokens ? s->text_nats / (double)s->text_tokens : 0;
  const double answer = s->answer_tokens ? s->answer_nats / (double)s->answer_tokens : 0;
  const double hits = s->answer_tokens ? (double)s->answer_hits / (double)s->answer_tokens : 0;
  const double loss = r->weights_since > 0 ? s->loss / r->weights_since : 0;
  fprintf(r->log,
          "{\"step\":%lld,\"stage\":%d,\"tokens\":%lld,\"loss\":%.6f,\"text_nats\":%.6f,\"answer_nats\":%.6f,\"answer_"
          "hits\":%.4f,"
          "\"lr\":%.6g,\"grad_norm\":%.5f}\n",
          (long long)r->state.step, stage + 1, (long long)r->state.tokens, loss, text, answer, hits, lr,
          r->norm_since / steps);
  fflush(r->log);
  const double seconds = (double)(clock_mono_ns() - r->began_ns) / 1e9;
  const double rate = seconds > 0 ? (double)(r->state.tokens - r->began_tokens) / seconds : 0;
  const int64_t total = batcher_steps(r->batcher);
  fprintf(stderr,
          "step %lld/%lld  stage %d  loss %.4f  text %.4f  answers %.4f (%.1f%% right)  lr %.2e  %.1fM tokens  %.0f "
          "tok/s\n",
          (long long)r->state.step, (long long)total, stage + 1, loss, text, answer, 100 * hits, lr,
          (double)r->state.tokens / 1e6, rate);
  memset(&r->since, 0, sizeof r->since);
  r->weights_since = r->norm_since = 0;
}

/* The checkpoint, and the folder beside it, so that a run can be tried out while it goes on. */
static sluice_status save(struct run *r, struct sluice_error *err) {
  sluice_status st = r->backend->get(r->device, &r->state, err);
  if (!st) st = checkpoint_write(r->checkpoint, &r->state, r->fingerprint, err);
  return st ? st : train_export(r->options, &r->shape, r->state.params, err);
}

static sluice_status one_step(struct run *r, int *stage, double *lr, struct sluice_error *err) {
  struct net_batch batch;
  struct net_result result;
  double weight_sum, norm;
  const int64_t step = r->state.step;
  *lr = learning_rate(r->options, step, batcher_steps(r->batcher));
  sluice_status st = batcher_fill(r->batcher, step, &batch, &weight_sum, stage, err);
  if (!st) st = r->backend->gradient(r->device, &batch, &result, err);
  if (!st) st = r->backend->update(r->device, *lr, step + 1, &norm, err);
  if (st) return st;
  r->since.loss += result.loss, r->since.text_nats += result.text_nats, r->since.answer_nats += result.answer_nats;
  r->since.text_tokens += result.text_tokens, r->since.answer_tokens += result.answer_tokens,
      r->since.answer_hits += result.answer_hits;
  r->weights_since += weight_sum, r->norm_since += norm;
  r->state.step++;
  r->state.tokens += (int64_t)batch.sequences * batch.length;
  return SLUICE_OK;
}

static sluice_status run_loop(struct run *r, struct sluice_error *err) {
  const int64_t total = batcher_steps(r->batcher), every = r->options->checkpoint_every;
  int pending = 0;
  r->began_ns = clock_mono_ns(), r->began_tokens = r->state.tokens;
  while (r->state.step < total) {
    int stage = 0;
    double lr = 0;
    sluice_status st = one_step(r, &stage, &lr, err);
    if (st) return st;
    pending++;
    const bool last = r->state.step == total, stop = signal_interrupted() != 0;
    if (r->state.step % LOG_EVERY == 0 || last) report(r, stage, lr, pending), pending = 0;
    if ((every > 0 && r->state.step % every == 0) || last || stop)
      if ((st = save(r, err)) != SLUICE_OK) return st;
    if (stop)
      return sluice_fail(err, SLUICE_INTERRUPTED, "stopped at step %lld; the same command with --resume goes on",
                         (long long)r->state.step);
  }
  return SLUICE_OK;
}

sluice_status train_lm(const struct train_options *o, struct sluice_error *err) {
  struct run r = {.options = o};
  sluice_status st = run_open(&r, err);
  if (!st) st = o->export_only ? train_export(o, &r.shape, r.state.params, err) : run_loop(&r, err);
  run_close(&r);
  return st;
}
