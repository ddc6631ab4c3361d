/* One small random network twice: as the engine's struct model, and as the reference's. Every value is a small multiple
 * of 1/256, so that F32, F16 and BF16 hold it exactly and the two networks are the same to the last bit. */
#ifndef SLUICE_TESTS_RANDOM_MODEL_H
#define SLUICE_TESTS_RANDOM_MODEL_H

#include "engine/model/model.h"
#include "tests/quantised_blocks.h"
#include "tests/reference_llama.h"
#include "tests/test_device.h"

struct random_shape {
  int n_layers, d, heads, kv_heads, head_dim, ff, vocab;
  enum dtype dtype;
  bool tied;
  struct model_config block; /* rope_scaling (dynamic, yarn) and the members behind it */
};

struct random_model {
  struct model model;
  struct ref_model ref;
  struct arena memory;
};

static inline void random_value(struct rng *r, enum dtype dtype, double *value, void *stored) {
  const int k = (int)rng_below(r, 255) - 127;
  const float f = (float)k / 256;
  *value = (double)k / 256;
  if (dtype == DTYPE_F32) {
    memcpy(stored, &f, 4);
  } else if (dtype == DTYPE_BF16) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    const uint16_t half = (uint16_t)(bits >> 16);
    memcpy(stored, &half, 2);
  } else {
#ifdef __FLT16_MAX__
    const _Float16 half = (_Float16)f;
    memcpy(stored, &half, 2);
#else /* clang 14 */
    dtype_from_float(stored, dtype, 0, f);
#endif
  }
}

static inline double *random_matrix(struct random_model *m, struct rng *r, enum dtype dtype, int rows, int cols,
                                    struct weight *w) {
  const size_t n = (size_t)rows * (size_t)cols, block = (size_t)dtype_block(dtype);
  double *values = arena_alloc(&m->memory, n * sizeof *values);
  char *stored = (char *)arena_alloc(&m->memory, dtype_row_bytes(dtype, cols) * (size_t)rows + 16) +
                 (dtype == DTYPE_F32 ? 4 : 2); /* aligned to the element only */
  for (size_t i = 0; i < n; i += block) {
    uint8_t *at = (uint8_t *)stored + i / block * dtype_block_bytes(dtype);
    if (dtype_is_quantised(dtype))
      block_random(r, dtype, at, values + i);
    else
      random_value(r, dtype, &values[i], at);
  }
  *w = (struct weight){.data = stored, .dtype = dtype, .rows = rows, .cols = cols};
  return values;
}

static inline double *random_gain(struct random_model *m, struct rng *r, int n, const float **gain) {
  double *values = arena_alloc(&m->memory, (size_t)n * sizeof *values);
  float *floats = arena_alloc(&m->memory, (size_t)n * sizeof *floats);
  for (int i = 0; i < n; i++) {
    values[i] = 0.5 + (double)rng_below(r, 256) / 256;
    floats[i] = (float)values[i];
  }
  *gain = floats;
  return values;
}

/* n values, or NULL when the model has none. */
static inline double *random_vector(struct random_model *m, struct rng *r, bool wanted, int n, const float **vector) {
  struct weight w;
  double *values = wanted ? random_matrix(m, r, DTYPE_F32, 1, n, &w) : NULL;
  *vector = wanted ? w.data : NULL;
  return values;
}

static inline void random_layer(struct random_model *m, struct rng *r, const struct random_shape *s, int l) {
  struct layer_weights *w = &m->model.layers[l];
  struct ref_layer *t = &m->ref.layer[l];
  const struct model_config *b = &s->block;
  const int q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  t->attn_norm = random_gain(m, r, s->d, &w->attn_norm);
  t->ffn_norm = random_gain(m, r, s->d, &w->ffn_norm);
  t->wq = random_matrix(m, r, s->dtype, q, s->d, &w->wq);
  t->wk = random_matrix(m, r, s->dtype, kv, s->d, &w->wk);
  t->wv = random_matrix(m, r, s->dtype, kv, s->d, &w->wv);
  t->wo = random_matrix(m, r, s->dtype, s->d, q, &w->wo);
  if (!b->plain_ffn) t->gate = random_matrix(m, r, s->dtype, s->ff, s->d, &w->w_gate);
  t->up = random_matrix(m, r, s->dtype, s->ff, s->d, &w->w_up);
  t->down = random_matrix(m, r, s->dtype, s->d, s->ff, &w->w_down);
  t->attn_norm_bias = random_vector(m, r, b->norm == NORM_LAYER, s->d, &w->attn_norm_bias);
  t->ffn_norm_bias = random_vector(m, r, b->norm == NORM_LAYER, s->d, &w->ffn_norm_bias);
  t->bq = random_vector(m, r, b->qkv_bias, q, &w->bq);
  t->bk = random_vector(m, r, b->qkv_bias, kv, &w->bk);
  t->bv = random_vector(m, r, b->qkv_bias, kv, &w->bv);
  t->bo = random_vector(m, r, b->o_bias, s->d, &w->bo);
  t->b_gate = random_vector(m, r, b->ffn_bias && !b->plain_ffn, s->ff, &w->b_gate);
  t->b_up = random_vector(m, r, b->ffn_bias, s->ff, &w->b_up);
  t->b_down = random_vector(m, r, b->ffn_bias, s->d, &w->b_down);
  if (!b->qk_norm) return;
  t->q_norm = random_gain(m, r, s->head_dim, &w->q_norm);
  t->k_norm = random_gain(m, r, s->head_dim, &w->k_norm);
}

static inline void random_model_describe(struct random_model *m, const struct random_shape *s) {
  const struct model_config *b = &s->block;
  struct model_config *c = &m->model.config;
  *c = *b;
  c->n_layers = s->n_layers, c->d_model = s->d, c->n_heads = s->heads, c->n_kv_heads = s->kv_heads;
  c->head_dim = s->head_dim, c->d_ff = s->ff, c->vocab = s->vocab, c->max_context = 1024;
  c->norm_eps = 1e-5f, c->rope_theta = 10000, c->tied = s->tied, c->bos = c->eos = -1;
  m->ref = (struct ref_model){.n_layers = s->n_layers,
                              .d = s->d,
                              .heads = s->heads,
                              .kv_heads = s->kv_heads,
                              .head_dim = s->head_dim,
                              .ff = s->ff,
                              .vocab = s->vocab,
                              .eps = (double)1e-5f,
                              .theta = 10000,
                              .activation = b->activation == ACTIVATION_SILU   ? REF_SILU
                                            : b->activation == ACTIVATION_GELU ? REF_GELU
                                                                               : REF_GELU_TANH,
                              .layer_norm = b->norm == NORM_LAYER,
                              .parallel = b->parallel_residual,
                              .neighbours = b->rotary_neighbours,
                              .rope = b->rope_scaling.type == ROPE_DYNAMIC ? REF_ROPE_DYNAMIC
                                      : b->rope_scaling.type == ROPE_YARN  ? REF_ROPE_YARN
                                      : b->rope_scaling.type == ROPE_LONG  ? REF_ROPE_LONG
                                                                           : REF_ROPE_PLAIN,
                              .rope_factor = b->rope_scaling.factor,
                              .rope_context = b->rope_scaling.original_context,
                              .rope_attention = b->rope_scaling.attention,
                              .rotary = b->rotary_dims ? b->rotary_dims : s->head_dim,
                              .window = b->window,
                              .window_from = b->window_from};
}

/* On a GPU what F16 and BF16 hold exactly is kept as F32: half types round what lies between the products. */
static inline void random_model_make(struct random_model *m, const struct random_shape *shape, uint64_t seed) {
  struct random_shape on_device = *shape;
  if (!test_on_cpu()) on_device.dtype = DTYPE_F32;
  const struct random_shape *s = &on_device;
  struct rng r;
  rng_seed(&r, seed);
  memset(m, 0, sizeof *m);
  random_model_describe(m, s);
  m->model.layers = arena_alloc(&m->memory, sizeof *m->model.layers * (size_t)s->n_layers);
  m->ref.embedding = random_matrix(m, &r, s->dtype, s->vocab, s->d, &m->model.embedding);
  m->model.lm_head = m->model.embedding;
  m->ref.head = s->tied ? m->ref.embedding : random_matrix(m, &r, s->dtype, s->vocab, s->d, &m->model.lm_head);
  m->ref.final_norm = random_gain(m, &r, s->d, &m->model.final_norm);
  for (int l = 0; l < s->n_layers; l++) random_layer(m, &r, s, l);
  m->ref.final_norm_bias = random_vector(m, &r, s->block.norm == NORM_LAYER, s->d, &m->model.final_norm_bias);
}

static inline void random_model_free(struct random_model *m) {
  model_leave_device(&m->model);
  arena_free(&m->memory);
}

#endif
