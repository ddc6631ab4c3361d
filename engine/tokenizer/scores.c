/* SentencePiece's BPE by scores: of all neighbours whose joined text is in the vocabulary, the pair with the highest
 * score becomes one; of equal scores the leftmost. Source: Kudo and Richardson 2018, and its bpe_model. */
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

/* The integer that is lower the higher a score is. A float's bits rise with it, those of negative ones fall. */
static int32_t order_of(float score) {
  const float falling = 0 - score;
  int32_t bits;
  memcpy(&bits, &falling, sizeof bits);
  return bits < 0 ? bits ^ INT32_MAX : bits;
}

/* Offers the symbol that begins at byte `start` for merging, when the joined text has a token. */
static void offer(const struct tokenizer *t, struct merge_list *l, const char *piece, int32_t start) {
  if (start < 0 || l->symbols[start].next < 0) return;
  const int32_t len = l->symbols[start].what + l->symbols[l->symbols[start].next].what;
  const int32_t id = bytes_map_get(t, &t->by_bytes, piece + start, (size_t)len);
  if (id >= 0) merge_list_push(l, start, order_of(t->scores[id]));
}

/* Symbols stand at their first byte, and are their bytes' number. */
static void merge_all(const struct tokenizer *t, struct merge_list *l, const char *piece, size_t len) {
  int32_t prev = -1;
  for (size_t i = 0; i < len;) {
    const size_t size = bpe_character(piece + i, len - i), next = i + size;
    l->symbols[i] = (struct merge_symbol){(int32_t)size, prev, next < len ? (int32_t)next : -1};
    prev = (int32_t)i;
    i = next;
  }
  for (int32_t i = 0; i >= 0; i = l->symbols[i].next) offer(t, l, piece, i);
  for (struct merge_pair p; merge_list_pop(l, &p);) {
    merge_list_join(l, p.at, p.left + p.right);
    offer(t, l, piece, l->symbols[p.at].prev);
    offer(t, l, piece, p.at);
  }
}

sluice_status score_encode(const struct tokenizer *t, const char *piece, size_t len, struct merge_list *l,
                           struct id_list *out, struct sluice_error *err) {
  if (len > TOKENIZER_MAX_PIECE)
    return sluice_fail(err, SLUICE_LIMIT, "a text of %zu bytes; at most %d are taken at once", len,
                       (int)TOKENIZER_MAX_PIECE);
  sluice_status st = merge_list_reserve(l, len, err);
  if (st || len == 0) return st;
  merge_all(t, l, piece, len);
  for (int32_t i = 0; !st && i >= 0; i = l->symbols[i].next) {
    const size_t size = (size_t)l->symbols[i].what;
    const int32_t id = bytes_map_get(t, &t->by_bytes, piece + i, size);
    st = id >= 0 ? id_list_push(out, id, err) : bpe_fall_back(t, piece + i, size, out, err);
  }
  return st;
}
