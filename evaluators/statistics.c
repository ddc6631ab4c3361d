/* Intervals, paired differences and the verdict. Evan Miller, "Adding Error Bars to Evals" (2024), with the
 * finite-cluster correction and t on C-1 degrees of freedom; Wilson (1927); Korn and Graubard (1998) for the effective
 * sample size. */
#include "evaluators/evaluators.h"
#include "evaluators/clusters.h"

#include <math.h>
#include <stdlib.h>

struct keyed_value {
  uint64_t key;
  size_t index;
  double value;
};

static int keyed_order(const void *a, const void *b) {
  const struct keyed_value *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return x->index < y->index ? -1 : x->index > y->index;
}

sluice_status clusters_sum(const double *values, const uint64_t *cluster, size_t n, struct cluster_sum **out,
                           size_t *clusters, struct sluice_error *err) {
  struct keyed_value *sorted = calloc(n, sizeof *sorted);
  struct cluster_sum *sums = calloc(n, sizeof *sums);
  if (!sorted || !sums) {
    free(sorted);
    free(sums);
    return sluice_fail(err, SLUICE_NOMEM, "statistics: no memory for %zu values", n);
  }
  for (size_t i = 0; i < n; i++) sorted[i] = (struct keyed_value){cluster ? cluster[i] : i, i, values[i]};
  qsort(sorted, n, sizeof *sorted, keyed_order);
  size_t count = 0;
  for (size_t i = 0; i < n; i++) {
    if (i == 0 || sorted[i].key != sorted[i - 1].key) count++;
    sums[count - 1].sum += sorted[i].value;
    sums[count - 1].n++;
  }
  free(sorted);
  *out = sums;
  *clusters = count;
  return SLUICE_OK;
}

/* Wilson's interval for a share p seen on a (possibly fractional) n with quantile z. */
static void wilson_bounds(double p, double n, double z, double *lo, double *hi) {
  double z2 = z * z, centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  double half = z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);
  *lo = fmax(0, centre - half);
  *hi = fmin(1, centre + half);
  if (p <= 0) *lo = 0; /* exact, where rounding left 1e-17 */
  if (p >= 1) *hi = 1;
}

struct estimate stat_wilson(size_t k, size_t n, double confidence) {
  struct estimate e = {NAN, NAN, NAN, NAN, n, n, "wilson"};
  if (n == 0) return e;
  e.value = (double)k / (double)n;
  e.se = sqrt(e.value * (1 - e.value) / (double)n);
  wilson_bounds(e.value, (double)n, normal_quantile(0.5 + confidence / 2), &e.lo, &e.hi);
  return e;
}

/* Sum over clusters of the squared sum of deviations from the mean, with the finite-cluster correction; 0 for C < 2. */
static double clustered_variance(const struct cluster_sum *sums, size_t clusters, double mean, size_t n) {
  double total = 0;
  for (size_t c = 0; c < clusters; c++) {
    double deviation = sums[c].sum - mean * (double)sums[c].n;
    total += deviation * deviation;
  }
  if (clusters < 2) return 0;
  double correction = (double)clusters / (double)(clusters - 1);
  return correction * total / ((double)n * (double)n);
}

static double mean_of(const double *values, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += values[i];
  return sum / (double)n;
}

static double squared_spread(const double *values, size_t n, double mean) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (values[i] - mean) * (values[i] - mean);
  return sum;
}

sluice_status stat_rate(const double *values, const uint64_t *cluster, size_t n, double confidence,
                        struct estimate *out, struct sluice_error *err) {
  *out = (struct estimate){NAN, NAN, NAN, NAN, n, 0, "none"};
  if (n == 0) return SLUICE_OK;
  struct cluster_sum *sums;
  size_t clusters;
  sluice_status status = clusters_sum(values, cluster, n, &sums, &clusters, err);
  if (status != SLUICE_OK) return status;
  double mean = mean_of(values, n), spread = squared_spread(values, n, mean), n_effective = (double)n;
  double z = normal_quantile(0.5 + confidence / 2), variance = clustered_variance(sums, clusters, mean, n);
  free(sums);
  out->method = "wilson";
  if (clusters < n) {
    out->method = "clustered wilson";
    double simple = n > 1 ? spread / (double)(n - 1) / (double)n : 0;
    if (clusters < 2 || simple <= 0)
      n_effective = (double)clusters;
    else if (variance > simple)
      n_effective = fmax(1, (double)n * simple / variance);
    z = clusters > 1 ? t_quantile(0.5 + confidence / 2, (double)(clusters - 1)) : z;
  }
  out->value = mean;
  out->clusters = clusters;
  out->se = clusters > 1 ? sqrt(variance) : NAN;
  wilson_bounds(mean, n_effective, z, &out->lo, &out->hi);
  return SLUICE_OK;
}

/* Half-width where C clusters showed no spread: a share of clusters that differ above 1 - (alpha/2)^(1/C) would have
 * shown itself with probability 1 - alpha/2. */
static double agreement_bound(size_t clusters, double range, double confidence) {
  if (range <= 0) return INFINITY;
  return range * (1 - pow((1 - confidence) / 2, 1 / (double)clusters));
}

sluice_status stat_clustered_mean(const double *values, const uint64_t *cluster, size_t n, double range,
                                  double confidence, struct estimate *out, struct sluice_error *err) {
  *out = (struct estimate){NAN, NAN, NAN, NAN, n, 0, "none"};
  if (n == 0) return SLUICE_OK;
  struct cluster_sum *sums;
  size_t clusters;
  sluice_status status = clusters_sum(values, cluster, n, &sums, &clusters, err);
  if (status != SLUICE_OK) return status;
  double mean = mean_of(values, n), se = sqrt(clustered_variance(sums, clusters, mean, n)), half;
  free(sums);
  /* A spread below rounding is none: 0.1 summed ten times must not look like evidence. */
  bool spread = clusters > 1 && se > 1e-12 * (fabs(mean) + 1e-300) && se > 1e-300;
  if (spread) {
    out->method = cluster ? "clustered t" : "t";
    half = t_quantile(0.5 + confidence / 2, (double)(clusters - 1)) * se;
  } else {
    out->method = "no spread";
    half = agreement_bound(clusters, range, confidence);
  }
  out->value = mean;
  out->se = spread ? se : NAN;
  out->clusters = clusters;
  out->lo = mean - half;
  out->hi = mean + half;
  if (range > 0) {
    out->lo = fmax(out->lo, -range);
    out->hi = fmin(out->hi, range);
  }
  return SLUICE_OK;
}

double stat_mcnemar(size_t b, size_t c) {
  size_t n = b + c, k = b < c ? b : c;
  if (n == 0) return 1;
  /* P(X <= k) for X ~ Binomial(n, 1/2) is I_{1/2}(n-k, k+1). */
  return fmin(1, 2 * beta_incomplete((double)(n - k), (double)k + 1, 0.5));
}

double stat_mde(double se, double df, double alpha, double power) {
  if (isnan(se) || df <= 0) return NAN;
  return (t_quantile(1 - alpha / 2, df) + t_quantile(power, df)) * se;
}

static sluice_status paired_p(const double *d, const uint64_t *cluster, size_t n, struct paired *out,
                              struct sluice_error *err) {
  size_t clusters = out->delta.clusters;
  bool unit = true;
  for (size_t i = 0; i < n; i++) unit = unit && (d[i] == 0 || fabs(d[i]) == 1);
  if (clusters > 20 && clusters == n && unit) {
    out->p = stat_mcnemar(out->up, out->down);
    out->p_method = "mcnemar";
    return SLUICE_OK;
  }
  if (clusters > 20 && isnan(out->delta.se)) { /* every cluster agrees: only the all-same sign patterns are as far */
    out->p = out->delta.value == 0 ? 1 : 2 * pow(0.5, (double)clusters);
    out->p_method = "sign-flip";
    return SLUICE_OK;
  }
  if (clusters > 20) {
    double t = out->delta.se > 0 ? fabs(out->delta.value) / out->delta.se : 0;
    out->p = 2 * t_cdf(-t, (double)(clusters - 1));
    out->p_method = "t";
    return SLUICE_OK;
  }
  struct cluster_sum *sums;
  sluice_status status = clusters_sum(d, cluster, n, &sums, &clusters, err);
  if (status != SLUICE_OK) return status;
  double totals[20];
  for (size_t c = 0; c < clusters; c++) totals[c] = sums[c].sum;
  free(sums);
  out->p = stat_sign_flip(totals, clusters);
  out->p_method = "sign-flip";
  return SLUICE_OK;
}

sluice_status stat_paired(const double *d, const uint64_t *cluster, size_t n, double range, double confidence,
                          struct paired *out, struct sluice_error *err) {
  *out = (struct paired){.p = NAN, .p_method = "none", .mde = NAN};
  sluice_status status = stat_clustered_mean(d, cluster, n, range, confidence, &out->delta, err);
  if (status != SLUICE_OK || n == 0) return status;
  for (size_t i = 0; i < n; i++) {
    out->up += d[i] > 0;
    out->down += d[i] < 0;
    out->equal += d[i] == 0;
  }
  if (isnan(out->delta.se)) {
    double bound = agreement_bound(out->delta.clusters, range, confidence);
    out->mde = isinf(bound) ? NAN : bound;
  } else {
    out->mde = stat_mde(out->delta.se, (double)(out->delta.clusters - 1), 1 - confidence, 0.8);
  }
  return paired_p(d, cluster, n, out, err);
}

const char *gate_verdict_name(enum gate_verdict v) {
  static const char *const names[] = {"PASS", "REGRESSED", "INCONCLUSIVE"};
  return names[v];
}

enum gate_verdict stat_verdict(const struct estimate *delta, double p_adjusted, double margin, double min_effect,
                               double alpha) {
  if (isnan(delta->value) || !isfinite(delta->lo) || !isfinite(delta->hi)) return GATE_INCONCLUSIVE;
  if (delta->hi > delta->lo && delta->lo > -margin) return GATE_PASS;
  if (delta->hi < 0 && fabs(delta->value) >= min_effect && p_adjusted < alpha) return GATE_REGRESSED;
  return GATE_INCONCLUSIVE;
}
