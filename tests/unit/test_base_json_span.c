/* base: byte ranges of JSON values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static struct sluice_error err;

static struct json_span root_of(struct slice text) {
  struct json_span root;
  if (json_span_root(text, &root, &err)) fail_msg("%.*s: %s", (int)text.len, text.ptr, err.message);
  return root;
}

static void same(struct slice text, struct json_span span, enum json_type type, const char *wanted) {
  assert_int_equal(span.type, type);
  struct slice found = {text.ptr + span.start, span.end - span.start};
  if (!slice_is(found, wanted)) fail_msg("found %.*s, wanted %s", (int)found.len, found.ptr, wanted);
}

static void values_are_found_by_path(void **state) {
  (void)state;
  struct slice t =
      slice_of(" { \"id\" : \"x\" , \"choices\":[ {\"index\":0,\"delta\":{\"content\":\"hi, \\\"you\\\"]\"},"
               "\"n\":-1.5e3},[[],{}],true ,null], \"big\":12345678901234567890,\"e\":{} } ");
  struct json_span root = root_of(t), s;
  assert_int_equal(root.start, 1);
  assert_int_equal(root.end, t.len - 1);
  assert_true(json_span_path(t, root, "choices.0.delta.content", &s));
  same(t, s, JSON_STRING, "\"hi, \\\"you\\\"]\"");
  assert_true(json_span_path(t, root, "choices.0.n", &s));
  same(t, s, JSON_NUMBER, "-1.5e3");
  assert_true(json_span_path(t, root, "choices.1", &s));
  same(t, s, JSON_ARRAY, "[[],{}]");
  assert_true(json_span_path(t, root, "choices.1.0", &s));
  same(t, s, JSON_ARRAY, "[]");
  assert_true(json_span_path(t, root, "choices.2", &s));
  same(t, s, JSON_TRUE, "true");
  assert_true(json_span_path(t, root, "choices.3", &s));
  same(t, s, JSON_NULL, "null");
  assert_true(json_span_path(t, root, "big", &s));
  same(t, s, JSON_NUMBER, "12345678901234567890"); /* every digit is there */
  assert_true(json_span_path(t, root, "", &s));
  assert_int_equal(s.start, root.start);
  assert_int_equal(s.end, root.end);
}

static void what_is_absent_is_not_found(void **state) {
  (void)state;
  struct slice t = slice_of("{\"a\":[1,2],\"b\":{\"c\":null}}");
  struct json_span root = root_of(t), s;
  static const char *const paths[] = {
      "x", "a.2", "a.x", "a.0.b", "b.d", "b.c.d", ".", "a..b", "A", "a.99999999999999999999", "a.-1", "a.1x"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    if (json_span_path(t, root, paths[i], &s)) fail_msg("%s was found", paths[i]);
  }
  assert_true(json_span_path(t, root, "a", &s));
  assert_int_equal(json_span_count(t, s), 2);
  assert_false(json_span_member(t, s, "0", &s)); /* an array has no members */
  assert_int_equal(json_span_count(t, root), 2);
}

static void keys_are_compared_decoded_and_the_last_wins(void **state) {
  (void)state;
  struct slice t =
      slice_of("{\"content\":1,\"c\\u006fntent\":2,\"contents\":3,\"conten\":4,\"\\ud83d\\ude00\":5,\"a\\u0000b\":6,"
               "\"\":7}");
  struct json_span root = root_of(t), s;
  assert_true(json_span_member(t, root, "content", &s));
  same(t, s, JSON_NUMBER, "2");
  assert_true(json_span_member(t, root, "\xF0\x9F\x98\x80", &s));
  same(t, s, JSON_NUMBER, "5");
  assert_false(json_span_member(t, root, "a", &s)); /* a NUL ends a C string, not a key */
  assert_true(json_span_member(t, root, "", &s));
  same(t, s, JSON_NUMBER, "7");
}

static void decoded(const char *json, const char *wanted, size_t len) {
  struct slice t = slice_of(json);
  struct json_span root = root_of(t);
  struct buffer b;
  buffer_init(&b, 0);
  assert_int_equal(json_span_decode(t, root, &b, &err), SLUICE_OK);
  assert_int_equal(b.len, len);
  assert_memory_equal(b.ptr ? b.ptr : "", wanted, len);
  buffer_free(&b);
}

static void strings_decode_to_raw_bytes(void **state) {
  (void)state;
  decoded("\"\"", "", 0);
  decoded("\"plain \xC3\xA9\"", "plain \xC3\xA9", 8);
  decoded("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8);
  decoded("\"a\\u0000b\"", "a\0b", 3);
  decoded("\"\\u00e9\\u20AC\\ud83d\\ude00\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9);
  decoded("\"\\ud83d\"", "\xED\xA0\xBD", 3);                      /* a lone high surrogate */
  decoded("\"\\ude00\\ud83d\"", "\xED\xB8\x80\xED\xA0\xBD", 6);   /* the wrong way round */
  decoded("\"\\ud83dx\\ude00\"", "\xED\xA0\xBDx\xED\xB8\x80", 7); /* not adjacent */
  decoded("\"\\ud83d\\u0041\"", "\xED\xA0\xBD\x41", 4);
  decoded("\"\xFF\"", "\xFF", 1); /* the wire's bytes are not judged here */
}

static void what_is_not_json_is_refused_with_its_place(void **state) {
  (void)state;
  static const struct {
    const char *text, *wanted;
  } rows[] = {
      {"", "byte 0 of 0: the text ends too early"},
      {"   ", "ends too early"},
      {"{", "byte 1 of 1"},
      {"{\"a\"", "ends too early"},
      {"{\"a\":", "ends too early"},
      {"{\"a\":1", "ends too early"},
      {"{\"a\":1,", "ends too early"},
      {"{\"a\":1,}", "byte 7 of 8: a key in double quotes"},
      {"{1:2}", "a key in double quotes"},
      {"[1 2]", "byte 3 of 5: ',' or ']'"},
      {"{\"a\":1]", "',' or '}'"},
      {"[1}", "',' or ']'"},
      {"]", "a value was expected"},
      {"nul", "a value was expected"},
      {"nulll", "text after the end"},
      {"+1", "a value was expected"},
      {"-", "ends too early"},
      {"-x", "a digit"},
      {".5", "a value was expected"},
      {"1e", "ends too early"},
      {"1e+x", "a digit"},
      {"00", "may not begin with 0"},
      {"-01", "may not begin with 0"},
      {"\"abc", "ends too early"},
      {"\"\\", "ends too early"},
      {"\"\\u00", "ends too early"},
      {"\"\\q\"", "no such escape"},
      {"\"\t\"", "a control character"},
      {"1 1", "text after the end"},
      {"{} x", "byte 3 of 4: text after the end"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct json_span root;
    if (json_span_root(slice_of(rows[i].text), &root, &err) != SLUICE_INPUT) fail_msg("%s was accepted", rows[i].text);
    if (!strstr(err.message, rows[i].wanted)) fail_msg("%s: \"%s\"", rows[i].text, err.message);
  }
  struct json_span root;
  assert_int_equal(json_span_root((struct slice){"\"a\0b\"", 5}, &root, &err), SLUICE_INPUT);
  assert_int_equal(json_span_root((struct slice){"\"\\\0\"", 4}, &root, &err), SLUICE_INPUT);
}

static void elements_in_one_walk(void **state) {
  (void)state;
  struct slice t = slice_of(" [1, [2,3] ,\"a,]\",{}, null ] ");
  struct json_span root = root_of(t), each = {0}, same_one;
  size_t n = 0;
  for (; json_span_next(t, root, &each); n++) {
    assert_true(json_span_element(t, root, n, &same_one));
    assert_memory_equal(&each, &same_one, sizeof each);
  }
  assert_int_equal(n, json_span_count(t, root));
  each = (struct json_span){0};
  t = slice_of("[]");
  assert_false(json_span_next(t, root_of(t), &each));
  t = slice_of("{\"a\":1}");
  assert_false(json_span_next(t, root_of(t), &each));
}

static void depth_is_bounded(void **state) {
  (void)state;
  struct json_span root, inner;
  struct slice t;
  char *deep = malloc(2000001);
  for (int mixed = 0; mixed < 2; mixed++) {
    size_t n = 0;
    for (int i = 0; i < 64; i++) n += (size_t)sprintf(deep + n, "%s", mixed && i % 2 ? "{\"k\":" : "[");
    n += (size_t)sprintf(deep + n, "7");
    for (int i = 63; i >= 0; i--) deep[n++] = mixed && i % 2 ? '}' : ']';
    t = (struct slice){deep, n};
    root = root_of(t);
    if (!mixed) {
      for (int i = 0; i < 64; i++) {
        assert_true(json_span_element(t, root, 0, &inner));
        root = inner;
      }
      same(t, root, JSON_NUMBER, "7");
    }
  }
  memset(deep, '[', 2000000);
  t = (struct slice){deep, 2000000};
  assert_int_equal(json_span_root(t, &root, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "64 deep"));
  free(deep);
}

/* A recursive recognizer of the same grammar, written for obviousness; both must agree on random damage. */
struct slow {
  const char *s, *end;
  int depth;
};
static bool slow_value(struct slow *p);
static void slow_space(struct slow *p) {
  while (p->s < p->end && *p->s && strchr(" \t\n\r", *p->s)) p->s++;
}
static bool slow_char(struct slow *p, char c) {
  if (p->s >= p->end || *p->s != c) return false;
  p->s++;
  return true;
}
static bool slow_digits(struct slow *p) {
  const char *from = p->s;
  while (p->s < p->end && *p->s >= '0' && *p->s <= '9') p->s++;
  return p->s > from;
}
static bool slow_number(struct slow *p) {
  slow_char(p, '-');
  if (!slow_char(p, '0') && !slow_digits(p)) return false;
  if (slow_char(p, '.') && !slow_digits(p)) return false;
  if (slow_char(p, 'e') || slow_char(p, 'E')) {
    if (!slow_char(p, '+')) slow_char(p, '-');
    return slow_digits(p);
  }
  return true;
}
static bool slow_string(struct slow *p) {
  if (!slow_char(p, '"')) return false;
  while (p->s < p->end) {
    unsigned char c = (unsigned char)*p->s++;
    if (c == '"') return true;
    if (c < 0x20) return false;
    if (c != '\\') continue;
    if (p->s >= p->end || !*p->s || !strchr("\"\\/bfnrtu", *p->s)) return false;
    if (*p->s++ != 'u') continue;
    for (int i = 0; i < 4; i++, p->s++)
      if (p->s >= p->end || !*p->s || !strchr("0123456789abcdefABCDEF", *p->s)) return false;
  }
  return false;
}
static bool slow_members(struct slow *p, bool object) {
  char close = object ? '}' : ']';
  slow_space(p);
  if (slow_char(p, close)) return true;
  do {
    slow_space(p);
    if (object) {
      if (!slow_string(p)) return false;
      slow_space(p);
      if (!slow_char(p, ':')) return false;
    }
    if (!slow_value(p)) return false;
    slow_space(p);
  } while (slow_char(p, ','));
  return slow_char(p, close);
}
static bool slow_value(struct slow *p) {
  slow_space(p);
  if (p->s >= p->end) return false;
  char c = *p->s;
  if (c == '"') return slow_string(p);
  if (c == '{' || c == '[') {
    p->s++;
    if (++p->depth > 64) return false;
    bool ok = slow_members(p, c == '{');
    p->depth--;
    return ok;
  }
  static const char *const words[] = {"true", "false", "null"};
  for (int i = 0; i < 3; i++) {
    size_t n = strlen(words[i]);
    if ((size_t)(p->end - p->s) >= n && memcmp(p->s, words[i], n) == 0) {
      p->s += n;
      return true;
    }
  }
  return slow_number(p);
}
static bool slow_accepts(const char *s, size_t len) {
  struct slow p = {s, s + len, 0};
  if (!slow_value(&p)) return false;
  slow_space(&p);
  return p.s == p.end;
}

/* Also walks every damaged text as if it had been accepted: nothing may read outside (the sanitizers watch). */
static void damaged_text_is_judged_as_the_slow_recognizer_does(void **state) {
  (void)state;
  static const char seed_text[] = "{\"a\":[1,-2.5e+3,{\"b\":\"x\\u00e9\\n\",\"c\":[]},null],\"d\":{\"e\":true,\"f\":"
                                  "false},\"g\":\"\\ud83d\\ude00\"}";
  static const char alphabet[] = "{}[]\",:\\u0e1-+.tfn \n";
  struct rng r;
  int accepted = 0, refused = 0;
  rng_seed(&r, 23);
  for (int round = 0; round < 60000; round++) {
    size_t len = sizeof seed_text - 1;
    char *text = malloc(len + 1); /* on the heap, exactly as long as it says, so that overreads are caught */
    memcpy(text, seed_text, len + 1);
    for (uint32_t k = rng_below(&r, 4); k > 0; k--)
      text[rng_below(&r, (uint32_t)len)] =
          rng_below(&r, 8) ? alphabet[rng_below(&r, sizeof alphabet - 1)] : (char)rng_u64(&r);
    if (rng_below(&r, 4) == 0) len = rng_below(&r, (uint32_t)len + 1);
    char *exact = malloc(len ? len : 1);
    memcpy(exact, text, len);
    free(text);
    struct slice t = {exact, len};
    struct json_span root, s;
    bool ok = json_span_root(t, &root, &err) == SLUICE_OK;
    if (ok != slow_accepts(exact, len)) fail_msg("judged differently: %.*s", (int)len, exact);
    ok ? accepted++ : refused++;
    struct json_span whole = {JSON_OBJECT, 0, len};
    struct buffer b;
    buffer_init(&b, 0);
    json_span_path(t, whole, "a.2.b", &s);
    if (json_span_path(t, whole, "g", &s) && s.type == JSON_STRING) json_span_decode(t, s, &b, &err);
    whole.type = JSON_ARRAY;
    json_span_count(t, whole);
    buffer_free(&b);
    free(exact);
  }
  assert_true(accepted > 5000);
  assert_true(refused > 5000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_found_by_path),
      cmocka_unit_test(what_is_absent_is_not_found),
      cmocka_unit_test(keys_are_compared_decoded_and_the_last_wins),
      cmocka_unit_test(strings_decode_to_raw_bytes),
      cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
      cmocka_unit_test(elements_in_one_walk),
      cmocka_unit_test(depth_is_bounded),
      cmocka_unit_test(damaged_text_is_judged_as_the_slow_recognizer_does),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
