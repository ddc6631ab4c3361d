/* Private to monitor/: a text with all its readings. The stream's own text is one layer; what a run in it decodes to is
 * another. */
#ifndef SLUICE_MONITOR_LAYER_H
#define SLUICE_MONITOR_LAYER_H

#include "monitor/decode.h"
#include "monitor/leet.h"

/* A lane that is made from another one, its base. It sleeps while its text and its detectors' state are the base's. */
struct derived_lane {
  struct lane lane;
  bool open, awake;
};
enum { LANE_NAME = 48, FIRST_LANES = 3 };
struct layer {
  struct lane raw;
  struct derived_lane folded, leet;
  struct folder folder; /* raw -> folded */
  struct leet letters;  /* folded, or raw while that sleeps -> leet */
  struct decoder decoders[DECODE_KINDS];
  struct decoder *outer; /* whose run this is the text of; NULL: what was pushed */
  int depth;
  char names[FIRST_LANES][LANE_NAME]; /* raw, folded, leet; or base64, base64+folded, ... */
};

sluice_status layer_open(struct layer *y, struct monitor_stream *s, struct decoder *outer, struct sluice_error *err);
void layer_close(struct layer *y);
/* Runs every lane over what was appended to the raw view. *hold: the earliest raw offset that may still be protected.
 */
sluice_status layer_scan(struct layer *y, bool final, uint64_t *hold, struct sluice_error *err);
/* A finding in the layer's raw offsets, on its way to the stream. */
sluice_status layer_report(struct layer *y, const struct found *f, struct sluice_error *err);

/* For what a run decodes to. */
sluice_status layer_new(struct decoder *outer, struct layer **out, struct sluice_error *err);
void layer_free(struct layer *y); /* NULL is fine */
void layer_reset(struct layer *y);
sluice_status layer_append(struct layer *y, struct slice bytes, struct sluice_error *err);
void layer_keep(struct layer *y, uint64_t hold); /* bytes that no rule can see any more may go */

#endif
