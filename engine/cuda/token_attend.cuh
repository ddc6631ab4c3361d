/* Attention of one token inside its launch: a block takes a key-value head, up to TOKEN_HEADS of its queries and a
 * share of the slots. Where there are several shares, one block a head merges them in their order. Private to
 * engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_TOKEN_ATTEND_CUH
#define SLUICE_ENGINE_CUDA_TOKEN_ATTEND_CUH

#include "engine/cuda/attend_warp.cuh"
#include "engine/cuda/token_products.cuh"

#if __CUDA_ARCH__ >= 900
namespace {

/* In the place of a product's input. */
template <class T, int WIDTH> struct token_attention {
  float q[SEGMENTS_MAX][TOKEN_HEADS][WIDTH];
  float parts[TOKEN_WARPS][TOKEN_HEADS][WIDTH + 2];
  T newest[2][WIDTH]; /* the token's own key and value */
};

/* One head of the projection's output, by one warp: normalised, its dimensions in the order that rotation pairs, turned
 * by each of `turns` rows of angles (0: not turned), times scale. put(turn, dimension, v). */
template <int WIDTH, class PUT>
__device__ void token_head(const struct token_args &a, const unsigned long long *from, unsigned tag, const float *gain,
                           const int *order, const float2 *angles, int turns, float scale, PUT put) {
  enum { EACH = WIDTH / 64 };
  const int half = a.attend.kv.head_dim / 2, lane = threadIdx.x % 32;
  unsigned long long u[EACH][2] = {};
  float x[EACH], y[EACH], squares = 0;
  int first[EACH], second[EACH];
#pragma unroll
  for (int e = 0; e < EACH; e++) {
    const int i = lane + 32 * e;
    first[e] = order && i < half ? __ldg(order + i) : i;
    second[e] = order && i < half ? __ldg(order + i + half) : i + half;
    if (i < half) u[e][0] = look(from + first[e]), u[e][1] = look(from + second[e]);
  }
#pragma unroll
  for (int e = 0; e < EACH; e++) {
    const bool used = lane + 32 * e < half;
    x[e] = used ? await(from + first[e], u[e][0], tag) : 0.0f;
    y[e] = used ? await(from + second[e], u[e][1], tag) : 0.0f;
    squares += x[e] * x[e] + y[e] * y[e];
  }
  __syncwarp();
  if (gain) scale *= rsqrtf(__fdividef(warp_sum(squares), static_cast<float>(2 * half)) + a.attend.eps);
#pragma unroll
  for (int e = 0; e < EACH; e++) {
    const int i = lane + 32 * e;
    if (i >= half) break;
    x[e] *= scale, y[e] *= scale;
    if (gain) x[e] *= __ldg(gain + first[e]), y[e] *= __ldg(gain + second[e]);
    if (!turns) put(0, i, x[e]), put(0, i + half, y[e]);
    for (int t = 0; t < turns; t++) {
      const float2 w = angles[t * half + i];
      put(t, i, x[e] * w.x - y[e] * w.y), put(t, i + half, y[e] * w.x + x[e] * w.y);
    }
  }
}

/* What a unit's warps need of the projection: queries, and the token's own key and value, which also go to the store.
 */
template <class T, int WIDTH>
__device__ void token_heads(const struct token_block &m, const struct token_layer &l, int layer, int kv_head,
                            int first_head, int n_heads, bool newest, struct token_attention<T, WIDTH> *s) {
  const struct token_args &a = m.a;
  const struct kv_shape &kv = a.attend.kv;
  const int warp = threadIdx.x / 32, dim = kv.head_dim, half = dim / 2;
  const unsigned tag = a.tag + layer;
  for (int i = threadIdx.x; dim < WIDTH && i < (SEGMENTS_MAX * TOKEN_HEADS + 2) * (WIDTH - dim); i += WORKERS) {
    const int row = i / (WIDTH - dim), d = dim + i % (WIDTH - dim);
    if (row < SEGMENTS_MAX * TOKEN_HEADS)
      s->q[row / TOKEN_HEADS][row % TOKEN_HEADS][d] = 0;
    else
      s->newest[row - SEGMENTS_MAX * TOKEN_HEADS][d] = static_cast<T>(0.0f);
  }
  if (warp < n_heads) {
    token_head<WIDTH>(a, a.qkv + (first_head + warp) * dim, tag, l.q_norm, a.attend.order, m.angles,
                      a.attend.n_segments, a.attend.scale,
                      [&](int t, int d, float v) { s->q[t][warp][d] = v; });
    return;
  }
  const int what = warp - TOKEN_HEADS;
  if (!newest || what < 0 || what > 1) return;
  unsigned char *block = a.item.kv + static_cast<size_t>(a.item.slot / SLOT_BLOCK) * kv.block_bytes;
  T *to = reinterpret_cast<T *>(block + kv_offset(kv, layer, what, kv_head)) +
          static_cast<size_t>(a.item.slot % SLOT_BLOCK) * kv.width;
  const int from = (a.attend.n_heads + what * kv.n_kv_heads + kv_head) * dim;
  token_head<WIDTH>(a, a.qkv + from, tag, what ? NULL : l.k_norm, what ? NULL : a.attend.order,
                    m.angles + SEGMENTS_MAX * half, what ? 0 : 1, 1.0f, [&](int, int d, float v) {
                      const T low = static_cast<T>(v);
                      to[d] = low;
                      s->newest[what][d] = low;
                    });
}

/* What was fetched of the slots is as of the step before: what this step changes. */
template <class T, int WIDTH>
__device__ void token_amend(const struct token_args &a, typename warp_of<T, WIDTH, TOKEN_HEADS, TOKEN_DEEP>::span *p) {
  typedef struct warp_of<T, WIDTH, TOKEN_HEADS, TOKEN_DEEP> warp_t;
#pragma unroll 1
  for (int k = 0; k < STEP_CHANGES; k++) {
    const struct slot_change &c = a.changes[k];
    const uint32_t behind = c.slot - p->slot;
    if (behind >= warp_t::SLOTS) continue;
    const bool seen =
        c.slot < of_segment(a.item.end, p->segment) && c.born_at <= a.item.time && a.item.time < c.dead_at &&
        !(a.attend.window && c.position + a.attend.window <= of_segment(a.item.query_position, p->segment));
#pragma unroll
    for (int i = 0; i < warp_t::STEPS; i++)
      if (behind == i * warp_t::ROWS + threadIdx.x % 32 / warp_t::LANES) p->seen[i] = seen;
  }
}

/* The token's own key and value, which were not there when their slot was fetched. */
template <class T, int WIDTH>
__device__ void token_put_newest(const struct token_args &a, const struct token_attention<T, WIDTH> &s,
                                 typename warp_of<T, WIDTH, TOKEN_HEADS, TOKEN_DEEP>::span *p) {
  typedef struct warp_of<T, WIDTH, TOKEN_HEADS, TOKEN_DEEP> warp_t;
  const int lane = threadIdx.x % 32, part = lane % warp_t::LANES * 8;
  const uint32_t behind = a.item.slot - p->slot;
  if (behind >= warp_t::SLOTS) return;
#pragma unroll
  for (int i = 0; i < warp_t::STEPS; i++) {
    if (behind != static_cast<uint32_t>(i * warp_t::ROWS + lane / warp_t::LANES)) continue;
#pragma unroll
    for (unsigned u = 0; u < sizeof(T) / 2; u++) {
      p->k[i].u[u] = reinterpret_cast<const uint4 *>(s.newest[0] + part)[u];
      p->v[i].u[u] = reinterpret_cast<const uint4 *>(s.newest[1] + part)[u];
    }
  }
}

/* The first n warps' parts of a head as one: put(d, v) for each dimension, then the total and the top as the two
 * behind. */
template <class T, int WIDTH, class PUT>
__device__ void token_merge(const struct token_attention<T, WIDTH> &s, int head, int n, PUT put) {
  const int lane = threadIdx.x % 32;
  const float *mine = s.parts[lane < n ? lane : 0][head];
  const float own = lane < n ? mine[WIDTH + 1] : -INFINITY;
  float top = own;
  for (int o = 16; o; o >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, o));
  const float weight = own == -INFINITY ? 0.0f : __expf(own - top);
  const float total = warp_sum(weight * mine[WIDTH]);
#pragma unroll
  for (int from = 0; from < WIDTH; from += 32) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < TOKEN_WARPS; i++) {
      if (i >= n) break;
      sum = fmaf(s.parts[i][head][from + lane], __shfl_sync(~0u, weight, i), sum);
    }
    put(from + lane, sum, total, top);
  }
}

/* One head's shares from all blocks that had one: by all workers of one block. */
template <class L, int WIDTH>
__device__ void token_merge_shares(const struct token_args &a, int head, unsigned tag, float *memory) {
  enum { GROUPS = WORKERS / WIDTH, AHEAD = 4, STRIDE = WIDTH + 2 };
  const int splits = a.attend.splits, t = threadIdx.x, group = t / WIDTH, d = t % WIDTH;
  float *totals = memory, *tops = memory + TOKEN_SPLITS_MAX, *sums = memory + 2 * TOKEN_SPLITS_MAX;
  const unsigned long long *from = a.part + static_cast<size_t>(head) * TOKEN_SPLITS_MAX * STRIDE;
  if (t < 2 * splits) {
    const unsigned long long *p = from + t / 2 * STRIDE + WIDTH + t % 2;
    (t % 2 ? tops : totals)[t / 2] = await(p, look(p), tag);
  }
  workers_meet();
  float top = -INFINITY, total = 0, sum = 0;
  for (int i = 0; i < splits; i++) top = fmaxf(top, tops[i]);
  for (int i = 0; i < splits; i++) total += tops[i] == -INFINITY ? 0.0f : totals[i] * __expf(tops[i] - top);
  for (int i = group; i < splits && group < GROUPS; i += AHEAD * GROUPS) {
    unsigned long long v[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++)
      if (i + k * GROUPS < splits) v[k] = look(from + (i + k * GROUPS) * STRIDE + d);
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const int at = i + k * GROUPS;
      if (at >= splits) break;
      const float x = await(from + at * STRIDE + d, v[k], tag);
      if (tops[at] != -INFINITY) sum = fmaf(x, __expf(tops[at] - top), sum);
    }
  }
  if (group < GROUPS) sums[t] = sum;
  workers_meet();
  sum = 0;
  for (int i = 0; t < WIDTH && i < GROUPS; i++) sum += sums[i * WIDTH + t];
  give_all<L>(a.mixed, head * a.attend.kv.head_dim + t, total > 0 ? __fdividef(sum, total) : 0.0f, tag,
              t < a.attend.kv.head_dim);
  workers_meet();
}

/* Steps of SLOTS slots from unit `begin` on: the warp's step `step` fetched; false: it lies behind the segment's end.
 */
template <class T, int WIDTH>
__device__ bool token_fetch(const struct token_args &a, int kv_head, uint32_t begin, uint32_t units, uint32_t step,
                            typename warp_of<T, WIDTH, TOKEN_HEADS, TOKEN_DEEP>::span *p) {
  typedef struct warp_of<T, WIDTH, TOKEN_HEADS, TOKEN_DEEP> warp_t;
  enum { EACH = UNIT / warp_t::SLOTS };
  const uint32_t unit = begin + step / EACH, inside = step % EACH * warp_t::SLOTS;
  const int segment = unit < units ? 0 : 1;
  const uint32_t slot = of_segment(a.item.first, segment) + (unit - (segment ? units : 0)) * UNIT + inside;
  if (slot >= of_segment(a.item.end, segment)) return false;
  warp_t::fetch(p, a.attend, a.item, kv_head, unit, units, static_cast<int>(inside));
  const int lane = threadIdx.x % 32, at = lane / warp_t::LANES * WIDTH + lane % warp_t::LANES * 8;
  const size_t next = kv_offset(a.attend.kv, 1, 0, 0); /* the next layer's are asked for early, as small vectors are */
#pragma unroll
  for (int i = 0; i < warp_t::STEPS; i++) {
    const T *keys = p->keys + i * warp_t::ROWS * WIDTH + at, *values = p->values + i * warp_t::ROWS * WIDTH + at;
    if (a.attend.layer + 1 == a.n_layers) break;
    asm volatile("prefetch.global.L2 [%0];" ::"l"(reinterpret_cast<const unsigned char *>(keys) + next));
    asm volatile("prefetch.global.L2 [%0];" ::"l"(reinterpret_cast<const unsigned char *>(values) + next));
  }
  token_amend<T, WIDTH>(a, p);
  return true;
}

/* What a unit's warps found, for those that had something, as its heads' results or its share of them. */
template <class T, class L, int WIDTH>
__device__ void token_give_heads(const struct token_args &a, const struct token_attention<T, WIDTH> &s, int first_head,
                                 int n_heads, int n, int split) {
  const int warp = threadIdx.x / 32, dim = a.attend.kv.head_dim, head = first_head + warp;
  const unsigned tag = a.tag + a.attend.layer;
  if (warp >= n_heads) return;
  if (a.attend.splits == 1) {
    token_merge<T, WIDTH>(s, warp, n, [&](int d, float v, float total, float) {
      give_all<L>(a.mixed, head * dim + d, total > 0 ? __fdividef(v, total) : 0.0f, tag, d < dim);
    });
    return;
  }
  unsigned long long *to = a.part + (static_cast<size_t>(head) * TOKEN_SPLITS_MAX + split) * (WIDTH + 2);
  token_merge<T, WIDTH>(s, warp, n, [&](int d, float v, float total, float top) {
    give(to + d, v, tag);
    if (d == 0) give(to + WIDTH, total, tag), give(to + WIDTH + 1, top, tag);
  });
}

/* A unit of attention: y says which heads, split which share of the slots. */
template <class T, class L, int WIDTH>
__device__ void token_attend_unit(const struct token_block &m, const struct token_layer &l, int y, int split) {
  typedef struct warp_of<T, WIDTH, TOKEN_HEADS, TOKEN_DEEP> warp_t;
  struct token_attention<T, WIDTH> *s = reinterpret_cast<struct token_attention<T, WIDTH> *>(token_memory);
  const struct token_args &a = m.a;
  const struct attend &at = a.attend;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group = at.n_heads / at.kv.n_kv_heads, rounds = (group + TOKEN_HEADS - 1) / TOKEN_HEADS;
  const int kv_head = y / rounds, first_head = kv_head * group + y % rounds * TOKEN_HEADS,
            n_heads = min(static_cast<int>(TOKEN_HEADS), (kv_head + 1) * group - first_head);
  const uint32_t units = units_of(a.item.first[0], a.item.end[0]),
                 all = units + (at.n_segments > 1 ? units_of(a.item.first[1], a.item.end[1]) : 0);
  const uint32_t begin = static_cast<uint32_t>(static_cast<uint64_t>(all) * split / at.splits);
  const uint32_t end = static_cast<uint32_t>(static_cast<uint64_t>(all) * (split + 1) / at.splits);
  const uint32_t steps = (end - begin) * (UNIT / warp_t::SLOTS);
  const int segment = at.n_segments > 1 && a.item.slot >= a.item.first[1] ? 1 : 0;
  const uint32_t own = (segment ? units : 0) + (a.item.slot - of_segment(a.item.first, segment)) / UNIT;
  struct warp_t::span p;
  struct running<TOKEN_HEADS> r;
  bool there = warp < steps && token_fetch<T, WIDTH>(a, kv_head, begin, units, warp, &p);
  token_heads<T, WIDTH>(m, l, at.layer, kv_head, first_head, n_heads, own >= begin && own < end, s);
#pragma unroll
  for (int h = 0; h < TOKEN_HEADS; h++) {
    r.top[h] = -INFINITY, r.total[h] = 0;
    for (int d = 0; d < 8; d++) r.sum[h][d] = 0;
  }
  workers_meet();
  for (uint32_t step = warp; step < steps;) {
    if (there) {
      token_put_newest<T, WIDTH>(a, *s, &p);
      warp_t::add(&r, p, s->q[p.segment][0], n_heads);
    }
    step += TOKEN_WARPS;
    there = step < steps && token_fetch<T, WIDTH>(a, kv_head, begin, units, step, &p);
  }
  if (warp < steps) warp_t::gather(&r, n_heads);
#pragma unroll
  for (int h = 0; h < TOKEN_HEADS; h++) {
    float *to = s->parts[warp][h];
    if (h < n_heads && lane < warp_t::LANES)
      for (int d = 0; d < 8; d++) to[lane * 8 + d] = r.sum[h][d];
    if (h < n_heads && lane == 0) to[WIDTH] = r.total[h], to[WIDTH + 1] = r.top[h];
  }
  workers_meet();
  token_give_heads<T, L, WIDTH>(a, *s, first_head, n_heads, min(static_cast<int>(TOKEN_WARPS), static_cast<int>(steps)),
                                split);
  workers_meet();
}

template <class T, class L, int WIDTH> __device__ void token_attend(const struct token_block &m, int layer) {
  const struct attend &at = m.a.attend;
  const int group = at.n_heads / at.kv.n_kv_heads, rounds = (group + TOKEN_HEADS - 1) / TOKEN_HEADS;
  for (int unit = blockIdx.x; unit < at.kv.n_kv_heads * rounds * at.splits; unit += gridDim.x)
    token_attend_unit<T, L, WIDTH>(m, token_layers_of(m.a)[layer], unit / at.splits, unit % at.splits);
  if (at.splits == 1) return;
  for (int head = gridDim.x - 1 - blockIdx.x; head < at.n_heads; head += gridDim.x)
    token_merge_shares<L, WIDTH>(m.a, head, m.a.tag + layer, reinterpret_cast<float *>(token_memory));
}

} // namespace
#endif

#endif
