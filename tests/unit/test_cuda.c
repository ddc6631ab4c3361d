/* The CUDA back end against the CPU's, which is itself held against float64: every kind of block, every type of
 * weights, one token at a time and many, several sessions together, every policy, far positions, forks and snapshots.
 * Skipped where there is no GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"
#include "tests/device_model.h"

enum { TEXT = 700 };

static bool no_device, verbose;

static const struct model_config PLAIN = {.n_layers = 3,
                                          .d_model = 448,
                                          .n_heads = 7,
                                          .n_kv_heads = 1,
                                          .head_dim = 64,
                                          .d_ff = 600,
                                          .vocab = 1003,
                                          .max_context = 4096,
                                          .norm_eps = 1e-5f,
                                          .rope_theta = 10000,
                                          .bos = -1,
                                          .eos = -1};

struct fixture {
  struct device_model m;
  int32_t text[TEXT];
};

static void setup(struct fixture *f, const struct model_config *c, enum dtype dtype) {
  if (no_device) skip();
  device_model_make(&f->m, c, dtype, c->n_layers, 77);
  for (int i = 0; i < TEXT; i++) f->text[i] = (int32_t)rng_below(&f->m.rng, (uint32_t)c->vocab);
}

static struct session *open_on(const struct fixture *f, const char *device, const char *weights, const char *policy) {
  struct sluice_error err = {0};
  struct session *s = NULL;
  const struct session_options o = {.policy = policy, .device = device, .weights = weights, .threads = 2, .seed = 5};
  if (session_open(&f->m.model, &o, &s, &err)) fail_msg("%s", err.message);
  return s;
}

static void append(struct session *s, const int32_t *ids, size_t n, float *rows) {
  struct sluice_error err = {0};
  if (session_append(s, ids, n, rows, rows ? n : 0, &err)) fail_msg("%s", err.message);
}

/* ||a - b|| / ||b||, in float64; NaN passes nowhere. */
static double distance(const float *a, const float *b, size_t n) {
  double off = 0, size = 0;
  for (size_t i = 0; i < n; i++) {
    off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    size += (double)b[i] * (double)b[i];
  }
  return sqrt(off / size);
}

static void expect_close(const char *what, const float *got, const float *want, int rows, int vocab, double bound) {
  double worst = 0;
  int at = 0;
  for (int i = 0; i < rows; i++) {
    const double d = distance(got + (size_t)i * (size_t)vocab, want + (size_t)i * (size_t)vocab, (size_t)vocab);
    if (!(d <= worst)) worst = d, at = i;
  }
  if (verbose) print_message("%s: largest distance %.2e (row %d of %d)\n", what, worst, at, rows);
  if (!(worst <= bound)) fail_msg("%s: row %d is %g off, more than %g", what, at, worst, bound);
}

/* Text in one chunk, then token by token, on both; rows of both. */
static void compare(const char *what, const struct fixture *f, const char *weights, const char *policy, int chunk,
                    int end, double bound) {
  const int vocab = f->m.model.config.vocab;
  float *want = calloc((size_t)TEXT * (size_t)vocab, sizeof *want),
        *got = malloc((size_t)TEXT * (size_t)vocab * sizeof *got);
  memset(got, 0xff, (size_t)TEXT * (size_t)vocab * sizeof *got); /* NaN where nothing is written */
  struct session *cpu = open_on(f, NULL, NULL, policy), *gpu = open_on(f, "cuda", weights, policy);
  append(cpu, f->text, (size_t)end, want);
  if (chunk) append(gpu, f->text, (size_t)chunk, got);
  for (int i = chunk; i < end; i++) append(gpu, f->text + i, 1, got + (size_t)i * (size_t)vocab);
  char name[128];
  snprintf(name, sizeof name, "%s, %s, chunk of %d, then %d", what, policy, chunk, end - chunk);
  expect_close(name, got, want, end, vocab, bound);
  if (!strstr(policy, "sirllm")) { /* whose weights are surprisals: near ones may change places */
    uint64_t a[TEXT], b[TEXT];
    const size_t n = session_trace(cpu, a, TEXT);
    assert_int_equal(session_trace(gpu, b, TEXT), n);
    assert_memory_equal(a, b, n * sizeof *a);
  }
  session_close(cpu), session_close(gpu);
  free(want), free(got);
}

static void test_types(void **state) {
  (void)state;
  static const struct {
    enum dtype dtype;
    const char *name, *weights;
    double bound;
  } kinds[] = {{DTYPE_F32, "F32", NULL, 2e-5},
               {DTYPE_F16, "F16", NULL, 3e-3},
               {DTYPE_BF16, "BF16", NULL, 3e-2},
               {DTYPE_BF16, "BF16 as int8", "int8", 8e-2}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    struct fixture f;
    setup(&f, &PLAIN, kinds[i].dtype);
    compare(kinds[i].name, &f, kinds[i].weights, "full", 0, 200, kinds[i].bound);
    compare(kinds[i].name, &f, kinds[i].weights, "full", 660, TEXT, kinds[i].bound);
    compare(kinds[i].name, &f, kinds[i].weights, "full", 5, 9, kinds[i].bound);
    device_model_free(&f.m);
  }
}

static void test_shapes(void **state) {
  (void)state;
  static const struct {
    int heads, kv, dim, d, ff;
  } shapes[] = {{4, 4, 128, 512, 300}, {16, 2, 64, 384, 512}, {9, 3, 64, 576, 1536},
                {2, 1, 256, 200, 100}, {6, 2, 8, 48, 84},     {5, 1, 80, 100, 44}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    struct model_config c = PLAIN;
    c.n_layers = 2, c.n_heads = shapes[i].heads, c.n_kv_heads = shapes[i].kv, c.head_dim = shapes[i].dim;
    c.d_model = shapes[i].d, c.d_ff = shapes[i].ff;
    char name[64];
    snprintf(name, sizeof name, "%d/%d heads of %d", c.n_heads, c.n_kv_heads, c.head_dim);
    struct fixture f;
    setup(&f, &c, DTYPE_F32);
    compare(name, &f, NULL, "full", 150, 170, 2e-5);
    device_model_free(&f.m);
    setup(&f, &c, DTYPE_BF16);
    compare(name, &f, NULL, "full", 150, 170, 4e-2);
    device_model_free(&f.m);
  }
}

static void test_families(void **state) {
  (void)state;
  struct model_config c[7];
  for (int i = 0; i < 7; i++) c[i] = PLAIN, c[i].n_layers = 2;
  static const char *const names[] = {"biases of q, k, v",
                                      "norm of q and k",
                                      "LayerNorm, parallel, GELU, partial rotary",
                                      "sliding window",
                                      "neighbours rotate",
                                      "window from layer 1, Llama 3 RoPE, tied",
                                      "YaRN"};
  c[0].qkv_bias = true;
  c[1].qk_norm = true;
  c[2].norm = NORM_LAYER, c[2].activation = ACTIVATION_GELU, c[2].plain_ffn = c[2].parallel_residual = true;
  c[2].qkv_bias = c[2].o_bias = c[2].ffn_bias = true, c[2].rotary_dims = 16, c[2].n_kv_heads = 7;
  c[3].window = 50;
  c[4].rotary_neighbours = true;
  c[5].window = 64, c[5].window_from = 1, c[5].tied = true;
  c[5].rope_scaling = (struct rope_scaling){
      .type = ROPE_LLAMA3, .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_context = 128};
  c[6].rope_scaling = (struct rope_scaling){.type = ROPE_YARN,
                                            .factor = 4,
                                            .original_context = 64,
                                            .beta_fast = 32,
                                            .beta_slow = 1,
                                            .whole_ramp = true,
                                            .attention = 1.25};
  for (int i = 0; i < 7; i++) {
    struct fixture f;
    setup(&f, &c[i], DTYPE_F32);
    compare(names[i], &f, NULL, "full", 130, 150, 2e-5);
    compare(names[i], &f, NULL, "full", 0, 100, 2e-5);
    device_model_free(&f.m);
    setup(&f, &c[i], DTYPE_BF16);
    compare(names[i], &f, NULL, "full", 300, 330, 3e-2);
    device_model_free(&f.m);
  }
}

static void test_policies(void **state) {
  (void)state;
  static const char *const policies[] = {"window:budget=100",   "streaming:sinks=4,recent=90", "random:budget=100",
                                         "interval:budget=100", "recompute:budget=60",         "streaming:budget=2000",
                                         "sirllm:budget=100"};
  struct fixture f;
  setup(&f, &PLAIN, DTYPE_F32);
  for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
    const int end = strstr(policies[i], "recompute") ? 80 : 260;
    compare("F32", &f, NULL, policies[i], 200 < end ? 200 : 70, end, strstr(policies[i], "sirllm") ? 1e-3 : 2e-5);
  }
  device_model_free(&f.m);
  setup(&f, &PLAIN, DTYPE_BF16);
  compare("BF16", &f, NULL, "streaming:budget=2000", 300, 330, 3e-2);
  compare("BF16", &f, NULL, "random:budget=100", 200, 220, 3e-2);
  device_model_free(&f.m);
}

static void test_far_positions(void **state) {
  (void)state;
  struct fixture f;
  setup(&f, &PLAIN, DTYPE_F32);
  const int vocab = PLAIN.vocab;
  float *want = malloc(40 * (size_t)vocab * sizeof *want), *got = malloc(40 * (size_t)vocab * sizeof *got);
  struct session *s[2] = {open_on(&f, NULL, NULL, "full"), open_on(&f, "cuda", NULL, "full")};
  for (int i = 0; i < 2; i++) {
    session_skip(s[i], (uint64_t)1 << 33);
    append(s[i], f.text, 40, i ? got : want);
    session_close(s[i]);
  }
  expect_close("positions from 2^33", got, want, 40, vocab, 2e-5);
  free(want), free(got);
  device_model_free(&f.m);
}

static void test_sessions_together(void **state) {
  (void)state;
  enum { N = 7, START = 30, STEPS = 12 };
  struct sluice_error err = {0};
  struct fixture f;
  setup(&f, &PLAIN, DTYPE_F32);
  const size_t vocab = (size_t)PLAIN.vocab;
  float *want = malloc(TEXT * vocab * sizeof *want), *rows = malloc(N * vocab * sizeof *rows);
  struct session *cpu = open_on(&f, NULL, NULL, "full"), *s[N];
  append(cpu, f.text, N * START + STEPS + N, want);
  session_close(cpu);
  for (int i = 0; i < N; i++) {
    if (i == 0)
      s[0] = open_on(&f, "cuda", NULL, "full");
    else if (session_open_beside(s[0], "full", 1, &s[i], &err))
      fail_msg("%s", err.message);
    append(s[i], f.text, (size_t)(START * (i + 1)), NULL);
  }
  for (int step = 0; step < STEPS; step++) {
    int32_t ids[N];
    float *logits[N];
    for (int i = 0; i < N; i++) ids[i] = f.text[START * (i + 1) + step], logits[i] = rows + (size_t)i * vocab;
    if (session_step_many(s, ids, logits, N, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < N; i++) {
      const double d = distance(logits[i], want + (size_t)(START * (i + 1) + step) * vocab, vocab);
      if (!(d < 2e-5)) fail_msg("step %d of session %d is %g off", step, i, d);
    }
  }
  for (int i = N - 1; i >= 0; i--) session_close(s[i]);
  free(want), free(rows);
  device_model_free(&f.m);
}

/* A fork and a restored snapshot go on bit for bit, and a second run repeats the first. */
static void test_repeats(void **state) {
  (void)state;
  static const char *const policies[] = {"full", "streaming:budget=100", "random:budget=100"};
  struct sluice_error err = {0};
  struct fixture f;
  setup(&f, &PLAIN, DTYPE_BF16);
  const size_t vocab = (size_t)PLAIN.vocab, bytes = 20 * vocab * sizeof(float);
  float *want = malloc(bytes), *got = malloc(bytes);
  for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
    struct session *s = open_on(&f, "cuda", NULL, policies[p]), *fork = NULL,
                   *again = open_on(&f, "cuda", NULL, policies[p]);
    unsigned char *snapshot = NULL;
    size_t len = 0;
    append(s, f.text, 150, NULL), append(again, f.text, 150, NULL);
    assert_int_equal(session_snapshot(s, &snapshot, &len, &err), SLUICE_OK);
    assert_int_equal(session_fork(s, &fork, &err), SLUICE_OK);
    for (int i = 0; i < 20; i++) append(s, f.text + 150 + i, 1, want + (size_t)i * vocab);
    for (int i = 0; i < 20; i++) append(fork, f.text + 150 + i, 1, got + (size_t)i * vocab);
    assert_memory_equal(want, got, bytes);
    for (int i = 0; i < 20; i++) append(again, f.text + 150 + i, 1, got + (size_t)i * vocab);
    assert_memory_equal(want, got, bytes);
    if (session_restore(again, snapshot, len, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < 20; i++) append(again, f.text + 150 + i, 1, got + (size_t)i * vocab);
    assert_memory_equal(want, got, bytes);
    free(snapshot);
    session_close(fork), session_close(s), session_close(again);
  }
  free(want), free(got);
  device_model_free(&f.m);
}

/* A decode step as graphs and as single kernels, which the other tests mostly see as one launch. */
static void test_other_steps(void **state) {
  (void)state;
  static const char *const ways[] = {"graphs", "1"};
  struct model_config parallel = PLAIN;
  parallel.norm = NORM_LAYER, parallel.activation = ACTIVATION_GELU;
  parallel.plain_ffn = parallel.parallel_residual = parallel.qkv_bias = true;
  const struct model_config *const configs[] = {&PLAIN, &parallel};
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    for (size_t k = 0; k < sizeof configs / sizeof *configs; k++) {
      struct fixture f;
      setup(&f, configs[k], DTYPE_F32);
      setenv("SLUICE_CUDA_PLAIN", ways[i], 1);
      compare(ways[i], &f, NULL, "full", 500, 520, 2e-5);
      compare(ways[i], &f, NULL, "streaming:sinks=4,recent=90", 0, 120, 2e-5);
      unsetenv("SLUICE_CUDA_PLAIN");
      device_model_free(&f.m);
    }
}

/* Greedy and by chance, `draws` of them, against the rows of logits that the same step would have given. */
static void expect_draws(const struct model_config *c, int draws) {
  struct sluice_error err = {0};
  struct fixture f;
  setup(&f, c, DTYPE_F32);
  const int vocab = c->vocab;
  float *row = malloc((size_t)vocab * sizeof *row);
  struct session *s = open_on(&f, "cuda", NULL, "full"), *rows = open_on(&f, "cuda", NULL, "full");
  append(s, f.text, 20, NULL), append(rows, f.text, 20, NULL);
  assert_true(session_draws(s));
  for (int i = 0; i < draws; i++) {
    const struct draw how = {.temperature = i % 4 ? 0.7f : 0,
                             .top_k = i % 4 == 2 ? 5 : 0,
                             .top_p = i % 4 == 3 ? 0.5f : 0,
                             .min_p = i % 8 == 5 ? 0.1f : 0,
                             .uniform = (double)(i * 37 % draws) / draws};
    struct drawn d;
    if (session_draw(s, f.text[20 + i], &how, &d, &err)) fail_msg("%s", err.message);
    append(rows, f.text + 20 + i, 1, row);
    double sum = 0, above = 0, top = (double)d.largest;
    int better = 0;
    for (int t = 0; t < vocab; t++) sum += exp((double)row[t] - top), better += row[t] > row[d.id];
    assert_true(fabs((double)d.log_sum - top - log(sum)) < 1e-4);
    assert_true(d.logit == row[d.id]);
    if (i % 4 == 0) assert_int_equal(better, 0);
    if (i % 4 == 2) assert_true(better < 5);
    double all = 0, mine = 0; /* of all tokens with this logit: they come by their ids */
    const double least = i % 8 == 5 ? top + 0.7 * log(0.1) - 1e-6 : -INFINITY;
    assert_true((double)row[d.id] >= least);
    for (int t = 0; t < vocab; t++) {
      if ((double)row[t] < least) continue;
      all += exp(((double)row[t] - top) / 0.7);
      if (row[t] > row[d.id]) above += exp(((double)row[t] - top) / 0.7);
      if (row[t] == row[d.id]) mine += exp(((double)row[t] - top) / 0.7);
    }
    if (i % 4 == 3) assert_true(above < 0.5 * all * (1 + 1e-5));
    if (i % 4 == 1 &&
        !(above <= how.uniform * all * (1 + 1e-4) + 1e-6 && how.uniform * all <= (above + mine) * (1 + 1e-4)))
      fail_msg("draw %d of %d tokens, min_p %g: %g lie above, %g is wanted, its own is %g", i, vocab, (double)how.min_p,
               above, how.uniform * all, mine);
  }
  session_close(s), session_close(rows);
  free(row);
  device_model_free(&f.m);
}

static void test_drawing(void **state) {
  (void)state;
  struct model_config wide = PLAIN; /* thousands of tokens with nearly the same logit */
  wide.n_layers = 1, wide.d_model = 32, wide.d_ff = 64, wide.vocab = 250000;
  expect_draws(&PLAIN, 400);
  expect_draws(&wide, 24);
}

static void test_what_does_not_fit(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct model_config c = PLAIN;
  c.n_layers = 8, c.n_heads = c.n_kv_heads = 16, c.head_dim = 128; /* 128 KB a token in float32 */
  struct fixture f;
  setup(&f, &c, DTYPE_F32);
  struct session *s = open_on(&f, "cuda", NULL, "full");
  const size_t n = 4000000;
  int32_t *ids = calloc(n, sizeof *ids);
  assert_int_equal(session_append(s, ids, n, NULL, 0, &err), SLUICE_NOMEM);
  if (verbose) print_message("%s\n", err.message);
  assert_non_null(strstr(err.message, "GB"));
  append(s, f.text, 10, NULL); /* nothing was taken */
  free(ids);
  session_close(s);
  struct session *none = NULL;
  const struct session_options wrong = {.device = "cuda", .weights = "int3"};
  assert_int_equal(session_open(&f.m.model, &wrong, &none, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "int3"));
  device_model_free(&f.m);
}

int main(int argc, char **argv) {
  (void)argv;
  verbose = argc > 1; /* any word: every distance is printed */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_types),         cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_families),      cmocka_unit_test(test_policies),
      cmocka_unit_test(test_far_positions), cmocka_unit_test(test_sessions_together),
      cmocka_unit_test(test_repeats),       cmocka_unit_test(test_other_steps),
      cmocka_unit_test(test_drawing),       cmocka_unit_test(test_what_does_not_fit),
  };
  struct device_model m;
  struct sluice_error err = {0};
  struct session *s = NULL;
  struct model_config tiny = PLAIN;
  tiny.n_layers = 1, tiny.vocab = 16;
  device_model_make(&m, &tiny, DTYPE_F32, 1, 1);
  no_device = session_open(&m.model, &(struct session_options){.device = "cuda"}, &s, &err) != SLUICE_OK;
  if (no_device) print_message("skipped: %s\n", err.message);
  session_close(s);
  device_model_free(&m);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
