/* Private to the runner: making a plan. */
#ifndef SLUICE_RUNNER_PLAN_H
#define SLUICE_RUNNER_PLAN_H

#include "runner/runner.h"

/* plan_inputs.c */
sluice_status plan_open_engines(struct plan *p, struct sluice_error *err);
/* Index of the dataset that a benchmark means at a seed; opened once, shared by cells. */
sluice_status plan_open_dataset(struct plan *p, const struct suite_benchmark *b, int64_t seed, size_t *index,
                                struct sluice_error *err);
/* A path of the suite: absolute, or beside the suite file, or from where the command runs. In the plan's arena; NULL:
 * no memory. */
const char *plan_path(struct plan *p, const char *path);
/* "name:budget=25%" with the share of a mean dialogue's tokens written out. */
sluice_status plan_resolve_policy(struct plan *p, size_t engine, size_t dataset, const char *policy, const char **full,
                                  struct sluice_error *err);

/* estimate.c */
sluice_status plan_estimate(struct plan *p, bool probe, struct sluice_error *err);

#endif
