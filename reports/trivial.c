/* A score against each trivial answer on the very same turns: what a policy's memory adds to what needs no model. */
#include "reports/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ordered so that the turns of one score and one answer are at hand together, and a turn's newest version comes last.
 */
static const char trivial_sql[] =
    "SELECT c.engine, c.monitor, c.policy, c.benchmark, t.metric, s.name, hex(f.sample_uid), c.seed, t.turn_no, "
    "t.value, f.attempt_id FROM v_final f JOIN cell c ON c.id = f.cell_id "
    "JOIN trivial_score t ON t.attempt_id = f.attempt_id JOIN scorer s ON s.id = t.scorer_id "
    "WHERE c.run_id = ?1 AND f.state <> 'error' AND s.kind = 'trivial' "
    "ORDER BY c.engine, c.monitor, c.policy, c.benchmark, t.metric, s.name, f.attempt_id, t.turn_no, s.version, s.id";
enum {
  COL_ENGINE,
  COL_MONITOR,
  COL_POLICY,
  COL_BENCHMARK,
  COL_METRIC,
  COL_NAME,
  COL_SAMPLE,
  COL_SEED,
  COL_TURN,
  COL_VALUE,
  COL_ATTEMPT
};

/* One score's turns under one trivial answer. */
struct side_by_side {
  struct report_trivial *trivial;
  double range;      /* of a difference's distance from the mean; 0: unknown */
  double *d;         /* score - trivial answer */
  uint64_t *cluster; /* of the turn's dialogue */
  size_t n, cap;
  double sum_score, sum_trivial;
  const struct report_row *last;
  double last_trivial;
};

static sluice_status flush(const struct report *r, struct side_by_side *s, struct sluice_error *err) {
  struct report_trivial *t = s->trivial;
  if (!s->n) return SLUICE_OK;
  t->score = s->sum_score / (double)s->n;
  t->same = s->sum_trivial / (double)s->n;
  sluice_status status = stat_paired(s->d, s->cluster, s->n, s->range, r->options.confidence, &t->pair, err);
  t->paired = !status;
  s->n = 0;
  s->sum_score = s->sum_trivial = 0;
  s->last = NULL;
  return status;
}

/* The score and the answer that a row speaks of, or false where the report shows no such thing. */
static bool find_sides(struct report *r, const struct ledger_rows *q, struct report_score **score,
                       struct report_trivial **trivial, double *range) {
  int facet = report_find_facet(r, ledger_text(q, COL_ENGINE), ledger_text(q, COL_MONITOR));
  int policy = report_find_policy(r, ledger_text(q, COL_POLICY));
  int benchmark = report_find_benchmark(r, ledger_text(q, COL_BENCHMARK));
  if (facet < 0 || policy < 0 || benchmark < 0) return false;
  int column = report_find_column(r, (size_t)benchmark, ledger_text(q, COL_METRIC), NULL);
  if (column < 0) return false;
  *score = &r->scores[score_index(r, RUN_SHOWN, (size_t)facet, (size_t)policy, (size_t)column)];
  *range = r->columns[column].bounded ? 1 : 0;
  for (size_t i = 0; i < (*score)->n_trivial; i++) {
    *trivial = &(*score)->trivial[i];
    if (!strcmp((*trivial)->name, ledger_text(q, COL_NAME))) return true;
  }
  return false;
}

/* The scored turn that a trivial answer stands beside; NULL: there is none. */
static const struct report_row *find_row(const struct report *r, const struct report_score *s,
                                         const struct ledger_rows *q) {
  uint32_t sample;
  if (!names_find(&r->samples, ledger_text(q, COL_SAMPLE), &sample)) return NULL;
  int64_t seed = ledger_int(q, COL_SEED), turn = ledger_int(q, COL_TURN);
  size_t low = s->first, high = s->first + s->n_rows;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct report_row *row = &r->rows[middle];
    bool before = row->sample != sample ? row->sample < sample
                  : row->seed != seed   ? row->seed < seed
                                        : row->turn_no < turn;
    if (before)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == s->first + s->n_rows) return NULL;
  const struct report_row *row = &r->rows[low];
  bool same = row->sample == sample && row->seed == seed && row->turn_no == turn;
  return same && row->attempt == ledger_int(q, COL_ATTEMPT) ? row : NULL;
}

static sluice_status add_turn(struct side_by_side *s, const struct report_row *row, double trivial,
                              struct sluice_error *err) {
  if (row == s->last) { /* a newer version's word on the same turn */
    s->n--;
    s->sum_score -= row->value;
    s->sum_trivial -= s->last_trivial;
  }
  if (s->n == s->cap) {
    size_t cap = s->cap ? 2 * s->cap : 1024;
    double *d = realloc(s->d, cap * sizeof *d);
    if (d) s->d = d;
    uint64_t *cluster = realloc(s->cluster, cap * sizeof *cluster);
    if (cluster) s->cluster = cluster;
    if (!d || !cluster) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for %zu trivial answers", cap);
    s->cap = cap;
  }
  s->d[s->n] = row->value - trivial;
  s->cluster[s->n++] = row->cluster;
  s->sum_score += row->value;
  s->sum_trivial += trivial;
  s->last = row;
  s->last_trivial = trivial;
  return SLUICE_OK;
}

static sluice_status take_row(struct report *r, const struct ledger_rows *q, struct side_by_side *s,
                              struct sluice_error *err) {
  struct report_score *score;
  struct report_trivial *trivial;
  double range;
  if (!find_sides(r, q, &score, &trivial, &range)) return SLUICE_OK;
  if (trivial != s->trivial) {
    sluice_status status = flush(r, s, err);
    if (status) return status;
    s->trivial = trivial;
    s->range = range;
  }
  const struct report_row *row = find_row(r, score, q);
  if (!row || isnan(row->value) || ledger_type_of(q, COL_VALUE) == LEDGER_NULL) return SLUICE_OK;
  return add_turn(s, row, ledger_real(q, COL_VALUE), err);
}

sluice_status report_pair_trivial(struct ledger *l, struct report *r, struct sluice_error *err) {
  struct side_by_side s = {0};
  struct ledger_rows *q;
  sluice_status status = ledger_query(l, trivial_sql, LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  bool row;
  while (!status && !(status = ledger_next(q, &row, err)) && row) status = take_row(r, q, &s, err);
  ledger_rows_end(q);
  if (!status) status = flush(r, &s, err);
  free(s.d);
  free(s.cluster);
  return status;
}

/* ---- what tables show ---- */

size_t report_trivial_shown(const struct report_score *s, const struct report_trivial *shown[2]) {
  size_t n = 0;
  const struct report_trivial *best = s->best_trivial >= 0 ? &s->trivial[s->best_trivial] : NULL;
  if (best && best->paired) shown[n++] = best;
  for (size_t i = 0; i < s->n_trivial; i++)
    if (&s->trivial[i] != best && s->trivial[i].paired && !strcmp(s->trivial[i].name, "counting"))
      shown[n++] = &s->trivial[i];
  return n;
}

double report_trivial_chance(const struct report_score *s) {
  for (size_t i = 0; i < s->n_trivial; i++)
    if (s->trivial[i].paired && !strcmp(s->trivial[i].name, "chance")) return s->trivial[i].same;
  return NAN;
}

const struct report_trivial *report_trivial_highest(const struct report *r, size_t facet, size_t column, bool chance) {
  const struct report_trivial *found = NULL;
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    for (size_t t = 0; t < s->n_trivial; t++) {
      bool wanted = chance ? !strcmp(s->trivial[t].name, "chance") : (int)t == s->best_trivial;
      if (wanted && (!found || s->trivial[t].value > found->value)) found = &s->trivial[t];
    }
  }
  return found;
}
