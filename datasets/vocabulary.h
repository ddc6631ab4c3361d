/* Words of the generated world. Every set is cut in two: training text draws from `train` (and from invented words),
 * the benchmarks draw from `test`, and no word stands in both, so that recalling one is copying and never remembering.
 */
#ifndef SLUICE_DATASETS_VOCABULARY_H
#define SLUICE_DATASETS_VOCABULARY_H

enum word_kind {
  WORD_GROCERY,
  WORD_NAME,
  WORD_CITY,
  WORD_JOB, /* all begin with a consonant, so that "a" fits */
  WORD_PET, /* given names of pets */
  WORD_DRINK,
  WORD_COLOUR,
  WORD_HOBBY, /* gerunds */
  WORD_INSTRUMENT,
  WORD_LANGUAGE,
  WORD_OBJECT,
  WORD_KINDS
};
struct word_set {
  const char *what;                       /* plural noun, for messages */
  const char *const *train, *const *test; /* NULL-terminated */
  int capital;                            /* 1: invented words of this set begin with a capital letter */
};
const struct word_set *vocabulary(enum word_kind kind);

/* Common knowledge that training and benchmarks share: categories with their members, and pairs of opposites. */
struct word_category {
  const char *question;       /* "Which of these is an animal?" */
  const char *const *members; /* NULL-terminated; no word stands in two categories */
};
const struct word_category *word_categories(int *n);
struct word_pair {
  const char *a, *b;
};
const struct word_pair *word_opposites(int *n);

int word_count(const char *const *words);

#endif
