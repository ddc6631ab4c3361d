/* Whether a model's decode step can be one launch, and that launch. What it does not cover goes through the graph of
 * step.cu: devices before 9.0, layers of several types of matrices, heads narrower than 33 or wider than 128, models so
 * small that blocks would have no rows. */
#include "engine/cuda/token.cuh"

#include <stdlib.h>
#include <string.h>

namespace {

enum {
  UNITS_WANTED = 64, /* of a layer's matrix in a block: fewer would leave warps waiting for others */
  SLOTS_LEAST = 3,
  SHORT_ROW = 1024, /* numbers */
  STATIC_SHARED = 9 << 10
};

struct matrix matrix_of(const struct device_layer &l, int which) {
  const struct matrix each[] = {l.qkv, l.o, l.ffn, l.down};
  return each[which];
}

int lane_elements(enum matrix_kind k) {
  return k == MATRIX_INT8 ? 16 : k == MATRIX_F32 ? 4 : 8;
}

struct token_shape shape_of(const struct matrix &m, bool gated, int blocks, int warps, bool head) {
  struct token_shape s = {};
  s.rows = m.rows, s.cols = m.cols;
  s.pairs = gated ? m.rows / 2 : (m.rows + 1) / 2;
  s.step = gated ? 1 : 2, s.distance = gated ? m.rows / 2 : 1;
  s.chunks = m.ld / lane_elements(m.kind);
  const int each = (s.pairs + blocks - 1) / blocks;
  s.tiles = (s.chunks + TOKEN_TILE - 1) / TOKEN_TILE;
  /* Few rows: smaller tiles, so that all warps have some. */
  while (each * s.tiles < 2 * warps && s.chunks / s.tiles >= 64) s.tiles *= 2;
  s.tile = (s.chunks + s.tiles - 1) / s.tiles;
  if (m.kind == MATRIX_INT8) s.tile = (s.tile + 15) / 16 * 16; /* scales of a tile begin at multiples of 16 bytes */
  s.tiles = (s.chunks + s.tile - 1) / s.tile;
  s.scale_ld = m.kind == MATRIX_INT8 ? m.scale_ld : 0;
  while (!head && 2 << s.share_log <= s.tiles && each << s.share_log < UNITS_WANTED) s.share_log++;
  return s;
}

/* More warps hide more of what each waits for; fewer have larger pieces under way, which tensor cores are fast enough
 * for where rows are long (docs/engine-gpu.md has both measured). */
token_kernel_fn kernel_for(enum matrix_kind kind, int width, int d_model, int *warps) {
  const bool eight = kind == MATRIX_BF16 && d_model > SHORT_ROW;
  *warps = eight ? 8 : 10;
  switch (kind) {
  case MATRIX_F32:
    return token_kernel_f32(width);
  case MATRIX_F16:
    return token_kernel_f16(width);
  case MATRIX_BF16:
    return eight ? token_kernel_bf16_eight(width) : token_kernel_bf16(width);
  default:
    return token_kernel_int8(width);
  }
}

/* Whether the kernels know such matrices. */
bool takes(const struct cuda_backend *b) {
  const struct device_weights &w = *b->w;
  if (b->kv.width != 64 && b->kv.width != 128) return false;
  if (w.head.kind != w.kind && w.head.kind != w.low) return false;
  for (int l = 0; l < b->kv.n_layers; l++)
    for (int k = 0; k < TOKEN_LAYER_MATRICES; k++) {
      const struct matrix m = matrix_of(w.layers[l], k);
      if (m.kind != w.kind || m.cols % 4) return false;
    }
  return true;
}

/* Fills in what is the same in every step; false: shared memory is too small, or blocks would finish more rows than
 * they have threads. */
bool fill_shapes(struct cuda_backend *b, struct token_args *a, int blocks, size_t shared) {
  const struct model_config &c = b->base.model->config;
  const int warps = b->token_warps;
  int floats = 0, sums = 0;
  for (int k = 0; k < TOKEN_MATRICES; k++) {
    const bool head = k == TOKEN_HEAD, gated = k == TOKEN_FFN && !c.plain_ffn;
    const struct matrix m = head ? b->w->head : matrix_of(b->w->layers[0], k);
    struct token_shape &s = a->shape[k];
    s = shape_of(m, gated, blocks, warps, head);
    const int each = (s.pairs + blocks - 1) / blocks;
    if (m.ld > floats) floats = m.ld;
    if (!head && each << s.share_log > sums) sums = each << s.share_log;
    if (!head && each * (gated ? 1 : 2) > warps * 32) return false;
  }
  const size_t attention =
      static_cast<size_t>(SEGMENTS_MAX * TOKEN_HEADS * b->kv.width + warps * TOKEN_HEADS * (b->kv.width + 2)) *
          sizeof(float) +
      2 * b->kv.width * b->kv.element;
  /* A LayerNorm of bf16 keeps what it works on beside the result (token_tile.cuh). */
  const bool twice = b->w->kind == MATRIX_BF16 && b->w->layers[0].attn_norm.bias && floats < 2 * padded(c.d_model);
  const size_t numbers = (twice ? 2 * padded(c.d_model) : floats) * sizeof(float),
               x = numbers > attention ? numbers : attention;
  const size_t slot = 2 * (TOKEN_TILE_BYTES + (b->w->kind == MATRIX_INT8 ? TOKEN_TILE : 0));
  a->x_bytes = static_cast<int>((x + 127) / 128 * 128);
  a->sum_floats = (sums < 256 ? 512 : 2 * sums + 31) / 32 * 32;
  const size_t used = a->x_bytes + a->sum_floats * sizeof(float) + c.n_layers * sizeof(struct token_layer);
  if (used + SLOTS_LEAST * warps * slot > shared) return false;
  const size_t slots = (shared - used) / (warps * slot);
  a->slots = slots < TOKEN_SLOTS_MAX ? static_cast<int>(slots) : TOKEN_SLOTS_MAX;
  b->token_shared = used + a->slots * warps * slot;
  return true;
}

void fill_layer(struct token_layer *t, const struct device_layer &l) {
  const float *bias[] = {l.qkv_bias, l.o_bias, l.ffn_bias, l.down_bias};
  for (int k = 0; k < TOKEN_LAYER_MATRICES; k++) {
    const struct matrix m = matrix_of(l, k);
    t->data[k] = m.data, t->scale[k] = m.scale, t->bias[k] = bias[k];
  }
  t->gain[0] = l.attn_norm.gain, t->gain[1] = l.ffn_norm.gain;
  t->shift[0] = l.attn_norm.bias, t->shift[1] = l.ffn_norm.bias;
  t->q_norm = l.q_norm, t->k_norm = l.k_norm;
}

void fill_network(const struct cuda_backend *b, struct token_args *a) {
  const struct model_config &c = b->base.model->config;
  const int order[] = {TOKEN_QKV, TOKEN_O, TOKEN_FFN, TOKEN_DOWN},
            parallel[] = {TOKEN_QKV, TOKEN_FFN, TOKEN_O, TOKEN_DOWN};
  memcpy(a->order, c.parallel_residual ? parallel : order, sizeof order);
  a->n_layers = c.n_layers;
  a->window = c.window ? static_cast<uint64_t>(c.window) : 0, a->window_from = c.window_from;
  a->activation = c.activation;
  a->gated = !c.plain_ffn, a->parallel = c.parallel_residual;
  a->embedding = b->w->embedding, a->head = b->w->head, a->final_norm = b->w->final_norm;
  a->frequency = b->w->frequency;
  a->attend.kv = b->kv;
  a->attend.n_heads = c.n_heads, a->attend.eps = c.norm_eps, a->attend.scale = b->score_scale, a->attend.order = b->w->order;
}

size_t part_numbers(const struct cuda_backend *b) {
  return static_cast<size_t>(b->base.model->config.n_heads) * TOKEN_SPLITS_MAX * (b->kv.width + 2);
}

/* What blocks give each other, and the layers' addresses; counted with memory NULL. */
size_t place_parts(const struct cuda_backend *b, struct token_args *a, unsigned char *memory, int blocks) {
  const struct device_layer &l = b->w->layers[0];
  const size_t d = static_cast<size_t>(padded(b->base.model->config.d_model));
  size_t used = 0;
  const auto take = [&](unsigned long long **to, size_t n) {
    *to = reinterpret_cast<unsigned long long *>(memory + used);
    used += (n * sizeof **to + 255) / 256 * 256;
  };
  take(&a->x[0], d), take(&a->x[1], d);
  take(&a->mixed, static_cast<size_t>(l.o.ld)), take(&a->act, static_cast<size_t>(l.down.ld));
  take(&a->qkv, static_cast<size_t>(padded(l.qkv.rows)));
  take(&a->part, part_numbers(b));
  take(&a->best, 3 * static_cast<size_t>(blocks));
  a->layers = reinterpret_cast<const struct token_layer *>(memory + used);
  return used + b->kv.n_layers * sizeof(struct token_layer);
}

sluice_status take_parts(struct cuda_backend *b, struct token_args *a, int blocks, struct sluice_error *err) {
  const size_t n = static_cast<size_t>(b->kv.n_layers), bytes = place_parts(b, a, NULL, blocks);
  sluice_status st = device_room(bytes, "a session's working memory", err);
  if (!st) st = cuda_status(cudaMalloc(&b->token_memory, bytes), "allocating working memory", err);
  if (st) return st;
  place_parts(b, a, static_cast<unsigned char *>(b->token_memory), blocks);
  struct token_layer *layers = static_cast<struct token_layer *>(calloc(n, sizeof *layers));
  if (!layers) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  for (size_t l = 0; l < n; l++) fill_layer(&layers[l], b->w->layers[l]);
  cudaError_t e = cudaMemset(b->token_memory, 0, bytes); /* no launch has tag 0 in what it awaits */
  if (!e)
    e = cudaMemcpy(const_cast<struct token_layer *>(a->layers), layers, n * sizeof *layers, cudaMemcpyHostToDevice);
  free(layers);
  return cuda_status(e, "allocating working memory", err);
}

/* A share is one step of all warps: merging shares costs another exchange, further steps another reading of memory
 * each. No more units than blocks. */
int token_splits(const struct cuda_backend *b, uint32_t slots) {
  const struct model_config &c = b->base.model->config;
  const int group = c.n_heads / c.n_kv_heads, units = c.n_kv_heads * ((group + TOKEN_HEADS - 1) / TOKEN_HEADS);
  const int step = b->token_warps * TOKEN_DEEP * 32 / (b->kv.width / 8),
            wanted = static_cast<int>(slots) / (2 * step) + 1;
  int most = b->token_blocks / units;
  if (most > TOKEN_SPLITS_MAX) most = TOKEN_SPLITS_MAX;
  return most < 1 ? 1 : wanted < most ? wanted : most;
}

} // namespace

sluice_status token_open(struct cuda_backend *b, struct sluice_error *err) {
  const struct model_config &c = b->base.model->config;
  int cooperative = 0, shared = 0, major = 0;
  cudaError_t e = cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, 0);
  if (!e) e = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (!e) e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  if (e) return cuda_status(e, "asking the device", err);
  if (!cooperative || major < 9 || b->stepwise || !takes(b)) return SLUICE_OK;
  /* Each block finishes rows of all matrices: that is what makes it safe to write a place again. */
  int blocks = b->launcher.processors;
  if (blocks > c.d_model / 2) blocks = c.d_model / 2;
  if (blocks > c.d_ff / 2) blocks = c.d_ff / 2;
  struct token_args *a = static_cast<struct token_args *>(calloc(1, sizeof *a));
  if (!a) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  b->token = a;
  b->token_blocks = blocks;
  const token_kernel_fn kernel = kernel_for(b->w->kind, b->kv.width, c.d_model, &b->token_warps);
  if (blocks < 1 || !fill_shapes(b, a, blocks, static_cast<size_t>(shared) - STATIC_SHARED)) return SLUICE_OK;
  fill_network(b, a);
  e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(b->token_shared));
  int fit = 0;
  if (!e)
    e = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit, kernel, token_threads(b->token_warps), b->token_shared);
  if (e || fit < 1) return cuda_status(e, "asking for room for a kernel", err);
  const sluice_status st = take_parts(b, a, blocks, err);
  if (!st) b->token_kernel = kernel;
  return st;
}

void token_close(struct cuda_backend *b) {
  cudaFree(b->token_memory);
  free(b->token);
}

cudaError_t token_step(struct cuda_backend *b, int n_segments, uint32_t slots, enum step_kind kind) {
  struct token_args *a = b->token;
  a->item = b->head_host->items[0];
  memcpy(a->changes, b->head_host->changes, sizeof a->changes);
  a->draw = b->head_host->draw;
  a->attend.n_segments = n_segments, a->attend.splits = token_splits(b, slots);
  a->kind = kind;
  a->tag = b->token_tag;
  a->logits = b->logits;
  a->hidden[0] = b->hidden, a->hidden[1] = b->hidden_host;
  a->draw_to = &b->head->draw, a->drawn = b->drawn, a->drawn_host = b->drawn_host;
  b->token_tag += static_cast<unsigned>(a->n_layers) + 2;
  void *args[] = {a};
  cudaError_t e =
      cudaLaunchCooperativeKernel(b->token_kernel, dim3(b->token_blocks), dim3(token_threads(b->token_warps)), args,
                                  b->token_shared, b->launcher.stream);
  if (!e && kind == STEP_BY_CHANCE)
    e = draw_by_chance_launch(b->launcher, b->logits, b->base.model->config.vocab, 1, &b->head->draw, b->draw_scratch,
                              b->drawn, b->drawn_host);
  if (!e && kind == STEP_LOGITS)
    e = cudaMemcpyAsync(b->logits_host, b->logits, sizeof(float) * b->base.model->config.vocab, cudaMemcpyDeviceToHost,
                        b->launcher.stream);
  return e;
}
