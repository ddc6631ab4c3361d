/* The ledger: opening the right files and refusing the rest, transactions, content-addressed text, views, baselines. */
#include "ledger/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>

static struct sluice_error err;
#define MUST(call)                                                                                                     \
  do {                                                                                                                 \
    if ((call) != SLUICE_OK) fail_msg("%s: %s", #call, err.message);                                                   \
  } while (0)

struct place {
  char dir[64], path[100];
};

static int setup(void **state) {
  struct place *p = calloc(1, sizeof *p);
  snprintf(p->dir, sizeof p->dir, "/tmp/ledger-XXXXXX");
  if (!p || !mkdtemp(p->dir)) return -1;
  snprintf(p->path, sizeof p->path, "%s/x.db", p->dir);
  *state = p;
  return 0;
}

static int teardown(void **state) {
  struct place *p = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", p->dir);
  int code = system(command);
  free(p);
  return code;
}

static struct ledger *create(const struct place *p) {
  struct ledger *l;
  MUST(ledger_open(p->path, LEDGER_CREATE, NULL, &l, &err));
  return l;
}

static int64_t count(struct ledger *l, const char *sql) {
  int64_t n;
  MUST(ledger_query_int(l, sql, LEDGER_NO_VALUES, -1, &n, &err));
  return n;
}

static void raw(const char *path, const char *sql) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
}

/* ---- files
 * ------------------------------------------------------------------------------------------------------------ */

static void a_new_ledger_is_one_file_that_says_what_it_is(void **state) {
  const struct place *p = *state;
  struct ledger *l = create(p);
  MUST(ledger_check(l, &err));
  assert_int_equal(count(l, "PRAGMA user_version"), 1);
  assert_int_equal(count(l, "PRAGMA synchronous"), 2); /* FULL */
  assert_int_equal(count(l, "PRAGMA foreign_keys"), 1);
  struct ledger_rows *q;
  bool row;
  MUST(ledger_query(l, "PRAGMA journal_mode", LEDGER_NO_VALUES, &q, &err));
  MUST(ledger_next(q, &row, &err));
  assert_string_equal(ledger_text(q, 0), "wal");
  ledger_rows_end(q);
  MUST(ledger_close(l, &err));
  char other[128];
  snprintf(other, sizeof other, "%s-wal", p->path);
  assert_int_not_equal(access(other, F_OK), 0);
  snprintf(other, sizeof other, "%s-shm", p->path);
  assert_int_not_equal(access(other, F_OK), 0);
  unsigned char head[72];
  FILE *f = fopen(p->path, "rb");
  assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
  fclose(f);
  assert_memory_equal(head + 68, "sluc", 4); /* file(1) reads application_id there */
}

static void a_reader_never_makes_nor_changes_a_file(void **state) {
  const struct place *p = *state;
  struct ledger *l;
  assert_int_equal(ledger_open(p->path, LEDGER_READ, NULL, &l, &err), SLUICE_USAGE);
  assert_int_equal(ledger_open(p->path, LEDGER_EDIT, NULL, &l, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, p->path));
  assert_int_not_equal(access(p->path, F_OK), 0);
  MUST(ledger_close(create(p), &err));
  MUST(ledger_open(p->path, LEDGER_READ, NULL, &l, &err));
  assert_int_equal(ledger_run(l, "DELETE FROM meta", LEDGER_NO_VALUES, &err), SLUICE_IO);
  MUST(ledger_close(l, &err));
}

static void a_reader_leaves_no_files_behind(void **state) {
  const struct place *p = *state;
  struct ledger *l;
  MUST(ledger_close(create(p), &err));
  assert_int_equal(chmod(p->dir, 0500), 0); /* an archive: nothing may be made beside it */
  MUST(ledger_open(p->path, LEDGER_READ, NULL, &l, &err));
  assert_int_equal(count(l, "SELECT count(*) FROM run"), 0);
  MUST(ledger_close(l, &err));
  assert_int_equal(chmod(p->dir, 0700), 0);
}

static void other_files_are_refused_and_left_alone(void **state) {
  const struct place *p = *state;
  struct ledger *l;
  char *before, *after;
  size_t len_before, len_after;
  raw(p->path, "CREATE TABLE their(x); PRAGMA user_version = 3");
  MUST(file_read(p->path, 0, &before, &len_before, &err));
  assert_int_equal(ledger_open(p->path, LEDGER_CREATE, NULL, &l, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "no sluice ledger"));
  MUST(file_read(p->path, 0, &after, &len_after, &err));
  assert_int_equal(len_before, len_after);
  assert_memory_equal(before, after, len_before); /* not even its journal mode */
  free(before);
  free(after);
  unlink(p->path);
  const char text[] = "this is no database at all, but it is long enough to look at: 0123456789 0123456789 0123456789";
  MUST(file_write_atomic(p->path, text, sizeof text, &err));
  assert_int_equal(ledger_open(p->path, LEDGER_READ, NULL, &l, &err), SLUICE_INPUT);
  assert_int_equal(ledger_open(p->path, LEDGER_CREATE, NULL, &l, &err), SLUICE_INPUT);
  char *bytes;
  size_t len;
  MUST(file_read(p->path, 0, &bytes, &len, &err));
  assert_int_equal(len, sizeof text);
  assert_memory_equal(bytes, text, len);
  free(bytes);
  assert_int_equal(ledger_open(p->dir, LEDGER_CREATE, NULL, &l, &err), SLUICE_USAGE);
}

static void a_wrong_path_is_the_callers_mistake(void **state) {
  const struct place *p = *state;
  struct ledger *l;
  char path[200];
  snprintf(path, sizeof path, "%s/nowhere/x.db", p->dir);
  assert_int_equal(ledger_open(path, LEDGER_CREATE, NULL, &l, &err),
                   SLUICE_USAGE); /* exit 2: trying again is no cure */
  assert_non_null(strstr(err.message, "No such file"));
  assert_int_equal(ledger_open("", LEDGER_CREATE, NULL, &l, &err), SLUICE_USAGE);
  if (geteuid() == 0) return; /* root may write anything */
  MUST(ledger_close(create(p), &err));
  assert_int_equal(chmod(p->path, 0400), 0);
  assert_int_equal(ledger_open(p->path, LEDGER_CREATE, NULL, &l, &err), SLUICE_USAGE);
}

static void a_newer_schema_is_refused(void **state) {
  const struct place *p = *state;
  struct ledger *l;
  MUST(ledger_close(create(p), &err));
  raw(p->path, "PRAGMA user_version = 99");
  assert_int_equal(ledger_open(p->path, LEDGER_CREATE, NULL, &l, &err), SLUICE_UNSUPPORTED);
  assert_non_null(strstr(err.message, "newer sluice"));
  assert_int_equal(ledger_open(p->path, LEDGER_READ, NULL, &l, &err), SLUICE_UNSUPPORTED);
}

/* Every byte of a small ledger cut off, every 97th: an error or a ledger, never a crash. */
static void truncated_files_are_errors(void **state) {
  const struct place *p = *state;
  struct ledger *l = create(p);
  unsigned char hash[SHA256_BYTES];
  MUST(ledger_begin(l, &err));
  for (int i = 0; i < 50; i++) {
    char text[200];
    memset(text, 'a' + i % 26, sizeof text);
    MUST(ledger_put_message(l, i ? hash : NULL, i, "user", (struct slice){text, (size_t)(100 + i)}, hash, &err));
  }
  MUST(ledger_commit(l, &err));
  MUST(ledger_close(l, &err));
  char *bytes;
  size_t len;
  MUST(file_read(p->path, 0, &bytes, &len, &err));
  int refused = 0;
  for (size_t cut = 1; cut < len; cut += len / 40) {
    MUST(file_write_atomic(p->path, bytes, len - cut, &err));
    sluice_status st = ledger_open(p->path, LEDGER_READ, NULL, &l, &err);
    if (!st) st = ledger_check(l, &err);
    refused += st != SLUICE_OK;
    if (l) ledger_close(l, &err);
  }
  assert_true(refused >= 39);
  free(bytes);
}

/* ---- statements
 * --------------------------------------------------------------------------------------------------------- */

static void an_error_inside_a_transaction_undoes_it(void **state) {
  struct ledger *l = create(*state);
  unsigned char hash[SHA256_BYTES];
  MUST(ledger_begin(l, &err));
  assert_int_equal(ledger_begin(l, &err), SLUICE_INTERNAL);
  MUST(ledger_put_blob(l, slice_of("kept only with the rest"), hash, &err));
  /* A message whose parent is not there breaks a foreign key. */
  unsigned char nobody[SHA256_BYTES] = {1};
  assert_int_equal(ledger_put_message(l, nobody, 1, "user", slice_of("x"), hash, &err), SLUICE_INTERNAL);
  assert_int_equal(ledger_commit(l, &err), SLUICE_INTERNAL); /* nothing is open any more, and that is not silence */
  assert_int_equal(count(l, "SELECT count(*) FROM blob"), 0);
  MUST(ledger_close(l, &err));
}

static void constraints_hold(void **state) {
  struct ledger *l = create(*state);
  assert_int_equal(ledger_run(l, "INSERT INTO sample VALUES(x'00', 'a', 'b', 1, 1)", LEDGER_NO_VALUES, &err),
                   SLUICE_INTERNAL);
  assert_int_equal(ledger_run(l, "INSERT INTO meta VALUES(?1, ?2)", LEDGER_VALUES(lv_text("k")), &err),
                   SLUICE_INTERNAL);
  assert_int_equal(ledger_run(l, "INSERT INTO nowhere VALUES(1)", LEDGER_NO_VALUES, &err), SLUICE_INTERNAL);
  assert_int_equal(
      ledger_run(l, "INSERT INTO host(hash, json) VALUES(?1, ?2)",
                 LEDGER_VALUES(lv_hash((const unsigned char *)"01234567890123456789012345678901"), lv_blob("x", 1)),
                 &err),
      SLUICE_INTERNAL); /* STRICT: a blob is no TEXT */
  MUST(ledger_close(l, &err));
}

static void values_come_back_as_they_went(void **state) {
  struct ledger *l = create(*state);
  struct ledger_rows *q, *inner;
  bool row;
  MUST(ledger_query(l, "SELECT ?1, ?2, ?3, ?4, ?5, ?6",
                    LEDGER_VALUES(lv_int(INT64_MIN), lv_real(0.1), lv_text("\xc3\xa9"), lv_blob("a\0b", 3), lv_null(),
                                  lv_real_or_null(NAN)),
                    &q, &err));
  MUST(ledger_next(q, &row, &err));
  assert_true(row);
  assert_int_equal(ledger_columns(q), 6);
  assert_true(ledger_int(q, 0) == INT64_MIN);
  assert_true(ledger_real(q, 1) == 0.1);
  assert_string_equal(ledger_text(q, 2), "\xc3\xa9");
  assert_int_equal(ledger_bytes(q, 3).len, 3);
  assert_memory_equal(ledger_bytes(q, 3).ptr, "a\0b", 3);
  assert_int_equal(ledger_type_of(q, 4), LEDGER_NULL);
  assert_string_equal(ledger_text(q, 4), "");
  assert_true(ledger_real(q, 5) != ledger_real(q, 5));
  /* The same literal again while the first is in use. */
  static const char sql[] = "SELECT 1 UNION SELECT 2";
  struct ledger_rows *outer;
  MUST(ledger_query(l, sql, LEDGER_NO_VALUES, &outer, &err));
  MUST(ledger_next(outer, &row, &err));
  MUST(ledger_query(l, sql, LEDGER_NO_VALUES, &inner, &err));
  MUST(ledger_next(inner, &row, &err));
  assert_int_equal(ledger_int(inner, 0), 1);
  MUST(ledger_next(outer, &row, &err));
  assert_int_equal(ledger_int(outer, 0), 2);
  ledger_rows_end(inner);
  ledger_rows_end(outer);
  ledger_rows_end(q);
  MUST(ledger_close(l, &err));
}

/* ---- content
 * ------------------------------------------------------------------------------------------------------------ */

static void dialogues_share_their_prefix(void **state) {
  struct ledger *l = create(*state);
  unsigned char root[SHA256_BYTES], tip[SHA256_BYTES], again[SHA256_BYTES], name[SHA256_BYTES];
  MUST(ledger_begin(l, &err));
  MUST(ledger_put_message(l, NULL, 0, "user", slice_of("hello"), root, &err));
  for (int policy = 0; policy < 7; policy++) {
    memcpy(tip, root, sizeof tip);
    MUST(ledger_put_message(l, tip, 1, "bot", slice_of(policy < 5 ? "same" : "other"), tip, &err));
  }
  MUST(ledger_put_message(l, NULL, 0, "user", slice_of("hello"), again, &err));
  MUST(ledger_commit(l, &err));
  assert_memory_equal(root, again, sizeof root);
  assert_int_equal(count(l, "SELECT count(*) FROM message"), 3);
  assert_int_equal(count(l, "SELECT count(*) FROM blob"), 3);
  message_hash_of(NULL, "user", slice_of("hello"), name);
  assert_memory_equal(name, root, sizeof name);
  message_hash_of(NULL, "bot", slice_of("hello"), name); /* who said it is part of it */
  assert_memory_not_equal(name, root, sizeof name);
  MUST(ledger_close(l, &err));
}

static void any_bytes_are_kept(void **state) {
  struct ledger *l = create(*state);
  const struct slice texts[] = {
      {"", 0}, {NULL, 0}, {"\0", 1}, {"a\0b\xff\xfe", 5}, {"\xf0\x9f\x98", 3}, {"\xf0\x9f\x98\x80", 4}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    unsigned char hash[SHA256_BYTES];
    struct buffer back;
    buffer_init(&back, 0);
    MUST(ledger_put_blob(l, texts[i], hash, &err));
    MUST(ledger_get_blob(l, hash, &back, &err));
    assert_int_equal(back.len, texts[i].len);
    if (back.len) assert_memory_equal(back.ptr, texts[i].ptr, back.len);
    buffer_free(&back);
  }
  assert_int_equal(count(l, "SELECT count(*) FROM blob WHERE typeof(body) = 'text'"), 2); /* "" and the whole emoji */
  unsigned char missing[SHA256_BYTES] = {7};
  struct buffer back;
  buffer_init(&back, 0);
  assert_int_equal(ledger_get_blob(l, missing, &back, &err), SLUICE_INPUT);
  MUST(ledger_close(l, &err));
}

static void provenance_is_stored_once(void **state) {
  struct ledger *l = create(*state);
  int64_t a, b, c;
  MUST(ledger_put_host(l, &a, &err));
  MUST(ledger_put_host(l, &b, &err));
  assert_true(a == b);
  MUST(ledger_put_engine(l, "{\"x\":1}", &a, &err));
  MUST(ledger_put_engine(l, "{\"x\":1}", &b, &err));
  MUST(ledger_put_engine(l, "{\"x\":2}", &c, &err));
  assert_true(a == b && a != c);
  MUST(ledger_put_scorer(l, "choice", 1, "rule=sum", "metric", &a, &err));
  MUST(ledger_put_scorer(l, "choice", 2, "rule=sum", "metric", &b, &err));
  assert_true(a != b); /* another version is another series */
  MUST(ledger_put_dataset(l, "rps:rounds=3", "rps", 5, NULL, &a, &err));
  MUST(ledger_put_dataset(l, "rps:rounds=3", "rps", 5, NULL, &b, &err));
  assert_true(a == b);
  char host[256];
  assert_int_equal(gethostname(host, sizeof host), 0);
  assert_int_equal(count(l, "SELECT count(*) FROM host WHERE json LIKE '%processors%'"), 1);
  MUST(ledger_close(l, &err));
}

/* ---- runs and baselines
 * --------------------------------------------------------------------------------------------------- */

static void add_run(struct ledger *l, const char *id, bool limited) {
  static const unsigned char hash[SHA256_BYTES] = {3};
  MUST(ledger_run(l,
                  "INSERT INTO run(id, plan_hash, suite, suite_json, tool_version, started_ns, limited)"
                  " VALUES(?1, ?2, 's', '{}', '0', 0, ?3)",
                  LEDGER_VALUES(lv_text(id), lv_hash(hash), lv_int(limited)), &err));
}

static void words_name_runs(void **state) {
  struct ledger *l = create(*state);
  char id[LEDGER_RUN_ID];
  assert_int_equal(ledger_find_run(l, "latest", id, &err), SLUICE_USAGE);
  add_run(l, "01AAAAAAAAAAAAAAAAAAAAAAAA", false);
  add_run(l, "01AB000000000000000000000A", true);
  MUST(ledger_find_run(l, NULL, id, &err));
  assert_string_equal(id, "01AB000000000000000000000A");
  MUST(ledger_find_run(l, "01aaa", id, &err));
  assert_string_equal(id, "01AAAAAAAAAAAAAAAAAAAAAAAA");
  assert_int_equal(ledger_find_run(l, "01A", id, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "2 runs"));
  assert_int_equal(ledger_find_run(l, "good", id, &err), SLUICE_USAGE);
  /* An empty run of no cells is finished: it is the limited one that must not pass. */
  assert_int_equal(ledger_baseline_set(l, "good", "01AB000000000000000000000A", NULL, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "limited"));
  assert_int_equal(ledger_baseline_set(l, "good", "nobody", NULL, &err), SLUICE_USAGE);
  MUST(ledger_close(l, &err));
}

static void ids_sort_by_time_and_do_not_repeat(void **state) {
  (void)state;
  char a[LEDGER_RUN_ID], b[LEDGER_RUN_ID];
  ledger_new_id(a);
  clock_sleep_ns(3000000);
  ledger_new_id(b);
  assert_int_equal(strlen(a), 26);
  assert_true(strcmp(a, b) < 0);
  assert_int_equal(strspn(a, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 26);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  log_set(LOG_ERROR, false);
  const struct CMUnitTest tests[] = {TEST(a_new_ledger_is_one_file_that_says_what_it_is),
                                     TEST(a_reader_never_makes_nor_changes_a_file),
                                     TEST(a_reader_leaves_no_files_behind),
                                     TEST(other_files_are_refused_and_left_alone),
                                     TEST(a_newer_schema_is_refused),
                                     TEST(a_wrong_path_is_the_callers_mistake),
                                     TEST(truncated_files_are_errors),
                                     TEST(an_error_inside_a_transaction_undoes_it),
                                     TEST(constraints_hold),
                                     TEST(values_come_back_as_they_went),
                                     TEST(dialogues_share_their_prefix),
                                     TEST(any_bytes_are_kept),
                                     TEST(provenance_is_stored_once),
                                     TEST(words_name_runs),
                                     TEST(ids_sort_by_time_and_do_not_repeat)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
