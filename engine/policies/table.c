/* The table of cache policies: one line each. */
#include "engine/policies/policy.h"

/* X(family, what it keeps, keys with their defaults) */
#define POLICIES(X)                                                                                                    \
  X(full, "every token", "")                                                                                           \
  X(window, "the last tokens, as they were computed", "budget=1024")                                                   \
  X(recompute, "the last tokens, computed again from their text for every scored position", "budget=1024")             \
  X(streaming, "attention sinks and the last tokens (StreamingLLM)", "sinks=4,recent=1020 or budget")                  \
  X(sirllm, "sinks and the most surprising tokens (SirLLM)",                                                           \
    "sinks=4,recent=0,entropy=1020,decay=1,mode=paper|repo or budget")                                                 \
  X(random, "sinks and a random choice of earlier rounds", "budget=1024,sinks=4,seed=0")                               \
  X(interval, "sinks and earlier rounds thinned evenly", "budget=1024,sinks=4")

#define POLICY_FAMILY(name, summary, keys) &policy_##name,
#define POLICY_INFO(name, summary, keys) {#name, summary, keys},

const struct policy_family *const policy_families[] = {POLICIES(POLICY_FAMILY) NULL};

static const struct policy_info infos[] = {POLICIES(POLICY_INFO){NULL, NULL, NULL}};

const struct policy_info *policy_table(void) {
  return infos;
}
