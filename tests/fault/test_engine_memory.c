/* A session when memory runs out: whichever allocation fails, the call says so, nothing leaks, nothing has changed, and
 * the same call works afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/session.h"
#include "tests/random_model.h"

#include "tests/failing_allocator.h"

enum { TEXT = 150, VOCAB = 40 };

static const struct random_shape SHAPE = {
    .n_layers = 2, .d = 16, .heads = 2, .kv_heads = 1, .head_dim = 8, .ff = 20, .vocab = VOCAB, .dtype = DTYPE_BF16};

static const char *const POLICIES[] = {"full",
                                       "window:budget=30",
                                       "recompute:budget=30",
                                       "streaming:budget=30",
                                       "sirllm:budget=30",
                                       "random:budget=30",
                                       "interval:budget=30"};
enum { N_POLICIES = sizeof POLICIES / sizeof *POLICIES };

struct fixture {
  struct random_model m;
  int32_t text[TEXT];
  float want[VOCAB];
};

static struct session *fed(struct fixture *f, const char *policy, size_t n) {
  struct sluice_error err = {0};
  struct session *s = NULL;
  const struct session_options o = {.policy = policy};
  if (session_open(&f->m.model, &o, &s, &err)) fail_msg("%s", err.message);
  if (session_append(s, f->text, n, NULL, 0, &err)) fail_msg("%s", err.message);
  return s;
}

static void setup(struct fixture *f) {
  struct rng r;
  random_model_make(&f->m, &SHAPE, 1);
  rng_seed(&r, 2);
  for (int i = 0; i < TEXT; i++) f->text[i] = (int32_t)rng_below(&r, VOCAB);
}

/* The session stands where `want` was computed: 20 tokens were fed, and 130 more give its logits. */
static void check_unharmed(struct fixture *f, struct session *s, const char *policy) {
  float got[VOCAB];
  struct sluice_error err = {0};
  assert_int_equal(session_position(s), 20);
  if (session_append(s, f->text + 20, TEXT - 20, got, 1, &err)) fail_msg("%s: %s", policy, err.message);
  if (memcmp(got, f->want, sizeof got) != 0) fail_msg("%s: after a failure the logits differ", policy);
}

static void test_open(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err;
  if (!CAN_INJECT) skip();
  setup(&f);
  for (int p = 0; p < N_POLICIES; p++)
    for (long k = 0;; k++) {
      struct session *s = NULL;
      const long before = alive;
      const struct session_options o = {.policy = POLICIES[p]};
      countdown = k;
      const sluice_status st = session_open(&f.m.model, &o, &s, &err);
      countdown = -1;
      session_close(s);
      assert_int_equal(alive, before);
      if (st == SLUICE_OK) break;
      assert_int_equal(st, SLUICE_NOMEM);
      assert_true(k < 200);
    }
  random_model_free(&f.m);
}

static void test_append(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err;
  if (!CAN_INJECT) skip();
  setup(&f);
  for (int p = 0; p < N_POLICIES; p++) {
    struct session *s = fed(&f, POLICIES[p], 20);
    assert_int_equal(session_append(s, f.text + 20, TEXT - 20, f.want, 1, &err), SLUICE_OK);
    session_close(s);
    for (long k = 0, ended = 0; !ended; k++) {
      float got[VOCAB];
      s = fed(&f, POLICIES[p], 20);
      countdown = k;
      const sluice_status st = session_append(s, f.text + 20, TEXT - 20, got, 1, &err);
      countdown = -1;
      ended = st == SLUICE_OK;
      if (!ended) {
        assert_int_equal(st, SLUICE_NOMEM);
        check_unharmed(&f, s, POLICIES[p]);
      }
      session_close(s);
      assert_true(k < 50);
    }
  }
  random_model_free(&f.m);
}

static void test_fork_snapshot_restore(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err;
  if (!CAN_INJECT) skip();
  setup(&f);
  for (int p = 0; p < N_POLICIES; p++) {
    struct session *s = fed(&f, POLICIES[p], 20), *other = fed(&f, POLICIES[p], 90);
    unsigned char *kept = NULL;
    size_t kept_len;
    assert_int_equal(session_snapshot(s, &kept, &kept_len, &err), SLUICE_OK);
    struct session *one = fed(&f, POLICIES[p], 20);
    assert_int_equal(session_append(one, f.text + 20, TEXT - 20, f.want, 1, &err), SLUICE_OK);
    session_close(one);
    for (long k = 0, ended = 0; !ended; k++) {
      struct session *fork = NULL;
      unsigned char *bytes = NULL;
      size_t len;
      const long before = alive;
      countdown = k;
      sluice_status st = session_fork(s, &fork, &err);
      if (st == SLUICE_OK) st = session_snapshot(s, &bytes, &len, &err);
      if (st == SLUICE_OK) st = session_restore(fork, kept, kept_len, &err);
      countdown = -1;
      ended = st == SLUICE_OK;
      if (!ended) assert_int_equal(st, SLUICE_NOMEM);
      session_close(fork);
      free(bytes);
      assert_int_equal(alive, before);
      countdown = k;
      st = session_restore(other, kept, kept_len, &err);
      countdown = -1;
      assert_int_equal(session_position(other), st == SLUICE_OK ? 20 : 90);
      if (st == SLUICE_OK) {
        session_close(other);
        other = fed(&f, POLICIES[p], 90);
      }
      assert_true(k < 200);
    }
    check_unharmed(&f, s, POLICIES[p]);
    session_close(s), session_close(other);
    free(kept);
  }
  random_model_free(&f.m);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_open), cmocka_unit_test(test_append),
                                     cmocka_unit_test(test_fork_snapshot_restore)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
