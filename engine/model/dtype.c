/* Element types of weights. BF16 is the upper half of a float; F16 is IEEE 754 binary16. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/model.h"

const char *dtype_name(enum dtype d) {
  static const char *const names[DTYPE_COUNT] = {
      [DTYPE_F32] = "F32",   [DTYPE_F16] = "F16",       [DTYPE_BF16] = "BF16",     [DTYPE_Q8_0] = "Q8_0",
      [DTYPE_Q4_0] = "Q4_0", [DTYPE_Q4_K] = "Q4_K",     [DTYPE_Q6_K] = "Q6_K",     [DTYPE_Q4_1] = "Q4_1",
      [DTYPE_Q5_0] = "Q5_0", [DTYPE_Q5_1] = "Q5_1",     [DTYPE_Q3_K] = "Q3_K",     [DTYPE_Q5_K] = "Q5_K",
      [DTYPE_Q2_K] = "Q2_K", [DTYPE_IQ4_NL] = "IQ4_NL", [DTYPE_IQ4_XS] = "IQ4_XS",
  };
  return names[d];
}

size_t dtype_size(enum dtype d) {
  return dtype_block_bytes(d);
}

static float float_of_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static uint32_t bits_of_float(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

static float float_of_half(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 0x3ffu;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  float small = (float)fraction * 0x1p-24f; /* subnormal: exact in a float */
  return sign ? -small : small;
}

/* Shifts out the low bits, rounding to nearest, ties to even. */
static uint32_t shift_to_even(uint32_t x, unsigned shift) {
  uint32_t kept = x >> shift, rest = x & ((1u << shift) - 1), half = 1u << (shift - 1);
  return kept + (rest > half || (rest == half && (kept & 1u)));
}

static uint16_t half_of_float(float f) {
  uint32_t bits = bits_of_float(f), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (size >> 13 & 0x3ffu)); /* NaN stays one */
  if (size >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);                        /* 65536 and above: infinity */
  if (size >= 0x38800000u)
    return (uint16_t)(sign | (shift_to_even(size, 13) - (112u << 10))); /* may carry to infinity */
  if (size < 0x33000000u) return (uint16_t)sign;                        /* below half of the smallest */
  uint32_t fraction = (size & 0x7fffffu) | 0x800000u;
  return (uint16_t)(sign | shift_to_even(fraction, 126u - (size >> 23)));
}

static uint16_t bfloat_of_float(float f) {
  uint32_t bits = bits_of_float(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u); /* a NaN must not round to infinity */
  return (uint16_t)shift_to_even(bits, 16);
}

float dtype_to_float(const void *data, enum dtype d, size_t index) {
  uint16_t half;
  float f;
  if (d == DTYPE_F32) {
    memcpy(&f, (const char *)data + index * 4, sizeof f);
    return f;
  }
  memcpy(&half, (const char *)data + index * 2, sizeof half);
  return d == DTYPE_F16 ? float_of_half(half) : float_of_bits((uint32_t)half << 16);
}

void dtype_from_float(void *data, enum dtype d, size_t index, float value) {
  if (d == DTYPE_F32) {
    memcpy((char *)data + index * 4, &value, sizeof value);
    return;
  }
  uint16_t half = d == DTYPE_F16 ? half_of_float(value) : bfloat_of_float(value);
  memcpy((char *)data + index * 2, &half, sizeof half);
}

void dtype_to_floats(const void *data, enum dtype d, size_t first, size_t n, float *out) {
  if (!dtype_is_quantised(d)) {
    for (size_t i = 0; i < n; i++) out[i] = dtype_to_float(data, d, first + i);
    return;
  }
  const size_t block = (size_t)dtype_block(d);
  for (size_t i = 0; i + block <= n; i += block)
    dtype_block_to_floats((const char *)data + (first + i) / block * dtype_block_bytes(d), d, out + i);
}

void weight_row(const struct weight *w, int row, float *out) {
  dtype_to_floats(w->data, w->dtype, (size_t)row * (size_t)w->cols, (size_t)w->cols, out);
}

float *weight_to_float(const struct weight *w) {
  size_t n = (size_t)w->rows * (size_t)w->cols;
  float *out = sluice_alloc_aligned(n * sizeof *out);
  if (out) dtype_to_floats(w->data, w->dtype, 0, n, out);
  return out;
}
