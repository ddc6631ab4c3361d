/* The ring of each warp in shared memory, and the warp that fills all of them. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_TOKEN_FEED_CUH
#define SLUICE_ENGINE_CUDA_TOKEN_FEED_CUH

#include "engine/cuda/tiles.cuh"
#include "engine/cuda/token.cuh"

namespace {

/* A block's part of a matrix. */
struct token_cut {
  int begin, pairs, units;
};

/* What a block keeps in shared memory, besides what token_memory holds: a product's input (between products what
 * attention needs), sums of units, the layers' addresses, the rings. Arguments lie here too: what the compiler derives
 * from a kernel's own arguments it would keep in registers through all layers, or worse, in local memory, for which so
 * much shared memory leaves no cache. */
struct token_block {
  struct token_args a;
  struct token_cut cut[TOKEN_MATRICES];
  unsigned long long full[TOKEN_WARPS][TOKEN_SLOTS_MAX], empty[TOKEN_WARPS][TOKEN_SLOTS_MAX];
  float parts[2 * TOKEN_WARPS];
  float2 angles[(SEGMENTS_MAX + 1) * TOKEN_WIDTH_MAX / 2];
};

extern __shared__ __align__(128) uint4 token_memory[];

__device__ unsigned shared_address(const void *p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
__device__ float4 *token_x() {
  return reinterpret_cast<float4 *>(token_memory);
}
__device__ float *token_sums(const struct token_args &a) {
  return reinterpret_cast<float *>(reinterpret_cast<unsigned char *>(token_memory) + a.x_bytes);
}
__device__ struct token_layer *token_layers_of(const struct token_args &a) {
  return reinterpret_cast<struct token_layer *>(token_sums(a) + a.sum_floats);
}

template <class W> struct token_ring {
  /* Two rows, then their scales. Whole rows lie without a gap. */
  enum { SLOT = 2 * (TOKEN_TILE_BYTES + (sizeof(W) == 1 ? TOKEN_TILE : 0)) };
};

/* A place in the sequence of tiles that a warp works through: [layer][matrix][unit][tile]. */
struct token_cursor {
  int layer, at, which; /* at: index into order */
  int begin, units;     /* this block's pairs of the matrix, from `begin` on */
  int turn;             /* whose unit the first one is: warps take units in turn, across matrices */
  int unit, pair, tile;
};

/* The first unit of a warp in a matrix. */
__device__ int token_first(int warp, int turn) {
  return warp >= turn ? warp - turn : warp - turn + TOKEN_WARPS;
}

/* To the next matrix in which the warp has a unit; false: there is none. */
__device__ __forceinline__ bool token_next_matrix(const struct token_block &m, struct token_cursor *c, int warp) {
  const struct token_args &a = m.a;
  do {
    c->turn = (c->turn + c->units) % TOKEN_WARPS;
    if (++c->at == TOKEN_LAYER_MATRICES) c->at = 0, c->layer++;
    if (c->layer > a.n_layers || (c->layer == a.n_layers && (c->at > 0 || a.kind == STEP_HIDDEN))) return false;
    c->which = c->layer < a.n_layers ? a.order[c->at] : TOKEN_HEAD;
    c->begin = m.cut[c->which].begin;
    c->units = m.cut[c->which].units;
    c->unit = token_first(warp, c->turn);
  } while (c->unit >= c->units);
  return true;
}

__device__ void token_take_unit(const struct token_args &a, struct token_cursor *c) {
  const int log = a.shape[c->which].share_log;
  c->pair = c->begin + (c->unit >> log);
  c->tile = c->unit & ((1 << log) - 1);
}

__device__ __forceinline__ bool token_next_tile(const struct token_block &m, struct token_cursor *c, int warp) {
  const struct token_shape &s = m.a.shape[c->which];
  c->tile += 1 << s.share_log;
  if (c->tile < s.tiles) return true;
  c->unit += TOKEN_WARPS;
  if (c->unit >= c->units && !token_next_matrix(m, c, warp)) return false;
  token_take_unit(m.a, c);
  return true;
}

#if __CUDA_ARCH__ >= 900
__device__ bool barrier_passed(unsigned bar, unsigned phase) {
  unsigned passed;
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
               : "=r"(passed)
               : "r"(bar), "r"(phase)
               : "memory");
  return passed;
}

__device__ void barrier_arrive(unsigned bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

template <class W>
__device__ void token_bring(const struct token_args &a, const struct token_cursor &c, unsigned to, unsigned bar) {
  const struct token_shape &s = a.shape[c.which];
  const bool head = c.which == TOKEN_HEAD;
  const struct token_layer &l = token_layers_of(a)[head ? 0 : c.layer];
  const int chunks = min(s.chunks - c.tile * s.tile, s.tile);
  const unsigned bytes = chunks * 16, scales = sizeof(W) == 1 && s.scale_ld ? (chunks + 15) / 16 * 16 : 0;
  const int row = c.pair * s.step, rows = row + s.distance < s.rows ? 2 : 1;
  const uint4 *from = static_cast<const uint4 *>(head ? a.head.data : l.data[c.which]) +
                      static_cast<size_t>(row) * s.chunks + c.tile * s.tile;
  barrier_expect(bar, rows * (bytes + scales));
  if (s.tiles == 1 && s.distance == 1) { /* both rows lie together */
    bulk_copy(to, from, rows * bytes, bar);
  } else {
    bulk_copy(to, from, bytes, bar);
    if (rows > 1) bulk_copy(to + TOKEN_TILE_BYTES, from + static_cast<size_t>(s.distance) * s.chunks, bytes, bar);
  }
  for (int k = 0; scales && k < rows; k++)
    bulk_copy(to + 2 * TOKEN_TILE_BYTES + k * TOKEN_TILE,
              (head ? a.head.scale : l.scale[c.which]) + (static_cast<size_t>(row) + k * s.distance) * s.scale_ld +
                  c.tile * (s.tile / 2),
              scales, bar);
}

/* The last warps of a block: each lane brings the tiles of one of the others. No more than TOKEN_FLIGHT of each are
 * under way at a time: what else a multiprocessor asks memory for, results for other blocks first of all, would wait in
 * line behind all of them. */
template <class W> __device__ void token_feed(const struct token_block &m) {
  const int warp = threadIdx.x % 32 * TOKEN_FEEDERS + (threadIdx.x - WORKERS) / 32, slots = m.a.slots;
  struct token_cursor c = {0, -1, 0, 0, 0, 0, 0, 0, 0};
  bool live = warp < TOKEN_WARPS && token_next_matrix(m, &c, warp);
  if (live) token_take_unit(m.a, &c);
  const int mine = live ? warp : 0;
  const unsigned ring = shared_address(token_layers_of(m.a) + m.a.n_layers) + mine * slots * token_ring<W>::SLOT,
                 full = shared_address(m.full[mine]), empty = shared_address(m.empty[mine]);
  int slot = 0, oldest = 0, flying = 0; /* oldest: of those under way */
  unsigned phase = 1, oldest_phase = 0; /* nobody has taken anything yet: a slot's first turn is free */
  while (__any_sync(~0u, live)) {
    if (flying && barrier_passed(full + oldest * 8, oldest_phase)) {
      flying--;
      if (++oldest == slots) oldest = 0, oldest_phase ^= 1;
    }
    const bool free = live && flying < TOKEN_FLIGHT && barrier_passed(empty + slot * 8, phase);
    if (free) {
      flying++;
      token_bring<W>(m.a, c, ring + slot * token_ring<W>::SLOT, full + slot * 8);
      if (++slot == slots) slot = 0, phase ^= 1;
      live = token_next_tile(m, &c, warp);
    }
    if (!__any_sync(~0u, free)) __nanosleep(20);
  }
}
#endif

} // namespace

#endif
