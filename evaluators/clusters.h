/* Private to evaluators: values grouped by their unit of inference. */
#ifndef SLUICE_EVALUATORS_CLUSTERS_H
#define SLUICE_EVALUATORS_CLUSTERS_H

#include "evaluators/evaluators.h"

struct cluster_sum {
  double sum;
  size_t n;
};
/* Sums of values a cluster, in the order of cluster ids, so that the result does not depend on the samples' order
 * beyond rounding. cluster NULL: every value is its own. *out has *clusters items; the caller frees it. n > 0. */
sluice_status clusters_sum(const double *values, const uint64_t *cluster, size_t n, struct cluster_sum **out,
                           size_t *clusters, struct sluice_error *err);

#endif
