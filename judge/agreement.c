/* How far raters agree beyond chance: Cohen's kappa for two, Krippendorff's alpha for any number with gaps. */
#include "judge/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_DRAWS 1000

/* counts: [k*k], row a, column b. */
static void kappa_of_counts(const double *counts, int k, double n, double *raw, double *by_chance, double *kappa) {
  double same = 0, chance = 0;
  for (int i = 0; i < k; i++) {
    double row = 0, column = 0;
    for (int j = 0; j < k; j++) {
      row += counts[i * k + j];
      column += counts[j * k + i];
    }
    same += counts[i * k + i];
    chance += row * column;
  }
  *raw = n > 0 ? same / n : NAN;
  *by_chance = n > 0 ? chance / (n * n) : NAN;
  *kappa = n > 0 && *by_chance < 1 ? (*raw - *by_chance) / (1 - *by_chance) : NAN;
}

static bool both_rated(const int *a, const int *b, size_t i, int k) {
  return a[i] >= 0 && a[i] < k && b[i] >= 0 && b[i] < k;
}

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

struct keyed_item {
  uint64_t cluster;
  size_t item;
};
static int by_cluster(const void *x, const void *y) {
  const struct keyed_item *a = x, *b = y;
  if (a->cluster != b->cluster) return a->cluster < b->cluster ? -1 : 1;
  return a->item < b->item ? -1 : a->item > b->item;
}

/* Draws whole clusters with replacement. starts: [clusters+1] into items. draws: [BOOTSTRAP_DRAWS]. */
static void bootstrap_kappa(const int *a, const int *b, const struct keyed_item *items, const size_t *starts,
                            size_t clusters, int k, uint64_t seed, double *counts, double *draws,
                            struct agreement *out) {
  struct rng r;
  size_t kept = 0;
  rng_seed_named(&r, seed, "kappa");
  for (int d = 0; d < BOOTSTRAP_DRAWS; d++) {
    double n = 0, raw, chance, kappa;
    memset(counts, 0, (size_t)k * (size_t)k * sizeof *counts);
    for (size_t c = 0; c < clusters; c++) {
      size_t pick = rng_below(&r, (uint32_t)clusters);
      for (size_t i = starts[pick]; i < starts[pick + 1]; i++, n++) counts[a[items[i].item] * k + b[items[i].item]]++;
    }
    kappa_of_counts(counts, k, n, &raw, &chance, &kappa);
    if (!isnan(kappa)) draws[kept++] = kappa;
  }
  if (kept < BOOTSTRAP_DRAWS / 2) return;
  qsort(draws, kept, sizeof *draws, by_value);
  out->lo = draws[(size_t)(0.025 * (double)(kept - 1))];
  out->hi = draws[(size_t)ceil(0.975 * (double)(kept - 1))];
}

sluice_status agreement_of_two(const int *a, const int *b, const uint64_t *cluster, size_t n, int k, uint64_t seed,
                               struct agreement *out, struct sluice_error *err) {
  *out = (struct agreement){.raw = NAN, .by_chance = NAN, .kappa = NAN, .lo = NAN, .hi = NAN};
  if (k < 1 || k > 1000 || n > UINT32_MAX)
    return sluice_fail(err, SLUICE_USAGE, "agreement needs 1 to 1000 labels, not %d", k);
  double *counts = calloc((size_t)k * (size_t)k, sizeof *counts);
  double *draws = calloc(BOOTSTRAP_DRAWS, sizeof *draws);
  struct keyed_item *items = calloc(n + 1, sizeof *items);
  size_t *starts = calloc(n + 2, sizeof *starts);
  sluice_status st = SLUICE_OK;
  if (counts == NULL || draws == NULL || items == NULL || starts == NULL) {
    st = sluice_fail(err, SLUICE_NOMEM, "no memory for the agreement of %zu items", n);
  } else {
    size_t clusters = 0;
    for (size_t i = 0; i < n; i++) {
      if (!both_rated(a, b, i, k)) continue;
      counts[a[i] * k + b[i]]++;
      items[out->n++] = (struct keyed_item){cluster != NULL ? cluster[i] : i, i};
    }
    kappa_of_counts(counts, k, (double)out->n, &out->raw, &out->by_chance, &out->kappa);
    qsort(items, out->n, sizeof *items, by_cluster);
    for (size_t i = 0; i < out->n; i++) {
      if (i == 0 || items[i].cluster != items[i - 1].cluster) starts[clusters++] = i;
    }
    starts[clusters] = out->n;
    if (clusters > 1) bootstrap_kappa(a, b, items, starts, clusters, k, seed, counts, draws, out);
  }
  free(counts);
  free(draws);
  free(items);
  free(starts);
  return st;
}

/* ---- Krippendorff --------------------------------------------------------------------------------------------- */
/* Squared distance of the c-th and d-th value; totals: how often each value was given, for the ordinal metric. */
static double distance(enum alpha_level level, const double *values, const double *totals, size_t c, size_t d) {
  if (c == d) return 0;
  if (level == ALPHA_NOMINAL) return 1;
  if (level == ALPHA_INTERVAL) return (values[c] - values[d]) * (values[c] - values[d]);
  double between = -(totals[c] + totals[d]) / 2;
  for (size_t g = c < d ? c : d; g <= (c < d ? d : c); g++) between += totals[g];
  return between * between;
}

static size_t rank_of(const double *values, size_t n, double v) {
  size_t low = 0, high = n;
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (values[middle] <= v)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/* The coincidence matrix [v*v]: each ordered pair inside a unit counts 1/(m-1). */
static double coincidences(const double *ratings, size_t raters, size_t items, const double *values, size_t v,
                           double *matrix, double *totals) {
  double n = 0;
  for (size_t i = 0; i < items; i++) {
    size_t m = 0;
    for (size_t r = 0; r < raters; r++) m += isnan(ratings[r * items + i]) ? 0 : 1;
    for (size_t r = 0; r < raters && m > 1; r++) {
      if (isnan(ratings[r * items + i])) continue;
      size_t c = rank_of(values, v, ratings[r * items + i]);
      totals[c]++;
      n++;
      for (size_t s = 0; s < raters; s++) {
        if (s == r || isnan(ratings[s * items + i])) continue;
        matrix[c * v + rank_of(values, v, ratings[s * items + i])] += 1.0 / (double)(m - 1);
      }
    }
  }
  return n;
}

sluice_status agreement_alpha(const double *ratings, size_t raters, size_t items, enum alpha_level level, double *alpha,
                              struct sluice_error *err) {
  size_t v = 0, all = raters * items;
  *alpha = NAN;
  double *values = calloc(all + 1, sizeof *values);
  if (values == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu ratings", all);
  for (size_t i = 0; i < all; i++) {
    if (!isnan(ratings[i])) values[v++] = ratings[i];
  }
  qsort(values, v, sizeof *values, by_value);
  size_t distinct = 0;
  for (size_t i = 0; i < v; i++) {
    if (distinct == 0 || values[i] > values[distinct - 1]) values[distinct++] = values[i];
  }
  if (distinct > 4096) {
    free(values);
    return sluice_fail(err, SLUICE_LIMIT, "alpha over %zu distinct values: at most 4096 (round them first)", distinct);
  }
  double *matrix = calloc(distinct * distinct + 1, sizeof *matrix), *totals = calloc(distinct + 1, sizeof *totals);
  sluice_status st = SLUICE_OK;
  if (matrix == NULL || totals == NULL) {
    st = sluice_fail(err, SLUICE_NOMEM, "no memory for %zu distinct ratings", distinct);
  } else {
    double seen = 0, expected = 0;
    double n = coincidences(ratings, raters, items, values, distinct, matrix, totals);
    for (size_t c = 0; c < distinct; c++) {
      for (size_t d = 0; d < distinct; d++) {
        double far = distance(level, values, totals, c, d);
        seen += matrix[c * distinct + d] * far;
        expected += totals[c] * totals[d] * far;
      }
    }
    if (n > 1 && expected > 0) *alpha = 1 - (n - 1) * seen / expected;
  }
  free(values);
  free(matrix);
  free(totals);
  return st;
}
