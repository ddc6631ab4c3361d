/* Byte-pair merging (Sennrich et al. 2016): the pair with the lowest rank merges first, of equal ranks the leftmost.
 * Short pieces are scanned again after every merge; long ones (a megabyte without a space is one piece) keep their
 * candidates in a heap, so that time stays near-linear. Both give the same ids. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

enum { SCAN_AT_MOST = 48 }; /* ids; a scan beats the heap below about this */

sluice_status id_list_push(struct id_list *list, int32_t id, struct sluice_error *err) {
  if (list->n == list->cap) {
    size_t cap = list->cap < 64 ? 64 : list->cap * 2;
    int32_t *ids = realloc(list->ids, cap * sizeof *ids);
    if (!ids) return sluice_fail(err, SLUICE_NOMEM, "out of memory for %zu tokens", cap);
    list->ids = ids;
    list->cap = cap;
  }
  list->ids[list->n++] = id;
  return SLUICE_OK;
}

size_t bpe_character(const char *text, size_t len) {
  uint32_t codepoint;
  const int n = utf8_decode(text, len, &codepoint);
  return n > 0 ? (size_t)n : 1;
}

sluice_status bpe_fall_back(const struct tokenizer *t, const char *bytes, size_t len, struct id_list *out,
                            struct sluice_error *err) {
  size_t known = 0;
  while (known < len && t->byte_id[(unsigned char)bytes[known]] >= 0) known++;
  if (known < len && t->unknown < 0)
    return sluice_fail(err, SLUICE_INPUT, "the tokenizer has neither byte 0x%02x in its vocabulary nor an unk_token",
                       (unsigned char)bytes[known]);
  if (known < len) {
    if (t->fuse_unknown && out->n > 0 && out->ids[out->n - 1] == t->unknown) return SLUICE_OK;
    return id_list_push(out, t->unknown, err);
  }
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < len; i++) st = id_list_push(out, t->byte_id[(unsigned char)bytes[i]], err);
  return st;
}

/* What a piece begins as: an id a byte, or an id a character where that is in the vocabulary. At most one a byte. */
static sluice_status initial_ids(const struct tokenizer *t, const char *piece, size_t len, struct id_list *out,
                                 struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0, n = 0; !st && i < len; i += n) {
    n = t->kind == VOCABULARY_BYTE_LEVEL ? 1 : bpe_character(piece + i, len - i);
    const int32_t id = t->kind == VOCABULARY_BYTE_LEVEL ? -1 : bytes_map_get(t, &t->by_bytes, piece + i, n);
    st = id >= 0 ? id_list_push(out, id, err) : bpe_fall_back(t, piece + i, n, out, err);
  }
  return st;
}

/* The ids from `begun` on, merged in place. */
static void merge_by_scan(const struct tokenizer *t, struct id_list *out, size_t begun) {
  int32_t *ids = out->ids + begun;
  const struct merge *merges[SCAN_AT_MOST]; /* of ids[i] with ids[i + 1] */
  size_t n = out->n - begun;
  for (size_t i = 0; i + 1 < n; i++) merges[i] = merge_map_get(&t->merges, ids[i], ids[i + 1]);
  while (n > 1) {
    size_t best = n;
    for (size_t i = 0; i + 1 < n; i++)
      if (merges[i] && (best == n || merges[i]->rank < merges[best]->rank)) best = i;
    if (best == n) break;
    ids[best] = merges[best]->id;
    n--;
    memmove(&ids[best + 1], &ids[best + 2], (n - best - 1) * sizeof ids[0]);
    memmove(&merges[best], &merges[best + 1], (n - best - 1) * sizeof merges[0]);
    if (best > 0) merges[best - 1] = merge_map_get(&t->merges, ids[best - 1], ids[best]);
    if (best + 1 < n) merges[best] = merge_map_get(&t->merges, ids[best], ids[best + 1]);
  }
  out->n = begun + n;
}

static void offer(const struct tokenizer *t, struct merge_list *l, int32_t at) {
  if (at < 0 || l->symbols[at].next < 0) return;
  const struct merge *m = merge_map_get(&t->merges, l->symbols[at].what, l->symbols[l->symbols[at].next].what);
  if (m) merge_list_push(l, at, m->rank);
}

static sluice_status merge_by_heap(const struct tokenizer *t, struct id_list *out, size_t begun, struct merge_list *l,
                                   struct sluice_error *err) {
  const size_t n = out->n - begun;
  sluice_status st = merge_list_reserve(l, n, err);
  if (st) return st;
  for (size_t i = 0; i < n; i++)
    l->symbols[i] = (struct merge_symbol){out->ids[begun + i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
  for (size_t i = 0; i + 1 < n; i++) offer(t, l, (int32_t)i);
  for (struct merge_pair p; merge_list_pop(l, &p);) {
    merge_list_join(l, p.at, merge_map_get(&t->merges, p.left, p.right)->id);
    offer(t, l, l->symbols[p.at].prev);
    offer(t, l, p.at);
  }
  out->n = begun;
  for (int32_t i = 0; i >= 0; i = l->symbols[i].next) out->ids[out->n++] = l->symbols[i].what;
  return SLUICE_OK;
}

sluice_status bpe_encode(const struct tokenizer *t, const char *piece, size_t len, struct merge_list *scratch,
                         struct id_list *out, struct sluice_error *err) {
  if (len > TOKENIZER_MAX_PIECE)
    return sluice_fail(err, SLUICE_LIMIT, "a piece of %zu bytes without a cut; at most %d are taken", len,
                       (int)TOKENIZER_MAX_PIECE);
  if (t->ignore_merges) {
    int32_t whole = bytes_map_get(t, &t->by_bytes, piece, len);
    if (whole >= 0 && !t->special[whole]) return id_list_push(out, whole, err);
  }
  const size_t begun = out->n;
  sluice_status st = initial_ids(t, piece, len, out, err);
  if (st || out->n == begun) return st;
  if (out->n - begun > SCAN_AT_MOST) return merge_by_heap(t, out, begun, scratch, err);
  merge_by_scan(t, out, begun);
  return SLUICE_OK;
}
