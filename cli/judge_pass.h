/* Judging what a ledger holds: which turns, what the judge is shown of each, and the rows that come of it. */
#ifndef SLUICE_CLI_JUDGE_PASS_H
#define SLUICE_CLI_JUDGE_PASS_H

#include "judge/judge.h"
#include "ledger/ledger.h"

extern const struct judge_scanner judge_monitor_scanner; /* cli/judge_scanner.c */

struct judge_pass {
  struct ledger *ledger;
  struct judge *judge;
  int64_t scorer_id;
  char run_a[LEDGER_RUN_ID], run_b[LEDGER_RUN_ID]; /* run_b "": pointwise */
  const char *metric;                              /* only turns with this metric; NULL: all */
  const char *policy_a, *policy_b; /* pairwise inside one run: these cells; NULL: the same cell of both runs */
  int64_t limit;                   /* turns at most; 0: all */
  int64_t context;                 /* messages of the dialogue that the judge is shown */
};
struct judge_counts {
  uint64_t turns, already, scored, unscored, refused, errors;
  uint64_t verdicts[26];                     /* by the menu's order */
  double value;                              /* sum over scored */
  uint64_t wins, ties, losses, inconsistent; /* pairwise: of a */
  struct agreement agreement; /* pointwise: with the metric's own right and wrong; n 0 when there is none */
};
/* Judges every turn that this judge has not judged yet; errors of an earlier pass are tried again. Commits about once a
 * second, so that an interrupt loses no more than that. */
sluice_status judge_pass_run(const struct judge_pass *p, struct judge_counts *counts, struct sluice_error *err);

#endif
