/* What every file of a vocabulary fills, whatever its format. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/tokenizer.h"

sluice_status vocabulary_begin(struct tokenizer *t, const char *where, int size, size_t n_added,
                               struct sluice_error *err) {
  t->size = size;
  t->unknown = -1;
  memset(t->byte_id, 0xff, sizeof t->byte_id);
  t->texts = calloc((size_t)size, sizeof *t->texts);
  t->special = calloc((size_t)size, sizeof *t->special);
  t->added = calloc(n_added + 1, sizeof *t->added);
  if (!t->texts || !t->special || !t->added)
    return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %d ids", where, size);
  sluice_status st = bytes_map_init(&t->by_bytes, (size_t)size, err);
  return st ? st : bytes_map_init(&t->added_by_bytes, n_added, err);
}

#define SPACE_MARK "\xe2\x96\x81" /* U+2581 */

sluice_status vocabulary_decode(const struct tokenizer *t, const char *spelling, size_t len, struct buffer *out,
                                bool *mapped, struct sluice_error *err) {
  if (t->kind == VOCABULARY_BYTE_LEVEL) return byte_level_decode(spelling, len, out, mapped, err);
  *mapped = true;
  for (size_t i = 0; i < len;) {
    const bool mark = len - i >= 3 && memcmp(spelling + i, SPACE_MARK, 3) == 0;
    sluice_status st = buffer_append(out, mark ? " " : spelling + i, 1, err);
    if (st) return st;
    i += mark ? 3 : 1;
  }
  return SLUICE_OK;
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

int vocabulary_byte(const char *spelling, size_t len) {
  if (len != 6 || memcmp(spelling, "<0x", 3) != 0 || spelling[5] != '>') return -1;
  const int high = hex_digit(spelling[3]), low = hex_digit(spelling[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

sluice_status vocabulary_bytes(struct tokenizer *t, const char *where, struct sluice_error *err) {
  for (int b = 0; b < 256; b++) {
    const char byte = (char)b;
    if (t->kind == VOCABULARY_BYTE_LEVEL) t->byte_id[b] = bytes_map_get(t, &t->by_bytes, &byte, 1);
    if (t->byte_id[b] >= 0 && t->special[t->byte_id[b]])
      return sluice_fail(err, SLUICE_INPUT, "%s: added_tokens: the byte 0x%02x is a special token", where, (unsigned)b);
  }
  return SLUICE_OK;
}

/* ---- merges -------------------------------------------------------------------------------------------------------
 */

/* An id for one spelling of the merges; -1 when the vocabulary has none. */
static sluice_status find_spelling(const struct tokenizer *t, struct slice spelling, struct buffer *raw, int32_t *id,
                                   struct sluice_error *err) {
  bool mapped;
  buffer_clear(raw);
  sluice_status st = vocabulary_decode(t, spelling.ptr, spelling.len, raw, &mapped, err);
  if (st) return st;
  *id = mapped ? bytes_map_get(t, &t->by_bytes, raw->ptr, raw->len) : -1;
  return SLUICE_OK;
}

sluice_status vocabulary_merge(struct tokenizer *t, const char *where, const char *list, struct slice left,
                               struct slice right, int32_t rank, struct buffer *raw, struct sluice_error *err) {
  const struct slice half[2] = {left, right};
  int32_t ids[2];
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; i < 2; i++) {
    st = find_spelling(t, half[i], raw, &ids[i], err);
    if (st) return st;
    if (ids[i] < 0)
      return sluice_fail(err, SLUICE_INPUT, "%s: %s[%d]: \"%.*s\" is not in the vocabulary", where, list, rank,
                         (int)(half[i].len < 80 ? half[i].len : 80), half[i].ptr);
  }
  buffer_clear(raw);
  for (size_t i = 0; !st && i < 2; i++)
    st = buffer_append(raw, t->pool.ptr + t->texts[ids[i]].start, t->texts[ids[i]].len, err);
  if (st) return st;
  const int32_t made = bytes_map_get(t, &t->by_bytes, raw->ptr, raw->len);
  if (made < 0)
    return sluice_fail(err, SLUICE_INPUT, "%s: %s[%d]: what it makes is not in the vocabulary", where, list, rank);
  if (t->special[made]) /* else plain text could become a special token */
    return sluice_fail(err, SLUICE_INPUT, "%s: %s[%d]: it makes the special token with id %d", where, list, rank, made);
  merge_map_put(&t->merges, ids[0], ids[1], rank, made);
  return SLUICE_OK;
}

/* ---- added tokens -------------------------------------------------------------------------------------------------
 */

/* A normalized token is looked for in its own normalized form. */
static sluice_status put_pattern(struct tokenizer *t, struct added_token *token, struct sluice_error *err) {
  const struct token_text text = t->texts[token->id];
  struct buffer done;
  token->pattern = text;
  if (!token->normalized || (!t->nfc && !t->spelled_early)) return SLUICE_OK;
  buffer_init(&done, TOKENIZER_MAX_FILE);
  const struct slice content = {t->pool.ptr + text.start, text.len};
  const bool dummy = t->dummy == DUMMY_EVERY;
  sluice_status st = t->nfc ? nfc_append(t->nfc, content, &done, err) : spell_spaces(content, dummy, &done, err);
  token->pattern = (struct token_text){(uint32_t)t->pool.len, (uint32_t)done.len};
  if (!st) st = buffer_append(&t->pool, done.ptr, done.len, err);
  buffer_free(&done);
  return st;
}

sluice_status vocabulary_add(struct tokenizer *t, struct added_token token, struct sluice_error *err) {
  sluice_status st = put_pattern(t, &token, err);
  if (!st) t->added[t->n_added++] = token;
  return st;
}

/* qsort hands no context to the comparison, so what it compares is copied out. */
struct added_order {
  struct added_token token;
  unsigned char first;
  uint32_t len;
};

static int compare_added(const void *a, const void *b) {
  const struct added_order *x = a, *y = b;
  if (x->first != y->first) return x->first < y->first ? -1 : 1;
  if (x->len != y->len) return x->len > y->len ? -1 : 1;
  return x->token.id < y->token.id ? -1 : x->token.id > y->token.id;
}

sluice_status vocabulary_sort_added(struct tokenizer *t, const char *where, struct sluice_error *err) {
  struct added_order *order = malloc((t->n_added + 1) * sizeof *order);
  if (!order) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %zu added tokens", where, t->n_added);
  for (size_t i = 0; i < t->n_added; i++) {
    struct token_text text = t->added[i].pattern;
    order[i] = (struct added_order){t->added[i], (unsigned char)t->pool.ptr[text.start], text.len};
  }
  qsort(order, t->n_added, sizeof *order, compare_added);
  size_t at = 0;
  for (unsigned b = 0; b < 256; b++) {
    t->added_from[b] = (uint32_t)at;
    for (; at < t->n_added && order[at].first == b; at++) t->added[at] = order[at].token;
  }
  t->added_from[256] = (uint32_t)t->n_added;
  free(order);
  return SLUICE_OK;
}
