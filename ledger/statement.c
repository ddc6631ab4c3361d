/* Statements: values in, rows out, SQLite's codes turned into sluice_status. The only file that binds and steps. */
#include "ledger/handle.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ledger_value lv_text(const char *s) {
  if (!s) return lv_null();
  return (struct ledger_value){.type = LEDGER_TEXT, .ptr = s, .len = strlen(s)};
}

struct ledger_value lv_blob(const void *bytes, size_t len) {
  if (!bytes) return lv_null();
  return (struct ledger_value){.type = LEDGER_BLOB, .ptr = bytes, .len = len};
}

struct ledger_value lv_hash(const unsigned char *h) {
  return lv_blob(h, SHA256_BYTES);
}

struct ledger_value lv_int_or_null(int64_t v, bool present) {
  return present ? lv_int(v) : lv_null();
}

struct ledger_value lv_real_or_null(double v) {
  return isfinite(v) ? lv_real(v) : lv_null();
}

static sluice_status status_of(sqlite3 *db, int *system_errno) {
  int extended = sqlite3_extended_errcode(db);
  *system_errno = 0;
  switch (extended & 0xff) {
  case SQLITE_FULL:
    return SLUICE_FULL;
  case SQLITE_NOMEM:
    return SLUICE_NOMEM;
  case SQLITE_TOOBIG:
    return SLUICE_LIMIT;
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return SLUICE_INPUT;
  case SQLITE_IOERR:
  case SQLITE_CANTOPEN:
  case SQLITE_READONLY:
  case SQLITE_PERM:
  case SQLITE_AUTH:
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
  case SQLITE_PROTOCOL:
    *system_errno = sqlite3_system_errno(db);
    return *system_errno == ENOSPC || *system_errno == EDQUOT ? SLUICE_FULL : SLUICE_IO;
  default:
    return SLUICE_INTERNAL;
  }
}

sluice_status ledger_fail(struct ledger *l, const char *doing, struct sluice_error *err) {
  int system_errno;
  sluice_status status = status_of(l->db, &system_errno);
  char text[400];
  snprintf(text, sizeof text, "%s", sqlite3_errmsg(l->db)); /* the rollback below replaces it */
  bool busy = (sqlite3_errcode(l->db) & 0xff) == SQLITE_BUSY;
  ledger_rollback(l);
  const char *remedy = "";
  if (status == SLUICE_FULL) remedy = "; free some space and run the same command again: what was committed is kept";
  if (busy) remedy = "; another process is writing to it";
  return sluice_fail(err, status, "%s: %s: %s%s%s%s", l->path, doing, text, system_errno ? ": " : "",
                     system_errno ? strerror(system_errno) : "", remedy);
}

sluice_status ledger_script(struct ledger *l, const char *sql, const char *doing, struct sluice_error *err) {
  return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SLUICE_OK : ledger_fail(l, doing, err);
}

sluice_status ledger_lost(struct ledger *l, struct sluice_error *err) {
  if (!l->lost) return SLUICE_OK;
  l->lost = false;
  ledger_rollback(l);
  return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for a text", l->path);
}

void ledger_drop_statements(struct ledger *l) {
  for (size_t i = 0; i < l->n_kept; i++) sqlite3_finalize(l->kept[i].stmt);
  l->n_kept = 0;
}

struct ledger_rows {
  struct ledger *ledger;
  sqlite3_stmt *stmt;
  size_t kept; /* index + 1; 0: finalized at the end */
};

/* The first words of a statement, for messages. */
static void name_of(const char *sql, char out[48]) {
  snprintf(out, 48, "%.40s", sql);
}

static sluice_status take_statement(struct ledger *l, const char *sql, struct ledger_rows *out,
                                    struct sluice_error *err) {
  char name[48];
  name_of(sql, name);
  out->ledger = l;
  sluice_status lost = ledger_lost(l, err);
  if (lost) return lost;
  for (size_t i = 0; i < l->n_kept; i++) {
    if (l->kept[i].sql != sql || l->kept[i].busy) continue;
    l->kept[i].busy = true;
    out->stmt = l->kept[i].stmt;
    out->kept = i + 1;
    return SLUICE_OK;
  }
  bool keep = l->n_kept < LEDGER_STATEMENTS;
  if (sqlite3_prepare_v3(l->db, sql, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0, &out->stmt, NULL) != SQLITE_OK)
    return ledger_fail(l, name, err);
  out->kept = 0;
  if (keep) {
    l->kept[l->n_kept].sql = sql;
    l->kept[l->n_kept].stmt = out->stmt;
    l->kept[l->n_kept].busy = true;
    out->kept = ++l->n_kept;
  }
  return SLUICE_OK;
}

static void return_statement(struct ledger_rows *q) {
  if (!q->stmt) return;
  if (q->kept) {
    sqlite3_reset(q->stmt);
    sqlite3_clear_bindings(q->stmt);
    q->ledger->kept[q->kept - 1].busy = false;
  } else {
    sqlite3_finalize(q->stmt);
  }
  q->stmt = NULL;
}

static int bind_one(sqlite3_stmt *s, int at, const struct ledger_value *v) {
  switch (v->type) {
  case LEDGER_INTEGER:
    return sqlite3_bind_int64(s, at, v->integer);
  case LEDGER_REAL:
    return sqlite3_bind_double(s, at, v->real);
  case LEDGER_TEXT:
    return sqlite3_bind_text64(s, at, v->ptr, v->len, SQLITE_STATIC, SQLITE_UTF8);
  case LEDGER_BLOB:
    return v->len ? sqlite3_bind_blob64(s, at, v->ptr, v->len, SQLITE_STATIC) : sqlite3_bind_zeroblob(s, at, 0);
  case LEDGER_NULL:
  default:
    return sqlite3_bind_null(s, at);
  }
}

static sluice_status bind_all(struct ledger_rows *q, const char *sql, const struct ledger_value *values, size_t n,
                              struct sluice_error *err) {
  char name[48];
  name_of(sql, name);
  if (sqlite3_bind_parameter_count(q->stmt) != (int)n) {
    ledger_rollback(q->ledger);
    return sluice_fail(err, SLUICE_INTERNAL, "ledger: \"%s...\" takes %d values, not %zu", name,
                       sqlite3_bind_parameter_count(q->stmt), n);
  }
  for (size_t i = 0; i < n; i++)
    if (bind_one(q->stmt, (int)i + 1, &values[i]) != SQLITE_OK) return ledger_fail(q->ledger, name, err);
  return SLUICE_OK;
}

sluice_status ledger_run(struct ledger *l, const char *sql, const struct ledger_value *values, size_t n,
                         struct sluice_error *err) {
  struct ledger_rows q = {0};
  sluice_status status = take_statement(l, sql, &q, err);
  if (status) return status;
  status = bind_all(&q, sql, values, n, err);
  if (!status) {
    int code = sqlite3_step(q.stmt);
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
      char name[48];
      name_of(sql, name);
      status = ledger_fail(l, name, err);
    }
  }
  return_statement(&q);
  return status;
}

sluice_status ledger_query(struct ledger *l, const char *sql, const struct ledger_value *values, size_t n,
                           struct ledger_rows **out, struct sluice_error *err) {
  *out = NULL;
  struct ledger_rows *q = calloc(1, sizeof *q);
  if (!q) return sluice_fail(err, SLUICE_NOMEM, "ledger: no memory for a query");
  sluice_status status = take_statement(l, sql, q, err);
  if (!status) status = bind_all(q, sql, values, n, err);
  if (status) {
    ledger_rows_end(q);
    return status;
  }
  *out = q;
  return SLUICE_OK;
}

sluice_status ledger_next(struct ledger_rows *q, bool *row, struct sluice_error *err) {
  *row = false;
  sluice_status lost = ledger_lost(q->ledger, err);
  if (lost) return lost;
  int code = sqlite3_step(q->stmt);
  *row = code == SQLITE_ROW;
  if (code == SQLITE_ROW || code == SQLITE_DONE) return SLUICE_OK;
  return ledger_fail(q->ledger, "reading", err);
}

void ledger_rows_end(struct ledger_rows *q) {
  if (!q) return;
  return_statement(q);
  free(q);
}

int ledger_columns(const struct ledger_rows *q) {
  return sqlite3_column_count(q->stmt);
}

const char *ledger_column_name(const struct ledger_rows *q, int column) {
  const char *name = sqlite3_column_name(q->stmt, column);
  return name ? name : "";
}

enum ledger_type ledger_type_of(const struct ledger_rows *q, int column) {
  switch (sqlite3_column_type(q->stmt, column)) {
  case SQLITE_INTEGER:
    return LEDGER_INTEGER;
  case SQLITE_FLOAT:
    return LEDGER_REAL;
  case SQLITE_TEXT:
    return LEDGER_TEXT;
  case SQLITE_BLOB:
    return LEDGER_BLOB;
  default:
    return LEDGER_NULL;
  }
}

int64_t ledger_int(const struct ledger_rows *q, int column) {
  return sqlite3_column_int64(q->stmt, column);
}

double ledger_real(const struct ledger_rows *q, int column) {
  return ledger_type_of(q, column) == LEDGER_NULL ? (double)NAN : sqlite3_column_double(q->stmt, column);
}

/* SQLite makes room for a text when it is asked for, and gives NULL when there is none: not the same as SQL's NULL. */
static void note_lost(const struct ledger_rows *q, int column) {
  if (sqlite3_column_type(q->stmt, column) != SQLITE_NULL && sqlite3_errcode(q->ledger->db) == SQLITE_NOMEM)
    q->ledger->lost = true;
}

struct slice ledger_bytes(const struct ledger_rows *q, int column) {
  const void *ptr = ledger_type_of(q, column) == LEDGER_BLOB ? sqlite3_column_blob(q->stmt, column)
                                                             : (const void *)sqlite3_column_text(q->stmt, column);
  if (!ptr) note_lost(q, column);
  return (struct slice){.ptr = ptr ? ptr : "", .len = ptr ? (size_t)sqlite3_column_bytes(q->stmt, column) : 0};
}

const char *ledger_text(const struct ledger_rows *q, int column) {
  const unsigned char *text = sqlite3_column_text(q->stmt, column);
  if (!text) note_lost(q, column);
  return text ? (const char *)text : "";
}

sluice_status ledger_query_int(struct ledger *l, const char *sql, const struct ledger_value *values, size_t n,
                               int64_t fallback, int64_t *out, struct sluice_error *err) {
  *out = fallback;
  struct ledger_rows *q;
  sluice_status status = ledger_query(l, sql, values, n, &q, err);
  if (status) return status;
  bool row;
  status = ledger_next(q, &row, err);
  if (!status && row && ledger_type_of(q, 0) != LEDGER_NULL) *out = ledger_int(q, 0);
  ledger_rows_end(q);
  return status;
}

int64_t ledger_last_id(const struct ledger *l) {
  return sqlite3_last_insert_rowid(l->db);
}

/* ---- transactions -------------------------------------------------------------------------------------------------
 */

/* IMMEDIATE: a transaction that reads first and writes later would get SQLITE_BUSY_SNAPSHOT at once, past busy_timeout.
 */
sluice_status ledger_begin(struct ledger *l, struct sluice_error *err) {
  if (l->in_transaction) return sluice_fail(err, SLUICE_INTERNAL, "ledger: a transaction is already open");
  sluice_status status = ledger_script(l, "BEGIN IMMEDIATE", "beginning a transaction", err);
  l->in_transaction = !status;
  return status;
}

sluice_status ledger_commit(struct ledger *l, struct sluice_error *err) {
  if (!l->in_transaction) return sluice_fail(err, SLUICE_INTERNAL, "ledger: no transaction to commit");
  sluice_status status = ledger_lost(l, err);
  if (!status) status = ledger_script(l, "COMMIT", "committing", err);
  l->in_transaction = false;
  return status;
}

void ledger_rollback(struct ledger *l) {
  /* SQLite may have rolled back by itself (disk full, I/O error). */
  if (l->in_transaction && !sqlite3_get_autocommit(l->db)) sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
  l->in_transaction = false;
}
