/* Private to the runner: scoring recorded outputs. */
#ifndef SLUICE_RUNNER_SCORE_H
#define SLUICE_RUNNER_SCORE_H

#include "runner/runner.h"

/* The recorded dialogue; dialogue_free. */
sluice_status rebuild_dialogue(struct ledger *l, const unsigned char uid[SHA256_BYTES], struct dialogue *d,
                               struct sluice_error *err);
/* Tokens that a canonical policy keeps: "budget", or sinks + recent + entropy; 0: all. */
int64_t kept_tokens(const char *policy_full);

#endif
