/* Named baselines: a run that somebody vouched for. */
#include "ledger/handle.h"

#include <pwd.h>
#include <unistd.h>

static sluice_status check_worthy(struct ledger *l, const char *run_id, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l, "SELECT limited, planned, finished, errors FROM v_run WHERE run_id = ?1",
                                      LEDGER_VALUES(lv_text(run_id)), &q, err);
  if (status) return status;
  bool row;
  status = ledger_next(q, &row, err);
  if (!status && !row) status = sluice_fail(err, SLUICE_USAGE, "%s: no run %s", l->path, run_id);
  if (!status && ledger_int(q, 0))
    status =
        sluice_fail(err, SLUICE_USAGE, "run %s was limited (--limit or --cells): it cannot become a baseline", run_id);
  if (!status && ledger_int(q, 1) != ledger_int(q, 2))
    status = sluice_fail(err, SLUICE_USAGE, "run %s is unfinished (%lld of %lld dialogues): run it to its end first",
                         run_id, (long long)ledger_int(q, 2), (long long)ledger_int(q, 1));
  if (!status && ledger_int(q, 3))
    status = sluice_fail(err, SLUICE_USAGE, "run %s has %lld dialogues in error: run again to retry them first", run_id,
                         (long long)ledger_int(q, 3));
  ledger_rows_end(q);
  return status;
}

sluice_status ledger_baseline_set(struct ledger *l, const char *name, const char *run_id, const char *note,
                                  struct sluice_error *err) {
  sluice_status status = check_worthy(l, run_id, err);
  if (status) return status;
  const struct passwd *who = getpwuid(getuid());
  status = ledger_begin(l, err);
  if (!status)
    status = ledger_run(l,
                        "INSERT INTO baseline(name, run_id, set_ns, set_by, note) VALUES(?1, ?2, ?3, ?4, ?5)"
                        " ON CONFLICT(name) DO UPDATE SET run_id = excluded.run_id, set_ns = excluded.set_ns,"
                        " set_by = excluded.set_by, note = excluded.note",
                        LEDGER_VALUES(lv_text(name), lv_text(run_id), lv_int(clock_wall_ns()),
                                      lv_text(who ? who->pw_name : "unknown"), lv_text(note)),
                        err);
  return status ? status : ledger_commit(l, err);
}

sluice_status ledger_baseline_remove(struct ledger *l, const char *name, struct sluice_error *err) {
  int64_t there;
  sluice_status status = ledger_begin(l, err);
  if (!status)
    status = ledger_query_int(l, "SELECT count(*) FROM baseline WHERE name = ?1", LEDGER_VALUES(lv_text(name)), 0,
                              &there, err);
  if (!status && !there) {
    ledger_rollback(l);
    return sluice_fail(err, SLUICE_USAGE, "%s: no baseline \"%s\"; `sluice baseline list %s` shows them", l->path, name,
                       l->path);
  }
  if (!status) status = ledger_run(l, "DELETE FROM baseline WHERE name = ?1", LEDGER_VALUES(lv_text(name)), err);
  return status ? status : ledger_commit(l, err);
}
