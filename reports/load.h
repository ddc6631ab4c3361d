/* Private to reports: what the loading files share. */
#ifndef SLUICE_REPORTS_LOAD_H
#define SLUICE_REPORTS_LOAD_H

#include "reports/model.h"

const char *report_keep(struct report *r, const char *text); /* a copy in the report's memory; NULL: none left */
const char *report_pair_key(struct arena *a, const char *x, const char *y);
/* Indices, or -1. judge: the judge's name; NULL: not a judge's column. */
int report_find_column(const struct report *r, size_t benchmark, const char *metric, const char *judge);
int report_find_policy(const struct report *r, const char *name);
int report_find_benchmark(const struct report *r, const char *name);
int report_find_facet(const struct report *r, const char *engine, const char *monitor);
sluice_status report_add_fact(struct report *r, const char *group, const char *name, const char *value,
                              struct sluice_error *err);

#endif
