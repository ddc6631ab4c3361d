/* The run's own rows: which run a plan continues, and what is left of it. */
#include "runner/run.h"

#include <stdlib.h>
#include <string.h>

#define ATTEMPTS_MAX 8 /* tries of one dialogue over all invocations, for errors that another try may cure */

/* Error classes that the same dialogue may not meet again. */
#define CURABLE "'network', 'rate_limited', 'server', 'timeout', 'protocol', 'memory', 'io', 'replay'"

static sluice_status counts_of(struct ledger *l, const char *id, int64_t *planned, int64_t *finished, int64_t *curable,
                               struct sluice_error *err) {
  sluice_status status = ledger_query_int(l, "SELECT sum(n_planned) FROM cell WHERE run_id = ?1",
                                          LEDGER_VALUES(lv_text(id)), 0, planned, err);
  if (!status)
    status = ledger_query_int(l, "SELECT count(*) FROM v_final f JOIN cell c ON c.id = f.cell_id WHERE c.run_id = ?1",
                              LEDGER_VALUES(lv_text(id)), 0, finished, err);
  if (!status)
    status = ledger_query_int(
        l,
        "SELECT count(*) FROM v_final f JOIN cell c ON c.id = f.cell_id WHERE c.run_id = ?1 AND f.state = 'error'"
        " AND f.error_class IN (" CURABLE ") AND f.attempt_no < ?2",
        LEDGER_VALUES(lv_text(id), lv_int(ATTEMPTS_MAX)), 0, curable, err);
  return status;
}

/* The newest run of this very plan and shard; empty when there is none. */
static sluice_status newest_of_plan(struct ledger *l, const struct plan *p, char id[LEDGER_RUN_ID],
                                    struct sluice_error *err) {
  struct ledger_rows *q;
  bool row = false;
  id[0] = '\0';
  sluice_status status =
      ledger_query(l,
                   "SELECT id FROM run WHERE plan_hash = ?1 AND shard = ?2 AND n_shards = ?3 AND limited = ?4 ORDER BY "
                   "id DESC LIMIT 1",
                   LEDGER_VALUES(lv_hash(p->hash), lv_int(p->shard), lv_int(p->n_shards), lv_int(p->limited)), &q, err);
  if (!status) status = ledger_next(q, &row, err);
  if (!status && row) snprintf(id, LEDGER_RUN_ID, "%s", ledger_text(q, 0));
  ledger_rows_end(q);
  return status;
}

static sluice_status add_cell(struct run *r, size_t i, struct sluice_error *err) {
  const struct plan_cell *c = &r->plan->cells[i];
  const struct dataset *d = r->plan->datasets[c->dataset].data;
  const struct dataset_info *info = dataset_information(d);
  const struct suite *s = r->plan->suite;
  const char *slash = strrchr(c->monitor, '/');
  int64_t dataset, engine;
  sluice_status status = ledger_put_dataset(r->ledger, dataset_canonical(d), info->name, (int64_t)dataset_size(d),
                                            info->license, &dataset, err);
  if (!status) status = ledger_put_engine(r->ledger, r->plan->engines[c->engine].identity, &engine, err);
  if (!status)
    status = ledger_run(r->ledger, "INSERT OR IGNORE INTO spec(hash, json) VALUES(?1, ?2)",
                        LEDGER_VALUES(lv_hash(c->spec_hash), lv_text(c->spec)), err);
  if (status) return status;
  return ledger_run(r->ledger,
                    "INSERT INTO cell(run_id, ordinal, spec_hash, engine_id, engine, policy, policy_full, monitor, "
                    "benchmark, dataset_id,"
                    " seed, n_planned) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                    LEDGER_VALUES(lv_text(r->id), lv_int((int64_t)i), lv_hash(c->spec_hash), lv_int(engine),
                                  lv_text(s->engines[c->engine].name), lv_text(c->policy), lv_text(c->policy_full),
                                  lv_text(slash ? slash + 1 : c->monitor), lv_text(s->benchmarks[c->benchmark].name),
                                  lv_int(dataset), lv_int(c->seed), lv_int(c->n_planned)),
                    err);
}

static sluice_status add_run(struct run *r, struct sluice_error *err) {
  const struct plan *p = r->plan;
  ledger_new_id(r->id);
  sluice_status status =
      ledger_run(r->ledger,
                 "INSERT INTO run(id, plan_hash, suite, suite_json, tool_version, started_ns, shard, n_shards, limited)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                 LEDGER_VALUES(lv_text(r->id), lv_hash(p->hash), lv_text(p->suite->name), lv_text(p->suite->text),
                               lv_text(SLUICE_VERSION), lv_int(clock_wall_ns()), lv_int(p->shard), lv_int(p->n_shards),
                               lv_int(p->limited)),
                 err);
  for (size_t i = 0; i < p->n_cells && !status; i++) status = add_cell(r, i, err);
  return status;
}

static sluice_status add_invocation(struct run *r, struct sluice_error *err) {
  int64_t host;
  sluice_status status = ledger_put_host(r->ledger, &host, err);
  if (!status)
    status = ledger_run(
        r->ledger, "INSERT INTO invocation(run_id, host_id, tool_version, argv, started_ns) VALUES(?1, ?2, ?3, ?4, ?5)",
        LEDGER_VALUES(lv_text(r->id), lv_int(host), lv_text(SLUICE_VERSION),
                      lv_text(r->options.argv ? r->options.argv : ""), lv_int(clock_wall_ns())),
        err);
  if (!status) r->invocation_id = ledger_last_id(r->ledger);
  return status;
}

static sluice_status find_cells(struct run *r, struct sluice_error *err) {
  for (size_t i = 0; i < r->plan->n_cells; i++) {
    sluice_status status = ledger_query_int(r->ledger, "SELECT id FROM cell WHERE run_id = ?1 AND ordinal = ?2",
                                            LEDGER_VALUES(lv_text(r->id), lv_int((int64_t)i)), 0, &r->cell_ids[i], err);
    if (!status && !r->cell_ids[i]) status = sluice_fail(err, SLUICE_INPUT, "run %s has no cell %zu", r->id, i);
    if (status) return status;
  }
  return SLUICE_OK;
}

/* A plan that changed under an unfinished run begins another; saying so saves a puzzled look at two runs. */
static void mention_other_plan(struct run *r) {
  struct sluice_error ignored;
  int64_t others = 0;
  ledger_query_int(r->ledger, "SELECT count(*) FROM v_run WHERE suite = ?1 AND run_id <> ?2 AND finished < planned",
                   LEDGER_VALUES(lv_text(r->plan->suite->name), lv_text(r->id)), 0, &others, &ignored);
  if (others && !r->options.quiet)
    log_line(LOG_WARN,
             "this ledger holds %lld unfinished run(s) of \"%s\" with another plan (suite, model, kernel or threads "
             "changed); "
             "starting run %s",
             (long long)others, r->plan->suite->name, r->id);
}

sluice_status run_enter(struct run *r, bool *complete, struct sluice_error *err) {
  struct ledger *l = r->ledger;
  int64_t planned = 0, finished = 0, curable = 0;
  *complete = false;
  sluice_status status = ledger_begin(l, err);
  if (!status) status = newest_of_plan(l, r->plan, r->id, err);
  if (!status && r->id[0]) status = counts_of(l, r->id, &planned, &finished, &curable, err);
  bool ended = r->id[0] && planned == finished && !curable;
  bool new_run = !r->id[0] || (ended && r->options.fresh);
  if (!status && new_run) status = add_run(r, err);
  if (!status && ended && !new_run) {
    *complete = true;
    ledger_rollback(l);
    return find_cells(r, err);
  }
  if (!status) status = add_invocation(r, err);
  if (!status) status = find_cells(r, err);
  if (!status) status = ledger_commit(l, err);
  if (status) ledger_rollback(l);
  if (!status && new_run) mention_other_plan(r);
  return status;
}

sluice_status run_leave(struct run *r, int exit_code, struct sluice_error *err) {
  sluice_status status = ledger_begin(r->ledger, err);
  if (!status)
    status = ledger_run(r->ledger, "INSERT INTO invocation_end(invocation_id, ended_ns, exit_code) VALUES(?1, ?2, ?3)",
                        LEDGER_VALUES(lv_int(r->invocation_id), lv_int(clock_wall_ns()), lv_int(exit_code)), err);
  return status ? status : ledger_commit(r->ledger, err);
}

/* settled[i]: dialogue i needs no more work. */
static sluice_status read_settled(struct run *r, size_t cell, unsigned char *settled, int64_t n,
                                  struct sluice_error *err) {
  struct ledger_rows *q;
  bool row = true;
  sluice_status status = ledger_query(r->ledger,
                                      "SELECT ordinal FROM v_final WHERE cell_id = ?1 AND (state <> 'error'"
                                      " OR error_class NOT IN (" CURABLE ") OR attempt_no >= ?2)",
                                      LEDGER_VALUES(lv_int(r->cell_ids[cell]), lv_int(ATTEMPTS_MAX)), &q, err);
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    int64_t at = ledger_int(q, 0);
    if (at >= 0 && at < n) settled[at] = 1;
  }
  ledger_rows_end(q);
  return status;
}

static sluice_status owned(struct run *r, size_t dataset, int64_t ordinal, bool *mine, struct sluice_error *err) {
  *mine = true;
  if (r->plan->n_shards <= 1) return SLUICE_OK;
  struct dialogue d;
  sluice_status status = dataset_dialogue(r->plan->datasets[dataset].data, (size_t)ordinal, &d, err);
  if (status) return status;
  *mine = plan_owns(r->plan, &d);
  dialogue_free(&d);
  return SLUICE_OK;
}

sluice_status run_collect(struct run *r, struct sluice_error *err) {
  size_t most = 0;
  for (size_t i = 0; i < r->plan->n_cells; i++) most += (size_t)r->plan->cells[i].n;
  r->items = calloc(most ? most : 1, sizeof *r->items);
  if (!r->items) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu dialogues", most);
  for (size_t i = 0; i < r->plan->n_cells; i++) {
    const struct plan_cell *c = &r->plan->cells[i];
    unsigned char *settled = calloc((size_t)c->n + 1, 1);
    if (!settled) return sluice_fail(err, SLUICE_NOMEM, "no memory for %lld dialogues", (long long)c->n);
    sluice_status status = read_settled(r, i, settled, c->n, err);
    for (int64_t k = 0; k < c->n && !status; k++) {
      bool mine = false;
      status = settled[k] ? SLUICE_OK : owned(r, c->dataset, k, &mine, err);
      if (!status && mine && !settled[k]) r->items[r->n_items++] = (struct work_item){i, k};
    }
    free(settled);
    if (status) return status;
  }
  int64_t planned = 0;
  for (size_t i = 0; i < r->plan->n_cells; i++) planned += r->plan->cells[i].n_planned;
  r->finished = (uint64_t)planned - r->n_items;
  return SLUICE_OK;
}
