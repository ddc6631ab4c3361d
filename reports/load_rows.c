/* Scored turns of the shown run and, where there is one, of the baseline run. */
#include "reports/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char rows_sql[] =
    "SELECT engine, monitor, policy, benchmark, coalesce(metric, task), coalesce(scorer_kind, 'metric'), scorer, task, "
    "sample, ext_id, cluster, seed, attempt_id, turn_no, distance, coalesce(scorer_version, 0), value, weight, label, "
    "outcome FROM v_result WHERE run_id = ?1 ORDER BY cell_id, ordinal, turn_no";
enum {
  COL_ENGINE,
  COL_MONITOR,
  COL_POLICY,
  COL_BENCHMARK,
  COL_METRIC,
  COL_KIND,
  COL_SCORER,
  COL_TASK,
  COL_SAMPLE,
  COL_EXT_ID,
  COL_CLUSTER,
  COL_SEED,
  COL_ATTEMPT,
  COL_TURN,
  COL_DISTANCE,
  COL_VERSION,
  COL_VALUE,
  COL_WEIGHT,
  COL_LABEL,
  COL_OUTCOME
};

static uint8_t label_of(const char *word) {
  static const char *const words[ROW_LABELS] = {"", "right", "wrong", "win", "tie", "lose", "unscored"};
  for (uint8_t i = 1; i < ROW_LABELS; i++)
    if (!strcmp(word, words[i])) return i;
  return LABEL_NONE;
}

static uint8_t outcome_of(const char *word) {
  static const char *const words[] = {"done", "failed", "error", "truncated", "refused"};
  for (uint8_t i = 0; i < 5; i++)
    if (!strcmp(word, words[i])) return i;
  return ROW_UNSCORED;
}

/* Where a row belongs, or false when the shown run has no such cell (a baseline may hold more). */
static bool place_row(const struct report *r, const struct ledger_rows *q, size_t run, struct report_row *out) {
  int facet = report_find_facet(r, ledger_text(q, COL_ENGINE), ledger_text(q, COL_MONITOR));
  int policy = report_find_policy(r, ledger_text(q, COL_POLICY));
  int benchmark = report_find_benchmark(r, ledger_text(q, COL_BENCHMARK));
  if (facet < 0 || policy < 0 || benchmark < 0) return false;
  bool judge = !strcmp(ledger_text(q, COL_KIND), "judge"), text = !judge && !strcmp(ledger_text(q, COL_TASK), "text");
  const char *metric = text ? "perplexity" : ledger_text(q, COL_METRIC);
  int column = report_find_column(r, (size_t)benchmark, metric, judge ? ledger_text(q, COL_SCORER) : NULL);
  if (column < 0) return false;
  out->score = (uint32_t)score_index(r, run, (size_t)facet, (size_t)policy, (size_t)column);
  return true;
}

static sluice_status keep_sample(struct report *r, const struct ledger_rows *q, struct report_row *row,
                                 struct sluice_error *err) {
  size_t before = r->samples.n, cap = r->samples.cap;
  sluice_status status = names_add(&r->samples, &r->memory, ledger_text(q, COL_SAMPLE), &row->sample, err);
  if (status) return status;
  if (r->samples.cap != cap || !r->sample_ids) {
    const char **grown = realloc(r->sample_ids, r->samples.cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its dialogues");
    r->sample_ids = grown;
  }
  if (r->samples.n > before) {
    r->sample_ids[row->sample] = report_keep(r, ledger_text(q, COL_EXT_ID));
    if (!r->sample_ids[row->sample]) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its dialogues");
  }
  return SLUICE_OK;
}

static sluice_status add_row(struct report *r, const struct ledger_rows *q, size_t run, size_t *cap,
                             struct sluice_error *err) {
  struct report_row row = {0};
  if (!place_row(r, q, run, &row)) return SLUICE_OK;
  if (r->n_rows == REPORT_MAX_ROWS)
    return sluice_fail(err, SLUICE_LIMIT,
                       "report: more than %d scored turns; report fewer cells (a merged ledger by shard)",
                       REPORT_MAX_ROWS);
  if (r->n_rows == *cap) {
    *cap = *cap ? 2 * *cap : 1024;
    struct report_row *grown = realloc(r->rows, *cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for %zu scored turns", *cap);
    r->rows = grown;
  }
  sluice_status status = keep_sample(r, q, &row, err);
  if (status) return status;
  struct slice cluster = ledger_bytes(q, COL_CLUSTER);
  row.cluster = hash64(cluster.ptr, cluster.len);
  row.seed = ledger_int(q, COL_SEED);
  row.attempt = ledger_int(q, COL_ATTEMPT);
  row.turn_no = (int32_t)ledger_int(q, COL_TURN);
  row.distance = ledger_type_of(q, COL_DISTANCE) == LEDGER_NULL ? -1 : (int32_t)ledger_int(q, COL_DISTANCE);
  row.version = (int32_t)ledger_int(q, COL_VERSION);
  row.value = ledger_real(q, COL_VALUE);
  row.weight = ledger_real(q, COL_WEIGHT);
  row.label = label_of(ledger_text(q, COL_LABEL));
  row.outcome = outcome_of(ledger_text(q, COL_OUTCOME));
  if (!isfinite(row.value)) row.value = NAN;
  if (!(row.weight > 0)) row.weight = 1;
  r->rows[r->n_rows++] = row;
  return SLUICE_OK;
}

static int row_order(const void *a, const void *b) {
  const struct report_row *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? -1 : 1;
  if (x->sample != y->sample) return x->sample < y->sample ? -1 : 1;
  if (x->seed != y->seed) return x->seed < y->seed ? -1 : 1;
  if (x->turn_no != y->turn_no) return x->turn_no < y->turn_no ? -1 : 1;
  if (x->version != y->version) return x->version < y->version ? -1 : 1;
  return x->attempt < y->attempt ? -1 : x->attempt > y->attempt;
}

static bool same_turn(const struct report_row *x, const struct report_row *y) {
  return x->score == y->score && x->sample == y->sample && x->seed == y->seed && x->turn_no == y->turn_no;
}

/* Sorts, keeps the newest scorer's word on a turn, and tells every score where its rows are. */
static void index_rows(struct report *r) {
  if (r->n_rows) qsort(r->rows, r->n_rows, sizeof *r->rows, row_order);
  size_t kept = 0;
  for (size_t i = 0; i < r->n_rows; i++) {
    if (i + 1 < r->n_rows && same_turn(&r->rows[i], &r->rows[i + 1])) continue;
    r->rows[kept++] = r->rows[i];
  }
  r->n_rows = kept;
  for (size_t i = 0; i < r->n_rows; i++) {
    struct report_score *s = &r->scores[r->rows[i].score];
    if (!s->present) s->first = i;
    s->present = true;
    s->n_rows++;
  }
}

sluice_status report_load_rows(struct ledger *l, struct report *r, struct sluice_error *err) {
  size_t cap = 0;
  for (size_t run = 0; run < REPORT_RUNS; run++) {
    if (!r->run_id[run][0]) continue;
    struct ledger_rows *q;
    sluice_status status = ledger_query(l, rows_sql, LEDGER_VALUES(lv_text(r->run_id[run])), &q, err);
    if (status) return status;
    bool row;
    while (!status && !(status = ledger_next(q, &row, err)) && row) status = add_row(r, q, run, &cap, err);
    ledger_rows_end(q);
    if (status) return status;
  }
  index_rows(r);
  for (size_t i = 0; i < r->n_rows; i++) {
    struct report_column *c = &r->columns[r->rows[i].score % r->n_columns];
    double v = r->rows[i].value;
    if (v < 0 || v > 1) c->bounded = false;
  }
  return SLUICE_OK;
}
