/* Rule files of others: TOML as they write it, gitleaks' rules and word lists as policies that mean the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/monitor.h"
#include "monitor/pattern_tree.h"
#include "monitor/toml.h"

/* ---- TOML ---- */

static void reads(const char *toml, const char *json) {
  struct sluice_error err = {0};
  cJSON *root = NULL;
  if (toml_parse("t.toml", slice_of(toml), &root, &err)) fail_msg("%s: %s", toml, err.message);
  char *got = cJSON_PrintUnformatted(root);
  assert_string_equal(got, json);
  free(got);
  cJSON_Delete(root);
}

static void refuses(const char *toml, const char *says) {
  struct sluice_error err = {0};
  cJSON *root = NULL;
  if (!toml_parse("t.toml", slice_of(toml), &root, &err)) fail_msg("accepted: %s", toml);
  if (!strstr(err.message, says)) fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void test_toml(void **state) {
  (void)state;
  reads("", "{}");
  reads("a = 1 # one\n\"b c\" = 'x\\d'\nd=-2.5\ne = true", "{\"a\":1,\"b c\":\"x\\\\d\",\"d\":-2.5,\"e\":true}");
  reads("a = \"q\\\"\\u00e9\\\\\"\r\nb = []", "{\"a\":\"q\\\"\xc3\xa9\\\\\",\"b\":[]}");
  reads("a = '''\nit's\n'' two'''", "{\"a\":\"it's\\n'' two\"}");
  reads("a = ''''quoted''''", "{\"a\":\"'quoted'\"}");
  reads("a = \"\"\"x \\\n   y\"\"\"", "{\"a\":\"x y\"}");
  reads("a = [ # list\n  '1',\n\n  [2, 3],\n]\nb = 1_000", "{\"a\":[\"1\",[2,3]],\"b\":1000}");
  reads("[a]\nx=1\n[[r]]\ni=1\n[[r.s]]\nk=1\n[[r.s]]\n[[r]]\ni=2\n[r.t]\nz=1",
        "{\"a\":{\"x\":1},\"r\":[{\"i\":1,\"s\":[{\"k\":1},{}]},{\"i\":2,\"t\":{\"z\":1}}]}");
  refuses("a = 1\na = 2", "t.toml:2: this key stands twice");
  refuses("a = 'x\ny'", "t.toml:1: a string ends");
  refuses("a = '''x", "no end");
  refuses("a = \"\\q\"", "escape");
  refuses("a = \"\\ud800\"", "Unicode");
  refuses("a = 1979-05-27", "dates");
  refuses("a = {b = 1}", "inline tables");
  refuses("a.b = 1", "dotted");
  refuses("a = [1 2]", "t.toml:1: an array");
  refuses("a = 1 b = 2", "more stands");
  refuses("a =", "a value is none");
  refuses("= 1", "a key is missing");
  refuses("[a]\n[a]", "begun before");
  refuses("a = 1\n[[a]]", "t.toml:2");
  refuses("[a\nb=1", "closing bracket");
  refuses("a = '\xff'", "UTF-8");
}

/* ---- what a pattern tells ---- */

struct shape_case {
  const char *pattern;
  uint32_t protect;
  const char *literals; /* joined by '|'; upper case where cased */
  size_t ahead, min, max;
  bool inside, word_start;
};

static void test_shapes(void **state) {
  (void)state;
  static const struct shape_case cases[] = {
      {"secret", 0, "secret", 0, 6, 6, true, false},
      {"\\b(ghp_[a-z]{4})(?:\\s|$)", 1, "ghp_", 0, 8, 9, true, true},
      {"(?i)[\\w.-]{0,50}?(?:key|pass(?:wor)?d)\\s*=\\s*([a-z]+)", 1, "key|password|passd", 0, 5, NODE_UNBOUNDED, false,
       false},
      {"[a-z]{14}\\.atlas", 0, ".atlas", 14, 20, 20, true, false},
      {"x[a-z]+(\\d{2}mmk)", 1, "mmk", 2, 7, NODE_UNBOUNDED, true, false},
      {"(?:sk|rk)_(?:live|test)_", 0, "sk_live_|sk_test_|rk_live_|rk_test_", 0, 8, 8, true, false},
      {"ab?c|abd", 0, "abc|ac|abd", 0, 2, 3, true, false},
      {"\\d{3}_\\d{2}", 0, "_", 3, 6, 6, true, false},
      {"[Aa]kia", 0, "akia", 0, 4, 4, true, false},
      {"AKIA", 0, "AKIA", 0, 4, 4, true, false},
      {"a|", 0, "", 0, 0, 1, false, false},
      {"(?:foo)?bar", 0, "foobar|bar", 0, 3, 6, true, false},
      {"(?<!\\w)\\Qa.b\\E(?=c)", 0, "a.b", 0, 3, 3, true, false},
      {"a(?#x){3}\\Qb+\\E{2}c", 0, "aaab++c", 0, 7, 7, true, false},
      {"(?x) a b # c\n d", 0, "abd", 0, 3, 3, true, false},
      {"\\bn(?:o|a)\\b|\\byes", 0, "no|na|yes", 0, 2, 3, true, true},
      {"\\x41[\\x42]\\103?", 0, NULL, 0, 0, 0, false, false},
      {"(?|a|b)", 0, NULL, 0, 0, 0, false, false},
      {"(a)\\1", 0, NULL, 0, 0, 0, false, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const struct shape_case *c = &cases[i];
    struct sluice_error err = {0};
    struct arena scratch = {0};
    struct pattern_shape s;
    const uint32_t protect[2] = {c->protect, 0};
    const struct pattern_question q = {.pattern = slice_of(c->pattern), .ascii = true, .protect = protect};
    char got[400] = "";
    assert_int_equal(pattern_shape_read(&scratch, &q, &s, &err), SLUICE_OK);
    if (s.known != (c->literals != NULL)) fail_msg("%s: %s", c->pattern, s.known ? "known" : s.unknown);
    for (size_t k = 0; s.known && k < s.literals.n; k++)
      snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", k ? "|" : "", s.literals.items[k].text);
    if (s.known) {
      if (strcmp(got, c->literals)) fail_msg("%s: \"%s\", not \"%s\"", c->pattern, got, c->literals);
      bool same = s.min == c->min && s.max == c->max && s.word_start == c->word_start &&
                  (!s.literals.n || (s.literals.ahead == c->ahead && s.literals.inside == c->inside));
      if (!same)
        fail_msg("%s: %zu to %zu bytes, %zu ahead, inside %d, word start %d", c->pattern, s.min, s.max,
                 s.literals.ahead, s.literals.inside, s.word_start);
    }
    arena_free(&scratch);
  }
}

/* ---- gitleaks ---- */

static const struct monitor_import_options secrets = {"words", "secrets", MONITOR_MASK};

static struct monitor_policy *import(const char *toml, struct buffer *json, struct buffer *remarks) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  if (monitor_import_gitleaks("g.toml", slice_of(toml), &secrets, json, remarks, &err)) fail_msg("%s", err.message);
  if (monitor_policy_parse("g.json", NULL, (struct slice){json->ptr, json->len}, &p, &err))
    fail_msg("%s\n%s", err.message, json->ptr);
  return p;
}

static sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static void gives(const char *toml, const char *text, const char *want, const char *json_says,
                  const char *remarks_say) {
  struct buffer json = {0}, remarks = {0}, out = {0};
  struct sluice_error err = {0};
  struct monitor_policy *p = import(toml, &json, &remarks);
  struct monitor *m = NULL;
  struct monitor_tap *t = NULL;
  bool stop = false;
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_open(m, collect, &out, &t, &err), SLUICE_OK);
  for (const char *c = text; *c; c++) monitor_tap_push(t, 0, 0, (struct slice){c, 1}, &stop, &err);
  monitor_tap_end(t, &stop, &err);
  buffer_append(&out, "", 1, &err);
  assert_string_equal(out.ptr, want);
  if (!strstr(json.ptr, json_says)) fail_msg("%s does not say %s", json.ptr, json_says);
  if (remarks_say && !strstr(remarks.ptr ? remarks.ptr : "", remarks_say)) fail_msg("%s: %s", remarks_say, remarks.ptr);
  if (!remarks_say && remarks.len) fail_msg("%s", remarks.ptr);
  monitor_tap_close(t);
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&json);
  buffer_free(&remarks);
  buffer_free(&out);
}

#define R "[[rules]]\nid='r'\n"
static void test_gitleaks(void **state) {
  (void)state;
  gives(R "regex='''(?i)[\\w.-]{0,50}?(?:acme)[\\s'\"]{0,3}=[\\s]{0,5}([a-z0-9]{6})(?:[\\s;]|$)'''\nkeywords=['acme']",
        "my_acme = abc123;", "my_acme = [masked];", "\"hold\": \"after\"", NULL);
  /* the keyword stands elsewhere in the file */
  gives(R "regex='\\b(pat[0-9]{4})\\b'\nkeywords=['airtable']", "pat1234 Airtable pat1234", "pat1234 Airtable [masked]",
        "\"context\": [\"airtable\"]", NULL);
  gives(R "regex='k=(a)?(b)?(c)?'\n", "k=b k=abc", "k=[masked] k=[masked]bc", "\"protect\": [1, 2, 3]", NULL);
  gives(R "regex='k=(a+)(b+)'\nsecretGroup=2", "k=aabb", "k=aa[masked]", "\"protect\": 2", "no bound");
  gives(R "regex='k=(?:(a)-){3}'", "k=a-a-a-", "[masked]", "\"keywords\": [\"k=a-a-a-\"]", "caught anew");
  gives(R "regex='k=(\\w{8})'\nentropy=2.9", "k=aaaaaaab k=abcdefgh", "k=aaaaaaab k=[masked]",
        "\"entropy\": 2.8999999999999999", NULL);
  gives(R "regex='k=(\\w+);'\n[[rules.allowlists]]\nstopwords=['EXAMPLE']\n[[rules.allowlists]]\nregexTarget='match'\n"
          "regexes=['^k=x']\n",
        "k=example1; k=x9; k=y9;", "k=example1; k=x9; k=[masked];", "\"target\": \"match\"", "no bound");
  gives("[allowlist]\npaths=['x']\nregexes=['^true$']\n" R "regex='k=(\\w{1,9});'\n", "k=true; k=trues;",
        "k=true; k=[masked];", "\"patterns\": [\"^true$\"]", NULL);
  /* what is asked of some paths alone lets nothing by in a stream */
  gives(R "regex='k=(\\w{1,9});'\n[[rules.allowlists]]\ncondition='AND'\npaths=['x']\nregexes=['^a']\n", "k=a;",
        "k=[masked];", "\"protect\": 1", NULL);
  gives(R "regex='k=(\\w{1,9});'\npath='x'\n[[rules]]\nid='q'\npath='y'", "k=a;", "k=[masked];", "\"id\": \"r\"",
        "paths alone");
  /* Go's classes are ASCII's, its $ is the very end */
  gives(R "regex='k=(\\w{1,9})$'\n", "k=\xc3\xa9 k=e", "k=\xc3\xa9 k=[masked]", "\"flags\": \"aD\"", NULL);
}

static void test_gitleaks_errors(void **state) {
  (void)state;
  static const struct {
    const char *toml, *says;
  } cases[] = {{"", "[[rules]]"},
               {"rules = 1", "[[rules]]"},
               {"[[rules]]\nregex='x'", "g.toml: rules[0]"},
               {R "regexp='x'", "did you mean \"regex\""},
               {R "regex='('", "rule r.regex: byte 1"},
               {R "regex='a'\nsecretGroup=1", "0 groups"},
               {R "regex='a'\nentropy=9", "entropy"},
               {R "regex='a'\nkeywords='a'", "list of strings"},
               {R "regex='a'\n[[rules.allowlists]]\nregexTarget='file'\nregexes=['a']", "regexTarget"},
               {R "path='a'", "no rule has a regex"},
               {"[extend]\npath='a'\n" R "regex='a'", "extend"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct sluice_error err = {0};
    struct buffer json = {0}, remarks = {0};
    if (!monitor_import_gitleaks("g.toml", slice_of(cases[i].toml), &secrets, &json, &remarks, &err))
      fail_msg("accepted: %s", cases[i].toml);
    if (!strstr(err.message, cases[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
    buffer_free(&json);
    buffer_free(&remarks);
  }
}

static void test_words(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct buffer json = {0}, remarks = {0};
  struct monitor_policy *p = NULL;
  const struct monitor_import_options options = {"rude", "profanity", MONITOR_FLAG};
  assert_int_equal(
      monitor_import_words("w", slice_of("# list\r\nbad\r\n\n  two words \n"), &options, &json, &remarks, &err),
      SLUICE_OK);
  assert_non_null(strstr(json.ptr, "\"bad\",\n      \"two words\"\n"));
  assert_int_equal(monitor_policy_parse("w.json", NULL, (struct slice){json.ptr, json.len}, &p, &err), SLUICE_OK);
  assert_string_equal(monitor_rule_id(p, 0), "rude");
  monitor_policy_free(p);
  buffer_clear(&json);
  assert_int_equal(monitor_import_words("w", slice_of("# none\n"), &options, &json, &remarks, &err), SLUICE_USAGE);
  assert_int_equal(monitor_import_words("w", slice_of("\xff"), &options, &json, &remarks, &err), SLUICE_INPUT);
  assert_int_equal(monitor_import_words("w", (struct slice){"a\0b", 3}, &options, &json, &remarks, &err), SLUICE_INPUT);
  buffer_free(&json);
  buffer_free(&remarks);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_toml), cmocka_unit_test(test_shapes),
                                     cmocka_unit_test(test_gitleaks), cmocka_unit_test(test_gitleaks_errors),
                                     cmocka_unit_test(test_words)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
