/* One float vector of the instruction set that this file is compiled for: 16 lanes under AVX-512, 8 under AVX2, 4
 * elsewhere. Kernels are written once over it (kernels.inc). The order of every sum is a property of the lane count
 * alone, so that a result depends on the kernel's name and on nothing else. */
#ifndef SLUICE_ENGINE_CPU_VECTOR_H
#define SLUICE_ENGINE_CPU_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/model/model.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VF_LANES 16
#elif defined(__AVX2__)
#define VF_LANES 8
#else
#define VF_LANES 4
#endif

typedef float vf __attribute__((vector_size(VF_LANES * 4)));
typedef int32_t vi __attribute__((vector_size(VF_LANES * 4)));

#define VF_INLINE static inline __attribute__((always_inline))

VF_INLINE vf vf_load(const float *p) {
  vf v;
  memcpy(&v, p, sizeof v);
  return v;
}

VF_INLINE vi vi_load(const int32_t *p) {
  vi v;
  memcpy(&v, p, sizeof v);
  return v;
}

VF_INLINE void vf_store(float *p, vf v) {
  memcpy(p, &v, sizeof v);
}

VF_INLINE vf vf_set1(float x) {
#if VF_LANES == 16
  return (vf)_mm512_set1_ps(x);
#elif VF_LANES == 8
  return (vf)_mm256_set1_ps(x);
#else
  return (vf){x, x, x, x};
#endif
}

VF_INLINE vi vi_set1(int32_t x) {
  vi v = {0};
  return v + x;
}

/* a*b + c; fused where the instruction set fuses. */
VF_INLINE vf vf_fma(vf a, vf b, vf c) {
#if VF_LANES == 16
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VF_LANES == 8
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

/* Lanes of a where mask is all ones, of b where it is zero. */
VF_INLINE vf vf_select(vi mask, vf a, vf b) {
  return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}

VF_INLINE vf vf_max(vf a, vf b) {
#if VF_LANES == 16
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VF_LANES == 8
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return vf_select(a > b, a, b);
#endif
}

VF_INLINE float vf_largest(vf v) {
  float lanes[VF_LANES], m;
  vf_store(lanes, v);
  m = lanes[0];
  for (int i = 1; i < VF_LANES; i++) m = lanes[i] > m ? lanes[i] : m;
  return m;
}

/* Four sums at once: out[j] is the sum of the lanes of the j-th vector, halves first: i + (i + lanes/2), and so on
 * down. */
VF_INLINE void vf_sum4(vf a, vf b, vf c, vf d, float out[4]) {
#if VF_LANES == 16
#define VF_SHUFFLE __builtin_shufflevector
  const vf ab = VF_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                VF_SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  const vf cd = VF_SHUFFLE(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                VF_SHUFFLE(c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  const vf q = VF_SHUFFLE(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
               VF_SHUFFLE(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const vf u = q + VF_SHUFFLE(q, q, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  const vf s = u + VF_SHUFFLE(u, u, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  out[0] = s[0], out[1] = s[4], out[2] = s[8], out[3] = s[12];
#undef VF_SHUFFLE
#elif VF_LANES == 8
  const vf ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
                __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  const vf cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 8, 9, 10, 11) +
                __builtin_shufflevector(c, d, 4, 5, 6, 7, 12, 13, 14, 15);
  const vf q = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) +
               __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
  const vf s = q + __builtin_shufflevector(q, q, 1, 0, 3, 2, 5, 4, 7, 6);
  out[0] = s[0], out[1] = s[4], out[2] = s[2], out[3] = s[6];
#else
  const vf ab = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
  const vf cd = __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
  const vf s = __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
  vf_store(out, s);
#endif
}

VF_INLINE float vf_sum(vf v) {
  float out[4];
  vf_sum4(v, v, v, v, out);
  return out[0];
}

/* A square of VF_LANES vectors is mirrored: lane j of vector i becomes lane i of vector j. Pairs of vectors swap blocks
 * of 1, 2, 4, ... lanes. */
#define VF_SWAP(v, step, low, high)                                                                                    \
  for (int i = 0; i < VF_LANES; i++)                                                                                   \
    if ((i & (step)) == 0) {                                                                                           \
      const vf a = (v)[i], b = (v)[i + (step)];                                                                        \
      (v)[i] = __builtin_shufflevector(a, b, VF_UNPACK low);                                                           \
      (v)[i + (step)] = __builtin_shufflevector(a, b, VF_UNPACK high);                                                 \
    }
#define VF_UNPACK(...) __VA_ARGS__

VF_INLINE void vf_transpose(vf v[VF_LANES]) {
#if VF_LANES == 16
  VF_SWAP(v, 1, (0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          (1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
  VF_SWAP(v, 2, (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
          (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
  VF_SWAP(v, 4, (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
          (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
  VF_SWAP(v, 8, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
          (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#elif VF_LANES == 8
  VF_SWAP(v, 1, (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15))
  VF_SWAP(v, 2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
  VF_SWAP(v, 4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
#else
  VF_SWAP(v, 1, (0, 4, 2, 6), (1, 5, 3, 7))
  VF_SWAP(v, 2, (0, 1, 4, 5), (2, 3, 6, 7))
#endif
}

/* Sums of neighbouring lanes: those of a first, then those of b. */
VF_INLINE vi vi_add_pairs(vi a, vi b) {
#if VF_LANES == 16
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif VF_LANES == 8
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
  return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

VF_INLINE vf vf_of_vi(vi v) {
  return __builtin_convertvector(v, vf);
}

/* sum[lane] += four bytes of w, unsigned, times four of x, signed and not -128. wide: w may pass 127. Exact. */
VF_INLINE vi vi_dot4(vi sum, vi w, vi x, const bool wide) {
#if VF_LANES == 16 && defined(__AVX512VNNI__)
  (void)wide;
  return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
#elif VF_LANES == 16
  const __m512i ones = _mm512_set1_epi16(1), low = _mm512_set1_epi8(127), bit = _mm512_set1_epi8(1);
  const __m512i u = (__m512i)w, s = (__m512i)x;
  const __m512i small = _mm512_maddubs_epi16(wide ? _mm512_and_si512(u, low) : u, s); /* never past 16 bits */
  sum += (vi)_mm512_madd_epi16(small, ones);
  if (!wide) return sum;
  const __m512i top = _mm512_maddubs_epi16(_mm512_and_si512(_mm512_srli_epi16(u, 7), bit), s);
  return sum + (vi)_mm512_madd_epi16(top, _mm512_set1_epi16(128));
#elif VF_LANES == 8
  const __m256i ones = _mm256_set1_epi16(1), low = _mm256_set1_epi8(127), bit = _mm256_set1_epi8(1);
  const __m256i u = (__m256i)w, s = (__m256i)x;
  const __m256i small = _mm256_maddubs_epi16(wide ? _mm256_and_si256(u, low) : u, s); /* never past 16 bits */
  sum += (vi)_mm256_madd_epi16(small, ones);
  if (!wide) return sum;
  const __m256i top = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(u, 7), bit), s);
  return sum + (vi)_mm256_madd_epi16(top, _mm256_set1_epi16(128));
#else
  (void)wide;
  uint8_t u[16];
  int8_t s[16];
  memcpy(u, &w, sizeof u);
  memcpy(s, &x, sizeof s);
  for (int i = 0; i < 16; i++) sum[i / 4] += u[i] * s[i];
  return sum;
#endif
}

/* Without vi_dot4's instruction: words of 16 bits, each the sum of two products of neighbours. They may be added while
 * they fit; vi_add_widened adds neighbours to lanes. */
#if VF_LANES >= 8 && !defined(__AVX512VNNI__)
#define VI_WORDS
#if VF_LANES == 16
VF_INLINE vi vi_word_products(vi w, vi x) {
  return (vi)_mm512_maddubs_epi16((__m512i)w, (__m512i)x);
}
VF_INLINE vi vi_add_words(vi a, vi b) {
  __m512i sum = _mm512_add_epi16((__m512i)a, (__m512i)b);
  __asm__("" : "+v"(sum)); /* else the compiler first makes all products, more than registers hold */
  return (vi)sum;
}
/* sum + the lanes' words */
VF_INLINE vi vi_add_widened(vi sum, vi words) {
  __m512i all = _mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)words, _mm512_set1_epi16(1)));
  __asm__("" : "+v"(all));
  return (vi)all;
}
/* w's bytes have a sign: their sizes, and x with that sign. */
VF_INLINE vi vi_sizes(vi w) {
  return (vi)_mm512_abs_epi8((__m512i)w);
}
VF_INLINE vi vi_signed(vi x, vi w) {
  return (vi)_mm512_mask_sub_epi8((__m512i)x, _mm512_movepi8_mask((__m512i)w), _mm512_setzero_si512(), (__m512i)x);
}
#else
VF_INLINE vi vi_word_products(vi w, vi x) {
  return (vi)_mm256_maddubs_epi16((__m256i)w, (__m256i)x);
}
VF_INLINE vi vi_add_words(vi a, vi b) {
  __m256i sum = _mm256_add_epi16((__m256i)a, (__m256i)b);
  __asm__("" : "+x"(sum)); /* else the compiler first makes all products, more than registers hold */
  return (vi)sum;
}
VF_INLINE vi vi_add_widened(vi sum, vi words) {
  __m256i all = _mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)words, _mm256_set1_epi16(1)));
  __asm__("" : "+x"(all));
  return (vi)all;
}
VF_INLINE vi vi_sizes(vi w) {
  return (vi)_mm256_abs_epi8((__m256i)w);
}
VF_INLINE vi vi_signed(vi x, vi w) {
  return (vi)_mm256_sign_epi8((__m256i)x, (__m256i)w);
}
#endif
#endif

/* VF_LANES stored elements as floats; every F16 and BF16 value is a float, so nothing is rounded. */
VF_INLINE vf vf_load_as(const void *p, const enum dtype dtype) {
  if (dtype == DTYPE_F32) return vf_load(p);
#if VF_LANES == 16
  const __m256i half = _mm256_loadu_si256((const __m256i *)p);
  if (dtype == DTYPE_F16) return (vf)_mm512_cvtph_ps(half);
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
#elif VF_LANES == 8
  const __m128i half = _mm_loadu_si128((const __m128i *)p);
  if (dtype == DTYPE_F16) return (vf)_mm256_cvtph_ps(half);
  return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
#else
  if (dtype == DTYPE_F16) {
    vf v;
    for (int i = 0; i < VF_LANES; i++) v[i] = dtype_to_float(p, DTYPE_F16, (size_t)i);
    return v;
  }
  uint16_t half[VF_LANES];
  memcpy(half, p, sizeof half);
  vi bits;
  for (int i = 0; i < VF_LANES; i++) bits[i] = (int32_t)((uint32_t)half[i] << 16);
  return (vf)bits;
#endif
}

/* The first n < VF_LANES elements, zeros after; reads nothing behind them. */
VF_INLINE vf vf_load_tail(const void *p, const enum dtype dtype, int n) {
  float full[VF_LANES] = {0};
  memcpy(full, p, (size_t)n * (dtype == DTYPE_F32 ? 4 : 2));
  return vf_load_as(full, dtype);
}

/* e^x to 1 unit in the last place or two; x <= -87.3 (and -infinity) gives 0. Cody-Waite reduction, degree-6
 * polynomial. */
VF_INLINE vf vf_exp(vf x) {
  const vi tiny = x < vf_set1(-87.3f);
  x = vf_select(x > vf_set1(88.3f), vf_set1(88.3f), vf_select(tiny, vf_set1(0), x));
  const vf shifted =
      vf_fma(x, vf_set1(1.44269504f), vf_set1(12582912.0f)); /* 1.5 * 2^23: rounds to the nearest integer */
  const vf n = shifted - vf_set1(12582912.0f);
  vf r = vf_fma(n, vf_set1(-0.693359375f), x);
  r = vf_fma(n, vf_set1(2.12194440e-4f), r);
  vf p = vf_set1(1.3981999507e-3f);
  p = vf_fma(vf_set1(1.9875691500e-4f), r, p);
  p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
  p = vf_fma(p, r * r, r) + vf_set1(1.0f);
  const vi scale = ((vi)shifted << 23) + vi_set1(0x3f800000);
  return (vf)((vi)(p * (vf)scale) & ~tiny);
}

#endif
