/* For tests of reports: two synthetic ledgers in a folder of their own, and what a format makes of one. */
#ifndef SLUICE_TESTS_REPORT_FIXTURE_H
#define SLUICE_TESTS_REPORT_FIXTURE_H

#include "ledger_fixture.h"
#include "reports/reports.h"

static char folder[256];
static char whole_path[300], troubled_path[300];

static const char *scratch(const char *name) {
  static char path[600];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static struct report_options plain_options(const char *against) {
  return (struct report_options){.against = against, .confidence = NAN, .margin = NAN, .min_effect = NAN};
}

static const struct report_format *format(const char *name) {
  const struct report_format *f = report_format_table();
  while (f->name && strcmp(f->name, name) != 0) f++;
  assert_non_null(f->name);
  return f;
}

static inline char *render(const char *ledger, const char *name, const struct report_options *o, size_t *len) {
  struct ledger *l;
  struct report *r;
  struct buffer b;
  buffer_init(&b, 0);
  MUST(ledger_open(ledger, LEDGER_READ, NULL, &l, &fixture_error));
  MUST(report_load(l, o, &r, &fixture_error));
  MUST(format(name)->write(l, r, &b, &fixture_error));
  report_free(r);
  MUST(ledger_close(l, &fixture_error));
  return buffer_take(&b, len);
}

static inline size_t occurrences(const char *text, const char *word) {
  size_t n = 0;
  for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) n++;
  return n;
}

/* A field of a CSV line whose quoted fields hold no comma, or one that is quoted. */
static inline void csv_field(const char *line, int index, char out[128]) {
  for (; index > 0; index--) {
    if (*line == '"') line = strchr(line + 1, '"') + 1;
    line += strcspn(line, ",\r") + 1;
  }
  bool quoted = *line == '"';
  const char *from = line + quoted;
  snprintf(out, 128, "%.*s", (int)strcspn(from, quoted ? "\"" : ",\r"), from);
}

static inline void edit(const char *path, const char *const *statements) {
  struct ledger *l;
  MUST(ledger_open(path, LEDGER_EDIT, NULL, &l, &fixture_error));
  MUST(ledger_begin(l, &fixture_error));
  for (; *statements; statements++) MUST(ledger_run(l, *statements, LEDGER_NO_VALUES, &fixture_error));
  MUST(ledger_commit(l, &fixture_error));
  MUST(ledger_close(l, &fixture_error));
}

static int setup(void **state) {
  (void)state;
  const char *base = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%.200s/sluice-report-XXXXXX", base && *base ? base : "/tmp");
  if (!mkdtemp(folder)) return -1;
  snprintf(whole_path, sizeof whole_path, "%s/whole.db", folder);
  snprintf(troubled_path, sizeof troubled_path, "%s/troubled.db", folder);
  struct fixture whole = {.dialogues = 24, .runs = 2},
                 troubled = {.dialogues = 6, .runs = 1, .hostile = true, .troubled = true};
  fixture_make(whole_path, &whole);
  fixture_make(troubled_path, &troubled);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  unlink(whole_path);
  unlink(troubled_path);
  unlink(scratch("odd.db"));
  return rmdir(folder);
}

#endif
