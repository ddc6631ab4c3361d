/* attend.cu's attention on tensor cores. Each warp has a ring of units of 16 slots in shared memory, which it fills and
 * reads alone. */
#include "engine/cuda/attend_block.cuh"
#include "engine/cuda/attend_tile.cuh"

namespace {

/* Three, or twice the warps a block, make no difference on an H200 and need shared memory that smaller devices lack. */
enum { STAGES = 2 };

/* A stage of a warp's ring: keys, values, when the slots came and went, where they are. */
template <int WIDTH> struct stage_of {
  enum { ROWS = UNIT * WIDTH * 2, TIMES = 2 * ROWS, PLACES = TIMES + 128, BYTES = PLACES + 128, WARPS = 256 / WIDTH };
};

struct tile_place { /* of a unit */
  uint32_t slot;
  int segment;
};

__device__ struct tile_place place_of_unit(const struct query_item &it, const struct attend_share &s, uint32_t unit) {
  const int segment = unit < s.units ? 0 : 1;
  return {of_segment(it.first, segment) + (unit - (segment ? s.units : 0)) * UNIT, segment};
}

template <int WIDTH>
__device__ void copy_unit(const struct attend &a, const struct query_item &it, const struct attend_share &s,
                          uint32_t unit, unsigned to) {
  typedef struct stage_of<WIDTH> stage;
  const int lane = threadIdx.x % 32;
  const struct tile_place p = place_of_unit(it, s, unit);
  const unsigned char *block = it.kv + static_cast<size_t>(p.slot / UNIT) * a.kv.block_bytes;
  const unsigned char *values = block + kv_offset(a.kv, a.layer, 1, s.kv_head),
                      *keys = a.keys ? static_cast<const unsigned char *>(a.keys) + s.kv_head * a.key_plane +
                                           static_cast<size_t>(p.slot) * WIDTH * 2
                                     : block + kv_offset(a.kv, a.layer, 0, s.kv_head);
#pragma unroll
  for (int i = 0; i < WIDTH / 16; i++) {
    const int row = (i * 32 + lane) / (WIDTH / 8), piece = (i * 32 + lane) % (WIDTH / 8);
    copy16(to + place_of<WIDTH>(row, piece), keys + (i * 32 + lane) * 16);
    copy16(to + stage::ROWS + place_of<WIDTH>(row, piece), values + (i * 32 + lane) * 16);
  }
  const uint32_t at = p.slot + lane % 16;
  if (at >= of_segment(it.end, p.segment)) return;
  copy4(to + stage::TIMES + lane * 4, (lane < 16 ? it.born : it.dead) + at);
  if (a.window && lane < 16 && !it.index) copy8(to + stage::PLACES + lane * 8, it.at + at);
}

/* Bit i: whether slot i of the unit is seen. */
template <int WIDTH>
__device__ unsigned seen_of(const struct attend &a, const struct query_item &it, const struct tile_place &p,
                            unsigned stage) {
  const int lane = threadIdx.x % 32;
  uint32_t mine;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(mine) : "r"(stage + stage_of<WIDTH>::TIMES + lane * 4) : "memory");
  const uint32_t other = __shfl_xor_sync(~0u, mine, 16), at = p.slot + lane % 16;
  bool seen = at < of_segment(it.end, p.segment) && mine <= it.time && it.time < other; /* of lanes below 16 */
  if (a.window && seen && lane < 16) {
    uint64_t position;
    asm volatile("ld.shared.u64 %0, [%1];"
                 : "=l"(position)
                 : "r"(stage + stage_of<WIDTH>::PLACES + lane * 8)
                 : "memory");
    if (it.index) position = __ldcg(it.index + at);
    seen = position + a.window > of_segment(it.query_position, p.segment);
  }
  return __ballot_sync(~0u, seen) & 0xffff;
}

/* Puts the newest key and value in their row of a unit: they were not in memory when it was copied. */
template <class T, int WIDTH> __device__ void amend_unit(unsigned char *stage, int row, const T newest[2][WIDTH]) {
  for (int i = threadIdx.x % 32; i < 2 * WIDTH / 8; i += 32) {
    const int what = i / (WIDTH / 8), piece = i % (WIDTH / 8);
    *reinterpret_cast<uint4 *>(stage + what * stage_of<WIDTH>::ROWS + place_of<WIDTH>(row, piece)) =
        reinterpret_cast<const uint4 *>(newest[what])[piece];
  }
  __syncwarp();
}

/* The item's own key and value of a head, in shared memory and in their slot. By one warp. */
template <class T, int WIDTH>
__device__ void keep_newest(const struct attend &a, const struct query_item &it, const struct attend_share &s,
                            T newest[2][WIDTH]) {
  const float2 *angle =
      a.angles + (static_cast<size_t>(s.item) * (SEGMENTS_MAX + 1) + SEGMENTS_MAX) * (a.kv.head_dim / 2);
  take_head<T>(a, s.item, (a.n_heads + s.kv_head) * a.kv.head_dim, a.k_norm, a.order, it.index ? NULL : angle, 1.0f,
               newest[0]);
  take_head<T>(a, s.item, (a.n_heads + a.kv.n_kv_heads + s.kv_head) * a.kv.head_dim, NULL, NULL, NULL, 1.0f, newest[1]);
  __syncwarp();
  unsigned char *block = it.kv + static_cast<size_t>(it.slot / UNIT) * a.kv.block_bytes;
  for (int i = threadIdx.x % 32; i < 2 * WIDTH / 8; i += 32) {
    const int what = i / (WIDTH / 8), chunk = i % (WIDTH / 8);
    uint4 *to = reinterpret_cast<uint4 *>(block + kv_offset(a.kv, a.layer, what, s.kv_head)) +
                it.slot % UNIT * (WIDTH / 8) + chunk;
    *to = reinterpret_cast<const uint4 *>(newest[what])[chunk];
  }
}

/* Shared memory: the warps' rings, in whose place parts [WARPS][TILE_HEADS][WIDTH + 2] lie in the end; queries
 * [segments][TILE_HEADS][WIDTH]; the newest key and value. What a step's beginning wrote and what earlier steps stored
 * is read before this kernel's own inputs are ready. */
template <class T, int WIDTH> struct tensor_memory {
  typedef struct stage_of<WIDTH> stage;
  union {
    unsigned char rings[stage::WARPS][STAGES][stage::BYTES];
    float parts[stage::WARPS][TILE_HEADS][WIDTH + 2];
  };
  float q[SEGMENTS_MAX][TILE_HEADS][WIDTH];
  T newest[2][WIDTH];
  struct query_item item; /* here and not in registers, of which it would take a fifth */
};

template <class T, int WIDTH>
__global__ void __launch_bounds__(stage_of<WIDTH>::WARPS * 32, 2) attend_tensor_kernel(const struct attend a) {
  typedef struct stage_of<WIDTH> stage;
  /* Aligned, for a copy of 16 bytes brings 32 of which a neighbour needs the rest, if both go to the same 32. */
  extern __shared__ __align__(128) uint4 shared[];
  struct tensor_memory<T, WIDTH> *m = reinterpret_cast<struct tensor_memory<T, WIDTH> *>(shared);
  const int warp = threadIdx.x / 32;
  if (threadIdx.x < sizeof m->item / sizeof(unsigned))
    reinterpret_cast<unsigned *>(&m->item)[threadIdx.x] =
        reinterpret_cast<const unsigned *>(a.items + blockIdx.z)[threadIdx.x];
  __syncthreads();
  const struct query_item &it = m->item;
  const struct attend_share s = share_of(a, it, TILE_HEADS);
  const unsigned ring = static_cast<unsigned>(__cvta_generic_to_shared(m->rings[warp]));
  uint32_t ahead = s.begin + warp;
  for (int i = 0; i < STAGES; i++, ahead += stage::WARPS) {
    if (ahead < s.end) copy_unit<WIDTH>(a, it, s, ahead, ring + i * stage::BYTES);
    copies_end();
  }
  let_next_begin();
  wait_for_inputs();
  take_queries<T, WIDTH, TILE_HEADS>(a, s.item, s.first_head, s.n_heads, m->q[0][0]);
  const bool newest = a.store && has_newest(a, it, s);
  if (newest && warp == stage::WARPS - 1) keep_newest<T, WIDTH>(a, it, s, m->newest);
  __syncthreads();
  struct tile_state<WIDTH> w;
  tile_begin(&w);
  int turn = 0;
  for (uint32_t unit = s.begin + warp; unit < s.end; unit += stage::WARPS, ahead += stage::WARPS) {
    const unsigned from = ring + turn * stage::BYTES;
    const struct tile_place p = place_of_unit(it, s, unit);
    copies_wait<STAGES - 1>();
    __syncwarp();
    if (p.segment != w.segment) tile_take_queries<T, WIDTH>(&w, m->q[p.segment][0], p.segment);
    if (newest && it.slot - p.slot < UNIT) amend_unit<T, WIDTH>(m->rings[warp][turn], it.slot - p.slot, m->newest);
    tile_add<T, WIDTH>(&w, from, from + stage::ROWS, seen_of<WIDTH>(a, it, p, from));
    __syncwarp();
    if (ahead < s.end) copy_unit<WIDTH>(a, it, s, ahead, from);
    copies_end();
    if (++turn == STAGES) turn = 0;
  }
  __syncthreads();
  tile_give<WIDTH>(w, s.n_heads, m->parts[warp][0]);
  __syncthreads();
  give_result<T, WIDTH, TILE_HEADS>(a, s, m->parts[0][0], stage::WARPS);
}

template <class T, int WIDTH> cudaError_t launch_one(const struct launcher &l, const struct attend &a) {
  const int group = a.n_heads / a.kv.n_kv_heads, rounds = (group + TILE_HEADS - 1) / TILE_HEADS;
  const size_t shared = sizeof(struct tensor_memory<T, WIDTH>);
  cudaError_t e = cudaFuncSetAttribute(attend_tensor_kernel<T, WIDTH>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared));
  if (e) return e;
  return launch(l, attend_tensor_kernel<T, WIDTH>, dim3(a.splits, a.kv.n_kv_heads * rounds, a.n),
                stage_of<WIDTH>::WARPS * 32, shared, a);
}

} // namespace

bool attend_tensor_takes(const struct kv_shape &kv) {
  return kv.element == 2 && (kv.width == 64 || kv.width == 128);
}

cudaError_t attend_tensor_launch(const struct launcher &l, const struct attend &a) {
  if (a.kv.width == 64) return a.half_type ? launch_one<__half, 64>(l, a) : launch_one<bf16, 64>(l, a);
  return a.half_type ? launch_one<__half, 128>(l, a) : launch_one<bf16, 128>(l, a);
}
