/* Private to reports: one writer a format. */
#ifndef SLUICE_REPORTS_FORMATS_H
#define SLUICE_REPORTS_FORMATS_H

#include "reports/model.h"
#include "reports/page.h"

sluice_status report_write_html(struct ledger *l, const struct report *r, struct buffer *out, struct sluice_error *err);
sluice_status report_write_markdown(struct ledger *l, const struct report *r, struct buffer *out,
                                    struct sluice_error *err);
sluice_status report_write_text(struct ledger *l, const struct report *r, struct buffer *out, struct sluice_error *err);
sluice_status report_write_csv(struct ledger *l, const struct report *r, struct buffer *out, struct sluice_error *err);
sluice_status report_write_junit(struct ledger *l, const struct report *r, struct buffer *out,
                                 struct sluice_error *err);

#endif
