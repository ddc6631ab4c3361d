/* GGUF's blocks of quantised weights, element by element: what every faster reading is tested against. Layouts as the
 * format's reference defines them (ggml-common.h, ggml-quants.c); numbers are little-endian.
 *
 *   Q8_0   32 elements, 34 bytes:   f16 d; int8 q[32].                          value = d * q
 *   Q4_0   32 elements, 18 bytes:   f16 d; 16 bytes: element i in the low half of byte i, 16 + i in the high half.
 *                                                                                value = d * (q - 8)
 *   Q4_K  256 elements, 144 bytes:  f16 d, dmin; 12 bytes: scale and minimum of eight groups of 32, six bits each;
 *                                   128 bytes of halves, 32 bytes hold two groups.  value = d * scale * q - dmin * min
 *   Q4_1   32 elements, 20 bytes:   f16 d, m; 16 bytes as in Q4_0.                value = d * q + m
 *   Q5_0   32 elements, 22 bytes:   f16 d; 32 bits, the fifth of each element; 16 bytes as in Q4_0.
 *                                                                                value = d * (q - 16)
 *   Q5_1   32 elements, 24 bytes:   f16 d, m; then as Q5_0.                        value = d * q + m
 *   Q5_K  256 elements, 176 bytes:  as Q4_K, with 32 bytes before the halves: bit g of byte i is the fifth of element i
 *                                   of group g.                                   value = d * scale * q - dmin * min
 *   Q3_K  256 elements, 110 bytes:  32 bytes: bit g of byte i is the third of element i of group g of 32; 64 bytes, 32
 *                                   hold the pairs of bits of four groups; 12 bytes: scales of sixteen groups of 16,
 *                                   six bits each; f16 d.                         value = d * (scale - 32) * (q - 4)
 *   Q6_K  256 elements, 210 bytes:  128 bytes of low halves, 64 bytes of high pairs of bits, int8 scale[16] of groups
 * of 16, f16 d.                                    value = d * scale * (q - 32) Q2_K  256 elements, 84 bytes:   16
 * bytes: scale of a group of 16 in the low half, minimum in the high one; 64 bytes of pairs of bits as in Q3_K; f16 d,
 * dmin.        value = d * scale * q - dmin * min IQ4_NL 32 elements, 18 bytes:   as Q4_0. value = d * nonlinear[q]
 *   IQ4_XS 256 elements, 136 bytes: f16 d; 16 bits, the high two of eight scales; 4 bytes, their low halves; 128 bytes,
 * 16 a group of 32, as in Q4_0.                    value = d * (scale - 32) * nonlinear[q]
 */
#include <string.h>

#include "engine/model/model.h"

static void read_q8_0(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0);
  for (int i = 0; i < 32; i++) out[i] = d * (float)(int8_t)b[2 + i];
}

static void read_q4_0(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0);
  for (int i = 0; i < 16; i++) {
    out[i] = d * (float)((b[2 + i] & 15) - 8);
    out[16 + i] = d * (float)((b[2 + i] >> 4) - 8);
  }
}

/* Six bits each: groups 0 to 3 in the low six bits of bytes 0 to 3 (scales) and 4 to 7 (minima); of groups 4 to 7 the
 * low four bits in bytes 8 to 11, scale below and minimum above, and the high two on top of groups 0 to 3. */
static void q4_k_group(const uint8_t *packed, int group, int *scale, int *minimum) {
  if (group < 4) {
    *scale = packed[group] & 63;
    *minimum = packed[group + 4] & 63;
    return;
  }
  *scale = (packed[group + 4] & 15) | packed[group - 4] >> 6 << 4;
  *minimum = packed[group + 4] >> 4 | packed[group] >> 6 << 4;
}

static void read_q4_k(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0), dmin = dtype_to_float(b, DTYPE_F16, 1);
  for (int group = 0; group < 8; group++) {
    const uint8_t *halves = b + 16 + group / 2 * 32;
    int scale, minimum;
    q4_k_group(b + 4, group, &scale, &minimum);
    const float step = d * (float)scale, below = dmin * (float)minimum;
    for (int i = 0; i < 32; i++)
      out[group * 32 + i] = step * (float)(group % 2 ? halves[i] >> 4 : halves[i] & 15) - below;
  }
}

static void read_q6_k(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b + 208, DTYPE_F16, 0);
  for (int i = 0; i < 256; i++) {
    const int side = i / 128, quarter = i % 128 / 32, at = i % 32; /* quarters 0 and 1 lie low, 2 and 3 high */
    const uint8_t low = b[side * 64 + quarter % 2 * 32 + at], high = b[128 + side * 32 + at];
    const int q = (quarter < 2 ? low & 15 : low >> 4) | (high >> 2 * quarter & 3) << 4;
    out[i] = d * (float)(int8_t)b[192 + i / 16] * (float)(q - 32);
  }
}

static void read_q4_1(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0), m = dtype_to_float(b, DTYPE_F16, 1);
  for (int i = 0; i < 16; i++) {
    out[i] = d * (float)(b[4 + i] & 15) + m;
    out[16 + i] = d * (float)(b[4 + i] >> 4) + m;
  }
}

/* bits: the fifth bits, then the halves. */
static int five_bits(const uint8_t *bits, int i) {
  const int half = i < 16 ? bits[4 + i] & 15 : bits[4 + i - 16] >> 4;
  return half | (bits[i / 8] >> i % 8 & 1) << 4;
}

static void read_q5_0(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0);
  for (int i = 0; i < 32; i++) out[i] = d * (float)(five_bits(b + 2, i) - 16);
}

static void read_q5_1(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0), m = dtype_to_float(b, DTYPE_F16, 1);
  for (int i = 0; i < 32; i++) out[i] = d * (float)five_bits(b + 4, i) + m;
}

static void read_q5_k(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0), dmin = dtype_to_float(b, DTYPE_F16, 1);
  for (int i = 0; i < 256; i++) {
    const int group = i / 32, at = i % 32;
    int scale, minimum;
    q4_k_group(b + 4, group, &scale, &minimum);
    const uint8_t half = b[48 + group / 2 * 32 + at];
    const int q = (group % 2 ? half >> 4 : half & 15) | (b[16 + at] >> group & 1) << 4;
    out[i] = d * (float)scale * (float)q - dmin * (float)minimum;
  }
}

/* The low four bits of scales 0 to 7 and 8 to 15 in the low and high halves of bytes 0 to 7; the high two of four
 * scales, i, i + 4, i + 8 and i + 12, in byte 8 + i. */
static int q3_k_scale(const uint8_t *packed, int i) {
  const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
  return (low | (packed[8 + i % 4] >> i / 4 * 2 & 3) << 4) - 32;
}

static void read_q3_k(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b + 108, DTYPE_F16, 0);
  for (int i = 0; i < 256; i++) {
    const int group = i / 32, at = i % 32;
    const int q = (b[32 + group / 4 * 32 + at] >> group % 4 * 2 & 3) | (b[at] >> group & 1) << 2;
    out[i] = d * (float)q3_k_scale(b + 96, i / 16) * (float)(q - 4);
  }
}

static void read_q2_k(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b + 80, DTYPE_F16, 0), dmin = dtype_to_float(b + 82, DTYPE_F16, 0);
  for (int i = 0; i < 256; i++) {
    const int q = b[16 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3, group = b[i / 16];
    out[i] = d * (float)(group & 15) * (float)q - dmin * (float)(group >> 4);
  }
}

const int8_t dtype_nonlinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void read_iq4_nl(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0);
  for (int i = 0; i < 32; i++) {
    const uint8_t both = b[2 + i % 16];
    out[i] = d * (float)dtype_nonlinear[i < 16 ? both & 15 : both >> 4];
  }
}

static void read_iq4_xs(const uint8_t *b, float *out) {
  const float d = dtype_to_float(b, DTYPE_F16, 0);
  for (int i = 0; i < 256; i++) {
    const int group = i / 32, high = (b[2] | b[3] << 8) >> 2 * group & 3;
    const int scale = (b[4 + group / 2] >> group % 2 * 4 & 15) | high << 4;
    const uint8_t both = b[8 + group * 16 + i % 16];
    out[i] = d * (float)(scale - 32) * (float)dtype_nonlinear[i % 32 < 16 ? both & 15 : both >> 4];
  }
}

void dtype_block_to_floats(const void *block, enum dtype d, float *out) {
  if (d == DTYPE_Q8_0) read_q8_0(block, out);
  if (d == DTYPE_Q4_0) read_q4_0(block, out);
  if (d == DTYPE_Q4_K) read_q4_k(block, out);
  if (d == DTYPE_Q6_K) read_q6_k(block, out);
  if (d == DTYPE_Q4_1) read_q4_1(block, out);
  if (d == DTYPE_Q5_0) read_q5_0(block, out);
  if (d == DTYPE_Q5_1) read_q5_1(block, out);
  if (d == DTYPE_Q5_K) read_q5_k(block, out);
  if (d == DTYPE_Q3_K) read_q3_k(block, out);
  if (d == DTYPE_Q2_K) read_q2_k(block, out);
  if (d == DTYPE_IQ4_NL) read_iq4_nl(block, out);
  if (d == DTYPE_IQ4_XS) read_iq4_xs(block, out);
}
