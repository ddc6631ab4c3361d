/* Two runs, or two policies of one: the same turns, paired; differences with dialogue-clustered intervals; a verdict
 * that says "inconclusive" when it is (Miller 2024; Holm 1979). */
#include "runner/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "no memory for a comparison");
}

/* Mean surprisal is the one metric where less is better, and the one without right and wrong. */
static bool is_surprisal(const char *scorer) {
  return !strncmp(scorer, "perplexity ", 11);
}

struct matching {
  const struct compare_side *a, *b;
  struct comparison *out;
};

static sluice_status add_row(struct comparison *c, const struct compare_row *row, struct sluice_error *err) {
  if (c->n_rows == c->cap_rows) {
    size_t cap = c->cap_rows ? 2 * c->cap_rows : 32;
    struct compare_row *grown = realloc(c->rows, cap * sizeof *grown);
    if (!grown) return no_memory(err);
    c->rows = grown;
    c->cap_rows = cap;
  }
  c->rows[c->n_rows++] = *row;
  return SLUICE_OK;
}

/* The same word on both sides, unless both sides were filtered by it: then that is what is compared. */
static bool pairs(const char *filter_a, const char *filter_b, const char *a, const char *b) {
  return (filter_a && filter_b) || !strcmp(a, b);
}

static bool cells_pair(const struct matching *m, const struct compare_cell *a, const struct compare_cell *b) {
  return a->seed == b->seed && !strcmp(a->benchmark, b->benchmark) &&
         pairs(m->a->engine, m->b->engine, a->engine, b->engine) &&
         pairs(m->a->policy, m->b->policy, a->policy, b->policy) &&
         pairs(m->a->monitor, m->b->monitor, a->monitor, b->monitor);
}

/* ---- one pair of cells, one metric
 * ------------------------------------------------------------------------------------ */

struct paired_values {
  double *d;
  uint64_t *cluster;
  struct compare_flip *flips;
  size_t n;
};

static int worse_first(const void *x, const void *y) {
  const struct compare_flip *a = x, *b = y;
  bool worse_a = a->b < a->a, worse_b = b->b < b->a;
  if (worse_a != worse_b) return worse_a ? -1 : 1;
  int order = strcmp(a->dialogue, b->dialogue);
  return order ? order : (a->turn_no > b->turn_no) - (a->turn_no < b->turn_no);
}

static void pair_one(struct compare_row *row, struct paired_values *p, const struct compare_value *a,
                     const struct compare_value *b) {
  if (!isfinite(a->value) || !isfinite(b->value)) {
    row->only_a += isfinite(a->value) ? 1 : 0;
    row->only_b += isfinite(b->value) ? 1 : 0;
    return;
  }
  p->d[p->n] = row->lower_is_better ? a->value - b->value : b->value - a->value;
  p->cluster[p->n++] = a->cluster;
  row->a += a->value;
  row->b += b->value;
  if (row->lower_is_better || a->value == b->value) return;
  row->worse += b->value < a->value;
  row->better += b->value > a->value;
  p->flips[row->n_flips++] = (struct compare_flip){a->name, a->answer, b->answer, a->turn_no, a->value, b->value};
}

/* Walks both sorted groups at once. */
static void pair_all(struct compare_row *row, struct paired_values *p, const struct compare_value *a, size_t n,
                     const struct compare_value *b, size_t m) {
  size_t i = 0, k = 0;
  while (i < n || k < m) {
    int order = i == n ? 1 : k == m ? -1 : compare_order(&a[i], &b[k]);
    if (order < 0) {
      row->only_a += isfinite(a[i++].value) ? 1 : 0;
    } else if (order > 0) {
      row->only_b += isfinite(b[k++].value) ? 1 : 0;
    } else {
      pair_one(row, p, &a[i++], &b[k++]);
    }
  }
}

static sluice_status compare_group(struct matching *m, struct compare_row row, const struct compare_value *a, size_t n,
                                   const struct compare_value *b, size_t n_b, struct sluice_error *err) {
  const struct compare_value *first = n ? a : b;
  size_t most = n < n_b ? n : n_b;
  row.metric = first->metric;
  row.scorer = first->scorer;
  row.lower_is_better = is_surprisal(first->scorer);
  struct paired_values p = {calloc(most + 1, sizeof *p.d), calloc(most + 1, sizeof *p.cluster),
                            arena_alloc(&m->out->memory, (most + 1) * sizeof *p.flips), 0};
  sluice_status status = p.d && p.cluster && p.flips ? SLUICE_OK : no_memory(err);
  if (!status) {
    pair_all(&row, &p, a, n, b, n_b);
    row.flips = p.flips;
    row.a /= (double)(p.n ? p.n : 1);
    row.b /= (double)(p.n ? p.n : 1);
    if (row.n_flips) qsort(row.flips, row.n_flips, sizeof *row.flips, worse_first);
    if (!p.n)
      row.incomparable =
          !n || !n_b ? "scored on one side only (or by another version of the scorer)" : "no turn in common";
    if (p.n)
      status = stat_paired(p.d, p.cluster, p.n, row.lower_is_better ? 0 : 1, m->out->gate.confidence, &row.stat, err);
    if (!status) status = add_row(m->out, &row, err);
  }
  free(p.d);
  free(p.cluster);
  return status;
}

static size_t group_end(const struct compare_values *v, size_t at) {
  size_t end = at;
  while (end < v->n && !strcmp(v->at[end].metric, v->at[at].metric) && !strcmp(v->at[end].scorer, v->at[at].scorer))
    end++;
  return end;
}

static sluice_status compare_cells(struct matching *m, struct compare_cell *a, struct compare_cell *b,
                                   struct sluice_error *err) {
  struct compare_values x = {0}, y = {0};
  struct compare_row row = {.label_a = a->label,
                            .label_b = b->label,
                            .cell_b = b->id,
                            .p_adjusted = (double)NAN,
                            .planned_a = a->planned,
                            .planned_b = b->planned,
                            .finished_a = a->finished - a->errors,
                            .finished_b = b->finished - b->errors};
  sluice_status status = compare_load_values(m->a->ledger, a->id, &m->out->memory, &x, err);
  if (!status) status = compare_load_values(m->b->ledger, b->id, &m->out->memory, &y, err);
  if (!status) status = compare_identical(m->a->ledger, a->id, m->b->ledger, b->id, &row.identical, err);
  for (size_t i = 0, k = 0; !status && (i < x.n || k < y.n);) {
    size_t end_i = i < x.n ? group_end(&x, i) : i, end_k = k < y.n ? group_end(&y, k) : k;
    int order = i == x.n ? 1 : k == y.n ? -1 : strcmp(x.at[i].metric, y.at[k].metric);
    if (!order) order = strcmp(x.at[i].scorer, y.at[k].scorer);
    size_t n = order <= 0 ? end_i - i : 0, n_b = order >= 0 ? end_k - k : 0;
    status = compare_group(m, row, x.at ? x.at + i : NULL, n, y.at ? y.at + k : NULL, n_b, err);
    i += n;
    k += n_b;
  }
  if (!status && !x.n && !y.n) {
    row.metric = row.scorer = "";
    row.incomparable = "nothing is scored: run `sluice score` first";
    status = add_row(m->out, &row, err);
  }
  free(x.at);
  free(y.at);
  a->paired = b->paired = true;
  return status;
}

/* ---- the whole
 * ---------------------------------------------------------------------------------------------------------- */

static sluice_status match_cells(struct matching *m, struct sluice_error *err) {
  struct compare_cell *a = NULL, *b = NULL;
  size_t n = 0, k = 0;
  sluice_status status = compare_load_cells(m->a, &m->out->memory, &a, &n, err);
  if (!status) status = compare_load_cells(m->b, &m->out->memory, &b, &k, err);
  for (size_t i = 0; i < n && !status; i++) {
    const struct compare_cell *partner = NULL;
    for (size_t j = 0; j < k && !status; j++) {
      if (!cells_pair(m, &a[i], &b[j]) || (m->a->ledger == m->b->ledger && a[i].id == b[j].id)) continue;
      if (partner || b[j].paired)
        status = sluice_fail(err, SLUICE_USAGE,
                             "\"%s\" pairs with more than one cell (\"%s\"); narrow --engine-b, --policy-b or "
                             "--monitor-b, or the same of side a",
                             a[i].label, b[j].label);
      if (!status) status = compare_cells(m, &a[i], &b[j], err);
      partner = &b[j];
    }
  }
  for (size_t i = 0; i < n; i++) m->out->unmatched_a += !a[i].paired;
  for (size_t j = 0; j < k; j++) m->out->unmatched_b += !b[j].paired;
  free(a);
  free(b);
  return status;
}

static sluice_status adjust(struct comparison *c, struct sluice_error *err) {
  double *p = calloc(c->n_rows + 1, sizeof *p), *adjusted = calloc(c->n_rows + 1, sizeof *adjusted);
  sluice_status status = p && adjusted ? SLUICE_OK : no_memory(err);
  for (size_t i = 0; i < c->n_rows && !status; i++) p[i] = c->rows[i].incomparable ? (double)NAN : c->rows[i].stat.p;
  if (!status) status = stat_holm(p, c->n_rows, adjusted, err);
  for (size_t i = 0; i < c->n_rows && !status; i++) {
    struct compare_row *r = &c->rows[i];
    r->p_adjusted = adjusted[i];
    r->verdict = r->incomparable ? GATE_INCONCLUSIVE
                 : r->identical  ? GATE_PASS
                                 : stat_verdict(&r->stat.delta, r->p_adjusted, c->gate.margin, c->gate.min_effect,
                                                1 - c->gate.confidence);
  }
  free(p);
  free(adjusted);
  return status;
}

static void judge(struct comparison *c) {
  size_t regressed = 0, inconclusive = 0, incomparable = 0, incomplete = 0;
  for (size_t i = 0; i < c->n_rows; i++) {
    const struct compare_row *r = &c->rows[i];
    incomparable += r->incomparable != NULL;
    regressed += !r->incomparable && r->verdict == GATE_REGRESSED;
    inconclusive += !r->incomparable && r->verdict == GATE_INCONCLUSIVE;
    incomplete += r->finished_b < r->planned_b;
  }
  /* A cell that is gone, or that nothing can be paired with, must not look like a pass. */
  bool gone = !c->n_rows || incomparable || c->unmatched_a;
  c->verdict = regressed      ? "REGRESSED"
               : incomplete   ? "INCOMPLETE"
               : gone         ? "INCOMPARABLE"
               : inconclusive ? "INCONCLUSIVE"
                              : "PASS";
  c->exit_code = regressed ? 3 : incomplete ? 4 : gone ? 6 : inconclusive ? 5 : 0;
}

sluice_status runner_compare(const struct compare_side *a, const struct compare_side *b, const struct suite_gate *gate,
                             struct comparison **out, struct sluice_error *err) {
  *out = NULL;
  struct comparison *c = calloc(1, sizeof *c);
  if (!c) return no_memory(err);
  c->gate = *gate;
  struct matching m = {a, b, c};
  sluice_status status = match_cells(&m, err);
  if (!status) status = adjust(c, err);
  if (status) {
    comparison_free(c);
    return status;
  }
  judge(c);
  *out = c;
  return SLUICE_OK;
}

void comparison_free(struct comparison *c) {
  if (!c) return;
  free(c->rows);
  arena_free(&c->memory);
  free(c);
}

sluice_status comparison_record(const struct comparison *c, struct ledger *l, const char *run_id, const char *reference,
                                struct sluice_error *err) {
  sluice_status status = ledger_begin(l, err);
  for (size_t i = 0; i < c->n_rows && !status; i++) {
    const struct compare_row *r = &c->rows[i];
    status = ledger_run(l,
                        "INSERT INTO gate_result(run_id, reference, cell_id, metric, delta, lo, hi, p, p_adj, mde, n, "
                        "n_cluster, verdict,"
                        " at_ns) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                        LEDGER_VALUES(lv_text(run_id), lv_text(reference), lv_int(r->cell_b), lv_text(r->metric),
                                      lv_real_or_null(r->stat.delta.value), lv_real_or_null(r->stat.delta.lo),
                                      lv_real_or_null(r->stat.delta.hi), lv_real_or_null(r->stat.p),
                                      lv_real_or_null(r->p_adjusted), lv_real_or_null(r->stat.mde),
                                      lv_int((int64_t)r->stat.delta.n), lv_int((int64_t)r->stat.delta.clusters),
                                      lv_text(r->incomparable ? "INCOMPARABLE" : gate_verdict_name(r->verdict)),
                                      lv_int(clock_wall_ns())),
                        err);
  }
  if (!status) return ledger_commit(l, err);
  ledger_rollback(l);
  return status;
}
