/* Private to datasets: what a generator or reader gives the registry. */
#ifndef SLUICE_DATASETS_DATASET_H
#define SLUICE_DATASETS_DATASET_H

#include "datasets/datasets.h"

enum { DATASET_KEYS_MAX = 12, DIALOGUES_DEFAULT = 500 };
/* One key of a dataset's spec. The registry parses and checks it, and spells it out in the canonical string. */
struct dataset_key {
  const char *name;
  const char *const *words; /* NULL-terminated choices; the value is the index. NULL: a number, or text (below) */
  bool is_text;             /* a path: dataset->text, required */
  int64_t fallback, min, max;
};
#define KEY_SEED                                                                                                       \
  { "seed", NULL, false, 1, 0, INT64_MAX }
#define KEY_DIALOGUES                                                                                                  \
  { "dialogues", NULL, false, DIALOGUES_DEFAULT, 1, 10000000 }
#define KEY_FILE                                                                                                       \
  { "file", NULL, true, 0, 0, 0 }

struct script; /* script.h */
struct dataset_kind {
  struct dataset_key keys[DATASET_KEYS_MAX]; /* ends with a NULL name */
  /* Readers: opens d->text, sets d->size and d->state. Generators leave it NULL: their size is the key "dialogues". */
  sluice_status (*open)(struct dataset *d, struct sluice_error *err);
  /* Writes dialogue i (< size) into s; failures stay in s. */
  void (*write)(const struct dataset *d, size_t i, struct script *s);
  void (*close)(struct dataset *d); /* frees d->state; NULL: none */
};
struct dataset {
  const struct dataset_info *info;
  const struct dataset_kind *kind;
  char *canonical;
  int64_t values[DATASET_KEYS_MAX]; /* in the order of kind->keys */
  char *text;                       /* value of the key that is text */
  size_t size;
  void *state;
};
/* One a dataset, each in its own file; registry.c has the table. */
extern const struct dataset_kind dataset_grocery, dataset_rps, dataset_streameval, dataset_next, dataset_story,
    dataset_sirllm_grocery, dataset_sirllm_rps, dataset_sirllm_dailydialog, dataset_longeval_lines;
/* The value of a key by name; 0 for a name that the kind does not have. */
int64_t dataset_value(const struct dataset *d, const char *key);

#endif
