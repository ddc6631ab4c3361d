/* Policies: what is refused and how that is said; word lists, exceptions, checks, bounds, fail modes, events and the
 * audit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/monitor.h"

#define RULE(rest) "{\"rules\":[{\"id\":\"r\",\"category\":\"c\"," rest "}]}"

static struct monitor_policy *load(const char *json) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  if (monitor_policy_parse("p.json", NULL, slice_of(json), &p, &err)) fail_msg("%s", err.message);
  return p;
}

static void refused(const char *json, const char *says) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  sluice_status st = monitor_policy_parse("p.json", NULL, slice_of(json), &p, &err);
  if (!st) fail_msg("accepted: %s", json);
  if (!strstr(err.message, says)) fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void test_errors_name_the_place(void **state) {
  (void)state;
  refused("[]", "object");
  refused("{\"rules\":[]}", "p.json.rules");
  refused("{\"rule\":[]}", "rules");
  refused("{\"rules\":[{\"id\":\"a\",\"category\":\"c\",\"action\":\"halt\",\"pattern\":\"x\"}]}",
          "p.json: rule a.action");
  refused(RULE("\"action\":\"stp\",\"pattern\":\"x\""), "did you mean \"stop\"");
  refused(RULE("\"action\":\"stop\",\"patern\":\"x\""), "pattern");
  refused(RULE("\"action\":\"stop\""), "exactly one of");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"x\",\"words\":[\"y\"]"), "exactly one of");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a(b\""), "byte 3");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"ab\",\"protect\":1"), "0 groups");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"(?<x>a)\",\"protect\":\"y\""), "\"y\"");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"\\\\Gab\""), "\\G");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a\\\\Kb\""), "\\K");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a(*SKIP)b\""), "backtracking verb");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a\",\"max_match\":70000"), "max_match");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a\",\"hold\":\"word\""), "keywords");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a\",\"keywords\":[]"), "keywords");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a\",\"check\":\"lun\""), "did you mean \"luhn\"");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"a\",\"flags\":\"q\""), "'q'");
  refused(RULE("\"action\":\"stop\",\"words\":[]"), "empty");
  refused(RULE("\"action\":\"stop\",\"words\":[\"a\",\" \"]"), "word 2");
  refused(RULE("\"action\":\"stop\",\"words\":[\"a\"],\"protect\":1"), "belongs to a pattern");
  refused(RULE("\"action\":\"stop\",\"words_file\":\"no-such-file.txt\""), "no-such-file.txt");
  refused("{\"rules\":[{\"id\":\"a\",\"category\":\"c\",\"action\":\"flag\",\"pattern\":\"x\"},"
          "{\"id\":\"a\",\"category\":\"c\",\"action\":\"flag\",\"pattern\":\"y\"}]}",
          "twice");
  refused("{\"limits\":{\"max_mach\":3},\"rules\":[]}", "max_match");
  refused("{\"rules\":[}", "p.json:1:11");
}

static void test_comments_and_notes(void **state) {
  (void)state;
  struct monitor_policy *p =
      load("{ // one\n /* two */ "
           "\"rules\":[{\"id\":\"r\",\"category\":\"c\",\"action\":\"mask\",\"pattern\":\"\\\\w+@x\"}]}");
  assert_non_null(strstr(monitor_policy_note(p, 0), "rule r"));
  assert_null(monitor_policy_note(p, 1));
  assert_int_equal(strlen(monitor_policy_hash(p)), 64);
  monitor_policy_free(p);
}

/* ---- running ---- */

struct log {
  struct buffer out, events;
};

static void on_event(void *ctx, const struct monitor_event *e) {
  struct log *l = ctx;
  struct sluice_error err;
  buffer_printf(&l->events, &err, "[%s %s %s %d-%d %.*s]", monitor_event_name(e->kind), monitor_action_name(e->action),
                e->rule, (int)e->start, (int)e->end, (int)e->text.len, e->text.ptr);
}

static sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(&((struct log *)ctx)->out, text.ptr, text.len, err);
}

/* Byte by byte and at once: the same output and events. */
static void check(const char *json, const char *text, const char *want, const char *events) {
  struct monitor_policy *p = load(json);
  for (int round = 0; round < 2; round++) {
    struct sluice_error err = {0};
    struct log l = {0};
    struct monitor *m = NULL;
    struct monitor_tap *t = NULL;
    bool stop = false;
    size_t step = round ? strlen(text) : 1;
    assert_int_equal(monitor_open(p, on_event, &l, &m, &err), SLUICE_OK);
    assert_int_equal(monitor_tap_open(m, collect, &l, &t, &err), SLUICE_OK);
    for (size_t at = 0; at < strlen(text); at += step)
      assert_int_equal(monitor_tap_push(t, 0, 0, (struct slice){text + at, step}, &stop, &err), SLUICE_OK);
    assert_int_equal(monitor_tap_end(t, &stop, &err), SLUICE_OK);
    buffer_append(&l.out, "", 1, &err);
    buffer_append(&l.events, "", 1, &err);
    assert_string_equal(l.out.ptr, want);
    assert_string_equal(l.events.ptr, events);
    monitor_tap_close(t);
    monitor_close(m);
    buffer_free(&l.out);
    buffer_free(&l.events);
  }
  monitor_policy_free(p);
}

static void test_word_lists(void **state) {
  (void)state;
  static const char list[] = RULE("\"action\":\"mask\",\"words\":[\"ass\",\"pipe bomb\",\"c++\",\"\xc3\x84rger\"]");
  check(list, "class ass assisting ASS.", "class [masked] assisting [masked].",
        "[match mask r 6-9 ass][match mask r 20-23 ASS]");
  check(list, "a Pipe\n  Bomb, c++ code", "a [masked], [masked] code",
        "[match mask r 2-13 Pipe\n  Bomb][match mask r 15-18 c++]");
  check(list, "\xc3\xa4rger pipe bombs", "[masked] pipe bombs", "[match mask r 0-6 \xc3\xa4rger]");
  static const char gated[] = RULE("\"action\":\"stop\",\"words\":[\"ass ass in\",\"bad\"]");
  check(gated, "ass ass ins, bad", "ass ass ins, ", "[match stop r 13-16 bad]");
}

static void test_exceptions(void **state) {
  (void)state;
  static const char json[] =
      RULE("\"action\":\"stop\",\"pattern\":\"(?:never (?&x)|(?<p>(?<x>build it)))\",\"protect\":\"p\"");
  check(json, "never build it, build it", "never build it, ", "[match stop r 16-24 build it]");
}

static void test_masks_unite_and_repeat(void **state) {
  (void)state;
  check("{\"mask\":\"#\",\"mask_each\":true,"
        "\"rules\":[{\"id\":\"a\",\"category\":\"c\",\"action\":\"mask\",\"pattern\":\"b\xc3\xa9"
        "c\"},"
        "{\"id\":\"b\",\"category\":\"c\",\"action\":\"mask\",\"pattern\":\"cd\",\"mask\":\"x\",\"mask_each\":false}]}",
        "ab\xc3\xa9"
        "cde",
        "a####e",
        "[match mask a 1-5 b\xc3\xa9"
        "c][match mask b 4-6 cd]");
}

/* What only records holds nothing back, and is decided at the end all the same. */
static void test_flags_at_the_end(void **state) {
  (void)state;
  check(RULE("\"action\":\"flag\",\"words\":[\"botnet\"]"), "a botnet", "a botnet", "[match flag r 2-8 botnet]");
  check(RULE("\"action\":\"flag\",\"pattern\":\"a+\""), "baa", "baa", "[match flag r 1-3 aa]");
}

static void test_checks(void **state) {
  (void)state;
  static const char card[] = RULE("\"action\":\"mask\",\"check\":\"luhn\",\"pattern\":\"\\\\b\\\\d{16}\\\\b\"");
  check(card, "4111111111111111 4111111111111112", "[masked] 4111111111111112", "[match mask r 0-16 4111111111111111]");
  static const char iban[] =
      RULE("\"action\":\"mask\",\"check\":\"iban\",\"pattern\":\"[A-Z]{2}\\\\d{2}[A-Z0-9 ]{11,30}[A-Z0-9]\"");
  check(iban, "GB82 WEST 1234 5698 7654 32 or GB83 WEST 1234 5698 7654 32", "[masked] or GB83 WEST 1234 5698 7654 32",
        "[match mask r 0-27 GB82 WEST 1234 5698 7654 32]");
}

static void test_entropy_and_allow_lists(void **state) {
  (void)state;
  static const char entropy[] =
      RULE("\"action\":\"mask\",\"entropy\":2.5,\"pattern\":\"key=(\\\\w{8})\",\"protect\":1");
  check(entropy, "key=aaaabbbb key=a1b2c3d4", "key=aaaabbbb key=[masked]", "[match mask r 17-25 a1b2c3d4]");
  static const char lists[] =
      "{\"allow\":[{\"patterns\":[\"^true$\"]}],\"rules\":[{\"id\":\"r\",\"category\":\"c\",\"action\":\"mask\","
      "\"pattern\":\"k=(\\\\S+);\",\"protect\":1,\"keywords\":[\"k=\"],\"hold\":\"after\",\"allow\":["
      "{\"words\":[\"Example\"]},{\"target\":\"match\",\"patterns\":[\"^k=x.;$\"]},"
      "{\"target\":\"line\",\"patterns\":[\"^# \"]},{\"all\":true,\"words\":[\"both\"],\"patterns\":[\"\\\\d$\"]}]}]}";
  check(lists, "k=true; k=trues; k=an_EXAMPLE_1; k=xy; k=xyz;\n# k=abc;\n k=both; k=both1;",
        "k=true; k=[masked]; k=an_EXAMPLE_1; k=xy; k=[masked];\n# k=abc;\n k=[masked]; k=both1;",
        "[match mask r 10-15 trues][match mask r 41-44 xyz][match mask r 58-62 both]");
  refused(RULE("\"action\":\"mask\",\"pattern\":\"a\",\"entropy\":9"), "entropy");
  refused(RULE("\"action\":\"mask\",\"pattern\":\"a\",\"allow\":[{\"patterns\":[\"(\"]}]"), "allow[0]: pattern");
  refused(RULE("\"action\":\"mask\",\"pattern\":\"a\",\"allow\":[{\"word\":[\"x\"]}]"), "words");
  refused(RULE("\"action\":\"mask\",\"pattern\":\"a\",\"allow\":[{\"words\":[\"x\"],\"target\":\"file\"}]"), "file");
  refused(RULE("\"action\":\"mask\",\"pattern\":\"a\",\"allow\":[{}]"), "patterns");
}

/* A rule with context sleeps until its word has come, keywords in one case only pass the other by. */
static void test_context_and_case(void **state) {
  (void)state;
  check(RULE("\"action\":\"stop\",\"pattern\":\"\\\\d{4}\",\"context\":[\"pin\",\"code\"]"), "1111 spin1 22 Code: 3333",
        "1111 spin1 22 Code: ", "[match stop r 20-24 3333]");
  check(RULE("\"action\":\"mask\",\"pattern\":\"(?i)akia\\\\w\",\"keywords\":[\"AKIA\"],\"keyword_case\":\"exact\""),
        "akia1 AKIA1", "akia1 [masked]", "[match mask r 6-11 AKIA1]");
  check(RULE("\"action\":\"mask\",\"words\":[\"bob\"],\"context\":[\"alice\"]"), "bob alice bob", "bob alice [masked]",
        "[match mask r 10-13 bob]");
  check(RULE("\"action\":\"mask\",\"pattern\":\"a(1+)?(2+)?\",\"protect\":[2,1]"), "a11 a22 a122 a",
        "a[masked] a[masked] a1[masked] a", "[match mask r 1-3 11][match mask r 5-7 22][match mask r 10-12 22]");
}

static void test_caps(void **state) {
  (void)state;
  static const char json[] = RULE("\"action\":\"mask\",\"max_match\":8,\"pattern\":\"<.*?>\"");
  check(json, "a <b> <123456> <1234567> c", "a [masked] [masked] <1234567> c",
        "[match mask r 2-5 <b>][match mask r 6-14 <123456>][capped flag r 15-15 ]");
}

static void test_match_limit_is_never_clean(void **state) {
  (void)state;
#define REDOS(fail)                                                                                                    \
  "{\"limits\":{\"match_limit\":1000},\"rules\":[{\"id\":\"r\",\"category\":\"c\",\"action\":\"mask\"," fail           \
  "\"pattern\":\"(x+x+)+y\"}]}"
  check(REDOS(""), "a xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxz b", "a ", "[not_scanned stop r 2-2 ]");
  struct monitor_policy *p = load(REDOS("\"fail\":\"open\","));
  struct sluice_error err = {0};
  struct log l = {0};
  struct monitor *m = NULL;
  struct monitor_tap *t = NULL;
  struct monitor_counts counts = {0};
  bool stop = false;
  static const char text[] = "a xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxz b";
  assert_int_equal(monitor_open(p, on_event, &l, &m, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_open(m, collect, &l, &t, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_push(t, 0, 0, slice_of(text), &stop, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_end(t, &stop, &err), SLUICE_OK);
  monitor_tap_counts(t, &counts);
  assert_false(stop);
  assert_int_equal(l.out.len, strlen(text));
  assert_true(counts.not_scanned > 0);
  assert_non_null(strstr(l.events.ptr, "[not_scanned flag r 2-2 ]"));
  monitor_tap_close(t);
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&l.out);
  buffer_free(&l.events);
}

/* After a settle the half that left counts as exposed, and the rest is masked. */
static void test_settle_and_go_on(void **state) {
  (void)state;
  struct monitor_policy *p = load(RULE("\"action\":\"mask\",\"pattern\":\"SECRET\""));
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct monitor_stream *s = NULL;
  struct monitor_verdict v;
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  assert_int_equal(monitor_stream_open(m, 0, 0, 0, &s, &err), SLUICE_OK);
  assert_int_equal(monitor_push(s, slice_of("a SEC"), &v, &err), SLUICE_OK);
  assert_int_equal(v.released, 2);
  assert_true(v.held);
  assert_int_equal(monitor_settle(s, &v, &err), SLUICE_OK);
  assert_int_equal(v.released, 5);
  assert_int_equal(monitor_push(s, slice_of("RET b"), &v, &err), SLUICE_OK);
  assert_int_equal(v.n_spans, 1);
  assert_int_equal(v.spans[0].start, 5);
  assert_int_equal(v.spans[0].end, 8);
  assert_int_equal(monitor_stream_counts(s)->exposed, 3);
  monitor_stream_close(s);
  monitor_close(m);
  monitor_policy_free(p);
}

/* ---- audit ---- */

static void run_audited(struct monitor_policy *p, const struct monitor_audit_options *o, const char *text) {
  struct sluice_error err = {0};
  struct log l = {0};
  struct monitor *m = NULL;
  struct monitor_tap *t = NULL;
  struct monitor_audit *a = NULL;
  struct monitor_counts counts = {0};
  bool stop = false;
  if (monitor_audit_open(o, &a, &err)) fail_msg("%s", err.message);
  assert_int_equal(monitor_open(p, monitor_audit_event, a, &m, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_open(m, collect, &l, &t, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_push(t, 0, 0, slice_of(text), &stop, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_end(t, &stop, &err), SLUICE_OK);
  monitor_tap_counts(t, &counts);
  if (monitor_audit_close(a, &counts, stop, &err)) fail_msg("%s", err.message);
  monitor_tap_close(t);
  monitor_close(m);
  buffer_free(&l.out);
}

static char *query(const char *path, const char *sql) {
  sqlite3 *db = NULL;
  sqlite3_stmt *s = NULL;
  assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(s), SQLITE_ROW);
  const char *value = (const char *)sqlite3_column_text(s, 0);
  char *copy = sluice_strdup(value ? value : "NULL");
  sqlite3_finalize(s);
  sqlite3_close(db);
  return copy;
}

static void expect(const char *path, const char *sql, const char *want) {
  char *got = query(path, sql);
  assert_string_equal(got, want);
  free(got);
}

static void test_audit_database(void **state) {
  (void)state;
  const char *dir = getenv("TMPDIR");
  char *path = sluice_format("%s/sluice-audit-%ld.db", dir ? dir : "/tmp", (long)getpid());
  struct monitor_policy *p = load(RULE("\"action\":\"mask\",\"pattern\":\"SECRET\\\\d\""));
  struct monitor_audit_options o = {
      .path = path, .policy = "p.json", .policy_hash = monitor_policy_hash(p), .source = "test"};
  run_audited(p, &o, "a SECRET1 and SECRET1 and SECRET2");
  expect(path, "SELECT count(*) FROM event", "3");
  expect(path, "SELECT count(DISTINCT sha256) FROM event", "2");
  expect(path, "SELECT group_concat(start || '-' || \"end\") FROM event", "2-9,14-21,26-33");
  expect(path, "SELECT count(text) FROM event", "0"); /* no text unless asked for */
  expect(path, "SELECT masks || ' ' || stopped || ' ' || source FROM session", "3 0 test");
  expect(path, "PRAGMA application_id", "1936482677");
  o.text = true;
  run_audited(p, &o, "SECRET1");
  expect(path, "SELECT CAST(text AS TEXT) FROM event WHERE session = 2", "SECRET1");
  /* the salt is the session's own: equal text of two sessions cannot be told */
  expect(path, "SELECT count(DISTINCT sha256) FROM event", "3");
  unlink(path);
  struct sluice_error err = {0};
  struct monitor_audit *a = NULL;
  sqlite3 *other = NULL;
  sqlite3_open(path, &other);
  sqlite3_exec(other, "CREATE TABLE t(x)", NULL, NULL, NULL);
  sqlite3_close(other);
  assert_int_equal(monitor_audit_open(&o, &a, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "another kind"));
  unlink(path);
  char *beside = sluice_format("%s-wal", path);
  unlink(beside);
  free(beside);
  beside = sluice_format("%s-shm", path);
  unlink(beside);
  free(beside);
  free(path);
  monitor_policy_free(p);
}

static void test_audit_lines(void **state) {
  (void)state;
  const char *dir = getenv("TMPDIR");
  char *path = sluice_format("%s/sluice-audit-%ld.jsonl", dir ? dir : "/tmp", (long)getpid()), *text = NULL;
  size_t len = 0;
  struct sluice_error err = {0};
  struct monitor_policy *p = load(RULE("\"action\":\"stop\",\"pattern\":\"B.MB\""));
  struct monitor_audit_options o = {.path = path, .policy = "p.json", .policy_hash = monitor_policy_hash(p)};
  run_audited(p, &o, "a BOMB");
  assert_int_equal(file_read(path, 0, &text, &len, &err), SLUICE_OK);
  assert_non_null(strstr(text, "\"action\":\"stop\""));
  assert_non_null(strstr(text, "\"start\":2,\"end\":6"));
  assert_null(strstr(text, "BOMB"));
  struct json_span root;
  assert_int_equal(json_span_root((struct slice){text, len}, &root, &err), SLUICE_OK);
  unlink(path);
  free(text);
  free(path);
  monitor_policy_free(p);
}

/* Parts that are named once and called: in patterns, in allow lists, in each other. */
static void test_fragments(void **state) {
  (void)state;
  static const char shared[] =
      "{\"define\":{\"digits\":\"[0-9]{3}|x\",\"two\":\"(?&digits)-(?&digits)\",\"never\":\"(?i)\\\\bno\\\\b.*$\"},"
      "\"rules\":[{\"id\":\"a\",\"category\":\"c\",\"action\":\"stop\",\"define\":{\"digits\":\"[ab]+\"},"
      "\"pattern\":\"<(?&two)>\",\"allow\":[{\"target\":\"line\",\"patterns\":[\"(?&never)\"]}]},"
      "{\"id\":\"b\",\"category\":\"c\",\"action\":\"mask\",\"pattern\":\"=(?&two)=\"}]}";
  check(shared, "=123-x= no <a-b>\n<ab-b> ", "[masked] no <a-b>\n",
        "[match mask b 0-7 =123-x=][match stop a 17-23 <ab-b>]");
  /* what only looks like a call, and PCRE2's own */
  static const char own[] = RULE("\"action\":\"mask\",\"define\":{\"n\":\"z\"},"
                                 "\"pattern\":\"(?<m>[(?&n)]{4})\\\\(\\\\?&n\\\\Q(?&n)\\\\E(?&n)(?&m)\"");
  check(own, "(?&n(?&n(?&n)z&&nn", "[masked]", "[match mask r 0-18 (?&n(?&n(?&n)z&&nn]");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"(?&a)\",\"define\":{\"a\":\"x(?&a)\"}"), "does it call itself?");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"(?&a)\",\"define\":{\"a b\":\"x\"}"), "is no name");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"(?&a)\",\"define\":{\"a\":1}"), "rule r.define.a: wants a string");
  refused(RULE("\"action\":\"stop\",\"pattern\":\"(?&b)\",\"define\":{\"a\":\"x\"}"), "byte 3");
  refused(RULE("\"action\":\"stop\",\"words\":[\"b\"],\"define\":{\"a\":\"x\"}"), "belongs to a pattern");
  refused("{\"define\":[],\"rules\":[]}", "p.json.define");
  refused("{\"define\":{\"a\":\"xxxxxxxxxxxxxxxxxxxx(?&b)(?&b)(?&b)(?&b)(?&b)(?&b)(?&b)(?&b)(?&b)(?&b)\","
          "\"b\":\"(?&c)(?&c)(?&c)(?&c)(?&c)(?&c)(?&c)(?&c)(?&c)(?&c)\",\"c\":\"(?&d)(?&d)(?&d)(?&d)(?&d)(?&d)(?&d)\","
          "\"d\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"},"
          "\"rules\":[{\"id\":\"r\",\"category\":\"c\",\"action\":\"stop\",\"pattern\":\"(?&a)\"}]}",
          "longer than 65536 bytes");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fragments),
      cmocka_unit_test(test_errors_name_the_place),
      cmocka_unit_test(test_comments_and_notes),
      cmocka_unit_test(test_word_lists),
      cmocka_unit_test(test_exceptions),
      cmocka_unit_test(test_masks_unite_and_repeat),
      cmocka_unit_test(test_checks),
      cmocka_unit_test(test_flags_at_the_end),
      cmocka_unit_test(test_entropy_and_allow_lists),
      cmocka_unit_test(test_context_and_case),
      cmocka_unit_test(test_caps),
      cmocka_unit_test(test_match_limit_is_never_clean),
      cmocka_unit_test(test_settle_and_go_on),
      cmocka_unit_test(test_audit_database),
      cmocka_unit_test(test_audit_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
