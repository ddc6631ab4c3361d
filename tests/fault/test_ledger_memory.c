/* The ledger when memory runs out, SQLite's own included: whichever allocation fails, the call says so or does its work
 * whole; a transaction that failed has left nothing, and the next try succeeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "ledger/ledger.h"
#include "tests/exhaustion.h"

static char folder[] = "/dev/shm/sluice-ledger-XXXXXX", path[64];

static void remove_ledger(void) {
  char name[96];
  static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
  for (int i = 0; i < 4; i++) {
    snprintf(name, sizeof name, "%s%s", path, tails[i]);
    unlink(name);
  }
}

static sluice_status write_rows(struct ledger *l, struct buffer *result, struct sluice_error *err) {
  unsigned char hash[SHA256_BYTES], first[SHA256_BYTES], second[SHA256_BYTES];
  int64_t dataset = 0, engine = 0, scorer = 0, host = 0;
  sluice_status st = ledger_begin(l, err);
  if (!st) st = ledger_put_blob(l, slice_of("a text that is kept once"), hash, err);
  if (!st) st = ledger_put_message(l, NULL, 0, "user", slice_of("what?"), first, err);
  if (!st) st = ledger_put_message(l, first, 1, "bot", slice_of("this"), second, err);
  if (!st) st = ledger_put_dataset(l, "grocery:seed=1", "grocery", 500, "Apache-2.0", &dataset, err);
  if (!st) st = ledger_put_engine(l, "{\"engine\":\"local\"}", &engine, err);
  if (!st) st = ledger_put_scorer(l, "acc_c", 1, "{}", "metric", &scorer, err);
  if (!st) st = ledger_put_host(l, &host, err);
  if (!st) st = ledger_commit(l, err);
  ledger_rollback(l);
  if (!st) st = ledger_get_blob(l, hash, result, err);
  if (!st)
    st = buffer_printf(result, err, " %lld %lld %lld\n", (long long)dataset, (long long)engine, (long long)scorer);
  return st;
}

static sluice_status read_rows(struct ledger *l, struct buffer *result, struct sluice_error *err) {
  struct ledger_rows *q = NULL;
  bool row = false;
  int64_t n = 0;
  sluice_status st = ledger_query(l, "SELECT name, spec, size, license FROM dataset WHERE size > ?",
                                  LEDGER_VALUES(lv_int(1)), &q, err);
  if (!st) st = ledger_next(q, &row, err);
  for (; !st && row; st = ledger_next(q, &row, err)) {
    st = buffer_printf(result, err, "%s %lld ", ledger_text(q, 0), (long long)ledger_int(q, 2));
    if (!st) st = buffer_append(result, ledger_bytes(q, 1).ptr, ledger_bytes(q, 1).len, err);
    if (st) break;
  }
  ledger_rows_end(q);
  if (!st) st = ledger_query_int(l, "SELECT count(*) FROM message", LEDGER_NO_VALUES, -1, &n, err);
  if (!st) st = buffer_printf(result, err, " %lld", (long long)n);
  if (!st) st = ledger_check(l, err);
  return st;
}

/* Made, written, closed; opened again to read. */
static sluice_status use_ledger(void *ctx, struct buffer *result, struct sluice_error *err) {
  struct ledger *l = NULL;
  struct sluice_error closing = {0};
  (void)ctx;
  remove_ledger();
  sluice_status st = ledger_open(path, LEDGER_CREATE, NULL, &l, err);
  if (!st) st = write_rows(l, result, err);
  if (ledger_close(l, &closing) && !st) {
    *err = closing;
    st = closing.code;
  }
  l = NULL;
  if (!st) st = ledger_open(path, LEDGER_READ, NULL, &l, err);
  if (!st) st = read_rows(l, result, err);
  if (ledger_close(l, &closing) && !st) {
    *err = closing;
    st = closing.code;
  }
  return st;
}

static void each_allocation_of_a_ledger(void **state) {
  (void)state;
  exhaust("ledger", use_ledger, NULL, 300, 200);
}

/* A failed write leaves the ledger as it was. */
static void a_failed_transaction_leaves_nothing(void **state) {
  (void)state;
  if (!CAN_INJECT) skip();
  struct sluice_error err = {0};
  struct ledger *l = NULL;
  struct buffer result;
  buffer_init(&result, 0);
  remove_ledger();
  assert_int_equal(ledger_open(path, LEDGER_CREATE, NULL, &l, &err), SLUICE_OK);
  int failures = 0;
  sluice_status st = SLUICE_NOMEM;
  for (long n = 0; st && n < 20000; n += 1 + n / 64) {
    int64_t messages = -1, blobs = -1;
    countdown = n;
    st = write_rows(l, &result, &err);
    countdown = -1;
    if (st && st != SLUICE_NOMEM) fail_msg("allocation %ld: %s", n, err.message);
    if (!st) break;
    failures++;
    assert_int_equal(ledger_query_int(l, "SELECT count(*) FROM message", LEDGER_NO_VALUES, -1, &messages, &err),
                     SLUICE_OK);
    assert_int_equal(ledger_query_int(l, "SELECT count(*) FROM blob", LEDGER_NO_VALUES, -1, &blobs, &err), SLUICE_OK);
    if (messages == 2) { /* committed; what came after failed */
      assert_int_equal(blobs, 3);
      break;
    }
    if (messages || blobs)
      fail_msg("allocation %ld: %d messages and %d texts of a transaction that failed", n, (int)messages, (int)blobs);
  }
  assert_true(failures > 20);
  assert_int_equal(write_rows(l, &result, &err), SLUICE_OK);
  assert_int_equal(ledger_close(l, &err), SLUICE_OK);
  buffer_free(&result);
}

static int setup(void **state) {
  (void)state;
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/l.db", folder);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_ledger();
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_allocation_of_a_ledger),
      cmocka_unit_test(a_failed_transaction_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
