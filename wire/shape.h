/* Private to wire/: frames that differ from one read before only in their texts. */
#ifndef SLUICE_WIRE_SHAPE_H
#define SLUICE_WIRE_SHAPE_H

#include "wire/dialect.h"

enum { SHAPE_SLOTS_MAX = 8, SHAPE_BYTES_MAX = 4096 };
/* What a slot may hold in the next frame: any other value of the same kind. */
struct shape_slot {
  size_t start, end; /* in the pattern */
  bool number;       /* else a string, quotes included */
  bool sequence;     /* a number that the frame's choices carry */
};
struct shape {
  struct buffer pattern; /* the JSON of a frame */
  struct sketch sketch;  /* and what its dialect found in it */
  const struct dialect *dialect;
  struct shape_slot slots[SHAPE_SLOTS_MAX];
  size_t n_slots;
  unsigned rest, penalty; /* frames that are not worth learning: shapes that nothing matched cost more than they save */
};
void shape_free(struct shape *s);
/* True when json is the pattern but for its slots: then it is well-formed, `last` reads it, and out is what it would
 * find.
 */
bool shape_match(struct shape *s, struct slice json, const struct dialect *last, struct sketch *out,
                 struct sluice_error *err);
/* Remembers a frame that d has just read into found. Never fails: without memory there is no shape. */
void shape_learn(struct shape *s, struct slice json, struct json_span root, const struct dialect *d,
                 const struct sketch *found);

#endif
