/* A warp's part of attention on tensor cores: 16 slots at a time, up to 8 queries that share their keys. Private to
 * engine/cuda.
 *
 * Of the 16 rows of a product the upper 8 are the queries' (then the weights') upper 16 bits, the lower 8 what these
 * leave out, so that both keep the precision of floats at no cost: mma would multiply 16 rows anyway. */
#ifndef SLUICE_ENGINE_CUDA_ATTEND_TILE_CUH
#define SLUICE_ENGINE_CUDA_ATTEND_TILE_CUH

#include "engine/cuda/mma.cuh"

namespace {

enum { TILE_HEADS = 8, TILE_SLOTS = 16 };

template <int WIDTH> struct tile_state {
  unsigned q[WIDTH / 16][4]; /* of head lane / 4: a product's left side */
  float out[WIDTH / 8]
           [4];     /* numbers 2 (lane % 4) and the next of 8, of the same head: from upper, from lower weights */
  float top, total; /* of the same head; the total of this lane's slots */
  int segment;      /* whose queries these are */
};

template <class T> __device__ float first_of(unsigned pair);
template <class T> __device__ float second_of(unsigned pair);
template <> __device__ float first_of<bf16>(unsigned pair) {
  return __uint_as_float(pair << 16);
}
template <> __device__ float second_of<bf16>(unsigned pair) {
  return __uint_as_float(pair & 0xffff0000u);
}
template <> __device__ float first_of<__half>(unsigned pair) {
  return __low2float(*reinterpret_cast<const __half2 *>(&pair));
}
template <> __device__ float second_of<__half>(unsigned pair) {
  return __high2float(*reinterpret_cast<const __half2 *>(&pair));
}

/* Two numbers as their upper 16 bits and what these leave out. */
template <class T> __device__ void split_pair(float a, float b, unsigned *upper, unsigned *lower) {
  *upper = low<T>::pair(a, b);
  *lower = low<T>::pair(a - first_of<T>(*upper), b - second_of<T>(*upper));
}

template <int WIDTH> __device__ void tile_begin(struct tile_state<WIDTH> *w) {
  w->top = -INFINITY, w->total = 0, w->segment = -1;
#pragma unroll
  for (int n = 0; n < WIDTH / 8; n++) w->out[n][0] = w->out[n][1] = w->out[n][2] = w->out[n][3] = 0;
}

/* q: [TILE_HEADS][WIDTH] in shared memory, whatever it holds behind the last head. */
template <class T, int WIDTH>
__device__ void tile_take_queries(struct tile_state<WIDTH> *w, const float *q, int segment) {
  const int lane = threadIdx.x % 32;
  w->segment = segment;
#pragma unroll
  for (int k = 0; k < WIDTH / 16; k++) {
    const float2 *from = reinterpret_cast<const float2 *>(q + lane / 4 * WIDTH + k * 16) + lane % 4;
    split_pair<T>(from[0].x, from[0].y, &w->q[k][0], &w->q[k][1]);
    split_pair<T>(from[4].x, from[4].y, &w->q[k][2], &w->q[k][3]);
  }
}

/* Scores of slots 2 (lane % 4) and the next, of the first and of the second 8, with head lane / 4. */
template <class T, int WIDTH>
__device__ void tile_scores(const struct tile_state<WIDTH> &w, unsigned keys, float score[2][2]) {
  const int lane = threadIdx.x % 32;
  float c[4][4] = {}; /* two for each, so that none waits for the one before */
#pragma unroll
  for (int k = 0; k < WIDTH / 16; k++) {
    unsigned b[4];
    matrices(keys + place_of<WIDTH>(lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2), b);
    low<T>::multiply(c[k % 2], w.q[k], b[0], b[1]);
    low<T>::multiply(c[2 + k % 2], w.q[k], b[2], b[3]);
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
    score[i / 2][i % 2] =
        (c[i / 2 * 2][i % 2] + c[i / 2 * 2 + 1][i % 2]) + (c[i / 2 * 2][2 + i % 2] + c[i / 2 * 2 + 1][2 + i % 2]);
}

/* Scores become weights. */
template <int WIDTH> __device__ void tile_soften(struct tile_state<WIDTH> *w, float score[2][2]) {
  float top = fmaxf(fmaxf(w->top, fmaxf(score[0][0], score[0][1])), fmaxf(score[1][0], score[1][1]));
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
  const float base = top == -INFINITY ? 0.0f : top;
  if (__any_sync(~0u, top > w->top)) {
    const float shrink = __expf(w->top - base);
    w->top = top;
    w->total *= shrink;
#pragma unroll
    for (int i = 0; i < WIDTH / 2; i++) w->out[i / 4][i % 4] *= shrink;
  }
#pragma unroll
  for (int i = 0; i < 4; i++) w->total += score[i / 2][i % 2] = __expf(score[i / 2][i % 2] - base);
}

/* Adds 16 slots, whose keys and values lie in shared memory as place_of says; bit i of `seen`: whether slot i counts.
 * What does not may hold anything. */
template <class T, int WIDTH>
__device__ void tile_add(struct tile_state<WIDTH> *w, unsigned keys, unsigned values, unsigned seen) {
  const int lane = threadIdx.x % 32, mine = lane % 4 * 2;
  float score[2][2];
  unsigned p[4], keep[2] = {~0u, ~0u};
  if (!seen) return;
  tile_scores<T, WIDTH>(*w, keys, score);
  for (int i = 0; seen != 0xffff && i < 4; i++) {
    if (seen >> (i / 2 * 8 + mine + i % 2) & 1) continue;
    score[i / 2][i % 2] = -INFINITY;
    keep[i / 2] &= i % 2 ? 0xffffu : 0xffff0000u;
  }
  tile_soften<WIDTH>(w, score);
  split_pair<T>(score[0][0], score[0][1], &p[0], &p[1]), split_pair<T>(score[1][0], score[1][1], &p[2], &p[3]);
#pragma unroll
  for (int n = 0; n < WIDTH / 16; n++) {
    unsigned b[4];
    matrices_turned(values + place_of<WIDTH>(lane % 16, 2 * n + lane / 16), b);
    low<T>::multiply(w->out[2 * n], p, b[0] & keep[0], b[1] & keep[1]);
    low<T>::multiply(w->out[2 * n + 1], p, b[2] & keep[0], b[3] & keep[1]);
  }
}

/* The warp's part of each head, [n_heads][WIDTH + 2]: the sums, then the total and the top. */
template <int WIDTH> __device__ void tile_give(const struct tile_state<WIDTH> &w, int n_heads, float *parts) {
  const int lane = threadIdx.x % 32, head = lane / 4;
  float total = w.total + __shfl_xor_sync(~0u, w.total, 1);
  total += __shfl_xor_sync(~0u, total, 2);
  if (head >= n_heads) return;
  float *to = parts + head * (WIDTH + 2);
#pragma unroll
  for (int n = 0; n < WIDTH / 8; n++)
    *reinterpret_cast<float2 *>(to + n * 8 + lane % 4 * 2) =
        make_float2(w.out[n][0] + w.out[n][2], w.out[n][1] + w.out[n][3]);
  if (lane % 4 == 0) to[WIDTH] = total, to[WIDTH + 1] = w.top;
}

} // namespace

#endif
