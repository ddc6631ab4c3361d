/* Attention of few queries over any kept segments: a block takes one key-value head and a share of the slots for one
 * query token, its warps 16 slots at a time; the block that arrives last merges the shares by log-sum-exp, in their
 * order. The query is rotated for each segment here, and for a single token the newest key and value are put in the
 * store here too, so that a decode step needs no kernel between the projections and this. */
#include "engine/cuda/attend_warp.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / 32 };

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
    for (int job = warp; job < jobs; job += WARPS)
      take_query<T>(a, item, first_head + job % n_heads, job / n_heads,
                    q + (job / n_heads * HEADS + job % n_heads) * WIDTH);
    return;
  }
  const float scale = 1.0f / sqrtf(static_cast<float>(a.kv.head_dim));
  for (int i = threadIdx.x; i < jobs * WIDTH; i += THREADS)
    if (i % WIDTH >= a.kv.head_dim) q[(i / WIDTH / n_heads * HEADS + i / WIDTH % n_heads) * WIDTH + i % WIDTH] = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < jobs * half; i += THREADS) {
    const int job = i / half, d = i % half, segment = job / n_heads, head = job % n_heads;
    const int first = a.order ? __ldg(a.order + d) : d, second = a.order ? __ldg(a.order + d + half) : d + half;
    const int from = (first_head + head) * a.kv.head_dim;
    const float x = qkv_at<T>(a, item, from + first) * scale, y = qkv_at<T>(a, item, from + second) * scale;
    const float2 t = __ldcg(a.angles + (static_cast<size_t>(item) * (SEGMENTS_MAX + 1) + segment) * half + d);
    float *to = q + (segment * HEADS + head) * WIDTH + d;
    to[0] = x * t.x - y * t.y;
    to[half] = y * t.x + x * t.y;
  }
}

/* Shared memory: queries [segments][HEADS][WIDTH], the warps' parts [WARPS][HEADS][WIDTH + 2]. What a step's beginning
 * wrote and what earlier steps stored is read before this kernel's own inputs are ready. */
template <class T, int WIDTH, int HEADS>
__global__ void __launch_bounds__(THREADS) attend_kernel(const struct attend a) {
  typedef struct warp_of<T, WIDTH, HEADS> warp_t;
  extern __shared__ float shared[];
  const int item = blockIdx.z, split = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group = a.n_heads / a.kv.n_kv_heads, rounds = (group + HEADS - 1) / HEADS;
  const int kv_head = blockIdx.y / rounds, first_head = kv_head * group + blockIdx.y % rounds * HEADS;
  const int n_heads = min(HEADS, (kv_head + 1) * group - first_head);
  const struct query_item it = a.items[item]; /* by value: it stays in registers */
  float *q = shared, *parts = shared + SEGMENTS_MAX * HEADS * WIDTH;
  const uint32_t units = units_of(it.first[0], it.end[0]),
                 all = units + (a.n_segments > 1 ? units_of(it.first[1], it.end[1]) : 0);
  const uint32_t begin = static_cast<uint32_t>(static_cast<uint64_t>(all) * split / a.splits);
  const uint32_t end = static_cast<uint32_t>(static_cast<uint64_t>(all) * (split + 1) / a.splits);
  struct warp_t::span now;
  if (begin + warp < end) warp_t::fetch(&now, a, it, kv_head, begin + warp, units, 0);
  let_next_begin();
  wait_for_inputs();
  take_queries<T, WIDTH, HEADS>(a, item, first_head, n_heads, q);
  if (a.store && warp == WARPS - 1) { /* by the block whose share holds the slot: nobody else reads it */
    const int s = a.n_segments > 1 && it.slot >= it.first[1] ? 1 : 0;
    const uint32_t unit = (s ? units : 0) + (it.slot - of_segment(it.first, s)) / UNIT;
    if (unit >= begin && unit < end) store_newest<T>(a, item, kv_head);
  }
  __syncthreads();
  struct running<HEADS> r;
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    r.top[h] = -INFINITY, r.total[h] = 0;
    for (int d = 0; d < 8; d++) r.sum[h][d] = 0;
  }
  if (a.store && begin + warp < end) warp_t::fetch_newest(&now, it.slot);
  int inside = 0;
  for (uint32_t unit = begin + warp; unit < end;) {
    struct warp_t::span next;
    inside += warp_t::SLOTS;
    if (inside == UNIT) inside = 0, unit += WARPS;
    if (unit < end) warp_t::fetch(&next, a, it, kv_head, unit, units, inside);
    warp_t::add(&r, now, q + now.segment * HEADS * WIDTH, n_heads);
    now = next;
  }
  warp_t::gather(&r, n_heads);
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    float *to = parts + (warp * HEADS + h) * (WIDTH + 2);
    if (h < n_heads && lane < warp_t::LANES)
      for (int d = 0; d < 8; d++) to[lane * 8 + d] = r.sum[h][d];
    if (h < n_heads && lane == 0) to[WIDTH] = r.total[h], to[WIDTH + 1] = r.top[h];
  }
  __syncthreads();
  if (a.splits == 1) {
    for (int h = warp; h < n_heads; h += WARPS)
      merge_parts<T>(a, item, first_head + h, parts + h * (WIDTH + 2), WARPS, HEADS * (WIDTH + 2));
    return;
  }
  float *mine = a.part + (static_cast<size_t>(item) * a.n_heads + first_head) * a.splits * (WIDTH + 2);
  for (int h = warp; h < n_heads; h += WARPS)
    merge_warps<WIDTH>(parts + h * (WIDTH + 2), WARPS, HEADS * (WIDTH + 2),
                       mine + (static_cast<size_t>(h) * a.splits + split) * (WIDTH + 2));
  if (!arrives_last(a.arrived + item * gridDim.y + blockIdx.y, a.splits)) return;
  for (int h = warp; h < n_heads; h += WARPS)
    merge_shares<T>(a, item, first_head + h, mine + static_cast<size_t>(h) * a.splits * (WIDTH + 2), a.splits);
}

template <class T> __global__ void rotate_kept(const struct attend a, const float2 *row_angles, T *keys) {
  const struct query_item *it = a.items;
  const uint32_t slot = blockIdx.x * blockDim.y + threadIdx.y;
  const int head = blockIdx.y, half = a.kv.head_dim / 2;
  wait_for_inputs();
  if (slot >= it->end[0] || __ldcg(it->born + slot) > it->time || __ldcg(it->dead + slot) <= it->time) return;
  const float2 *angle = row_angles + static_cast<size_t>(__ldcg(it->index + slot)) * half;
  const unsigned char *block = it->kv + static_cast<size_t>(slot / UNIT) * a.kv.block_bytes;
  const T *from = reinterpret_cast<const T *>(block + kv_offset(a.kv, a.layer, 0, head)) + slot % UNIT * a.kv.width;
  T *to = reinterpret_cast<T *>(reinterpret_cast<unsigned char *>(keys) + head * a.key_plane) +
          static_cast<size_t>(slot) * a.kv.width;
  for (int i = threadIdx.x; i < a.kv.width; i += blockDim.x) {
    if (i >= a.kv.head_dim) to[i] = static_cast<T>(0.0f);
    if (i >= half) continue;
    const float x = static_cast<float>(from[i]), y = static_cast<float>(from[i + half]);
    to[i] = static_cast<T>(x * angle[i].x - y * angle[i].y);
    to[i + half] = static_cast<T>(y * angle[i].x + x * angle[i].y);
  }
}

template <class T, int WIDTH, int HEADS> cudaError_t launch_one(const struct launcher &l, const struct attend &a) {
  const int group = a.n_heads / a.kv.n_kv_heads, rounds = (group + HEADS - 1) / HEADS;
  const size_t shared = sizeof(float) * (SEGMENTS_MAX * HEADS * WIDTH + WARPS * HEADS * (WIDTH + 2));
  if (shared > 48 << 10) {
    cudaError_t e = cudaFuncSetAttribute(attend_kernel<T, WIDTH, HEADS>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(shared));
    if (e) return e;
  }
  return launch(l, attend_kernel<T, WIDTH, HEADS>, dim3(a.splits, a.kv.n_kv_heads * rounds, a.n), THREADS, shared, a);
}

template <class T, int WIDTH> cudaError_t launch_heads(const struct launcher &l, const struct attend &a) {
  const int group = a.n_heads / a.kv.n_kv_heads;
  if (group == 1) return launch_one<T, WIDTH, 1>(l, a);
  return launch_one<T, WIDTH, 4>(l, a); /* more in one block would be one long chain of shuffles */
}

} // namespace

int attend_width(int head_dim) {
  const int widths[] = {16, 64, 128, 256};
  for (int i = 0; i < 4; i++)
    if (head_dim <= widths[i]) return widths[i];
  return 0;
}

/* A share is at least 256 slots, two rounds of a block's warps, for merging takes some microseconds; more shares than
 * there are places for blocks would only add to the merging. */
int attend_splits(const struct launcher &l, uint32_t slots, int n, int n_kv_heads) {
  int splits = 1;
  while (splits < 64 && static_cast<uint32_t>(splits) * 256 < slots && splits * n * n_kv_heads < 2 * l.processors)
    splits *= 2;
  return splits;
}

size_t attend_part_floats(int n, int n_heads, int splits, int width) {
  return static_cast<size_t>(n) * n_heads * splits * (width + 2);
}

/* Every combination takes its time to compile: only bf16 has kernels for one query a key. */
template <class T> static cudaError_t launch_width(const struct launcher &l, const struct attend &a) {
  switch (a.kv.width) {
  case 16:
    return launch_one<T, 16, 4>(l, a);
  case 64:
    return launch_one<T, 64, 4>(l, a);
  case 128:
    return launch_one<T, 128, 4>(l, a);
  default:
    return launch_one<T, 256, 4>(l, a);
  }
}

cudaError_t attend_launch(const struct launcher &l, const struct attend &a) {
  if (a.kv.element == 4) return launch_width<float>(l, a);
  if (a.half_type) return launch_width<__half>(l, a);
  if (a.kv.width == 64) return launch_heads<bf16, 64>(l, a);
  return a.kv.width == 128 ? launch_heads<bf16, 128>(l, a) : launch_width<bf16>(l, a);
}

cudaError_t rotate_kept_launch(const struct launcher &l, const struct attend &a, const float2 *row_angles, void *keys,
                               uint32_t slots) {
  const dim3 grid((slots + 7) / 8, a.kv.n_kv_heads), block(32, 8);
  if (a.kv.element == 4)
    return launch(l, rotate_kept<float>, grid, block, 0, a, row_angles, static_cast<float *>(keys));
  if (a.half_type) return launch(l, rotate_kept<__half>, grid, block, 0, a, row_angles, static_cast<__half *>(keys));
  return launch(l, rotate_kept<bf16>, grid, block, 0, a, row_angles, static_cast<bf16 *>(keys));
}
