/* Sessions that take steps together get the bits that each would get alone: every policy, staggered starts, each
 * kernel, one and two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "engine/session.h"
#include "tests/random_model.h"

enum { TEXT = 150, SESSIONS = 9 };

static const struct random_shape SHAPE = {
    .n_layers = 2, .d = 48, .heads = 6, .kv_heads = 2, .head_dim = 8, .ff = 84, .vocab = 64, .dtype = DTYPE_BF16};
static const char *const POLICIES[SESSIONS] = {"full",
                                               "window:budget=40",
                                               "recompute:budget=24",
                                               "streaming:budget=40",
                                               "sirllm:budget=40,decay=0.8",
                                               "sirllm:budget=40,mode=repo,recent=7",
                                               "random:budget=40",
                                               "interval:budget=40",
                                               "full"};

struct fixture {
  struct random_model m;
  int32_t text[SESSIONS][TEXT];
};

static void setup(struct fixture *f) {
  struct rng r;
  random_model_make(&f->m, &SHAPE, 31);
  rng_seed(&r, 32);
  for (int s = 0; s < SESSIONS; s++)
    for (int i = 0; i < TEXT; i++) f->text[s][i] = (int32_t)rng_below(&r, (uint32_t)SHAPE.vocab);
}

/* Tokens that session s has read before the steps begin: none has the same number. */
static int head_start(int s) {
  return 1 + 11 * s;
}

static void alone(const struct fixture *f, const char *kernel, int s, float *last, size_t *bytes) {
  struct sluice_error err = {0};
  struct session *one = NULL;
  const struct session_options o = {
      .policy = POLICIES[s], .threads = 1, .kernel = test_on_cpu() ? kernel : NULL, .seed = 5, .device = test_device()};
  if (session_open(&f->m.model, &o, &one, &err)) fail_msg("%s", err.message);
  assert_int_equal(session_append(one, f->text[s], TEXT, last, 1, &err), SLUICE_OK);
  *bytes = session_bytes(one);
  session_close(one);
}

/* Steps until every text has been read: those that have finished drop out of the batch. */
static void together(const struct fixture *f, const char *kernel, int threads, float *last, size_t *bytes) {
  const size_t vocab = (size_t)SHAPE.vocab;
  struct sluice_error err = {0};
  struct session *s[SESSIONS];
  const struct session_options o = {.policy = POLICIES[0],
                                    .threads = threads,
                                    .kernel = test_on_cpu() ? kernel : NULL,
                                    .seed = 5,
                                    .device = test_device()};
  if (session_open(&f->m.model, &o, &s[0], &err)) fail_msg("%s", err.message);
  for (int i = 1; i < SESSIONS; i++)
    assert_int_equal(session_open_beside(s[0], POLICIES[i], 5, &s[i], &err), SLUICE_OK);
  for (int i = 0; i < SESSIONS; i++)
    assert_int_equal(session_append(s[i], f->text[i], (size_t)head_start(i), NULL, 0, &err), SLUICE_OK);
  for (int step = 0; step < TEXT; step++) {
    struct session *running[SESSIONS];
    int32_t ids[SESSIONS];
    float *logits[SESSIONS];
    size_t n = 0;
    for (int i = 0; i < SESSIONS; i++) {
      const int at = head_start(i) + step;
      if (at >= TEXT) continue;
      running[n] = s[i], ids[n] = f->text[i][at];
      logits[n++] = at % 3 == 0 || at + 1 == TEXT ? last + (size_t)i * vocab : NULL;
    }
    assert_int_equal(session_step_many(running, ids, logits, n, &err), SLUICE_OK);
  }
  for (int i = 0; i < SESSIONS; i++) {
    bytes[i] = session_bytes(s[i]);
    session_close(s[i]);
  }
}

static void test_each_gets_its_own_bits(void **state) {
  static const char *const kernels[] = {"portable", "avx2", "avx512"};
  (void)state;
  struct fixture f;
  setup(&f);
  const size_t vocab = (size_t)SHAPE.vocab;
  for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
    const struct kernels *found;
    struct sluice_error err = {0};
    if (kernels_find(kernels[k], &found, &err)) continue; /* this processor lacks it */
    for (int threads = 1; threads <= 2; threads++) {
      float want[SESSIONS * 64], got[SESSIONS * 64];
      size_t want_bytes[SESSIONS], got_bytes[SESSIONS];
      for (int s = 0; s < SESSIONS; s++) alone(&f, kernels[k], s, want + (size_t)s * vocab, &want_bytes[s]);
      together(&f, kernels[k], threads, got, got_bytes);
      for (int s = 0; s < SESSIONS; s++)
        if (!test_rows_agree(want + (size_t)s * vocab, got + (size_t)s * vocab, vocab))
          fail_msg("%s, %d threads, %s: other bits than alone", kernels[k], threads, POLICIES[s]);
      assert_memory_equal(want_bytes, got_bytes, sizeof want_bytes);
    }
  }
  random_model_free(&f.m);
}

static void test_errors_change_nothing(void **state) {
  (void)state;
  struct fixture f;
  setup(&f);
  struct sluice_error err = {0};
  struct session *s[2], *stranger;
  float *logits[2] = {NULL, NULL};
  assert_int_equal(session_open(&f.m.model, NULL, &s[0], &err), SLUICE_OK);
  assert_int_equal(session_open_beside(s[0], NULL, 0, &s[1], &err), SLUICE_OK);
  assert_int_equal(session_open(&f.m.model, NULL, &stranger, &err), SLUICE_OK);
  const int32_t bad[2] = {3, 64}, good[2] = {3, 4};
  assert_int_equal(session_step_many(s, bad, logits, 2, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "sequence 1"));
  assert_int_equal(session_position(s[0]), 0);
  struct session *mixed[2] = {s[0], stranger};
  assert_int_equal(session_step_many(mixed, good, logits, 2, &err), SLUICE_INTERNAL);
  assert_int_equal(session_open_beside(s[0], "windw", 0, &mixed[1], &err), SLUICE_USAGE);
  assert_int_equal(session_step_many(s, good, logits, 2, &err), SLUICE_OK);
  assert_int_equal(session_position(s[1]), 1);
  session_close(s[0]);
  session_close(s[1]);
  session_close(stranger);
  random_model_free(&f.m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_gets_its_own_bits),
                                     cmocka_unit_test(test_errors_change_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
