/* What the blocks of attention do before and after their warps' work: queries into shared memory, warps' and blocks'
 * shares merged by log-sum-exp in their order. For attend.cu and attend_tensor.cu. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_ATTEND_BLOCK_CUH
#define SLUICE_ENGINE_CUDA_ATTEND_BLOCK_CUH

#include "engine/cuda/attend_warp.cuh"

namespace {

/* A block's part of attention: a key-value head, some of its queries, and units [begin, end) of the slots. */
struct attend_share {
  int item, kv_head, first_head, n_heads, split;
  uint32_t units, begin, end; /* units: of the first segment */
};

__device__ struct attend_share share_of(const struct attend &a, const struct query_item &it, int heads_each) {
  const int group = a.n_heads / a.kv.n_kv_heads, rounds = (group + heads_each - 1) / heads_each;
  struct attend_share s;
  s.item = blockIdx.z, s.split = blockIdx.x, s.kv_head = blockIdx.y / rounds;
  s.first_head = s.kv_head * group + blockIdx.y % rounds * heads_each;
  s.n_heads = min(heads_each, (s.kv_head + 1) * group - s.first_head);
  s.units = units_of(it.first[0], it.end[0]);
  const uint64_t all = s.units + (a.n_segments > 1 ? units_of(it.first[1], it.end[1]) : 0);
  s.begin = static_cast<uint32_t>(all * s.split / a.splits);
  s.end = static_cast<uint32_t>(all * (s.split + 1) / a.splits);
  return s;
}

/* Whether the item's newest slot is in the share: nobody else reads it. */
__device__ bool has_newest(const struct attend &a, const struct query_item &it, const struct attend_share &s) {
  const int segment = a.n_segments > 1 && it.slot >= it.first[1] ? 1 : 0;
  const uint32_t unit = (segment ? s.units : 0) + (it.slot - of_segment(it.first, segment)) / UNIT;
  return unit >= s.begin && unit < s.end;
}

template <class T> __device__ void put_out(const struct attend &a, int item, int at, float v) {
  const size_t to = static_cast<size_t>(item) * a.out_width + at;
  if (a.low)
    static_cast<T *>(a.out)[to] = static_cast<T>(v);
  else
    static_cast<float *>(a.out)[to] = v;
}

/* Parts of one head in shared memory, [n][width + 2] (sum, then total and top), `stride` floats apart, merged in order.
 */
template <class T>
__device__ void merge_parts(const struct attend &a, int item, int head, const float *parts, int n, int stride) {
  const int width = a.kv.width;
  float top = -INFINITY, total = 0;
  for (int i = 0; i < n; i++) top = fmaxf(top, parts[i * stride + width + 1]);
  for (int i = 0; i < n; i++) {
    const float m = parts[i * stride + width + 1];
    if (m != -INFINITY) total += parts[i * stride + width] * __expf(m - top);
  }
  for (int d = threadIdx.x % 32; d < a.kv.head_dim; d += 32) {
    float sum = 0;
    for (int i = 0; i < n; i++) {
      const float m = parts[i * stride + width + 1];
      if (m != -INFINITY) sum += parts[i * stride + d] * __expf(m - top);
    }
    put_out<T>(a, item, head * a.kv.head_dim + d, total > 0 ? sum / total : 0.0f);
  }
}

/* The same of the blocks' shares in global memory, at most 64: a lane holds the weights of two, and many loads are
 * under way at a time, for each takes most of a microsecond. */
template <class T> __device__ void merge_shares(const struct attend &a, int item, int head, const float *parts, int n) {
  enum { AHEAD = 8 };
  const int width = a.kv.width, stride = width + 2, lane = threadIdx.x % 32;
  float top[2], weight[2], total = 0;
#pragma unroll
  for (int k = 0; k < 2; k++) {
    const float *p = parts + (lane + 32 * k) * stride + width;
    top[k] = lane + 32 * k < n ? __ldcg(p + 1) : -INFINITY;
    weight[k] = lane + 32 * k < n ? __ldcg(p) : 0.0f; /* the total, for now */
  }
  float best = fmaxf(top[0], top[1]);
  for (int o = 16; o; o >>= 1) best = fmaxf(best, __shfl_xor_sync(~0u, best, o));
#pragma unroll
  for (int k = 0; k < 2; k++) {
    const float w = top[k] == -INFINITY ? 0.0f : __expf(top[k] - best);
    total += weight[k] * w;
    weight[k] = w;
  }
  for (int o = 16; o; o >>= 1) total += __shfl_xor_sync(~0u, total, o);
  for (int from = 0; from < a.kv.head_dim; from += 32) {
    const int d = from + lane;
    float sum = 0;
    for (int i = 0; i < n; i += AHEAD) {
      float x[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) x[k] = i + k < n && d < width ? __ldcg(parts + (i + k) * stride + d) : 0.0f;
#pragma unroll
      for (int k = 0; k < AHEAD; k++)
        sum = fmaf(x[k], __shfl_sync(~0u, i + k < 32 ? weight[0] : weight[1], (i + k) % 32), sum);
    }
    if (d < a.kv.head_dim) put_out<T>(a, item, head * a.kv.head_dim + d, total > 0 ? sum / total : 0.0f);
  }
}

/* The shares of all blocks are in memory when the last block of a head finds that it is the last. */
__device__ bool arrives_last(unsigned *counter, unsigned n) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(counter, 1u) == n - 1;
    if (last) *counter = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}

/* Queries [segments][heads][width] into shared memory: without a norm of each head, by all threads alike. */
template <class T, int WIDTH, int HEADS>
__device__ void take_queries(const struct attend &a, int item, int first_head, int n_heads, float *q) {
  const int jobs = n_heads * a.n_segments, half = a.kv.head_dim / 2, warp = threadIdx.x / 32;
  if (a.q_norm) {
    for (int job = warp; job < jobs; job += static_cast<int>(blockDim.x / 32))
      take_query<T>(a, item, first_head + job % n_heads, job / n_heads,
                    q + (job / n_heads * HEADS + job % n_heads) * WIDTH);
    return;
  }
  for (int i = threadIdx.x; i < jobs * WIDTH; i += static_cast<int>(blockDim.x))
    if (i % WIDTH >= a.kv.head_dim) q[(i / WIDTH / n_heads * HEADS + i / WIDTH % n_heads) * WIDTH + i % WIDTH] = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < jobs * half; i += static_cast<int>(blockDim.x)) {
    const int job = i / half, d = i % half, segment = job / n_heads, head = job % n_heads;
    const int first = a.order ? __ldg(a.order + d) : d, second = a.order ? __ldg(a.order + d + half) : d + half;
    const int from = (first_head + head) * a.kv.head_dim;
    const float x = qkv_at<T>(a, item, from + first) * a.scale, y = qkv_at<T>(a, item, from + second) * a.scale;
    const float2 t = __ldcg(a.angles + (static_cast<size_t>(item) * (SEGMENTS_MAX + 1) + segment) * half + d);
    float *to = q + (segment * HEADS + head) * WIDTH + d;
    to[0] = x * t.x - y * t.y;
    to[half] = y * t.x + x * t.y;
  }
}

/* The block's result, or its share of it: parts [warps][HEADS][WIDTH + 2] in shared memory. */
template <class T, int WIDTH, int HEADS>
__device__ void give_result(const struct attend &a, const struct attend_share &s, const float *parts, int warps) {
  const int warp = threadIdx.x / 32;
  if (a.splits == 1) {
    for (int h = warp; h < s.n_heads; h += warps)
      merge_parts<T>(a, s.item, s.first_head + h, parts + h * (WIDTH + 2), warps, HEADS * (WIDTH + 2));
    return;
  }
  float *mine = a.part + (static_cast<size_t>(s.item) * a.n_heads + s.first_head) * a.splits * (WIDTH + 2);
  for (int h = warp; h < s.n_heads; h += warps)
    merge_warps<WIDTH>(parts + h * (WIDTH + 2), warps, HEADS * (WIDTH + 2),
                       mine + (static_cast<size_t>(h) * a.splits + s.split) * (WIDTH + 2));
  if (!arrives_last(a.arrived + s.item * gridDim.y + blockIdx.y, a.splits)) return;
  for (int h = warp; h < s.n_heads; h += warps)
    merge_shares<T>(a, s.item, s.first_head + h, mine + static_cast<size_t>(h) * a.splits * (WIDTH + 2), a.splits);
}

} // namespace

#endif
