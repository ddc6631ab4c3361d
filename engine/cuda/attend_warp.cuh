/* A warp's part of attention: keys and values of some slots fetched, and added to a running softmax. For attend.cu and
 * token_attend.cuh. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_ATTEND_WARP_CUH
#define SLUICE_ENGINE_CUDA_ATTEND_WARP_CUH

#include "engine/cuda/attend.cuh"

namespace {

enum { UNIT = SLOT_BLOCK };

__device__ uint32_t units_of(uint32_t first, uint32_t end) {
  return end > first ? (end - first + UNIT - 1) / UNIT : 0;
}

/* An element of an array that is in registers: one that is indexed would be in memory. */
template <class N> __device__ N of_segment(const N (&each)[SEGMENTS_MAX], int segment) {
  return segment ? each[1] : each[0];
}

/* Eight numbers of a key or value, as they lie in memory. */
template <class T> struct raw8 { uint4 u[sizeof(T) / 2]; };
template <class T> __device__ struct raw8<T> fetch8(const T *p) {
  struct raw8<T> r;
#pragma unroll
  for (unsigned i = 0; i < sizeof(T) / 2; i++) r.u[i] = __ldcg(reinterpret_cast<const uint4 *>(p) + i);
  return r;
} __device__ void expand8(const struct raw8<float> &r, float *f) {
  *reinterpret_cast<uint4 *>(f) = r.u[0];
  *reinterpret_cast<uint4 *>(f + 4) = r.u[1];
}
__device__ void expand8(const struct raw8<bf16> &r, float *f) {
  const unsigned w[4] = {r.u[0].x, r.u[0].y, r.u[0].z, r.u[0].w};
#pragma unroll
  for (int i = 0; i < 4; i++)
    f[2 * i] = __uint_as_float(w[i] << 16), f[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
}
__device__ void expand8(const struct raw8<__half> &r, float *f) {
  const unsigned w[4] = {r.u[0].x, r.u[0].y, r.u[0].z, r.u[0].w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 v = __half22float2(*reinterpret_cast<const __half2 *>(&w[i]));
    f[2 * i] = v.x, f[2 * i + 1] = v.y;
  }
}

/* A warp's running softmax over what it has seen: HEADS queries that share a key-value head. Each lane holds 8
 * dimensions of its share of the slots. */
template <int HEADS> struct running { float top[HEADS], total[HEADS], sum[HEADS][8]; };

template <class T, int WIDTH, int HEADS, int DEEP = 4> struct warp_of {
  enum { LANES = WIDTH / 8, ROWS = 32 / LANES, STEPS = UNIT / ROWS < DEEP ? UNIT / ROWS : DEEP, SLOTS = STEPS * ROWS };

  /* SLOTS slots under way: fetched while those before them are worked on. */
  struct span {
    struct raw8<T> k[STEPS], v[STEPS];
    bool seen[STEPS];
    const T *keys, *values; /* of the first slot */
    uint32_t slot;
    int segment;
  };

  __device__ static void fetch(struct span *s, const struct attend &a, const struct query_item &it, int kv_head,
                               uint32_t unit, uint32_t units, int inside) {
    const int lane = threadIdx.x % 32, row = lane / LANES, part = lane % LANES * 8;
    s->segment = unit < units ? 0 : 1;
    s->slot = of_segment(it.first, s->segment) + (unit - (s->segment ? units : 0)) * UNIT + inside;
    const unsigned char *block = it.kv + static_cast<size_t>(s->slot / UNIT) * a.kv.block_bytes;
    s->values = reinterpret_cast<const T *>(block + kv_offset(a.kv, a.layer, 1, kv_head)) + inside * WIDTH;
    s->keys = a.keys ? reinterpret_cast<const T *>(static_cast<const unsigned char *>(a.keys) + kv_head * a.key_plane) +
                           static_cast<size_t>(s->slot) * WIDTH
                     : reinterpret_cast<const T *>(block + kv_offset(a.kv, a.layer, 0, kv_head)) + inside * WIDTH;
    const uint32_t end = of_segment(it.end, s->segment);
    const uint64_t position = of_segment(it.query_position, s->segment);
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      const uint32_t at = s->slot + i * ROWS + row;
      s->k[i] = fetch8(s->keys + (i * ROWS + row) * WIDTH + part);
      s->v[i] = fetch8(s->values + (i * ROWS + row) * WIDTH + part);
      const uint32_t born = at < end ? __ldcg(it.born + at) : UINT32_MAX, dead = at < end ? __ldcg(it.dead + at) : 0;
      s->seen[i] = born <= it.time && it.time < dead;
      if (a.window && s->seen[i])
        s->seen[i] = (it.index ? __ldcg(it.index + at) : __ldcg(it.at + at)) + a.window > position;
    }
  }

  /* What was fetched before the newest key and value were stored lacks them. */
  __device__ static void fetch_newest(struct span *s, uint32_t newest) {
    const int lane = threadIdx.x % 32, row = lane / LANES, part = lane % LANES * 8;
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      if (s->slot + i * ROWS + row != newest) continue;
      s->k[i] = fetch8(s->keys + (i * ROWS + row) * WIDTH + part);
      s->v[i] = fetch8(s->values + (i * ROWS + row) * WIDTH + part);
    }
  }

  /* Adds them to the running softmax; q: [HEADS][WIDTH] in shared memory. */
  __device__ static void add(struct running<HEADS> *r, const struct span &s, const float *q, int n_heads) {
    const int part = threadIdx.x % LANES * 8;
    float score[STEPS][HEADS];
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      float k[8];
      expand8(s.k[i], k);
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
    for (int h = 0; h < HEADS; h++) {
      if (h >= n_heads) break;
      float top = r->top[h];
#pragma unroll
      for (int i = 0; i < STEPS; i++) {
        for (int o = LANES / 2; o; o >>= 1) score[i][h] += __shfl_xor_sync(~0u, score[i][h], o);
        if (!s.seen[i]) score[i][h] = -INFINITY;
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
        float v[8];
        expand8(s.v[i], v);
        r->total[h] += p;
#pragma unroll
        for (int d = 0; d < 8; d++) r->sum[h][d] = s.seen[i] ? fmaf(p, v[d], r->sum[h][d]) : r->sum[h][d];
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

} // namespace

#endif
