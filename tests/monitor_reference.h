/* The definition in monitor/monitor.h, written down as slowly and plainly as it reads, on the whole text, without the
 * monitor's code. Used by the property tests: whatever the cut into pieces, the monitor must put out these bytes. */
#ifndef SLUICE_TESTS_MONITOR_REFERENCE_H
#define SLUICE_TESTS_MONITOR_REFERENCE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ref_rule {
  const char *pattern;
  const char *action; /* mask, stop, flag */
  int protect;
  const char *keywords[4]; /* NULL-terminated */
  int hold;                /* 0: from the keyword, 1: hold=word, 2: hold=after */
  size_t max_match;        /* 0: 512 */
  const char *flags;       /* of i, m, s, x; NULL: none */
};
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
    while (i < len && (s[at + i] | (s[at + i] >= 'A' && s[at + i] <= 'Z' ? 32 : 0)) ==
                          (r->keywords[k][i] | (r->keywords[k][i] >= 'A' && r->keywords[k][i] <= 'Z' ? 32 : 0)))
      i++;
    if (i == len && (!best || len < best)) best = len;
  }
  return best;
}

/* Output bytes into out (room for 64 + 64 * n); returns their number. */
static inline size_t ref_filter(const struct ref_rule *rules, size_t n_rules, const char *raw, size_t n, char *out,
                                bool *stopped) {
  char *s = malloc(n + 1);
  unsigned char *masked = calloc(n + 2, 1);
  size_t stop = n + 1;
  for (size_t i = 0; i < n;) {
    int len = ref_character((const unsigned char *)raw + i, n - i);
    if (len)
      memcpy(s + i, raw + i, (size_t)len);
    else
      s[i] = 0x1A;
    i += len ? (size_t)len : 1;
  }
  for (size_t k = 0; k < n_rules; k++) {
    const struct ref_rule *r = &rules[k];
    int code = 0;
    PCRE2_SIZE where = 0;
    uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_ALT_CIRCUMFLEX | PCRE2_NO_START_OPTIMIZE;
    if (r->flags && strchr(r->flags, 'i')) flags |= PCRE2_CASELESS;
    if (r->flags && strchr(r->flags, 'm')) flags |= PCRE2_MULTILINE;
    if (r->flags && strchr(r->flags, 's')) flags |= PCRE2_DOTALL;
    if (r->flags && strchr(r->flags, 'x')) flags |= PCRE2_EXTENDED;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)r->pattern, PCRE2_ZERO_TERMINATED, flags, &code, &where, NULL);
    pcre2_match_data *md = pcre2_match_data_create_from_pattern(re, NULL);
    size_t cap = r->max_match ? r->max_match : 512;
    for (size_t at = 0; at < n;) {
      size_t from = at > REF_BEHIND ? at - REF_BEHIND : 0, end = at + cap < n ? at + cap : n;
      while (!ref_boundary(s, n, from)) from++;
      while (end < n && !ref_boundary(s, n, end)) end--;
      if (end == at) /* a window holds at least one character */
        for (end = at + 1; !ref_boundary(s, n, end);) end++;
      uint32_t o = PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK | (from > 0 ? PCRE2_NOTBOL : 0) | (end < n ? PCRE2_NOTEOL : 0);
      int rc = pcre2_match(re, (PCRE2_SPTR)s + from, end - from, at - from, o, md, NULL);
      size_t next = at + 1;
      while (!ref_boundary(s, n, next)) next++;
      const PCRE2_SIZE *v = pcre2_get_ovector_pointer(md);
      size_t clip = at, first = at;
      if (rc > 0 && r->keywords[0]) {
        while (first < from + v[1] && !ref_keyword_at(r, s, from + v[1], first)) first++;
        if (first == from + v[1]) rc = -1;
        clip = first;
        while (r->hold == 1 && clip > 0 && first - clip < REF_WORD &&
               !strchr(" \t\n\v\f\r", s[clip - 1] ? s[clip - 1] : 'x'))
          clip--;
        if (r->hold == 2) clip += ref_keyword_at(r, s, from + v[1], first);
        while (!ref_boundary(s, n, clip)) clip++;
      }
      if (rc <= 0) {
        at = next;
        continue;
      }
      size_t a = from + v[0], b = from + v[1];
      if (r->protect) a = v[2 * r->protect], b = v[2 * r->protect + 1];
      if (r->protect && (a == PCRE2_UNSET || a == b)) { /* an exception */
        at = from + v[1];
        continue;
      }
      if (r->protect) a += from, b += from;
      if (a < clip) a = clip;
      if (a >= b) a = b = from + v[1];
      if (!strcmp(r->action, "stop") && a < stop) stop = a;
      if (!strcmp(r->action, "mask"))
        for (size_t i = a; i < b; i++) masked[i] = 1;
      at = from + v[1];
    }
    pcre2_match_data_free(md);
    pcre2_code_free(re);
  }
  size_t len = 0;
  *stopped = stop <= n;
  for (size_t i = 0; i < (stop < n ? stop : n); i++) {
    if (!masked[i])
      out[len++] = raw[i];
    else if (i == 0 || !masked[i - 1])
      len += (size_t)sprintf(out + len, "[masked]");
  }
  free(s);
  free(masked);
  return len;
}

#endif
