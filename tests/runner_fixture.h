/* A suite over a tiny random model, for tests of the runner: seconds of nothing but plumbing. */
#ifndef SLUICE_TESTS_RUNNER_FIXTURE_H
#define SLUICE_TESTS_RUNNER_FIXTURE_H

#include "runner/runner.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct sluice_error fixture_error;
#define MUST(call)                                                                                                     \
  do {                                                                                                                 \
    if ((call) != SLUICE_OK) fail_msg("%s: %s", #call, fixture_error.message);                                         \
  } while (0)

struct runner_fixture {
  struct tiny_model model;
  char suite_path[300], ledger_path[300];
  struct suite *suite;
  struct plan *plan;
};

/* %s: the model's folder. */
static const char fixture_suite[] =
    "{\"name\":\"fixture\",\"engines\":{\"tiny\":{\"model\":\"%s\",\"jobs\":1}},"
    "\"policies\":[\"full\",\"streaming:budget=25%%\"],"
    "\"benchmarks\":[{\"name\":\"rps\",\"data\":\"rps:rounds=6\",\"n\":2,\"choice\":\"first\"},"
    "{\"name\":\"lines\",\"data\":\"streameval:lines=40\",\"n\":1,\"max_tokens\":4},"
    "{\"name\":\"story\",\"data\":\"story:words=60\",\"n\":1}]}";

static inline void fixture_remove_ledger(const struct runner_fixture *f) {
  static const char *const ends[] = {"", "-wal", "-shm", "-journal", ".running"};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    char path[400];
    snprintf(path, sizeof path, "%s%s", f->ledger_path, ends[i]);
    unlink(path);
  }
}

static inline void fixture_plan(struct runner_fixture *f, const char *suite, const struct plan_options *o) {
  char text[4096];
  snprintf(text, sizeof text, suite, f->model.dir);
  MUST(file_write_atomic(f->suite_path, text, strlen(text), &fixture_error));
  MUST(suite_read(f->suite_path, &f->suite, &fixture_error));
  MUST(plan_make(f->suite, o, &f->plan, &fixture_error));
}

static inline void fixture_unplan(struct runner_fixture *f) {
  plan_free(f->plan);
  suite_free(f->suite);
  f->plan = NULL;
  f->suite = NULL;
}

static inline int runner_setup(void **state) {
  struct runner_fixture *f = calloc(1, sizeof *f);
  if (!f || !tiny_model_make(&f->model, 11)) return -1;
  snprintf(f->suite_path, sizeof f->suite_path, "%s/suite.json", f->model.dir);
  snprintf(f->ledger_path, sizeof f->ledger_path, "%s/ledger.db", f->model.dir);
  *state = f;
  return 0;
}

static inline int runner_teardown(void **state) {
  struct runner_fixture *f = *state;
  fixture_remove_ledger(f);
  unlink(f->suite_path);
  tiny_model_remove(&f->model);
  free(f);
  return 0;
}

/* One text of everything that must not depend on how often the run was stopped. Caller frees. */
static inline char *fixture_outcome(struct ledger *l) {
  struct ledger_rows *q;
  struct buffer b;
  bool row = true;
  buffer_init(&b, 0);
  MUST(ledger_query(
      l,
      "SELECT c.ordinal, a.ordinal, a.attempt_no, e.state, hex(e.out_hash), hex(e.message_hash), e.tokens, e.kv_held,"
      " e.kv_peak, (SELECT count(*) FROM turn t WHERE t.attempt_id = a.id),"
      " (SELECT count(*) FROM turn_nll n WHERE n.attempt_id = a.id)"
      " FROM attempt a JOIN cell c ON c.id = a.cell_id LEFT JOIN attempt_end e ON e.attempt_id = a.id"
      " ORDER BY c.ordinal, a.ordinal, a.attempt_no",
      LEDGER_NO_VALUES, &q, &fixture_error));
  for (;;) {
    MUST(ledger_next(q, &row, &fixture_error));
    if (!row) break;
    for (int c = 0; c < ledger_columns(q); c++)
      MUST(buffer_printf(&b, &fixture_error, "%s%s", ledger_text(q, c), c + 1 < ledger_columns(q) ? "|" : "\n"));
  }
  ledger_rows_end(q);
  return buffer_take(&b, NULL);
}

#endif
