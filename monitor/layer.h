/* Private to monitor/: a text with all its readings. The stream's own text is one layer; what a run in it decodes to is
 * another. */
#ifndef SLUICE_MONITOR_LAYER_H
#define SLUICE_MONITOR_LAYER_H

#include "monitor/fold.h"
#include "monitor/leet.h"

/* A lane that is made from another one, its base. It sleeps while its text and its detectors' state are the base's. */
struct derived_lane {
  struct lane lane;
  bool open, awake;
};
struct layer {
  struct lane raw;
  struct derived_lane folded, leet;
  struct folder folder; /* raw -> folded */
  struct leet letters;  /* folded, or raw while that sleeps -> leet */
};

sluice_status layer_open(struct layer *y, struct monitor_stream *s, struct sluice_error *err);
void layer_close(struct layer *y);
/* Runs every lane over what was appended to the raw view. *hold: the earliest raw offset that may still be protected.
 */
sluice_status layer_scan(struct layer *y, bool final, uint64_t *hold, struct sluice_error *err);

#endif
