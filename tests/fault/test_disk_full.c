/* A disk that fills up, or fails, after N writes, at many N: the run stops with a status that means exit code 4, what
 * was committed stays, and the same run continued on a healthy disk ends as one that was never disturbed. */
#include "runner_fixture.h"

#include <sqlite3.h>

/* ---- a file system that gives up
 * ---------------------------------------------------------------------------------------- */

struct trouble {
  long writes_left; /* -1: healthy */
  int code;         /* SQLITE_FULL or SQLITE_IOERR_WRITE */
  bool once;        /* one failure, then healthy again */
  long seen;
};
static struct trouble trouble = {-1, SQLITE_FULL, false, 0};

struct shim_file {
  sqlite3_file base;
  sqlite3_file *real; /* behind this struct, in the room that SQLite gives */
};

static sqlite3_vfs *real_vfs(void) {
  return sqlite3_vfs_find(NULL);
}
static sqlite3_file *real(sqlite3_file *f) {
  return ((struct shim_file *)f)->real;
}

static bool fails(void) {
  trouble.seen++;
  if (trouble.writes_left < 0) return false;
  if (trouble.writes_left > 0) {
    trouble.writes_left--;
    return false;
  }
  if (trouble.once) trouble.writes_left = -1;
  return true;
}

static int shim_close(sqlite3_file *f) {
  return real(f)->pMethods->xClose(real(f));
}
static int shim_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at) {
  return real(f)->pMethods->xRead(real(f), to, n, at);
}
static int shim_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at) {
  return fails() ? trouble.code : real(f)->pMethods->xWrite(real(f), from, n, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n) {
  return real(f)->pMethods->xTruncate(real(f), n);
}
static int shim_sync(sqlite3_file *f,
                     int flags) { /* no power is cut here, and waiting for the disk is most of the time */
  (void)f, (void)flags;
  return SQLITE_OK;
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n) {
  return real(f)->pMethods->xFileSize(real(f), n);
}
static int shim_lock(sqlite3_file *f, int kind) {
  return real(f)->pMethods->xLock(real(f), kind);
}
static int shim_unlock(sqlite3_file *f, int kind) {
  return real(f)->pMethods->xUnlock(real(f), kind);
}
static int shim_reserved(sqlite3_file *f, int *out) {
  return real(f)->pMethods->xCheckReservedLock(real(f), out);
}
static int shim_control(sqlite3_file *f, int op, void *arg) {
  return real(f)->pMethods->xFileControl(real(f), op, arg);
}
static int shim_sector(sqlite3_file *f) {
  return real(f)->pMethods->xSectorSize(real(f));
}
static int shim_traits(sqlite3_file *f) {
  return real(f)->pMethods->xDeviceCharacteristics(real(f));
}
static int shim_map(sqlite3_file *f, int region, int size, int extend, void volatile **out) {
  return real(f)->pMethods->xShmMap(real(f), region, size, extend, out);
}
static int shim_shm_lock(sqlite3_file *f, int offset, int n, int flags) {
  return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
}
static void shim_barrier(sqlite3_file *f) {
  real(f)->pMethods->xShmBarrier(real(f));
}
static int shim_unmap(sqlite3_file *f, int delete) {
  return real(f)->pMethods->xShmUnmap(real(f), delete);
}

static const sqlite3_io_methods shim_methods = {
    2,           shim_close,    shim_read,    shim_write,  shim_truncate, shim_sync, shim_size,     shim_lock,
    shim_unlock, shim_reserved, shim_control, shim_sector, shim_traits,   shim_map,  shim_shm_lock, shim_barrier,
    shim_unmap,  NULL,          NULL};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
  (void)vfs;
  struct shim_file *f = (struct shim_file *)file;
  f->real = (sqlite3_file *)(f + 1);
  int code = real_vfs()->xOpen(real_vfs(), name, f->real, flags, out_flags);
  f->base.pMethods = f->real->pMethods ? &shim_methods : NULL;
  return code;
}

/* Without waiting for the folder either. */
static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder) {
  (void)vfs, (void)sync_folder;
  return real_vfs()->xDelete(real_vfs(), name, 0);
}

static sqlite3_vfs shim;

static void register_shim(void) {
  shim = *real_vfs();
  shim.pNext = NULL;
  shim.zName = "troubled";
  shim.szOsFile = (int)sizeof(struct shim_file) + real_vfs()->szOsFile;
  shim.xOpen = shim_open;
  shim.xDelete = shim_delete;
  assert_int_equal(sqlite3_vfs_register(&shim, 0), SQLITE_OK);
}

/* ---- runs on it
 * ------------------------------------------------------------------------------------------------------------ */

static sluice_status run_once(const struct runner_fixture *f, const char *vfs, struct run_summary *out,
                              struct sluice_error *err) {
  struct ledger *l = NULL;
  struct run_options o = {.quiet = true, .checkpoint_turns = 2};
  *out = (struct run_summary){0};
  sluice_status st = ledger_open(f->ledger_path, LEDGER_CREATE, vfs, &l, err);
  if (!st) st = runner_run(l, f->plan, &o, out, err);
  struct score_summary scores;
  if (!st) st = runner_score(l, out->run_id, &scores, err);
  struct sluice_error late;
  sluice_status closed = ledger_close(l, st ? &late : err);
  return st ? st : closed;
}

static char *whole_outcome(struct runner_fixture *f, long *writes) {
  struct run_summary sum;
  struct ledger *l;
  fixture_remove_ledger(f);
  trouble = (struct trouble){-1, SQLITE_FULL, false, 0};
  MUST(run_once(f, "troubled", &sum, &fixture_error));
  *writes = trouble.seen;
  assert_int_equal(sum.finished, sum.planned);
  MUST(ledger_open(f->ledger_path, LEDGER_READ, NULL, &l, &fixture_error));
  char *text = fixture_outcome(l);
  MUST(ledger_close(l, &fixture_error));
  return text;
}

/* Fails at write n, checks what is left, continues on a healthy disk. */
static void fail_at(struct runner_fixture *f, long n, int code, bool once, const char *whole) {
  struct run_summary sum, after;
  struct sluice_error err = {0};
  struct ledger *l;
  fixture_remove_ledger(f);
  trouble = (struct trouble){n, code, once, 0};
  sluice_status st = run_once(f, "troubled", &sum, &err);
  trouble.writes_left = -1;
  if (st) {
    if (st != (code == SQLITE_FULL ? SLUICE_FULL : SLUICE_IO))
      fail_msg("write %ld: %s: %s", n, sluice_status_name(st), err.message);
    if (st == SLUICE_FULL) assert_int_equal(sluice_exit_code(st), 4);
    assert_non_null(strstr(err.message, f->ledger_path));
  }
  int64_t kept = 0;
  if (file_exists(f->ledger_path) && !ledger_open(f->ledger_path, LEDGER_EDIT, "troubled", &l, &err)) {
    MUST(ledger_check(l, &fixture_error));
    MUST(ledger_query_int(l, "SELECT count(*) FROM attempt_end", LEDGER_NO_VALUES, 0, &kept, &fixture_error));
    MUST(ledger_close(l, &fixture_error));
  }
  if (kept < sum.played)
    fail_msg("write %ld: %lld dialogues were committed, %lld are left", n, (long long)sum.played, (long long)kept);
  MUST(run_once(f, "troubled", &after, &fixture_error));
  MUST(ledger_open(f->ledger_path, LEDGER_READ, NULL, &l, &fixture_error));
  char *text = fixture_outcome(l);
  MUST(ledger_close(l, &fixture_error));
  if (strcmp(text, whole)) fail_msg("write %ld: continued to\n%sinstead of\n%s", n, text, whole);
  free(text);
}

static void at_many_points(void **state, int code, bool once, long steps) {
  struct runner_fixture *f = *state;
  fixture_plan(f, fixture_suite, &(struct plan_options){0});
  long writes;
  char *whole = whole_outcome(f, &writes);
  assert_true(writes > 100);
  /* Every early write (the schema, the run's rows), then ever wider steps to the last one. */
  int points = 0;
  for (long n = 0; n < writes; n += n < 8 ? 1 : writes / steps + 1, points++) fail_at(f, n, code, once, whole);
  fail_at(f, writes - 1, code, once, whole);
  print_message("%d points over %ld writes\n", points + 1, writes);
  free(whole);
  fixture_unplan(f);
}

static void a_full_disk_is_resumable(void **state) {
  at_many_points(state, SQLITE_FULL, false, 24);
}
static void a_failing_disk_is_resumable(void **state) {
  at_many_points(state, SQLITE_IOERR_WRITE, false, 8);
}
static void one_failed_write_is_resumable(void **state) {
  at_many_points(state, SQLITE_IOERR_WRITE, true, 8);
}

int main(void) {
  log_set(LOG_ERROR, false);
  register_shim();
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_full_disk_is_resumable),
                                     cmocka_unit_test(a_failing_disk_is_resumable),
                                     cmocka_unit_test(one_failed_write_is_resumable)};
  return cmocka_run_group_tests(tests, runner_setup, runner_teardown);
}
