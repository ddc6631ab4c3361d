/* Provenance: what a reader needs to know, and to repeat, that is not a number. */
#include "reports/load.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

sluice_status report_add_fact(struct report *r, const char *group, const char *name, const char *value,
                              struct sluice_error *err) {
  if (r->n_facts == r->cap_facts) {
    r->cap_facts = r->cap_facts ? 2 * r->cap_facts : 64;
    struct report_fact *grown = realloc(r->facts, r->cap_facts * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its facts");
    r->facts = grown;
  }
  struct report_fact f = {report_keep(r, group), report_keep(r, name), report_keep(r, value)};
  if (!f.group || !f.name || !f.value) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its facts");
  r->facts[r->n_facts++] = f;
  return SLUICE_OK;
}

/* One fact a member of a JSON object; a text that is no object becomes one fact. */
static sluice_status add_members(struct report *r, const char *group, struct slice json, struct sluice_error *err) {
  cJSON *root;
  struct sluice_error unread;
  if (json_parse(group, json.ptr, json.len, false, &root, &unread))
    return unread.code == SLUICE_NOMEM ? sluice_fail(err, SLUICE_NOMEM, "report: no memory for its facts")
                                       : report_add_fact(r, group, "", json.ptr, err);
  sluice_status status = SLUICE_OK;
  const cJSON *member;
  cJSON_ArrayForEach(member, root) {
    char *printed = cJSON_IsString(member) ? NULL : cJSON_PrintUnformatted(member);
    if (!printed && !cJSON_IsString(member)) {
      status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for its facts");
      break;
    }
    const char *value = printed ? printed : member->valuestring ? member->valuestring : "";
    status = report_add_fact(r, group, member->string ? member->string : "", value, err);
    cJSON_free(printed);
    if (status) break;
  }
  cJSON_Delete(root);
  return status;
}

/* Rows of (group, name, value), or of (group, json) where there are two columns. */
static sluice_status add_query(struct ledger *l, struct report *r, const char *sql, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l, sql, LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  bool row;
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    if (ledger_columns(q) == 2)
      status = add_members(r, ledger_text(q, 0), ledger_bytes(q, 1), err);
    else
      status = report_add_fact(r, ledger_text(q, 0), ledger_text(q, 1), ledger_text(q, 2), err);
  }
  ledger_rows_end(q);
  return status;
}

static sluice_status read_run(struct ledger *l, struct report *r, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l,
                                      "SELECT suite, tool_version, lower(plan_hash), started, limited, n_shards, "
                                      "suite_json FROM v_run WHERE run_id = ?1",
                                      LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  bool row;
  status = ledger_next(q, &row, err);
  if (!status && row) {
    r->suite = report_keep(r, ledger_text(q, 0));
    r->tool_version = report_keep(r, ledger_text(q, 1));
    r->plan_hash = report_keep(r, ledger_text(q, 2));
    r->started = report_keep(r, ledger_text(q, 3));
    r->limited = ledger_int(q, 4) != 0;
    r->n_shards = ledger_int(q, 5);
    if (!r->suite || !r->tool_version || !r->plan_hash || !r->started)
      status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for the run");
  } else if (!status) {
    status = sluice_fail(err, SLUICE_USAGE, "report: run %s is not in this ledger", r->run_id[RUN_SHOWN]);
  }
  ledger_rows_end(q);
  return status;
}

static sluice_status read_commands(struct ledger *l, struct report *r, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status =
      ledger_query(l, "SELECT argv FROM invocation WHERE run_id = ?1 GROUP BY argv ORDER BY min(id) LIMIT 50",
                   LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  r->commands = calloc(50, sizeof *r->commands);
  bool row;
  if (!r->commands) status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for the commands");
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    r->commands[r->n_commands] = report_keep(r, ledger_text(q, 0));
    if (!r->commands[r->n_commands++]) status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for the commands");
  }
  ledger_rows_end(q);
  return status;
}

static sluice_status read_errors(struct ledger *l, struct report *r, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status =
      ledger_query(l,
                   "SELECT coalesce(error_class, 'unknown'), count(*), min(ext_id), min(error) FROM v_error "
                   "WHERE run_id = ?1 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20",
                   LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  r->errors = calloc(20, sizeof *r->errors);
  if (!r->errors) status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for its errors");
  bool row;
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    struct report_error e = {report_keep(r, ledger_text(q, 0)), report_keep(r, ledger_text(q, 2)),
                             report_keep(r, ledger_text(q, 3)), ledger_int(q, 1)};
    if (!e.error_class || !e.first || !e.example)
      status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for its errors");
    else
      r->errors[r->n_errors++] = e;
  }
  ledger_rows_end(q);
  return status;
}

sluice_status report_load_facts(struct ledger *l, struct report *r, struct sluice_error *err) {
  sluice_status status = read_run(l, r, err);
  if (!status) status = report_add_fact(r, "Run", "id", r->run_id[RUN_SHOWN], err);
  if (!status) status = report_add_fact(r, "Run", "suite", r->suite, err);
  if (!status) status = report_add_fact(r, "Run", "started", r->started, err);
  if (!status) status = report_add_fact(r, "Run", "sluice", r->tool_version, err);
  if (!status) status = report_add_fact(r, "Run", "plan hash", r->plan_hash, err);
  if (!status && r->limited) status = report_add_fact(r, "Run", "limited", "yes: it cannot become a baseline", err);
  if (!status)
    status = add_query(
        l, r, "SELECT DISTINCT 'Engine ' || engine, engine_identity FROM v_cell WHERE run_id = ?1 ORDER BY 1, 2", err);
  if (!status)
    status =
        add_query(l, r,
                  "SELECT 'Benchmark', benchmark, min(dataset_spec) || ' · seeds ' || group_concat(DISTINCT seed) || "
                  "coalesce(' · ' || min(license), '') FROM v_cell WHERE run_id = ?1 GROUP BY benchmark "
                  "ORDER BY min(ordinal)",
                  err);
  if (!status)
    status =
        add_query(l, r,
                  "SELECT DISTINCT 'Scorer', r.name || ' v' || r.version, r.kind || CASE r.config WHEN '' THEN '' ELSE "
                  "' · ' || r.config END FROM scorer r WHERE ?1 <> '' ORDER BY r.kind, 2, 3",
                  err);
  if (!status)
    status = add_query(l, r,
                       "SELECT DISTINCT 'Host', h.json FROM invocation i JOIN host h ON h.id = i.host_id "
                       "WHERE i.run_id = ?1 ORDER BY h.id",
                       err);
  if (!status) status = read_commands(l, r, err);
  if (!status) status = read_errors(l, r, err);
  return status;
}
