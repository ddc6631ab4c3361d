/* What blocks give each other, and the matrix-vector products between. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_TOKEN_PRODUCTS_CUH
#define SLUICE_ENGINE_CUDA_TOKEN_PRODUCTS_CUH

#include "engine/cuda/activate.cuh"
#include "engine/cuda/token_feed.cuh"

#if __CUDA_ARCH__ >= 900
namespace {

/* ---- numbers with their tags ---- */

__device__ void give(unsigned long long *to, float v, unsigned tag) {
  const unsigned long long both = static_cast<unsigned long long>(tag) << 32 | __float_as_uint(v);
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(both) : "memory");
}

/* To all blocks. */
__device__ void give_all(const struct token_args &a, unsigned long long *to, float v, unsigned tag) {
#pragma unroll
  for (int i = 0; i < TOKEN_COPIES; i++) give(to + i * a.copy, v, tag);
}

__device__ unsigned long long look(const unsigned long long *from) {
  unsigned long long v;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(from) : "memory");
  return v;
}

__device__ ulonglong2 look_two(const unsigned long long *from) {
  ulonglong2 v;
  asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(v.x), "=l"(v.y) : "l"(from) : "memory");
  return v;
}

__device__ bool is_of(unsigned long long v, unsigned tag) {
  return static_cast<unsigned>(v >> 32) == tag;
}

__device__ float number_of(unsigned long long v) {
  return __uint_as_float(static_cast<unsigned>(v));
}

/* What was looked at before may not have been there yet. */
__device__ float await(const unsigned long long *from, unsigned long long v, unsigned tag) {
  while (!is_of(v, tag)) v = look(from);
  return number_of(v);
}

struct four {
  ulonglong2 low, high;
};
__device__ struct four look_four(const unsigned long long *from) {
  return {look_two(from), look_two(from + 2)};
}
__device__ float4 await_four(const unsigned long long *from, struct four v, unsigned tag) {
  while (!is_of(v.low.x, tag) || !is_of(v.low.y, tag) || !is_of(v.high.x, tag) || !is_of(v.high.y, tag))
    v = look_four(from);
  return make_float4(number_of(v.low.x), number_of(v.low.y), number_of(v.high.x), number_of(v.high.y));
}

/* ---- among the workers of a block ---- */

__device__ void workers_meet() {
  asm volatile("bar.sync 1, %0;" ::"r"(static_cast<int>(WORKERS)) : "memory");
}

__device__ float warp_sum(float v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}

__device__ float sum_of_parts(const float *parts) {
  float v = 0;
#pragma unroll
  for (int i = 0; i < TOKEN_WARPS; i++) v += parts[i];
  return v;
}

/* ---- a product's input ---- */

struct token_input {
  const unsigned long long *from;
  unsigned tag;
  const float *gain, *shift; /* of its norm; NULL: none */
};

/* Puts numbers of x where the lanes will read them, times the norm's gain, and gathers what the norm needs. */
template <int N4> struct token_taker {
  int chunks;
  bool layer;
  float sum;
  __device__ void put(int i, float4 v, const float4 &gain, bool norm) {
    if (layer) {
      sum += v.x + v.y + v.z + v.w;
    } else if (norm) {
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
      v.x *= gain.x, v.y *= gain.y, v.z *= gain.z, v.w *= gain.w;
    }
    token_x()[i % N4 * chunks + i / N4] = v;
  }
};

/* A LayerNorm of what lies in x, each thread its own part. */
template <int N4>
__device__ void token_layer_norm(struct token_block &m, const struct token_input &in, int cols, int chunks, float sum,
                                 float eps) {
  float4 *x = token_x();
  float squares = 0;
  const float mean = __fdividef(sum, static_cast<float>(cols));
  for (int i = threadIdx.x; i < cols / 4; i += WORKERS) {
    float4 &v = x[i % N4 * chunks + i / N4];
    v.x -= mean, v.y -= mean, v.z -= mean, v.w -= mean;
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) m.parts[TOKEN_WARPS + threadIdx.x / 32] = squares;
  workers_meet();
  const float factor = rsqrtf(__fdividef(sum_of_parts(m.parts + TOKEN_WARPS), static_cast<float>(cols)) + eps);
  for (int i = threadIdx.x; i < cols / 4; i += WORKERS) {
    float4 &v = x[i % N4 * chunks + i / N4];
    const float4 g = __ldg(reinterpret_cast<const float4 *>(in.gain) + i),
                 b = __ldg(reinterpret_cast<const float4 *>(in.shift) + i);
    v.x = v.x * factor * g.x + b.x, v.y = v.y * factor * g.y + b.y;
    v.z = v.z * factor * g.z + b.z, v.w = v.w * factor * g.w + b.w;
  }
  workers_meet();
}

/* A product's input into shared memory; returns the factor that makes it normalised. The first look of a thread is
 * repeated until its numbers are there; by then the others mostly are, and many looks are under way at a time. */
template <class W>
__device__ float token_take(struct token_block &m, const struct token_shape &s, const struct token_input &in) {
  enum { N4 = lanes_of<W>::N / 4, AHEAD = 3 };
  const struct token_args &a = m.a;
  const int quads = s.chunks * N4, used = s.cols / 4;
  const float4 *gain = reinterpret_cast<const float4 *>(in.gain);
  const bool norm = in.gain, rms = norm && !in.shift;
  const float4 zero = make_float4(0, 0, 0, 0);
  struct token_taker<N4> t = {
    s.chunks, norm &&in.shift, 0
  };
  int i = threadIdx.x;
  if (i < quads) {
    const float4 g = rms ? __ldg(gain + i) : zero;
    float4 v = zero;
    if (i < used) v = await_four(in.from + 4 * i, look_four(in.from + 4 * i), in.tag);
    t.put(i, v, g, norm);
  }
  for (i += WORKERS; i < quads; i += AHEAD * WORKERS) {
    struct four u[AHEAD];
    float4 g[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const int at = i + k * WORKERS;
      if (at < used) u[k] = look_four(in.from + 4 * at);
      g[k] = rms && at < quads ? __ldg(gain + at) : zero;
    }
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const int at = i + k * WORKERS;
      if (at >= quads) break;
      float4 v = zero;
      if (at < used) v = await_four(in.from + 4 * at, u[k], in.tag);
      t.put(at, v, g[k], norm);
    }
  }
  if (norm) {
    const float sum = warp_sum(t.sum);
    if (threadIdx.x % 32 == 0) m.parts[threadIdx.x / 32] = sum;
  }
  workers_meet();
  if (!norm) return 1.0f;
  const float sum = sum_of_parts(m.parts);
  if (rms) return rsqrtf(__fdividef(sum, static_cast<float>(s.cols)) + a.final_norm.eps);
  token_layer_norm<N4>(m, in, s.cols, s.chunks, sum, a.final_norm.eps);
  return 1.0f;
}

/* ---- the product itself ---- */

struct token_worker {
  int warp, lane, turn; /* turn: as the cursor's */
  int slot;             /* of its ring */
  unsigned phase;
  float residual; /* of the row that this thread finishes */
};

__device__ uint4 shared16_if(bool there, unsigned at) {
  uint4 v;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %5, 0;\nmov.u32 %0, 0;\nmov.u32 %1, 0;\nmov.u32 %2, 0;\nmov.u32 %3, 0;\n"
      "@p ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];\n}"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "r"(at), "r"(static_cast<unsigned>(there)));
  return v;
}

/* Tile `tile` of a pair, its rows `gap` bytes apart at `at`. Loads first: arithmetic would wait for each alone. */
template <class W>
__device__ void token_add_tile(unsigned x, int chunks, int first, int n, unsigned at, unsigned gap, float (*sum)[2]) {
  enum { N = lanes_of<W>::N, TOGETHER = 2 };
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int from = 0; from < TOKEN_TILE / 32; from += TOGETHER) {
    float v[TOGETHER][N];
    uint4 w[TOGETHER][2];
    float scale[TOGETHER][2];
    if (from * 32 >= n) break;
#pragma unroll
    for (int u = 0; u < TOGETHER; u++) {
      const int inside = (from + u) * 32 + lane;
      const bool there = inside < n;
#pragma unroll
      for (int k = 0; k < 2; k++) w[u][k] = shared16_if(there, at + k * gap + inside * 16);
#pragma unroll
      for (int j = 0; j < N / 4; j++)
        *reinterpret_cast<uint4 *>(v[u] + 4 * j) = shared16_if(there, x + (j * chunks + first + inside) * 16);
#pragma unroll
      for (int k = 0; sizeof(W) == 1 && k < 2; k++) {
        unsigned short bits = 0;
        if (there)
          asm volatile("ld.shared.u16 %0, [%1];"
                       : "=h"(bits)
                       : "r"(at + 2 * TOKEN_TILE_BYTES + k * TOKEN_TILE + inside / 2 * 2));
        scale[u][k] = __half2float(__ushort_as_half(bits));
      }
    }
#pragma unroll
    for (int u = 0; u < TOGETHER; u++)
#pragma unroll
      for (int k = 0; k < 2; k++)
        sum[u][k] = sizeof(W) == 1 ? fmaf(lanes_of<W>::dot(w[u][k], v[u], 0.0f), scale[u][k], sum[u][k])
                                   : lanes_of<W>::dot(w[u][k], v[u], sum[u][k]);
  }
}

/* The warp's units of a matrix: each(unit, v) with the first row's sum in lane 0 and the second's in lane 16. W: the
 * matrix's type, L: that of the layers' matrices, for which the ring is made. */
template <class W, class L, class EACH>
__device__ void token_product(const struct token_block &m, int which, struct token_worker *w, EACH each) {
  const struct token_shape &s = m.a.shape[which];
  const int units = m.cut[which].units, share = 1 << s.share_log, chunks = s.chunks, width = s.tile, tiles = s.tiles,
            slots = m.a.slots;
  const unsigned ring = shared_address(token_layers_of(m.a) + m.a.n_layers) + w->warp * slots * token_ring<L>::SLOT,
                 full = shared_address(m.full[w->warp]), empty = shared_address(m.empty[w->warp]),
                 x = shared_address(token_memory),
                 gap = tiles == 1 && s.distance == 1 ? chunks * 16 : static_cast<unsigned>(TOKEN_TILE_BYTES);
  for (int unit = token_first(w->warp, w->turn); unit < units; unit += TOKEN_WARPS) {
    float sum[2][2] = {{0, 0}, {0, 0}};
    for (int tile = unit & (share - 1); tile < tiles; tile += share) {
      barrier_wait(full + w->slot * 8, w->phase);
      token_add_tile<W>(x, chunks, tile * width, min(chunks - tile * width, width),
                        ring + w->slot * token_ring<L>::SLOT, gap, sum);
      __syncwarp();
      if (w->lane == 0) barrier_arrive(empty + w->slot * 8);
      if (++w->slot == slots) w->slot = 0, w->phase ^= 1;
    }
    const float both[2] = {sum[0][0] + sum[1][0], sum[0][1] + sum[1][1]};
    each(unit, reduce_two(both));
  }
  w->turn = (w->turn + units) % TOKEN_WARPS;
}

/* Row `row` of a pair, from the sums of its units. */
__device__ float token_row_sum(const struct token_args &a, const struct token_shape &s, int pair, int row) {
  const float *sums = token_sums(a) + (pair << s.share_log) * 2 + row;
  const int n = 1 << s.share_log;
  float v = 0;
#pragma unroll 4
  for (int i = 0; i < n; i++) v += sums[2 * i];
  return v;
}

/* A thread's result of one of a layer's products, to whom it concerns. */
__device__ void token_finish(const struct token_block &m, int which, unsigned tag, float factor, const float *bias,
                             struct token_worker *w) {
  const struct token_args &a = m.a;
  const struct token_shape &s = a.shape[which];
  const int begin = m.cut[which].begin, pairs = m.cut[which].pairs, t = threadIdx.x;
  if (which == TOKEN_FFN && a.gated) {
    if (t >= pairs) return;
    const float gate = token_row_sum(a, s, t, 0) * factor + bias[0], up = token_row_sum(a, s, t, 1) * factor + bias[1];
    give_all(a, a.act + begin + t, activate(a.activation, gate) * up, tag);
    return;
  }
  const int row = begin * 2 + t;
  if (t >= pairs * 2 || row >= s.rows) return;
  const float v = token_row_sum(a, s, t / 2, t % 2) * factor + bias[0];
  if (which == TOKEN_QKV) {
    give(a.qkv + row, v, tag);
  } else if (which == TOKEN_FFN) {
    give_all(a, a.act + row, activate(a.activation, v), tag);
  } else {
    w->residual += v;
    if (which == TOKEN_DOWN || !a.parallel) give_all(a, a.x[which == TOKEN_DOWN] + row, w->residual, tag);
  }
}

/* Biases of what a thread will finish, asked for early. */
__device__ void token_biases(const struct token_block &m, int which, const float *from, bool gated, float *bias) {
  const struct token_shape &s = m.a.shape[which];
  bias[0] = bias[1] = 0;
  if (!from) return;
  const int row = m.cut[which].begin * (gated ? 1 : 2) + static_cast<int>(threadIdx.x);
  if (row < (gated ? s.pairs : s.rows)) bias[0] = __ldg(from + row);
  if (gated && row < s.pairs) bias[1] = __ldg(from + row + s.distance);
}

} // namespace
#endif

#endif
