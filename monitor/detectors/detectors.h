/* Private to monitor/: the table of detectors. A detector is one file here and one line in table.c. */
#ifndef SLUICE_MONITOR_DETECTORS_H
#define SLUICE_MONITOR_DETECTORS_H

#include "monitor/stream.h"

struct detector {
  const char *name;
  sluice_status (*open)(const struct monitor_policy *p, void **state, struct sluice_error *err);
  void (*close)(void *state);
  /* The state of another lane with the same text so far; from NULL: as it was opened, for a text that begins anew. */
  void (*copy)(const struct monitor_policy *p, void *to, const void *from);
  /* Of two lanes that read the same since lane_back bytes: whether what they read before makes no difference. */
  bool (*same)(const struct monitor_policy *p, const void *a, const void *b);
  /* New whole characters stand in the lane's view from `scanned` on. Reports what is decided through lane_report, and
   * lowers *hold to the earliest offset that it may still protect. final: decide as if the text ended. */
  sluice_status (*scan)(struct lane *l, void *state, bool final, uint64_t *hold, struct sluice_error *err);
};
extern const struct detector detector_rules;

extern const struct detector *const detectors[];
extern const size_t n_detectors;

#endif
