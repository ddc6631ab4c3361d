/* Private to monitor/: raw text -> folded text as it comes, with an exact map back. */
#ifndef SLUICE_MONITOR_FOLD_H
#define SLUICE_MONITOR_FOLD_H

#include "monitor/stream.h"

enum {
  FOLD_REMOVED_RUN =
      64 /* more removed characters in a row stand as one U+001A, so that a match has a longest raw span */
};

/* One place where folded text differs from raw text; between marks both are the same bytes. */
struct fold_mark {
  uint64_t folded, raw;
  uint16_t n_folded, n_raw; /* n_folded 0: removed */
};
struct fold_map {
  struct fold_mark *marks; /* ascending */
  size_t n, cap;
  uint64_t shift; /* raw minus folded offset before the first mark (modulo 2^64) */
};
uint64_t fold_raw_start(const struct fold_map *m, uint64_t folded); /* of the raw character that this byte came from */
uint64_t fold_raw_end(const struct fold_map *m, uint64_t folded);   /* behind the one that the byte before came from */
/* Whether a character that folding changed or removed lies in [start, end). */
bool fold_covers_change(const struct fold_map *m, uint64_t start, uint64_t end);
sluice_status fold_map_add(struct fold_map *m, const struct fold_mark *mark, struct sluice_error *err);
void fold_map_free(struct fold_map *m);
void fold_map_drop(struct fold_map *m, uint64_t folded); /* what lies before is not asked for any more */

struct folder {
  struct fold_map map;
  uint64_t raw_end; /* every raw byte before it stands in the view */
  unsigned removed_run;
};
void fold_begin(struct folder *f, uint64_t at); /* up to offset `at` raw and folded text are the same */
void fold_free(struct folder *f);
/* Whole valid characters, the next of the raw text. */
sluice_status fold_append(struct folder *f, struct view *out, struct slice raw, uint64_t keep_from,
                          struct sluice_error *err);
bool fold_is_needed(struct slice raw); /* whether folding changes one of these characters */

#endif
