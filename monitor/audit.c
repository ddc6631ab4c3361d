/* What was decided, a row an event, without the text unless it was asked for: only its SHA-256 with a salt that is
 * drawn for the session and kept nowhere, so that equal spans of one session can be told and none can be guessed back.
 * $SLUICE_AUDIT_SALT sets the salt where sessions are to be compared. */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { APPLICATION_ID = 0x736C6175 /* "slau" */, SCHEMA_VERSION = 2, BUSY_MS = 10000 };

static const char schema[] =
    "CREATE TABLE session(id INTEGER PRIMARY KEY, started_ns INTEGER NOT NULL, ended_ns INTEGER, source TEXT,"
    " policy TEXT NOT NULL, policy_sha256 TEXT NOT NULL, stopped INTEGER, pieces INTEGER, bytes INTEGER, masks INTEGER,"
    " flags INTEGER, stops INTEGER, not_scanned INTEGER, capped INTEGER, exposed INTEGER) STRICT;"
    "CREATE TABLE event(id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES session(id), at_ns INTEGER NOT "
    "NULL,"
    " kind TEXT NOT NULL, action TEXT NOT NULL, rule TEXT NOT NULL, category TEXT NOT NULL, view TEXT NOT NULL,"
    " choice INTEGER NOT NULL, channel TEXT NOT NULL, call INTEGER NOT NULL, start INTEGER NOT NULL, \"end\" INTEGER "
    "NOT NULL,"
    " match_start INTEGER NOT NULL, match_end INTEGER NOT NULL, exposed INTEGER NOT NULL, sha256 TEXT NOT NULL, text "
    "BLOB, mode TEXT NOT NULL DEFAULT 'strict', route TEXT, request INTEGER) STRICT;"
    "CREATE INDEX event_by_session ON event(session);";

static const char from_1_to_2[] =
    "ALTER TABLE event ADD COLUMN mode TEXT NOT NULL DEFAULT 'strict'; ALTER TABLE event ADD COLUMN route TEXT;"
    "ALTER TABLE event ADD COLUMN request INTEGER; PRAGMA user_version=2";

struct monitor_audit {
  bool keep_text;
  unsigned char salt[32];
  size_t salt_len;
  sqlite3 *db;
  sqlite3_stmt *insert;
  int64_t session;
  int fd; /* JSON lines; -1: SQLite */
  bool close_fd;
  char *path;
  struct buffer line, salted;
  bool torn; /* JSON lines: the last write left part of a line */
  uint64_t lost;
  sluice_status st; /* of the first event that was lost */
  struct sluice_error err;
};

static sluice_status sql_fail(struct monitor_audit *a, const char *what, struct sluice_error *err) {
  int code = sqlite3_errcode(a->db) & 0xff;
  return sluice_fail(err, code == SQLITE_FULL ? SLUICE_FULL : SLUICE_IO, "%s: %s: %s", a->path, what,
                     sqlite3_errmsg(a->db));
}

static sluice_status run_sql(struct monitor_audit *a, const char *sql, struct sluice_error *err) {
  return sqlite3_exec(a->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SLUICE_OK : sql_fail(a, "audit", err);
}

static int64_t pragma_number(struct monitor_audit *a, const char *sql) {
  sqlite3_stmt *s = NULL;
  int64_t n = -1;
  if (sqlite3_prepare_v2(a->db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
    n = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return n;
}

/* Two processes may meet a new file at once: the schema is made under an exclusive lock. */
static sluice_status make_schema(struct monitor_audit *a, struct sluice_error *err) {
  sluice_status st = run_sql(a, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE", err);
  if (st) return st;
  int64_t id = pragma_number(a, "PRAGMA application_id"), version = pragma_number(a, "PRAGMA user_version");
  int64_t tables = pragma_number(a, "SELECT count(*) FROM sqlite_schema");
  if (id == 0 && tables == 0) {
    st = run_sql(a, schema, err);
    char sql[96];
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION_ID, SCHEMA_VERSION);
    if (!st) st = run_sql(a, sql, err);
  } else if (id != APPLICATION_ID) {
    st = sluice_fail(err, SLUICE_USAGE, "%s: is a database of another kind, not an audit file", a->path);
  } else if (version == 1) {
    st = run_sql(a, from_1_to_2, err);
  } else if (version != SCHEMA_VERSION) {
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "%s: audit schema %" PRId64 ", this build writes %d", a->path, version,
                     SCHEMA_VERSION);
  }
  struct sluice_error ignored = {0};
  if (st) run_sql(a, "ROLLBACK", &ignored);
  return st ? st : run_sql(a, "COMMIT", err);
}

static sluice_status begin_session(struct monitor_audit *a, const struct monitor_audit_options *o,
                                   struct sluice_error *err) {
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(a->db, "INSERT INTO session(started_ns,source,policy,policy_sha256) VALUES(?,?,?,?)", -1, &s,
                         NULL))
    return sql_fail(a, "audit", err);
  sqlite3_bind_int64(s, 1, clock_wall_ns());
  if (o->source) sqlite3_bind_text(s, 2, o->source, -1, SQLITE_STATIC);
  sqlite3_bind_text(s, 3, o->policy ? o->policy : "", -1, SQLITE_STATIC);
  sqlite3_bind_text(s, 4, o->policy_hash ? o->policy_hash : "", -1, SQLITE_STATIC);
  int rc = sqlite3_step(s);
  sqlite3_finalize(s);
  if (rc != SQLITE_DONE) return sql_fail(a, "audit", err);
  a->session = sqlite3_last_insert_rowid(a->db);
  static const char insert[] =
      "INSERT INTO event(session,at_ns,kind,action,rule,category,view,choice,channel,call,start,\"end\","
      "match_start,match_end,exposed,sha256,text,mode,route,request) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
  if (sqlite3_prepare_v3(a->db, insert, -1, SQLITE_PREPARE_PERSISTENT, &a->insert, NULL))
    return sql_fail(a, "audit", err);
  return SLUICE_OK;
}

static bool ends_with(const char *s, const char *tail) {
  size_t n = strlen(s), t = strlen(tail);
  return n >= t && strcmp(s + n - t, tail) == 0;
}

static sluice_status open_sink(struct monitor_audit *a, const struct monitor_audit_options *o,
                               struct sluice_error *err) {
  if (strcmp(o->path, "-") == 0) {
    a->fd = STDERR_FILENO;
    return SLUICE_OK;
  }
  if (ends_with(o->path, ".jsonl") || ends_with(o->path, ".json")) {
    a->fd = open(o->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    a->close_fd = a->fd >= 0;
    return a->fd >= 0 ? SLUICE_OK : sluice_fail(err, SLUICE_IO, "%s: cannot write: %s", o->path, strerror(errno));
  }
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
  if (sqlite3_open_v2(o->path, &a->db, flags, NULL) != SQLITE_OK) return sql_fail(a, "cannot open", err);
  sqlite3_busy_timeout(a->db, BUSY_MS);
  sluice_status st = make_schema(a, err);
  return st ? st : begin_session(a, o, err);
}

static sluice_status draw_salt(struct monitor_audit *a, struct sluice_error *err) {
  const char *given = getenv("SLUICE_AUDIT_SALT");
  a->salt_len = sizeof a->salt;
  if (given && given[0]) {
    sha256(given, strlen(given), a->salt);
    return SLUICE_OK;
  }
  if (getrandom(a->salt, sizeof a->salt, 0) != (ssize_t)sizeof a->salt)
    return sluice_fail(err, SLUICE_IO, "audit: the system gave no random bytes: %s", strerror(errno));
  return SLUICE_OK;
}

static void audit_free(struct monitor_audit *a) {
  sqlite3_finalize(a->insert);
  sqlite3_close(a->db);
  if (a->close_fd) close(a->fd);
  buffer_free(&a->line);
  buffer_free(&a->salted);
  free(a->path);
  free(a);
}

sluice_status monitor_audit_open(const struct monitor_audit_options *o, struct monitor_audit **out,
                                 struct sluice_error *err) {
  struct monitor_audit *a = calloc(1, sizeof *a);
  if (!a) return sluice_fail(err, SLUICE_NOMEM, "no memory for the audit");
  a->fd = -1;
  a->keep_text = o->text;
  a->path = sluice_strdup(o->path);
  buffer_init(&a->line, 0);
  buffer_init(&a->salted, 0);
  sluice_status st = a->path ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for the audit");
  if (!st) st = draw_salt(a, err);
  if (!st) st = open_sink(a, o, err);
  if (st)
    audit_free(a);
  else
    *out = a;
  return st;
}

static sluice_status write_line(struct monitor_audit *a, const struct monitor_event *e, const char *hash,
                                struct sluice_error *err) {
  char when[32];
  clock_iso8601(e->unix_ns, when);
  buffer_clear(&a->line);
  sluice_status st = a->torn ? buffer_append_str(&a->line, "\n", err) : SLUICE_OK;
  if (!st)
    st = buffer_printf(&a->line, err,
                       "{\"at\":\"%s\",\"kind\":\"%s\",\"action\":\"%s\",\"choice\":%d,\"channel\":\"%s\",\"call\":%d,"
                       "\"view\":\"%s\",\"start\":%" PRIu64 ",\"end\":%" PRIu64 ",\"match_start\":%" PRIu64
                       ",\"match_end\":%" PRIu64 ",\"exposed\":%" PRIu64 ",\"sha256\":\"%s\",\"mode\":\"%s\",\"rule\":",
                       when, monitor_event_name(e->kind), monitor_action_name(e->action), e->choice,
                       monitor_channel_name(e->channel), e->index, e->view, e->start, e->end, e->match_start,
                       e->match_end, e->exposed, hash, monitor_mode_name((enum monitor_mode)e->mode));
  if (!st) st = json_quote(&a->line, e->rule, strlen(e->rule), err);
  if (!st) st = buffer_append_str(&a->line, ",\"category\":", err);
  if (!st) st = json_quote(&a->line, e->category, strlen(e->category), err);
  if (!st && e->route) st = buffer_append_str(&a->line, ",\"route\":", err);
  if (!st && e->route) st = json_quote(&a->line, e->route, strlen(e->route), err);
  if (!st && e->request) st = buffer_printf(&a->line, err, ",\"request\":%" PRIu64, e->request);
  if (!st && a->keep_text) st = buffer_append_str(&a->line, ",\"text\":", err);
  if (!st && a->keep_text) st = json_quote(&a->line, e->text.ptr, e->text.len, err);
  if (!st) st = buffer_append_str(&a->line, "}\n", err);
  if (st) return st;
  st = fd_write_all(a->fd, a->line.ptr, a->line.len, err);
  a->torn = st != SLUICE_OK;
  return st ? sluice_fail_in(err, "%s", a->path) : SLUICE_OK;
}

static sluice_status insert_row(struct monitor_audit *a, const struct monitor_event *e, const char *hash,
                                struct sluice_error *err) {
  sqlite3_stmt *s = a->insert;
  const char *words[] = {monitor_event_name(e->kind), monitor_action_name(e->action), e->rule, e->category, e->view};
  const uint64_t spans[] = {e->start, e->end, e->match_start, e->match_end, e->exposed};
  sqlite3_bind_int64(s, 1, a->session);
  sqlite3_bind_int64(s, 2, e->unix_ns);
  for (int i = 0; i < 5; i++) sqlite3_bind_text(s, 3 + i, words[i], -1, SQLITE_STATIC);
  sqlite3_bind_int(s, 8, e->choice);
  sqlite3_bind_text(s, 9, monitor_channel_name(e->channel), -1, SQLITE_STATIC);
  sqlite3_bind_int(s, 10, e->index);
  for (int i = 0; i < 5; i++) sqlite3_bind_int64(s, 11 + i, (int64_t)spans[i]);
  sqlite3_bind_text(s, 16, hash, -1, SQLITE_STATIC);
  if (a->keep_text)
    sqlite3_bind_blob64(s, 17, e->text.ptr, e->text.len, SQLITE_STATIC);
  else
    sqlite3_bind_null(s, 17);
  sqlite3_bind_text(s, 18, monitor_mode_name((enum monitor_mode)e->mode), -1, SQLITE_STATIC);
  if (e->route) sqlite3_bind_text(s, 19, e->route, -1, SQLITE_STATIC);
  if (e->request)
    sqlite3_bind_int64(s, 20, (int64_t)e->request);
  else
    sqlite3_bind_null(s, 20);
  int rc = sqlite3_step(s);
  sqlite3_reset(s);
  sqlite3_clear_bindings(s);
  return rc == SQLITE_DONE ? SLUICE_OK : sql_fail(a, "audit", err);
}

void monitor_audit_event(void *audit, const struct monitor_event *e) {
  struct monitor_audit *a = audit;
  unsigned char digest[SHA256_BYTES];
  char hash[2 * SHA256_BYTES + 1] = "";
  struct sluice_error err = {0};
  sluice_status st = SLUICE_OK;
  if (e->text.len) {
    buffer_clear(&a->salted);
    st = buffer_append(&a->salted, a->salt, a->salt_len, &err);
    if (!st) st = buffer_append(&a->salted, e->text.ptr, e->text.len, &err);
    if (!st) sha256(a->salted.ptr, a->salted.len, digest);
    if (!st) hex_of(digest, sizeof digest, hash);
  }
  if (!st) st = a->fd >= 0 ? write_line(a, e, hash, &err) : insert_row(a, e, hash, &err);
  if (st) a->lost++;
  if (!st || a->st) return;
  a->st = st;
  a->err = err;
}

uint64_t monitor_audit_lost(const struct monitor_audit *a, const char **why) {
  if (!a) return 0;
  *why = a->err.message;
  return a->lost;
}

static sluice_status end_session(struct monitor_audit *a, const struct monitor_counts *c, bool stopped,
                                 struct sluice_error *err) {
  sqlite3_stmt *s = NULL;
  static const char sql[] =
      "UPDATE session SET ended_ns=?,stopped=?,pieces=?,bytes=?,masks=?,flags=?,stops=?,not_scanned=?,"
      "capped=?,exposed=? WHERE id=?";
  if (sqlite3_prepare_v2(a->db, sql, -1, &s, NULL)) return sql_fail(a, "audit", err);
  const uint64_t n[] = {c->pieces, c->bytes, c->masks, c->flags, c->stops, c->not_scanned, c->capped, c->exposed};
  sqlite3_bind_int64(s, 1, clock_wall_ns());
  sqlite3_bind_int(s, 2, stopped);
  for (int i = 0; i < 8; i++) sqlite3_bind_int64(s, 3 + i, (int64_t)n[i]);
  sqlite3_bind_int64(s, 11, a->session);
  int rc = sqlite3_step(s);
  sqlite3_finalize(s);
  return rc == SQLITE_DONE ? SLUICE_OK : sql_fail(a, "audit", err);
}

sluice_status monitor_audit_close(struct monitor_audit *a, const struct monitor_counts *counts, bool stopped,
                                  struct sluice_error *err) {
  if (!a) return SLUICE_OK;
  sluice_status st = a->st;
  if (st)
    *err = a->err;
  else if (a->db)
    st = end_session(a, counts, stopped, err);
  audit_free(a);
  return st;
}
