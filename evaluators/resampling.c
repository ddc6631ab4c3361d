/* What is found by enumeration or by resampling, and the correction for asking many questions at once. */
#include "evaluators/evaluators.h"
#include "evaluators/clusters.h"

#include <math.h>
#include <stdlib.h>

/* Counts sign patterns of sums[at..] whose total, on top of `partial`, is at least as far from zero as `bar`. Depth is
 * at most 20; summing along the path keeps rounding at a few units, which a running Gray-code total would not. */
static uint64_t flips_beyond(const double *sums, size_t clusters, size_t at, double partial, double bar) {
  if (at == clusters) return fabs(partial) >= bar;
  return flips_beyond(sums, clusters, at + 1, partial + sums[at], bar) +
         flips_beyond(sums, clusters, at + 1, partial - sums[at], bar);
}

double stat_sign_flip(const double *cluster_sums, size_t clusters) {
  if (clusters == 0 || clusters > 20) return NAN;
  double total = 0, size = 0;
  for (size_t c = 0; c < clusters; c++) {
    total += cluster_sums[c];
    size += fabs(cluster_sums[c]);
  }
  uint64_t beyond = flips_beyond(cluster_sums, clusters, 0, 0, fabs(total) - 1e-12 * size);
  return (double)beyond / (double)(UINT64_C(1) << clusters);
}

static int double_order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void draw_means(const struct cluster_sum *sums, size_t clusters, size_t resamples, uint64_t seed,
                       double *means) {
  struct rng rng;
  rng_seed_named(&rng, seed, "bootstrap");
  for (size_t r = 0; r < resamples; r++) {
    double sum = 0;
    size_t n = 0;
    for (size_t c = 0; c < clusters; c++) {
      const struct cluster_sum *pick = &sums[rng_below(&rng, (uint32_t)clusters)];
      sum += pick->sum;
      n += pick->n;
    }
    means[r] = sum / (double)n;
  }
}

sluice_status stat_bootstrap(const double *values, const uint64_t *cluster, size_t n, size_t resamples, uint64_t seed,
                             double confidence, struct estimate *out, struct sluice_error *err) {
  *out = (struct estimate){NAN, NAN, NAN, NAN, n, 0, "none"};
  if (n == 0) return SLUICE_OK;
  if (resamples < 100 || resamples > 1000000)
    return sluice_fail(err, SLUICE_USAGE, "bootstrap: %zu resamples, expected 100 to 1000000", resamples);
  struct cluster_sum *sums;
  size_t clusters;
  sluice_status status = clusters_sum(values, cluster, n, &sums, &clusters, err);
  if (status != SLUICE_OK) return status;
  double *means = calloc(resamples, sizeof *means);
  if (!means || clusters > UINT32_MAX) {
    free(sums);
    free(means);
    return sluice_fail(err, SLUICE_NOMEM, "bootstrap: no memory for %zu resamples", resamples);
  }
  draw_means(sums, clusters, resamples, seed, means);
  qsort(means, resamples, sizeof *means, double_order);
  double total = 0, squares = 0;
  for (size_t c = 0; c < clusters; c++) total += sums[c].sum;
  out->value = total / (double)n;
  for (size_t r = 0; r < resamples; r++) squares += (means[r] - out->value) * (means[r] - out->value);
  out->clusters = clusters;
  out->lo = percentile7(means, resamples, (1 - confidence) / 2);
  out->hi = percentile7(means, resamples, (1 + confidence) / 2);
  out->se = sqrt(squares / (double)resamples);
  out->method = "cluster bootstrap";
  if (clusters < 2 || !(out->hi - out->lo > 1e-12 * fabs(out->value))) { /* no spread is no evidence */
    out->lo = -INFINITY;
    out->hi = INFINITY;
    out->se = NAN;
    out->method = "no spread";
  }
  free(sums);
  free(means);
  return SLUICE_OK;
}

struct ranked {
  double p;
  size_t index;
};

static int ranked_order(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  if (x->p < y->p || x->p > y->p) return x->p < y->p ? -1 : 1;
  return x->index < y->index ? -1 : x->index > y->index;
}

/* The p-values that are numbers, ascending; *m of them. NULL: no memory. */
static struct ranked *rank(const double *p, size_t n, size_t *m) {
  struct ranked *order = calloc(n ? n : 1, sizeof *order);
  *m = 0;
  if (!order) return NULL;
  for (size_t i = 0; i < n; i++)
    if (!isnan(p[i])) order[(*m)++] = (struct ranked){p[i], i};
  qsort(order, *m, sizeof *order, ranked_order);
  return order;
}

sluice_status stat_holm(const double *p, size_t n, double *adjusted, struct sluice_error *err) {
  size_t m;
  struct ranked *order = rank(p, n, &m);
  if (!order) return sluice_fail(err, SLUICE_NOMEM, "Holm: no memory for %zu values", n);
  for (size_t i = 0; i < n; i++) adjusted[i] = NAN;
  double worst = 0;
  for (size_t i = 0; i < m; i++) {
    worst = fmax(worst, fmin(1, (double)(m - i) * order[i].p));
    adjusted[order[i].index] = worst;
  }
  free(order);
  return SLUICE_OK;
}

sluice_status stat_benjamini_hochberg(const double *p, size_t n, double *adjusted, struct sluice_error *err) {
  size_t m;
  struct ranked *order = rank(p, n, &m);
  if (!order) return sluice_fail(err, SLUICE_NOMEM, "Benjamini-Hochberg: no memory for %zu values", n);
  for (size_t i = 0; i < n; i++) adjusted[i] = NAN;
  double best = 1;
  for (size_t i = m; i-- > 0;) {
    best = fmin(best, (double)m / (double)(i + 1) * order[i].p);
    adjusted[order[i].index] = best;
  }
  free(order);
  return SLUICE_OK;
}
