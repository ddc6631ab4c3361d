/* From rows to estimates: a mean with its interval a policy and metric, by distance too, and differences from the
 * reference with p-values adjusted over the whole report (Holm). */
#include "reports/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scratch { /* of as many values as the longest score has rows */
  double *values, *weights;
  uint64_t *cluster;
};

static sluice_status scratch_make(const struct report *r, struct scratch *s, struct sluice_error *err) {
  size_t longest = 1;
  size_t n = REPORT_RUNS * r->n_facets * r->n_policies * r->n_columns;
  for (size_t i = 0; i < n; i++)
    if (r->scores[i].n_rows > longest) longest = r->scores[i].n_rows;
  *s = (struct scratch){calloc(longest, sizeof *s->values), calloc(longest, sizeof *s->weights),
                        calloc(longest, sizeof *s->cluster)};
  if (s->values && s->weights && s->cluster) return SLUICE_OK;
  return sluice_fail(err, SLUICE_NOMEM, "report: no memory for %zu values", longest);
}

static void scratch_free(struct scratch *s) {
  free(s->values);
  free(s->weights);
  free(s->cluster);
}

/* Weighted mean as a plain one: with D = sum w x / sum w, the values D + w (x - D) n / sum w have mean D and the
 * clustered error of the ratio (its linearisation). */
static void linearise(double *x, const double *w, size_t n) {
  double sum = 0, weight = 0;
  for (size_t i = 0; i < n; i++) sum += w[i] * x[i], weight += w[i];
  double mean = n ? sum / weight : 0;
  for (size_t i = 0; i < n; i++) x[i] = mean + w[i] * (x[i] - mean) * (double)n / weight;
}

static sluice_status estimate_values(const struct report *r, const struct report_column *c, struct scratch *s, size_t n,
                                     struct estimate *out, struct sluice_error *err) {
  if (c->bounded) return stat_rate(s->values, s->cluster, n, r->options.confidence, out, err);
  if (c->perplexity) linearise(s->values, s->weights, n);
  return stat_clustered_mean(s->values, s->cluster, n, 0, r->options.confidence, out, err);
}

static sluice_status by_distance(struct report *r, const struct report_column *c, struct report_score *score,
                                 struct scratch *s, struct sluice_error *err) {
  score->distances = arena_alloc(&r->memory, DISTANCE_BUCKETS * sizeof *score->distances);
  if (!score->distances) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for distances");
  for (int bucket = 0; bucket < DISTANCE_BUCKETS; bucket++) {
    size_t n = 0;
    for (size_t i = score->first; i < score->first + score->n_rows; i++) {
      const struct report_row *row = &r->rows[i];
      if (isnan(row->value) || distance_bucket(row->distance) != bucket) continue;
      s->values[n] = row->value;
      s->cluster[n++] = row->cluster;
    }
    if (!n) continue;
    struct report_bucket *b = &score->distances[score->n_distances++];
    distance_range(bucket, &b->low, &b->high);
    sluice_status status = estimate_values(r, c, s, n, &b->estimate, err);
    if (status) return status;
  }
  return SLUICE_OK;
}

static void find_best_trivial(struct report_score *score) {
  score->best_trivial = -1;
  for (size_t i = 0; i < score->n_trivial; i++) {
    if (!strcmp(score->trivial[i].name, "chance")) continue;
    if (score->best_trivial < 0 || score->trivial[i].value > score->trivial[score->best_trivial].value)
      score->best_trivial = (int)i;
  }
}

static sluice_status estimate_score(struct report *r, size_t index, struct scratch *s, struct sluice_error *err) {
  struct report_score *score = &r->scores[index];
  const struct report_column *c = &r->columns[index % r->n_columns];
  size_t n = 0;
  bool distances = false;
  find_best_trivial(score);
  score->p_adjusted = score->pair.p = NAN;
  for (size_t i = score->first; i < score->first + score->n_rows; i++) {
    const struct report_row *row = &r->rows[i];
    score->labels[row->label]++;
    score->unscored += isnan(row->value) ? 1 : 0;
    if (isnan(row->value)) continue;
    distances = distances || row->distance >= 0;
    s->values[n] = row->value;
    s->weights[n] = row->weight;
    s->cluster[n++] = row->cluster;
  }
  sluice_status status = estimate_values(r, c, s, n, &score->estimate, err);
  if (!status && distances && c->bounded) status = by_distance(r, c, score, s, err);
  return status;
}

sluice_status report_estimate(struct report *r, struct sluice_error *err) {
  struct scratch s;
  sluice_status status = scratch_make(r, &s, err);
  size_t n = REPORT_RUNS * r->n_facets * r->n_policies * r->n_columns;
  for (size_t i = 0; !status && i < n; i++) status = estimate_score(r, i, &s, err);
  scratch_free(&s);
  return status;
}

static int turn_order(const struct report_row *x, const struct report_row *y) {
  if (x->sample != y->sample) return x->sample < y->sample ? -1 : 1;
  if (x->seed != y->seed) return x->seed < y->seed ? -1 : 1;
  return x->turn_no < y->turn_no ? -1 : x->turn_no > y->turn_no;
}

/* Walks two sorted ranges; differences of the turns that both have a value for. Marks flips in the shown one's rows. */
static size_t pair_rows(struct report *r, const struct report_column *c, struct report_score *b,
                        const struct report_score *a, struct scratch *s) {
  size_t n = 0, i = a->first, j = b->first, end_i = a->first + a->n_rows, end_j = b->first + b->n_rows;
  while (i < end_i && j < end_j) {
    const struct report_row *x = &r->rows[i];
    struct report_row *y = &r->rows[j];
    int order = turn_order(x, y);
    if (order) {
      b->unpaired++;
      if (order < 0)
        i++;
      else
        j++;
      continue;
    }
    i++, j++;
    if (isnan(x->value) || isnan(y->value)) {
      b->unpaired += isnan(x->value) != isnan(y->value);
      continue;
    }
    s->values[n] = c->perplexity ? x->value - y->value : y->value - x->value;
    s->weights[n] = y->weight;
    s->cluster[n] = y->cluster;
    if (c->bounded) y->flip = (int8_t)((s->values[n] > 0) - (s->values[n] < 0));
    n++;
  }
  b->unpaired += (end_i - i) + (end_j - j);
  return n;
}

static sluice_status pair_score(struct report *r, size_t facet, size_t policy, size_t column, struct scratch *s,
                                struct sluice_error *err) {
  bool by_policy = r->reference_policy >= 0;
  struct report_score *b = &r->scores[score_index(r, RUN_SHOWN, facet, policy, column)];
  size_t at = by_policy ? score_index(r, RUN_SHOWN, facet, (size_t)r->reference_policy, column)
                        : score_index(r, RUN_BASELINE, facet, policy, column);
  const struct report_score *a = &r->scores[at];
  if (!b->present || a == b) return SLUICE_OK;
  if (!a->present) {
    r->incomparable++;
    return SLUICE_OK;
  }
  const struct report_column *c = &r->columns[column];
  size_t n = pair_rows(r, c, b, a, s);
  if (!n) {
    r->incomparable++;
    return SLUICE_OK;
  }
  if (c->perplexity) linearise(s->values, s->weights, n);
  sluice_status status =
      stat_paired(s->values, s->cluster, n, c->bounded ? 1 : 0, r->options.confidence, &b->pair, err);
  b->paired = !status;
  return status;
}

static sluice_status adjust(struct report *r, struct sluice_error *err) {
  size_t n = r->n_facets * r->n_policies * r->n_columns; /* the shown run's scores come first */
  double *p = calloc(n ? 2 * n : 1, sizeof *p);
  if (!p) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for %zu p-values", n);
  for (size_t i = 0; i < n; i++) p[i] = r->scores[i].paired ? r->scores[i].pair.p : NAN;
  sluice_status status = stat_holm(p, n, p + n, err);
  for (size_t i = 0; !status && i < n; i++) {
    struct report_score *s = &r->scores[i];
    s->p_adjusted = p[n + i];
    if (!s->paired) continue;
    s->verdict = stat_verdict(&s->pair.delta, s->p_adjusted, r->options.margin, r->options.min_effect,
                              1 - r->options.confidence);
    r->regressed += s->verdict == GATE_REGRESSED;
    r->passed += s->verdict == GATE_PASS;
    r->inconclusive += s->verdict == GATE_INCONCLUSIVE;
  }
  free(p);
  return status;
}

sluice_status report_pair(struct report *r, struct sluice_error *err) {
  struct scratch s;
  sluice_status status = scratch_make(r, &s, err);
  for (size_t f = 0; f < r->n_facets; f++)
    for (size_t p = 0; p < r->n_policies; p++)
      for (size_t c = 0; c < r->n_columns && !status; c++) status = pair_score(r, f, p, c, &s, err);
  scratch_free(&s);
  return status ? status : adjust(r, err);
}
