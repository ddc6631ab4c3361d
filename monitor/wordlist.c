/* A word list matches whole words and phrases, whatever their case and the white space between: one alternation,
 * longest first, gated by the first word of each. */
#include "monitor/wordlist.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_BYTES_MAX = 200, WORDS_MAX = 20000, FILE_BYTES_MAX = 4 << 20 };

struct wordlist {
  struct slice *words;
  size_t n, cap;
};

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static sluice_status add_word(struct wordlist *l, const char *where, struct slice w, struct sluice_error *err) {
  while (w.len && is_space(w.ptr[0])) w.ptr++, w.len--;
  while (w.len && is_space(w.ptr[w.len - 1])) w.len--;
  size_t bad = 0;
  if (w.len == 0 || w.len > WORD_BYTES_MAX || utf8_valid_prefix(w.ptr, w.len, &bad) != w.len)
    return sluice_fail(err, SLUICE_USAGE, "%s: word %zu: wants 1 to %d bytes of UTF-8", where, l->n + 1,
                       WORD_BYTES_MAX);
  if (l->n == WORDS_MAX) return sluice_fail(err, SLUICE_USAGE, "%s: more than %d words", where, WORDS_MAX);
  if (l->n == l->cap) {
    size_t cap = l->cap ? 2 * l->cap : 64;
    struct slice *grown = realloc(l->words, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the words", where);
    l->words = grown;
    l->cap = cap;
  }
  l->words[l->n++] = w;
  return SLUICE_OK;
}

/* Longest first, so that the alternation prefers the longest phrase; then by bytes, so that the order is fixed. */
static int by_length(const void *a, const void *b) {
  const struct slice *x = a, *y = b;
  if (x->len != y->len) return x->len < y->len ? 1 : -1;
  return memcmp(x->ptr, y->ptr, x->len);
}

static sluice_status append_word(struct buffer *out, struct slice w, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < w.len; i++) {
    char c = w.ptr[i];
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
    if (is_space(c)) {
      if (!is_space(w.ptr[i - 1])) st = buffer_append_str(out, "\\s+", err);
    } else {
      st = plain ? SLUICE_OK : buffer_append_str(out, "\\", err);
      if (!st) st = buffer_append(out, &c, 1, err);
    }
  }
  return st;
}

/* The gate: the ASCII head of a word's first part. Without one for every word the list runs ungated. */
static size_t keyword_head(struct slice w) {
  size_t n = 0;
  while (n < w.len && !is_space(w.ptr[n]) && (unsigned char)w.ptr[n] < 0x80) n++;
  return n;
}

static sluice_status compile_list(struct monitor_policy *p, uint32_t rule, const char *where, struct wordlist *l,
                                  struct sluice_error *err) {
  struct buffer text;
  struct rule *r = &p->rules[rule];
  bool gated = true;
  if (l->n == 0) return sluice_fail(err, SLUICE_USAGE, "%s: the word list is empty", where);
  buffer_init(&text, 0);
  qsort(l->words, l->n, sizeof *l->words, by_length);
  sluice_status st = buffer_append_str(&text, "(?<!\\w)(?:", err);
  for (size_t i = 0; !st && i < l->n; i++) {
    if (i) st = buffer_append_str(&text, "|", err);
    if (!st) st = append_word(&text, l->words[i], err);
    gated &= keyword_head(l->words[i]) > 0;
  }
  if (!st) st = buffer_append_str(&text, ")(?!\\w)", err);
  struct pattern_source src = {.where = where, .text = text.ptr, .len = text.len, .flags = PCRE2_CASELESS};
  if (!st) st = pattern_compile(&src, r, err);
  r->word_start = true;
  if (gated) r->lead = 0;
  if (!st) st = policy_keep_pattern(p, r, &src, err);
  for (size_t i = 0; !st && gated && i < l->n; i++)
    st = policy_add_keyword(p, rule, l->words[i].ptr, keyword_head(l->words[i]), KEYWORD_ANY_CASE, err);
  buffer_free(&text);
  return st;
}

sluice_status wordlist_from_array(struct monitor_policy *p, uint32_t rule, const char *where, const struct cJSON *words,
                                  struct sluice_error *err) {
  struct wordlist l = {0};
  const cJSON *item = NULL;
  sluice_status st = SLUICE_OK;
  if (!cJSON_IsArray(words)) return sluice_fail(err, SLUICE_USAGE, "%s.words: wants a list of strings", where);
  cJSON_ArrayForEach(item, words) {
    if (!cJSON_IsString(item)) st = sluice_fail(err, SLUICE_USAGE, "%s.words: item %zu is no string", where, l.n + 1);
    if (!st) st = add_word(&l, where, slice_of(item->valuestring), err);
    if (st) break;
  }
  if (!st) st = compile_list(p, rule, where, &l, err);
  free(l.words);
  return st;
}

sluice_status wordlist_from_file(struct monitor_policy *p, uint32_t rule, const char *where, const char *dir,
                                 const char *file, struct sluice_error *err) {
  struct wordlist l = {0};
  char *path = file[0] == '/' ? sluice_strdup(file) : sluice_format("%s/%s", dir, file), *text = NULL;
  size_t len = 0;
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the words", where);
  sluice_status st = file_read(path, FILE_BYTES_MAX, &text, &len, err);
  for (size_t at = 0, number = 1; !st && at < len; number++) {
    const char *end = memchr(text + at, '\n', len - at);
    struct slice line = {text + at, end ? (size_t)(end - text) - at : len - at};
    at += line.len + 1;
    bool blank = true;
    for (size_t i = 0; i < line.len; i++) blank &= is_space(line.ptr[i]);
    if (memchr(line.ptr, '\0', line.len)) st = sluice_fail(err, SLUICE_USAGE, "%s:%zu: U+0000 in a word", path, number);
    if (!st && !blank && line.ptr[0] != '#') st = add_word(&l, where, line, err);
  }
  if (!st)
    st = compile_list(p, rule, where, &l, err);
  else
    sluice_fail_in(err, "%s", where);
  free(l.words);
  free(text);
  free(path);
  return st;
}
