/* Draws the words of one generated dialogue: no word twice, train and test words apart. */
#ifndef SLUICE_DATASETS_CAST_H
#define SLUICE_DATASETS_CAST_H

#include "base/base.h"
#include "datasets/phrases.h"
#include "datasets/vocabulary.h"

enum { CAST_MAX = 4096 }; /* words remembered; later draws may repeat */
struct cast {
  struct rng rng;
  struct arena *memory; /* owns drawn words; outlives the cast */
  bool held_out;        /* true: test words and numbers; false: training ones, half of the words invented */
  const char *used[CAST_MAX];
  int n_used;
  unsigned char used_numbers[10000 / 8]; /* bit per number */
};
void cast_begin(struct cast *c, struct arena *memory, uint64_t seed, const char *stream, bool held_out);
/* A word of this kind that the dialogue does not hold yet (any word of the kind when all are used). NULL: no memory. */
const char *cast_word(struct cast *c, enum word_kind kind);
/* A four-digit number on this side of the split, as text. NULL: no memory. */
const char *cast_number(struct cast *c);
/* cast_word, or cast_number for WORD_KINDS. */
const char *cast_value(struct cast *c, enum word_kind kind);
/* Numbers 1000..9999 are split by a hash of their digits; one in five is held out from training. */
bool number_is_held_out(int number);
const char *pick_phrase(struct rng *r, enum phrase_kind kind);
const char *pick_from(struct rng *r, struct phrases p);
/* Fisher-Yates over n ints. */
void shuffle_ints(struct rng *r, int *items, int n);

#endif
