/* A product's input in shared memory as its lanes will read it, and the product of a tile of a pair of rows with it.
 * Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_TOKEN_TILE_CUH
#define SLUICE_ENGINE_CUDA_TOKEN_TILE_CUH

#include "engine/cuda/token_feed.cuh"

#if __CUDA_ARCH__ >= 900
namespace {

__device__ uint4 shared16_if(bool there, unsigned at) {
  uint4 v;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.u32 p, %5, 0;\nmov.u32 %0, 0;\nmov.u32 %1, 0;\nmov.u32 %2, 0;\nmov.u32 %3, 0;\n"
      "@p ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];\n}"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "r"(at), "r"(static_cast<unsigned>(there)));
  return v;
}

/* Where a warp finds a tile: `rows` in shared memory, `gap` bytes between them, `scales` of the first row; `n` chunks,
 * which belong to those of x from `first` on. */
struct token_tile {
  unsigned rows, gap, scales;
  int first, n;
};

/* ---- float arithmetic ---- */

/* x as floats. Those of a chunk lie apart, so that lanes that read neighbouring chunks read neighbouring places. */
template <class W> struct token_vector {
  enum { N4 = lanes_of<W>::N / 4 };
  __device__ static float4 *raw(int chunks, int i) { return token_x() + i % N4 * chunks + i / N4; }
  __device__ static void put(int chunks, int i, const float4 &v) { *raw(chunks, i) = v; }
  __device__ static float4 get(int chunks, int i) { return *raw(chunks, i); }
};

/* The sums of a pair of rows, in each lane its part. */
template <class W> struct token_sum {
  enum { N = lanes_of<W>::N, TOGETHER = 2 };
  float each[TOGETHER][2];

  /* Loads first: arithmetic would wait for each alone. */
  __device__ void add(unsigned x, int chunks, const struct token_tile &t) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int from = 0; from < TOKEN_TILE / 32; from += TOGETHER) {
      float v[TOGETHER][N];
      uint4 w[TOGETHER][2];
      float scale[TOGETHER][2];
      if (from * 32 >= t.n) break;
#pragma unroll
      for (int u = 0; u < TOGETHER; u++) {
        const int inside = (from + u) * 32 + lane;
        const bool there = inside < t.n;
#pragma unroll
        for (int k = 0; k < 2; k++) w[u][k] = shared16_if(there, t.rows + k * t.gap + inside * 16);
#pragma unroll
        for (int j = 0; j < N / 4; j++)
          *reinterpret_cast<uint4 *>(v[u] + 4 * j) = shared16_if(there, x + (j * chunks + t.first + inside) * 16);
#pragma unroll
        for (int k = 0; sizeof(W) == 1 && k < 2; k++) {
          unsigned short bits = 0;
          if (there)
            asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(t.scales + k * TOKEN_TILE + inside / 2 * 2));
          scale[u][k] = __half2float(__ushort_as_half(bits));
        }
      }
#pragma unroll
      for (int u = 0; u < TOGETHER; u++)
#pragma unroll
        for (int k = 0; k < 2; k++)
          each[u][k] = sizeof(W) == 1 ? fmaf(lanes_of<W>::dot(w[u][k], v[u], 0.0f), scale[u][k], each[u][k])
                                      : lanes_of<W>::dot(w[u][k], v[u], each[u][k]);
    }
  }

  /* The first row's sum in lane 0, the second's in lane 16. */
  __device__ float of_rows() const {
    const float both[2] = {each[0][0] + each[1][0], each[0][1] + each[1][1]};
    return reduce_two(both);
  }
};

/* ---- bf16 on tensor cores ---- */

/* x as sums of two bf16 each, which leaves out 2^-17 of it: the upper ones, then the lower ones. What a LayerNorm works
 * on lies behind them, as it came. */
template <> struct token_vector<bf16> {
  __device__ static float4 *raw(int chunks, int i) { return token_x() + 2 * chunks + i; }
  __device__ static void put(int chunks, int i, const float4 &v) {
    const float x[4] = {v.x, v.y, v.z, v.w};
    unsigned both[2][2];
#pragma unroll
    for (int k = 0; k < 2; k++) {
      const __nv_bfloat162 high = __floats2bfloat162_rn(x[2 * k], x[2 * k + 1]);
      const __nv_bfloat162 low = __floats2bfloat162_rn(x[2 * k] - __low2float(high), x[2 * k + 1] - __high2float(high));
      both[0][k] = *reinterpret_cast<const unsigned *>(&high), both[1][k] = *reinterpret_cast<const unsigned *>(&low);
    }
    uint2 *to = reinterpret_cast<uint2 *>(token_memory) + i;
    to[0] = make_uint2(both[0][0], both[0][1]);
    to[2 * chunks] = make_uint2(both[1][0], both[1][1]);
  }
  __device__ static float4 get(int chunks, int i) {
    const bf16 *high = reinterpret_cast<const bf16 *>(token_memory) + 4 * i, *low = high + 8 * chunks;
    float v[4];
    for (int k = 0; k < 4; k++) v[k] = __bfloat162float(high[k]) + __bfloat162float(low[k]);
    return make_float4(v[0], v[1], v[2], v[3]);
  }
};

/* c += a b of 16 x 16 and 16 x 8 numbers; a's lower 8 rows are 0. Which 16 numbers of x and of weights meet does not
 * matter as long as a and b agree: each lane brings four of its chunk. */
__device__ void multiply_add(float *c, unsigned a0, unsigned a2, unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(0), "r"(a2), "r"(0), "r"(b0), "r"(b1));
}

/* A step is 16 chunks of both rows, as four slices of four. Row 4 p + s of a is slice s of x's part p, column 4 r + s
 * of b is slice s of row r: of their products those of the same slice are wanted. */
template <> struct token_sum<bf16> {
  float each[4][4]; /* as mma leaves them; four, so that none waits for the one before */

  __device__ void add(unsigned x, int chunks, const struct token_tile &t) {
    enum { STEP = 16, TOGETHER = TOKEN_TILE / STEP };
    const int lane = threadIdx.x % 32, second = lane / 16, mine = lane % 16;
    const unsigned rows = t.rows + second * t.gap + mine * 16, from_x = x + (second * chunks + t.first + mine) * 16;
    uint4 w[TOGETHER], v[TOGETHER];
#pragma unroll
    for (int u = 0; u < TOGETHER; u++) {
      const bool there = u * STEP + mine < t.n;
      w[u] = shared16_if(there, rows + u * STEP * 16), v[u] = shared16_if(there, from_x + u * STEP * 16);
    }
#pragma unroll
    for (int u = 0; u < TOGETHER; u++) {
      multiply_add(each[u % 2], v[u].x, v[u].y, w[u].x, w[u].y);
      multiply_add(each[2 + u % 2], v[u].z, v[u].w, w[u].z, w[u].w);
    }
  }

  /* A lane has two neighbouring columns of one row: either of them, or none, is wanted. */
  __device__ float of_rows() const {
    const int lane = threadIdx.x % 32, slice = lane / 4 % 4;
    const int odd = slice % 2;
    float v = odd ? (each[0][1] + each[1][1]) + (each[2][1] + each[3][1])
                  : (each[0][0] + each[1][0]) + (each[2][0] + each[3][0]);
    if (lane % 2 != slice / 2) v = 0;
    v += __shfl_xor_sync(~0u, v, 1);
    for (int o = 4; o < 32; o *= 2) v += __shfl_xor_sync(~0u, v, o);
    return __shfl_sync(~0u, v, lane / 16 * 2);
  }
};

} // namespace
#endif

#endif
