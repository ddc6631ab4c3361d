/* The definition in monitor/monitor.h, written down as slowly and plainly as it reads, on the whole text, without the
 * monitor's code. Used by the property tests: whatever the cut into pieces, the monitor must put out these bytes. */
#ifndef SLUICE_TESTS_MONITOR_REFERENCE_H
#define SLUICE_TESTS_MONITOR_REFERENCE_H

#include <math.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ref_allow {
  const char *const *patterns, *const *words; /* NULL-terminated; NULL: none */
  const char *target;                         /* protected, match, line */
  bool all;
};
enum { REF_KEYWORDS = 100 };
struct ref_rule {
  const char *pattern;
  const char *action; /* mask, stop, flag */
  int protect;
  const char *keywords[REF_KEYWORDS]; /* NULL-terminated */
  int hold;                           /* 0: from the keyword, 1: hold=word, 2: hold=after */
  size_t max_match;                   /* 0: 512 */
  const char *flags;                  /* of i, m, s, x, a, D; NULL: none */
  bool cased;                         /* keywords in this case only */
  const char *context[8];             /* words of which one must end before the match begins */
  int protects[16];                   /* more groups after `protect`, 0-terminated: the first one that took part */
  double entropy;
  const struct ref_allow *allow; /* ends with one that has neither patterns nor words; NULL: none */
};
/* Rules are written as short rows; what a row leaves out is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
enum { REF_WORD = 128, REF_BEHIND = 200 };

static int ref_character(const unsigned char *s, size_t n) { /* bytes of a valid character at s, 0: invalid or cut */
  if (s[0] < 0x80) return 1;
  int want = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
  if (s[0] < 0xC2 || s[0] > 0xF4 || n < (size_t)want) return 0;
  for (int i = 1; i < want; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  unsigned v = s[0] & (0x7Fu >> want);
  for (int i = 1; i < want; i++) v = v << 6 | (s[i] & 0x3Fu);
  if ((want == 3 && v < 0x800) || (want == 4 && (v < 0x10000 || v > 0x10FFFF)) || (v >= 0xD800 && v <= 0xDFFF))
    return 0;
  return want;
}

static bool ref_boundary(const char *s, size_t n, size_t at) {
  return at >= n || ((unsigned char)s[at] & 0xC0) != 0x80;
}

/* Length of the shortest keyword at `at`, 0: none. */
static size_t ref_keyword_at(const struct ref_rule *r, const char *s, size_t end, size_t at) {
  size_t best = 0;
  for (int k = 0; r->keywords[k]; k++) {
    size_t len = strlen(r->keywords[k]), i = 0;
    if (at + len > end) continue;
    while (i < len && r->cased && s[at + i] == r->keywords[k][i]) i++;
    while (i < len && !r->cased &&
           (s[at + i] | (s[at + i] >= 'A' && s[at + i] <= 'Z' ? 32 : 0)) ==
               (r->keywords[k][i] | (r->keywords[k][i] >= 'A' && r->keywords[k][i] <= 'Z' ? 32 : 0)))
      i++;
    if (i == len && (!best || len < best)) best = len;
  }
  return best;
}

static inline pcre2_code *ref_compile(const struct ref_rule *r) {
  uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_ALT_CIRCUMFLEX | PCRE2_NO_START_OPTIMIZE;
  int code = 0;
  PCRE2_SIZE where = 0;
  if (r->flags && strchr(r->flags, 'a')) flags &= ~PCRE2_UCP;
  if (r->flags && strchr(r->flags, 'D')) flags |= PCRE2_DOLLAR_ENDONLY;
  if (r->flags && strchr(r->flags, 'i')) flags |= PCRE2_CASELESS;
  if (r->flags && strchr(r->flags, 'm')) flags |= PCRE2_MULTILINE;
  if (r->flags && strchr(r->flags, 's')) flags |= PCRE2_DOTALL;
  if (r->flags && strchr(r->flags, 'x')) flags |= PCRE2_EXTENDED;
  return pcre2_compile((PCRE2_SPTR)r->pattern, PCRE2_ZERO_TERMINATED, flags, &code, &where, NULL);
}

/* attempt(at): whether it matches; offsets of the match and of the protect group (PCRE2_UNSET: took no part). */
static inline bool ref_attempt(const struct ref_rule *r, const pcre2_code *re, const char *s, size_t n, size_t at,
                               size_t match[2], size_t group[2]) {
  size_t cap = r->max_match ? r->max_match : 512;
  size_t from = at > REF_BEHIND ? at - REF_BEHIND : 0, end = at + cap < n ? at + cap : n;
  while (!ref_boundary(s, n, from)) from++;
  while (end < n && !ref_boundary(s, n, end)) end--;
  if (end == at) /* a window holds at least one character */
    for (end = at + 1; !ref_boundary(s, n, end);) end++;
  uint32_t options = PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK | (from > 0 ? PCRE2_NOTBOL : 0) | (end < n ? PCRE2_NOTEOL : 0);
  pcre2_match_data *md = pcre2_match_data_create_from_pattern(re, NULL);
  const PCRE2_SIZE *v = pcre2_get_ovector_pointer(md);
  bool hit = pcre2_match(re, (PCRE2_SPTR)s + from, end - from, at - from, options, md, NULL) > 0;
  int number = r->protect;
  for (int i = 0; hit && r->protects[i]; i++)
    if (v[2 * number] == PCRE2_UNSET || v[2 * number] >= v[2 * number + 1]) number = r->protects[i];
  for (int i = 0; hit && i < 2; i++) {
    match[i] = from + v[i];
    group[i] = v[2 * number + i] == PCRE2_UNSET ? PCRE2_UNSET : from + v[2 * number + i];
  }
  pcre2_match_data_free(md);
  return hit;
}

/* Where protection may begin in a match; false when the match holds no keyword. */
static inline bool ref_clip(const struct ref_rule *r, const char *s, size_t n, const size_t match[2], size_t *clip) {
  size_t first = match[0];
  *clip = match[0];
  if (!r->keywords[0]) return true;
  while (first < match[1] && !ref_keyword_at(r, s, match[1], first)) first++;
  if (first == match[1]) return false;
  *clip = first;
  while (r->hold == 1 && *clip > 0 && first - *clip < REF_WORD &&
         !strchr(" \t\n\v\f\r", s[*clip - 1] ? s[*clip - 1] : 'x'))
    --*clip;
  if (r->hold == 2) *clip += ref_keyword_at(r, s, match[1], first);
  while (!ref_boundary(s, n, *clip)) ++*clip;
  return true;
}

static inline bool ref_has_word(const char *s, size_t n, const char *const *words) {
  for (; words && *words; words++) {
    const struct ref_rule one = {.keywords = {*words}};
    for (size_t at = 0; at < n; at++)
      if (ref_keyword_at(&one, s, n, at)) return true;
  }
  return false;
}

static inline bool ref_has_pattern(const char *s, size_t n, const char *const *patterns) {
  bool found = false;
  for (; patterns && *patterns && !found; patterns++) {
    int code = 0;
    PCRE2_SIZE where = 0;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)*patterns, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_DOLLAR_ENDONLY,
                                   &code, &where, NULL);
    pcre2_match_data *md = pcre2_match_data_create_from_pattern(re, NULL);
    found = pcre2_match(re, (PCRE2_SPTR)s, n, 0, 0, md, NULL) >= 0;
    pcre2_match_data_free(md);
    pcre2_code_free(re);
  }
  return found;
}

/* Entropy and allow lists. */
static inline bool ref_conditions(const struct ref_rule *r, const char *s, const size_t match[2],
                                  const size_t group[2]) {
  size_t start = group[0] > match[0] ? group[0] : match[0];
  const char *text = s + start, *line = s + match[0];
  size_t n = group[1] - start;
  double bits = 0;
  for (int c = 0; c < 256; c++) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += (unsigned char)text[i] == c;
    if (count) bits -= (double)count / (double)n * log2((double)count / (double)n);
  }
  if (r->entropy > 0 && bits <= r->entropy) return false;
  while (line > s && s + match[0] - line < REF_WORD && line[-1] != '\n') line--;
  while (((unsigned char)*line & 0xC0) == 0x80) line++;
  for (const struct ref_allow *a = r->allow; a && (a->patterns || a->words); a++) {
    bool in_line = !strcmp(a->target, "line"), in_match = !strcmp(a->target, "match");
    const char *from = in_line ? line : in_match ? s + match[0] : text;
    size_t end = in_line || in_match ? match[1] : group[1];
    bool pattern = ref_has_pattern(from, (size_t)(s + end - from), a->patterns), word = ref_has_word(text, n, a->words);
    if (a->all ? (pattern || !a->patterns) && (word || !a->words) : pattern || word) return false;
  }
  return true;
}

static inline void ref_run_rule(const struct ref_rule *r, const char *s, size_t n, unsigned char *masked,
                                size_t *stop) {
  pcre2_code *re = ref_compile(r);
  size_t first = 0;
  if (r->context[0]) {
    struct ref_rule word = {.keywords = {0}};
    memcpy(word.keywords, r->context, sizeof r->context);
    size_t best = n + 1; /* the first to end */
    for (; first < n; first++) {
      size_t len = ref_keyword_at(&word, s, n, first);
      if (len && first + len < best) best = first + len;
    }
    for (first = best; !ref_boundary(s, n, first);) first++;
  }
  for (size_t at = first; at < n;) {
    size_t match[2], group[2], clip = 0;
    if (!ref_attempt(r, re, s, n, at, match, group) || !ref_clip(r, s, n, match, &clip)) {
      for (at++; !ref_boundary(s, n, at);) at++;
      continue;
    }
    bool exempt = r->protect && (group[0] == PCRE2_UNSET || group[0] == group[1]);
    if (!exempt && !ref_conditions(r, s, match, group)) {
      for (at++; !ref_boundary(s, n, at);) at++;
      continue;
    }
    at = match[1];
    if (r->protect && (group[0] == PCRE2_UNSET || group[0] == group[1])) continue; /* an exception */
    if (group[0] < clip) group[0] = clip;
    if (group[0] >= group[1]) group[0] = group[1] = match[1];
    if (!strcmp(r->action, "stop") && group[0] < *stop) *stop = group[0];
    if (!strcmp(r->action, "mask"))
      for (size_t i = group[0]; i < group[1]; i++) masked[i] = 1;
  }
  pcre2_code_free(re);
}

/* Output bytes into out (room for 64 + 64 * n); returns their number. */
static inline size_t ref_filter(const struct ref_rule *rules, size_t n_rules, const char *raw, size_t n, char *out,
                                bool *stopped) {
  char *s = calloc(n + 1, 1);
  unsigned char *masked = calloc(n + 2, 1);
  size_t stop = n + 1, len = 0;
  for (size_t i = 0; i < n;) {
    size_t k = (size_t)ref_character((const unsigned char *)raw + i, n - i);
    if (k)
      memcpy(s + i, raw + i, k);
    else
      s[i] = 0x1A;
    i += k ? k : 1;
  }
  for (size_t k = 0; k < n_rules; k++) ref_run_rule(&rules[k], s, n, masked, &stop);
  *stopped = stop <= n;
  for (size_t i = 0; i < (stop < n ? stop : n); i++) {
    if (!masked[i])
      out[len++] = raw[i];
    else if (i == 0 || !masked[i - 1])
      len += (size_t)snprintf(out + len, 16, "[masked]");
  }
  free(s);
  free(masked);
  return len;
}

#endif
