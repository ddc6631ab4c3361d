/* Attempts: begun, continued, ended. Rows are only ever added; a checkpoint alone is replaced. */
#include "runner/record.h"

#include <stdlib.h>
#include <string.h>

void record_free(struct record *r) {
  free(r->snapshot);
  r->snapshot = NULL;
}

/* ---- finding where it stopped --------------------------------------------------------------------------------------
 */

static sluice_status read_checkpoint(struct ledger *l, struct record *r, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status =
      ledger_query(l,
                   "SELECT c.next_turn, c.resumed, c.message_hash, c.snapshot, m.depth FROM checkpoint c"
                   " LEFT JOIN message m ON m.hash = c.message_hash WHERE c.attempt_id = ?1",
                   LEDGER_VALUES(lv_int(r->attempt_id)), &q, err);
  bool row = false;
  if (!status) status = ledger_next(q, &row, err);
  if (!status && !row)
    status = sluice_fail(err, SLUICE_INPUT, "attempt %lld has no end and no checkpoint", (long long)r->attempt_id);
  if (!status) {
    r->written = (size_t)ledger_int(q, 0);
    r->resumed = ledger_int(q, 1) + 1;
    r->has_tip = ledger_bytes(q, 2).len == SHA256_BYTES;
    if (r->has_tip) memcpy(r->tip, ledger_bytes(q, 2).ptr, SHA256_BYTES);
    r->depth = r->has_tip ? ledger_int(q, 4) + 1 : 0;
    struct slice snapshot = ledger_bytes(q, 3);
    r->snapshot_len = snapshot.len;
    if (snapshot.len && !(r->snapshot = malloc(snapshot.len)))
      status = sluice_fail(err, SLUICE_NOMEM, "no memory for a snapshot of %zu bytes", snapshot.len);
    if (r->snapshot) memcpy(r->snapshot, snapshot.ptr, snapshot.len);
  }
  ledger_rows_end(q);
  return status;
}

sluice_status record_find(struct ledger *l, struct record *r, struct sluice_error *err) {
  sluice_status status = ledger_query_int(
      l,
      "SELECT a.id FROM attempt a WHERE a.cell_id = ?1 AND a.ordinal = ?2"
      " AND NOT EXISTS(SELECT 1 FROM attempt_end e WHERE e.attempt_id = a.id) ORDER BY a.attempt_no DESC LIMIT 1",
      LEDGER_VALUES(lv_int(r->cell_id), lv_int(r->ordinal)), 0, &r->attempt_id, err);
  if (!status)
    status = ledger_query_int(l, "SELECT max(attempt_no) FROM attempt WHERE cell_id = ?1 AND ordinal = ?2",
                              LEDGER_VALUES(lv_int(r->cell_id), lv_int(r->ordinal)), 0, &r->attempt_no, err);
  if (status) return status;
  if (r->attempt_id) return read_checkpoint(l, r, err);
  r->attempt_no++;
  return SLUICE_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

static sluice_status begin_attempt(struct ledger *l, struct record *r, const struct dialogue *d,
                                   struct sluice_error *err) {
  unsigned char uid[SHA256_BYTES];
  sluice_status status = sample_write(l, d, uid, err);
  if (!status)
    status = ledger_run(l,
                        "INSERT INTO attempt(cell_id, ordinal, attempt_no, sample_uid, invocation_id, started_ns)"
                        " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                        LEDGER_VALUES(lv_int(r->cell_id), lv_int(r->ordinal), lv_int(r->attempt_no), lv_hash(uid),
                                      lv_int(r->invocation_id), lv_int(clock_wall_ns())),
                        err);
  if (!status) r->attempt_id = ledger_last_id(l);
  return status;
}

static sluice_status add_message(struct ledger *l, struct record *r, const char *role, struct slice text,
                                 struct sluice_error *err) {
  sluice_status status = ledger_put_message(l, r->has_tip ? r->tip : NULL, r->depth, role, text, r->tip, err);
  if (status) return status;
  r->has_tip = true;
  r->depth++;
  return SLUICE_OK;
}

static sluice_status add_turn(struct ledger *l, struct record *r, const struct turn *t, const struct played_turn *p,
                              struct sluice_error *err) {
  static const char *const roles[] = {[TURN_SYSTEM] = "system", [TURN_USER] = "user", [TURN_BOT] = "bot"};
  if (!p) return add_message(l, r, roles[t->role], slice_of(t->text), err);
  sluice_status status = p->asked ? add_message(l, r, "user", slice_of(p->asked), err) : SLUICE_OK;
  const char *role = t->task == TASK_TEXT ? "text" : "bot";
  if (!status) status = add_message(l, r, role, (struct slice){p->context, p->context_len}, err);
  return status ? status : turn_write(l, r->attempt_id, p, r->tip, err);
}

static sluice_status end_attempt(struct ledger *l, const struct record *r, const struct record_end *end,
                                 struct sluice_error *err) {
  unsigned char out[SHA256_BYTES];
  sluice_status status = turn_out_hash(l, r->attempt_id, out, err);
  if (!status)
    status = ledger_run(l,
                        "INSERT INTO attempt_end(attempt_id, state, error_class, error, message_hash, out_hash, tokens,"
                        " kv_held, kv_peak, resumed, ended_ns) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                        LEDGER_VALUES(lv_int(r->attempt_id), lv_text(end->state), lv_text(end->error_class),
                                      lv_text(end->error), lv_hash(r->has_tip ? r->tip : NULL), lv_hash(out),
                                      lv_int((int64_t)end->tokens), lv_int((int64_t)end->kv_held),
                                      lv_int((int64_t)end->kv_peak), lv_int(r->resumed), lv_int(clock_wall_ns())),
                        err);
  if (!status)
    status = ledger_run(l, "DELETE FROM checkpoint WHERE attempt_id = ?1", LEDGER_VALUES(lv_int(r->attempt_id)), err);
  return status;
}

static sluice_status write_rows(struct ledger *l, struct record *r, const struct dialogue *d, size_t upto,
                                const struct played_turn *played, size_t n_played, const struct record_end *end,
                                const unsigned char *snapshot, size_t snapshot_len, struct sluice_error *err) {
  sluice_status status = r->attempt_id ? SLUICE_OK : begin_attempt(l, r, d, err);
  for (size_t i = r->written, k = 0; i < upto && !status; i++) {
    const struct played_turn *p = NULL;
    if (turn_is_scored(&d->turns[i])) {
      if (k >= n_played || played[k].turn_no != (int)i)
        return sluice_fail(err, SLUICE_INTERNAL, "turn %zu of %s was played without a record", i, d->id);
      p = &played[k++];
    }
    status = add_turn(l, r, &d->turns[i], p, err);
  }
  r->written = upto;
  if (status) return status;
  if (end) return end_attempt(l, r, end, err);
  return ledger_run(l,
                    "INSERT OR REPLACE INTO checkpoint(attempt_id, next_turn, resumed, message_hash, snapshot) "
                    "VALUES(?1, ?2, ?3, ?4, ?5)",
                    LEDGER_VALUES(lv_int(r->attempt_id), lv_int((int64_t)upto), lv_int(r->resumed),
                                  lv_hash(r->has_tip ? r->tip : NULL), lv_blob(snapshot, snapshot_len)),
                    err);
}

sluice_status record_write(struct ledger *l, struct record *r, const struct dialogue *d, size_t upto,
                           const struct played_turn *played, size_t n_played, const struct record_end *end,
                           const unsigned char *snapshot, size_t snapshot_len, struct sluice_error *err) {
  struct record next = *r;
  sluice_status status = ledger_begin(l, err);
  if (!status) status = write_rows(l, &next, d, upto, played, n_played, end, snapshot, snapshot_len, err);
  if (!status) status = ledger_commit(l, err);
  if (status) {
    ledger_rollback(l);
    return status;
  }
  *r = next;
  return SLUICE_OK;
}
