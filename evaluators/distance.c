/* Accuracy by distance: how far back the evidence lies, in the dataset's own unit, in doubling buckets. */
#include "evaluators/evaluators.h"

#include <limits.h>

int distance_bucket(int distance) {
  if (distance < 0) return -1;
  if (distance <= 1) return 0;
  int bucket = 0;
  for (unsigned last = 1; last < (unsigned)distance; last *= 2) bucket++;
  return bucket < DISTANCE_BUCKETS ? bucket : DISTANCE_BUCKETS - 1;
}

void distance_range(int bucket, int *low, int *high) {
  *low = bucket == 0 ? 0 : (1 << (bucket - 1)) + 1;
  *high = bucket == DISTANCE_BUCKETS - 1 ? INT_MAX : 1 << bucket;
}
