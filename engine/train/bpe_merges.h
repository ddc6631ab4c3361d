/* engine/train: counting words and learning merges. Private to engine/train. */
#ifndef SLUICE_ENGINE_TRAIN_BPE_MERGES_H
#define SLUICE_ENGINE_TRAIN_BPE_MERGES_H

#include "engine/tokenizer/tokenizer.h"

enum { BPE_SPECIALS = 5, BPE_MAX_VOCAB = 1 << 20 };

struct counted_word {
  uint64_t count;
  uint32_t start, len; /* in word_table.pool */
};

/* Every different word of the corpus, in order of first appearance. */
struct word_table {
  struct buffer pool;
  struct counted_word *words;
  size_t n, cap;
  uint32_t *slots; /* word index + 1; 0: empty */
  size_t mask;
};
sluice_status word_table_init(struct word_table *t, struct sluice_error *err);
sluice_status word_table_add(struct word_table *t, const char *word, size_t len, struct sluice_error *err);
struct slice word_table_at(const struct word_table *t, size_t index);
size_t word_table_find(const struct word_table *t, const char *word, size_t len); /* its index; SIZE_MAX: none */
void word_table_free(struct word_table *t);

struct bpe_pair {
  int32_t left, right;
};

/* What was learned. Token i of `tokens` has the id BPE_SPECIALS + i: first the 256 bytes in order, then one a merge,
 * except that a merge which makes the bytes of an earlier one shares its id. */
struct bpe_merges {
  struct word_table tokens;
  struct bpe_pair *merges; /* ids, in order of rank */
  size_t n_merges, cap_merges;
};
/* Merges until there are `vocab` ids, or no two tokens are left side by side in any word. */
sluice_status bpe_merges_learn(struct bpe_merges *m, const struct word_table *words, int vocab,
                               struct sluice_error *err);
int32_t bpe_merges_size(const struct bpe_merges *m);                   /* ids, with the specials */
struct slice bpe_merges_token(const struct bpe_merges *m, int32_t id); /* id >= BPE_SPECIALS */
void bpe_merges_free(struct bpe_merges *m);

#endif
