/* What belongs to a policy over a benchmark as a whole: coverage, KV bytes, latency, perplexity by position, and what
 * trivial answers score on the very same turns. Seeds are pooled. */
#include "reports/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One query's rows, handed over with the group that each belongs to. The first four columns are engine, monitor, policy
 * and benchmark; rows of cells that the axes do not know are passed over. */
typedef sluice_status (*group_row)(struct report *r, struct report_group *g, size_t index, const struct ledger_rows *q,
                                   void *ctx, struct sluice_error *err);

static sluice_status each_row(struct ledger *l, struct report *r, const char *sql, group_row fn, void *ctx,
                              struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l, sql, LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  bool row;
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    int facet = report_find_facet(r, ledger_text(q, 0), ledger_text(q, 1));
    int policy = report_find_policy(r, ledger_text(q, 2)), benchmark = report_find_benchmark(r, ledger_text(q, 3));
    if (facet < 0 || policy < 0 || benchmark < 0) continue;
    size_t at = group_index(r, RUN_SHOWN, (size_t)facet, (size_t)policy, (size_t)benchmark);
    status = fn(r, &r->groups[at], at, q, ctx, err);
  }
  ledger_rows_end(q);
  return status;
}

static const char coverage_sql[] =
    "SELECT v.engine, v.monitor, v.policy, v.benchmark, v.planned, v.finished, v.errors, v.missing, v.turns, v.done, "
    "v.failed, v.turn_errors, v.truncated, v.refused, v.unscored, c.policy_full FROM v_coverage v "
    "JOIN v_cell c ON c.cell_id = v.cell_id WHERE v.run_id = ?1 ORDER BY v.cell_id";

static sluice_status add_coverage(struct report *r, struct report_group *g, size_t index, const struct ledger_rows *q,
                                  void *ctx, struct sluice_error *err) {
  (void)index, (void)ctx;
  int64_t *const sums[] = {&g->planned, &g->finished,    &g->errors,    &g->missing, &g->turns,   &g->done,
                           &g->failed,  &g->turn_errors, &g->truncated, &g->refused, &g->unscored};
  for (int i = 0; i < 11; i++) *sums[i] += ledger_int(q, 4 + i);
  g->present = true;
  g->n_cells++;
  g->policy_full = report_keep(r, ledger_text(q, 15));
  r->planned += ledger_int(q, 4);
  r->finished += ledger_int(q, 5);
  r->error_dialogues += ledger_int(q, 6);
  r->missing += ledger_int(q, 7);
  r->scored_turns += ledger_int(q, 8);
  return g->policy_full ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "report: no memory for a policy's name");
}

/* Samples of one group, gathered until the group changes; rows come ordered by group. */
struct gather {
  size_t group, n, cap;
  struct latency_sample *latency;
  uint64_t *bytes;
  double tokens, seconds;
};

static sluice_status reserve(struct gather *g, struct sluice_error *err) {
  if (g->n < g->cap) return SLUICE_OK;
  size_t cap = g->cap ? 2 * g->cap : 256;
  struct latency_sample *latency = realloc(g->latency, cap * sizeof *latency);
  if (latency) g->latency = latency;
  uint64_t *bytes = realloc(g->bytes, cap * sizeof *bytes);
  if (bytes) g->bytes = bytes;
  if (!latency || !bytes) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for %zu samples", cap);
  g->cap = cap;
  return SLUICE_OK;
}

static sluice_status flush_dialogues(struct report *r, struct gather *g, struct sluice_error *err) {
  if (!g->n) return SLUICE_OK;
  struct report_group *group = &r->groups[g->group];
  group->tokens_per_second = g->seconds > 0 ? g->tokens / g->seconds : NAN;
  sluice_status status = kv_bytes_summarise(g->bytes, g->n, &group->kv, err);
  g->n = 0;
  g->tokens = g->seconds = 0;
  return status;
}

/* Ordered by group, so that one group's samples are at hand together. A dialogue's time is its last scored turn's end,
 * which counts from the dialogue's first moment; its tokens are those in context by then. An attempt's own Unix times
 * are no measure: a short dialogue is committed in one transaction. */
static const char dialogues_sql[] =
    "SELECT c.engine, c.monitor, c.policy, c.benchmark, f.kv_peak, f.resumed, (SELECT max(t.position) FROM turn t "
    "WHERE "
    "t.attempt_id = f.attempt_id), (SELECT max(t.end_ns) FROM turn t WHERE t.attempt_id = f.attempt_id) "
    "FROM v_final f JOIN v_cell c ON c.cell_id = f.cell_id WHERE c.run_id = ?1 AND f.state <> 'error' "
    "ORDER BY c.engine, c.monitor, c.policy, c.benchmark, c.ordinal, f.ordinal";

static sluice_status add_dialogue(struct report *r, struct report_group *group, size_t index,
                                  const struct ledger_rows *q, void *ctx, struct sluice_error *err) {
  (void)group;
  struct gather *g = ctx;
  sluice_status status = index != g->group ? flush_dialogues(r, g, err) : SLUICE_OK;
  if (!status) status = reserve(g, err);
  if (status) return status;
  g->group = index;
  g->bytes[g->n++] = (uint64_t)ledger_int(q, 4);
  if (ledger_int(q, 5) == 0 && ledger_int(q, 7) > 0) {
    g->tokens += (double)ledger_int(q, 6);
    g->seconds += (double)ledger_int(q, 7) * 1e-9;
  }
  return SLUICE_OK;
}

static sluice_status flush_turns(struct report *r, struct gather *g, struct sluice_error *err) {
  if (!g->n) return SLUICE_OK;
  sluice_status status = latency_summarise(g->latency, g->n, &r->groups[g->group].latency, err);
  g->n = 0;
  return status;
}

static const char turns_sql[] =
    "SELECT DISTINCT engine, monitor, policy, benchmark, attempt_id, turn_no, start_ns, first_ns, end_ns, "
    "prompt_tokens, "
    "output_tokens FROM v_result WHERE run_id = ?1 AND end_ns IS NOT NULL AND task <> 'text' "
    "ORDER BY engine, monitor, policy, benchmark, attempt_id, turn_no";

static sluice_status add_turn(struct report *r, struct report_group *group, size_t index, const struct ledger_rows *q,
                              void *ctx, struct sluice_error *err) {
  (void)group;
  struct gather *g = ctx;
  sluice_status status = index != g->group ? flush_turns(r, g, err) : SLUICE_OK;
  if (!status) status = reserve(g, err);
  if (status) return status;
  g->group = index;
  int64_t start = ledger_int(q, 6), first = ledger_type_of(q, 7) == LEDGER_NULL ? 0 : ledger_int(q, 7);
  g->latency[g->n++] = (struct latency_sample){start, first, ledger_int(q, 8), ledger_int(q, 9), ledger_int(q, 10)};
  return SLUICE_OK;
}

static const char positions_sql[] =
    "SELECT c.engine, c.monitor, c.policy, c.benchmark, p.start, p.width, p.tokens, p.nats FROM v_position_nll p "
    "JOIN v_cell c ON c.cell_id = p.cell_id WHERE c.run_id = ?1 AND p.tokens > 0 "
    "ORDER BY c.ordinal, p.start";

/* The ledger's own buckets are summed into half-octaves by where they start; POSITION_BUCKETS at most a group. */
static sluice_status add_position(struct report *r, struct report_group *g, size_t index, const struct ledger_rows *q,
                                  void *ctx, struct sluice_error *err) {
  (void)index, (void)ctx;
  if (!g->positions) g->positions = arena_alloc(&r->memory, POSITION_BUCKETS * sizeof *g->positions);
  if (!g->positions) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for positions");
  int64_t begin = ledger_int(q, 4);
  uint64_t start, end;
  position_range(position_bucket(begin > 0 ? (uint64_t)begin : 0), &start, &end);
  size_t at = 0;
  while (at < g->n_positions && g->positions[at].start != start) at++;
  if (at == g->n_positions) {
    if (at == POSITION_BUCKETS) return SLUICE_OK;
    g->positions[g->n_positions++] = (struct report_position){.start = start, .end = end};
    while (at > 0 && g->positions[at - 1].start > start) { /* seeds may bring buckets out of order */
      g->positions[at] = g->positions[at - 1];
      at--;
    }
    g->positions[at] = (struct report_position){.start = start, .end = end};
  }
  g->positions[at].tokens += (uint64_t)ledger_int(q, 6);
  g->positions[at].nats += ledger_real(q, 7);
  return SLUICE_OK;
}

static const char trivial_sql[] =
    "SELECT c.engine, c.monitor, c.policy, c.benchmark, t.scorer, t.metric, t.n, t.value FROM v_trivial t "
    "JOIN v_cell c ON c.cell_id = t.cell_id WHERE c.run_id = ?1 AND t.n > 0 AND t.value IS NOT NULL "
    "ORDER BY c.ordinal, t.scorer";

static sluice_status add_trivial(struct report *r, struct report_group *g, size_t index, const struct ledger_rows *q,
                                 void *ctx, struct sluice_error *err) {
  (void)g, (void)ctx;
  size_t benchmark = index % r->n_benchmarks, policy = index / r->n_benchmarks % r->n_policies;
  size_t facet = index / r->n_benchmarks / r->n_policies % r->n_facets;
  int column = report_find_column(r, benchmark, ledger_text(q, 5), NULL);
  if (column < 0) return SLUICE_OK;
  struct report_score *s = &r->scores[score_index(r, RUN_SHOWN, facet, policy, (size_t)column)];
  size_t i = 0;
  while (i < s->n_trivial && strcmp(s->trivial[i].name, ledger_text(q, 4)) != 0) i++;
  if (i == MAX_TRIVIAL) return SLUICE_OK;
  if (i == s->n_trivial) {
    const char *name = report_keep(r, ledger_text(q, 4));
    if (!name) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for a baseline's name");
    s->trivial[s->n_trivial++] = (struct report_trivial){.name = name};
  }
  struct report_trivial *t = &s->trivial[i];
  int64_t n = ledger_int(q, 6);
  t->value = (t->value * (double)t->n + ledger_real(q, 7) * (double)n) / (double)(t->n + n);
  t->n += n;
  return SLUICE_OK;
}

sluice_status report_load_groups(struct ledger *l, struct report *r, struct sluice_error *err) {
  struct gather g = {0};
  sluice_status status = each_row(l, r, coverage_sql, add_coverage, NULL, err);
  if (!status) status = each_row(l, r, dialogues_sql, add_dialogue, &g, err);
  if (!status) status = flush_dialogues(r, &g, err);
  if (!status) status = each_row(l, r, turns_sql, add_turn, &g, err);
  if (!status) status = flush_turns(r, &g, err);
  if (!status) status = each_row(l, r, positions_sql, add_position, NULL, err);
  if (!status) status = each_row(l, r, trivial_sql, add_trivial, NULL, err);
  free(g.latency);
  free(g.bytes);
  return status;
}
