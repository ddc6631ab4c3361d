/* Patterns through PCRE2, and what must be known of one before text comes: whether cutting the text could change its
 * meaning, how far it looks back, which bytes can begin it. */
#include "monitor/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN_MAX = 1 << 16, LOOK_BEHIND_MAX = 4096 };

/* What a walk over the pattern's text finds. Escapes, classes, \Q..\E and comments are stepped over. */
struct pattern_facts {
  const char *refused; /* a construct whose meaning depends on where a search began */
  unsigned look_behinds;
  bool plain; /* no look-around, atomic group, possessive quantifier, condition, recursion: see probe_compile */
  size_t protect_at[RULE_GROUPS_MAX]; /* offsets of the protect groups' parentheses */
  size_t n_protect;
};

static size_t skip_class(const char *s, size_t n, size_t i) {
  i++;
  if (i < n && s[i] == '^') i++;
  if (i < n && s[i] == ']') i++;
  while (i < n && s[i] != ']') {
    if (s[i] == '\\')
      i++;
    else if (s[i] == '[' && i + 1 < n && (s[i + 1] == ':' || s[i + 1] == '.' || s[i + 1] == '=')) {
      char mark = s[i + 1];
      for (size_t j = i + 2; j + 1 < n && s[j] != ']'; j++)
        if (s[j] == mark && s[j + 1] == ']') {
          i = j + 1;
          break;
        }
    }
    i++;
  }
  return i + 1;
}

static size_t skip_escape(const char *s, size_t n, size_t i, struct pattern_facts *f) {
  char c = i + 1 < n ? s[i + 1] : '\0';
  if (c == 'Q') {
    const char *end = NULL;
    for (size_t j = i + 2; !end && j + 1 < n; j++)
      if (s[j] == '\\' && s[j + 1] == 'E') end = s + j;
    return end ? (size_t)(end - s) + 2 : n;
  }
  if (c == 'G') f->refused = "\\G depends on where the search began";
  if (c == 'K') f->refused = "\\K hides where the match began; use \"protect\" with a group";
  if (c == 'C') f->refused = "\\C can split a character";
  if (c == 'g' || c == 'k') f->plain = false;
  if (c >= '1' && c <= '9') f->plain = false;
  return i + 2;
}

static bool starts(const char *s, size_t n, size_t i, const char *with) {
  size_t len = strlen(with);
  return n - i >= len && memcmp(s + i, with, len) == 0;
}

/* Verbs that decide about this attempt alone: after (*PRUNE) or (*THEN) the next start is tried all the same. (*COMMIT)
 * and (*SKIP) would pass starts over. */
static bool local_verb(const char *s, size_t n, size_t i) {
  static const char *const verbs[] = {
      "(*F)", "(*FAIL)", "(*ACCEPT)", "(*PRUNE)", "(*PRUNE:", "(*THEN)", "(*THEN:", "(*MARK:", "(*:", NULL};
  for (int k = 0; verbs[k]; k++)
    if (starts(s, n, i, verbs[k])) return true;
  return false;
}

/* At an opening parenthesis. Returns where to go on. */
static size_t skip_open(const char *s, size_t n, size_t i, struct pattern_facts *f, uint32_t *group,
                        const uint32_t *protect) {
  bool named = starts(s, n, i, "(?P<") || starts(s, n, i, "(?'") ||
               (starts(s, n, i, "(?<") && i + 3 < n && s[i + 3] != '=' && s[i + 3] != '!');
  if (i + 1 < n && s[i + 1] == '*') {
    bool lower = i + 2 < n && s[i + 2] >= 'a' && s[i + 2] <= 'z';
    f->plain = false;
    if (lower)
      f->look_behinds++;
    else if (!local_verb(s, n, i))
      f->refused = "a backtracking verb or leading option (*...) that can depend on where the search began";
    return i + 2;
  }
  if (named || i + 1 >= n || s[i + 1] != '?') {
    ++*group;
    for (const uint32_t *p = protect; *p; p++)
      if (*p == *group) f->protect_at[f->n_protect++] = i;
    return i + 1;
  }
  if (starts(s, n, i, "(?#")) {
    while (i < n && s[i] != ')') i++;
    return i + 1;
  }
  if (starts(s, n, i, "(?<=") || starts(s, n, i, "(?<!")) f->look_behinds++;
  bool simple = starts(s, n, i, "(?:") || starts(s, n, i, "(?i") || starts(s, n, i, "(?s") || starts(s, n, i, "(?m") ||
                starts(s, n, i, "(?-i") || starts(s, n, i, "(?-s");
  if (!simple) f->plain = false;
  return i + 2;
}

static struct pattern_facts pattern_walk(const char *s, size_t n, const uint32_t *protect) {
  struct pattern_facts f = {.plain = true};
  uint32_t group = 0;
  for (size_t i = 0; i < n;) {
    if (s[i] == '\\')
      i = skip_escape(s, n, i, &f);
    else if (s[i] == '[')
      i = skip_class(s, n, i);
    else if (s[i] == '(')
      i = skip_open(s, n, i, &f, &group, protect);
    else {
      if (s[i] == '+' && i > 0 && strchr("+*?}", s[i - 1])) f.plain = false;
      i++;
    }
  }
  return f;
}

static sluice_status compile_error(const struct pattern_source *src, int code, size_t at, struct sluice_error *err) {
  char what[160];
  if (code == PCRE2_ERROR_HEAP_FAILED)
    return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the pattern", src->where);
  if (pcre2_get_error_message(code, (PCRE2_UCHAR *)what, sizeof what) < 0)
    snprintf(what, sizeof what, "error %d", code);
  return sluice_fail(err, SLUICE_USAGE, "%s: pattern, byte %zu: %s", src->where, at, what);
}

/* ALT_CIRCUMFLEX: without it a multi-line ^ fails at the end of what has come, though more text could follow the
 * newline. */
static sluice_status compile_one(const struct pattern_source *src, const char *text, size_t len, uint32_t flags,
                                 pcre2_code **out, struct sluice_error *err) {
  int code = 0;
  PCRE2_SIZE at = 0;
  *out = pcre2_compile((PCRE2_SPTR)text, len,
                       src->flags | flags | PCRE2_UTF | (src->ascii ? 0 : PCRE2_UCP) | PCRE2_NEVER_BACKSLASH_C |
                           PCRE2_ALT_CIRCUMFLEX,
                       &code, &at, NULL);
  return *out ? SLUICE_OK : compile_error(src, code, at, err);
}

sluice_status pattern_protect(const struct pattern_source *src, struct rule *r, const char *group,
                              struct sluice_error *err) {
  char *end = NULL;
  size_t n = 0;
  unsigned long number = strtoul(group, &end, 10);
  if (*end || end == group) {
    int found = pcre2_substring_number_from_name(r->code, (PCRE2_SPTR)group);
    if (found <= 0)
      return sluice_fail(err, SLUICE_USAGE, "%s: protect: no single group is named \"%s\"", src->where, group);
    number = (unsigned long)found;
  } else if (number > r->groups) {
    return sluice_fail(err, SLUICE_USAGE, "%s: protect: the pattern has %u groups, not %lu", src->where, r->groups,
                       number);
  }
  while (r->protect[n]) n++;
  if (n == RULE_GROUPS_MAX)
    return sluice_fail(err, SLUICE_USAGE, "%s: protect: more than %d groups", src->where, RULE_GROUPS_MAX);
  r->protect[n] = (uint32_t)number;
  return SLUICE_OK;
}

/* The probe tells where the protected group could begin while a match is open: the pattern with callout 1 in front of
 * the group and callout 2 at the end that always fails, so that every path from every start is walked. A path whose
 * course depends on text that has not come goes on at or past the end of what has; so, without the constructs that
 * pattern_walk calls not plain, the smallest place that callout 1 sees is the earliest byte that the group could hold.
 */
void pattern_probe(const struct pattern_source *src, struct rule *r) {
  struct pattern_facts facts = pattern_walk(src->text, src->len, r->protect);
  struct buffer text;
  struct sluice_error ignored = {0};
  uint32_t flags = PCRE2_NO_START_OPTIMIZE | PCRE2_NO_AUTO_POSSESS | PCRE2_NO_DOTSTAR_ANCHOR;
  size_t at = 0;
  if (!r->protect[0] || !facts.plain || !facts.n_protect || (src->flags & PCRE2_EXTENDED)) return;
  buffer_init(&text, 0);
  sluice_status st = buffer_append_str(&text, "(?:", &ignored);
  for (size_t i = 0; !st && i < facts.n_protect; i++) {
    st = buffer_append(&text, src->text + at, facts.protect_at[i] - at, &ignored);
    if (!st) st = buffer_append_str(&text, "(?C1)", &ignored);
    at = facts.protect_at[i];
  }
  if (!st) st = buffer_append(&text, src->text + at, src->len - at, &ignored);
  if (!st) st = buffer_append_str(&text, ")(?C2)", &ignored);
  if (!st) compile_one(src, text.ptr, text.len, flags, &r->probe, &ignored); /* without one more is held, no less */
  buffer_free(&text);
}

sluice_status pattern_compile(const struct pattern_source *src, struct rule *r, struct sluice_error *err) {
  if (src->len == 0 || src->len > PATTERN_MAX)
    return sluice_fail(err, SLUICE_USAGE, "%s: pattern: 1 to %d bytes, not %zu", src->where, PATTERN_MAX, src->len);
  sluice_status st = compile_one(src, src->text, src->len, PCRE2_USE_OFFSET_LIMIT, &r->code, err);
  /* Where matching is not partial, PCRE2 10.42 looks for a pattern's last literal behind its first one, even when a
   * look-ahead saw both in one place: (?=a)b?a would not match "a". */
  if (!st) st = compile_one(src, src->text, src->len, PCRE2_ANCHORED | PCRE2_NO_START_OPTIMIZE, &r->anchored, err);
  if (st) return st;
  pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &r->groups);
  static const uint32_t none[1];
  struct pattern_facts facts = pattern_walk(src->text, src->len, none);
  if (facts.refused) return sluice_fail(err, SLUICE_USAGE, "%s: pattern: %s", src->where, facts.refused);
  uint32_t look = 0;
  pcre2_pattern_info(r->code, PCRE2_INFO_MAXLOOKBEHIND, &look);
  /* PCRE2 reports the longest single look-behind in characters; nested ones add up, and \b or ^ see one character more.
   */
  size_t need = ((size_t)look * (facts.look_behinds ? facts.look_behinds : 1) + 2) * 4;
  if (need > LOOK_BEHIND_MAX)
    return sluice_fail(err, SLUICE_USAGE, "%s: pattern: looks back %zu bytes, more than %d", src->where, need,
                       LOOK_BEHIND_MAX);
  if (r->look_behind < need) r->look_behind = need;
  st = machine_open(src->where, &r->machine, err);
  return st ? st : follow_open(src->where, &r->follow, err);
}

void pattern_free(struct rule *r) {
  pcre2_code_free(r->code);
  pcre2_code_free(r->anchored);
  pcre2_code_free(r->probe);
  machine_close(r->machine);
  follow_close(r->follow);
}

void pattern_first_bytes(const struct rule *r, unsigned char set[256]) {
  const uint8_t *map = NULL;
  uint32_t type = 0, unit = 0;
  pcre2_pattern_info(r->code, PCRE2_INFO_FIRSTBITMAP, &map);
  pcre2_pattern_info(r->code, PCRE2_INFO_FIRSTCODETYPE, &type);
  pcre2_pattern_info(r->code, PCRE2_INFO_FIRSTCODEUNIT, &unit);
  bool letter = (unit >= 'a' && unit <= 'z') || (unit >= 'A' && unit <= 'Z');
  for (unsigned c = 0; c < 256; c++) {
    if (type == 1)
      set[c] = c == unit || (letter && (c ^ 32u) == unit); /* whether caseless is not told: both */
    else if (map)
      set[c] = (map[c / 8] >> (c % 8)) & 1;
    else
      set[c] = 1;
  }
}

bool pattern_holds_words(const struct rule *r) {
  static const char *const samples[] = {"and the", "a small boat", "to Berlin", "was running"};
  pcre2_match_data *m = pcre2_match_data_create(1, NULL);
  int open = 0;
  for (size_t i = 0; m && i < sizeof samples / sizeof *samples; i++)
    open += pcre2_match(r->code, (PCRE2_SPTR)samples[i], strlen(samples[i]), 0, PCRE2_PARTIAL_HARD, m, NULL) ==
                PCRE2_ERROR_PARTIAL &&
            pcre2_get_ovector_pointer(m)[0] < strlen(samples[i]);
  pcre2_match_data_free(m);
  return open == sizeof samples / sizeof *samples;
}
