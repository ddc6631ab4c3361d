/* Private to monitor/: parts of patterns that a policy names once ("define") and its patterns call, as (?&name). */
#ifndef SLUICE_MONITOR_FRAGMENTS_H
#define SLUICE_MONITOR_FRAGMENTS_H

#include "base/base.h"

struct cJSON;
/* whose: "policy.json" or "policy.json: rule harm.drugs". Whether the object under "define", if any, is as it must be.
 */
sluice_status fragments_check(const char *whose, const struct cJSON *define, struct sluice_error *err);
/* Writes (?:TEXT) for each (?&name) whose name is defined into the object's "pattern" and the patterns of its allow
 * lists; other names stay, for they are PCRE2's. own, shared: what a rule and its policy define, or NULL; own names
 * come first. A called text may call further names, eight deep. */
sluice_status fragments_apply(const char *where, struct cJSON *object, const struct cJSON *own,
                              const struct cJSON *shared, struct sluice_error *err);

#endif
