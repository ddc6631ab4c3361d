/* base: JSON for configuration, and quoting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"

static struct sluice_error err;

static cJSON *accepted(const char *text, bool comments) {
  cJSON *tree = NULL;
  if (json_parse("suite.json", text, strlen(text), comments, &tree, &err))
    fail_msg("%s was refused: %s", text, err.message);
  return tree;
}

static void refused(const char *text, size_t len, bool comments, const char *wanted) {
  cJSON *tree = NULL;
  if (json_parse("suite.json", text, len, comments, &tree, &err) != SLUICE_INPUT) fail_msg("%s was accepted", text);
  if (!strstr(err.message, wanted)) fail_msg("\"%s\" does not contain \"%s\"", err.message, wanted);
  assert_null(tree);
}

static void comments_are_blank(void **state) {
  (void)state;
  cJSON *t =
      accepted("// first\n{ /* one */ \"url\": \"http://a/*b*/\", // two\n \"q\": \"\\\"//\" /**/ }\n// end", true);
  assert_string_equal(cJSON_GetObjectItem(t, "url")->valuestring, "http://a/*b*/");
  assert_string_equal(cJSON_GetObjectItem(t, "q")->valuestring, "\"//");
  cJSON_Delete(t);
  t = accepted("\xEF\xBB\xBF{\"a\":1}", false);
  assert_int_equal(cJSON_GetObjectItem(t, "a")->valueint, 1);
  cJSON_Delete(t);
}

static void places_are_right(void **state) {
  (void)state;
#define REFUSED(text, wanted) refused(text, strlen(text), true, wanted)
  REFUSED("{\n  \"a\": 1,\n  \"b\": x\n}", "suite.json:3:8: a value was expected");
  REFUSED("/* \xC3\xA9\xC3\xA9 */ {\"\xC3\xA9\": tru}", "suite.json:1:16: ");
  REFUSED("{ /* one\n two */ \"a\": 1,\n }", "suite.json:3:2: a key in double quotes");
  REFUSED("{\"a\":1}\n// ok\n  {}", "suite.json:3:3: text after the end");
  REFUSED("{\"a\":1} /* open\n", "suite.json:1:9: this comment never ends");
  REFUSED("{\"a\":1", "suite.json:1:7: the text ends too early");
  REFUSED("", "suite.json:1:1: the text ends too early");
  REFUSED("{\"a\" 1}", "':' was expected");
  REFUSED("[1,]", "a value was expected");
  REFUSED("[01]", "may not begin with 0");
  REFUSED("[1.]", "a digit was expected");
  REFUSED("[\"\\x\"]", "no such escape");
  REFUSED("[\"\\u12g4\"]", "four hexadecimal digits");
  REFUSED("[\"a\nb\"]", "suite.json:1:4: a control character");
  REFUSED("[\"a\\u0000b\"]", "suite.json:1:4: \\u0000");
  REFUSED("{'a':1}", "a key in double quotes");
  REFUSED("[NaN]", "a value was expected");
  REFUSED("[/1]", "a value was expected");
  REFUSED("[1]/", "text after the end");
  REFUSED("[\n\"\xFF\"]", "suite.json:2:2: not UTF-8");
  REFUSED("[\"\xE2\x82", "suite.json:1:3: not UTF-8");
  refused("// x\n1", 6, false, "suite.json:1:1: a value was expected");
  refused("[1]\0", 4, true, "suite.json:1:4: text after the end");
  cJSON *t = accepted("[\"\\\\u0000\"]", false); /* an escaped backslash, not an escaped NUL */
  assert_string_equal(cJSON_GetArrayItem(t, 0)->valuestring, "\\u0000");
  cJSON_Delete(t);
}

static void keys_occur_once(void **state) {
  (void)state;
  REFUSED("{\"a\":1,\"b\":2,\"a\":3}", "\"a\" occurs twice");
  REFUSED("{\"o\":[{\"k\":1,\"\\u006b\":2}]}", "\"k\" occurs twice");
  REFUSED("{\"model\":{\"k\":1,\"k\":2}}", "(\"model\")");
  cJSON_Delete(accepted("{\"a\":1,\"A\":2,\"x\":{\"a\":1}}", false));
}

static void sizes_are_bounded(void **state) {
  (void)state;
  cJSON *tree;
  char deep[400] = "";
  memset(deep, '[', 64);
  memset(deep + 64, ']', 64);
  cJSON_Delete(accepted(deep, false));
  memset(deep, '[', 65);
  memset(deep + 65, ']', 65);
  REFUSED(deep, "suite.json:1:65: nested more than 64 deep");
  size_t len = ((size_t)64 << 20) + 1;
  char *huge = malloc(len);
  memset(huge, ' ', len);
  assert_int_equal(json_parse("huge.json", huge, len, false, &tree, &err), SLUICE_LIMIT);
  free(huge);
}

static void a_large_vocabulary_is_fast(void **state) {
  (void)state;
  struct buffer b;
  buffer_init(&b, 0);
  buffer_append_str(&b, "{", &err);
  for (int i = 0; i < 60000; i++) buffer_printf(&b, &err, "%s\"token %d\":%d", i ? "," : "", i * 7 % 60000, i);
  buffer_append_str(&b, "}", &err);
  clock_t before = clock(); /* the processor's time: another's load does not count */
  cJSON *tree = accepted(b.ptr, true);
  assert_int_equal(cJSON_GetArraySize(tree), 60000);
  assert_true(clock() - before < 3 * CLOCKS_PER_SEC); /* quadratic work takes minutes */
  cJSON_Delete(tree);
  buffer_free(&b);
}

static void typed_members(void **state) {
  (void)state;
  cJSON *t = accepted("{\"s\":\"x\",\"i\":-3,\"big\":9007199254740993,\"f\":2.5,\"b\":true,\"n\":null}", false);
  const char *s;
  int64_t i;
  double d;
  bool b;
  assert_int_equal(json_string(t, "suite", "s", true, NULL, &s, &err), SLUICE_OK);
  assert_string_equal(s, "x");
  assert_int_equal(json_string(t, "suite", "absent", false, "f", &s, &err), SLUICE_OK);
  assert_string_equal(s, "f");
  assert_int_equal(json_string(t, "suite", "absent", true, NULL, &s, &err), SLUICE_USAGE);
  assert_string_equal(err.message, "suite.absent is missing: expected a string");
  assert_int_equal(json_string(t, "suite", "i", false, NULL, &s, &err), SLUICE_USAGE);
  assert_string_equal(err.message, "suite.i: expected a string, found a number");
  assert_int_equal(json_string(t, "suite", "n", false, NULL, &s, &err), SLUICE_USAGE);
  assert_int_equal(json_int(t, "suite", "i", true, 0, -3, 3, &i, &err), SLUICE_OK);
  assert_int_equal(i, -3);
  assert_int_equal(json_int(t, "suite", "absent", false, 9, 0, 1, &i, &err), SLUICE_OK);
  assert_int_equal(i, 9);
  assert_int_equal(json_int(t, "suite", "i", true, 0, 0, 3, &i, &err), SLUICE_USAGE);
  assert_string_equal(err.message, "suite.i: expected 0 to 3, found -3");
  assert_int_equal(json_int(t, "suite", "f", true, 0, 0, 3, &i, &err), SLUICE_USAGE);
  assert_int_equal(json_int(t, "suite", "b", true, 0, 0, 3, &i, &err), SLUICE_USAGE);
  assert_int_equal(json_double(t, "suite", "f", true, 0, &d, &err), SLUICE_OK);
  assert_true(d == 2.5);
  assert_int_equal(json_double(t, "suite", "s", true, 0, &d, &err), SLUICE_USAGE);
  assert_int_equal(json_double(t, "suite", "absent", true, 0, &d, &err), SLUICE_USAGE);
  assert_int_equal(json_bool(t, "suite", "b", false, &b, &err), SLUICE_OK);
  assert_true(b);
  assert_int_equal(json_bool(t, "suite", "absent", true, &b, &err), SLUICE_OK);
  assert_true(b);
  assert_int_equal(json_bool(t, "suite", "i", true, &b, &err), SLUICE_USAGE);
  cJSON_Delete(t);
  t = accepted("{\"big\":9007199254740994,\"huge\":1e400}", false);
  assert_int_equal(json_int(t, "suite", "big", true, 0, INT64_MIN, INT64_MAX, &i, &err), SLUICE_USAGE);
  assert_int_equal(json_int(t, "suite", "huge", true, 0, INT64_MIN, INT64_MAX, &i, &err), SLUICE_USAGE);
  assert_int_equal(json_double(t, "suite", "huge", true, 0, &d, &err), SLUICE_USAGE);
  cJSON_Delete(t);
}

static void unknown_keys_are_named(void **state) {
  (void)state;
  static const char *const known[] = {"policy", "seeds", NULL};
  cJSON *t = accepted("{\"policy\":1,\"sedes\":2}", false);
  assert_int_equal(json_check_keys(t, "suite.cells[0]", known, &err), SLUICE_USAGE);
  assert_string_equal(err.message, "suite.cells[0]: unknown key \"sedes\"; did you mean \"seeds\"?");
  cJSON_Delete(t);
  t = accepted("{\"zzz\":1}", false);
  assert_int_equal(json_check_keys(t, "suite", known, &err), SLUICE_USAGE);
  assert_string_equal(err.message, "suite: unknown key \"zzz\"; known: policy, seeds");
  cJSON_Delete(t);
  t = accepted("[1]", false);
  assert_int_equal(json_check_keys(t, "suite", known, &err), SLUICE_USAGE);
  cJSON_Delete(t);
}

static void quoted(const char *s, size_t len, const char *wanted) {
  struct buffer b;
  buffer_init(&b, 0);
  assert_int_equal(json_quote(&b, s, len, &err), SLUICE_OK);
  assert_string_equal(b.ptr, wanted);
  buffer_free(&b);
}

static void quoting_is_safe_in_html_too(void **state) {
  (void)state;
  quoted("", 0, "\"\"");
  quoted("caf\xC3\xA9", 5, "\"caf\xC3\xA9\"");
  quoted("a\"\\\n\t\r\b\f\x01\x1f\0z", 12, "\"a\\\"\\\\\\n\\t\\r\\b\\f\\u0001\\u001f\\u0000z\"");
  quoted("</script>&", 10, "\"\\u003c/script\\u003e\\u0026\"");
  quoted("\xE2\x80\xA8\xE2\x80\xA9", 6, "\"\\u2028\\u2029\"");
  quoted("\xFF\xC3", 2, "\"\\ufffd\\ufffd\"");
  quoted("\xE2\x82x\xF0\x9F\x98", 6, "\"\\ufffdx\\ufffd\"");
  quoted("\xED\xA0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate is three ill-formed bytes */
}

/* Any bytes, quoted, are JSON; and what was valid UTF-8 comes back as it was. */
static void quoting_round_trips(void **state) {
  (void)state;
  struct rng r;
  struct buffer b, back;
  rng_seed(&r, 17);
  buffer_init(&b, 0);
  buffer_init(&back, 0);
  for (int i = 0; i < 20000; i++) {
    char bytes[24];
    struct json_span root;
    size_t len = rng_below(&r, sizeof bytes), bad;
    for (size_t k = 0; k < len; k++) bytes[k] = (char)(rng_below(&r, 2) ? rng_below(&r, 256) : rng_below(&r, 128));
    buffer_clear(&b);
    buffer_clear(&back);
    assert_int_equal(json_quote(&b, bytes, len, &err), SLUICE_OK);
    assert_int_equal(utf8_valid_prefix(b.ptr, b.len, &bad), b.len);
    struct slice text = {b.ptr, b.len};
    assert_int_equal(json_span_root(text, &root, &err), SLUICE_OK);
    assert_int_equal(json_span_decode(text, root, &back, &err), SLUICE_OK);
    if (utf8_valid_prefix(bytes, len, &bad) == len) {
      assert_int_equal(back.len, len);
      assert_memory_equal(back.ptr, bytes, len);
    }
  }
  buffer_free(&b);
  buffer_free(&back);
}

static void files_that_are_absent_are_named(void **state) {
  (void)state;
  cJSON *tree;
  assert_int_equal(json_read_file("no/such/suite.json", true, &tree, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "no/such/suite.json"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(comments_are_blank),
      cmocka_unit_test(places_are_right),
      cmocka_unit_test(keys_occur_once),
      cmocka_unit_test(sizes_are_bounded),
      cmocka_unit_test(a_large_vocabulary_is_fast),
      cmocka_unit_test(typed_members),
      cmocka_unit_test(unknown_keys_are_named),
      cmocka_unit_test(quoting_is_safe_in_html_too),
      cmocka_unit_test(quoting_round_trips),
      cmocka_unit_test(files_that_are_absent_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
