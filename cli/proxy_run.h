/* What the parts of `sluice proxy` share: verb_proxy.c (options, log), proxy_policy.c (the policy that is in force,
 * which a SIGHUP replaces), proxy_metrics.c (verdicts and counts as metrics). */
#ifndef SLUICE_CLI_PROXY_RUN_H
#define SLUICE_CLI_PROXY_RUN_H

#include "cli/gate.h"

#include <pthread.h>

enum { PROXY_CATEGORIES_MAX = 256, PROXY_THREADS_MAX = 256, DETECTOR_BUCKETS = 8 };
struct verdict_count { /* a category's events, by mode and action */
  char category[104];
  uint64_t n[MONITOR_MODES][3], not_scanned[2]; /* [1]: of rules that fail open */
  uint64_t exposed[MONITOR_MODES];              /* bytes */
};
/* How long detectors took for a piece of text; one thread writes, any may read. */
struct detector_times {
  uint64_t pieces, timed, ns, buckets[DETECTOR_BUCKETS];
};
struct generation; /* a policy that was read, and what stands on it */
struct proxy_run {
  const char *policy_path, *mode, *source, *audit_path;
  bool audit_text, quiet;
  size_t threads;
  struct detector_times times[2 * PROXY_THREADS_MAX]; /* by thread, then by the threads beside them */
  pthread_mutex_t lock;                               /* over all below */
  struct generation *current;
  struct monitor_counts ended; /* of answers that have ended */
  struct verdict_count verdicts[PROXY_CATEGORIES_MAX];
  size_t n_verdicts;
  uint64_t stopped, blocked, unread_parts;
  uint64_t tokens_saved_max, stops_without_limit;
  uint64_t audit_lost, audit_lost_told; /* rows; the number at which it is said again */
};

/* ---- proxy_policy.c ---- */
struct texts_side {
  struct answer_texts *whole;
  struct wire_gate judged; /* the gate's own */
  size_t thread;           /* where they are judged; those beside the loops come after the loops' */
};
struct answer_texts { /* the texts of one answer, and of its request */
  struct gate gate, prompts;
  struct texts_side answer, asked;
  struct generation *generation;
  uint64_t request;
};
/* Reads policy and audit; answers that begin from now on stand on them. What fails leaves all as it was. */
sluice_status proxy_policy_load(struct proxy_run *r, struct sluice_error *err);
sluice_status proxy_policy_close(struct proxy_run *r, struct sluice_error *err); /* the audit's first error */
const char *proxy_policy_words(const struct proxy_run *r, size_t *rules);        /* its name */
sluice_status proxy_policy_begin(struct proxy_run *r, size_t thread, const struct wire_asked *asked,
                                 struct wire_gate *answer, struct wire_gate *prompts, void **texts,
                                 struct sluice_error *err);
/* The answer's texts, to the thread beside this one, or back. */
void proxy_policy_move(struct proxy_run *r, size_t thread, struct answer_texts *t, bool beside);
void proxy_policy_end(struct proxy_run *r, struct answer_texts *t, const struct monitor_counts *counts);

/* ---- proxy_metrics.c: r->lock is held by who calls count_event ---- */
sluice_status proxy_metrics_list(struct proxy_run *r, const struct monitor_policy *p, struct sluice_error *err);
void proxy_metrics_count(struct proxy_run *r, const struct monitor_event *e);
void proxy_metrics_time(struct detector_times *d, int64_t ns); /* of the thread that calls */
sluice_status proxy_metrics_write(void *run, struct buffer *out, struct sluice_error *err);

#endif
