/* Private to the runner: pairs of cells, and the scores in them. */
#ifndef SLUICE_RUNNER_COMPARE_H
#define SLUICE_RUNNER_COMPARE_H

#include "runner/runner.h"

struct compare_cell {
  int64_t id, seed, planned, finished, errors;
  const char *engine, *policy, *monitor, *benchmark, *label;
  bool paired;
};
/* One scored turn. Sorted by metric, scorer, sample, turn. */
struct compare_value {
  const char *metric, *scorer; /* scorer: "choice 1 rule=sum" */
  const char *sample, *name;   /* the dialogue's hash in hex; its id */
  uint64_t cluster;
  int64_t turn_no;
  double value;       /* NAN: unscored */
  const char *answer; /* what was chosen or written; "" */
};
struct compare_values {
  struct compare_value *at;
  size_t n;
};
/* Cells of a side that its filters let through; strings in the arena, the array malloc'd. */
sluice_status compare_load_cells(const struct compare_side *side, struct arena *memory, struct compare_cell **out,
                                 size_t *n, struct sluice_error *err);
sluice_status compare_load_values(struct ledger *l, int64_t cell_id, struct arena *memory, struct compare_values *out,
                                  struct sluice_error *err);
/* Did every dialogue that both cells finished come out the same to the byte? False when there is none. */
sluice_status compare_identical(struct ledger *a, int64_t cell_a, struct ledger *b, int64_t cell_b, bool *same,
                                struct sluice_error *err);
int compare_order(const struct compare_value *a, const struct compare_value *b);

#endif
