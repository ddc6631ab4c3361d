/* The table of formats: a new one is one file and one line here. */
#include "reports/formats.h"

static const struct report_format table[] = {
    {"html", ".html", "one self-contained page with charts, tables and dialogues", report_write_html},
    {"text", ".txt", "one table for a terminal, at most 100 columns wide", report_write_text},
    {"md", ".md", "a summary for a pull request or a job's step summary", report_write_markdown},
    {"csv", ".csv", "one line a score: values, intervals, differences, bytes", report_write_csv},
    {"junit", ".xml", "one test case a comparison, for build servers", report_write_junit},
    {NULL, NULL, NULL, NULL},
};

const struct report_format *report_format_table(void) {
  return table;
}
