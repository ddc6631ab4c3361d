/* Random blocks of GGUF's quantised types, written from numbers that are known: the writer's side of the formats, while
 * the engine has the reader's. Steps and minima are small powers of two times small integers, so every value is exact
 * in a float. */
#ifndef SLUICE_TESTS_QUANTISED_BLOCKS_H
#define SLUICE_TESTS_QUANTISED_BLOCKS_H

#include <math.h>
#include <string.h>

#include "engine/model/model.h"

static inline double block_put_step(struct rng *r, uint8_t *at, int log2_base) {
  const double step = ldexp(1 + rng_below(r, 7), log2_base - (int)rng_below(r, 3));
  dtype_from_float(at, DTYPE_F16, 0, (float)step);
  return step;
}

static inline void block_random_q4_k(struct rng *r, uint8_t *b, double *value) {
  const double d = block_put_step(r, b, -12), dmin = block_put_step(r, b + 2, -12);
  int scale[8], minimum[8];
  memset(b + 4, 0, 140);
  for (int g = 0; g < 8; g++) scale[g] = (int)rng_below(r, 64), minimum[g] = (int)rng_below(r, 64);
  for (int g = 0; g < 4; g++) {
    b[4 + g] = (uint8_t)(scale[g] | scale[g + 4] >> 4 << 6);
    b[8 + g] = (uint8_t)(minimum[g] | minimum[g + 4] >> 4 << 6);
    b[12 + g] = (uint8_t)((scale[g + 4] & 15) | (minimum[g + 4] & 15) << 4);
  }
  for (int i = 0; i < 256; i++) {
    const int q = (int)rng_below(r, 16), g = i / 32;
    b[16 + i / 64 * 32 + i % 32] |= (uint8_t)(i / 32 % 2 ? q << 4 : q);
    value[i] = d * scale[g] * q - dmin * minimum[g];
  }
}

static inline void block_random_q6_k(struct rng *r, uint8_t *b, double *value) {
  memset(b, 0, 192);
  const double d = block_put_step(r, b + 208, -14);
  for (int g = 0; g < 16; g++) b[192 + g] = (uint8_t)(rng_below(r, 256));
  for (int i = 0; i < 256; i++) {
    const int q = (int)rng_below(r, 64), in = i % 128, side = i / 128;
    const uint8_t low = q & 15, high = (uint8_t)(q >> 4);
    if (in < 64)
      b[side * 64 + in] |= low;
    else
      b[side * 64 + in - 64] |= (uint8_t)(low << 4);
    b[128 + side * 32 + in % 32] |= (uint8_t)(high << (in / 32 * 2));
    value[i] = d * (int8_t)b[192 + i / 16] * (q - 32);
  }
}

/* One block of type d at b, and what it says. */
static inline void block_random(struct rng *r, enum dtype d, uint8_t *b, double *value) {
  if (d == DTYPE_Q8_0) {
    const double step = block_put_step(r, b, -11);
    for (int i = 0; i < 32; i++) {
      const int q = (int)rng_below(r, 255) - 127;
      b[2 + i] = (uint8_t)q;
      value[i] = step * q;
    }
  } else if (d == DTYPE_Q4_0) {
    const double step = block_put_step(r, b, -8);
    memset(b + 2, 0, 16);
    for (int i = 0; i < 32; i++) {
      const int q = (int)rng_below(r, 16);
      b[2 + i % 16] |= (uint8_t)(i < 16 ? q : q << 4);
      value[i] = step * (q - 8);
    }
  } else if (d == DTYPE_Q4_K) {
    block_random_q4_k(r, b, value);
  } else if (d == DTYPE_Q6_K) {
    block_random_q6_k(r, b, value);
  }
}

#endif
