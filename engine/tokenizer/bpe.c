/* Byte-pair merging (Sennrich et al. 2016): the pair with the lowest rank merges first, of equal ranks the leftmost.
 * Short pieces are scanned again after every merge; long ones (a megabyte without a space is one piece) keep their
 * candidates in a heap, so that time stays near-linear. Both give the same ids. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

enum { SCAN_AT_MOST = 48 }; /* ids; a scan beats the heap below about this */

struct bpe_node {
  int32_t id;
  int32_t prev, next; /* -1: none. id -1: merged into its left neighbour */
};

struct bpe_candidate {
  int32_t rank, at;    /* at: the left node */
  int32_t left, right; /* the ids when it was pushed: it is stale when they have changed */
};

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

void bpe_scratch_free(struct bpe_scratch *s) {
  free(s->nodes);
  free(s->heap);
  s->nodes = NULL, s->heap = NULL, s->n_nodes = 0;
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

static bool before(const struct bpe_candidate *a, const struct bpe_candidate *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct bpe_candidate *heap, size_t *n, struct bpe_candidate c) {
  size_t i = (*n)++;
  for (; i > 0 && before(&c, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
  heap[i] = c;
}

static struct bpe_candidate heap_pop(struct bpe_candidate *heap, size_t *n) {
  struct bpe_candidate top = heap[0], last = heap[--*n];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < *n; i = child) {
    if (child + 1 < *n && before(&heap[child + 1], &heap[child])) child++;
    if (!before(&heap[child], &last)) break;
    heap[i] = heap[child];
  }
  heap[i] = last;
  return top;
}

/* Room for len nodes and 2 * len candidates: len - 1 to begin with, and each of at most len - 1 merges takes one and
 * adds at most two. */
static sluice_status make_room(struct bpe_scratch *s, size_t len, struct sluice_error *err) {
  if (s->n_nodes >= len) return SLUICE_OK;
  bpe_scratch_free(s);
  s->nodes = malloc(len * sizeof *s->nodes);
  s->heap = malloc(2 * len * sizeof *s->heap);
  if (!s->nodes || !s->heap) {
    bpe_scratch_free(s);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory for a piece of %zu bytes without a cut", len);
  }
  s->n_nodes = len;
  return SLUICE_OK;
}

static void push_pair(const struct tokenizer *t, struct bpe_scratch *s, int32_t at) {
  if (at < 0 || s->nodes[at].next < 0) return;
  int32_t left = s->nodes[at].id, right = s->nodes[s->nodes[at].next].id;
  const struct merge *m = merge_map_get(&t->merges, left, right);
  if (m) heap_push(s->heap, &s->n_heap, (struct bpe_candidate){m->rank, at, left, right});
}

static void merge_all(const struct tokenizer *t, struct bpe_scratch *s) {
  while (s->n_heap > 0) {
    struct bpe_candidate c = heap_pop(s->heap, &s->n_heap);
    struct bpe_node *left = &s->nodes[c.at];
    if (left->id != c.left || left->next < 0 || s->nodes[left->next].id != c.right) continue;
    struct bpe_node *right = &s->nodes[left->next];
    left->id = merge_map_get(&t->merges, c.left, c.right)->id;
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0) s->nodes[left->next].prev = c.at;
    push_pair(t, s, left->prev);
    push_pair(t, s, c.at);
  }
}

static sluice_status merge_by_heap(const struct tokenizer *t, struct id_list *out, size_t begun, struct bpe_scratch *s,
                                   struct sluice_error *err) {
  const size_t n = out->n - begun;
  sluice_status st = make_room(s, n, err);
  if (st) return st;
  for (size_t i = 0; i < n; i++)
    s->nodes[i] = (struct bpe_node){out->ids[begun + i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
  s->n_heap = 0;
  for (size_t i = 0; i + 1 < n; i++) push_pair(t, s, (int32_t)i);
  merge_all(t, s);
  out->n = begun;
  for (int32_t i = 0; i >= 0; i = s->nodes[i].next) out->ids[out->n++] = s->nodes[i].id;
  return SLUICE_OK;
}

sluice_status bpe_encode(const struct tokenizer *t, const char *piece, size_t len, struct bpe_scratch *scratch,
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
