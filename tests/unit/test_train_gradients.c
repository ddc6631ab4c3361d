/* The trainer's gradients against finite differences in float64: network.inc itself, compiled with double, on random
 * small networks; every kind of parameter is checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NET_DOUBLE 1
#define TRAIN_REAL double
#define NET_NAME "double"
#define NET(name) name##_double
#include "engine/train/network.inc"

struct problem {
  struct net_shape shape;
  double *params, *grad;
  int32_t *tokens, *targets;
  double *weights;
  struct net_batch batch;
  struct net_lane *lane;
};

/* The same layout as network.c makes, written out again so that the test does not trust it. */
static void shape_make(struct net_shape *s, int V, int D, int L, int H, int KV, int hd, int F) {
  memset(s, 0, sizeof *s);
  s->V = V, s->D = D, s->L = L, s->H = H, s->KV = KV, s->hd = hd, s->F = F, s->eps = 1e-5, s->theta = 10000;
  size_t n = (size_t)(V * D);
  for (int i = 0; i < L; i++) {
    s->layer[i].norm1 = n, n += (size_t)D;
    s->layer[i].wqkv = n, n += (size_t)((H + 2 * KV) * hd * D);
    s->layer[i].wo = n, n += (size_t)(D * H * hd);
    s->layer[i].norm2 = n, n += (size_t)D;
    s->layer[i].wgu = n, n += (size_t)(2 * F * D);
    s->layer[i].wdown = n, n += (size_t)(D * F);
  }
  s->final_norm = n;
  s->size = n + (size_t)D;
}

static void problem_open(struct problem *p, int sequences, int length, uint64_t seed) {
  struct rng r;
  struct sluice_error err;
  rng_seed(&r, seed);
  p->params = calloc(p->shape.size, sizeof(double));
  p->grad = calloc(p->shape.size, sizeof(double));
  const size_t rows = (size_t)(sequences * length);
  p->tokens = calloc(rows, sizeof *p->tokens);
  p->targets = calloc(rows, sizeof *p->targets);
  p->weights = calloc(rows, sizeof *p->weights);
  for (size_t i = 0; i < p->shape.size; i++) p->params[i] = 0.3 * rng_normal(&r);
  double sum = 0;
  for (size_t i = 0; i < rows; i++) {
    p->tokens[i] = (int32_t)rng_below(&r, (uint32_t)p->shape.V);
    p->targets[i] = (int32_t)rng_below(&r, (uint32_t)p->shape.V);
    p->weights[i] = (double)rng_below(&r, 3); /* 0, 1 and an up-weighted 2 */
    sum += p->weights[i];
  }
  p->batch = (struct net_batch){sequences, length, p->tokens, p->targets, p->weights, 1 / sum};
  assert_int_equal(lane_open_double(&p->shape, (int)rows, length, &p->lane, &err), SLUICE_OK);
}

static void problem_close(struct problem *p) {
  lane_close_double(p->lane);
  free(p->params), free(p->grad), free(p->tokens), free(p->targets), free(p->weights);
}

static double loss_of(struct problem *p) {
  struct net_result r;
  step_double(p->lane, &p->shape, p->params, NULL, &p->batch, false, &r);
  return r.loss * p->batch.scale;
}

static void check(struct problem *p, uint64_t seed) {
  struct net_result r;
  step_double(p->lane, &p->shape, p->params, p->grad, &p->batch, false, &r);
  struct rng g;
  rng_seed(&g, seed);
  for (int k = 0; k < 400; k++) {
    /* The first tries walk the small arrays (norms) on purpose; the others fall anywhere. */
    size_t i = rng_below(&g, (uint32_t)p->shape.size);
    if (k < 40)
      i = p->shape.layer[k % p->shape.L].norm1 + (size_t)(k % p->shape.D);
    else if (k < 80)
      i = p->shape.layer[k % p->shape.L].norm2 + (size_t)(k % p->shape.D);
    else if (k < 100)
      i = p->shape.final_norm + (size_t)(k % p->shape.D);
    const double was = p->params[i], h = 1e-5;
    p->params[i] = was + h;
    const double up = loss_of(p);
    p->params[i] = was - h;
    const double down = loss_of(p);
    p->params[i] = was;
    const double numeric = (up - down) / (2 * h), scale = fabs(numeric) + fabs(p->grad[i]) + 1e-3;
    if (fabs(numeric - p->grad[i]) / scale > 1e-5)
      fail_msg("parameter %zu: gradient %.10g, finite difference %.10g", i, p->grad[i], numeric);
  }
}

static void test_grouped_query(void **state) {
  (void)state;
  struct problem p;
  shape_make(&p.shape, 37, 24, 3, 4, 2, 6, 20);
  problem_open(&p, 3, 11, 1);
  check(&p, 2);
  problem_close(&p);
}

static void test_more_than_one_query_block(void **state) {
  (void)state;
  struct problem p;
  shape_make(&p.shape, 19, 8, 1, 2, 1, 4, 12);
  problem_open(&p, 1, QUERIES + 17, 3);
  check(&p, 4);
  problem_close(&p);
}

static void test_wide_heads(void **state) {
  (void)state;
  struct problem p;
  shape_make(&p.shape, 11, 16, 1, 2, 2, 2 * NR + 2, 8);
  problem_open(&p, 1, 9, 5);
  check(&p, 6);
  problem_close(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_grouped_query),
                                     cmocka_unit_test(test_more_than_one_query_block),
                                     cmocka_unit_test(test_wide_heads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
