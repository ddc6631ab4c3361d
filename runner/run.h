/* Private to the runner: a run in flight, shared by its workers. */
#ifndef SLUICE_RUNNER_RUN_H
#define SLUICE_RUNNER_RUN_H

#include "runner/record.h"

#include <pthread.h>

struct work_item {
  size_t cell;
  int64_t ordinal;
};
struct run {
  struct ledger *ledger;
  const struct plan *plan;
  struct run_options options;
  char id[LEDGER_RUN_ID];
  int64_t invocation_id;
  int64_t *cell_ids;    /* by plan cell */
  pthread_mutex_t lock; /* the ledger, and everything below */
  pthread_mutex_t data; /* readers of datasets need not be thread-safe */
  struct work_item *items;
  size_t n_items, next, last; /* next..last-1: what this wave of workers may take */
  struct progress progress;
  uint64_t finished;
  int64_t played, resumed, errors, errors_in_a_row;
  bool stop, out_of_time;
  sluice_status status; /* the first fatal one */
  struct sluice_error error;
  int64_t started_ns, deadline_ns; /* monotonic; 0: none */
};

/* ledger_run.c: the run's row and its cells, made or found. *complete: nothing is left to do. */
sluice_status run_enter(struct run *r, bool *complete, struct sluice_error *err);
sluice_status run_leave(struct run *r, int exit_code, struct sluice_error *err);
/* What is not final yet, or ended in an error that another try may cure. Fills items. */
sluice_status run_collect(struct run *r, struct sluice_error *err);

/* worker.c: one dialogue, from wherever it stands to its end. SLUICE_OK also when it ended in error, which is a row. */
sluice_status work_on(struct run *r, size_t cell, int64_t ordinal, size_t lane, struct sluice_error *err);

#endif
