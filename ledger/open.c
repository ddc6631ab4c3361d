/* Opening a ledger: the right file, the right journal for the file system, the right schema. Closing: one file. */
#include "ledger/handle.h"
#include "ledger/schema.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/stat.h>

/* WAL needs memory shared between the processes that open the file: these cannot promise it (magic numbers from
 * statfs(2)). */
const char *ledger_network_file_system(const char *path) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s", path);
  char *slash = strrchr(folder, '/');
  if (slash == folder)
    slash[1] = '\0';
  else if (slash)
    *slash = '\0';
  else
    snprintf(folder, sizeof folder, ".");
  struct statfs fs;
  if (statfs(folder, &fs)) return NULL;
  switch ((unsigned long)fs.f_type & 0xfffffffful) {
  case 0x6969ul:
    return "NFS";
  case 0x517bul:
  case 0xfe534d42ul:
  case 0xff534d42ul:
    return "SMB";
  case 0x0bd00bd0ul:
    return "Lustre";
  case 0x47504653ul:
    return "GPFS";
  case 0x19830326ul:
    return "BeeGFS";
  case 0x00c36400ul:
    return "Ceph";
  case 0x5346414ful:
    return "AFS";
  case 0x65735546ul:
    return "FUSE";
  case 0x01021997ul:
    return "9P";
  default:
    return NULL;
  }
}

/* Mostly a wrong path, where trying again is no cure. */
static sluice_status cannot_open(const char *path, int number, struct sluice_error *err) {
  sluice_status code = SLUICE_USAGE;
  if (number == EMFILE || number == ENFILE || number == EIO) code = SLUICE_IO;
  if (number == ENOSPC || number == EDQUOT) code = SLUICE_FULL;
  return sluice_fail(err, code, "%s: cannot be opened: %s", path, strerror(number));
}

static sluice_status open_file(const char *path, enum ledger_mode mode, const char *vfs, struct ledger *l,
                               struct sluice_error *err) {
  struct stat st;
  if (!path[0])
    return sluice_fail(err, SLUICE_USAGE, "a ledger needs a file name"); /* SQLite would make a temporary one */
  bool exists = !stat(path, &st);
  if (!exists && mode != LEDGER_CREATE)
    return sluice_fail(err, SLUICE_USAGE, "%s: no such ledger; `sluice run SUITE --ledger %s` makes one", path, path);
  if (exists && !S_ISREG(st.st_mode)) return sluice_fail(err, SLUICE_USAGE, "%s: not a file", path);
  int flags = mode == LEDGER_READ   ? SQLITE_OPEN_READONLY
              : mode == LEDGER_EDIT ? SQLITE_OPEN_READWRITE
                                    : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  int code = sqlite3_open_v2(path, &l->db, flags | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI, vfs);
  if (!l->db) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory to open a ledger", path);
  if ((code & 0xff) == SQLITE_CANTOPEN) return cannot_open(path, sqlite3_system_errno(l->db), err);
  if (code != SQLITE_OK) return ledger_fail(l, "opening", err);
  if (mode != LEDGER_READ && sqlite3_db_readonly(l->db, "main") == 1) /* SQLite falls back without a word */
    return sluice_fail(err, SLUICE_USAGE, "%s: cannot be written (check its permissions)", path);
  return SLUICE_OK;
}

/* Foreign files are hostile until proven: a schema must not be able to call what it names. */
static sluice_status harden(struct ledger *l, struct sluice_error *err) {
  sqlite3_busy_timeout(l->db, 30000);
  sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  return ledger_script(l,
                       "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
                       "PRAGMA temp_store = MEMORY",
                       "opening", err);
}

static sluice_status read_versions(struct ledger *l, int64_t *application, int64_t *version, int64_t *tables,
                                   struct sluice_error *err) {
  sluice_status status = ledger_query_int(l, "PRAGMA application_id", LEDGER_NO_VALUES, 0, application, err);
  if (!status) status = ledger_query_int(l, "PRAGMA user_version", LEDGER_NO_VALUES, 0, version, err);
  if (!status) status = ledger_query_int(l, "SELECT count(*) FROM sqlite_schema", LEDGER_NO_VALUES, 0, tables, err);
  return status;
}

static int64_t newest_version(void) {
  int64_t n = 0;
  while (ledger_migrations[n]) n++;
  return n;
}

static sluice_status drop_views(struct ledger *l, struct sluice_error *err) {
  struct ledger_rows *q;
  struct buffer sql;
  buffer_init(&sql, 1 << 16);
  sluice_status status =
      ledger_query(l, "SELECT name FROM sqlite_schema WHERE type = 'view'", LEDGER_NO_VALUES, &q, err);
  bool row = true;
  while (!status) {
    status = ledger_next(q, &row, err);
    if (status || !row) break;
    status = buffer_printf(&sql, err, "DROP VIEW \"%s\";", ledger_text(q, 0));
  }
  ledger_rows_end(q);
  if (!status && sql.len) status = ledger_script(l, sql.ptr, "dropping views", err);
  buffer_free(&sql);
  return status;
}

static sluice_status back_up(struct ledger *l, int64_t version, struct sluice_error *err) {
  char *copy = sluice_format("%s.before-v%lld", l->path, (long long)version);
  if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory", l->path);
  sluice_status status = ledger_run(l, "VACUUM INTO ?1", LEDGER_VALUES(lv_text(copy)), err);
  if (!status) log_line(LOG_INFO, "%s: copied to %s before its schema is brought up to date", l->path, copy);
  free(copy);
  return status;
}

static sluice_status migrate(struct ledger *l, int64_t from, int64_t to, struct sluice_error *err) {
  sluice_status status = SLUICE_OK;
  if (from > 0) status = back_up(l, to, err);
  if (!status) status = ledger_begin(l, err);
  /* Two processes may have come here at once: only one finds the old version inside the transaction. */
  int64_t now = from;
  if (!status) status = ledger_query_int(l, "PRAGMA user_version", LEDGER_NO_VALUES, 0, &now, err);
  if (!status && now >= to) return ledger_commit(l, err);
  if (!status) status = drop_views(l, err);
  for (int64_t i = now; i < to && !status; i++) status = ledger_script(l, ledger_migrations[i], "migrating", err);
  if (!status) status = ledger_script(l, ledger_views, "making views", err);
  char stamp[96];
  snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %lld", LEDGER_APPLICATION_ID,
           (long long)to);
  if (!status) status = ledger_script(l, stamp, "migrating", err);
  if (!status)
    status = ledger_run(l, "INSERT OR REPLACE INTO meta VALUES('tool_version', ?1)",
                        LEDGER_VALUES(lv_text(SLUICE_VERSION)), err);
  if (!status) return ledger_commit(l, err);
  ledger_rollback(l);
  return status;
}

/* What a file is, before anything in it is changed: even choosing a journal writes into its first page. */
static sluice_status recognise(struct ledger *l, bool *fresh, int64_t *version, struct sluice_error *err) {
  int64_t application, tables;
  sluice_status status = read_versions(l, &application, version, &tables, err);
  if (status) return status;
  *fresh = !application && !*version && !tables;
  if (!*fresh && application != LEDGER_APPLICATION_ID)
    return sluice_fail(err, SLUICE_INPUT, "%s: an SQLite file, but no sluice ledger (application_id %lld)", l->path,
                       (long long)application);
  if (*version > newest_version())
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: schema version %lld, but this sluice " SLUICE_VERSION " knows %lld; use a newer sluice",
                       l->path, (long long)*version, (long long)newest_version());
  return SLUICE_OK;
}

static sluice_status ready_schema(struct ledger *l, enum ledger_mode mode, bool fresh, int64_t version,
                                  struct sluice_error *err) {
  if (version == newest_version()) return SLUICE_OK;
  if (mode == LEDGER_READ || (fresh && mode == LEDGER_EDIT))
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s; open it once with `sluice run`", l->path,
                       fresh ? "an empty file" : "an older schema");
  return migrate(l, version, newest_version(), err);
}

/* auto_vacuum must be chosen before the first table; WAL afterwards, read back because SQLite only promises to try. */
static sluice_status choose_journal(struct ledger *l, struct sluice_error *err) {
  const char *network = ledger_network_file_system(l->path);
  if (network) {
    log_line(LOG_WARN, "%s is on %s, where a write-ahead log is unsafe: using a DELETE journal (slower)", l->path,
             network);
    return ledger_script(l, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL",
                         "choosing a journal", err);
  }
  return ledger_script(l,
                       "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                       "PRAGMA journal_size_limit = 67108864",
                       "choosing a journal", err);
}

sluice_status ledger_open(const char *path, enum ledger_mode mode, const char *vfs, struct ledger **out,
                          struct sluice_error *err) {
  *out = NULL;
  struct ledger *l = calloc(1, sizeof *l);
  if (l) l->path = sluice_strdup(path);
  if (!l || !l->path) {
    free(l);
    return sluice_fail(err, SLUICE_NOMEM, "%s: no memory to open a ledger", path);
  }
  l->writer = mode != LEDGER_READ;
  sluice_status status = open_file(path, mode, vfs, l, err);
  bool fresh = false;
  int64_t version = 0;
  if (!status) status = harden(l, err);
  if (!status) status = recognise(l, &fresh, &version, err);
  if (!status && l->writer) status = choose_journal(l, err);
  if (!status) status = ready_schema(l, mode, fresh, version, err);
  if (status) {
    struct sluice_error ignored;
    l->writer = false; /* leave a file that is not ours as it is */
    ledger_close(l, &ignored);
    return status;
  }
  *out = l;
  return SLUICE_OK;
}

sluice_status ledger_close(struct ledger *l, struct sluice_error *err) {
  if (!l) return SLUICE_OK;
  sluice_status status = SLUICE_OK;
  if (l->db) {
    status = ledger_lost(l, err);
    ledger_rollback(l);
    if (l->writer && !status) {
      status =
          ledger_script(l, "PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)", "folding the log into the file", err);
      ledger_drop_statements(l);
      /* A file left in WAL mode makes every reader create two more; this cannot work while a reader is there, and need
       * not. */
      sqlite3_busy_timeout(l->db, 0);
      sqlite3_exec(l->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    }
    ledger_drop_statements(l);
    sqlite3_close_v2(l->db);
  }
  free(l->path);
  free(l);
  return status;
}

const char *ledger_path(const struct ledger *l) {
  return l->path;
}

sluice_status ledger_check(struct ledger *l, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l, "PRAGMA quick_check(1)", LEDGER_NO_VALUES, &q, err);
  if (status) return status;
  bool row;
  status = ledger_next(q, &row, err);
  if (!status && row && strcmp(ledger_text(q, 0), "ok"))
    status = sluice_fail(err, SLUICE_INPUT, "%s: damaged: %s", l->path, ledger_text(q, 0));
  ledger_rows_end(q);
  if (status) return status;
  status = ledger_query(l, "PRAGMA foreign_key_check", LEDGER_NO_VALUES, &q, err);
  if (status) return status;
  status = ledger_next(q, &row, err);
  if (!status && row)
    status = sluice_fail(err, SLUICE_INPUT, "%s: damaged: a row of %s names a row of %s that is not there", l->path,
                         ledger_text(q, 0), ledger_text(q, 2));
  ledger_rows_end(q);
  return status;
}
