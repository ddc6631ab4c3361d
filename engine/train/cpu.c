/* The CPU back end of the trainer. A batch is cut into `lanes` fixed parts; each lane runs its sequences alone and sums
 * into a gradient of its own; gradients are then added in lane order. So the result depends on the number of lanes, and
 * neither on threads nor on timing. */
#include "engine/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 4096 }; /* tokens of one forward pass: bounds a lane's memory */

struct lane_work {
  struct net_lane *lane;
  float *grad;
  struct net_result result;
  double square; /* sum of squares of its range of the summed gradient */
};

struct train_device {
  const struct net_kernels *kernels;
  const struct net_shape *shape;
  struct team *team;
  int lanes;
  bool bf16;
  double clip;
  struct lane_work *work;
  float *params;
  struct adamw adamw;
  const struct net_batch *batch; /* the one in flight */
  float grad_scale;
  double lr;
  int64_t t;
};

static void range_of(const struct train_device *d, int lane, size_t *from, size_t *to) {
  const size_t chunk = (d->shape->size / (size_t)d->lanes + 15) / 16 * 16;
  *from = chunk * (size_t)lane < d->shape->size ? chunk * (size_t)lane : d->shape->size;
  *to = lane + 1 == d->lanes || *from + chunk > d->shape->size ? d->shape->size : *from + chunk;
}

static void cpu_close(struct train_device *d) {
  if (!d) return;
  if (d->team) team_stop(d->team);
  for (int i = 0; d->work && i < d->lanes; i++) {
    if (d->work[i].lane) d->kernels->lane_close(d->work[i].lane);
    free(d->work[i].grad);
  }
  free(d->work);
  free(d->params);
  free(d->adamw.m);
  free(d->adamw.v);
  free(d);
}

static int rows_at_once(int max_length, int max_batch, int lanes) {
  const int64_t share = (int64_t)max_length * ((max_batch + lanes - 1) / lanes);
  const int most = ROWS_AT_ONCE > max_length ? ROWS_AT_ONCE : max_length;
  return share < most ? (int)share : most;
}

static sluice_status cpu_open(const struct train_options *o, const struct net_shape *s, int max_length, int max_batch,
                              const float *params, struct train_device **out, struct sluice_error *err) {
  struct train_device *d = calloc(1, sizeof *d);
  if (!d) return sluice_fail(err, SLUICE_NOMEM, "out of memory for the trainer");
  d->shape = s, d->lanes = o->lanes, d->clip = o->clip, d->bf16 = strcmp(o->precision, "bf16") == 0;
  d->adamw = (struct adamw){o->beta1, o->beta2, o->adam_eps, o->weight_decay, calloc(s->size, 4), calloc(s->size, 4)};
  d->params = malloc(s->size * sizeof *d->params);
  d->work = calloc((size_t)d->lanes, sizeof *d->work);
  sluice_status st = SLUICE_OK;
  if (!d->adamw.m || !d->adamw.v || !d->params || !d->work)
    st = sluice_fail(err, SLUICE_NOMEM, "out of memory for %zu parameters and their moments", s->size);
  if (!st) memcpy(d->params, params, s->size * sizeof *params);
  if (!st) st = network_kernels(NULL, d->bf16, &d->kernels, err);
  if (!st) st = team_start(d->lanes, &d->team, err);
  for (int i = 0; !st && i < d->lanes; i++) {
    st = d->kernels->lane_open(s, rows_at_once(max_length, max_batch, d->lanes), max_length, &d->work[i].lane, err);
    if (!st && !(d->work[i].grad = calloc(s->size, sizeof(float))))
      st = sluice_fail(err, SLUICE_NOMEM, "out of memory for gradients");
  }
  if (st) {
    cpu_close(d);
    return st;
  }
  *out = d;
  return SLUICE_OK;
}

static void result_add(struct net_result *a, const struct net_result *b) {
  a->loss += b->loss, a->text_nats += b->text_nats, a->answer_nats += b->answer_nats;
  a->text_tokens += b->text_tokens, a->answer_tokens += b->answer_tokens, a->answer_hits += b->answer_hits;
}

static void lane_gradient(void *ctx, int lane) {
  struct train_device *d = ctx;
  struct lane_work *w = &d->work[lane];
  const struct net_batch *all = d->batch;
  const int from = all->sequences * lane / d->lanes, to = all->sequences * (lane + 1) / d->lanes;
  const int at_once = ROWS_AT_ONCE > all->length ? ROWS_AT_ONCE / all->length : 1;
  memset(&w->result, 0, sizeof w->result);
  for (int i = from; i < to; i += at_once) {
    const size_t at = (size_t)i * (size_t)all->length;
    const struct net_batch part = {to - i < at_once ? to - i : at_once,
                                   all->length,
                                   all->tokens + at,
                                   all->targets + at,
                                   all->weights + at,
                                   all->scale};
    struct net_result r;
    d->kernels->step(w->lane, d->shape, d->params, w->grad, &part, d->bf16, &r);
    result_add(&w->result, &r);
  }
}

static sluice_status cpu_gradient(struct train_device *d, const struct net_batch *batch, struct net_result *out,
                                  struct sluice_error *err) {
  (void)err;
  d->batch = batch;
  team_run(d->team, lane_gradient, d);
  memset(out, 0, sizeof *out);
  for (int i = 0; i < d->lanes; i++) result_add(out, &d->work[i].result);
  return SLUICE_OK;
}

/* Adds the other lanes' gradients into lane 0's over one range, and sums its squares. */
static void lane_sum(void *ctx, int lane) {
  struct train_device *d = ctx;
  size_t from, to;
  range_of(d, lane, &from, &to);
  float *sum = d->work[0].grad;
  double square = 0;
  for (int i = 1; i < d->lanes; i++) {
    float *g = d->work[i].grad;
    for (size_t k = from; k < to; k++) sum[k] += g[k];
    memset(g + from, 0, (to - from) * sizeof *g);
  }
  for (size_t k = from; k < to; k++) square += (double)sum[k] * (double)sum[k];
  d->work[lane].square = square;
}

static void lane_update(void *ctx, int lane) {
  struct train_device *d = ctx;
  size_t from, to;
  range_of(d, lane, &from, &to);
  adamw_step(&d->adamw, d->params, d->work[0].grad, d->grad_scale, d->lr, d->t, from, to, d->shape);
  memset(d->work[0].grad + from, 0, (to - from) * sizeof(float));
}

static sluice_status cpu_update(struct train_device *d, double lr, int64_t t, double *grad_norm,
                                struct sluice_error *err) {
  team_run(d->team, lane_sum, d);
  double square = 0;
  for (int i = 0; i < d->lanes; i++) square += d->work[i].square;
  *grad_norm = sqrt(square);
  if (!isfinite(*grad_norm))
    return sluice_fail(err, SLUICE_INPUT, "step %lld: the gradient is not finite; lower --lr", (long long)t);
  d->grad_scale = d->clip > 0 && *grad_norm > d->clip ? (float)(d->clip / *grad_norm) : 1.0f;
  d->lr = lr;
  d->t = t;
  team_run(d->team, lane_update, d);
  return SLUICE_OK;
}

static sluice_status cpu_get(struct train_device *d, struct train_state *s, struct sluice_error *err) {
  (void)err;
  const size_t bytes = s->size * sizeof(float);
  memcpy(s->params, d->params, bytes), memcpy(s->m, d->adamw.m, bytes), memcpy(s->v, d->adamw.v, bytes);
  return SLUICE_OK;
}

static sluice_status cpu_set(struct train_device *d, const struct train_state *s, struct sluice_error *err) {
  (void)err;
  const size_t bytes = s->size * sizeof(float);
  memcpy(d->params, s->params, bytes), memcpy(d->adamw.m, s->m, bytes), memcpy(d->adamw.v, s->v, bytes);
  return SLUICE_OK;
}

const struct train_backend train_backend_cpu = {"cpu", cpu_open, cpu_close, cpu_gradient, cpu_update, cpu_get, cpu_set};
