/* sluice report: a ledger as one HTML file, as a table for a terminal, Markdown, CSV or JUnit. */
#include "cli/verbs.h"

#include "base/base.h"
#include "ledger/ledger.h"
#include "reports/reports.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct verb_help help = {
    .verb = "report",
    .summary = "write a run as one HTML file, or as text, Markdown, CSV or JUnit",
    .usage = "sluice report LEDGER [--out FILE] [--against POLICY|BASELINE|RUN] [options]",
    .examples = "  sluice report demo.db                              # report.html, against the policy \"full\"\n"
                "  sluice report demo.db --against streaming --out streaming.html\n"
                "  sluice report nightly.db --against good --out nightly.html --gate\n"
                "  sluice report demo.db --format text                # one table for a terminal\n"
                "  sluice report demo.db --format md >> \"$GITHUB_STEP_SUMMARY\"\n",
    .notes =
        "The HTML file needs no network and no JavaScript. The same ledger gives the same bytes.\n"
        "Exit codes: 0 written; with --gate and a baseline run 3 regression, 4 incomplete, 5 inconclusive, 6 nothing "
        "to compare.\n"};

struct request {
  struct report_options report;
  const char *out, *format, *max_size;
  bool gate;
};

/* "20M", "500K", "1G" or plain bytes. */
static sluice_status read_size(const char *text, uint64_t *bytes, struct sluice_error *err) {
  static const char units[] = "KMG";
  char *end;
  double value = strtod(text, &end), unit = 1;
  const char *at = *end ? strchr(units, *end >= 'a' ? *end - 32 : *end) : NULL;
  for (const char *u = units; at && u <= at; u++) unit *= 1024;
  if (end == text || !(value > 0) || (*end && !at) || (at && end[1]) || value * unit < 65536 || value * unit > 1e9)
    return sluice_fail(err, SLUICE_USAGE, "--max-size \"%s\": expected 64K to 900M, such as 20M", text);
  *bytes = (uint64_t)(value * unit);
  return SLUICE_OK;
}

static const struct report_format *named_format(const char *name) {
  for (const struct report_format *f = report_format_table(); f->name; f++)
    if (!strcmp(f->name, name)) return f;
  return NULL;
}

/* By --format, else by the file's ending, else HTML. */
static sluice_status choose_format(const struct request *q, const struct report_format **out,
                                   struct sluice_error *err) {
  const char *names[8] = {0};
  size_t n = 0;
  *out = report_format_table();
  for (const struct report_format *f = report_format_table(); f->name && n < 7; f++) names[n++] = f->name;
  if (q->format && !(*out = named_format(q->format))) {
    const char *near = suggest(q->format, names);
    return sluice_fail(err, SLUICE_USAGE, "--format \"%s\" is unknown%s%s%s: html, text, md, csv or junit", q->format,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
  }
  if (q->format || !q->out) return SLUICE_OK;
  for (const struct report_format *f = report_format_table(); f->name; f++) {
    size_t len = strlen(q->out), ending = strlen(f->extension);
    if (len > ending && !strcmp(q->out + len - ending, f->extension)) *out = f;
  }
  return SLUICE_OK;
}

/* HTML goes to a file unless told otherwise: nobody reads half a megabyte of it in a terminal. */
static sluice_status deliver(const struct request *q, const struct report_format *f, const struct buffer *page,
                             struct sluice_error *err) {
  const char *path = q->out ? q->out : strcmp(f->name, "html") ? "-" : "report.html";
  if (!strcmp(path, "-")) return fd_write_all(STDOUT_FILENO, page->ptr ? page->ptr : "", page->len, err);
  sluice_status st = file_write_atomic(path, page->ptr ? page->ptr : "", page->len, err);
  if (!st) log_line(LOG_INFO, "%s: %.0f KB", path, (double)page->len / 1000);
  return st;
}

static sluice_status write_report(const char *path, const struct request *q, int *code, struct sluice_error *err) {
  struct ledger *l = NULL;
  struct report *r = NULL;
  const struct report_format *f;
  struct buffer page;
  buffer_init(&page, 0);
  sluice_status st = choose_format(q, &f, err);
  if (!st) st = ledger_open(path, LEDGER_READ, NULL, &l, err);
  if (!st) st = report_load(l, &q->report, &r, err);
  if (!st) st = f->write(l, r, &page, err);
  if (!st) st = deliver(q, f, &page, err);
  if (!st) log_line(LOG_INFO, "%s", report_headline(r));
  *code = st ? sluice_exit_code(st) : q->gate ? report_exit_code(r) : 0;
  report_free(r);
  buffer_free(&page);
  struct sluice_error late;
  ledger_close(l, &late);
  return st;
}

int verb_report(int argc, char **argv) {
  struct request q = {.report = {.confidence = NAN, .margin = NAN, .min_effect = NAN}};
  const struct option_spec options[] = {
      {"out", 'o', OPTION_STRING, &q.out, "FILE",
       "where to write; - is stdout (default: report.html, or stdout for others)"},
      {"against", 0, OPTION_STRING, &q.report.against, "NAME",
       "a policy of the run, a baseline or a run (default: full)"},
      {"format", 0, OPTION_STRING, &q.format, "NAME",
       "html, text, md, csv or junit (default: by the file's ending, else html)"},
      {"run", 0, OPTION_STRING, &q.report.run, "RUN",
       "a run's id or the beginning of one, a baseline's name (default: latest)"},
      {"margin", 0, OPTION_DOUBLE, &q.report.margin, "X",
       "how much worse still passes (default: the suite's, else 0.05)"},
      {"confidence", 0, OPTION_DOUBLE, &q.report.confidence, "X", "of intervals (default: the suite's, else 0.95)"},
      {"min-effect", 0, OPTION_DOUBLE, &q.report.min_effect, "X",
       "smallest regression that counts (default: the suite's, else "
       "0.02)"},
      {"max-size", 0, OPTION_STRING, &q.max_size, "SIZE",
       "bound of the HTML file, 64K to 900M (default: 16M); dialogues past it "
       "are left out and counted"},
      {"gate", 0, OPTION_FLAG, &q.gate, NULL, "exit with the verdict's code"},
  };
  struct sluice_error err = {0};
  struct string_list words = {0};
  bool helped = false;
  int code = 0;
  sluice_status st =
      options_parse(&help, options, sizeof options / sizeof options[0], argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n != 1)
    st = sluice_fail(&err, SLUICE_USAGE, "report takes one ledger; `sluice report -h` shows how");
  if (!st && !helped && q.max_size) st = read_size(q.max_size, &q.report.max_bytes, &err);
  if (st)
    code = sluice_exit_code(st);
  else if (!helped)
    st = write_report(words.items[0], &q, &code, &err);
  if (st) log_line(LOG_ERROR, "%s", err.message);
  free(words.items);
  return code;
}
