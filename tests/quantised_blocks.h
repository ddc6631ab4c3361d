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

/* Q4_1, Q5_0 and Q5_1: a step, a minimum where the type has one, fifth bits where it has them, halves. */
static inline void block_random_of_32(struct rng *r, enum dtype d, uint8_t *b, double *value) {
  const bool five = d != DTYPE_Q4_1, floor = d != DTYPE_Q5_0;
  const double step = block_put_step(r, b, -9), below = floor ? block_put_step(r, b + 2, -5) : 0;
  uint8_t *fifth = b + (floor ? 4 : 2), *halves = fifth + (five ? 4 : 0);
  memset(fifth, 0, five ? 20 : 16);
  for (int i = 0; i < 32; i++) {
    const int q = (int)rng_below(r, five ? 32 : 16);
    if (q & 16) fifth[i / 8] |= (uint8_t)(1 << i % 8);
    halves[i % 16] |= (uint8_t)(i < 16 ? q & 15 : (q & 15) << 4);
    value[i] = floor ? step * q + below : step * (q - 16);
  }
}

static inline void block_random_q5_k(struct rng *r, uint8_t *b, double *value) {
  uint8_t four[144];
  block_random_q4_k(r, four, value); /* the scales lie alike */
  memcpy(b, four, 16);
  memset(b + 16, 0, 32);
  memcpy(b + 48, four + 16, 128);
  const double d = dtype_to_float(b, DTYPE_F16, 0);
  for (int i = 0; i < 256; i++) {
    const int g = i / 32;
    if (rng_below(r, 2)) continue;
    const int low = g < 4 ? b[4 + g] & 63 : (b[12 + g - 4] & 15) | b[4 + g - 4] >> 6 << 4;
    b[16 + i % 32] |= (uint8_t)(1 << g);
    value[i] += d * low * 16;
  }
}

static inline void block_random_q3_k(struct rng *r, uint8_t *b, double *value) {
  int scale[16];
  memset(b, 0, 108);
  const double d = block_put_step(r, b + 108, -12);
  for (int i = 0; i < 16; i++) {
    scale[i] = (int)rng_below(r, 64);
    b[96 + i % 8] |= (uint8_t)((scale[i] & 15) << (i < 8 ? 0 : 4));
    b[104 + i % 4] |= (uint8_t)(scale[i] >> 4 << i / 4 * 2);
  }
  for (int i = 0; i < 256; i++) {
    const int q = (int)rng_below(r, 8);
    b[32 + i / 128 * 32 + i % 32] |= (uint8_t)((q & 3) << i / 32 % 4 * 2);
    b[i % 32] |= (uint8_t)((q >> 2) << i / 32);
    value[i] = d * (scale[i / 16] - 32) * (q - 4);
  }
}

static inline void block_random_q2_k(struct rng *r, uint8_t *b, double *value) {
  memset(b, 0, 84);
  const double d = block_put_step(r, b + 80, -9), dmin = block_put_step(r, b + 82, -9);
  for (int i = 0; i < 16; i++) b[i] = (uint8_t)rng_below(r, 256);
  for (int i = 0; i < 256; i++) {
    const int q = (int)rng_below(r, 4);
    b[16 + i / 128 * 32 + i % 32] |= (uint8_t)(q << i / 32 % 4 * 2);
    value[i] = d * (b[i / 16] & 15) * q - dmin * (b[i / 16] >> 4);
  }
}

/* The numbers as the format's reference lists them (kvalues_iq4nl in ggml-common.h). */
static inline int block_nonlinear(int q) {
  static const int numbers[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return numbers[q];
}

static inline void block_random_iq4(struct rng *r, enum dtype d, uint8_t *b, double *value) {
  const int groups = d == DTYPE_IQ4_XS ? 8 : 1;
  uint8_t *halves = b + (groups == 8 ? 8 : 2);
  memset(b, 0, dtype_block_bytes(d));
  const double step = block_put_step(r, b, groups == 8 ? -14 : -10);
  for (int g = 0; g < groups; g++, halves += 16) {
    const int scale = groups == 8 ? (int)rng_below(r, 64) : 33;
    if (groups == 8) {
      b[2 + g / 4] |= (uint8_t)(scale >> 4 << g % 4 * 2);
      b[4 + g / 2] |= (uint8_t)((scale & 15) << g % 2 * 4);
    }
    for (int i = 0; i < 32; i++) {
      const int q = (int)rng_below(r, 16);
      halves[i % 16] |= (uint8_t)(i < 16 ? q : q << 4);
      value[g * 32 + i] = step * (scale - 32) * block_nonlinear(q);
    }
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
  } else if (d == DTYPE_Q5_K) {
    block_random_q5_k(r, b, value);
  } else if (d == DTYPE_Q3_K) {
    block_random_q3_k(r, b, value);
  } else if (d == DTYPE_Q2_K) {
    block_random_q2_k(r, b, value);
  } else if (d == DTYPE_IQ4_NL || d == DTYPE_IQ4_XS) {
    block_random_iq4(r, d, b, value);
  } else {
    block_random_of_32(r, d, b, value);
  }
}

#endif
