/* Private to the rules detector: where a rule's next match begins, decided once and for all, or still open. */
#ifndef SLUICE_MONITOR_ATTEMPT_H
#define SLUICE_MONITOR_ATTEMPT_H

#include "monitor/stream.h"

enum attempt_result {
  ATTEMPT_HIT,  /* a match that no further text can change */
  ATTEMPT_MISS, /* no start in the range can match, whatever follows */
  ATTEMPT_OPEN, /* `start` is undecided */
  ATTEMPT_FAULT /* `start` hit the match limit */
};
struct attempt {
  uint64_t start, end;             /* of the match */
  uint64_t group_start, group_end; /* of the protect group, else the whole match */
  bool exempt;                     /* the protect group took no part, or is empty */
  uint64_t capped;                 /* a start that was decided on a full window and failed; UINT64_MAX: none */
};
/* Tries the starts lo..hi (raw offsets, hi inclusive) in order. */
enum attempt_result attempt_run(struct lane *s, const struct rule *r, uint64_t lo, uint64_t hi, bool final,
                                struct attempt *a);
/* The same for one start that is a character's, while more may come. */
enum attempt_result attempt_one(struct lane *s, const struct rule *r, uint64_t at, struct attempt *a);
/* The earliest byte that the protect group could hold in any match that begins at or after an open start. */
uint64_t attempt_probe(struct lane *s, const struct rule *r, uint64_t open);

#endif
