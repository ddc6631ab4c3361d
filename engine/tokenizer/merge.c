#include "engine/tokenizer/merge.h"

#include <stdlib.h>

void merge_list_free(struct merge_list *l) {
  free(l->symbols);
  free(l->heap);
  *l = (struct merge_list){0};
}

/* 2 * len pairs: len - 1 to begin with, and each of at most len - 1 merges takes one and adds at most two. */
sluice_status merge_list_reserve(struct merge_list *l, size_t len, struct sluice_error *err) {
  l->n_heap = 0;
  if (l->room >= len) return SLUICE_OK;
  merge_list_free(l);
  l->symbols = malloc(len * sizeof *l->symbols);
  l->heap = malloc(2 * len * sizeof *l->heap);
  if (!l->symbols || !l->heap) {
    merge_list_free(l);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory for a piece of %zu bytes without a cut", len);
  }
  l->room = len;
  return SLUICE_OK;
}

static bool before(const struct merge_pair *a, const struct merge_pair *b) {
  return a->order != b->order ? a->order < b->order : a->at < b->at;
}

void merge_list_push(struct merge_list *l, int32_t at, int32_t order) {
  const struct merge_symbol *s = &l->symbols[at];
  const struct merge_pair p = {order, at, s->what, l->symbols[s->next].what};
  size_t i = l->n_heap++;
  for (; i > 0 && before(&p, &l->heap[(i - 1) / 2]); i = (i - 1) / 2) l->heap[i] = l->heap[(i - 1) / 2];
  l->heap[i] = p;
}

static struct merge_pair take_first(struct merge_list *l) {
  const struct merge_pair top = l->heap[0], last = l->heap[--l->n_heap];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < l->n_heap; i = child) {
    if (child + 1 < l->n_heap && before(&l->heap[child + 1], &l->heap[child])) child++;
    if (!before(&l->heap[child], &last)) break;
    l->heap[i] = l->heap[child];
  }
  l->heap[i] = last;
  return top;
}

bool merge_list_pop(struct merge_list *l, struct merge_pair *best) {
  while (l->n_heap > 0) {
    *best = take_first(l);
    const struct merge_symbol *s = &l->symbols[best->at];
    if (s->what == best->left && s->next >= 0 && l->symbols[s->next].what == best->right) return true;
  }
  return false;
}

void merge_list_join(struct merge_list *l, int32_t at, int32_t what) {
  struct merge_symbol *left = &l->symbols[at], *right = &l->symbols[left->next];
  left->what = what;
  left->next = right->next;
  right->what = MERGE_GONE;
  if (left->next >= 0) l->symbols[left->next].prev = at;
}
