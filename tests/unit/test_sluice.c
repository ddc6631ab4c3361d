/* The C API: the same output as the monitor's own for every cut, tokens that follow their text, errors, references, and
 * streams that wander between threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/monitor.h"
#include "sluice/sluice.h"

static const char policy_text[] =
    "{\"rules\":["
    "{\"id\":\"key\",\"category\":\"secrets\",\"action\":\"mask\",\"pattern\":\"key=(\\\\w{4,});\",\"protect\":1},"
    "{\"id\":\"each\",\"category\":\"words\",\"action\":\"mask\",\"mask\":\"*\",\"mask_each\":true,\"words\":[\"damn\"]"
    "},"
    "{\"id\":\"seen\",\"category\":\"notes\",\"action\":\"flag\",\"words\":[\"boat\"]},"
    "{\"id\":\"bomb\",\"category\":\"harm\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}";

static struct sluice_policy *open_policy(void) {
  struct sluice_policy *p = NULL;
  struct sluice_failure why = {0};
  if (sluice_policy_parse("test", NULL, policy_text, sizeof policy_text - 1, &p, &why)) fail_msg("%s", why.message);
  return p;
}

static struct sluice_stream *open_stream(struct sluice_policy *p, const struct sluice_stream_options *o) {
  struct sluice_stream *s = NULL;
  struct sluice_failure why = {0};
  if (sluice_stream_open(p, o, &s, &why)) fail_msg("%s", why.message);
  return s;
}

static const struct sluice_verdict *push(struct sluice_stream *s, const char *text) {
  const struct sluice_verdict *v = NULL;
  assert_int_equal(sluice_stream_push(s, text, strlen(text), &v, NULL), 0);
  return v;
}

static void assert_text(const struct sluice_verdict *v, const char *text) {
  struct slice got = {v->text, v->text_size};
  if (!slice_is(got, text)) fail_msg("\"%.*s\" instead of \"%s\"", (int)got.len, got.ptr, text);
}

static void verdicts_say_what_waits(void **state) {
  (void)state;
  struct sluice_policy *p = open_policy();
  struct sluice_stream *s = open_stream(p, NULL);
  const struct sluice_verdict *v = push(s, "the key=ab");
  assert_int_equal(v->struct_size, sizeof *v);
  assert_int_equal(v->action, SLUICE_HOLD);
  assert_text(v, "the key=");
  assert_int_equal(v->received, 10);
  assert_int_equal(v->released, 8);
  assert_int_equal(v->n_spans, 0);
  assert_false(v->masked);
  v = push(s, "cdef; on");
  assert_int_equal(v->action, SLUICE_RELEASE);
  assert_text(v, "[masked]; on");
  assert_true(v->masked);
  assert_int_equal(v->n_spans, 1);
  assert_int_equal(v->spans[0].start, 8);
  assert_int_equal(v->spans[0].end, 14);
  assert_string_equal(v->spans[0].rule, "key");
  assert_string_equal(v->spans[0].category, "secrets");
  v = push(s, " and BOM");
  assert_int_equal(v->n_spans, 0); /* the mask was given out before */
  assert_text(v, " and ");
  assert_null(v->rule);
  v = push(s, "B goes");
  assert_int_equal(v->action, SLUICE_STOP);
  assert_text(v, "");
  assert_string_equal(v->rule, "bomb");
  assert_string_equal(v->category, "harm");
  assert_text(push(s, "more"), ""); /* swallowed */
  assert_int_equal(sluice_stream_finish(s, &v, NULL), 0);
  assert_int_equal(v->action, SLUICE_STOP);
  assert_text(v, "");
  const struct sluice_counts *c = sluice_stream_counts(s);
  assert_int_equal(c->pieces, 5);
  assert_int_equal(c->masks, 1);
  assert_int_equal(c->stops, 1);
  assert_int_equal(c->exposed, 0);
  sluice_stream_close(s);
  sluice_policy_unref(p);
}

static void tokens_follow_their_text(void **state) {
  (void)state;
  static const char *const text[] = {"key", "=", "ab", "cd", ";", "", " on ", "da", "mn"};
  struct sluice_policy *p = open_policy();
  struct sluice_stream *s = open_stream(p, NULL);
  const struct sluice_verdict *v = NULL;
  int64_t next = 0;
  uint64_t at = 0;
  for (size_t i = 0; i < 9; i++) {
    assert_int_equal(sluice_stream_push_token(s, text[i], strlen(text[i]), 100 + (int64_t)i, -0.5, &v, NULL), 0);
    for (size_t k = 0; k < v->n_tokens; k++, next++) {
      const struct sluice_token *t = &v->tokens[k];
      bool masked = next == 2 || next == 3;
      assert_int_equal(t->number, next);
      assert_int_equal(t->start, at);
      assert_int_equal(t->end, at + strlen(text[next]));
      assert_int_equal(t->masked, masked);
      assert_int_equal(t->id, masked ? -1 : 100 + next);
      assert_true(masked ? isnan(t->logprob) : t->logprob == -0.5);
      at = t->end;
    }
    if (i == 3) assert_int_equal(next, 2); /* "key=" has left, the word waits */
    if (i == 5) assert_int_equal(next, 6); /* an empty token leaves with what is before it */
  }
  assert_int_equal(next, 7);
  assert_int_equal(sluice_stream_finish(s, &v, NULL), 0); /* the last word could have gone on */
  assert_text(v, "****");
  assert_int_equal(v->n_tokens, 2);
  assert_true(v->tokens[0].masked && v->tokens[1].masked);
  sluice_stream_close(s);

  s = open_stream(p, NULL); /* a token that a stop cuts never comes back */
  assert_int_equal(sluice_stream_push_token(s, "a B", 3, 1, NAN, &v, NULL), 0);
  assert_int_equal(v->n_tokens, 0);
  assert_int_equal(sluice_stream_push_token(s, "OMB", 3, 2, NAN, &v, NULL), 0);
  assert_int_equal(v->action, SLUICE_STOP);
  assert_int_equal(v->n_tokens, 0);
  assert_int_equal(sluice_stream_counts(s)->tokens, 2);
  sluice_stream_close(s);
  sluice_policy_unref(p);
}

struct heard {
  int n;
  char rules[64];
};
static void hear(void *context, const struct sluice_event *e) {
  struct heard *h = context;
  assert_int_equal(e->struct_size, sizeof *e);
  assert_int_equal(e->choice, 3);
  assert_int_equal(e->channel, SLUICE_TOOL);
  assert_int_equal(e->index, 2);
  assert_string_equal(e->view, "raw");
  assert_int_equal(e->end - e->start, e->text_size);
  assert_true(e->unix_ns > 0);
  size_t used = strlen(h->rules);
  snprintf(h->rules + used, sizeof h->rules - used, "%s ", e->rule);
  h->n++;
}

static void events_come_to_their_stream(void **state) {
  (void)state;
  struct sluice_policy *p = open_policy();
  struct heard heard = {0};
  struct sluice_stream_options o = SLUICE_STREAM_OPTIONS_INIT;
  o.choice = 3;
  o.channel = SLUICE_TOOL;
  o.index = 2;
  o.on_event = hear;
  o.context = &heard;
  struct sluice_stream *a = open_stream(p, &o), *b = open_stream(p, NULL);
  push(b, "a boat BOMB");
  assert_int_equal(heard.n, 0);
  push(a, "a boat, key=abcd; ");
  assert_int_equal(heard.n, 2);
  assert_string_equal(heard.rules, "seen key ");
  sluice_stream_close(a);
  sluice_stream_close(b);
  sluice_policy_unref(p);
}

/* ---- against the monitor's own tap ---- */

static sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static bool reference(const struct monitor_policy *p, const char *text, size_t n, struct buffer *out) {
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct monitor_tap *t = NULL;
  bool stop = false, stopped = false;
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), 0);
  assert_int_equal(monitor_tap_open(m, collect, out, &t, &err), 0);
  assert_int_equal(monitor_tap_push(t, 0, 0, (struct slice){text, n}, &stop, &err), 0);
  assert_int_equal(monitor_tap_end(t, &stopped, &err), 0);
  monitor_tap_close(t);
  monitor_close(m);
  return stopped;
}

/* A random text of what the rules look for, in parts and whole, with bytes that are no UTF-8. */
static size_t random_text(struct rng *r, char *out, size_t max) {
  static const char *const words[] = {"key=", "abcd", ";",    " ",           "damn ", "boat", "BOM",
                                      "BOMB", "\xc3", "\xa9", "caf\xc3\xa9", "da",    "mn",   "x"};
  size_t n = 0;
  for (uint32_t i = rng_below(r, 60); i > 0; i--) {
    uint32_t pick = rng_below(r, sizeof words / sizeof *words);
    if (pick == 7 && rng_below(r, 4)) continue; /* stops are rare */
    size_t len = strlen(words[pick]);
    if (n + len > max) break;
    memcpy(out + n, words[pick], len);
    n += len;
  }
  return n;
}

static void every_cut_gives_the_same(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct monitor_policy *plain = NULL;
  struct sluice_policy *p = open_policy();
  struct rng r;
  struct buffer want, got;
  char text[400];
  int stops = 0, masks = 0;
  rng_seed(&r, 7);
  buffer_init(&want, 0);
  buffer_init(&got, 0);
  assert_int_equal(monitor_policy_parse("test", NULL, slice_of(policy_text), &plain, &err), 0);
  for (int round = 0; round < 3000; round++) {
    size_t n = random_text(&r, text, sizeof text);
    const struct sluice_verdict *v = NULL;
    struct sluice_stream *s = open_stream(p, NULL);
    buffer_clear(&want);
    buffer_clear(&got);
    bool stopped = reference(plain, text, n, &want);
    for (size_t at = 0, len; at < n; at += len) {
      len = 1 + rng_below(&r, 9);
      if (len > n - at) len = n - at;
      assert_int_equal(sluice_stream_push(s, text + at, len, &v, NULL), 0);
      buffer_append(&got, v->text, v->text_size, &err);
      masks += v->masked;
    }
    assert_int_equal(sluice_stream_finish(s, &v, NULL), 0);
    buffer_append(&got, v->text, v->text_size, &err);
    assert_int_equal(v->action == SLUICE_STOP, stopped);
    if (!slice_equal((struct slice){got.ptr, got.len}, (struct slice){want.ptr, want.len}))
      fail_msg("round %d: \"%.*s\" instead of \"%.*s\"", round, (int)got.len, got.ptr, (int)want.len, want.ptr);
    stops += stopped;
    sluice_stream_close(s);
  }
  assert_true(stops > 100 && masks > 1000);
  buffer_free(&want);
  buffer_free(&got);
  monitor_policy_free(plain);
  sluice_policy_unref(p);
}

/* ---- errors ---- */

static void wrong_arguments_are_named(void **state) {
  (void)state;
  struct sluice_failure why = {0};
  struct sluice_policy *p = (struct sluice_policy *)&why;
  struct sluice_stream *s = NULL;
  const struct sluice_verdict *v = NULL;
  assert_int_equal(sluice_policy_open("/nowhere/p.json", &p, &why), SLUICE_ERROR_USAGE);
  assert_null(p);
  assert_non_null(strstr(why.message, "/nowhere/p.json"));
  assert_int_equal(why.code, SLUICE_ERROR_USAGE);
  assert_int_equal(sluice_policy_parse("p", NULL, "{\"rulez\":[]}", 12, &p, &why), SLUICE_ERROR_USAGE);
  assert_non_null(strstr(why.message, "rulez"));
  assert_int_equal(sluice_policy_parse("p", NULL, NULL, 3, &p, NULL), SLUICE_ERROR_USAGE);
  assert_int_equal(sluice_stream_open(NULL, NULL, &s, &why), SLUICE_ERROR_USAGE);
  p = open_policy();
  struct sluice_stream_options o = SLUICE_STREAM_OPTIONS_INIT;
  o.channel = SLUICE_REFUSAL + 1;
  assert_int_equal(sluice_stream_open(p, &o, &s, &why), SLUICE_ERROR_USAGE);
  o.channel = SLUICE_CONTENT;
  o.struct_size = 0;
  assert_int_equal(sluice_stream_open(p, &o, &s, &why), SLUICE_ERROR_USAGE);
  struct {
    struct sluice_stream_options known;
    uint64_t newer;
  } grown = {SLUICE_STREAM_OPTIONS_INIT, 0};
  grown.known.struct_size = sizeof grown;
  assert_int_equal(sluice_stream_open(p, &grown.known, &s, &why), 0); /* a newer caller that asks for nothing new */
  sluice_stream_close(s);
  grown.newer = 1;
  assert_int_equal(sluice_stream_open(p, &grown.known, &s, &why), SLUICE_ERROR_USAGE);
  s = open_stream(p, NULL);
  assert_int_equal(sluice_stream_push(s, NULL, 1, &v, &why), SLUICE_ERROR_USAGE);
  assert_int_equal(sluice_stream_push_token(s, "a", 1, -1, 0, &v, &why), SLUICE_ERROR_USAGE);
  assert_int_equal(sluice_stream_push(s, NULL, 0, &v, &why), 0); /* an empty piece is one */
  assert_int_equal(sluice_stream_finish(s, &v, &why), 0);
  assert_int_equal(sluice_stream_push(s, "a", 1, &v, &why), SLUICE_ERROR_STATE);
  assert_null(v);
  assert_int_equal(sluice_stream_finish(s, &v, &why), SLUICE_ERROR_STATE);
  sluice_stream_close(s);
  sluice_stream_close(NULL);
  sluice_policy_unref(p);
  sluice_policy_unref(NULL);
}

static void a_policy_lives_as_long_as_its_streams(void **state) {
  (void)state;
  struct sluice_policy *p = open_policy();
  const struct sluice_policy_info *info = sluice_policy_describe(p);
  assert_int_equal(info->n_rules, 4);
  assert_string_equal(info->name, "test");
  assert_int_equal(strlen(info->sha256), 64);
  assert_null(info->notes[0]);
  assert_ptr_equal(sluice_policy_ref(p), p);
  struct sluice_stream *s = open_stream(p, NULL);
  sluice_policy_unref(p);
  sluice_policy_unref(p); /* the reload: nobody but the stream holds it now */
  assert_text(push(s, "key=abcd;"), "key=[masked];");
  sluice_stream_close(s);
  assert_int_equal(sluice_api_version(), SLUICE_API_VERSION);
  assert_string_equal(sluice_version(), SLUICE_VERSION);
}

/* ---- threads ---- */

enum { THREADS = 4, STREAMS = 16, ROUNDS = 400 };
struct shared {
  struct sluice_stream *stream;
  pthread_mutex_t lock; /* one thread at a time, whichever */
  int turn;
  uint64_t masked, failed;
};

static void *wander(void *context) {
  static const char *const pieces[] = {"key", "=ab", "cd", "; and "};
  struct shared *all = context;
  for (int i = 0; i < ROUNDS * STREAMS; i++) {
    struct shared *s = &all[i % STREAMS];
    const struct sluice_verdict *v = NULL;
    pthread_mutex_lock(&s->lock);
    const char *piece = pieces[s->turn++ % 4];
    if (sluice_stream_push(s->stream, piece, strlen(piece), &v, NULL))
      s->failed++;
    else
      s->masked += (uint64_t)v->masked;
    pthread_mutex_unlock(&s->lock);
  }
  return NULL;
}

static void streams_wander_between_threads(void **state) {
  (void)state;
  struct sluice_policy *p = open_policy();
  struct shared streams[STREAMS] = {0};
  pthread_t threads[THREADS];
  for (int i = 0; i < STREAMS; i++) {
    streams[i].stream = open_stream(p, NULL);
    pthread_mutex_init(&streams[i].lock, NULL);
  }
  sluice_policy_unref(p);
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, wander, streams), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < STREAMS; i++) {
    assert_int_equal(streams[i].failed, 0);
    assert_int_equal(streams[i].turn, THREADS * ROUNDS);
    assert_int_equal(streams[i].masked, THREADS * ROUNDS / 4);
    assert_int_equal(sluice_stream_counts(streams[i].stream)->masks, THREADS * ROUNDS / 4);
    sluice_stream_close(streams[i].stream);
    pthread_mutex_destroy(&streams[i].lock);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(verdicts_say_what_waits),        cmocka_unit_test(tokens_follow_their_text),
      cmocka_unit_test(events_come_to_their_stream),    cmocka_unit_test(every_cut_gives_the_same),
      cmocka_unit_test(wrong_arguments_are_named),      cmocka_unit_test(a_policy_lives_as_long_as_its_streams),
      cmocka_unit_test(streams_wander_between_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
