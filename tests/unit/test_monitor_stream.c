/* The monitor against its definition: all cuts of short texts, thousands of random cuts of longer ones, the same bytes
 * each time. */
#include "tests/monitor_cuts.h"

enum { RULES = 8, TEXT_MAX = 4096 };

static void check_all_cuts(const struct ref_rule *rules, size_t n_rules, const char *text, size_t n,
                           unsigned random_cuts) {
  struct monitor_policy *p = policy_of(rules, n_rules);
  struct monitor *m = NULL;
  struct sluice_error err = {0};
  struct buffer out;
  struct rng rng;
  unsigned char cuts[TEXT_MAX] = {0};
  char *want = malloc(64 + 64 * (n + 1));
  bool want_stop = false;
  size_t want_len = ref_filter(rules, n_rules, text, n, want, &want_stop);
  buffer_init(&out, 0);
  rng_seed(&rng, n * 31 + n_rules);
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  if (n <= 11) {
    for (unsigned bits = 0; bits < 1u << (n ? n - 1 : 0); bits++) {
      for (size_t i = 1; i < n; i++) cuts[i] = (bits >> (i - 1)) & 1;
      check_cut(m, rules, n_rules, text, n, cuts, &out, want, want_len, want_stop);
    }
  } else {
    for (size_t at = 0; at < n && n < 400; at++) { /* every single cut */
      memset(cuts, 0, n);
      cuts[at] = 1;
      check_cut(m, rules, n_rules, text, n, cuts, &out, want, want_len, want_stop);
    }
    memset(cuts, 1, n); /* byte by byte */
    check_cut(m, rules, n_rules, text, n, cuts, &out, want, want_len, want_stop);
    for (unsigned k = 0; k < random_cuts; k++) {
      unsigned mean = 1 + rng_below(&rng, 12);
      for (size_t i = 0; i < n; i++) cuts[i] = rng_below(&rng, mean) == 0;
      check_cut(m, rules, n_rules, text, n, cuts, &out, want, want_len, want_stop);
    }
  }
  buffer_free(&out);
  free(want);
  monitor_close(m);
  monitor_policy_free(p);
}

#define M "mask"
#define S "stop"
static const struct ref_rule palette[] = {
    {"ab+c", M, 0, {0}, 0, 0, NULL},
    {"a+", M, 0, {0}, 0, 4, NULL},
    {"\\bcab\\b", M, 0, {0}, 0, 0, NULL},
    {"(?<=a)b(?=c)", M, 0, {0}, 0, 0, NULL},
    {"(?<!a)c$", M, 0, {0}, 0, 0, NULL},
    {"^a.b", M, 0, {0}, 0, 0, NULL},
    {"(?m)^b[^c]*c", M, 0, {0}, 0, 6, NULL},
    {"a(b*)c", M, 1, {0}, 0, 0, NULL},
    {"(a|bc)?(b)c?", M, 2, {0}, 0, 0, NULL},
    {"(?:a.{5}|b)(.)", M, 1, {0}, 0, 0, NULL},
    {"a?\?(b+?)(?:c|$)", M, 1, {0}, 0, 0, NULL},
    {"a(?=b)(.)", M, 1, {0}, 0, 0, NULL},
    {"(?>a+)b", M, 0, {0}, 0, 0, NULL},
    {"\\w+@\\w+", M, 0, {"@"}, 1, 0, NULL},
    {"[ab ]*c[ab]*", M, 0, {"c"}, 0, 0, NULL},
    {"[ab ]*cb?[ab]*", M, 0, {"cb", "c"}, 0, 5, NULL},
    {".b.", M, 0, {"bc", "ab"}, 1, 0, NULL},
    {"b.*c", M, 0, {0}, 0, 5, NULL},
    {"cc", S, 0, {0}, 0, 0, NULL},
    {"a@(b+)", S, 1, {0}, 0, 0, NULL},
    {"b@.*c", S, 0, {"@"}, 0, 7, NULL},
    {"\xc3\xa9+", M, 0, {0}, 0, 0, NULL},
    {"[^a-c@ ]+", M, 0, {0}, 0, 3, NULL},
    {"(?i)K", M, 0, {0}, 0, 0, NULL},
    {"a\\Z|\\Ab", M, 0, {0}, 0, 0, NULL},
    {"(?s)a.*?c", "flag", 0, {0}, 0, 0, NULL},
    {"(a)|b", M, 1, {0}, 0, 0, NULL},
    {"(?<=(?<=a)b)c+", M, 0, {0}, 0, 0, NULL},
    {"a*b(c+)", M, 1, {"b", "ab"}, 2, 0, NULL},
    {"[ab ]*c[ab]*", M, 0, {"cb", "c", "ac"}, 2, 6, NULL},
    {"(b+)@a?", S, 1, {"@"}, 2, 0, NULL},
    {"\\bka?b", M, 0, {"Ka", "k"}, 0, 0, "i", true},
    {"\\bKab?", M, 0, {"Ka"}, 0, 0, NULL, true},
    {"k(a+)?(b+)?c?", M, 1, {"k"}, 2, 5, "i", true, {0}, {2}},
    {"(?:b(a)|(c)a|(k))", M, 1, {0}, 0, 0, "ia", false, {0}, {3, 2}},
    {"\\b[ab]+\\b", M, 0, {0}, 0, 0, "aD", false, {"bc"}},
    {"b@?c*$", M, 0, {"b"}, 0, 6, "D", false, {"C"}},
    {"\\w+\\s", M, 0, {0}, 0, 3, "a", false, {"a "}},
    {"b[^\\p{Lu}][^\\W]", M, 0, {0}, 0, 0, NULL},
    {"(?i)c[^\xc3\xa9]", M, 0, {0}, 0, 0, NULL},
    {"\\b[abc]{2,3}@?[abc]{3,5}\\b", M, 0, {0}, 0, 0, NULL},
    {"(?:a|ab)(?:c|bca)?k?", M, 0, {0}, 0, 0, NULL},
    {"a{2,4}?b|b{1,3}?a", M, 0, {0}, 0, 0, NULL},
    {"(?![ab]b)[abc ]{3}(?!@)", M, 0, {0}, 0, 0, NULL},
    {"(?:[ab]c?){2,6}@|(c)a", M, 1, {0}, 0, 0, NULL},
};
enum { PALETTE = sizeof palette / sizeof *palette };

static const char *const alphabet[] = {
    "a", "b", "c", "a", "b", "c", " ", "@", "\n", "\xc3\xa9", "\xe2\x84\xaa", "\xff", "\xe2\x82", "\xf0\x9f\x98\x80",
    "k", "K"};

static size_t random_text(struct rng *rng, char *text, size_t letters, unsigned kinds) {
  size_t n = 0;
  for (size_t i = 0; i < letters; i++) {
    const char *piece = alphabet[rng_below(rng, kinds)];
    memcpy(text + n, piece, strlen(piece));
    n += strlen(piece);
  }
  return n;
}

static void test_short_texts_all_cuts(void **state) {
  (void)state;
  struct rng rng;
  char text[64];
  rng_seed(&rng, 7);
  for (int round = 0; round < 700; round++) {
    struct ref_rule rules[2];
    size_t n_rules = 1 + rng_below(&rng, 2);
    for (size_t i = 0; i < n_rules; i++)
      rules[i] =
          palette[(unsigned)round < 2 * PALETTE && i == 0 ? (unsigned)round % PALETTE : rng_below(&rng, PALETTE)];
    size_t n = random_text(&rng, text, 3 + rng_below(&rng, 7), 6 + rng_below(&rng, 11));
    check_all_cuts(rules, n_rules, text, n, 60);
  }
}

static void test_long_texts_random_cuts(void **state) {
  (void)state;
  struct rng rng;
  char text[TEXT_MAX];
  rng_seed(&rng, 11);
  for (int round = 0; round < 120; round++) {
    struct ref_rule rules[RULES];
    size_t n_rules = 1 + rng_below(&rng, RULES);
    for (size_t i = 0; i < n_rules; i++) {
      rules[i] = palette[rng_below(&rng, PALETTE)];
      if (rng_below(&rng, 4) && strcmp(rules[i].action, S) == 0) rules[i].action = M;
    }
    size_t n = random_text(&rng, text, 40 + rng_below(&rng, 300), 6 + rng_below(&rng, 11));
    check_all_cuts(rules, n_rules, text, n, 40);
  }
}

/* Where no cap is reached the definition is one PCRE2 scan of the whole text. */
static void test_definition_is_a_whole_text_scan(void **state) {
  (void)state;
  struct rng rng;
  char text[TEXT_MAX], want[64 * TEXT_MAX], got[64 * TEXT_MAX];
  rng_seed(&rng, 13);
  for (int round = 0; round < 400; round++) {
    struct ref_rule rule = palette[rng_below(&rng, PALETTE)];
    if (rule.keywords[0] || rule.protect || rule.flags || rule.context[0] || strcmp(rule.action, M)) continue;
    rule.max_match = 4000;
    bool stopped = false;
    size_t n = random_text(&rng, text, 30, 9), at = 0, len = 0, last_end = SIZE_MAX;
    int code = 0;
    PCRE2_SIZE where = 0;
    pcre2_code *re =
        pcre2_compile((PCRE2_SPTR)rule.pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &where, NULL);
    pcre2_match_data *md = pcre2_match_data_create_from_pattern(re, NULL);
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(md);
    while (at < n && pcre2_match(re, (PCRE2_SPTR)text, n, at, PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK, md, NULL) > 0) {
      memcpy(want + len, text + at, v[0] - at);
      len += v[0] - at;
      if (v[0] != last_end) len += (size_t)sprintf(want + len, "[masked]");
      at = last_end = v[1];
    }
    memcpy(want + len, text + at, n - at);
    len += n - at;
    pcre2_match_data_free(md);
    pcre2_code_free(re);
    size_t got_len = ref_filter(&rule, 1, text, n, got, &stopped);
    if (got_len != len)
      fail_msg("/%s/ on %.*s: %.*s, not %.*s", rule.pattern, (int)n, text, (int)got_len, got, (int)len, want);
    assert_memory_equal(got, want, len);
  }
}

/* Holding back no more than the open attempt asks. */
static void test_holds_no_more_than_asked(void **state) {
  (void)state;
  static const struct {
    struct ref_rule rule;
    const char *text;
    size_t released;
  } cases[] = {
      {{"secret", M, 0, {0}, 0, 0, NULL}, "a sec", 2},
      {{"secret", M, 0, {0}, 0, 0, NULL}, "a second", 8},
      {{"secret\\b", M, 0, {0}, 0, 0, NULL}, "a secret", 2},
      {{"key=(\\w+);", M, 1, {0}, 0, 0, NULL}, "a key=", 6},
      {{"key=(\\w+);", M, 1, {0}, 0, 0, NULL}, "a key=ab", 6},
      {{"[\\w.-]{0,50}?key=(\\w{4})", M, 1, {0}, 0, 0, NULL}, "some words and", 14},
      {{"pipe\\s+bomb", S, 0, {"pipe"}, 0, 0, NULL}, "the pip", 4},
      {{"pipe\\s+bomb", S, 0, {"pipe"}, 0, 0, NULL}, "the pipe is", 11},
      {{"\\w+@\\w+", M, 0, {"@"}, 1, 0, NULL}, "mail bob", 5},
      {{"\\w+@\\w+", M, 0, {"@"}, 0, 0, NULL}, "mail bob", 8},
      {{"\\w+@\\w+", M, 0, {"@"}, 0, 0, NULL}, "mail bob@", 8},
      {{"key=(\\w+);", M, 1, {"key="}, 2, 0, NULL}, "a ke", 4},
      {{"key=(\\w+);", M, 1, {"key="}, 2, 0, NULL}, "a key=xy", 6},
      {{"secret", "flag", 0, {0}, 0, 0, NULL}, "a sec", 5},
      {{"x", M, 0, {0}, 0, 0, NULL}, "caf\xc3", 3},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct sluice_error err = {0};
    struct monitor_policy *p = policy_of(&cases[i].rule, 1);
    struct monitor *m = NULL;
    struct monitor_stream *s = NULL;
    struct monitor_verdict v;
    assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
    assert_int_equal(monitor_stream_open(m, 0, 0, 0, &s, &err), SLUICE_OK);
    for (const char *c = cases[i].text; *c; c++) monitor_push(s, (struct slice){c, 1}, &v, &err);
    if (v.released != cases[i].released)
      fail_msg("case %zu: /%s/ on \"%s\": %llu", i, cases[i].rule.pattern, cases[i].text,
               (unsigned long long)v.released);
    monitor_stream_close(s);
    monitor_close(m);
    monitor_policy_free(p);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_short_texts_all_cuts),
      cmocka_unit_test(test_long_texts_random_cuts),
      cmocka_unit_test(test_definition_is_a_whole_text_scan),
      cmocka_unit_test(test_holds_no_more_than_asked),
  };
  const struct CMUnitTest prefiltered[] = {
      {"test_short_texts_all_cuts_prefilterd", test_short_texts_all_cuts, NULL, NULL, NULL},
      {"test_long_texts_random_cuts_prefilterd", test_long_texts_random_cuts, NULL, NULL, NULL},
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  cuts_prefilter = cuts_prefilter_there();
  return cuts_prefilter ? failed + cmocka_run_group_tests(prefiltered, NULL, NULL) : failed;
}
