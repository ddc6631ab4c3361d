/* Private to monitor/: which readings of a text the rules of a policy ask for. */
#ifndef SLUICE_MONITOR_POLICY_VIEWS_H
#define SLUICE_MONITOR_POLICY_VIEWS_H

#include "monitor/policy.h"

struct cJSON;
/* The list "views" of an object; `otherwise` where it has none. */
sluice_status policy_read_views(const struct cJSON *o, const char *where, unsigned otherwise, unsigned *views,
                                struct sluice_error *err);
/* What a rule that says nothing is run over. Leet turns digits into letters: it fits words, not what is made of digits
 * and capitals. */
unsigned policy_default_views(bool caseless, bool checked);
/* Once all rules are read. */
sluice_status policy_index_lanes(struct monitor_policy *p, struct sluice_error *err);
void policy_free_lanes(struct monitor_policy *p);

#endif
