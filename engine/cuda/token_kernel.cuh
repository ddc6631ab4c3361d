/* The kernel of token.cuh. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_TOKEN_KERNEL_CUH
#define SLUICE_ENGINE_CUDA_TOKEN_KERNEL_CUH

#include "engine/cuda/best.cuh"
#include "engine/cuda/token_attend.cuh"

#if __CUDA_ARCH__ >= 900
namespace {

/* ---- beginning ---- */

__device__ void token_begin_block(const struct token_args &args, struct token_block *m) {
  const int t = threadIdx.x;
  for (unsigned i = t; i < sizeof args / sizeof(unsigned); i += TOKEN_THREADS)
    reinterpret_cast<unsigned *>(&m->a)[i] = reinterpret_cast<const unsigned *>(&args)[i];
  if (t < TOKEN_WARPS * TOKEN_SLOTS_MAX) {
    barrier_init(shared_address(&m->full[0][0]) + t * 8), barrier_init(shared_address(&m->empty[0][0]) + t * 8);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  const struct token_args &a = m->a;
  if (t < TOKEN_MATRICES) {
    const struct token_shape &s = a.shape[t];
    /* Of a gated FFN two pairs are the least: blocks give numbers by twos (token_words). */
    const int64_t least = s.step == 1 && s.pairs % 2 == 0 ? 2 : 1, all = s.pairs / least;
    const int64_t begin = all * blockIdx.x / gridDim.x * least, end = all * (blockIdx.x + 1) / gridDim.x * least;
    m->cut[t] = {static_cast<int>(begin), static_cast<int>(end - begin), static_cast<int>(end - begin) << s.share_log};
  }
  uint64_t *layers = reinterpret_cast<uint64_t *>(token_layers_of(a));
  for (int i = t; i < a.n_layers * static_cast<int>(sizeof(struct token_layer) / sizeof *layers); i += TOKEN_THREADS)
    layers[i] = __ldg(reinterpret_cast<const unsigned long long *>(a.layers) + i);
  __syncthreads();
}

/* What later steps will read: the slots that changed. Blocks of this step know of them from its arguments. */
__device__ void token_note_changes(const struct token_args &a) {
  const int t = threadIdx.x;
  if (blockIdx.x > 0 || t >= STEP_CHANGES) return;
  const struct slot_change &c = a.changes[t];
  c.born[c.slot] = c.born_at;
  c.dead[c.slot] = c.dead_at;
  c.at[c.slot] = c.position;
  if (t == 0) *a.draw_to = a.draw;
}

__device__ void token_angles(struct token_block &m) {
  const struct token_args &a = m.a;
  const int half = a.attend.kv.head_dim / 2;
  for (int i = threadIdx.x; i < half * (SEGMENTS_MAX + 1); i += WORKERS) {
    const int part = i / half;
    if (part < SEGMENTS_MAX && part >= a.attend.n_segments) continue;
    m.angles[i] = angle_at(a.frequency[i % half], part < SEGMENTS_MAX ? a.item.query_position[part] : a.item.position);
  }
}

/* Each block gives its part of the embedding, as if a layer had made it. */
template <class L> __device__ void token_embed(const struct token_block &m, struct token_worker *w) {
  const struct token_args &a = m.a;
  const int t = threadIdx.x, row = m.cut[TOKEN_DOWN].begin * 2 + t;
  const bool mine = t < m.cut[TOKEN_DOWN].pairs * 2 && row < a.shape[TOKEN_DOWN].rows;
  if (mine) w->residual = matrix_at(a.embedding, static_cast<size_t>(a.item.id) * a.embedding.ld + row);
  give_all<L>(a.x[1], row, w->residual, a.tag - 1, mine);
}

/* ---- layers ---- */

/* Asks for the small vectors of a layer (n_layers: of the head) while the one before it is computed: whoever asked for
 * them when they are needed would wait behind all the weights that are under way. A thread a vector, a block a line. */
__device__ void token_ask_early(const struct token_block &m, int layer) {
  const struct token_args &a = m.a;
  const int t = threadIdx.x - (WORKERS - 32);
  if (t < 0 || t >= TOKEN_LAYER_MATRICES + 4) return;
  const struct token_layer &l = token_layers_of(a)[layer < a.n_layers ? layer : 0];
  const float *from;
  int n = a.shape[TOKEN_QKV].cols;
  if (t >= TOKEN_LAYER_MATRICES)
    from = t % 2 ? l.shift[t / 2 - 2] : l.gain[t / 2 - 2];
  else
    from = l.bias[t], n = a.shape[t].rows;
  if (layer == a.n_layers) from = t == 4 ? a.final_norm.gain : t == 5 ? a.final_norm.bias : NULL;
  for (int i = blockIdx.x * 32; from && i < n; i += gridDim.x * 32)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from + i));
}

__device__ struct token_input token_input_of(const struct token_args &a, const struct token_layer &l, int layer,
                                             int which) {
  const unsigned tag = a.tag + layer;
  if (which == TOKEN_O) return {a.mixed, tag, NULL, NULL};
  if (which == TOKEN_DOWN) return {a.act, tag, NULL, NULL};
  const int norm = which == TOKEN_FFN;
  if (norm && !a.parallel) return {a.x[0], tag, l.gain[1], l.shift[1]};
  return {a.x[1], tag - 1, l.gain[norm], l.shift[norm]};
}

template <class T, class W, int WIDTH> __device__ void token_layers(struct token_block &m, struct token_worker *w) {
  struct token_args &a = m.a;
  for (int layer = 0; layer < a.n_layers; layer++) {
    const struct token_layer &l = token_layers_of(a)[layer];
    token_ask_early(m, layer + 1);
    if (threadIdx.x == 0) a.attend.layer = layer, a.attend.window = layer >= a.window_from ? a.window : 0;
    for (int k = 0; k < TOKEN_LAYER_MATRICES; k++) {
      const int which = a.order[k];
      const struct token_shape &s = a.shape[which];
      if (which == TOKEN_O) token_attend<T, W, WIDTH>(m, layer);
      float bias[2];
      token_biases(m, which, l.bias[which], which == TOKEN_FFN && a.gated, bias);
      const float factor = token_take<W, W>(m, s, token_input_of(a, l, layer, which));
      token_product<W, W>(m, which, w, [&](int unit, float v) {
        if (w->lane % 16 == 0) token_sums(a)[unit * 2 + w->lane / 16] = v;
      });
      workers_meet();
      token_finish<W>(m, which, a.tag + layer, factor, bias, w);
    }
  }
}

/* ---- behind the layers ---- */

__device__ struct best best_of_warp(struct best v) {
  for (int o = 16; o; o >>= 1)
    v = join(v, {__shfl_xor_sync(~0u, v.logit, o), __shfl_xor_sync(~0u, v.sum, o), __shfl_xor_sync(~0u, v.id, o)});
  return v;
}

/* The best of all rows from the warps' best: block 0 joins the blocks'. */
__device__ void token_choose(const struct token_args &a, struct best v, float *memory) {
  const unsigned tag = a.tag + a.n_layers;
  const int t = threadIdx.x, warp = t / 32, lane = t % 32;
  struct best *each = reinterpret_cast<struct best *>(memory);
  v = best_of_warp(v);
  if (lane == 0) each[warp] = v;
  workers_meet();
  if (warp > 0) return;
  v = lane < TOKEN_WARPS ? each[lane] : (struct best){-INFINITY, 0, INT32_MAX};
  v = best_of_warp(v);
  if (lane == 0) {
    unsigned long long *to = a.best + blockIdx.x * 3;
    give(to, v.logit, tag), give(to + 1, v.sum, tag), give(to + 2, __int_as_float(v.id), tag);
  }
  if (blockIdx.x > 0) return;
  v = {-INFINITY, 0, INT32_MAX};
  for (unsigned i = lane; i < gridDim.x; i += 32) {
    const unsigned long long *from = a.best + i * 3;
    const unsigned long long u[3] = {look(from), look(from + 1), look(from + 2)};
    const float logit = await(from, u[0], tag), sum = await(from + 1, u[1], tag);
    v = join(v, {logit, sum, __float_as_int(await(from + 2, u[2], tag))});
  }
  __syncwarp();
  v = best_of_warp(v);
  if (lane > 0) return;
  const struct drawn d = {v.id, v.logit, v.logit + logf(v.sum), v.logit};
  *a.drawn = d, *a.drawn_host = d;
}

template <class W>
__device__ void token_keep_hidden(const struct token_args &a, const struct token_shape &s, float factor) {
  enum { N4 = lanes_of<W>::N / 4 };
  if (blockIdx.x > 0) return;
  for (int i = threadIdx.x; i < s.chunks * N4; i += WORKERS) {
    float4 v = token_vector<W>::get(s.chunks, i);
    v.x *= factor, v.y *= factor, v.z *= factor, v.w *= factor;
    for (int k = 0; k < 2; k++) reinterpret_cast<float4 *>(a.hidden[k])[i] = v;
  }
}

/* W: the head's own type, L: the layers'. */
template <class W, class L> __device__ void token_head_of(struct token_block &m, struct token_worker *w) {
  const struct token_args &a = m.a;
  const struct token_shape &s = a.shape[TOKEN_HEAD];
  const struct token_input in = {a.x[1], a.tag + a.n_layers - 1, a.final_norm.gain, a.final_norm.bias};
  const float factor = token_take<W, L>(m, s, in);
  struct best best = {-INFINITY, 0, INT32_MAX};
  token_keep_hidden<W>(a, s, factor);
  if (a.kind == STEP_HIDDEN) return;
  const int begin = m.cut[TOKEN_HEAD].begin;
  token_product<W, L>(m, TOKEN_HEAD, w, [&](int unit, float v) {
    const int row = (begin + unit) * 2 + w->lane / 16;
    v *= factor;
    if (w->lane % 16 || row >= s.rows) return;
    a.logits[row] = v;
    if (v > best.logit)
      best.sum = best.sum * __expf(best.logit - v) + 1.0f, best.logit = v, best.id = row;
    else
      best.sum += __expf(v - best.logit);
  });
  if (a.kind != STEP_LOGITS) token_choose(a, best, token_sums(a));
}

} // namespace
#endif

namespace {

/* T: the cache's type, W: the layers' matrices'. */
template <class T, class W, int WIDTH>
__global__ void __launch_bounds__(TOKEN_THREADS, 1) token_kernel(const __grid_constant__ struct token_args args) {
#if __CUDA_ARCH__ >= 900
  __shared__ struct token_block m;
  token_begin_block(args, &m);
  if (threadIdx.x >= WORKERS) {
    token_feed<W>(m);
    return;
  }
  const struct token_args &a = m.a;
  struct token_worker w = {};
  w.warp = threadIdx.x / 32, w.lane = threadIdx.x % 32;
  token_embed<W>(m, &w);
  token_note_changes(a);
  token_angles(m);
  token_layers<T, W, WIDTH>(m, &w);
  if (sizeof(W) == 1 && a.head.kind == MATRIX_INT8)
    token_head_of<int8_t, W>(m, &w);
  else
    token_head_of<T, W>(m, &w);
#endif
}

template <class T, class W> token_kernel_fn token_kernel_of(int width) {
  return width == 64 ? token_kernel<T, W, 64> : token_kernel<T, W, 128>;
}

} // namespace

#endif
