/* What bench_texts and bench_streams share: their command line, and the processor time that the monitor takes for a
 * text. */
#ifndef SLUICE_TESTS_BENCH_JUDGED_TEXTS_H
#define SLUICE_TESTS_BENCH_JUDGED_TEXTS_H

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "monitor/policy.h"

enum { TOKEN_BYTES = 4, RUNS = 3, FORM_RULES = 160, ALL_RULES = 1000, NAMES_MAX = 16 };

struct wanted {
  const char *policies[NAMES_MAX], *texts[NAMES_MAX];
  int n_policies, n_texts;
  size_t kb;
  bool alone, hostile, unfiltered;
  char *dir;
};

/* No names: all are. */
static inline bool is_wanted(const char *const *names, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(names[i], name) == 0) return true;
  return n == 0;
}

/* The caller frees dir. */
static inline sluice_status wanted_read(int argc, char **argv, struct wanted *w) {
  const char *data = getenv("SLUICE_DATA"), *dir = NULL;
  for (int i = 1; i < argc; i++) {
    bool value = i + 1 < argc;
    if (value && strcmp(argv[i], "--policy") == 0 && w->n_policies < NAMES_MAX)
      w->policies[w->n_policies++] = argv[++i];
    else if (value && strcmp(argv[i], "--text") == 0 && w->n_texts < NAMES_MAX)
      w->texts[w->n_texts++] = argv[++i];
    else if (value && strcmp(argv[i], "--kb") == 0)
      w->kb = strtoul(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--alone") == 0)
      w->alone = true;
    else if (strcmp(argv[i], "--hostile") == 0)
      w->hostile = true;
    else if (strcmp(argv[i], "--no-prefilter") == 0)
      w->unfiltered = true;
    else
      dir = argv[i];
  }
  w->dir = dir ? sluice_strdup(dir) : sluice_format("%s/rules", data && data[0] ? data : "build/data");
  return w->dir && w->kb ? SLUICE_OK : SLUICE_INTERNAL;
}

/* Processor time: the same on a machine that does other work too. */
static inline double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* One text in pieces of `piece` bytes, ended; a stop begins a new stream. */
static inline sluice_status judge(struct monitor *m, struct slice text, size_t piece, struct monitor_counts *sum,
                                  struct sluice_error *err) {
  struct monitor_stream *s = NULL;
  struct monitor_verdict v = {0};
  sluice_status st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  for (size_t at = 0; !st && at < text.len; at += piece) {
    st = monitor_push(s, (struct slice){text.ptr + at, text.len - at < piece ? text.len - at : piece}, &v, err);
    if (!st) monitor_forget(s, v.released);
    if (st || !v.stop) continue;
    monitor_counts_add(sum, monitor_stream_counts(s));
    monitor_stream_close(s);
    st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  }
  if (!st) st = monitor_settle(s, &v, err);
  if (!st) monitor_counts_add(sum, monitor_stream_counts(s));
  monitor_stream_close(s);
  return st;
}

/* Texts of `whole` bytes in pieces of `piece`. *seconds: the best run. */
static inline sluice_status time_judge(struct monitor *m, struct slice text, size_t whole, size_t piece,
                                       double *seconds, struct monitor_counts *sum, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (int run = 0; run < RUNS && !st; run++) {
    *sum = (struct monitor_counts){0};
    const double began = cpu_seconds();
    for (size_t at = 0; at < text.len && !st; at += whole)
      st = judge(m, (struct slice){text.ptr + at, text.len - at < whole ? text.len - at : whole}, piece, sum, err);
    const double took = cpu_seconds() - began;
    if (run == 0 || took < *seconds) *seconds = took;
  }
  return st;
}

#endif
