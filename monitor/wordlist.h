/* Private to monitor/: word lists become one pattern and its keywords. */
#ifndef SLUICE_MONITOR_WORDLIST_H
#define SLUICE_MONITOR_WORDLIST_H

#include "monitor/policy.h"

struct cJSON;
sluice_status wordlist_from_array(struct monitor_policy *p, uint32_t rule, const char *where, const struct cJSON *words,
                                  struct sluice_error *err);
/* One word or phrase a line; empty lines and lines that begin with # are skipped. */
sluice_status wordlist_from_file(struct monitor_policy *p, uint32_t rule, const char *where, const char *dir,
                                 const char *file, struct sluice_error *err);
#endif
