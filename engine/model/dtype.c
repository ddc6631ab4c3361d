/* Element types of weights. BF16 is the upper half of a float; F16 is IEEE 754 binary16. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/model.h"

size_t dtype_size(enum dtype d) {
  return d == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype d) {
  static const char *const names[] = {[DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16"};
  return names[d];
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

static void to_floats(const struct weight *w, size_t from, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) out[i] = dtype_to_float(w->data, w->dtype, from + i);
}

void weight_row(const struct weight *w, int row, float *out) {
  to_floats(w, (size_t)row * (size_t)w->cols, (size_t)w->cols, out);
}

float *weight_to_float(const struct weight *w) {
  size_t n = (size_t)w->rows * (size_t)w->cols;
  float *out = sluice_alloc_aligned(n * sizeof *out);
  if (out) to_floats(w, 0, n, out);
  return out;
}
