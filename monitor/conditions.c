/* What a pattern cannot say of a match: that its text is random enough, and that it is none of those known to be
 * harmless. gitleaks calls the latter allow lists and their words stop words. */
#include "monitor/policy.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LISTS_MAX = 64, PATTERNS_MAX = 1024, WORDS_MAX = 20000, WORD_BYTES_MAX = 255 };

double text_entropy(struct slice text) {
  size_t counts[256] = {0};
  double bits = 0;
  for (size_t i = 0; i < text.len; i++) counts[(unsigned char)text.ptr[i]]++;
  for (size_t c = 0; c < 256; c++) {
    double share = (double)counts[c] / (double)text.len;
    if (counts[c]) bits -= share * log2(share);
  }
  return bits;
}

/* ---- reading ---- */

/* As Go reads it, so that gitleaks' lists mean what they mean there: ASCII classes, $ only at the very end. */
static sluice_status compile_pattern(const char *where, const char *text, pcre2_code **out, struct sluice_error *err) {
  int code = 0;
  PCRE2_SIZE at = 0;
  char what[160];
  *out = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                       PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
  if (!*out) {
    if (code == PCRE2_ERROR_HEAP_FAILED) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for a pattern", where);
    if (pcre2_get_error_message(code, (PCRE2_UCHAR *)what, sizeof what) < 0) what[0] = '\0';
    return sluice_fail(err, SLUICE_USAGE, "%s: pattern \"%.80s\", byte %zu: %s", where, text, at, what);
  }
  return SLUICE_OK;
}

/* Strings of a list; NULL where the key is absent. */
static sluice_status strings_of(const char *where, const cJSON *o, const char *key, int most, const cJSON **list,
                                struct sluice_error *err) {
  const cJSON *item = NULL;
  *list = cJSON_GetObjectItemCaseSensitive(o, key);
  if (!*list) return SLUICE_OK;
  int n = cJSON_IsArray(*list) ? cJSON_GetArraySize(*list) : 0;
  if (n < 1 || n > most)
    return sluice_fail(err, SLUICE_USAGE, "%s.%s: wants a list of 1 to %d strings", where, key, most);
  cJSON_ArrayForEach(item, *list) {
    if (!cJSON_IsString(item) || !item->valuestring[0])
      return sluice_fail(err, SLUICE_USAGE, "%s.%s: each is a string, and not empty", where, key);
  }
  return SLUICE_OK;
}

static sluice_status read_words(struct monitor_policy *p, const char *where, const cJSON *list, struct allow *a,
                                struct sluice_error *err) {
  const cJSON *item = NULL;
  a->words = calloc((size_t)cJSON_GetArraySize(list), sizeof *a->words);
  if (!a->words) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for its words", where);
  cJSON_ArrayForEach(item, list) {
    size_t len = strlen(item->valuestring);
    if (len > WORD_BYTES_MAX)
      return sluice_fail(err, SLUICE_USAGE, "%s.words: each has at most %d bytes", where, WORD_BYTES_MAX);
    char *copy = arena_strndup(&p->strings, item->valuestring, len);
    if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for its words", where);
    for (size_t i = 0; i < len; i++) copy[i] = (char)keyword_fold((unsigned char)copy[i]);
    a->words[a->n_words++] = (struct keyword){.text = copy, .exact = copy, .len = len};
  }
  return automaton_build(&a->automaton, a->words, a->n_words, err);
}

static sluice_status read_one(struct monitor_policy *p, const char *where, const cJSON *o, struct allow *a,
                              struct sluice_error *err) {
  static const char *const keys[] = {"description", "target", "patterns", "words", "all", NULL};
  static const char *const targets[] = {"protected", "match", "line", NULL};
  const char *target = NULL, *ignored = NULL;
  const cJSON *patterns = NULL, *words = NULL, *item = NULL;
  if (!cJSON_IsObject(o)) return sluice_fail(err, SLUICE_USAGE, "%s: wants an object", where);
  sluice_status st = json_check_keys(o, where, keys, err);
  if (!st) st = json_string(o, where, "description", false, NULL, &ignored, err);
  if (!st) st = json_string(o, where, "target", false, "protected", &target, err);
  if (!st) st = json_bool(o, where, "all", false, &a->all, err);
  if (!st) st = strings_of(where, o, "patterns", PATTERNS_MAX, &patterns, err);
  if (!st) st = strings_of(where, o, "words", WORDS_MAX, &words, err);
  if (st) return st;
  int at = 0;
  while (targets[at] && strcmp(targets[at], target)) at++;
  if (!targets[at])
    return sluice_fail(err, SLUICE_USAGE, "%s.target: \"%s\" is none of protected, match, line", where, target);
  a->target = (enum allow_target)at;
  if (!patterns && !words) return sluice_fail(err, SLUICE_USAGE, "%s: wants \"patterns\" or \"words\"", where);
  if (patterns) a->patterns = calloc((size_t)cJSON_GetArraySize(patterns), sizeof *a->patterns);
  if (patterns && !a->patterns) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for its patterns", where);
  cJSON_ArrayForEach(item, patterns) {
    st = compile_pattern(where, item->valuestring, &a->patterns[a->n_patterns], err);
    if (st) return st;
    a->n_patterns++;
  }
  return words ? read_words(p, where, words, a, err) : SLUICE_OK;
}

sluice_status allow_read(struct monitor_policy *p, const char *where, const struct cJSON *list, struct allow_list *out,
                         struct sluice_error *err) {
  const cJSON *item = NULL;
  if (!list) return SLUICE_OK;
  int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
  if (n < 1 || n > LISTS_MAX)
    return sluice_fail(err, SLUICE_USAGE, "%s.allow: wants a list of 1 to %d objects", where, LISTS_MAX);
  out->items = calloc((size_t)n, sizeof *out->items);
  if (!out->items) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for its allow lists", where);
  cJSON_ArrayForEach(item, list) {
    char inner[400];
    snprintf(inner, sizeof inner, "%.350s.allow[%zu]", where, out->n);
    out->n++; /* first, so that a half-read one is freed */
    sluice_status st = read_one(p, inner, item, &out->items[out->n - 1], err);
    if (st) return st;
  }
  return SLUICE_OK;
}

void allow_free(struct allow_list *list) {
  for (size_t i = 0; i < list->n; i++) {
    struct allow *a = &list->items[i];
    for (size_t k = 0; k < a->n_patterns; k++) pcre2_code_free(a->patterns[k]);
    free(a->patterns);
    free(a->words);
    automaton_free(&a->automaton);
  }
  free(list->items);
  *list = (struct allow_list){0};
}

/* ---- judging ---- */

static bool holds_word(const struct allow *a, struct slice text) {
  uint32_t q = 0;
  for (size_t i = 0; i < text.len; i++) {
    uint32_t next =
        a->automaton.next[(size_t)q * a->automaton.n_columns + a->automaton.column[(unsigned char)text.ptr[i]]];
    if (next & KEYWORD_ENDS) return true;
    q = next;
  }
  return false;
}

/* A pattern that hits the match limit lets nothing by. */
static bool holds_pattern(const struct allow *a, struct slice text, pcre2_match_data *match,
                          pcre2_match_context *context) {
  for (size_t i = 0; i < a->n_patterns; i++)
    if (pcre2_match(a->patterns[i], (PCRE2_SPTR)text.ptr, text.len, 0, PCRE2_NO_UTF_CHECK, match, context) >= 0)
      return true;
  return false;
}

bool allow_lets_by(const struct allow_list *list, const struct candidate *c, pcre2_match_data *match,
                   pcre2_match_context *context) {
  for (size_t i = 0; i < list->n; i++) {
    const struct allow *a = &list->items[i];
    struct slice text = a->target == ALLOW_PROTECTED ? c->protected_text
                        : a->target == ALLOW_MATCH   ? c->match
                                                     : c->line;
    bool word = a->n_words && holds_word(a, c->protected_text);
    bool pattern = a->n_patterns && (!a->all || word || !a->n_words) && holds_pattern(a, text, match, context);
    if (a->all ? (word || !a->n_words) && (pattern || !a->n_patterns) : word || pattern) return true;
  }
  return false;
}
