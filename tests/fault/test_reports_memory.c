/* Reports when memory runs out, SQLite's included: every format either comes out byte for byte as without trouble, or
 * the call says why not. A page that lacks a number would be worse than none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/report_fixture.h"

#include "tests/exhaustion.h"

struct request {
  const char *path, *format, *against;
};

static sluice_status make_report(void *ctx, struct buffer *result, struct sluice_error *err) {
  const struct request *q = ctx;
  struct report_options o = plain_options(q->against);
  struct ledger *l = NULL;
  struct report *r = NULL;
  sluice_status st = ledger_open(q->path, LEDGER_READ, NULL, &l, err);
  if (!st) st = report_load(l, &o, &r, err);
  if (!st) st = format(q->format)->write(l, r, result, err);
  report_free(r);
  struct sluice_error closing = {0};
  if (ledger_close(l, &closing) && !st) {
    *err = closing;
    st = closing.code;
  }
  return st;
}

static void every_format(void **state) {
  (void)state;
  for (const struct report_format *f = report_format_table(); f->name; f++)
    exhaust(f->name, make_report, &(struct request){troubled_path, f->name, NULL}, f == report_format_table() ? 60 : 5,
            40);
}

static void against_a_baseline(void **state) {
  (void)state;
  exhaust("text against a baseline", make_report, &(struct request){whole_path, "text", "blessed"}, 5, 40);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_format),
      cmocka_unit_test(against_a_baseline),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
