/* ledger: one SQLite file holds everything that a run planned, did and scored (DESIGN.md, "The ledger"). The schema,
 * with a comment a column, is ledger/schema.c. Stands on base alone: it knows rows, not engines or datasets.
 *
 * Writers go through ledger_begin / ledger_commit; readers (reports, compare, score) query the views v_run, v_cell,
 * v_result, v_turn, v_flip, v_error, v_coverage, v_position_nll, v_trivial, v_monitor with ledger_query. One handle
 * belongs to one thread at a time. Errors: SLUICE_FULL when the disk is (the open transaction is rolled back, what was
 * committed stays), SLUICE_INPUT when the file is no ledger or is damaged, SLUICE_UNSUPPORTED when a newer sluice wrote
 * it. */
#ifndef SLUICE_LEDGER_H
#define SLUICE_LEDGER_H

#include "base/base.h"

struct ledger;
enum ledger_mode {
  LEDGER_READ,  /* mode=ro: never creates, never changes; schema must be this build's */
  LEDGER_EDIT,  /* must exist */
  LEDGER_CREATE /* made when it does not exist */
};
/* vfs: NULL for SQLite's own; a name for tests. Migrates an older schema in one transaction (after VACUUM INTO a copy
 * named PATH.before-vN). On a network file system, where WAL cannot work, falls back to a DELETE journal and logs a
 * warning. */
sluice_status ledger_open(const char *path, enum ledger_mode mode, const char *vfs, struct ledger **out,
                          struct sluice_error *err);
/* A writer folds the WAL into the file, so that the artifact is one file. Frees in any case. NULL is allowed. */
sluice_status ledger_close(struct ledger *l, struct sluice_error *err);
const char *ledger_path(const struct ledger *l);
/* "NFS", "SMB" ... when path's folder is on a file system where a write-ahead log is unsafe; else NULL. */
const char *ledger_network_file_system(const char *path);
/* PRAGMA quick_check and foreign_key_check; SLUICE_INPUT naming the first finding. */
sluice_status ledger_check(struct ledger *l, struct sluice_error *err);

/* ---- statements (ledger/statement.c) --------------------------------------------------------------------------- */
enum ledger_type { LEDGER_NULL, LEDGER_INTEGER, LEDGER_REAL, LEDGER_TEXT, LEDGER_BLOB };
struct ledger_value {
  enum ledger_type type;
  int64_t integer;
  double real;
  const void *ptr; /* bytes that live until the call returns */
  size_t len;
};
static inline struct ledger_value lv_null(void) {
  return (struct ledger_value){.type = LEDGER_NULL};
}
static inline struct ledger_value lv_int(int64_t v) {
  return (struct ledger_value){.type = LEDGER_INTEGER, .integer = v};
}
static inline struct ledger_value lv_real(double v) {
  return (struct ledger_value){.type = LEDGER_REAL, .real = v};
}
struct ledger_value lv_text(const char *s);                 /* NULL gives SQL NULL */
struct ledger_value lv_hash(const unsigned char *h);        /* 32 bytes; NULL gives SQL NULL */
struct ledger_value lv_blob(const void *bytes, size_t len); /* bytes NULL gives SQL NULL */
struct ledger_value lv_int_or_null(int64_t v, bool present);
struct ledger_value lv_real_or_null(double v); /* a value that is not finite gives SQL NULL */
#define LEDGER_VALUES(...)                                                                                             \
  (const struct ledger_value[]){__VA_ARGS__},                                                                          \
      sizeof((const struct ledger_value[]){__VA_ARGS__}) / sizeof(struct ledger_value)
#define LEDGER_NO_VALUES ((const struct ledger_value *)NULL), ((size_t)0)

/* One statement without a result. sql must be a string literal (prepared statements are kept by its address). */
sluice_status ledger_run(struct ledger *l, const char *sql, const struct ledger_value *values, size_t n,
                         struct sluice_error *err);
/* Rows: begin, then next until *row is false, then end (always). Text and blob slices live until the next call. A text
 * that there was no memory for reads as empty, and the ledger's next call, or its close, returns SLUICE_NOMEM. */
struct ledger_rows;
sluice_status ledger_query(struct ledger *l, const char *sql, const struct ledger_value *values, size_t n,
                           struct ledger_rows **out, struct sluice_error *err);
sluice_status ledger_next(struct ledger_rows *q, bool *row, struct sluice_error *err);
void ledger_rows_end(struct ledger_rows *q); /* NULL is allowed */
int ledger_columns(const struct ledger_rows *q);
const char *ledger_column_name(const struct ledger_rows *q, int column);
enum ledger_type ledger_type_of(const struct ledger_rows *q, int column);
int64_t ledger_int(const struct ledger_rows *q, int column);
double ledger_real(const struct ledger_rows *q, int column);        /* NAN for NULL */
struct slice ledger_bytes(const struct ledger_rows *q, int column); /* text or blob; ptr is never NULL */
const char *ledger_text(const struct ledger_rows *q, int column);   /* NUL-terminated; "" for NULL */
/* The first column of the first row as an integer; fallback when there is no row or it is NULL. */
sluice_status ledger_query_int(struct ledger *l, const char *sql, const struct ledger_value *values, size_t n,
                               int64_t fallback, int64_t *out, struct sluice_error *err);
int64_t ledger_last_id(const struct ledger *l); /* rowid of the last INSERT */

/* BEGIN IMMEDIATE ... COMMIT. Any error inside rolls back at once; commit then reports it. Not nested. */
sluice_status ledger_begin(struct ledger *l, struct sluice_error *err);
sluice_status ledger_commit(struct ledger *l, struct sluice_error *err);
void ledger_rollback(struct ledger *l);

/* ---- content and provenance (ledger/content.c): inside a transaction ----------------------------------------------
 */
/* Stores text once; hash is its SHA-256. */
sluice_status ledger_put_blob(struct ledger *l, struct slice text, unsigned char hash[SHA256_BYTES],
                              struct sluice_error *err);
/* Appends the body of a blob; SLUICE_INPUT when it is not there. */
sluice_status ledger_get_blob(struct ledger *l, const unsigned char hash[SHA256_BYTES], struct buffer *out,
                              struct sluice_error *err);
/* The name of parent + one turn, without writing; parent NULL: the dialogue's first. */
void message_hash_of(const unsigned char *parent, const char *role, struct slice text,
                     unsigned char hash[SHA256_BYTES]);
sluice_status ledger_put_message(struct ledger *l, const unsigned char *parent, int64_t depth, const char *role,
                                 struct slice text, unsigned char hash[SHA256_BYTES], struct sluice_error *err);
sluice_status ledger_put_dataset(struct ledger *l, const char *spec, const char *name, int64_t size,
                                 const char *license, int64_t *id, struct sluice_error *err);
sluice_status ledger_put_engine(struct ledger *l, const char *identity, int64_t *id, struct sluice_error *err);
sluice_status ledger_put_scorer(struct ledger *l, const char *name, int version, const char *config, const char *kind,
                                int64_t *id, struct sluice_error *err);
/* This machine: CPU model, processors, memory, operating system. No host name, no user. */
sluice_status ledger_put_host(struct ledger *l, int64_t *id, struct sluice_error *err);

/* ---- runs (ledger/runs.c) ------------------------------------------------------------------------------------------
 */
#define LEDGER_RUN_ID 27 /* ULID and NUL */
/* The run that a word means: an id, an unambiguous beginning of one, a baseline's name, "latest" (also NULL).
 * SLUICE_USAGE with a remedy when there is none. */
sluice_status ledger_find_run(struct ledger *l, const char *word, char id[LEDGER_RUN_ID], struct sluice_error *err);
void ledger_new_id(char id[LEDGER_RUN_ID]); /* ULID: time, then randomness from the kernel */

/* ---- judgments (ledger/judgments.c), for the judge's second pass ---------------------------------------------------
 */
struct ledger_judgment {
  int64_t scorer_id, attempt_a, attempt_b; /* attempt_b 0: pointwise */
  int turn_no;
  bool b_first;
  const char *verdict; /* NULL: unscored */
  double value;        /* NAN: none */
  bool parse_ok;
  struct slice raw;
  const unsigned char *prompt_hash;
  int parser_version;
  const char *error; /* NULL: none */
};
sluice_status ledger_put_judgment(struct ledger *l, const struct ledger_judgment *j, struct sluice_error *err);

/* ---- baselines (ledger/baseline.c) ---------------------------------------------------------------------------------
 */
/* Names a run by hand. SLUICE_USAGE when the run is limited, unfinished or has errors: such a run proves nothing. */
sluice_status ledger_baseline_set(struct ledger *l, const char *name, const char *run_id, const char *note,
                                  struct sluice_error *err);
sluice_status ledger_baseline_remove(struct ledger *l, const char *name, struct sluice_error *err);

/* ---- merge (ledger/merge.c) ----------------------------------------------------------------------------------------
 */
/* Copies the shards of one plan into `into`, after proving that they are shards of the same plan, disjoint and together
 * complete (`allow_partial` lets the last go). Shard files are opened as hostile: read-only, trusted_schema off,
 * checked. */
sluice_status ledger_merge(struct ledger *into, const char *const *paths, size_t n, bool allow_partial,
                           struct sluice_error *err);

#endif
