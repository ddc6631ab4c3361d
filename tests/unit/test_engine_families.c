/* Every family's kind of block against the float64 reference: token by token, cut into chunks of any size, under cache
 * policies of both key forms, with every kernel that this CPU runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/cpu/rope.h"
#include "engine/session.h"
#include "tests/random_model.h"

enum { TEXT = 90 };

#define SMALL .n_layers = 2, .d = 40, .heads = 6, .kv_heads = 2, .head_dim = 8, .ff = 84, .vocab = 101
#define NEOX                                                                                                           \
  .norm = NORM_LAYER, .activation = ACTIVATION_GELU, .plain_ffn = true, .parallel_residual = true, .qkv_bias = true,   \
  .o_bias = true, .ffn_bias = true

#define YARN(context)                                                                                                  \
  {                                                                                                                    \
    .type = ROPE_YARN, .factor = 4, .original_context = context, .beta_fast = 32, .beta_slow = 1, .attention = 1.25,   \
    .whole_ramp = true                                                                                                 \
  }

struct family_case {
  const char *name;
  struct random_shape shape;
};

static const struct family_case FAMILIES[] = {
    {"llama", {SMALL, .dtype = DTYPE_BF16, .tied = true}},
    {"llama with every bias",
     {SMALL, .dtype = DTYPE_F16, .block = {.qkv_bias = true, .o_bias = true, .ffn_bias = true}}},
    {"llama from GGUF", {SMALL, .dtype = DTYPE_BF16, .block = {.rotary_neighbours = true}}},
    {"mistral", {SMALL, .dtype = DTYPE_BF16, .block = {.window = 16}}},
    {"mistral, window of one", {SMALL, .dtype = DTYPE_BF16, .block = {.window = 1}}},
    {"qwen2", {SMALL, .dtype = DTYPE_BF16, .tied = true, .block = {.qkv_bias = true}}},
    {"qwen2 with windows above",
     {SMALL, .dtype = DTYPE_BF16, .block = {.qkv_bias = true, .window = 21, .window_from = 1}}},
    {"qwen3",
     {.n_layers = 2,
      .d = 36,
      .heads = 4,
      .kv_heads = 2,
      .head_dim = 20,
      .ff = 50,
      .vocab = 64,
      .block = {.qk_norm = true}}},
    {"gpt_neox",
     {.n_layers = 3,
      .d = 40,
      .heads = 5,
      .kv_heads = 5,
      .head_dim = 8,
      .ff = 96,
      .vocab = 77,
      .block = {NEOX, .rotary_dims = 2}}},
    {"gpt_neox, residuals one after the other",
     {.n_layers = 2,
      .d = 64,
      .heads = 2,
      .kv_heads = 2,
      .head_dim = 32,
      .ff = 100,
      .vocab = 50,
      .block = {.norm = NORM_LAYER, .activation = ACTIVATION_GELU_TANH, .plain_ffn = true, .rotary_dims = 8}}},
    {"half a head by neighbours", {SMALL, .block = {.rotary_dims = 4, .rotary_neighbours = true}}},
#define WIDE_HEADS .n_layers = 2, .d = 40, .heads = 2, .kv_heads = 1, .head_dim = 32, .ff = 84, .vocab = 101
    {"yarn", {WIDE_HEADS, .block = {.rope_scaling = YARN(64)}}},
    {"yarn over half a head",
     {WIDE_HEADS, .block = {.rope_scaling = YARN(700), .rotary_dims = 16, .rotary_neighbours = true}}},
    {"yarn, a ramp of no width", {SMALL, .block = {.rope_scaling = YARN(4)}}},
    {"dynamic NTK",
     {WIDE_HEADS, .block = {.rope_scaling = {.type = ROPE_DYNAMIC, .factor = 2, .original_context = 26}}}},
    {"dynamic NTK, part of a head",
     {SMALL, .block = {.rope_scaling = {.type = ROPE_DYNAMIC, .factor = 3, .original_context = 30}, .rotary_dims = 4}}},
};
enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES };

struct policy_case {
  const char *name;
  struct ref_policy ref;
};

/* Budgets below and above the windows. */
static const struct policy_case POLICIES[] = {
    {"full", {.rule = REF_FULL}},
    {"window:budget=24", {.rule = REF_WINDOW, .budget = 24}},
    {"streaming:sinks=4,recent=20", {.rule = REF_STREAMING, .budget = 24, .sinks = 4, .recent = 20}},
    {"streaming:sinks=2,recent=8", {.rule = REF_STREAMING, .budget = 10, .sinks = 2, .recent = 8}},
    {"sirllm:budget=28,decay=0.7", {.rule = REF_SIRLLM, .budget = 28, .sinks = 4, .entropy = 24, .decay = 0.7}},
};

static void check_row(const float *got, const double *want, int vocab, const char *what, const char *policy,
                      int token) {
  for (int i = 0; i < vocab; i++)
    if (!(fabs(got[i] - want[i]) < 1e-4))
      fail_msg("%s under %s: token %d, logit %d: %.7f, reference %.7f", what, policy, token, i, got[i], want[i]);
}

static void run(const struct random_model *m, const struct family_case *c, const struct policy_case *policy,
                const char *kernel, int threads, uint64_t seed) {
  struct sluice_error err = {0};
  struct session *s = NULL;
  struct rng r;
  int32_t ids[TEXT];
  const int vocab = m->ref.vocab;
  double want[512];
  float *got = malloc(sizeof(float) * (size_t)vocab * TEXT);
  const struct session_options o = {.policy = policy->name, .threads = threads, .kernel = kernel, .seed = 11};
  if (session_open(&m->model, &o, &s, &err)) fail_msg("%s", err.message);
  struct ref_policy p = policy->ref;
  p.kept = calloc(REF_KEPT, sizeof *p.kept);
  rng_seed(&r, seed);
  for (int i = 0; i < TEXT; i++) ids[i] = (int32_t)rng_below(&r, (uint32_t)vocab);
  for (int done = 0, n; done < TEXT; done += n) {
    n = 1 + (int)rng_below(&r, 20);
    if (n > TEXT - done) n = TEXT - done;
    if (session_append(s, ids + done, (size_t)n, got, (size_t)n, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < n; i++) {
      ref_append(&m->ref, &p, ids[done + i], want);
      check_row(got + i * vocab, want, vocab, c->name, policy->name, done + i);
    }
  }
  ref_close(&p);
  session_close(s);
  free(got);
}

static void every_family_equals_the_reference(void **state) {
  (void)state;
  static const char *const kernels[] = {"portable", "avx2", "avx512"};
  for (int f = 0; f < N_FAMILIES; f++) {
    struct random_model m;
    random_model_make(&m, &FAMILIES[f].shape, 40 + (uint64_t)f);
    for (size_t p = 0; p < sizeof POLICIES / sizeof *POLICIES; p++)
      run(&m, &FAMILIES[f], &POLICIES[p], NULL, 1 + (int)p % 2, 7 * (uint64_t)f + p);
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
      struct sluice_error err;
      const struct kernels *found;
      if (kernels_find(kernels[k], &found, &err) == SLUICE_OK)
        run(&m, &FAMILIES[f], &POLICIES[0], kernels[k], 1, 3 + (uint64_t)f);
    }
    random_model_free(&m);
  }
}

/* Bit by bit: one token at a time, all at once, and by two lanes. */
static void cuts_change_no_bit(void **state) {
  (void)state;
  for (int f = 0; f < N_FAMILIES; f++) {
    struct random_model m;
    struct sluice_error err;
    random_model_make(&m, &FAMILIES[f].shape, 60 + (uint64_t)f);
    const size_t vocab = (size_t)m.ref.vocab;
    int32_t ids[TEXT];
    float *all = malloc(TEXT * vocab * sizeof *all), *one = malloc(vocab * sizeof *one);
    for (int i = 0; i < TEXT; i++) ids[i] = (int32_t)(((size_t)i * 31 + 5) % vocab);
    struct session *whole, *single;
    assert_int_equal(session_open(&m.model, &(struct session_options){.threads = 2}, &whole, &err), 0);
    assert_int_equal(session_open(&m.model, NULL, &single, &err), 0);
    assert_int_equal(session_append(whole, ids, TEXT, all, TEXT, &err), 0);
    for (size_t i = 0; i < TEXT; i++) {
      assert_int_equal(session_append(single, ids + i, 1, one, 1, &err), 0);
      if (memcmp(one, all + i * vocab, vocab * sizeof *one) != 0)
        fail_msg("%s: token %zu differs", FAMILIES[f].name, i);
    }
    session_close(whole), session_close(single);
    free(all), free(one);
    random_model_free(&m);
  }
}

struct watched {
  int calls[4];
  double largest;
};

static void watch(void *ctx, int layer, int first, int n, const float *x, size_t width) {
  struct watched *w = ctx;
  w->calls[layer + 1] += n;
  for (size_t i = 0; i < (size_t)n * width; i++) w->largest = fmax(w->largest, fabs((double)x[i]));
  assert_true(first >= 0);
}

static void layers_can_be_watched(void **state) {
  (void)state;
  struct random_model m;
  struct sluice_error err;
  struct watched w = {{0}, 0};
  const int32_t ids[3] = {1, 2, 3};
  random_model_make(&m, &FAMILIES[0].shape, 1);
  struct session *s;
  float *logits = malloc((size_t)m.ref.vocab * sizeof *logits);
  assert_int_equal(session_open(&m.model, NULL, &s, &err), 0);
  s->backend->ops->watch(s->backend, watch, &w);
  assert_int_equal(session_append(s, ids, 3, logits, 1, &err), 0);
  assert_int_equal(w.calls[0], 3);
  assert_int_equal(w.calls[1], 3);
  assert_int_equal(w.calls[2], 1); /* the last layer computes what is asked for */
  assert_true(w.largest > 0);
  session_close(s);
  free(logits);
  random_model_free(&m);
}

static void dynamic_scaling_says_where_it_ends(void **state) {
  (void)state;
  struct random_model m;
  struct sluice_error err = {0};
  struct session *s;
  const struct random_shape shape = {
      WIDE_HEADS, .block = {.rope_scaling = {.type = ROPE_DYNAMIC, .factor = 2, .original_context = 26}}};
  const struct session_options o = {.policy = "streaming:sinks=4,recent=23"};
  random_model_make(&m, &shape, 1);
  assert_int_equal(session_open(&m.model, &o, &s, &err), SLUICE_UNSUPPORTED);
  assert_non_null(strstr(err.message, "streaming"));
  assert_non_null(strstr(err.message, "26"));
  random_model_free(&m);
}

static void divisors_stretch_frequencies(void **state) {
  (void)state;
  static const float divisors[] = {1, 2, 4, 8};
  const struct model_config c = {.head_dim = 16, .rotary_dims = 8, .rope_theta = 10000, .rope_divisors = divisors};
  double plain[8], got[8];
  struct model_config without = c;
  without.rope_divisors = NULL;
  rope_frequencies(&without, plain);
  rope_frequencies(&c, got);
  for (int i = 0; i < 4; i++) assert_true(got[i] == plain[i] / (double)divisors[i]);
  for (int i = 4; i < 8; i++) assert_true(got[i] == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_family_equals_the_reference),
      cmocka_unit_test(cuts_change_no_bit),
      cmocka_unit_test(layers_can_be_watched),
      cmocka_unit_test(dynamic_scaling_says_where_it_ends),
      cmocka_unit_test(divisors_stretch_frequencies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
