/* For tests: what the derived views mean, written down on the whole text without the monitor's code. Characters fold by
 * a small table of their own; the leet rule is read off its description; matches are those of monitor_reference.h over
 * the derived text, and count when they cover what the derivation changed. */
#ifndef SLUICE_TESTS_VIEWS_REFERENCE_H
#define SLUICE_TESTS_VIEWS_REFERENCE_H

#include "tests/monitor_reference.h"

static const struct ref_fold {
  const char *from, *to;
} ref_folds[] = {
    {"\xEF\xBD\x82", "b"},     /* fullwidth b */
    {"\xD0\xBE", "o"},         /* Cyrillic o */
    {"\xC3\xB6", "o"},         /* o with diaeresis */
    {"\xE2\x80\x8B", ""},      /* zero width space */
    {"\xCC\x81", ""},          /* combining acute */
    {"\xC2\xAD", ""},          /* soft hyphen */
    {"\xEF\xAC\x81", "fi"},    /* ligature */
    {"\xC2\xBD", "1/2"},       /* one half */
    {"\xF0\x9D\x90\xA6", "m"}, /* mathematical bold m */
    {"\xF3\xA0\x81\x81", ""},  /* tag a */
    {"\xEF\xBC\x91", "1"},     /* fullwidth 1 */
    {"\xEF\xBC\xA0", "@"},     /* fullwidth @ */
};

enum { REF_TEXT = 4096, REF_EVENTS = 1024 };
struct ref_view {
  char text[REF_TEXT];
  size_t len;
  size_t raw_start[REF_TEXT], raw_end[REF_TEXT]; /* of the raw character that a byte came from */
  bool folded[REF_TEXT], leet[REF_TEXT];         /* the byte was changed */
  bool gap[REF_TEXT + 1];                        /* something was removed before the byte */
};

static inline void ref_view_put(struct ref_view *v, const char *bytes, size_t n, size_t start, size_t end, bool changed,
                                bool one_character) {
  for (size_t i = 0; i < n; i++) {
    v->text[v->len] = bytes[i];
    v->raw_start[v->len] = one_character ? start : start + i;
    v->raw_end[v->len] = one_character ? end : start + i + 1;
    v->folded[v->len++] = changed;
  }
}

/* raw: valid UTF-8. */
static inline void ref_fold_text(const char *raw, size_t n, struct ref_view *v) {
  memset(v, 0, sizeof *v);
  for (size_t at = 0; at < n;) {
    size_t k = (size_t)ref_character((const unsigned char *)raw + at, n - at);
    const struct ref_fold *f = NULL;
    for (size_t i = 0; i < sizeof ref_folds / sizeof *ref_folds; i++)
      if (strlen(ref_folds[i].from) == k && memcmp(ref_folds[i].from, raw + at, k) == 0) f = &ref_folds[i];
    if (!f)
      ref_view_put(v, raw + at, k, at, at + k, false, false);
    else if (!f->to[0])
      v->gap[v->len] = true;
    else
      ref_view_put(v, f->to, strlen(f->to), at, at + k, true, true);
    at += k;
  }
}

static inline bool ref_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline void ref_leet_text(struct ref_view *v) {
  static const char signs[] = "0123456789@$!|", letters[] = "oizeasgtbgasil";
  char before[REF_TEXT];
  memcpy(before, v->text, v->len);
  for (size_t at = 0; at < v->len;) {
    size_t end = at;
    while (end < v->len && strchr(signs, before[end])) end++;
    if (end == at) {
      at++;
      continue;
    }
    size_t last = end;
    bool after = at > 0 && ref_letter(before[at - 1]), ahead = end < v->len && ref_letter(before[end]);
    if (end - at > 4 || (!after && !ahead)) last = at;
    while (!ahead && last > at && (before[last - 1] == '!' || before[last - 1] == '|')) last--;
    for (size_t i = at; i < last; i++) {
      bool twin = before[i] == '1' && ((i > at && before[i - 1] == '1') || (i + 1 < last && before[i + 1] == '1'));
      v->text[i] = twin ? 'l' : letters[strchr(signs, before[i]) - signs];
      v->leet[i] = true;
    }
    at = end;
  }
}

struct ref_event {
  int rule;
  const char *view;
  size_t start, end;
};
struct ref_outcome {
  unsigned char masked[REF_TEXT + 2];
  size_t stop; /* SIZE_MAX: none */
  struct ref_event events[REF_EVENTS];
  int n;
};

/* own: 0 raw, 1 folded, 2 leet */
static inline bool ref_is_own(const struct ref_view *v, int own, size_t start, size_t end) {
  bool folded = false, leet = false;
  for (size_t i = start; i < end; i++) {
    folded |= v->folded[i] || (i > start && v->gap[i]);
    leet |= v->leet[i];
  }
  return own == 0 || (own == 1 ? folded : leet);
}

static inline void ref_run_view(const struct ref_rule *r, int rule, const struct ref_view *v, int own,
                                struct ref_outcome *out) {
  static const char *const names[] = {"raw", "folded", "leet"};
  pcre2_code *re = ref_compile(r);
  for (size_t at = 0; at < v->len;) {
    size_t match[2], group[2], clip = 0;
    if (!ref_attempt(r, re, v->text, v->len, at, match, group) || !ref_clip(r, v->text, v->len, match, &clip)) {
      for (at++; !ref_boundary(v->text, v->len, at);) at++;
      continue;
    }
    at = match[1];
    if (r->protect && (group[0] == PCRE2_UNSET || group[0] == group[1])) continue;
    if (group[0] < clip) group[0] = clip;
    if (group[0] >= group[1]) group[0] = group[1] = match[1];
    if (!ref_is_own(v, own, match[0], match[1])) continue;
    size_t start = group[0] < v->len ? v->raw_start[group[0]] : v->raw_end[v->len - 1];
    size_t end = group[1] > group[0] ? v->raw_end[group[1] - 1] : start;
    out->events[out->n++] = (struct ref_event){rule, names[own], start, end};
    if (!strcmp(r->action, "stop") && start < out->stop) out->stop = start;
    for (size_t i = start; i < end && !strcmp(r->action, "mask"); i++) out->masked[i] = 1;
  }
  pcre2_code_free(re);
}

/* All rules over all three views of a raw text (any bytes, n <= REF_TEXT / 4). */
static inline void ref_run_views(const struct ref_rule *rules, size_t n_rules, const char *raw, size_t n,
                                 struct ref_outcome *out) {
  static struct ref_view plain, folded, leet;
  char *s = malloc(n + 1);
  for (size_t i = 0; i < n;) {
    size_t k = (size_t)ref_character((const unsigned char *)raw + i, n - i);
    if (k)
      memcpy(s + i, raw + i, k);
    else
      s[i] = 0x1A;
    i += k ? k : 1;
  }
  memset(out, 0, sizeof *out);
  out->stop = SIZE_MAX;
  memset(&plain, 0, sizeof plain);
  ref_view_put(&plain, s, n, 0, 0, false, false);
  ref_fold_text(s, n, &folded);
  leet = folded;
  ref_leet_text(&leet);
  for (size_t k = 0; k < n_rules; k++) {
    ref_run_view(&rules[k], (int)k, &plain, 0, out);
    ref_run_view(&rules[k], (int)k, &folded, 1, out);
    ref_run_view(&rules[k], (int)k, &leet, 2, out);
  }
  free(s);
}

/* Output bytes (room for 9 * n + 16); returns their number. */
static inline size_t ref_output(const struct ref_outcome *o, const char *raw, size_t n, char *out) {
  size_t len = 0;
  for (size_t i = 0; i < (o->stop < n ? o->stop : n); i++) {
    if (!o->masked[i])
      out[len++] = raw[i];
    else if (i == 0 || !o->masked[i - 1])
      len += (size_t)snprintf(out + len, 16, "[masked]");
  }
  return len;
}

#endif
