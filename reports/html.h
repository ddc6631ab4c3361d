/* Private to reports: the parts of the HTML page. */
#ifndef SLUICE_REPORTS_HTML_H
#define SLUICE_REPORTS_HTML_H

#include "reports/model.h"
#include "reports/page.h"

sluice_status page_style(struct buffer *out, struct sluice_error *err); /* the whole <style> text, palette included */
extern const char *const page_script;

void html_latency(struct page *p, const struct report *r, size_t facet);
void html_coverage(struct page *p, const struct report *r, size_t facet);
void html_errors(struct page *p, const struct report *r);
/* Nothing where no facet has a monitor. */
void html_monitor(struct page *p, struct ledger *l, const struct report *r);
/* One table a facet; has: the facet and column have a trivial answer with turns in common with a score. */
bool html_trivial_has(const struct report *r, size_t facet, size_t column);
void html_trivial(struct page *p, const struct report *r, size_t facet);
void html_facts(struct page *p, const struct report *r);
void html_methods(struct page *p, const struct report *r);
/* Dialogues until the page would pass room bytes; says what was left out. */
void html_dialogues(struct page *p, struct ledger *l, const struct report *r, size_t room);

#endif
