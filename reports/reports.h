/* reports: a ledger -> HTML, text, Markdown, CSV, JUnit. Reads the ledger's views, never the runner; intervals and
 * tests come from evaluators. The same ledger and options give the same bytes: no clock, no path, no locale enters a
 * report. */
#ifndef SLUICE_REPORTS_H
#define SLUICE_REPORTS_H

#include "base/base.h"
#include "ledger/ledger.h"

struct report_options {
  const char *run;     /* what ledger_find_run takes; NULL: the latest */
  const char *against; /* a policy of the run as the suite writes it (or its name, where only one has it), a baseline's
                          name, a run's id; NULL: the policy "full", else the suite's first */
  double confidence, margin, min_effect; /* NAN: the suite's gate, else 0.95, 0.05, 0.02 */
  uint64_t max_bytes;                    /* HTML only: dialogues are left out, and counted, past it; 0: 16 MiB */
};

struct report; /* everything that a format renders; owns its memory */
sluice_status report_load(struct ledger *l, const struct report_options *o, struct report **out,
                          struct sluice_error *err);
void report_free(struct report *r);
/* PASS 0, REGRESSED 3, INCOMPLETE 4, INCONCLUSIVE 5, INCOMPARABLE 6: only where a baseline run was given; a comparison
 * of policies inside one run describes and does not judge: 0, or 4 when dialogues are missing. */
int report_exit_code(const struct report *r);
/* One line: the verdict's word and the counts behind it. Lives as long as the report. */
const char *report_headline(const struct report *r);

struct report_format {
  const char *name, *extension, *summary; /* "html", ".html", ... */
  sluice_status (*write)(struct ledger *l, const struct report *r, struct buffer *out, struct sluice_error *err);
};
const struct report_format *report_format_table(void); /* ends with a NULL name */

/* ---- palette: the colours of the page, so that a test can compute their contrast
 * --------------------------------------- */
struct palette_colour {
  const char *name;         /* CSS custom property without the dashes */
  const char *light, *dark; /* "#rrggbb" */
};
struct palette_pair {
  const char *front, *back;
  double ratio; /* WCAG contrast that must be reached in both themes: 4.5 for text, 3 for marks */
};
const struct palette_colour *palette_colours(void); /* ends with a NULL name */
const struct palette_pair *palette_pairs(void);     /* ends with a NULL front */

#endif
