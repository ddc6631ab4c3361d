/* Peak KV bytes, and which (bytes, score) points no other point beats. */
#include "evaluators/evaluators.h"

#include <math.h>
#include <stdlib.h>

static int double_order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

sluice_status kv_bytes_summarise(const uint64_t *bytes, size_t n, struct kv_bytes_summary *out,
                                 struct sluice_error *err) {
  *out = (struct kv_bytes_summary){n, 0, NAN, NAN};
  if (n == 0) return SLUICE_OK;
  double *sorted = calloc(n, sizeof *sorted), sum = 0;
  if (!sorted) return sluice_fail(err, SLUICE_NOMEM, "KV bytes: no memory for %zu samples", n);
  for (size_t i = 0; i < n; i++) {
    sorted[i] = (double)bytes[i];
    sum += sorted[i];
    if (bytes[i] > out->max) out->max = bytes[i];
  }
  qsort(sorted, n, sizeof *sorted, double_order);
  out->mean = sum / (double)n;
  out->median = percentile7(sorted, n, 0.5);
  free(sorted);
  return SLUICE_OK;
}

void pareto_front(const double *bytes, const double *score, size_t n, unsigned char *keep) {
  for (size_t i = 0; i < n; i++) {
    keep[i] = !isnan(bytes[i]) && !isnan(score[i]);
    for (size_t j = 0; j < n && keep[i]; j++) {
      bool no_worse = bytes[j] <= bytes[i] && score[j] >= score[i];
      if (j != i && no_worse && (bytes[j] < bytes[i] || score[j] > score[i])) keep[i] = 0;
    }
  }
}
