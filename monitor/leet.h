/* Private to monitor/: digits and signs that stand for letters inside words. The text keeps its length, so offsets are
 * those of the text it is made from. */
#ifndef SLUICE_MONITOR_LEET_H
#define SLUICE_MONITOR_LEET_H

#include "monitor/stream.h"

enum { LEET_RUN = 4 /* a longer run of digits and signs is a number, not letters */ };

struct leet {
  uint64_t *changed; /* offsets of bytes that became letters, ascending */
  size_t n, cap;
  bool any;                  /* one has since it began */
  bool after_letter, number; /* what came before the run; the run is too long to be letters */
  char run[LEET_RUN];
  unsigned n_run; /* bytes that wait for what follows */
};
void leet_begin(struct leet *l, const struct view *same); /* the text so far is `same`, whole */
void leet_free(struct leet *l);
sluice_status leet_append(struct leet *l, struct view *out, struct slice text, uint64_t keep_from,
                          struct sluice_error *err);
sluice_status leet_end(struct leet *l, struct view *out, struct sluice_error *err); /* as if the text ended */
bool leet_covers_change(const struct leet *l, uint64_t start, uint64_t end);
void leet_drop(struct leet *l, uint64_t before);
/* Whether a byte of the text from `from` on becomes a letter, or could when more comes. */
bool leet_is_needed(const struct view *text, uint64_t from);

#endif
