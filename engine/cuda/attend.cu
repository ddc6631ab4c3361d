/* Attention of few queries over any kept segments: a block takes one key-value head and a share of the slots for one query
 * token, its warps 16 slots at a time; the block that arrives last merges the shares by log-sum-exp, in their order. The
 * query is rotated for each segment here, and for a single token the newest key and value are put in the store here too, so
 * that a decode step needs no kernel between the projections and this. */
#include "engine/cuda/attend.cuh"

namespace {

enum { THREADS = 128, WARPS = THREADS / 32, UNIT = SLOT_BLOCK };

/* Eight numbers of a key or value as floats. */
__device__ void load8(const float *p, float *f) {
  *reinterpret_cast<float4 *>(f) = __ldcg(reinterpret_cast<const float4 *>(p));
  *reinterpret_cast<float4 *>(f + 4) = __ldcg(reinterpret_cast<const float4 *>(p) + 1);
}
__device__ void load8(const bf16 *p, float *f) {
  const uint4 u = __ldcg(reinterpret_cast<const uint4 *>(p));
  const unsigned w[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
  for (int i = 0; i < 4; i++) f[2 * i] = __uint_as_float(w[i] << 16), f[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
}
__device__ void load8(const __half *p, float *f) {
  const uint4 u = __ldcg(reinterpret_cast<const uint4 *>(p));
  const unsigned w[4] = {u.x, u.y, u.z, u.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 v = __half22float2(*reinterpret_cast<const __half2 *>(&w[i]));
    f[2 * i] = v.x, f[2 * i + 1] = v.y;
  }
}

/* A warp's running softmax over what it has seen: HEADS queries that share a key-value head. Each lane holds 8 dimensions
 * of its share of the slots. */
template <int HEADS> struct running {
  float top[HEADS], total[HEADS], sum[HEADS][8];
};

template <class T, int WIDTH, int HEADS> struct warp_of {
  enum { LANES = WIDTH / 8, ROWS = 32 / LANES, STEPS = UNIT / ROWS < 4 ? UNIT / ROWS : 4, SLOTS = STEPS * ROWS };

  /* Adds SLOTS slots, what the registers have room for; q: [HEADS][WIDTH] in shared memory. */
  __device__ static void add_slots(struct running<HEADS> *r, const T *keys, const T *values, const float *q, int n_heads,
                                  const struct query_item *it, uint32_t slot, int segment, uint64_t window) {
    const int lane = threadIdx.x % 32, row = lane / LANES, part = lane % LANES * 8;
    float score[STEPS][HEADS], v[STEPS][8];
    bool seen[STEPS];
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      const uint32_t at = slot + i * ROWS + row;
      seen[i] = at < it->end[segment] && __ldcg(it->born + at) <= it->time && it->time < __ldcg(it->dead + at);
      if (window && seen[i])
        seen[i] = (it->index ? __ldcg(it->index + at) : __ldcg(it->at + at)) + window > it->query_position[segment];
    }
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      float k[8];
      load8(keys + (i * ROWS + row) * WIDTH + part, k);
#pragma unroll
      for (int h = 0; h < HEADS; h++) {
        score[i][h] = 0;
        if (h < n_heads) {
#pragma unroll
          for (int d = 0; d < 8; d++) score[i][h] = fmaf(k[d], q[h * WIDTH + part + d], score[i][h]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < STEPS; i++) load8(values + (i * ROWS + row) * WIDTH + part, v[i]);
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
      if (h >= n_heads) break;
      float top = r->top[h];
#pragma unroll
      for (int i = 0; i < STEPS; i++) {
        for (int o = LANES / 2; o; o >>= 1) score[i][h] += __shfl_xor_sync(~0u, score[i][h], o);
        if (!seen[i]) score[i][h] = -INFINITY;
        top = fmaxf(top, score[i][h]);
      }
      for (int o = 16; o >= LANES; o >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, o));
      if (top == -INFINITY) continue;
      const float shrink = __expf(r->top[h] - top);
      r->top[h] = top;
      r->total[h] *= shrink;
#pragma unroll
      for (int d = 0; d < 8; d++) r->sum[h][d] *= shrink;
#pragma unroll
      for (int i = 0; i < STEPS; i++) {
        const float p = __expf(score[i][h] - top); /* 0 for what is not seen */
        r->total[h] += p;
#pragma unroll
        for (int d = 0; d < 8; d++) r->sum[h][d] = seen[i] ? fmaf(p, v[i][d], r->sum[h][d]) : r->sum[h][d];
      }
    }
  }

  /* Sums over the rows of lanes; lanes [0, LANES) then hold the warp's part. */
  __device__ static void gather(struct running<HEADS> *r, int n_heads) {
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
      if (h >= n_heads) break;
      for (int o = 16; o >= LANES; o >>= 1) {
        r->total[h] += __shfl_xor_sync(~0u, r->total[h], o);
#pragma unroll
        for (int d = 0; d < 8; d++) r->sum[h][d] += __shfl_xor_sync(~0u, r->sum[h][d], o);
      }
    }
  }
};

template <class T> __device__ void put_out(const struct attend &a, int item, int at, float v) {
  const size_t to = static_cast<size_t>(item) * a.out_width + at;
  if (a.low)
    static_cast<T *>(a.out)[to] = static_cast<T>(v);
  else
    static_cast<float *>(a.out)[to] = v;
}

/* Parts of one head, [n][width + 2] (sum, then total and top), `stride` floats apart, merged in order. */
template <class T, bool GLOBAL>
__device__ void merge_parts(const struct attend &a, int item, int head, const float *parts, int n, int stride) {
  const int width = a.kv.width;
  float top = -INFINITY, total = 0;
  for (int i = 0; i < n; i++) {
    const float *p = parts + static_cast<size_t>(i) * stride + width + 1;
    top = fmaxf(top, GLOBAL ? __ldcg(p) : *p);
  }
  for (int i = 0; i < n; i++) {
    const float *p = parts + static_cast<size_t>(i) * stride + width;
    const float t = GLOBAL ? __ldcg(p) : p[0], m = GLOBAL ? __ldcg(p + 1) : p[1];
    if (m != -INFINITY) total += t * __expf(m - top);
  }
  for (int d = threadIdx.x % 32; d < a.kv.head_dim; d += 32) {
    float sum = 0;
    for (int i = 0; i < n; i++) {
      const float *p = parts + static_cast<size_t>(i) * stride;
      const float m = GLOBAL ? __ldcg(p + width + 1) : p[width + 1], x = GLOBAL ? __ldcg(p + d) : p[d];
      if (m != -INFINITY) sum += x * __expf(m - top);
    }
    put_out<T>(a, item, head * a.kv.head_dim + d, total > 0 ? sum / total : 0.0f);
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

__device__ uint32_t units_of(const struct query_item *it, int segment) {
  const uint32_t first = it->first[segment], end = it->end[segment];
  return end > first ? (end - first + UNIT - 1) / UNIT : 0;
}

/* Shared memory: queries [segments][HEADS][WIDTH], the warps' parts [WARPS][HEADS][WIDTH + 2]. */
template <class T, int WIDTH, int HEADS> __global__ void __launch_bounds__(THREADS) attend_kernel(const struct attend a) {
  typedef struct warp_of<T, WIDTH, HEADS> warp_t;
  extern __shared__ float shared[];
  const int item = blockIdx.z, split = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group = a.n_heads / a.kv.n_kv_heads, rounds = (group + HEADS - 1) / HEADS;
  const int kv_head = blockIdx.y / rounds, first_head = kv_head * group + blockIdx.y % rounds * HEADS;
  const int n_heads = min(HEADS, (kv_head + 1) * group - first_head);
  let_next_begin();
  wait_for_inputs();
  const struct query_item *it = a.items + item;
  float *q = shared, *parts = shared + SEGMENTS_MAX * HEADS * WIDTH;
  for (int job = warp; job < n_heads * a.n_segments; job += WARPS)
    take_query<T>(a, item, first_head + job % n_heads, job / n_heads,
                  q + (job / n_heads * HEADS + job % n_heads) * WIDTH);
  const uint32_t units = units_of(it, 0), all = units + (a.n_segments > 1 ? units_of(it, 1) : 0);
  const uint32_t begin = static_cast<uint32_t>(static_cast<uint64_t>(all) * split / a.splits);
  const uint32_t end = static_cast<uint32_t>(static_cast<uint64_t>(all) * (split + 1) / a.splits);
  if (a.store && warp == 0) { /* by the block whose share holds the slot: nobody else reads it */
    const int s = a.n_segments > 1 && it->slot >= it->first[1] ? 1 : 0;
    const uint32_t unit = (s ? units : 0) + (it->slot - it->first[s]) / UNIT;
    if (unit >= begin && unit < end) store_newest<T>(a, item, kv_head);
  }
  __syncthreads();
  struct running<HEADS> r;
  for (int h = 0; h < HEADS; h++) {
    r.top[h] = -INFINITY, r.total[h] = 0;
    for (int d = 0; d < 8; d++) r.sum[h][d] = 0;
  }
  for (uint32_t unit = begin + warp; unit < end; unit += WARPS) {
    const int s = unit < units ? 0 : 1;
    const uint32_t slot = it->first[s] + (unit - (s ? units : 0)) * UNIT;
    const unsigned char *block = it->kv + static_cast<size_t>(slot / UNIT) * a.kv.block_bytes;
    const T *keys = reinterpret_cast<const T *>(block + kv_offset(a.kv, a.layer, 0, kv_head));
    if (a.keys)
      keys = reinterpret_cast<const T *>(static_cast<const unsigned char *>(a.keys) + kv_head * a.key_plane) +
             static_cast<size_t>(slot) * WIDTH;
    const T *values = reinterpret_cast<const T *>(block + kv_offset(a.kv, a.layer, 1, kv_head));
    for (int i = 0; i < UNIT; i += warp_t::SLOTS)
      warp_t::add_slots(&r, keys + i * WIDTH, values + i * WIDTH, q + s * HEADS * WIDTH, n_heads, it,
                        slot + i, s, a.window);
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
      merge_parts<T, false>(a, item, first_head + h, parts + h * (WIDTH + 2), WARPS, HEADS * (WIDTH + 2));
    return;
  }
  float *mine = a.part + (static_cast<size_t>(item) * a.n_heads + first_head) * a.splits * (WIDTH + 2);
  for (int h = warp; h < n_heads; h += WARPS)
    merge_warps<WIDTH>(parts + h * (WIDTH + 2), WARPS, HEADS * (WIDTH + 2),
                       mine + (static_cast<size_t>(h) * a.splits + split) * (WIDTH + 2));
  if (!arrives_last(a.arrived + item * gridDim.y + blockIdx.y, a.splits)) return;
  for (int h = warp; h < n_heads; h += WARPS)
    merge_parts<T, true>(a, item, first_head + h, mine + static_cast<size_t>(h) * a.splits * (WIDTH + 2), a.splits,
                         WIDTH + 2);
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
  return group <= 4 || WIDTH > 128 ? launch_one<T, WIDTH, 4>(l, a) : launch_one<T, WIDTH, 8>(l, a);
}

} // namespace

int attend_width(int head_dim) {
  const int widths[] = {16, 64, 128, 256};
  for (int i = 0; i < 4; i++)
    if (head_dim <= widths[i]) return widths[i];
  return 0;
}

/* A share is at least 64 slots; more shares than there are places for blocks would only add to the merging. */
int attend_splits(const struct launcher &l, uint32_t slots, int n, int n_kv_heads) {
  int splits = 1;
  while (splits < 64 && static_cast<uint32_t>(splits) * 64 < slots && splits * n * n_kv_heads < 2 * l.processors)
    splits *= 2;
  return splits;
}

size_t attend_part_floats(int n, int n_heads, int splits, int width) {
  return static_cast<size_t>(n) * n_heads * splits * (width + 2);
}

/* Every combination takes its time to compile: only bf16 has kernels for 1, 4 and 8 queries a key. */
template <class T> static cudaError_t launch_width(const struct launcher &l, const struct attend &a) {
  switch (a.kv.width) {
  case 16: return launch_one<T, 16, 4>(l, a);
  case 64: return launch_one<T, 64, 4>(l, a);
  case 128: return launch_one<T, 128, 4>(l, a);
  default: return launch_one<T, 256, 4>(l, a);
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
  if (a.kv.element == 4) return launch(l, rotate_kept<float>, grid, block, 0, a, row_angles, static_cast<float *>(keys));
  if (a.half_type) return launch(l, rotate_kept<__half>, grid, block, 0, a, row_angles, static_cast<__half *>(keys));
  return launch(l, rotate_kept<bf16>, grid, block, 0, a, row_angles, static_cast<bf16 *>(keys));
}
