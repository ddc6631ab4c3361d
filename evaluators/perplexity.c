/* Perplexity: exp of the mean surprisal, overall and by position. */
#include "evaluators/evaluators.h"

#include <math.h>
#include <string.h>

/* Bucket starts: 0, 16, 23, 32, 45 ...: 16 * 2^(k/2) rounded, exact in integers for even k and through sqrt 2 for odd
 * ones. */
static uint64_t bucket_start(int bucket) {
  if (bucket == 0) return 0;
  int k = bucket - 1;
  uint64_t even = UINT64_C(16) << (k / 2);
  return k % 2 == 0 ? even : (uint64_t)floor((double)even * M_SQRT2 + 0.5);
}

int position_bucket(uint64_t position) {
  int bucket = 0;
  while (bucket + 1 < POSITION_BUCKETS && position >= bucket_start(bucket + 1)) bucket++;
  return bucket;
}

void position_range(int bucket, uint64_t *start, uint64_t *end) {
  *start = bucket_start(bucket);
  *end = bucket + 1 < POSITION_BUCKETS ? bucket_start(bucket + 1) : UINT64_MAX;
}

void perplexity_begin(struct perplexity *p) {
  memset(p, 0, sizeof *p);
  for (int i = 0; i < POSITION_BUCKETS; i++) position_range(i, &p->buckets[i].start, &p->buckets[i].end);
}

void perplexity_add(struct perplexity *p, uint64_t position, double nats) {
  if (!isfinite(nats)) nats = 1e4; /* a probability of zero must hurt, and must not erase all other tokens */
  struct position_bucket *b = &p->buckets[position_bucket(position)];
  b->tokens++;
  b->nats += nats;
  p->tokens++;
  p->nats += nats;
}

double perplexity_value(double nats, uint64_t tokens) {
  return tokens ? exp(nats / (double)tokens) : NAN;
}
