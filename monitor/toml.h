/* Private to monitor/: TOML 1.0 as rule files use it (toml.io). Dates, inline tables and dotted keys on the left of `=`
 * are refused by name, never misread. */
#ifndef SLUICE_MONITOR_TOML_H
#define SLUICE_MONITOR_TOML_H

#include "base/base.h"

struct cJSON;
/* Errors name file and line. A key that stands twice is one. Caller deletes *out. */
sluice_status toml_parse(const char *name, struct slice text, struct cJSON **out, struct sluice_error *err);

#endif
