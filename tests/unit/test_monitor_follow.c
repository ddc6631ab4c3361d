/* An attempt followed byte by byte against PCRE2's partial match of the same bytes: "no match" must be PCRE2's too,
 * whatever the pattern; "open" must be where the tree tells all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "monitor/follow.h"
#include "tests/pattern_samples.h"

#include <string.h>

static const struct {
  const char *pattern;
  bool exact;
} patterns[] = {
    {"a[ab]{2,4}c?", true},
    {"\\b[A-Z]{2}\\d{7}\\b", true},
    {"[A-Za-z0-9._%+-]{1,64}@[a-z-]{1,63}(?:\\.[a-z]{1,9}){1,4}", true},
    {"\\b(?:\\d{1,3}\\.){3}\\d{1,3}\\b", true},
    {"(?i)[\\w.-]{0,5}?(?:key|token)[ "
     "\\t\\w.-]{0,4}[\\s'\"]{0,3}(?:=|>|:{1,3}=)['\"\\s=]{0,5}([a-z0-9]{4,6})(?:['\"\\s]|$)",
     true},
    {"(?:a|ab)(?:c|bcd)(d*)", true},
    {"a+?b*?c|a(b)", true},
    {"[a-c]{3}(?![a-d-])", true},
    {"x.*?y|x.*z", true},
    {"(?s)x.{3,9}y", true},
    {"[^ab\\s]{2,}b\\b", true},
    {"\\b(?:0[1-9]|1[0-2])/\\d{2}/(?:19|20)?\\d{2}\\b", true},
    {"(?:ab|cd|ef){2,3}g?h", true},
    {"(?:a?b?){3}c", true},
    {"(?<![\\w.])k[0-9]{2,}(?!\\d)", false},
    {"\\b(?!000|666)\\d{3}-(?!00)\\d{2}", false},
    {"(?>a+)b|a{3}c", false},
    {"a++b?c", false},
    {"[\\w]+\\p{L}[^\\p{N}]", false},
    {"(?i)sk[^k]s", false},
    {"\\Ba|^b+c$", false},
    {"(?:a\\Rb|a\\Xc)d", false},
};
enum { PATTERNS = sizeof patterns / sizeof *patterns, TEXT_MAX = 120 };

static struct monitor_policy *policy_with(const char *pattern) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  struct buffer json;
  buffer_init(&json, 0);
  buffer_append_str(&json, "{\"rules\":[{\"id\":\"a\",\"category\":\"c\",\"action\":\"mask\",\"pattern\":", &err);
  json_quote(&json, pattern, strlen(pattern), &err);
  buffer_append_str(&json, "}]}", &err);
  if (monitor_policy_parse("test", NULL, (struct slice){json.ptr, json.len}, &p, &err)) fail_msg("%s", err.message);
  buffer_free(&json);
  return p;
}

/* Samples of the pattern, some spoilt, and what does not belong to it. */
static size_t make_text(struct rng *rng, const char *pattern, char text[TEXT_MAX]) {
  static const char *const filler[] = {" ", "a", "b", "ab", "key", "12", ".", "\n", "\xc3\xa9", "x1", "-", "="};
  size_t n = 0;
  while (n + 60 < TEXT_MAX) {
    char sample[50];
    size_t len = sample_pattern(rng, pattern, 0, sample, sizeof sample);
    const char *more = filler[rng_below(rng, sizeof filler / sizeof *filler)];
    if (rng_below(rng, 3) == 0 && len) len = rng_below(rng, (uint32_t)len);
    memcpy(text + n, sample, len);
    n += len;
    memcpy(text + n, more, strlen(more));
    n += strlen(more);
  }
  return n;
}

static bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

struct seen {
  unsigned misses, opens, asked, early, differ;
};

/* One start, over every length of text behind it. */
static void follow_one(const struct rule *r, const struct follow *f, bool exact, const char *text, size_t n, size_t at,
                       pcre2_match_data *match, struct seen *seen) {
  const uint32_t options = PCRE2_PARTIAL_HARD | PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK;
  char before = at ? text[at - 1] : ' ';
  uint16_t q = f->start[(unsigned char)before >= 0x80 ? BEFORE_PAST_ASCII
                        : is_word(before)             ? BEFORE_WORD
                                                      : BEFORE_OTHER];
  for (size_t end = at + 1; end <= n; end++) {
    q = follow_step(f, q, (unsigned char)text[end - 1]);
    if (end < n && ((unsigned char)text[end] & 0xC0) == 0x80) continue;
    int rc = pcre2_match(r->anchored, (PCRE2_SPTR)text, end, at, options, match, NULL);
    if (q == FOLLOW_MISS) {
      if (rc != PCRE2_ERROR_NOMATCH)
        fail_msg("/%s/ at %zu to %zu of %.*s: %d, no miss", r->pattern, at, end, (int)n, text, rc);
      seen->misses++;
      return;
    }
    if (q < FOLLOW_OPEN) {
      seen->asked++;
      if (q == FOLLOW_SETTLED && exact && rc <= 0)
        fail_msg("/%s/ at %zu to %zu of %.*s: %d, not settled", r->pattern, at, end, (int)n, text, rc);
      return;
    }
    seen->opens++;
    if (rc == PCRE2_ERROR_PARTIAL) continue;
    seen->differ++;
    if (exact) fail_msg("/%s/ at %zu to %zu of %.*s: %d, not open", r->pattern, at, end, (int)n, text, rc);
    if (rc == PCRE2_ERROR_NOMATCH) return;
  }
}

static void follows_as_pcre2_matches(void **state) {
  (void)state;
  struct rng rng;
  struct seen seen = {0};
  char text[TEXT_MAX];
  rng_seed(&rng, 31);
  for (size_t i = 0; i < PATTERNS; i++) {
    struct monitor_policy *p = policy_with(patterns[i].pattern);
    const struct rule *r = &p->rules[0];
    const struct follow *f = follow_of(p, r);
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(r->anchored, NULL);
    struct seen before = seen;
    assert_non_null(f);
    assert_int_equal(f->looks && patterns[i].exact, false);
    for (int round = 0; round < 120; round++) {
      size_t n = make_text(&rng, patterns[i].pattern, text);
      for (size_t at = 0; at < n; at++)
        if (((unsigned char)text[at] & 0xC0) != 0x80) follow_one(r, f, patterns[i].exact, text, n, at, match, &seen);
    }
    assert_true(seen.misses > before.misses || i + 3 >= PATTERNS);
    pcre2_match_data_free(match);
    monitor_policy_free(p);
  }
  print_message("%u misses, %u open, %u left to PCRE2, %u open where PCRE2 knew better\n", seen.misses, seen.opens,
                seen.asked, seen.differ);
  assert_true(seen.opens > 20000);
}

/* What begins behind an attempt may protect sooner than it does. */
static void says_when_nothing_protected_has_begun(void **state) {
  (void)state;
  struct monitor_policy *p = policy_with("(?:a.{5}|b)(.)");
  struct sluice_error err = {0};
  struct rule *r = &p->rules[0];
  const struct pattern_source src = {"test", r->pattern, r->pattern_len, 0, false};
  assert_int_equal(pattern_protect(&src, r, "1", &err), SLUICE_OK);
  const struct follow *f = follow_of(p, r);
  uint16_t one = f->start[BEFORE_OTHER], any = f->start_any[BEFORE_OTHER];
  const char *text = "acbd";
  for (size_t i = 0; i < 4; i++) {
    one = follow_step(f, one, (unsigned char)text[i]);
    any = follow_step(f, any, (unsigned char)text[i]);
    assert_true(f->early[one]);
    assert_int_equal(any >= FOLLOW_OPEN && f->early[any], i < 3);
  }
  monitor_policy_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(follows_as_pcre2_matches),
      cmocka_unit_test(says_when_nothing_protected_has_begun),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
