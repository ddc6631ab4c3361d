/* SentencePiece's BPE by scores: of all neighbours whose joined text is in the vocabulary, the pair with the highest
 * score becomes one; of equal scores the leftmost. Source: Kudo and Richardson 2018, and its bpe_model. */
#include <limits.h>
#include <stdlib.h>

#include "engine/tokenizer/tokenizer.h"

struct score_symbol {
  int32_t start, len; /* bytes of the piece; len 0: merged into its left neighbour */
  int32_t prev, next; /* -1: none */
};

struct score_pair {
  float score;
  int32_t at, len; /* the left symbol; bytes of both: it is stale when they have changed */
};

void score_scratch_free(struct bpe_scratch *s) {
  free(s->symbols);
  free(s->pairs);
  s->symbols = NULL, s->pairs = NULL, s->n_symbols = 0;
}

static bool before(const struct score_pair *a, const struct score_pair *b) {
  return a->score != b->score ? a->score > b->score : a->at < b->at;
}

static void push(struct score_pair *heap, size_t *n, struct score_pair p) {
  size_t i = (*n)++;
  for (; i > 0 && before(&p, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
  heap[i] = p;
}

static struct score_pair pop(struct score_pair *heap, size_t *n) {
  const struct score_pair top = heap[0], last = heap[--*n];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < *n; i = child) {
    if (child + 1 < *n && before(&heap[child + 1], &heap[child])) child++;
    if (!before(&heap[child], &last)) break;
    heap[i] = heap[child];
  }
  heap[i] = last;
  return top;
}

/* Room for len symbols and 2 * len pairs: fewer than len to begin with, and each merge takes one and adds at most two.
 */
static sluice_status make_room(struct bpe_scratch *s, size_t len, struct sluice_error *err) {
  if (s->n_symbols >= len) return SLUICE_OK;
  score_scratch_free(s);
  s->symbols = malloc(len * sizeof *s->symbols);
  s->pairs = malloc(2 * len * sizeof *s->pairs);
  if (!s->symbols || !s->pairs) {
    score_scratch_free(s);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory for a text of %zu bytes", len);
  }
  s->n_symbols = len;
  return SLUICE_OK;
}

static void push_pair(const struct tokenizer *t, struct bpe_scratch *s, const char *piece, int32_t at, size_t *n) {
  if (at < 0 || s->symbols[at].next < 0) return;
  const int32_t len = s->symbols[at].len + s->symbols[s->symbols[at].next].len;
  const int32_t id = bytes_map_get(t, &t->by_bytes, piece + s->symbols[at].start, (size_t)len);
  if (id >= 0) push(s->pairs, n, (struct score_pair){t->scores[id], at, len});
}

static void merge_all(const struct tokenizer *t, struct bpe_scratch *s, const char *piece, size_t n) {
  while (n > 0) {
    const struct score_pair p = pop(s->pairs, &n);
    struct score_symbol *left = &s->symbols[p.at];
    if (left->len == 0 || left->next < 0) continue;
    struct score_symbol *right = &s->symbols[left->next];
    if (left->len + right->len != p.len) continue;
    left->len = p.len;
    left->next = right->next;
    right->len = 0;
    if (left->next >= 0) s->symbols[left->next].prev = p.at;
    push_pair(t, s, piece, left->prev, &n);
    push_pair(t, s, piece, p.at, &n);
  }
}

sluice_status score_encode(const struct tokenizer *t, const char *piece, size_t len, struct bpe_scratch *s,
                           struct id_list *out, struct sluice_error *err) {
  if (len > TOKENIZER_MAX_PIECE)
    return sluice_fail(err, SLUICE_LIMIT, "a text of %zu bytes; at most %d are taken at once", len,
                       (int)TOKENIZER_MAX_PIECE);
  sluice_status st = make_room(s, len, err);
  if (st || len == 0) return st;
  int32_t n = 0;
  for (size_t i = 0; i < len; n++) {
    const size_t size = bpe_character(piece + i, len - i);
    s->symbols[n] = (struct score_symbol){(int32_t)i, (int32_t)size, n - 1, i + size < len ? n + 1 : -1};
    i += size;
  }
  size_t pairs = 0;
  for (int32_t i = 0; i + 1 < n; i++) push_pair(t, s, piece, i, &pairs);
  merge_all(t, s, piece, pairs);
  for (int32_t i = 0; !st && i >= 0; i = s->symbols[i].next) {
    const char *text = piece + s->symbols[i].start;
    const size_t size = (size_t)s->symbols[i].len;
    const int32_t id = bytes_map_get(t, &t->by_bytes, text, size);
    st = id >= 0 ? id_list_push(out, id, err) : bpe_fall_back(t, text, size, out, err);
  }
  return st;
}
