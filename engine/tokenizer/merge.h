/* Neighbours that merge, the best pair first, in near-linear time: a list of symbols and a heap of pairs. What a symbol
 * is and which pair is better is the caller's: ids and ranks in bpe.c, lengths and scores in scores.c. */
#ifndef SLUICE_ENGINE_TOKENIZER_MERGE_H
#define SLUICE_ENGINE_TOKENIZER_MERGE_H

#include "base/base.h"

enum { MERGE_GONE = -1 };
struct merge_symbol {
  int32_t what;       /* an id, or bytes; MERGE_GONE: merged into its left neighbour */
  int32_t prev, next; /* -1: none */
};

struct merge_pair {
  int32_t order;       /* lower merges first; of equal ones the leftmost */
  int32_t at;          /* the left symbol */
  int32_t left, right; /* what the two were when it was pushed: it is stale when they have changed */
};

/* One piece of text. Zeroed is empty; merge_list_free frees, and what is freed may be used again. */
struct merge_list {
  struct merge_symbol *symbols;
  struct merge_pair *heap;
  size_t room, n_heap;
};
/* Room for len symbols, and an empty heap. */
sluice_status merge_list_reserve(struct merge_list *l, size_t len, struct sluice_error *err);
void merge_list_free(struct merge_list *l);
/* Offers symbol `at`, which has a right neighbour, for merging with it. A symbol may be offered anew only when it or
 * its neighbour has changed. */
void merge_list_push(struct merge_list *l, int32_t at, int32_t order);
/* Takes the best pair that is not stale; false: there is none. */
bool merge_list_pop(struct merge_list *l, struct merge_pair *best);
/* Symbol `at` takes its right neighbour in and becomes `what`. */
void merge_list_join(struct merge_list *l, int32_t at, int32_t what);

#endif
