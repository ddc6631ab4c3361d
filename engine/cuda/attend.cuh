/* Queries, keys and values as attention takes them from a projection's output: bias, norm over the head, rotation. Private to
 * engine/cuda. Each function is one warp's work. */
#ifndef SLUICE_ENGINE_CUDA_ATTEND_CUH
#define SLUICE_ENGINE_CUDA_ATTEND_CUH

#include "engine/cuda/inference.cuh"

namespace {

/* In float64; the product's own rounding error grows with the position, so it is recovered (as engine/cpu/rope.c does).
 */
__device__ float2 angle_at(double frequency, uint64_t position) {
  const double angle = static_cast<double>(position) * frequency;
  const double lost = fma(static_cast<double>(position), frequency, -angle);
  double s, c;
  sincos(angle, &s, &c);
  return make_float2(static_cast<float>(c - s * lost), static_cast<float>(s + c * lost));
}

/* Element `at` of an item's row of qkv, with its bias. */
template <class T> __device__ float qkv_at(const struct attend &a, int item, int at) {
  const size_t i = static_cast<size_t>(item) * a.qkv_width + at;
  float v;
  if (sizeof(T) == 4 || !a.low)
    v = __ldcg(static_cast<const float *>(a.qkv) + i);
  else {
    const unsigned short bits = __ldcg(static_cast<const unsigned short *>(a.qkv) + i);
    T low;
    memcpy(&low, &bits, sizeof low < sizeof bits ? sizeof low : sizeof bits);
    v = static_cast<float>(low);
  }
  return a.bias ? v + __ldg(a.bias + at) : v;
}

/* What makes a head's values normalised (Qwen3): 1 without a gain. */
template <class T> __device__ float head_factor(const struct attend &a, int item, int from, const float *gain) {
  if (!gain) return 1.0f;
  float squares = 0;
  for (int i = threadIdx.x % 32; i < a.kv.head_dim; i += 32) {
    const float v = qkv_at<T>(a, item, from + i);
    squares += v * v;
  }
  for (int o = 16; o; o >>= 1) squares += __shfl_xor_sync(~0u, squares, o);
  return 1.0f / sqrtf(squares / static_cast<float>(a.kv.head_dim) + a.eps);
}

/* out[width] = head `from` of an item, normalised, its dimensions in the order that rotation pairs (order NULL: as they are),
 * turned by angle[head_dim / 2] (NULL: not), times scale; zeros behind head_dim. */
template <class T, class O>
__device__ void take_head(const struct attend &a, int item, int from, const float *gain, const int *order,
                          const float2 *angle, float scale, O *out) {
  const float factor = head_factor<T>(a, item, from, gain) * scale;
  const int half = a.kv.head_dim / 2;
  for (int i = threadIdx.x % 32; i < half; i += 32) {
    const int first = order ? __ldg(order + i) : i, second = order ? __ldg(order + i + half) : i + half;
    float x = qkv_at<T>(a, item, from + first) * factor, y = qkv_at<T>(a, item, from + second) * factor;
    if (gain) x *= __ldg(gain + first), y *= __ldg(gain + second);
    const float2 t = angle ? __ldcg(angle + i) : make_float2(1, 0);
    out[i] = static_cast<O>(x * t.x - y * t.y);
    out[i + half] = static_cast<O>(y * t.x + x * t.y);
  }
  for (int i = a.kv.head_dim + threadIdx.x % 32; i < a.kv.width; i += 32) out[i] = static_cast<O>(0.0f);
}

/* q[width]: head `head` of an item, rotated for a segment, times the scale of scores. */
template <class T> __device__ void take_query(const struct attend &a, int item, int head, int segment, float *q) {
  const float2 *angle = a.angles + (static_cast<size_t>(item) * (SEGMENTS_MAX + 1) + segment) * (a.kv.head_dim / 2);
  take_head<T>(a, item, head * a.kv.head_dim, a.q_norm, a.order, angle, a.scale, q);
}

/* The item's own key and value of a head into its slot. */
template <class T> __device__ void store_newest(const struct attend &a, int item, int kv_head) {
  const struct query_item *it = a.items + item;
  const float2 *angle = a.angles + (static_cast<size_t>(item) * (SEGMENTS_MAX + 1) + SEGMENTS_MAX) * (a.kv.head_dim / 2);
  unsigned char *block = it->kv + static_cast<size_t>(it->slot / SLOT_BLOCK) * a.kv.block_bytes;
  const size_t row = static_cast<size_t>(it->slot % SLOT_BLOCK) * a.kv.width;
  T *key = reinterpret_cast<T *>(block + kv_offset(a.kv, a.layer, 0, kv_head)) + row;
  T *value = reinterpret_cast<T *>(block + kv_offset(a.kv, a.layer, 1, kv_head)) + row;
  take_head<T>(a, item, (a.n_heads + kv_head) * a.kv.head_dim, a.k_norm, a.order, it->index ? NULL : angle, 1.0f,
               key);
  take_head<T>(a, item, (a.n_heads + a.kv.n_kv_heads + kv_head) * a.kv.head_dim, NULL, NULL, NULL, 1.0f, value);
}

/* The warps' parts of one head, `stride` floats apart, as one part (sum, total, top) in `to`. */
template <int WIDTH> __device__ void merge_warps(const float *parts, int n, int stride, float *to) {
  float top = -INFINITY, total = 0;
  for (int i = 0; i < n; i++) top = fmaxf(top, parts[i * stride + WIDTH + 1]);
  for (int i = 0; i < n; i++) {
    const float m = parts[i * stride + WIDTH + 1];
    if (m != -INFINITY) total += parts[i * stride + WIDTH] * __expf(m - top);
  }
  for (int d = threadIdx.x % 32; d < WIDTH; d += 32) {
    float sum = 0;
    for (int i = 0; i < n; i++) {
      const float m = parts[i * stride + WIDTH + 1];
      if (m != -INFINITY) sum += parts[i * stride + d] * __expf(m - top);
    }
    to[d] = sum;
  }
  if (threadIdx.x % 32 == 0) to[WIDTH] = total, to[WIDTH + 1] = top;
}

} // namespace

#endif
