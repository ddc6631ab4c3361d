/* y = W x for one token: what decoding is made of. The time is that of reading W, so everything else hides behind it: each
 * warp keeps two rows' loads in flight across the borders of rows, the first of them before its inputs are ready, and the
 * norm's factor is applied to the finished sums. */
#include "engine/cuda/activate.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / 32, DEPTH = 2 }; /* DEPTH: 16-byte loads of one row and lane at a time */

/* N values of 16 bytes, and their products with N floats added to a sum. */
template <class W> struct lanes_of;
template <> struct lanes_of<float> {
  enum { N = 4 };
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    sum = fmaf(__uint_as_float(u.x), x[0], sum), sum = fmaf(__uint_as_float(u.y), x[1], sum);
    return fmaf(__uint_as_float(u.w), x[3], fmaf(__uint_as_float(u.z), x[2], sum));
  }
};
template <> struct lanes_of<bf16> {
  enum { N = 8 };
  __device__ static float two(unsigned u, const float *x, float sum) {
    return fmaf(__uint_as_float(u & 0xffff0000u), x[1], fmaf(__uint_as_float(u << 16), x[0], sum));
  }
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    return two(u.w, x + 6, two(u.z, x + 4, two(u.y, x + 2, two(u.x, x, sum))));
  }
};
template <> struct lanes_of<__half> {
  enum { N = 8 };
  __device__ static float two(unsigned u, const float *x, float sum) {
    const float2 v = __half22float2(*reinterpret_cast<const __half2 *>(&u));
    return fmaf(v.y, x[1], fmaf(v.x, x[0], sum));
  }
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    return two(u.w, x + 6, two(u.z, x + 4, two(u.y, x + 2, two(u.x, x, sum))));
  }
};
template <> struct lanes_of<int8_t> {
  enum { N = 16 };
  /* A byte plus 128 in the low bits of 2^23 is an exact float; integer conversion would run at an eighth of the rate. */
  __device__ static float four(unsigned u, const float *x, float sum) {
    u ^= 0x80808080u;
#pragma unroll
    for (int i = 0; i < 4; i++)
      sum = fmaf(__uint_as_float(__byte_perm(u, 0x4b000000u, 0x7540u + static_cast<unsigned>(i))) - 8388736.0f, x[i],
                 sum);
    return sum;
  }
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    return four(u.w, x + 12, four(u.z, x + 8, four(u.y, x + 4, four(u.x, x, sum))));
  }
};

/* Weights are read once: they should not push anything else out of L1. */
__device__ uint4 load_weights(const uint4 *p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

struct gemv_shape {
  int pairs, distance; /* pair p is rows p * step and p * step + distance */
  int step, chunks;    /* chunks of 16 bytes in a row */
  unsigned prefetch;
};

/* Where a warp stands: a pair of rows and a tile of DEPTH * 32 chunks in it. */
struct place {
  int pair, tile;
};

template <class W> struct tile_data {
  uint4 v[2][DEPTH];
  float scale[2][DEPTH];
};

template <class W>
__device__ void load_tile(const struct gemv &g, const struct gemv_shape &s, const struct place &at, int end,
                          struct tile_data<W> *t) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int row = at.pair * s.step + r * s.distance;
    const bool there = at.pair < end && row < g.w.rows;
    const uint4 *from = static_cast<const uint4 *>(g.w.data) + static_cast<size_t>(row) * s.chunks;
#pragma unroll
    for (int u = 0; u < DEPTH; u++) {
      const int chunk = (at.tile * DEPTH + u) * 32 + lane;
      const bool inside = there && chunk < s.chunks;
      t->v[r][u] = inside ? load_weights(from + chunk) : make_uint4(0, 0, 0, 0);
      if (sizeof(W) == 1)
        t->scale[r][u] =
            inside ? __half2float(__ldg(g.w.scale + (static_cast<size_t>(row) * s.chunks + chunk) / 2)) : 0.0f;
    }
  }
}

template <class W>
__device__ void add_tile(const struct gemv_shape &s, const float4 *xs, int tile, const struct tile_data<W> &t,
                         float *sum) {
  enum { N = lanes_of<W>::N };
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int u = 0; u < DEPTH; u++) {
    const int chunk = (tile * DEPTH + u) * 32 + lane;
    if (chunk >= s.chunks) break;
    float x[N];
#pragma unroll
    for (int j = 0; j < N / 4; j++) *reinterpret_cast<float4 *>(x + 4 * j) = xs[j * s.chunks + chunk];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      if (sizeof(W) == 1)
        sum[r] = fmaf(lanes_of<W>::dot(t.v[r][u], x, 0.0f), t.scale[r][u], sum[r]);
      else
        sum[r] = lanes_of<W>::dot(t.v[r][u], x, sum[r]);
    }
  }
}

/* Lane 0 gets the first row's sum and lane 16 the second's. */
__device__ float reduce_two(const float *sum) {
  const bool upper = threadIdx.x & 16;
  float v = upper ? sum[1] : sum[0];
  v += __shfl_xor_sync(~0u, upper ? sum[0] : sum[1], 16);
  for (int o = 8; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
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
    reinterpret_cast<float4 *>(g.hidden)[i] = v;
  }
}

/* The block's rows lie in one stretch of memory (two for a gated pair): their beginning is asked into L2. */
__device__ void prefetch_rows(const struct gemv &g, const struct gemv_shape &s, int begin, int end) {
#if __CUDA_ARCH__ >= 900
  const size_t row_bytes = static_cast<size_t>(s.chunks) * 16;
  if (threadIdx.x > 1 || begin >= end || !s.prefetch) return;
  if (threadIdx.x == 1 && s.step == 2) return;
  size_t bytes = static_cast<size_t>(end - begin) * s.step * row_bytes;
  const size_t from = (static_cast<size_t>(begin) * s.step + (threadIdx.x ? s.distance : 0)) * row_bytes;
  const size_t all = static_cast<size_t>(g.w.rows) * row_bytes;
  if (from + bytes > all) bytes = all - from;
  if (bytes > s.prefetch) bytes = s.prefetch;
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(static_cast<const char *>(g.w.data) + from),
               "r"(static_cast<unsigned>(bytes)));
#endif
}

template <class W, int MODE>
__global__ void __launch_bounds__(THREADS, sizeof(W) == 1 ? 3 : 4) gemv_kernel(const struct gemv g, const struct gemv_shape s) {
  extern __shared__ float4 xs[];
  __shared__ float parts[WARPS];
  const int warp = threadIdx.x / 32, tiles = (s.chunks + DEPTH * 32 - 1) / (DEPTH * 32);
  const int begin = static_cast<int>(static_cast<int64_t>(s.pairs) * blockIdx.x / gridDim.x);
  const int end = static_cast<int>(static_cast<int64_t>(s.pairs) * (blockIdx.x + 1) / gridDim.x);
  struct place at = {begin + warp, 0};
  struct tile_data<W> now, next;
  load_tile<W>(g, s, at, end, &now);
  prefetch_rows(g, s, begin, end);
  let_next_begin();
  wait_for_inputs();
  const float factor = take_x<W>(g, s, xs, parts);
  float sum[2] = {0, 0};
  while (at.pair < end) {
    const bool last = at.tile + 1 == tiles;
    const struct place then = {last ? at.pair + WARPS : at.pair, last ? 0 : at.tile + 1};
    load_tile<W>(g, s, then, end, &next);
    add_tile<W>(s, xs, at.tile, now, sum);
    if (last) {
      finish_pair<MODE>(g, s, at.pair, reduce_two(sum), factor);
      sum[0] = sum[1] = 0;
    }
    now = next;
    at = then;
  }
  if (g.hidden && blockIdx.x == 0) keep_hidden<W>(g, s, xs, factor);
}

template <class W, int MODE> cudaError_t launch_one(const struct launcher &l, const struct gemv &g) {
  struct gemv_shape s = {};
  const bool gated = MODE == GEMV_GATED;
  s.pairs = gated ? g.w.rows / 2 : (g.w.rows + 1) / 2;
  s.step = gated ? 1 : 2;
  s.distance = gated ? g.w.rows / 2 : 1;
  s.chunks = g.w.ld / lanes_of<W>::N;
  s.prefetch = l.prefetch / 16 * 16;
  const size_t shared = static_cast<size_t>(g.w.ld) * sizeof(float);
  int blocks = l.processors * l.blocks_each;
  if (blocks > (s.pairs + WARPS - 1) / WARPS) blocks = (s.pairs + WARPS - 1) / WARPS;
  if (shared > 48 << 10) {
    cudaError_t e = cudaFuncSetAttribute(gemv_kernel<W, MODE>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(shared));
    if (e) return e;
  }
  return launch(l, gemv_kernel<W, MODE>, blocks, THREADS, shared, g, s);
}

template <class W> cudaError_t launch_mode(const struct launcher &l, enum gemv_mode mode, const struct gemv &g) {
  switch (mode) {
  case GEMV_ROWS: return launch_one<W, GEMV_ROWS>(l, g);
  case GEMV_ADD: return launch_one<W, GEMV_ADD>(l, g);
  case GEMV_ACT: return launch_one<W, GEMV_ACT>(l, g);
  default: return launch_one<W, GEMV_GATED>(l, g);
  }
}

} // namespace

cudaError_t gemv_launch(const struct launcher &l, enum gemv_mode mode, const struct gemv &g) {
  switch (g.w.kind) {
  case MATRIX_F32: return launch_mode<float>(l, mode, g);
  case MATRIX_F16: return launch_mode<__half>(l, mode, g);
  case MATRIX_BF16: return launch_mode<bf16>(l, mode, g);
  default: return launch_mode<int8_t>(l, mode, g);
  }
}
