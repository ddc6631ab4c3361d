/* Every cache policy against the float64 reference, token by token: which tokens are kept, and the logits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/session.h"
#include "tests/random_model.h"

enum { TEXT = 150, TURN_MAX = 13 };

static const struct random_shape SHAPE = {.n_layers = 2,
                                          .d = 40,
                                          .heads = 6,
                                          .kv_heads = 2,
                                          .head_dim = 8,
                                          .ff = 84,
                                          .vocab = 101,
                                          .dtype = DTYPE_BF16,
                                          .tied = true};

struct text {
  int32_t ids[TEXT];
  bool turn_ends[TEXT]; /* behind this token */
};

static void make_text(struct text *t, uint64_t seed, int vocab) {
  struct rng r;
  rng_seed(&r, seed);
  memset(t, 0, sizeof *t);
  for (int i = 0; i < TEXT; i++) t->ids[i] = (int32_t)rng_below(&r, (uint32_t)vocab);
  for (int i = (int)rng_below(&r, TURN_MAX); i < TEXT; i += 1 + (int)rng_below(&r, TURN_MAX)) t->turn_ends[i] = true;
}

static struct session *open_session(const struct random_model *m, const char *policy, const char *kernel, int threads) {
  struct sluice_error err = {0};
  struct session *s = NULL;
  const struct session_options o = {.policy = policy,
                                    .threads = threads,
                                    .kernel = test_on_cpu() ? kernel : NULL,
                                    .seed = 11,
                                    .device = test_device()};
  if (session_open(&m->model, &o, &s, &err)) fail_msg("%s", err.message);
  return s;
}

static void append(struct session *s, const int32_t *ids, size_t n, float *logits, size_t rows) {
  struct sluice_error err = {0};
  if (session_append(s, ids, n, logits, rows, &err)) fail_msg("%s", err.message);
}

static void check_logits(const float *got, const double *want, int vocab, const char *what, int token) {
  int best = 0, second = -1, got_best = 0;
  for (int i = 1; i < vocab; i++) {
    if (got[i] > got[got_best]) got_best = i;
    if (want[i] > want[best])
      second = best, best = i;
    else if (second < 0 || want[i] > want[second])
      second = i;
  }
  for (int i = 0; i < vocab; i++)
    if (!(fabs(got[i] - want[i]) < 1e-4))
      fail_msg("%s: token %d, logit %d: %.7f, reference %.7f", what, token, i, got[i], want[i]);
  if (want[best] - want[second] > 1e-3) assert_int_equal(got_best, best);
}

static void check_kept(const struct session *s, const struct ref_policy *p, const char *what, int token) {
  uint64_t got[REF_KEPT];
  const size_t n = session_trace(s, got, REF_KEPT);
  if ((int)n != p->n) fail_msg("%s: after token %d: %zu kept, reference %d", what, token, n, p->n);
  for (size_t i = 0; i < n; i++)
    if (got[i] != (uint64_t)p->kept[i].position)
      fail_msg("%s: after token %d: kept %zu is position %llu, reference %lld", what, token, i,
               (unsigned long long)got[i], (long long)p->kept[i].position);
}

struct policy_case {
  const char *name;
  struct ref_policy ref;
};

static const struct policy_case CASES[] = {
    {"full", {.rule = REF_FULL}},
    {"window:budget=24", {.rule = REF_WINDOW, .budget = 24}},
    {"window:budget=1", {.rule = REF_WINDOW, .budget = 1}},
    {"streaming:sinks=4,recent=20", {.rule = REF_STREAMING, .budget = 24, .sinks = 4, .recent = 20}},
    {"streaming:sinks=0,recent=24", {.rule = REF_STREAMING, .budget = 24, .recent = 24}},
    {"streaming:sinks=19,recent=1", {.rule = REF_STREAMING, .budget = 20, .sinks = 19, .recent = 1}},
    {"sirllm:budget=28", {.rule = REF_SIRLLM, .budget = 28, .sinks = 4, .entropy = 24, .decay = 1}},
    {"sirllm:budget=28,decay=0.7", {.rule = REF_SIRLLM, .budget = 28, .sinks = 4, .entropy = 24, .decay = 0.7}},
    {"sirllm:budget=28,mode=repo",
     {.rule = REF_SIRLLM, .budget = 28, .sinks = 4, .entropy = 24, .decay = 1, .repo = true}},
    {"sirllm:budget=34,decay=0.8", {.rule = REF_SIRLLM, .budget = 34, .sinks = 4, .entropy = 30, .decay = 0.8}},
    {"sirllm:sinks=2,recent=9,entropy=17,decay=0.9",
     {.rule = REF_SIRLLM, .budget = 28, .sinks = 2, .recent = 9, .entropy = 17, .decay = 0.9}},
    {"sirllm:sinks=4,recent=20,entropy=3",
     {.rule = REF_SIRLLM, .budget = 27, .sinks = 4, .recent = 20, .entropy = 3, .decay = 1}},
    {"sirllm:sinks=1,entropy=1", {.rule = REF_SIRLLM, .budget = 2, .sinks = 1, .entropy = 1, .decay = 1}},
    {"sirllm:budget=28,decay=0", /* earlier rounds all weigh nothing: ties decide */
     {.rule = REF_SIRLLM, .budget = 28, .sinks = 4, .entropy = 24, .decay = 0}},
    {"random:budget=24", {.rule = REF_RANDOM, .budget = 24, .sinks = 4}},
    {"interval:budget=24", {.rule = REF_INTERVAL, .budget = 24, .sinks = 4}},
    {"interval:budget=9,sinks=0", {.rule = REF_INTERVAL, .budget = 9, .sinks = 0}},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static struct ref_policy ref_open(const struct policy_case *c) {
  struct ref_policy p = c->ref;
  const uint64_t seeds[2] = {11, 0};
  p.kept = calloc(REF_KEPT, sizeof *p.kept);
  rng_seed_named(&p.rng, hash64(seeds, sizeof seeds), "policy random");
  return p;
}

/* In random pieces that never cross the end of a turn. */
static void run_case(const struct random_model *m, const struct policy_case *c, const char *kernel, uint64_t seed) {
  struct sluice_error err;
  struct text text;
  struct rng r;
  const int vocab = m->ref.vocab;
  float *got = malloc(sizeof(float) * (size_t)vocab * TEXT);
  double want[512];
  make_text(&text, seed, vocab);
  rng_seed(&r, seed + 1);
  struct session *s = open_session(m, c->name, kernel, 1);
  struct ref_policy p = ref_open(c);
  for (int done = 0; done < TEXT;) {
    int n = 1 + (int)rng_below(&r, 9), last = done;
    while (last < done + n - 1 && last < TEXT - 1 && !text.turn_ends[last]) last++;
    n = last + 1 - done;
    append(s, text.ids + done, (size_t)n, got, (size_t)n);
    for (int i = 0; i < n; i++) {
      ref_append(&m->ref, &p, text.ids[done + i], want);
      check_logits(got + i * vocab, want, vocab, c->name, done + i);
    }
    check_kept(s, &p, c->name, last);
    assert_int_equal(session_bytes(s),
                     (size_t)p.n * 2 * 4 * (size_t)(m->ref.n_layers * m->ref.kv_heads * m->ref.head_dim));
    done += n;
    if (!text.turn_ends[last]) continue;
    ref_end_turn(&p);
    assert_int_equal(session_end_turn(s, &err), SLUICE_OK);
  }
  assert_int_equal(session_position(s), TEXT);
  ref_close(&p);
  session_close(s);
  free(got);
}

static void test_policies_equal_the_reference(void **state) {
  (void)state;
  struct random_model m;
  random_model_make(&m, &SHAPE, 3);
  for (int i = 0; i < N_CASES; i++) run_case(&m, &CASES[i], NULL, 100 + (uint64_t)i);
  random_model_free(&m);
}

static void test_recompute_equals_fresh_windows(void **state) {
  (void)state;
  struct random_model m;
  struct text text;
  double want[512];
  float got[8 * 101];
  struct rng r;
  random_model_make(&m, &SHAPE, 4);
  make_text(&text, 5, SHAPE.vocab);
  rng_seed(&r, 6);
  struct session *s = open_session(&m, "recompute:budget=12", NULL, 1);
  for (int done = 0; done < 60;) {
    const int n = 1 + (int)rng_below(&r, 8), rows = (int)rng_below(&r, 3); /* none, the last, all */
    append(s, text.ids + done, (size_t)n, rows ? got : NULL, rows == 2 ? (size_t)n : 1);
    done += n;
    for (int i = 0; rows && i < (rows == 2 ? n : 1); i++) {
      const int end = rows == 2 ? done - n + i + 1 : done;
      ref_recompute(&m.ref, text.ids, end, 12, want);
      check_logits(got + i * SHAPE.vocab, want, SHAPE.vocab, "recompute", end - 1);
    }
    uint64_t kept[16];
    const size_t n_kept = session_trace(s, kept, 16);
    assert_int_equal(n_kept, done < 12 ? done : 12);
    for (size_t i = 0; i < n_kept; i++) assert_int_equal(kept[i], (size_t)done - n_kept + i);
  }
  session_close(s);
  random_model_free(&m);
}

/* What is left of the earlier rounds when a round of m tokens ends is what the published rule keeps for coming = m. */
static void test_sirllm_keeps_what_one_eviction_keeps(void **state) {
  (void)state;
  struct random_model m;
  struct text text;
  double want[512];
  int compared = 0;
  random_model_make(&m, &SHAPE, 8);
  make_text(&text, 9, SHAPE.vocab);
  struct ref_policy p = ref_open(&CASES[9]); /* no round is cut: 13 tokens at most, half of the budget is 15 */
  struct session *s = open_session(&m, CASES[9].name, NULL, 1);
  for (int start = 0, end; start < TEXT; start = end) {
    for (end = start; end < TEXT - 1 && !text.turn_ends[end]; end++) {
    }
    end++;
    bool save[REF_KEPT];
    int64_t published[REF_KEPT];
    int n_published = 0, n = end - start;
    ref_sirllm_rule(&p, p.n, n, save);
    for (int i = 0; i < p.n; i++)
      if (save[i]) published[n_published++] = p.kept[i].position;
    if (p.n + n > p.budget) compared++;
    for (int i = start; i < end; i++) ref_append(&m.ref, &p, text.ids[i], want);
    append(s, text.ids + start, (size_t)n, NULL, 0);
    uint64_t kept[REF_KEPT];
    const size_t n_kept = session_trace(s, kept, REF_KEPT);
    assert_int_equal(n_kept, (size_t)(n_published + n));
    for (int i = 0; i < n_published; i++) assert_int_equal(kept[i], published[i]);
    ref_end_turn(&p);
    struct sluice_error err;
    session_end_turn(s, &err);
  }
  assert_true(compared > 10);
  ref_close(&p);
  session_close(s);
  random_model_free(&m);
}

static void test_random_takes_other_draws_for_other_seeds(void **state) {
  (void)state;
  struct random_model m;
  struct text text;
  uint64_t kept[3][32];
  random_model_make(&m, &SHAPE, 3);
  make_text(&text, 5, SHAPE.vocab);
  const char *policies[3] = {"random:budget=24", "random:budget=24,seed=0", "random:budget=24,seed=1"};
  for (int i = 0; i < 3; i++) {
    struct session *s = open_session(&m, policies[i], NULL, 1);
    append(s, text.ids, TEXT, NULL, 0);
    assert_int_equal(session_trace(s, kept[i], 32), 24);
    session_close(s);
  }
  assert_memory_equal(kept[0], kept[1], 24 * sizeof **kept);
  assert_memory_not_equal(kept[0], kept[2], 24 * sizeof **kept);
  random_model_free(&m);
}

/* ---- far positions: as if thousands or millions of tokens had gone by after the sinks ---- */

static void check_far(const struct random_model *m, const struct policy_case *c, uint64_t far, int before) {
  struct text text;
  float got[101];
  double want[512];
  make_text(&text, far, m->ref.vocab);
  struct session *s = open_session(m, c->name, NULL, 1);
  struct ref_policy p = ref_open(c);
  for (int i = 0; i < 60; i++) {
    if (i == before) session_skip(s, far);
    append(s, &text.ids[i], 1, got, 1);
    ref_append(&m->ref, &p, text.ids[i], want);
    check_logits(got, want, m->ref.vocab, c->name, i);
  }
  uint64_t last[REF_KEPT];
  const size_t n = session_trace(s, last, REF_KEPT);
  assert_int_equal(last[n - 1], far + 59);
  ref_close(&p);
  session_close(s);
}

static void test_far_positions(void **state) {
  (void)state;
  struct random_model m;
  random_model_make(&m, &SHAPE, 12);
  const uint64_t far[] = {1000, 1000000, 4000000, UINT64_C(4000000000)};
  for (int i = 0; i < 4; i++) {
    check_far(&m, &CASES[3], far[i], 4);
    check_far(&m, &CASES[4], far[i], 0);
    check_far(&m, &CASES[1], far[i], 0);
    check_far(&m, &CASES[6], far[i], 0);
  }
  random_model_free(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_policies_equal_the_reference),
      cmocka_unit_test(test_recompute_equals_fresh_windows),
      cmocka_unit_test(test_sirllm_keeps_what_one_eviction_keeps),
      cmocka_unit_test(test_random_takes_other_draws_for_other_seeds),
      cmocka_unit_test(test_far_positions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
