/* What a session promises whatever its policy: the same bits for every way to cut the text and every thread count,
 * forks and snapshots that go on as if nothing had happened, constant memory, errors that change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/session.h"
#include "tests/random_model.h"

enum { TEXT = 260, ROUND = 37 };

static const struct random_shape SHAPE = {
    .n_layers = 2, .d = 48, .heads = 6, .kv_heads = 2, .head_dim = 8, .ff = 84, .vocab = 64, .dtype = DTYPE_F16};

static const char *const POLICIES[] = {
    "full",
    "window:budget=40",
    "recompute:budget=40",
    "streaming:budget=40",
    "sirllm:budget=40,decay=0.8",
    "sirllm:budget=40,mode=repo,recent=7",
    "random:budget=40",
    "interval:budget=40",
};
enum { N_POLICIES = sizeof POLICIES / sizeof *POLICIES };

struct fixture {
  struct random_model m;
  int32_t text[TEXT];
};

static void setup(struct fixture *f, const struct random_shape *shape) {
  struct rng r;
  random_model_make(&f->m, shape, 21);
  rng_seed(&r, 22);
  for (int i = 0; i < TEXT; i++) f->text[i] = (int32_t)rng_below(&r, (uint32_t)shape->vocab);
}

static struct session *open_session(const struct fixture *f, const char *policy, const char *kernel, int threads) {
  struct sluice_error err = {0};
  struct session *s = NULL;
  const struct session_options o = {.policy = policy,
                                    .threads = threads,
                                    .kernel = test_on_cpu() ? kernel : NULL,
                                    .seed = 5,
                                    .device = test_device()};
  if (session_open(&f->m.model, &o, &s, &err)) fail_msg("%s", err.message);
  return s;
}

/* Feeds text[from, to) in pieces of 1 to `piece` tokens, rounds ending every ROUND tokens; every token's logits to
 * rows[to-from]. */
static void feed(const struct fixture *f, struct session *s, int from, int to, int piece, uint64_t seed, float *rows) {
  struct sluice_error err = {0};
  struct rng r;
  const int vocab = f->m.ref.vocab;
  rng_seed(&r, seed);
  for (int done = from; done < to;) {
    int n = piece == 1 ? 1 : 1 + (int)rng_below(&r, (uint32_t)piece);
    const int round_end = (done / ROUND + 1) * ROUND;
    if (done + n > round_end) n = round_end - done;
    if (done + n > to) n = to - done;
    if (session_append(s, f->text + done, (size_t)n, rows + (done - from) * vocab, (size_t)n, &err))
      fail_msg("%s", err.message);
    done += n;
    if (done % ROUND == 0) assert_int_equal(session_end_turn(s, &err), SLUICE_OK);
  }
}

static float *new_rows(const struct fixture *f) {
  return calloc(TEXT * (size_t)f->m.ref.vocab, sizeof(float));
}
static size_t rows_bytes(const struct fixture *f, int n) {
  return (size_t)n * (size_t)f->m.ref.vocab * sizeof(float);
}

static bool same_rows(const struct fixture *f, const float *a, const float *b, int n) {
  return test_rows_agree(a, b, (size_t)n * (size_t)f->m.ref.vocab);
}

static void test_bits_do_not_depend_on_pieces(void **state) {
  (void)state;
  struct fixture f;
  setup(&f, &SHAPE);
  float *want = new_rows(&f), *got = new_rows(&f);
  for (int p = 0; p < N_POLICIES; p++) {
    struct session *s = open_session(&f, POLICIES[p], NULL, 1);
    feed(&f, s, 0, TEXT, 1, 0, want);
    uint64_t kept[TEXT], kept_again[TEXT];
    const size_t n = session_trace(s, kept, TEXT);
    session_close(s);
    for (int piece = 2; piece < 300; piece = piece * 3 + 1) {
      s = open_session(&f, POLICIES[p], NULL, 1);
      feed(&f, s, 0, TEXT, piece, (uint64_t)piece, got);
      if (!same_rows(&f, want, got, TEXT)) fail_msg("%s: pieces of up to %d give other bits", POLICIES[p], piece);
      assert_int_equal(session_trace(s, kept_again, TEXT), n);
      assert_memory_equal(kept, kept_again, n * sizeof *kept);
      session_close(s);
    }
  }
  free(want), free(got);
  random_model_free(&f.m);
}

/* All 2^(n-1) ways to cut a short text, over a cache that it overflows. */
static void test_all_cuts_of_a_short_text(void **state) {
  (void)state;
  static const char *const small[] = {"window:budget=4", "streaming:sinks=2,recent=3", "sirllm:sinks=1,entropy=5",
                                      "random:budget=5,sinks=1"};
  enum { N = 9 };
  struct sluice_error err = {0};
  struct fixture f;
  setup(&f, &SHAPE);
  float *want = new_rows(&f), *got = new_rows(&f);
  for (int p = 0; p < 4; p++)
    for (int cuts = 0; cuts < 1 << (N - 1); cuts++) {
      struct session *s = open_session(&f, small[p], NULL, 1);
      float *to = cuts ? got : want;
      for (int begin = 0, end = 1; end <= N; end++) {
        if (end < N && !(cuts >> (end - 1) & 1)) continue;
        if (session_append(s, f.text + begin, (size_t)(end - begin), to + begin * SHAPE.vocab, (size_t)(end - begin),
                           &err))
          fail_msg("%s", err.message);
        begin = end;
      }
      if (!same_rows(&f, want, to, N)) fail_msg("%s: cut %x gives other bits", small[p], (unsigned)cuts);
      session_close(s);
    }
  free(want), free(got);
  random_model_free(&f.m);
}

static void test_bits_do_not_depend_on_threads(void **state) {
  (void)state;
  /* Wide enough that work is really dealt to lanes. */
  const struct random_shape wide = {
      .n_layers = 2, .d = 128, .heads = 8, .kv_heads = 4, .head_dim = 16, .ff = 200, .vocab = 300, .dtype = DTYPE_BF16};
  struct fixture f;
  setup(&f, &wide);
  float *want = new_rows(&f), *got = new_rows(&f);
  for (int p = 0; p < N_POLICIES; p++) {
    if (strncmp(POLICIES[p], "recompute", 9) == 0) continue; /* the same passes as full */
    for (int threads = 1; threads <= 3; threads++) {
      struct session *s = open_session(&f, POLICIES[p], NULL, threads);
      feed(&f, s, 0, TEXT, 100, 7, threads == 1 ? want : got);
      session_close(s);
      if (threads > 1 && !same_rows(&f, want, got, TEXT))
        fail_msg("%s: %d threads give other bits", POLICIES[p], threads);
    }
  }
  free(want), free(got);
  random_model_free(&f.m);
}

static void test_last_row_alone_is_the_same(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err = {0};
  setup(&f, &SHAPE);
  float *rows = new_rows(&f), *last = new_rows(&f);
  for (int p = 0; p < N_POLICIES; p++) {
    struct session *a = open_session(&f, POLICIES[p], NULL, 1), *b = open_session(&f, POLICIES[p], NULL, 1);
    assert_int_equal(session_append(a, f.text, 200, rows, 200, &err), SLUICE_OK);
    assert_int_equal(session_append(b, f.text, 150, NULL, 0, &err), SLUICE_OK);
    assert_int_equal(session_append(b, f.text + 150, 50, last, 1, &err), SLUICE_OK);
    assert_true(same_rows(&f, rows + 199 * SHAPE.vocab, last, 1));
    memset(last, 0, rows_bytes(&f, 1));
    assert_int_equal(session_logits(b, last, &err), SLUICE_OK);
    assert_true(same_rows(&f, rows + 199 * SHAPE.vocab, last, 1));
    session_close(a);
    session_close(b);
  }
  free(rows), free(last);
  random_model_free(&f.m);
}

/* Text fed without logits, and then the question what comes next: also from a fork and after a restore. */
static void test_logits_when_asked(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err = {0};
  setup(&f, &SHAPE);
  float *rows = new_rows(&f), *last = new_rows(&f);
  for (int p = 0; p < N_POLICIES; p++) {
    struct session *a = open_session(&f, POLICIES[p], NULL, 1), *b = open_session(&f, POLICIES[p], NULL, 1), *fork,
                   *twin;
    unsigned char *bytes;
    size_t len;
    assert_int_equal(session_logits(b, last, &err), SLUICE_USAGE);
    assert_int_equal(session_append(a, f.text, TEXT, rows, TEXT, &err), SLUICE_OK);
    for (int done = 0, n = 11; done + n <= TEXT; done += n) {
      const float *want = rows + (done + n - 1) * SHAPE.vocab;
      assert_int_equal(session_append(b, f.text + done, (size_t)n, NULL, 0, &err), SLUICE_OK);
      assert_int_equal(session_fork(b, &fork, &err), SLUICE_OK);
      assert_int_equal(session_snapshot(b, &bytes, &len, &err), SLUICE_OK);
      assert_int_equal(session_twin(b, &twin, &err), SLUICE_OK);
      assert_int_equal(session_restore(twin, bytes, len, &err), SLUICE_OK);
      struct session *each[] = {fork, twin, b, b};
      for (int i = 0; i < (done % 33 == 0 ? 4 : 2); i++) { /* b itself is mostly not asked: its text piles up */
        memset(last, 0, rows_bytes(&f, 1));
        assert_int_equal(session_logits(each[i], last, &err), SLUICE_OK);
        if (!same_rows(&f, want, last, 1))
          fail_msg("%s: logits asked for behind token %d differ", POLICIES[p], done + n - 1);
      }
      session_close(fork), session_close(twin);
      free(bytes);
    }
    session_close(a), session_close(b);
  }
  free(rows), free(last);
  random_model_free(&f.m);
}

static void test_forks_and_snapshots_go_on_alike(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err = {0};
  setup(&f, &SHAPE);
  float *want = new_rows(&f), *got = new_rows(&f);
  for (int p = 0; p < N_POLICIES; p++)
    for (int at = 0; at < TEXT; at += 51) {
      struct session *s = open_session(&f, POLICIES[p], NULL, 1), *fork, *back = open_session(&f, POLICIES[p], NULL, 1);
      unsigned char *bytes, *again;
      size_t len, len_again;
      feed(&f, s, 0, at, 20, 3, want);
      assert_int_equal(session_fork(s, &fork, &err), SLUICE_OK);
      assert_int_equal(session_snapshot(s, &bytes, &len, &err), SLUICE_OK);
      feed(&f, s, at, TEXT, 20, 4, want);
      feed(&f, fork, at, TEXT, 31, 5, got);
      if (!same_rows(&f, want, got, TEXT - at)) fail_msg("%s: a fork at %d goes on otherwise", POLICIES[p], at);
      feed(&f, back, 0, (at * 7) % 100, 9, 6, got); /* what stood there before must not matter */
      if (session_restore(back, bytes, len, &err)) fail_msg("%s: %s", POLICIES[p], err.message);
      assert_int_equal(session_snapshot(back, &again, &len_again, &err), SLUICE_OK);
      assert_int_equal(len, len_again);
      assert_memory_equal(bytes, again, len);
      feed(&f, back, at, TEXT, 50, 8, got);
      if (!same_rows(&f, want, got, TEXT - at)) fail_msg("%s: restored at %d goes on otherwise", POLICIES[p], at);
      assert_int_equal(session_position(back), TEXT);
      assert_int_equal(session_peak_bytes(back), session_peak_bytes(s));
      session_close(s), session_close(fork), session_close(back);
      free(bytes), free(again);
    }
  free(want), free(got);
  random_model_free(&f.m);
}

static uint64_t checksum_again(unsigned char *bytes, size_t len) {
  const uint64_t sum = hash64(bytes, len - sizeof sum);
  memcpy(bytes + len - sizeof sum, &sum, sizeof sum);
  return sum;
}

/* Damaged bytes: an error or a session that still works, never a crash; and the session goes on where it was. */
static void test_damaged_snapshots(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err = {0};
  struct rng r;
  setup(&f, &SHAPE);
  rng_seed(&r, 77);
  float *want = new_rows(&f), *got = new_rows(&f);
  for (int p = 0; p < N_POLICIES; p++) {
    struct session *s = open_session(&f, POLICIES[p], NULL, 1), *victim = open_session(&f, POLICIES[p], NULL, 1);
    unsigned char *bytes;
    size_t len;
    feed(&f, s, 0, 90, 20, 3, want);
    assert_int_equal(session_snapshot(s, &bytes, &len, &err), SLUICE_OK);
    for (size_t cut = 0; cut < len; cut += 1 + len / 40)
      assert_int_equal(session_restore(victim, bytes, cut, &err), SLUICE_INPUT);
    for (int i = 0; i < 150; i++) {
      unsigned char *bad = malloc(len);
      memcpy(bad, bytes, len);
      /* mostly in the first part, where counts and indices stand */
      const size_t at = rng_below(&r, i % 3 ? 900 : (uint32_t)len) % (len - 8);
      bad[at] = (unsigned char)(bad[at] + 1 + rng_below(&r, 255));
      assert_int_equal(session_restore(victim, bad, len, &err), SLUICE_INPUT); /* the checksum */
      checksum_again(bad, len);
      if (session_restore(victim, bad, len, &err) == SLUICE_OK &&
          session_append(victim, f.text, 50, NULL, 0, &err) == SLUICE_OK)
        session_end_turn(victim, &err);
      free(bad);
    }
    assert_int_equal(session_restore(victim, bytes, len, &err), SLUICE_OK);
    assert_int_equal(session_restore(victim, bytes, len - 1, &err), SLUICE_INPUT); /* and nothing changed: */
    feed(&f, s, 90, 120, 20, 4, want);
    feed(&f, victim, 90, 120, 20, 4, got);
    assert_true(same_rows(&f, want, got, 30));
    struct session *other = open_session(&f, p ? "full" : "window:budget=40", NULL, 1);
    assert_int_equal(session_restore(other, bytes, len, &err), SLUICE_INPUT);
    assert_non_null(strstr(err.message, "policy"));
    session_close(s), session_close(victim), session_close(other);
    free(bytes);
  }
  free(want), free(got);
  random_model_free(&f.m);
}

static void test_memory_is_constant(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err = {0};
  setup(&f, &SHAPE);
  for (int p = 1; p < N_POLICIES; p++) {
    struct session *s = open_session(&f, POLICIES[p], NULL, 1);
    float last[64];
    size_t bytes = 0, allocated = 0;
    for (int i = 0; i < 40; i++) {
      assert_int_equal(session_append(s, f.text, TEXT, i % 8 == 0 ? last : NULL, 1, &err), SLUICE_OK);
      if (i % 2) session_end_turn(s, &err);
      if (i == 0) bytes = session_bytes(s), allocated = session_allocated(s);
      assert_int_equal(session_bytes(s), bytes);
      assert_int_equal(session_peak_bytes(s), bytes);
      assert_int_equal(session_allocated(s), allocated);
    }
    assert_int_equal(bytes,
                     40 * 2 * 4 * SHAPE.n_layers * SHAPE.kv_heads * SHAPE.head_dim); /* budget x keys and values */
    session_close(s);
  }
  random_model_free(&f.m);
}

static void test_wrong_calls_change_nothing(void **state) {
  (void)state;
  struct fixture f;
  struct sluice_error err = {0};
  struct session *s;
  int32_t ids[3] = {1, 64, 2};
  float row[64 * 3];
  setup(&f, &SHAPE);
  s = open_session(&f, NULL, NULL, 0);
  assert_string_equal(session_policy(s), "full");
  assert_int_equal(session_append(s, ids, 3, NULL, 0, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "token 1 has id 64"));
  ids[1] = -1;
  assert_int_equal(session_append(s, ids, 3, NULL, 0, &err), SLUICE_INPUT);
  ids[1] = 5;
  assert_int_equal(session_append(s, ids, 3, row, 2, &err), SLUICE_INTERNAL);
  assert_int_equal(session_append(s, ids, 0, row, 1, &err), SLUICE_OK);
  assert_int_equal(session_position(s), 0);
  assert_int_equal(session_bytes(s), 0);
  assert_int_equal(session_append(s, ids, 3, row, 3, &err), SLUICE_OK);
  assert_int_equal(session_position(s), 3);
  session_close(s);
  session_close(NULL);
  struct session_options o = {.policy = "streeming"};
  assert_int_equal(session_open(&f.m.model, &o, &s, &err), SLUICE_USAGE);
  o = (struct session_options){.kernel = "avx3"};
  assert_int_equal(session_open(&f.m.model, &o, &s, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "avx2"));
  random_model_free(&f.m);
}

/* ---- policy strings ---- */

static void test_policy_strings(void **state) {
  (void)state;
  static const struct {
    const char *given, *canonical;
  } good[] = {
      {"full", "full"},
      {"window", "window:budget=1024"},
      {"recompute:budget=7", "recompute:budget=7"},
      {"streaming", "streaming:sinks=4,recent=1020"},
      {"streaming:budget=512", "streaming:sinks=4,recent=508"},
      {"streaming:recent=10,sinks=1", "streaming:sinks=1,recent=10"},
      {"sirllm", "sirllm:sinks=4,recent=0,entropy=1020,decay=1,mode=paper"},
      {"sirllm:budget=512,decay=0.70,mode=repo", "sirllm:sinks=4,recent=0,entropy=508,decay=0.7,mode=repo"},
      {"sirllm:budget=100,recent=16", "sirllm:sinks=4,recent=16,entropy=80,decay=1,mode=paper"},
      {"sirllm:entropy=9,decay=1e-3", "sirllm:sinks=4,recent=0,entropy=9,decay=0.001,mode=paper"},
      {"random:seed=9", "random:budget=1024,sinks=4,seed=9"},
      {"interval:sinks=0,budget=8", "interval:budget=8,sinks=0"},
  };
  struct sluice_error err = {0};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    char *once = NULL, *twice = NULL;
    if (policy_check(good[i].given, &once, &err)) fail_msg("%s: %s", good[i].given, err.message);
    assert_string_equal(once, good[i].canonical);
    assert_int_equal(policy_check(once, &twice, &err), SLUICE_OK);
    assert_string_equal(once, twice);
    free(once), free(twice);
  }
  assert_int_equal(policy_check(NULL, NULL, &err), SLUICE_OK);
}

static void test_wrong_policy_strings(void **state) {
  (void)state;
  static const struct {
    const char *given;
    sluice_status code;
    const char *says;
  } bad[] = {
      {"streeming", SLUICE_USAGE, "streaming"},
      {"nonsense", SLUICE_USAGE, "sirllm"},
      {"", SLUICE_USAGE, "name"},
      {":budget=3", SLUICE_USAGE, "name"},
      {"full:budget=3", SLUICE_USAGE, "budget"},
      {"window:bugdet=3", SLUICE_USAGE, "budget"},
      {"window:budget", SLUICE_USAGE, "key=value"},
      {"window:budget=0", SLUICE_USAGE, "from 1"},
      {"window:budget=-5", SLUICE_USAGE, "budget=-5"},
      {"window:budget=99999999999999999999", SLUICE_USAGE, "from 1 to"},
      {"window:budget=12x", SLUICE_USAGE, "12x"},
      {"window:budget=3,budget=4", SLUICE_USAGE, "twice"},
      {"streaming:budget=4", SLUICE_USAGE, "recent"},
      {"streaming:budget=40,recent=3", SLUICE_USAGE, "one of the two"},
      {"streaming:sinks=-1", SLUICE_USAGE, "sinks"},
      {"sirllm:mode=papr", SLUICE_USAGE, "paper or repo"},
      {"sirllm:decay=1.5", SLUICE_USAGE, "decay"},
      {"sirllm:decay=nan", SLUICE_USAGE, "decay"},
      {"sirllm:budget=10,recent=6", SLUICE_USAGE, "entropy"},
      {"random:budget=4", SLUICE_USAGE, "sinks"},
      {"interval:budget=4,sinks=9", SLUICE_USAGE, "sinks"},
      {"streaming+windw", SLUICE_USAGE, "window"},
      {"streaming+window:budget=x", SLUICE_USAGE, "budget=x"},
      {"streaming+window", SLUICE_UNSUPPORTED, "streaming and window"},
      {"streaming+", SLUICE_USAGE, "name"},
  };
  struct sluice_error err;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char *canonical = NULL;
    err = (struct sluice_error){0};
    const sluice_status st = policy_check(bad[i].given, &canonical, &err);
    if (st != bad[i].code || !strstr(err.message, bad[i].says))
      fail_msg("\"%s\": %s, \"%s\"; should say \"%s\"", bad[i].given, sluice_status_name(st), err.message, bad[i].says);
    assert_null(canonical);
  }
}

static void test_policy_table(void **state) {
  (void)state;
  struct sluice_error err = {0};
  int n = 0;
  for (const struct policy_info *p = policy_table(); p->name; p++, n++) {
    assert_int_equal(policy_check(p->name, NULL, &err), SLUICE_OK);
    assert_true(strlen(p->summary) > 0);
    assert_non_null(p->keys);
  }
  assert_int_equal(n, 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bits_do_not_depend_on_pieces),
      cmocka_unit_test(test_all_cuts_of_a_short_text),
      cmocka_unit_test(test_bits_do_not_depend_on_threads),
      cmocka_unit_test(test_last_row_alone_is_the_same),
      cmocka_unit_test(test_logits_when_asked),
      cmocka_unit_test(test_forks_and_snapshots_go_on_alike),
      cmocka_unit_test(test_damaged_snapshots),
      cmocka_unit_test(test_memory_is_constant),
      cmocka_unit_test(test_wrong_calls_change_nothing),
      cmocka_unit_test(test_policy_strings),
      cmocka_unit_test(test_wrong_policy_strings),
      cmocka_unit_test(test_policy_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
