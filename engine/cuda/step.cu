/* The kernels of one step, in order: the network as engine/cpu/forward.c has it. One token goes through matrix-vector
 * products that take their norms along; a chunk through cuBLAS. */
#include "engine/cuda/cuda_backend.cuh"

namespace {

const struct model_config &config_of(const struct cuda_backend *b) {
  return b->base.model->config;
}

size_t low_bytes(const struct cuda_backend *b) {
  return b->w->low == MATRIX_F32 ? 4 : 2;
}

cudaDataType blas_type(enum matrix_kind k) {
  return k == MATRIX_F32 ? CUDA_R_32F : k == MATRIX_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

/* Row `row` of an array of the low type. */
void *low_row(const struct cuda_backend *b, void *base, int row, int ld) {
  return static_cast<unsigned char *>(base) + static_cast<size_t>(row) * ld * low_bytes(b);
}

/* One stretch of rows: y[n][ld_y] (+)= x[n][ld] W^T. */
cudaError_t product(struct cuda_backend *b, const void *w, const struct matrix &m, int rows, const void *x, int n,
                    void *y, int ld_y, bool y_float, bool add) {
  const float one = 1, zero = 0;
  const cudaDataType in = blas_type(b->w->low), out = y_float ? CUDA_R_32F : in;
  const cublasStatus_t st =
      cublasGemmEx(b->blas, CUBLAS_OP_T, CUBLAS_OP_N, rows, n, m.cols, &one, w, in, m.ld, x, in, m.ld,
                   add ? &one : &zero, y, out, ld_y, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  return st == CUBLAS_STATUS_SUCCESS ? cudaSuccess : cudaErrorUnknown;
}

/* y = x W^T for a chunk, W of any kind. */
cudaError_t matmul(struct cuda_backend *b, const struct matrix &m, const void *x, int n, void *y, int ld_y,
                   bool y_float, bool add) {
  if (m.kind != MATRIX_INT8) return product(b, m.data, m, m.rows, x, n, y, ld_y, y_float, add);
  const int step = EXPAND_ELEMENTS / m.ld;
  const size_t size = y_float ? sizeof(float) : low_bytes(b);
  cudaError_t e = cudaSuccess;
  for (int from = 0; !e && from < m.rows; from += step) {
    struct matrix part = m;
    const size_t at = static_cast<size_t>(from) * m.ld;
    part.rows = m.rows - from < step ? m.rows - from : step;
    part.data = static_cast<const int8_t *>(m.data) + at;
    part.scale = m.scale + static_cast<size_t>(from) * m.scale_ld;
    e = expand_launch(b->launcher, part, static_cast<bf16 *>(b->expanded));
    if (!e)
      e = product(b, b->expanded, m, part.rows, x, n,
                  static_cast<unsigned char *>(y) + static_cast<size_t>(from) * size, ld_y, y_float, add);
  }
  return e;
}

cudaError_t enqueue_begin(struct cuda_backend *b, int n, int n_changes, int n_segments, enum key_form form,
                          const struct slot_change *changes, bool from_host) {
  const struct model_config &c = config_of(b);
  struct begin s = {};
  if (from_host) {
    s.host = reinterpret_cast<const unsigned *>(b->head_host);
    s.copied = reinterpret_cast<unsigned *>(b->head);
    s.words = sizeof *b->head / sizeof(unsigned);
  }
  s.items = b->head->items;
  s.changes = changes;
  s.n = n, s.n_changes = n_changes, s.n_segments = n_segments;
  s.half = c.head_dim / 2;
  s.d = c.d_model, s.ld = padded(c.d_model);
  s.embedding = b->w->embedding;
  s.frequency = b->w->frequency;
  s.x = b->x;
  s.angles = b->angles;
  s.key_true = form == KEYS_AT_TRUE_POSITION;
  struct launcher l = b->launcher;
  l.overlap = false; /* behind a copy */
  return begin_launch(l, s);
}

struct attend attention_of(const struct cuda_backend *b, int layer, int n, int n_segments) {
  const struct model_config &c = config_of(b);
  const struct device_layer &w = b->w->layers[layer];
  struct attend a = {};
  a.items = b->head->items;
  a.angles = b->angles;
  a.q_norm = w.q_norm, a.k_norm = w.k_norm;
  a.order = b->w->order;
  a.eps = c.norm_eps, a.scale = b->score_scale;
  a.part = b->part;
  a.arrived = b->arrived;
  a.kv = b->kv;
  a.n = n, a.layer = layer, a.n_heads = c.n_heads, a.n_segments = n_segments, a.splits = 1;
  a.window = c.window && layer >= c.window_from ? static_cast<uint64_t>(c.window) : 0;
  a.qkv_width = w.qkv.rows, a.out_width = w.o.ld;
  a.half_type = b->w->low == MATRIX_F16;
  return a;
}

/* ---- one token ---- */

cudaError_t vector(const struct cuda_backend *b, enum gemv_mode mode, const struct matrix &m, const float *x,
                   const struct norm *norm, const float *bias, float *y) {
  struct gemv g = {};
  g.w = m, g.x = x, g.bias = bias, g.y = y;
  if (norm) g.norm = *norm;
  g.activation = config_of(b).activation;
  return gemv_launch(b->launcher, mode, g);
}

/* The first kernel waits for the whole of the step's beginning: so every later one may read what that wrote (items,
 * angles, slots) before its own inputs are ready. */
cudaError_t decode_layer(struct cuda_backend *b, int layer, int n_segments, int splits) {
  const struct model_config &c = config_of(b);
  const struct device_layer &w = b->w->layers[layer];
  const enum gemv_mode ffn = c.plain_ffn ? GEMV_ACT : GEMV_GATED;
  struct attend a = attention_of(b, layer, 1, n_segments);
  a.qkv = b->v_qkv, a.out = b->v_mixed;
  a.splits = splits, a.store = true;
  const bool overlap = b->launcher.overlap;
  if (layer == 0) b->launcher.overlap = false;
  cudaError_t e = vector(b, GEMV_ROWS, w.qkv, b->x, &w.attn_norm, w.qkv_bias, b->v_qkv);
  b->launcher.overlap = overlap;
  if (!e) e = attend_launch(b->launcher, a);
  if (!e && c.parallel_residual) e = vector(b, ffn, w.ffn, b->x, &w.ffn_norm, w.ffn_bias, b->v_act);
  if (!e) e = vector(b, GEMV_ADD, w.o, b->v_mixed, NULL, w.o_bias, b->x);
  if (!e && !c.parallel_residual) e = vector(b, ffn, w.ffn, b->x, &w.ffn_norm, w.ffn_bias, b->v_act);
  return e ? e : vector(b, GEMV_ADD, w.down, b->v_act, NULL, w.down_bias, b->x);
}

cudaError_t see(struct cuda_backend *b, int layer, int first, int n) {
  const int ld = padded(config_of(b).d_model);
  if (!b->watch) return cudaSuccess;
  cudaError_t e =
      cudaMemcpyAsync(b->watch_rows, b->x + static_cast<size_t>(first) * ld,
                      static_cast<size_t>(n) * ld * sizeof(float), cudaMemcpyDeviceToHost, b->launcher.stream);
  if (!e) e = cudaStreamSynchronize(b->launcher.stream);
  if (!e) b->watch(b->watch_ctx, layer, first, n, b->watch_rows, static_cast<size_t>(ld));
  return e;
}

cudaError_t head_of(struct cuda_backend *b, int row, bool to_host) {
  struct gemv g = {};
  g.w = b->w->head;
  g.x = b->x + static_cast<size_t>(row) * padded(config_of(b).d_model);
  g.norm = b->w->final_norm;
  g.y = b->logits;
  g.hidden[0] = b->hidden;
  if (to_host) g.hidden[1] = b->hidden_host;
  return gemv_launch(b->launcher, GEMV_ROWS, g);
}

cudaError_t enqueue_decode(struct cuda_backend *b, int n_segments, int splits, enum step_kind kind) {
  const struct model_config &c = config_of(b);
  const cudaStream_t stream = b->launcher.stream;
  cudaError_t e = enqueue_begin(b, 1, STEP_CHANGES, n_segments, KEYS_AT_TRUE_POSITION, b->head->changes, true);
  if (!e) e = see(b, -1, 0, 1);
  for (int l = 0; !e && l < c.n_layers; l++) {
    e = decode_layer(b, l, n_segments, splits);
    if (!e) e = see(b, l, 0, 1);
  }
  if (!e) e = kind == STEP_HIDDEN ? step_hidden(b, 0, 1, b->hidden_host) : head_of(b, 0, true);
  if (!e && kind >= STEP_GREEDY) e = step_draw(b, kind == STEP_BY_CHANCE);
  if (!e && kind == STEP_LOGITS)
    e = cudaMemcpyAsync(b->logits_host, b->logits, sizeof(float) * c.vocab, cudaMemcpyDeviceToHost, stream);
  return e;
}

/* ---- chunks ---- */

/* Policies that keep keys unrotated: for each epoch all kept keys are turned by their index, then attended. */
cudaError_t attend_by_index(struct cuda_backend *b, struct attend a, const struct chunk *c) {
  const struct query_item *items = b->head->items;
  const size_t row = static_cast<size_t>(a.out_width) * (a.low ? low_bytes(b) : sizeof(float));
  const size_t in_row = static_cast<size_t>(a.qkv_width) * (a.low ? low_bytes(b) : sizeof(float));
  cudaError_t e = rope_launch(b->launcher, a, NULL, 0);
  for (int t = 0, end; !e && t < c->n; t = end) {
    for (end = t + 1; end < c->n && c->plan->epoch[end] == c->plan->epoch[t];) end++;
    struct attend part = a;
    part.items = items + end - 1; /* the epoch's last token sees all that its index speaks of */
    part.keys = NULL;
    part.key_plane = static_cast<size_t>(b->slots) * b->kv.width * b->kv.element;
    e = rotate_kept_launch(b->launcher, part, b->row_angles, b->kept_keys, c->slots);
    part.items = items + t;
    part.n = end - t;
    part.keys = b->kept_keys;
    part.angles = a.angles + static_cast<size_t>(t) * (SEGMENTS_MAX + 1) * (b->kv.head_dim / 2);
    part.qkv = static_cast<const unsigned char *>(a.qkv) + t * in_row;
    part.out = static_cast<unsigned char *>(a.out) + t * row;
    part.splits = attend_splits(b->launcher, c->slots, part.n, b->kv.n_kv_heads);
    if (!e) e = attend_launch(b->launcher, part);
  }
  return e;
}

cudaError_t attend_on_tensor_cores(struct cuda_backend *b, const struct attend &a, const struct chunk *c) {
  struct flash f = {};
  f.items = a.items, f.q = b->turned, f.out = a.out;
  f.kv = b->kv;
  f.n = c->n, f.layer = a.layer, f.n_heads = a.n_heads, f.n_segments = c->n_segments;
  f.q_width = a.n_heads * b->kv.width, f.out_width = a.out_width;
  f.window = a.window;
  f.scale = a.scale;
  f.half_type = a.half_type;
  cudaError_t e = rope_launch(b->launcher, a, b->turned, f.q_width);
  return e ? e : flash_launch(b->launcher, f);
}

cudaError_t chunk_attention(struct cuda_backend *b, int layer, const struct chunk *c) {
  struct attend a = attention_of(b, layer, c->n, c->n_segments);
  a.qkv = b->qkv, a.out = b->mixed;
  a.bias = b->w->layers[layer].qkv_bias;
  a.low = true;
  if (c->form == KEYS_AT_CACHE_POSITION) return attend_by_index(b, a, c);
  if (c->one_store && c->n >= FLASH_FROM && flash_takes(b->kv)) return attend_on_tensor_cores(b, a, c);
  a.store = !c->one_store; /* tokens of one store see each other: all keys first */
  cudaError_t e = a.store ? cudaSuccess : rope_launch(b->launcher, a, NULL, 0);
  a.splits = attend_splits(b->launcher, c->slots, c->n, b->kv.n_kv_heads);
  return e ? e : attend_launch(b->launcher, a);
}

/* act = middle of the FFN of rows [first, n) of x. */
cudaError_t chunk_ffn(struct cuda_backend *b, int layer, int first, int n) {
  const struct model_config &c = config_of(b);
  const struct device_layer &w = b->w->layers[layer];
  const int ld = padded(c.d_model), rows = n - first;
  struct ffn_middle f = {};
  f.in = b->middle, f.bias = w.ffn_bias, f.out = b->act;
  f.n = rows, f.d_ff = c.d_ff, f.ld_in = w.ffn.rows, f.ld_out = w.down.ld;
  f.gated = !c.plain_ffn, f.activation = c.activation, f.kind = b->w->low;
  cudaError_t e = norm_launch(b->launcher, b->x + static_cast<size_t>(first) * ld, w.ffn_norm, rows, c.d_model, ld,
                              b->normed, b->w->low);
  if (!e) e = matmul(b, w.ffn, b->normed, rows, b->middle, w.ffn.rows, false, false);
  return e ? e : ffn_middle_launch(b->launcher, f);
}

/* Rows before `first` only leave their keys and values: in the last layer nobody asks for more of them. */
cudaError_t chunk_layer(struct cuda_backend *b, int layer, const struct chunk *k, int first) {
  const struct model_config &c = config_of(b);
  const struct device_layer &w = b->w->layers[layer];
  const int ld = padded(c.d_model), rows = k->n - first;
  float *x = b->x + static_cast<size_t>(first) * ld;
  cudaError_t e = norm_launch(b->launcher, b->x, w.attn_norm, k->n, c.d_model, ld, b->normed, b->w->low);
  if (!e) e = matmul(b, w.qkv, b->normed, k->n, b->qkv, w.qkv.rows, false, false);
  if (!e) e = chunk_attention(b, layer, k);
  if (!e && c.parallel_residual) e = chunk_ffn(b, layer, first, k->n);
  if (!e) e = matmul(b, w.o, low_row(b, b->mixed, first, w.o.ld), rows, x, ld, true, true);
  if (!e) e = add_bias_launch(b->launcher, x, w.o_bias, rows, c.d_model, ld);
  if (!e && !c.parallel_residual) e = chunk_ffn(b, layer, first, k->n);
  if (!e) e = matmul(b, w.down, b->act, rows, x, ld, true, true);
  return e ? e : add_bias_launch(b->launcher, x, w.down_bias, rows, c.d_model, ld);
}

} // namespace

cudaError_t step_hidden(struct cuda_backend *b, int first, int n, float *to) {
  const struct model_config &c = config_of(b);
  const int ld = padded(c.d_model);
  return norm_launch(b->launcher, b->x + static_cast<size_t>(first) * ld, b->w->final_norm, n, c.d_model, ld, to,
                     MATRIX_F32);
}

cudaError_t step_draw(struct cuda_backend *b, bool by_chance) {
  return draw_launch(b->launcher, b->logits, config_of(b).vocab, 1, by_chance, &b->head->draw, b->draw_scratch,
                     b->drawn, b->drawn_host);
}

cudaError_t step_logits(struct cuda_backend *b, int first, int n) {
  const struct model_config &c = config_of(b);
  const int ld = padded(c.d_model);
  if (n == 1) return head_of(b, first, false);
  cudaError_t e = norm_launch(b->launcher, b->x + static_cast<size_t>(first) * ld, b->w->final_norm, n, c.d_model, ld,
                              b->normed, b->w->low);
  return e ? e : matmul(b, b->w->head, b->normed, n, b->logits, c.vocab, true, false);
}

cudaError_t step_decode(struct cuda_backend *b, int n_segments, int splits, enum step_kind kind) {
  int at = 0;
  while (1 << at < splits) at++;
  at = (at * STEP_KINDS + kind) * SEGMENTS_MAX + n_segments - 1;
  if (b->plain || b->watch) return enqueue_decode(b, n_segments, splits, kind);
  if (!b->graph[at]) {
    cudaGraph_t graph = NULL;
    cudaError_t e = cudaStreamBeginCapture(b->launcher.stream, cudaStreamCaptureModeThreadLocal);
    if (!e) e = enqueue_decode(b, n_segments, splits, kind);
    const cudaError_t ended = cudaStreamEndCapture(b->launcher.stream, &graph);
    if (!e) e = ended;
    if (!e) e = cudaGraphInstantiate(&b->graph[at], graph, 0);
    if (graph) cudaGraphDestroy(graph);
    if (e) return e;
  }
  return cudaGraphLaunch(b->graph[at], b->launcher.stream);
}

cudaError_t step_chunk(struct cuda_backend *b, const struct chunk *c) {
  const struct model_config &config = config_of(b);
  const int from = c->one_store ? (c->n_rows ? c->n - c->n_rows : c->n - 1) : 0;
  const bool overlap = b->launcher.overlap;
  b->launcher.overlap = false; /* cuBLAS's kernels do not wait as ours do */
  cudaError_t e = enqueue_begin(b, c->n, c->n_changes, c->n_segments, c->form, b->changes, false);
  if (!e) e = see(b, -1, 0, c->n);
  for (int l = 0; !e && l < config.n_layers; l++) {
    const int first = l + 1 < config.n_layers ? 0 : from;
    e = chunk_layer(b, l, c, first);
    if (!e) e = see(b, l, first, c->n - first);
  }
  b->launcher.overlap = overlap;
  return e;
}
