/* Release modes, sides and routes: what leaves when, what counts as exposed, which rules run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sqlite3.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define RULES                                                                                                          \
  "\"rules\":[{\"id\":\"mask\",\"category\":\"pii\",\"action\":\"mask\",\"pattern\":\"SECRET\"},"                      \
  "{\"id\":\"stop\",\"category\":\"harm\",\"action\":\"stop\",\"pattern\":\"BOMB\"},"                                  \
  "{\"id\":\"flag\",\"category\":\"odd\",\"action\":\"flag\",\"pattern\":\"hm\"}]"

struct seen {
  struct buffer out, events;
  bool stopped;
  uint64_t exposed, released;
  struct sluice_error err;
};

static void on_event(void *ctx, const struct monitor_event *e) {
  struct seen *s = ctx;
  buffer_printf(&s->events, &s->err, "[%s %s %s %d-%d exposed %d%s%s]", e->rule, monitor_action_name(e->action),
                monitor_mode_name((enum monitor_mode)e->mode), (int)e->start, (int)e->end, (int)e->exposed,
                e->route ? " " : "", e->route ? e->route : "");
}

static struct monitor_guard *guard_of(const char *policy) {
  struct monitor_guard *g = NULL;
  struct sluice_error err = {0};
  if (monitor_guard_parse("test", NULL, slice_of(policy), &g, &err)) fail_msg("%s", err.message);
  return g;
}

static int pause_ms; /* before each piece, at least */

/* The text in pieces cut at '|', as a reader would get it: what a piece releases is shown before the next one comes. */
static void play(const struct monitor_guard *g, size_t route, enum monitor_side side, const char *pieces,
                 struct seen *s) {
  struct monitor_watch *w = NULL;
  struct monitor_text *t = NULL;
  struct monitor_verdict v = {0};
  struct buffer raw;
  struct monitor_counts counts = {0};
  buffer_init(&raw, 0);
  buffer_clear(&s->out);
  buffer_clear(&s->events);
  buffer_append_str(&s->out, "", &s->err);
  buffer_append_str(&s->events, "", &s->err);
  assert_int_equal(monitor_watch_open(g, on_event, s, &w, &s->err), SLUICE_OK);
  assert_int_equal(monitor_text_open(w, route, side, 0, 0, 0, &t, &s->err), SLUICE_OK);
  uint64_t shown = 0;
  for (const char *at = pieces;; at++) {
    const char *end = strchr(at, '|');
    size_t n = end ? (size_t)(end - at) : strlen(at);
    buffer_append(&raw, at, n, &s->err);
    if (v.stop) break;
    nanosleep(&(struct timespec){0, pause_ms * 1000000L}, NULL);
    assert_int_equal(monitor_text_push(t, (struct slice){at, n}, &v, &s->err), SLUICE_OK);
    if (!end && !v.stop) assert_int_equal(monitor_text_settle(t, &v, &s->err), SLUICE_OK);
    assert_true(v.released >= shown && v.released <= raw.len);
    bool changed = false;
    assert_int_equal(monitor_text_render(t, shown, (struct slice){raw.ptr + shown, (size_t)(v.released - shown)},
                                         &s->out, &changed, &s->err),
                     SLUICE_OK);
    shown = v.released;
    monitor_text_forget(t, shown);
    if (end && !v.stop) buffer_append_str(&s->out, "|", &s->err);
    if (!end) break;
    at = end;
  }
  buffer_append(&s->out, "", 1, &s->err);
  buffer_append(&s->events, "", 1, &s->err);
  monitor_text_counts(t, &counts);
  s->exposed = counts.exposed;
  s->stopped = v.stop;
  s->released = v.released;
  monitor_text_close(t);
  monitor_watch_close(w);
  buffer_free(&raw);
}

static void check(const char *policy, const char *pieces, const char *out, const char *events, uint64_t exposed) {
  struct monitor_guard *g = guard_of(policy);
  struct seen s = {0};
  play(g, 0, MONITOR_ANSWER, pieces, &s);
  assert_string_equal(s.out.ptr, out);
  assert_string_equal(s.events.ptr, events);
  assert_int_equal(s.exposed, exposed);
  buffer_free(&s.out);
  buffer_free(&s.events);
  monitor_guard_free(g);
}

static void test_strict(void **state) {
  (void)state;
  check("{" RULES "}", "my SEC|RET hm| is", "my |[masked] hm| is",
        "[mask mask strict 3-9 exposed 0][flag flag strict 10-12 exposed 0]", 0);
  check("{" RULES "}", "the BO|MB|x", "the |", "[stop stop strict 4-8 exposed 0]", 0);
}

static void test_optimistic(void **state) {
  (void)state;
  check("{\"mode\":\"optimistic\"," RULES "}", "my SEC|RET is| SECRET", "my SEC|[masked] is| [masked]",
        "[mask mask optimistic 3-9 exposed 3][mask mask optimistic 13-19 exposed 0]", 3);
  check("{\"mode\":\"optimistic\"," RULES "}", "the B|OM|B is", "the B|OM|", "[stop stop optimistic 4-8 exposed 3]", 3);
}

static void test_shadow(void **state) {
  (void)state;
  check("{\"mode\":\"shadow\"," RULES "}", "my SEC|RET| BOMB|", "my SEC|RET| BOMB|",
        "[mask mask shadow 3-9 exposed 6][stop stop shadow 10-14 exposed 4]", 0);
}

static void test_bounded(void **state) {
  (void)state;
#define BOUND(n) "{\"mode\":{\"mode\":\"bounded\",\"tokens\":" n "}," RULES "}"
  check(BOUND("1"), "a S|E|C|R|E|T b", "a S|||||[masked] b", "[mask mask bounded 2-8 exposed 1]", 1);
  check(BOUND("3"), "a S|E|C|R|E|T b", "a S|E|C|||[masked] b", "[mask mask bounded 2-8 exposed 3]", 3);
  check(BOUND("3"), "a S|E|C|R|E|D b", "a S|E|C|||RED b", "", 0);
  check(BOUND("2"), "B|O|M|B", "B|O||", "[stop stop bounded 0-4 exposed 2]", 2);
  /* a bound in time: all of this arrives within a minute */
  check("{\"mode\":{\"mode\":\"bounded\",\"ms\":60000}," RULES "}", "B|O|M|B", "B|O|M|",
        "[stop stop bounded 0-4 exposed 3]", 3);
  /* pieces that come later than the bound after the first undecided one wait; with both bounds the nearer one counts */
#define TIMED(more) "{\"mode\":{\"mode\":\"bounded\",\"ms\":10" more "}," RULES "}"
  pause_ms = 25;
  check(TIMED(""), "B|O|M|B", "B|||", "[stop stop bounded 0-4 exposed 1]", 1);
  check(TIMED(""), "a S|E|C|R|E|T b", "a S|||||[masked] b", "[mask mask bounded 2-8 exposed 1]", 1);
  check(TIMED(""), "a S|E|D c S|E|D", "a S||ED c S||ED", "", 0); /* what is decided begins anew */
  check(TIMED(",\"tokens\":3"), "B|O|M|B", "B|||", "[stop stop bounded 0-4 exposed 1]", 1);
  pause_ms = 0;
  check("{\"mode\":{\"mode\":\"bounded\",\"ms\":60000,\"tokens\":2}," RULES "}", "B|O|M|B", "B|O||",
        "[stop stop bounded 0-4 exposed 2]", 2);
}

static void test_modes_by_category(void **state) {
  (void)state;
  static const char mixed[] = "{\"modes\":{\"harm\":\"optimistic\"}," RULES "}";
  check(mixed, "SEC|RET B|OMB|x", "|[masked] B|",
        "[mask mask strict 0-6 exposed 0][stop stop optimistic 7-11 exposed 1]", 1);
  check("{\"modes\":{\"pii\":\"shadow\"}," RULES "}", "SEC|RET hm", "SEC|RET hm",
        "[mask mask shadow 0-6 exposed 6][flag flag strict 7-9 exposed 0]", 0);
  /* masks of two modes unite */
  check("{\"rules\":[{\"id\":\"a\",\"category\":\"a\",\"action\":\"mask\",\"mask\":\"(a)\",\"pattern\":\"abc\"},"
        "{\"id\":\"b\",\"category\":\"b\",\"action\":\"mask\",\"mask\":\"(b)\",\"mode\":\"optimistic\",\"pattern\":"
        "\"cde\"}]}",
        "xabcdex", "x(a)x", "[a mask strict 1-4 exposed 0][b mask optimistic 3-6 exposed 0]", 0);
  check("{\"rules\":[{\"id\":\"a\",\"category\":\"a\",\"action\":\"mask\",\"mode\":\"shadow\",\"pattern\":\"x\"}]}",
        "x", "x", "[a mask shadow 0-1 exposed 1]", 0);
}

/* However a text is cut, a strict rule beside others leaks nothing, and a bounded one at most its bound. */
static void test_random_cuts(void **state) {
  (void)state;
  struct monitor_guard *g = guard_of("{\"modes\":{\"harm\":{\"mode\":\"bounded\",\"tokens\":2}}," RULES "}");
  struct seen s = {0};
  struct rng rng;
  char pieces[256];
  rng_seed(&rng, 3);
  for (int round = 0; round < 3000; round++) {
    static const char *const words[] = {"SECRET", "BOMB", "SEC", "BO", "x ", "SSECRET", "BBOMB", "hm"};
    char text[128] = "";
    size_t n = 0, longest = 0, run = 0;
    for (int i = 0; i < 6; i++) strncat(text, words[rng_below(&rng, 8)], 100);
    for (const char *c = text; *c; c++) {
      pieces[n++] = *c;
      if (++run > longest) longest = run;
      if (rng_below(&rng, 3) == 0) pieces[n++] = '|', run = 0;
    }
    pieces[n] = '\0';
    play(g, 0, MONITOR_ANSWER, pieces, &s);
    char shown[256];
    size_t m = 0;
    for (const char *c = s.out.ptr; *c; c++)
      if (*c != '|') shown[m++] = *c;
    shown[m] = '\0';
    if (strstr(shown, "SECRET") || strstr(shown, "BOMB")) fail_msg("%s -> %s", pieces, s.out.ptr);
    assert_int_equal(s.stopped, strstr(text, "BOMB") != NULL);
    assert_true(s.exposed <= 2 * longest);
  }
  buffer_free(&s.out);
  buffer_free(&s.events);
  monitor_guard_free(g);
}

static bool header(const void *ctx, const char *name, struct slice *value) {
  if (strcmp(name, "x-team")) return false;
  *value = slice_of(ctx);
  return true;
}

static void test_routes(void **state) {
  (void)state;
  struct monitor_guard *g =
      guard_of("{\"mode\":\"optimistic\",\"routes\":["
               "{\"name\":\"red\",\"match\":{\"path\":\"/v1/*\",\"header\":{\"x-team\":\"red*\"}},\"mode\":\"shadow\"},"
               "{\"name\":\"claude\",\"match\":{\"dialect\":\"anthropic\",\"model\":\"big-*\"},\"modes\":{\"harm\":"
               "\"strict\"}}]," RULES "}");
  struct monitor_request r = {
      .path = slice_of("/v1/x"), .dialect = "openai_chat", .model = slice_of("big-1"), .header = header, .ctx = "red1"};
  struct seen s = {0};
  size_t at = 9;
  assert_int_equal(monitor_guard_route(g, &r), 1);
  r.ctx = "blue";
  assert_int_equal(monitor_guard_route(g, &r), 0);
  r.dialect = "anthropic";
  assert_int_equal(monitor_guard_route(g, &r), 2);
  r.model = slice_of("small");
  assert_int_equal(monitor_guard_route(g, &r), 0);
  assert_int_equal(monitor_guard_find_route(g, "claude", &at, &s.err), SLUICE_OK);
  assert_int_equal(at, 2);
  assert_int_equal(monitor_guard_find_route(g, "none", &at, &s.err), SLUICE_USAGE);
  play(g, 1, MONITOR_ANSWER, "SEC|RET", &s);
  assert_string_equal(s.out.ptr, "SEC|RET");
  assert_string_equal(s.events.ptr, "[mask mask shadow 0-6 exposed 6 red]");
  play(g, 2, MONITOR_ANSWER, "SEC|RET BO|MB", &s);
  assert_string_equal(s.out.ptr, "SEC|[masked] |");
  assert_string_equal(s.events.ptr,
                      "[mask mask optimistic 0-6 exposed 3 claude][stop stop strict 7-11 exposed 0 claude]");
  buffer_free(&s.out);
  buffer_free(&s.events);
  monitor_guard_free(g);
}

static void test_sides(void **state) {
  (void)state;
  struct monitor_guard *g = guard_of(
      "{\"rules\":[{\"id\":\"a\",\"category\":\"x\",\"action\":\"mask\",\"pattern\":\"aa\"},"
      "{\"id\":\"p\",\"category\":\"x\",\"action\":\"stop\",\"pattern\":\"pp\",\"on\":\"prompt\",\"mode\":"
      "\"optimistic\"},"
      "{\"id\":\"b\",\"category\":\"x\",\"action\":\"mask\",\"pattern\":\"bb\",\"on\":[\"prompt\",\"answer\"]}]}");
  struct seen s = {0};
  play(g, 0, MONITOR_ANSWER, "aa pp bb", &s);
  assert_string_equal(s.out.ptr, "[masked] pp [masked]");
  play(g, 0, MONITOR_ASKED, "aa bb p|p", &s);
  assert_string_equal(s.out.ptr, "aa [masked] |"); /* a request is strict */
  assert_true(s.stopped);
  assert_true(monitor_guard_looks_at(g, 0, MONITOR_ASKED));
  monitor_guard_free(g);
  g = guard_of("{" RULES "}");
  assert_false(monitor_guard_looks_at(g, 0, MONITOR_ASKED));
  monitor_guard_free(g);
  /* a plain reader of the same file: rules for requests are not its own, and shadow only records */
  struct monitor_policy *p = NULL;
  assert_int_equal(
      monitor_policy_parse("t", NULL,
                           slice_of("{\"mode\":\"shadow\",\"rules\":[{\"id\":\"a\",\"category\":\"x\",\"action\":"
                                    "\"mask\",\"pattern\":\"aa\"},{\"id\":\"p\",\"category\":\"x\",\"action\":"
                                    "\"stop\",\"pattern\":\"p\",\"on\":\"prompt\"}]}"),
                           &p, &s.err),
      SLUICE_OK);
  assert_int_equal(monitor_policy_rules(p), 1);
  monitor_policy_free(p);
  buffer_free(&s.out);
  buffer_free(&s.events);
}

static void refused(const char *policy, const char *words) {
  struct monitor_guard *g = NULL;
  struct sluice_error err = {0};
  assert_int_equal(monitor_guard_parse("p.json", NULL, slice_of(policy), &g, &err), SLUICE_USAGE);
  if (!strstr(err.message, words)) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void test_errors(void **state) {
  (void)state;
  refused("{\"mode\":\"strickt\"," RULES "}", "did you mean \"strict\"");
  refused("{\"mode\":\"bounded\"," RULES "}", "bounded wants a bound");
  refused("{\"mode\":{\"mode\":\"strict\",\"ms\":4}," RULES "}", "belong to the mode \"bounded\"");
  refused("{\"modes\":{\"harms\":\"strict\"}," RULES "}", "no rule has the category \"harms\"");
  refused("{\"on\":[\"promt\"]," RULES "}", "did you mean \"prompt\"");
  refused("{\"on\":[]," RULES "}", "wants \"prompt\", \"answer\"");
  refused("{\"routes\":[{\"name\":\"a\"}]," RULES "}", "p.json: route a.match: wants one or more");
  refused("{\"routes\":[{\"name\":\"a\",\"match\":{\"dialect\":\"antropic\"}}]," RULES "}", "did you mean anthropic");
  refused("{\"routes\":[{\"name\":\"default\",\"match\":{\"path\":\"/\"}}]," RULES "}", "stands twice");
  refused("{\"routes\":[{\"name\":\"a\",\"match\":{\"path\":\"/\"},\"mod\":1}]," RULES "}", "did you mean");
  refused("{\"routes\":3," RULES "}", "wants a list");
}

/* An audit file of the first schema is brought up to date where it lies. */
static void test_older_audit(void **state) {
  (void)state;
  char path[] = "/tmp/sluice-audit-XXXXXX";
  struct sluice_error err = {0};
  struct monitor_audit *a = NULL;
  sqlite3 *db = NULL;
  sqlite3_stmt *q = NULL;
  int fd = mkstemp(path);
  close(fd);
  char *file = sluice_format("%s.db", path);
  assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
  assert_int_equal(
      sqlite3_exec(
          db,
          "CREATE TABLE session(id INTEGER PRIMARY KEY, started_ns INTEGER NOT NULL, ended_ns INTEGER, source TEXT,"
          " policy TEXT NOT NULL, policy_sha256 TEXT NOT NULL, stopped INTEGER, pieces INTEGER, bytes INTEGER, masks "
          "INTEGER, flags INTEGER, stops INTEGER, not_scanned INTEGER, capped INTEGER, exposed INTEGER) STRICT;"
          "CREATE TABLE event(id INTEGER PRIMARY KEY, session INTEGER NOT NULL, at_ns INTEGER NOT NULL,"
          " kind TEXT NOT NULL, action TEXT NOT NULL, rule TEXT NOT NULL, category TEXT NOT NULL, view TEXT NOT NULL,"
          " choice INTEGER NOT NULL, channel TEXT NOT NULL, call INTEGER NOT NULL, start INTEGER NOT NULL, \"end\" "
          "INTEGER NOT NULL, match_start INTEGER NOT NULL, match_end INTEGER NOT NULL, exposed INTEGER NOT NULL, "
          "sha256 TEXT NOT NULL, text BLOB) STRICT;"
          "INSERT INTO event VALUES(1,1,1,'match','mask','r','c','raw',0,'content',0,0,1,0,1,0,'',NULL);"
          "PRAGMA application_id=1936482677; PRAGMA user_version=1",
          NULL, NULL, NULL),
      SQLITE_OK);
  struct monitor_audit_options o = {.path = file, .policy = "p", .policy_hash = "h"};
  if (monitor_audit_open(&o, &a, &err)) fail_msg("%s", err.message);
  struct monitor_event e = {
      .rule = "r", .category = "c", .view = "raw", .text = {"", 0}, .mode = MONITOR_SHADOW, .route = "x"};
  monitor_audit_event(a, &e);
  struct monitor_counts counts = {0};
  assert_int_equal(monitor_audit_close(a, &counts, false, &err), SLUICE_OK);
  assert_int_equal(
      sqlite3_prepare_v2(db, "SELECT group_concat(mode || ':' || coalesce(route, '-'), ' ') FROM event", -1, &q, NULL),
      SQLITE_OK);
  assert_int_equal(sqlite3_step(q), SQLITE_ROW);
  assert_string_equal((const char *)sqlite3_column_text(q, 0), "strict:- shadow:x");
  sqlite3_finalize(q);
  sqlite3_close(db);
  remove(path);
  remove(file);
  free(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_strict),
      cmocka_unit_test(test_optimistic),
      cmocka_unit_test(test_shadow),
      cmocka_unit_test(test_bounded),
      cmocka_unit_test(test_modes_by_category),
      cmocka_unit_test(test_random_cuts),
      cmocka_unit_test(test_routes),
      cmocka_unit_test(test_sides),
      cmocka_unit_test(test_errors),
      cmocka_unit_test(test_older_audit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
