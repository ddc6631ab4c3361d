/* Attention of few queries over any kept segments, without tensor cores (attend_tensor.cu is the usual way): a block
 * takes one key-value head and a share of the slots for one query token, its warps 16 slots at a time; the block that
 * arrives last merges the shares by log-sum-exp, in their order. The query is rotated for each segment here, and for a
 * single token the newest key and value are put in the store here too, so that a decode step needs no kernel between
 * the projections and this. */
#include "engine/cuda/attend_block.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / 32, HEADS = 4 }; /* more heads would be one long chain of shuffles */

/* Shared memory: queries [segments][HEADS][WIDTH], the warps' parts [WARPS][HEADS][WIDTH + 2]. What a step's beginning
 * wrote and what earlier steps stored is read before this kernel's own inputs are ready. */
template <class T, int WIDTH> __global__ void __launch_bounds__(THREADS) attend_kernel(const struct attend a) {
  typedef struct warp_of<T, WIDTH, HEADS> warp_t;
  extern __shared__ float shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const struct query_item it = a.items[blockIdx.z]; /* by value: it stays in registers */
  const struct attend_share s = share_of(a, it, HEADS);
  float *q = shared, *parts = shared + SEGMENTS_MAX * HEADS * WIDTH;
  struct warp_t::span now;
  if (s.begin + warp < s.end) warp_t::fetch(&now, a, it, s.kv_head, s.begin + warp, s.units, 0);
  let_next_begin();
  wait_for_inputs();
  take_queries<T, WIDTH, HEADS>(a, s.item, s.first_head, s.n_heads, q);
  if (a.store && warp == WARPS - 1 && has_newest(a, it, s)) store_newest<T>(a, s.item, s.kv_head);
  __syncthreads();
  struct running<HEADS> r;
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    r.top[h] = -INFINITY, r.total[h] = 0;
    for (int d = 0; d < 8; d++) r.sum[h][d] = 0;
  }
  if (a.store && s.begin + warp < s.end) warp_t::fetch_newest(&now, it.slot);
  int inside = 0;
  for (uint32_t unit = s.begin + warp; unit < s.end;) {
    struct warp_t::span next;
    inside += warp_t::SLOTS;
    if (inside == UNIT) inside = 0, unit += WARPS;
    if (unit < s.end) warp_t::fetch(&next, a, it, s.kv_head, unit, s.units, inside);
    warp_t::add(&r, now, q + now.segment * HEADS * WIDTH, s.n_heads);
    now = next;
  }
  warp_t::gather(&r, s.n_heads);
#pragma unroll
  for (int h = 0; h < HEADS; h++) {
    float *to = parts + (warp * HEADS + h) * (WIDTH + 2);
    if (h < s.n_heads && lane < warp_t::LANES)
      for (int d = 0; d < 8; d++) to[lane * 8 + d] = r.sum[h][d];
    if (h < s.n_heads && lane == 0) to[WIDTH] = r.total[h], to[WIDTH + 1] = r.top[h];
  }
  __syncthreads();
  give_result<T, WIDTH, HEADS>(a, s, parts, WARPS);
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

template <class T, int WIDTH> cudaError_t launch_one(const struct launcher &l, const struct attend &a) {
  const int group = a.n_heads / a.kv.n_kv_heads, rounds = (group + HEADS - 1) / HEADS;
  const size_t shared = sizeof(float) * (SEGMENTS_MAX * HEADS * WIDTH + WARPS * HEADS * (WIDTH + 2));
  if (shared > 48 << 10) {
    cudaError_t e = cudaFuncSetAttribute(attend_kernel<T, WIDTH>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(shared));
    if (e) return e;
  }
  return launch(l, attend_kernel<T, WIDTH>, dim3(a.splits, a.kv.n_kv_heads * rounds, a.n), THREADS, shared, a);
}

template <class T> cudaError_t launch_width(const struct launcher &l, const struct attend &a) {
  switch (a.kv.width) {
  case 16:
    return launch_one<T, 16>(l, a);
  case 64:
    return launch_one<T, 64>(l, a);
  case 128:
    return launch_one<T, 128>(l, a);
  default:
    return launch_one<T, 256>(l, a);
  }
}

/* Widths that attend_tensor.cu does not take. */
template <class T> cudaError_t launch_odd_width(const struct launcher &l, const struct attend &a) {
  return a.kv.width == 16 ? launch_one<T, 16>(l, a) : launch_one<T, 256>(l, a);
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
  while (splits < 64 && static_cast<uint32_t>(splits) * 256 < slots && splits * n * n_kv_heads * 2 < 3 * l.processors)
    splits *= 2;
  return splits;
}

cudaError_t attend_launch(const struct launcher &l, const struct attend &a) {
  if (attend_tensor_takes(a.kv)) return attend_tensor_launch(l, a);
  if (a.kv.element == 4) return launch_width<float>(l, a);
  return a.half_type ? launch_odd_width<__half>(l, a) : launch_odd_width<bf16>(l, a);
}

cudaError_t rotate_kept_launch(const struct launcher &l, const struct attend &a, const float2 *row_angles, void *keys,
                               uint32_t slots) {
  const dim3 grid((slots + 7) / 8, a.kv.n_kv_heads), block(32, 8);
  if (a.kv.element == 4)
    return launch(l, rotate_kept<float>, grid, block, 0, a, row_angles, static_cast<float *>(keys));
  if (a.half_type) return launch(l, rotate_kept<__half>, grid, block, 0, a, row_angles, static_cast<__half *>(keys));
  return launch(l, rotate_kept<bf16>, grid, block, 0, a, row_angles, static_cast<bf16 *>(keys));
}
