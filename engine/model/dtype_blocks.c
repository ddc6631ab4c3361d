/* GGUF's blocks of quantised weights, element by element: what every faster reading is tested against. Layouts as the
 * format's reference defines them (ggml-common.h, ggml-quants.c); numbers are little-endian.
 *
 *   Q8_0   32 elements, 34 bytes:   f16 d; int8 q[32].                          value = d * q
 *   Q4_0   32 elements, 18 bytes:   f16 d; 16 bytes: element i in the low half of byte i, 16 + i in the high half.
 *                                                                                value = d * (q - 8)
 *   Q4_K  256 elements, 144 bytes:  f16 d, dmin; 12 bytes: scale and minimum of eight groups of 32, six bits each;
 *                                   128 bytes of halves, 32 bytes hold two groups.  value = d * scale * q - dmin * min
 *   Q6_K  256 elements, 210 bytes:  128 bytes of low halves, 64 bytes of high pairs of bits, int8 scale[16] of groups
 *                                   of 16, f16 d.                                 value = d * scale * (q - 32) */
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

void dtype_block_to_floats(const void *block, enum dtype d, float *out) {
  if (d == DTYPE_Q8_0) read_q8_0(block, out);
  if (d == DTYPE_Q4_0) read_q4_0(block, out);
  if (d == DTYPE_Q4_K) read_q4_k(block, out);
  if (d == DTYPE_Q6_K) read_q6_k(block, out);
}
