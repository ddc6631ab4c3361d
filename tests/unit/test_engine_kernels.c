/* Each kernel of each instruction set that this processor has, against plain float64 loops: awkward sizes, all element
 * types, and whole rows that must not be read past. Then the network as a whole, for each kernel and shape, against the
 * reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/cpu/rope.h"
#include "engine/session.h"
#include "tests/quantised_blocks.h"
#include "tests/random_model.h"

static const char *const NAMES[] = {"portable", "avx2", "avx512", "avx512vnni"};

enum { N_NAMES = sizeof NAMES / sizeof *NAMES };

static const struct kernels *kernel(int i) {
  struct sluice_error err;
  const struct kernels *k = NULL;
  return kernels_find(NAMES[i], &k, &err) == SLUICE_OK ? k : NULL;
}

/* n bytes that end where the page after them cannot be read. */
static char *before_the_edge(size_t n, void **map, size_t *len) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  *len = (n + page - 1) / page * page + page;
  *map = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(*map, MAP_FAILED);
  mprotect((char *)*map + *len - page, page, PROT_NONE);
  return (char *)*map + *len - page - n;
}

/* Random weights of a type, and what they say. */
static void random_weights(struct rng *r, enum dtype d, int n, uint8_t *data, double *w) {
  const int block = dtype_block(d);
  for (int i = 0; i < n; i += block) {
    uint8_t *at = data + (size_t)(i / block) * dtype_block_bytes(d);
    if (dtype_is_quantised(d))
      block_random(r, d, at, w + i);
    else
      random_value(r, d, &w[i], at);
  }
}

/* Activations that eight bits hold exactly: multiples of 1/64, in every group one of 127/64. For floats anything. */
static void random_activations(struct rng *r, enum dtype d, int n, float *x) {
  for (int c = 0; c < n; c++) {
    x[c] = (float)(rng_double(r) - 0.5);
    if (!dtype_is_quantised(d)) continue;
    const int k = c % ACT_GROUP == 5 ? -127 : (int)rng_below(r, 255) - 127;
    x[c] = (float)k / 64;
  }
}

static void check_matmul(const struct kernels *k, enum dtype dtype, int rows, int cols, int tokens) {
  struct rng r;
  void *map;
  struct operand o;
  struct sluice_error err;
  size_t len, ldx = kernel_padded((size_t)cols), ldy = (size_t)rows + 3;
  uint8_t *data = (uint8_t *)before_the_edge(dtype_row_bytes(dtype, cols) * (size_t)rows, &map, &len);
  double *w = malloc(sizeof *w * (size_t)rows * (size_t)cols);
  float *x = calloc(ldx * (size_t)tokens, sizeof *x), *y = malloc(sizeof *y * ldy * (size_t)tokens),
        *one = calloc((size_t)rows, sizeof *one), *panel = sluice_alloc_aligned(panel_floats(cols) * sizeof *panel);
  rng_seed(&r, (uint64_t)(rows * 31 + cols));
  random_weights(&r, dtype, rows * cols, data, w);
  for (int t = 0; t < tokens; t++) random_activations(&r, dtype, cols, x + (size_t)t * ldx);
  for (size_t i = 0; i < ldy * (size_t)tokens; i++) y[i] = 100;
  const struct weight weight = {.data = data, .dtype = dtype, .rows = rows, .cols = cols};
  assert_int_equal(operand_open(&o, cols, tokens, &err), SLUICE_OK);
  o.x = x, o.ldx = ldx, o.cols = cols, o.n_tokens = tokens;
  k->prepare(&o, dtype, 0, tokens);
  k->matmul(&weight, 0, rows, &o, y, ldy, false, panel);
  k->matmul(&weight, rows / 2, rows, &o, y, ldy, true, panel); /* the second half twice */
  for (int t = 0; t < tokens; t++) {
    o.x = x + (size_t)t * ldx, o.n_tokens = 1;
    k->prepare(&o, dtype, 0, 1);
    k->matmul(&weight, 0, rows, &o, one, ldy, false, panel);
    for (int i = 0; i < rows; i++) {
      double want = 0, size = 0;
      for (int c = 0; c < cols; c++) {
        want += w[i * cols + c] * x[(size_t)t * ldx + (size_t)c];
        size += fabs(w[i * cols + c] * x[(size_t)t * ldx + (size_t)c]);
      }
      const float got = y[(size_t)t * ldy + (size_t)i];
      assert_true(fabs(one[i] - want) < 2e-6 * (dtype_is_quantised(dtype) ? size / 8 : sqrt(cols)));
      assert_true(got == (i < rows / 2 ? one[i] : one[i] + one[i])); /* bits do not depend on the number of tokens */
    }
    for (size_t i = (size_t)rows; i < ldy; i++) assert_true(y[(size_t)t * ldy + i] == 100);
  }
  munmap(map, len);
  operand_free(&o);
  free(w), free(x), free(y), free(one), free(panel);
}

static void test_matmul(void **state) {
  (void)state;
  static const int sizes[][3] = {{1, 1, 1},    {3, 5, 2},    {4, 16, 4},    {7, 17, 5}, {64, 48, 9},
                                 {33, 172, 3}, {8, 192, 64}, {49, 528, 29}, {5, 31, 7}};
  /* multiples of two and of four blocks too: rows of those have ways of their own */
  static const int blocks[][3] = {{1, 1, 1}, {3, 2, 2},  {5, 3, 8},  {17, 5, 13}, {33, 9, 29}, {16, 19, 7}, {6, 4, 1},
                                  {9, 8, 2}, {7, 28, 3}, {5, 48, 1}, {6, 14, 7},  {9, 18, 1},  {5, 22, 3},  {7, 26, 2}};
  for (int i = 0; i < N_NAMES; i++)
    for (int d = DTYPE_F32; kernel(i) && d < DTYPE_COUNT; d++) {
      const bool whole = dtype_is_quantised((enum dtype)d);
      for (size_t s = 0; !whole && s < sizeof sizes / sizeof *sizes; s++)
        check_matmul(kernel(i), (enum dtype)d, sizes[s][0], sizes[s][1], sizes[s][2]);
      for (size_t s = 0; whole && s < sizeof blocks / sizeof *blocks; s++)
        check_matmul(kernel(i), (enum dtype)d, blocks[s][0], blocks[s][1] * dtype_block((enum dtype)d), blocks[s][2]);
    }
}

/* The largest numbers there are on both sides: sums of products in words of 16 bits must not pass them. */
static void check_extremes(const struct kernels *k, enum dtype d, int pattern, float value) {
  enum { COLS = 512, TOKENS = 9 };
  struct operand o;
  struct sluice_error err;
  uint8_t data[COLS * 2];
  float w[COLS], x[TOKENS * COLS], y[TOKENS], one, *panel = sluice_alloc_aligned(panel_floats(COLS) * sizeof *panel);
  memset(data, pattern, sizeof data);
  const bool floor = d == DTYPE_Q4_1 || d == DTYPE_Q5_1 || d == DTYPE_Q4_K || d == DTYPE_Q5_K || d == DTYPE_Q2_K;
  const size_t size = dtype_block_bytes(d), at = d == DTYPE_Q6_K   ? 208
                                                 : d == DTYPE_Q3_K ? 108
                                                 : d == DTYPE_Q2_K ? 80
                                                                   : 0;
  for (size_t b = 0; b < dtype_row_bytes(d, COLS); b += size) {
    dtype_from_float(data + b + at, DTYPE_F16, 0, 0.25f);
    if (floor) dtype_from_float(data + b + at + 2, DTYPE_F16, 0, -0.5f);
  }
  dtype_to_floats(data, d, 0, COLS, w);
  double want = 0, sizes = 0;
  for (int c = 0; c < COLS; c++) want += w[c] * (double)value, sizes += fabs(w[c] * (double)value);
  for (int i = 0; i < TOKENS * COLS; i++) x[i] = value;
  const struct weight weight = {.data = data, .dtype = d, .rows = 1, .cols = COLS};
  assert_int_equal(operand_open(&o, COLS, TOKENS, &err), SLUICE_OK);
  o.x = x, o.ldx = COLS, o.cols = COLS, o.n_tokens = TOKENS;
  k->prepare(&o, d, 0, TOKENS);
  k->matmul(&weight, 0, 1, &o, y, 1, false, panel);
  o.n_tokens = 1;
  k->prepare(&o, d, 0, 1);
  k->matmul(&weight, 0, 1, &o, &one, 1, false, panel);
  assert_true(fabs(one - want) <= 1e-6 * sizes);
  for (int t = 0; t < TOKENS; t++) assert_true(y[t] == one);
  operand_free(&o);
  free(panel);
}

static void test_extremes(void **state) {
  (void)state;
  static const int patterns[] = {0xff, 0x80, 0x7f, 0};
  for (int i = 0; i < N_NAMES; i++)
    for (int d = DTYPE_Q8_0; kernel(i) && d < DTYPE_COUNT; d++)
      for (int p = 0; p < 4; p++)
        for (int sign = -1; sign < 2; sign += 2)
          check_extremes(kernel(i), (enum dtype)d, patterns[p], (float)sign * 127 / 64);
}

/* Activations as they come: each is off by half a step at most, and what is not finite stays so. */
static void test_rounding(void **state) {
  (void)state;
  enum { ROWS = 3, COLS = 512 };
  struct rng r;
  struct operand o;
  struct sluice_error err;
  rng_seed(&r, 8);
  uint8_t data[ROWS * COLS * 2];
  double w[ROWS * COLS];
  float x[COLS], y[ROWS], panel[1];
  for (int i = 0; i < N_NAMES; i++)
    for (int d = DTYPE_Q8_0; kernel(i) && d < DTYPE_COUNT; d++) {
      assert_int_equal(operand_open(&o, COLS, 1, &err), SLUICE_OK);
      random_weights(&r, (enum dtype)d, ROWS * COLS, data, w);
      for (int c = 0; c < COLS; c++) x[c] = c < 64 ? 0 : (float)(rng_normal(&r) * (c % 77 == 0 ? 30 : 1));
      const struct weight weight = {.data = data, .dtype = (enum dtype)d, .rows = ROWS, .cols = COLS};
      o.x = x, o.ldx = COLS, o.cols = COLS, o.n_tokens = 1;
      kernel(i)->prepare(&o, (enum dtype)d, 0, 1);
      kernel(i)->matmul(&weight, 0, ROWS, &o, y, ROWS, false, panel);
      for (int row = 0; row < ROWS; row++) {
        double want = 0, bound = 0;
        for (int c = 0; c < COLS; c++) {
          double top = 0;
          for (int j = c / ACT_GROUP * ACT_GROUP; j < (c / ACT_GROUP + 1) * ACT_GROUP; j++) top = fmax(top, fabs(x[j]));
          want += w[row * COLS + c] * x[c];
          bound += fabs(w[row * COLS + c]) * top / 127 * 0.5001;
        }
        assert_true(fabs(y[row] - want) <= bound + 1e-6 * fabs(want));
        assert_true(fabs(y[row] - want) > bound / 1e4); /* and they are rounded */
      }
      x[100] = i % 2 ? NAN : INFINITY;
      kernel(i)->prepare(&o, (enum dtype)d, 0, 1);
      kernel(i)->matmul(&weight, 0, ROWS, &o, y, ROWS, false, panel);
      assert_true(!isfinite(y[0]) && !isfinite(y[ROWS - 1]));
      operand_free(&o);
    }
}

/* What a longer row left behind the end of a shorter one takes no part in its sums, even if it was no number. */
static void test_shorter_row(void **state) {
  (void)state;
  enum { LONG = 768, SHORT = 256, TOKENS = 9 };
  struct rng r;
  struct operand o;
  struct sluice_error err;
  uint8_t data[LONG * 2];
  double w[LONG];
  float x[TOKENS * LONG], y[TOKENS], *panel = sluice_alloc_aligned(panel_floats(LONG) * sizeof *panel);
  rng_seed(&r, 12);
  for (int i = 0; i < N_NAMES; i++)
    for (int d = DTYPE_Q8_0; kernel(i) && d < DTYPE_COUNT; d++)
      for (int tokens = 1; tokens <= TOKENS; tokens += TOKENS - 1) {
        const int cols = dtype_block((enum dtype)d) == ACT_GROUP ? 4 * ACT_GROUP : SHORT;
        const struct weight weight = {.data = data, .dtype = (enum dtype)d, .rows = 1, .cols = cols};
        assert_int_equal(operand_open(&o, LONG, tokens, &err), SLUICE_OK);
        random_weights(&r, (enum dtype)d, cols, data, w);
        for (int c = 0; c < TOKENS * LONG; c++) x[c] = NAN;
        o.x = x, o.ldx = LONG, o.cols = LONG, o.n_tokens = tokens;
        kernel(i)->prepare(&o, (enum dtype)d, 0, tokens);
        for (int c = 0; c < TOKENS * LONG; c++) x[c] = 1;
        o.cols = cols;
        kernel(i)->prepare(&o, (enum dtype)d, 0, tokens);
        kernel(i)->matmul(&weight, 0, 1, &o, y, 1, false, panel);
        for (int t = 0; t < tokens; t++) assert_true(isfinite(y[t]));
        operand_free(&o);
      }
  free(panel);
}

static void test_elementwise(void **state) {
  (void)state;
  enum { N = 208 };
  struct rng r;
  rng_seed(&r, 4);
  for (int i = 0; i < N_NAMES; i++) {
    const struct kernels *k = kernel(i);
    float x[N] = {0}, gain[N], out[N], up[N] = {0}, gate[N] = {0};
    if (!k) continue;
    for (int n = 1; n <= 200; n += 13) {
      double squares = 0, total = 0;
      memset(x, 0, sizeof x);
      for (int j = 0; j < n; j++) {
        x[j] = (float)(rng_normal(&r) * 20);
        gain[j] = (float)rng_double(&r), up[j] = (float)rng_normal(&r);
        squares += (double)x[j] * x[j];
        total += exp(x[j]);
      }
      k->rms_norm(x, gain, 1e-5f, n, out);
      for (int j = 0; j < n; j++) assert_true(fabs(out[j] - x[j] / sqrt(squares / n + 1e-5) * gain[j]) < 1e-5);
      memcpy(gate, x, sizeof gate);
      k->swiglu(gate, up, (n + 15) / 16 * 16);
      for (int j = 0; j < n; j++)
        assert_true(fabs(gate[j] - x[j] / (1 + exp(-x[j])) * up[j]) < 1e-5 * (1 + fabs(x[j])));
      assert_true(fabs(k->log_sum_exp(x, n) - log(total)) < 1e-5);
    }
    for (int j = 0; j < 40; j++) x[j] = j == 7 ? 3.0f : -INFINITY;
    assert_true(fabsf(k->log_sum_exp(x, 40) - 3) < 1e-6f);
    const float extremes[16] = {-1e30f, -200, -88, -87.4f, 0, 88, 200, 1e30f};
    memcpy(gate, extremes, sizeof extremes);
    for (int j = 0; j < 16; j++) up[j] = 1;
    k->swiglu(gate, up, 16);
    for (int j = 0; j < 16; j++) {
      assert_true(isfinite(gate[j]));
      assert_true(fabs(gate[j] - (extremes[j] < -100 ? 0 : extremes[j] / (1 + exp(-extremes[j])))) <=
                  1e-5 * fabs(extremes[j]));
    }
  }
}

/* ---- attention ---- */

enum { BLOCKS = 5, SLOTS = BLOCKS * SLOT_BLOCK, QUERIES = 23 };

struct attention_case {
  int head_dim;
  float k[BLOCKS * SLOT_BLOCK * 80], v[BLOCKS * SLOT_BLOCK * 80], q[QUERIES][80], out[QUERIES][80], lse[QUERIES];
  int32_t born[SLOTS], dead[SLOTS], time[QUERIES];
  const float *q_rows[QUERIES];
  float *out_rows[QUERIES];
};

static void fill_attention(struct attention_case *c, int head_dim, struct rng *r) {
  c->head_dim = head_dim;
  for (size_t i = 0; i < sizeof c->k / sizeof *c->k; i++)
    c->k[i] = (float)rng_normal(r), c->v[i] = (float)rng_normal(r);
  for (int s = 0; s < SLOTS; s++) {
    c->born[s] = (int32_t)rng_below(r, 12);
    c->dead[s] = rng_below(r, 3) ? KV_ALWAYS : (int32_t)rng_below(r, 20);
  }
  for (int j = 0; j < QUERIES; j++) {
    c->time[j] = j % 14;
    for (int d = 0; d < head_dim; d++) c->q[j][d] = (float)rng_normal(r);
    c->q_rows[j] = c->q[j], c->out_rows[j] = c->out[j];
  }
}

static struct attention attention_of(struct attention_case *c, int first, int end, float *scores) {
  const size_t width = kernel_padded((size_t)c->head_dim);
  return (struct attention){.k = c->k,
                            .v = c->v,
                            .k_step = (size_t)c->head_dim * SLOT_BLOCK,
                            .v_step = width * SLOT_BLOCK,
                            .v_width = width,
                            .head_dim = c->head_dim,
                            .first_block = first,
                            .end_block = end,
                            .born = c->born,
                            .dead = c->dead,
                            .q = c->q_rows,
                            .time = c->time,
                            .n_queries = QUERIES,
                            .scores = scores,
                            .out = c->out_rows,
                            .lse = c->lse};
}

static void check_attention(struct attention_case *c, int first, int end) {
  const size_t width = kernel_padded((size_t)c->head_dim);
  for (int j = 0; j < QUERIES; j++) {
    double weight[SLOTS], total = 0;
    for (int s = first * SLOT_BLOCK; s < end * SLOT_BLOCK; s++) {
      double dot = 0;
      for (int d = 0; d < c->head_dim; d++)
        dot += (double)c->q[j][d] * c->k[s / SLOT_BLOCK * SLOT_BLOCK * c->head_dim + d * SLOT_BLOCK + s % SLOT_BLOCK];
      weight[s] = c->born[s] <= c->time[j] && c->time[j] < c->dead[s] ? exp(dot) : 0;
      total += weight[s];
    }
    if (total > 0)
      assert_true(fabs(c->lse[j] - log(total)) < 1e-4);
    else
      assert_true(c->lse[j] == -INFINITY);
    for (int d = 0; d < c->head_dim; d++) {
      double want = 0;
      for (int s = first * SLOT_BLOCK; s < end * SLOT_BLOCK; s++)
        want += weight[s] * c->v[(size_t)s * width + (size_t)d];
      assert_true(fabs(c->out[j][d] - (total > 0 ? want / total : 0)) < 1e-5);
    }
  }
}

static void test_attention(void **state) {
  (void)state;
  static const int dims[] = {2, 8, 16, 20, 32, 48, 64, 80};
  struct attention_case *c = calloc(1, sizeof *c), *one = calloc(1, sizeof *one);
  float scores[ATTENTION_TILE * SLOTS];
  struct rng r;
  rng_seed(&r, 9);
  for (int i = 0; i < N_NAMES; i++)
    for (size_t d = 0; kernel(i) && d < sizeof dims / sizeof *dims; d++) {
      fill_attention(c, dims[d], &r);
      struct attention all = attention_of(c, 0, BLOCKS, scores), part = attention_of(c, 1, 3, scores);
      kernel(i)->attend(&all);
      check_attention(c, 0, BLOCKS);
      *one = *c; /* one query at a time gives the same bits */
      for (int j = 0; j < QUERIES; j++) one->q_rows[j] = one->q[j], one->out_rows[j] = one->out[j];
      memset(one->out, 0, sizeof one->out);
      for (int j = 0; j < QUERIES; j++) {
        struct attention a = attention_of(one, 0, BLOCKS, scores);
        a.q += j, a.time += j, a.out += j, a.lse += j, a.n_queries = 1;
        kernel(i)->attend(&a);
      }
      assert_memory_equal(c->out, one->out, sizeof c->out);
      assert_memory_equal(c->lse, one->lse, sizeof c->lse);
      kernel(i)->attend(&part);
      check_attention(c, 1, 3);
      for (int s = SLOT_BLOCK; s < 3 * SLOT_BLOCK; s++) c->dead[s] = 0; /* nothing is seen */
      kernel(i)->attend(&part);
      check_attention(c, 1, 3);
    }
  free(c), free(one);
}

/* Differences of rotated angles stay right at positions where float32 angles would be off by a radian. */
static void test_rope_far_away(void **state) {
  (void)state;
  const struct model_config c = {.head_dim = 64, .rope_theta = 10000};
  double frequency[32];
  rope_frequencies(&c, frequency);
  for (uint64_t at = 1; at < UINT64_C(1) << 40; at = at * 3 + 1) {
    float c0[32], s0[32], c1[32], s1[32];
    rope_angles(frequency, 32, at, 1, c0, s0);
    rope_angles(frequency, 32, at + 17, 1, c1, s1);
    for (int i = 0; i < 32; i++) {
      const double cosine = (double)c0[i] * c1[i] + (double)s0[i] * s1[i],
                   sine = (double)c0[i] * s1[i] - (double)s0[i] * c1[i];
      assert_true(fabs(cosine - cos(17 * frequency[i])) < 3e-7);
      assert_true(fabs(sine - sin(17 * frequency[i])) < 3e-7);
    }
  }
}

/* Llama 3.1's stretched frequencies, as its own code computes them: by wavelength. */
static void test_rope_scaling(void **state) {
  (void)state;
  enum { HALF = 64 };
  const double two_pi = 6.283185307179586, factor = 8, low = 1, high = 4, context = 8192;
  struct model_config c = {
      .head_dim = 2 * HALF, .rope_theta = 500000, .rope_scaling = {ROPE_LLAMA3, factor, low, high, context}};
  double plain[HALF], got[HALF];
  int kinds[3] = {0};
  rope_frequencies(&c, got);
  c.rope_scaling.type = ROPE_DEFAULT;
  rope_frequencies(&c, plain);
  for (int i = 0; i < HALF; i++) {
    const double wavelength = two_pi / plain[i];
    double want = plain[i] / factor;
    int kind = 0;
    if (wavelength < context / high) want = plain[i], kind = 1;
    if (wavelength >= context / high && wavelength <= context / low) {
      const double smooth = (context / wavelength - low) / (high - low);
      want = (1 - smooth) * plain[i] / factor + smooth * plain[i], kind = 2;
    }
    kinds[kind]++;
    assert_true(fabs(got[i] / want - 1) < 1e-12);
  }
  assert_true(kinds[0] > 5 && kinds[1] > 5 && kinds[2] > 2);
  c.rope_scaling = (struct rope_scaling){.type = ROPE_LINEAR, .factor = 4};
  rope_frequencies(&c, got);
  for (int i = 0; i < HALF; i++) assert_true(fabs(got[i] * 4 / plain[i] - 1) < 1e-15);
}

/* ---- whole networks ---- */

static void check_network(const struct random_shape *shape, const char *name, const char *policy, struct ref_policy p) {
  enum { TOKENS = 40 };
  struct random_model m;
  struct sluice_error err = {0};
  struct session *s = NULL;
  struct rng r;
  int32_t ids[TOKENS];
  double want[512], worst = 0;
  const struct session_options o = {.policy = policy, .kernel = name};
  random_model_make(&m, shape, 31);
  rng_seed(&r, 32);
  for (int i = 0; i < TOKENS; i++) ids[i] = (int32_t)rng_below(&r, (uint32_t)shape->vocab);
  float *got = malloc(sizeof *got * (size_t)shape->vocab * TOKENS);
  p.kept = calloc(REF_KEPT, sizeof *p.kept);
  if (session_open(&m.model, &o, &s, &err)) fail_msg("%s", err.message);
  assert_string_equal(session_kernel(s), name);
  assert_int_equal(session_append(s, ids, TOKENS, got, TOKENS, &err), SLUICE_OK);
  for (int t = 0; t < TOKENS; t++) {
    int best = 0, got_best = 0, second = 1;
    ref_append(&m.ref, &p, ids[t], want);
    for (int i = 0; i < shape->vocab; i++) {
      worst = fmax(worst, fabs(got[t * shape->vocab + i] - want[i]));
      if (got[t * shape->vocab + i] > got[t * shape->vocab + got_best]) got_best = i;
      if (want[i] > want[best])
        second = best, best = i;
      else if (i != best && (second == best || want[i] > want[second]))
        second = i;
    }
    if (want[best] - want[second] > 1e-3) assert_int_equal(got_best, best);
  }
  if (!(worst < 1e-4)) fail_msg("%s, %s: logits are off by %g", name, policy, worst);
  ref_close(&p);
  session_close(s);
  free(got);
  random_model_free(&m);
}

static void test_networks(void **state) {
  (void)state;
  static const struct random_shape shapes[] = {
      {.n_layers = 3,
       .d = 64,
       .heads = 8,
       .kv_heads = 4,
       .head_dim = 8,
       .ff = 172,
       .vocab = 51,
       .dtype = DTYPE_F32,
       .tied = true},
      {.n_layers = 2, .d = 36, .heads = 3, .kv_heads = 3, .head_dim = 12, .ff = 50, .vocab = 33, .dtype = DTYPE_F16},
      {.n_layers = 2, .d = 96, .heads = 6, .kv_heads = 1, .head_dim = 32, .ff = 128, .vocab = 100, .dtype = DTYPE_BF16},
      {.n_layers = 1, .d = 17, .heads = 1, .kv_heads = 1, .head_dim = 2, .ff = 3, .vocab = 5, .dtype = DTYPE_BF16},
  };
  for (int i = 0; i < N_NAMES; i++)
    for (size_t s = 0; kernel(i) && s < sizeof shapes / sizeof *shapes; s++) {
      check_network(&shapes[s], NAMES[i], "full", (struct ref_policy){.rule = REF_FULL});
      check_network(&shapes[s], NAMES[i], "streaming:budget=12",
                    (struct ref_policy){.rule = REF_STREAMING, .budget = 12, .sinks = 4});
      check_network(&shapes[s], NAMES[i], "interval:budget=12",
                    (struct ref_policy){.rule = REF_INTERVAL, .budget = 12, .sinks = 4});
    }
}

/* Quantised weights meet rounded activations, whose error has no bound of 1e-4 for a whole network. It must be what
 * rounding to 127 steps gives, and no more; and a text must give the same bits token by token and at once. */
static void check_quantised_network(enum dtype d, const char *name) {
  enum { TOKENS = 40, VOCAB = 70 };
  const int cols = dtype_block(d);
  const struct random_shape shape = {.n_layers = 2,
                                     .d = cols < 64 ? 64 : cols,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .head_dim = cols < 64 ? 16 : cols / 4,
                                     .ff = cols < 64 ? 96 : cols,
                                     .vocab = VOCAB,
                                     .dtype = d,
                                     .tied = true};
  struct random_model m;
  struct sluice_error err = {0};
  struct session *s = NULL, *slow = NULL;
  struct rng r;
  struct ref_policy p = {.rule = REF_FULL, .kept = calloc(REF_KEPT, sizeof *p.kept)};
  const struct session_options o = {.policy = "full", .kernel = name};
  int32_t ids[TOKENS];
  double want[VOCAB], off = 0, size = 0;
  float *got = malloc(sizeof *got * VOCAB * TOKENS), one[VOCAB];
  random_model_make(&m, &shape, 33);
  rng_seed(&r, 34);
  for (int i = 0; i < TOKENS; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
  if (session_open(&m.model, &o, &s, &err) || session_open(&m.model, &o, &slow, &err)) fail_msg("%s", err.message);
  assert_int_equal(session_append(s, ids, TOKENS, got, TOKENS, &err), SLUICE_OK);
  for (int t = 0; t < TOKENS; t++) {
    ref_append(&m.ref, &p, ids[t], want);
    assert_int_equal(session_append(slow, ids + t, 1, one, 1, &err), SLUICE_OK);
    assert_memory_equal(one, got + t * VOCAB, sizeof one);
    for (int i = 0; i < VOCAB; i++) {
      off += (one[i] - want[i]) * (one[i] - want[i]);
      size += want[i] * want[i];
    }
  }
  const double relative = sqrt(off / size);
  if (!(relative < 0.03 && relative > 1e-4)) fail_msg("%s, %s: logits are off by %g", name, dtype_name(d), relative);
  ref_close(&p);
  session_close(s), session_close(slow);
  free(got);
  random_model_free(&m);
}

static void test_quantised_networks(void **state) {
  (void)state;
  for (int i = 0; i < N_NAMES; i++)
    for (int d = DTYPE_Q8_0; kernel(i) && d <= DTYPE_Q4_0; d++) check_quantised_network((enum dtype)d, NAMES[i]);
}

static void test_choosing_a_kernel(void **state) {
  (void)state;
  struct sluice_error err = {0};
  const struct kernels *k;
  assert_int_equal(kernels_find(NULL, &k, &err), SLUICE_OK);
  assert_int_equal(kernels_find("portable", &k, &err), SLUICE_OK);
  assert_string_equal(k->name, "portable");
  assert_int_equal(kernels_find("avx51", &k, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "did you mean \"avx512\""));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matmul),
      cmocka_unit_test(test_extremes),
      cmocka_unit_test(test_rounding),
      cmocka_unit_test(test_shorter_row),
      cmocka_unit_test(test_elementwise),
      cmocka_unit_test(test_attention),
      cmocka_unit_test(test_rope_far_away),
      cmocka_unit_test(test_rope_scaling),
      cmocka_unit_test(test_networks),
      cmocka_unit_test(test_quantised_networks),
      cmocka_unit_test(test_choosing_a_kernel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
