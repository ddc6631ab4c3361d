/* y = W x for one token: what decoding is made of. The time is that of reading W, so everything else hides behind it:
 * each warp has a ring of tiles in shared memory that the copy engine fills across the borders of rows, the first of
 * them before the kernel's inputs are ready, and the norm's factor is applied to the finished sums. */
#include "engine/cuda/activate.cuh"
#include "engine/cuda/tiles.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / 32 };

struct gemv_shape {
  int pairs, distance; /* pair p is rows p * step and p * step + distance */
  int step, chunks;    /* chunks of 16 bytes in a row */
  int tile;            /* chunks of each of the two rows that are brought together */
  int share, tiles;    /* warps that share a pair, each its own tiles of it */
  int slots;           /* of each warp's ring */
};

enum {
  TILE_CHUNKS = 64,              /* at most; half as many where rows are short, so that more warps can share them */
  SHORT_ROW = 128,               /* chunks */
  TILE_BYTES = TILE_CHUNKS * 16, /* in the ring, each row's weights */
  SCALE_BYTES = TILE_CHUNKS,     /* and, for int8, its scales: 2 bytes for 2 chunks */
  SLOTS_MAX = 8
};

/* ---- a warp's ring: tiles of weights that the copy engine has brought or is bringing to shared memory ---- */

template <class W> struct ring {
  enum { ROW = TILE_BYTES + (sizeof(W) == 1 ? SCALE_BYTES : 0), SLOT = 2 * ROW };
  unsigned memory, barriers; /* of this warp, in shared memory */
  int slots, taken, asked;   /* tiles so far */
};


template <class W> __device__ void ring_open(struct ring<W> *r, unsigned memory, unsigned barriers, int slots) {
  r->memory = memory, r->barriers = barriers, r->slots = slots, r->taken = r->asked = 0;
#if __CUDA_ARCH__ >= 900
  if (threadIdx.x % 32 == 0) {
    for (int i = 0; i < slots; i++) barrier_init(barriers + 8 * i);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncwarp();
#endif
}

/* Asks for one tile of a pair of rows; the slot that it takes has been read by all lanes. */
template <class W>
__device__ void ring_ask(struct ring<W> *r, const struct gemv &g, const struct gemv_shape &s, int pair, int tile) {
#if __CUDA_ARCH__ >= 900
  if (threadIdx.x % 32 == 0) {
    const int slot = r->asked % r->slots, chunks = min(s.chunks - tile * s.tile, s.tile);
    const unsigned bar = r->barriers + 8 * slot, bytes = chunks * 16;
    const unsigned scales = sizeof(W) == 1 ? (chunks + 15) / 16 * 16 : 0;
    const unsigned rows = pair * s.step + s.distance < g.w.rows ? 2 : 1;
    barrier_expect(bar, rows * (bytes + scales));
    for (unsigned k = 0; k < rows; k++) {
      const size_t row = static_cast<size_t>(pair) * s.step + k * s.distance;
      const unsigned to = r->memory + slot * ring<W>::SLOT + k * ring<W>::ROW;
      bulk_copy(to, static_cast<const uint4 *>(g.w.data) + row * s.chunks + tile * s.tile, bytes, bar);
      if (scales) bulk_copy(to + TILE_BYTES, g.w.scale + row * g.w.scale_ld + tile * (s.tile / 2), scales, bar);
    }
  }
  r->asked++;
#endif
}

/* Waits for the oldest tile that was asked for; its place in shared memory. */
template <class W> __device__ unsigned ring_take(struct ring<W> *r) {
  const int slot = r->taken % r->slots;
#if __CUDA_ARCH__ >= 900
  const unsigned bar = r->barriers + 8 * slot, phase = r->taken / r->slots & 1;
  barrier_wait(bar, phase);
#endif
  r->taken++;
  return r->memory + slot * ring<W>::SLOT;
}


/* Chunk `chunk` (of the tile at `at`) of row k of a pair, and its scale. Without a copy engine it is read as it is
 * needed. */
template <class W>
__device__ uint4 chunk_of(const struct gemv &g, const struct gemv_shape &s, unsigned at, int pair, int tile, int k,
                          int chunk, float *scale) {
#if __CUDA_ARCH__ >= 900
  const unsigned row = at + k * ring<W>::ROW;
  if (sizeof(W) == 1) {
    unsigned short bits;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(row + TILE_BYTES + chunk / 2 * 2));
    *scale = __half2float(__ushort_as_half(bits));
  }
  return shared16(row + chunk * 16);
#else
  const int row = min(pair * s.step + k * s.distance, g.w.rows - 1);
  const size_t c = static_cast<size_t>(tile) * s.tile + chunk;
  if (sizeof(W) == 1) *scale = __half2float(__ldg(g.w.scale + static_cast<size_t>(row) * g.w.scale_ld + c / 2));
  return __ldg(static_cast<const uint4 *>(g.w.data) + static_cast<size_t>(row) * s.chunks + c);
#endif
}

template <class W>
__device__ void add_tile(const struct gemv &g, const struct gemv_shape &s, const float4 *xs, unsigned at, int pair,
                         int tile, float *sum) {
  enum { N = lanes_of<W>::N };
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int u = 0; u < TILE_CHUNKS / 32; u++) {
    const int inside = u * 32 + lane, chunk = tile * s.tile + inside;
    if (inside >= s.tile || chunk >= s.chunks) break;
    float x[N];
#pragma unroll
    for (int j = 0; j < N / 4; j++) *reinterpret_cast<float4 *>(x + 4 * j) = xs[j * s.chunks + chunk];
#pragma unroll
    for (int k = 0; k < 2; k++) {
      float scale = 1;
      const uint4 w = chunk_of<W>(g, s, at, pair, tile, k, inside, &scale);
      sum[k] = sizeof(W) == 1 ? fmaf(lanes_of<W>::dot(w, x, 0.0f), scale, sum[k]) : lanes_of<W>::dot(w, x, sum[k]);
    }
  }
}

template <int MODE>
__device__ void finish_pair(const struct gemv &g, const struct gemv_shape &s, int pair, float v, float factor) {
  const int lane = threadIdx.x % 32, row = pair * s.step + (lane / 16) * s.distance;
  v *= factor;
  if (g.bias && row < g.w.rows) v += __ldg(g.bias + row);
  if (MODE == GEMV_GATED) {
    const float up = __shfl_sync(~0u, v, 16);
    if (lane == 0) g.y[pair] = activate(g.activation, v) * up;
  } else if (lane % 16 == 0 && row < g.w.rows) {
    if (MODE == GEMV_ADD) v += __ldcg(g.y + row);
    g.y[row] = MODE == GEMV_ACT ? activate(g.activation, v) : v;
  }
}

/* The sum over all threads, in every thread. */
__device__ float block_sum(float v, float *parts) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0;
  for (int i = 0; i < WARPS; i++) v += parts[i];
  return v;
}

/* A LayerNorm of what lies in xs. */
template <int N4> __device__ void layer_norm(const struct gemv &g, int chunks, float4 *xs, float sum, float *parts) {
  float *x = reinterpret_cast<float *>(xs);
  const float mean = block_sum(sum, parts) / static_cast<float>(g.w.cols);
  float squares = 0;
  for (int i = threadIdx.x; i < g.w.cols; i += THREADS) {
    float &v = x[((i / 4 % N4) * chunks + i / 4 / N4) * 4 + i % 4];
    v -= mean;
    squares += v * v;
  }
  __syncthreads();
  const float factor = 1.0f / sqrtf(block_sum(squares, parts) / static_cast<float>(g.w.cols) + g.norm.eps);
  for (int i = threadIdx.x; i < g.w.cols; i += THREADS) {
    float &v = x[((i / 4 % N4) * chunks + i / 4 / N4) * 4 + i % 4];
    v = v * factor * __ldg(g.norm.gain + i) + __ldg(g.norm.bias + i);
  }
  __syncthreads();
}

/* x into shared memory, as the lanes will read it; returns the factor that makes it normalised. */
template <class W> __device__ float take_x(const struct gemv &g, const struct gemv_shape &s, float4 *xs, float *parts) {
  enum { N4 = lanes_of<W>::N / 4 };
  const int quads = s.chunks * N4;
  const float4 *x = reinterpret_cast<const float4 *>(g.x), *gain = reinterpret_cast<const float4 *>(g.norm.gain);
  const bool layer = g.norm.bias;
  float sum = 0;
  for (int i = threadIdx.x; i < quads; i += THREADS) {
    float4 v = __ldcg(x + i);
    if (layer) {
      sum += v.x + v.y + v.z + v.w;
    } else if (gain) {
      const float4 k = __ldg(gain + i);
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
      v.x *= k.x, v.y *= k.y, v.z *= k.z, v.w *= k.w;
    }
    xs[(i % N4) * s.chunks + i / N4] = v;
  }
  if (layer) layer_norm<N4>(g, s.chunks, xs, sum, parts);
  if (gain && !layer) return 1.0f / sqrtf(block_sum(sum, parts) / static_cast<float>(g.w.cols) + g.norm.eps);
  __syncthreads();
  return 1.0f;
}

template <class W>
__device__ void keep_hidden(const struct gemv &g, const struct gemv_shape &s, const float4 *xs, float factor) {
  enum { N4 = lanes_of<W>::N / 4 };
  for (int i = threadIdx.x; i < s.chunks * N4; i += THREADS) {
    float4 v = xs[(i % N4) * s.chunks + i / N4];
    v.x *= factor, v.y *= factor, v.z *= factor, v.w *= factor;
    for (int k = 0; k < 2; k++)
      if (g.hidden[k]) reinterpret_cast<float4 *>(g.hidden[k])[i] = v;
  }
}

/* Shared memory: x, then the warps' rings. */
template <class W, int MODE>
__global__ void __launch_bounds__(THREADS, 3) gemv_kernel(const struct gemv g, const struct gemv_shape s) {
  extern __shared__ float4 xs[];
  __shared__ float parts[WARPS], half_sums[2][WARPS][2];
  __shared__ uint64_t barriers[WARPS][SLOTS_MAX];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, groups = WARPS / s.share, group = warp / s.share,
            member = warp % s.share;
  const int begin = static_cast<int>(static_cast<int64_t>(s.pairs) * blockIdx.x / gridDim.x);
  const int end = static_cast<int>(static_cast<int64_t>(s.pairs) * (blockIdx.x + 1) / gridDim.x);
  struct ring<W> r;
  ring_open<W>(&r, static_cast<unsigned>(__cvta_generic_to_shared(xs)) + g.w.ld * 4 + warp * s.slots * ring<W>::SLOT,
               static_cast<unsigned>(__cvta_generic_to_shared(barriers[warp])), s.slots);
  int next_pair = begin + group, next_tile = member; /* to be asked for */
  while (r.asked < s.slots && next_pair < end) {
    ring_ask<W>(&r, g, s, next_pair, next_tile);
    if ((next_tile += s.share) >= s.tiles) next_tile = member, next_pair += groups;
  }
  let_next_begin();
  wait_for_inputs();
  const float factor = take_x<W>(g, s, xs, parts);
  for (int round = 0, pair = begin + group; begin + round * groups < end; round++, pair += groups) {
    float sum[2] = {0, 0};
    for (int tile = member; pair < end && tile < s.tiles; tile += s.share) {
      add_tile<W>(g, s, xs, ring_take<W>(&r), pair, tile, sum);
      __syncwarp();
      if (next_pair >= end) continue;
      ring_ask<W>(&r, g, s, next_pair, next_tile);
      if ((next_tile += s.share) >= s.tiles) next_tile = member, next_pair += groups;
    }
    float v = reduce_two(sum);
    if (s.share > 1) { /* all warps of the block make the same rounds */
      if (lane % 16 == 0) half_sums[round & 1][warp][lane / 16] = v;
      __syncthreads();
      v = 0;
      for (int i = 0; i < s.share; i++) v += half_sums[round & 1][group * s.share + i][lane / 16];
    }
    if (pair < end && member == 0) finish_pair<MODE>(g, s, pair, v, factor);
  }
  if (g.hidden[0] && blockIdx.x == 0) keep_hidden<W>(g, s, xs, factor);
}

template <class W, int MODE> cudaError_t launch_one(const struct launcher &l, const struct gemv &g) {
  struct gemv_shape s = {};
  const bool gated = MODE == GEMV_GATED;
  s.pairs = gated ? g.w.rows / 2 : (g.w.rows + 1) / 2;
  s.step = gated ? 1 : 2;
  s.distance = gated ? g.w.rows / 2 : 1;
  s.chunks = g.w.ld / lanes_of<W>::N;
  s.tile = s.chunks > SHORT_ROW ? TILE_CHUNKS : TILE_CHUNKS / 2;
  s.tiles = (s.chunks + s.tile - 1) / s.tile;
  s.slots = l.slots;
  const size_t x_bytes = static_cast<size_t>(g.w.ld) * sizeof(float),
               slot_bytes = WARPS * static_cast<size_t>(ring<W>::SLOT);
  /* Few rows: several warps share a pair, so that all multiprocessors have work. */
  for (s.share = 1;
       s.share < WARPS && s.share * 2 <= s.tiles && s.pairs * s.share * 4 < l.processors * WARPS * l.blocks_each * 3;)
    s.share *= 2;
  const int groups = WARPS / s.share;
  const size_t shared = x_bytes + s.slots * slot_bytes;
  int blocks = l.processors * l.blocks_each;
  if (blocks > (s.pairs + groups - 1) / groups) blocks = (s.pairs + groups - 1) / groups;
  if (shared > 48 << 10) {
    cudaError_t e = cudaFuncSetAttribute(gemv_kernel<W, MODE>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(shared));
    if (e) return e;
  }
  return launch(l, gemv_kernel<W, MODE>, blocks, THREADS, shared, g, s);
}

template <class W> cudaError_t launch_mode(const struct launcher &l, enum gemv_mode mode, const struct gemv &g) {
  switch (mode) {
  case GEMV_ROWS:
    return launch_one<W, GEMV_ROWS>(l, g);
  case GEMV_ADD:
    return launch_one<W, GEMV_ADD>(l, g);
  case GEMV_ACT:
    return launch_one<W, GEMV_ACT>(l, g);
  default:
    return launch_one<W, GEMV_GATED>(l, g);
  }
}

} // namespace

cudaError_t gemv_launch(const struct launcher &l, enum gemv_mode mode, const struct gemv &g) {
  switch (g.w.kind) {
  case MATRIX_F32:
    return launch_mode<float>(l, mode, g);
  case MATRIX_F16:
    return launch_mode<__half>(l, mode, g);
  case MATRIX_BF16:
    return launch_mode<bf16>(l, mode, g);
  default:
    return launch_mode<int8_t>(l, mode, g);
  }
}
