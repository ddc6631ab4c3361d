/* Networks of random weights with any of the parts that families have, in memory: for comparing back ends with each
 * other and for measuring them. Values are normal, over the root of the columns, so that activations keep their size.
 */
#ifndef SLUICE_TESTS_DEVICE_MODEL_H
#define SLUICE_TESTS_DEVICE_MODEL_H

#include <math.h>
#include <string.h>

#include "engine/model/model.h"

struct device_model {
  struct model model;
  struct arena memory;
  struct rng rng;
};

static inline struct weight device_matrix(struct device_model *m, enum dtype dtype, int rows, int cols) {
  const size_t n = (size_t)rows * (size_t)cols;
  char *data = arena_alloc(&m->memory, n * dtype_size(dtype) + 16);
  const double scale = 1 / sqrt((double)cols);
  if (n < 1 << 22) {
    for (size_t i = 0; i < n; i++) dtype_from_float(data, dtype, i, (float)(rng_normal(&m->rng) * scale));
  } else { /* for measuring: uniform bits of the right size, made fast */
    uint16_t *to = (uint16_t *)(void *)data;
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      to[i] = (uint16_t)((x & 0x807f) | 0x3c00); /* bf16 of magnitude 2^-7 .. 2^-6 */
    }
  }
  return (struct weight){.data = data, .dtype = dtype, .rows = rows, .cols = cols};
}

static inline const float *device_vector(struct device_model *m, int n, double middle, double spread) {
  float *v = arena_alloc(&m->memory, (size_t)n * sizeof *v);
  for (int i = 0; i < n; i++) v[i] = (float)(middle + spread * rng_normal(&m->rng));
  return v;
}

static inline void device_layer(struct device_model *m, enum dtype dtype, struct layer_weights *w) {
  const struct model_config *c = &m->model.config;
  const int q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
  w->attn_norm = device_vector(m, c->d_model, 1, 0.2), w->ffn_norm = device_vector(m, c->d_model, 1, 0.2);
  if (c->norm == NORM_LAYER) {
    w->attn_norm_bias = device_vector(m, c->d_model, 0, 0.2);
    w->ffn_norm_bias = device_vector(m, c->d_model, 0, 0.2);
  }
  if (c->qk_norm) w->q_norm = device_vector(m, c->head_dim, 1, 0.2), w->k_norm = device_vector(m, c->head_dim, 1, 0.2);
  if (c->qkv_bias) {
    w->bq = device_vector(m, q, 0, 0.5), w->bk = device_vector(m, kv, 0, 0.5), w->bv = device_vector(m, kv, 0, 0.5);
  }
  if (c->o_bias) w->bo = device_vector(m, c->d_model, 0, 0.2);
  if (c->ffn_bias) {
    if (!c->plain_ffn) w->b_gate = device_vector(m, c->d_ff, 0, 0.2);
    w->b_up = device_vector(m, c->d_ff, 0, 0.2), w->b_down = device_vector(m, c->d_model, 0, 0.2);
  }
  w->wq = device_matrix(m, dtype, q, c->d_model);
  w->wk = device_matrix(m, dtype, kv, c->d_model), w->wv = device_matrix(m, dtype, kv, c->d_model);
  w->wo = device_matrix(m, dtype, c->d_model, q);
  if (!c->plain_ffn) w->w_gate = device_matrix(m, dtype, c->d_ff, c->d_model);
  w->w_up = device_matrix(m, dtype, c->d_ff, c->d_model), w->w_down = device_matrix(m, dtype, c->d_model, c->d_ff);
}

/* own_layers: distinct layers in memory; the others repeat them. */
static inline void device_model_make(struct device_model *m, const struct model_config *c, enum dtype dtype,
                                     int own_layers, uint64_t seed) {
  memset(m, 0, sizeof *m);
  rng_seed(&m->rng, seed);
  m->model.config = *c;
  m->model.layers = arena_alloc(&m->memory, sizeof *m->model.layers * (size_t)c->n_layers);
  memset(m->model.layers, 0, sizeof *m->model.layers * (size_t)c->n_layers);
  m->model.embedding = device_matrix(m, dtype, c->vocab, c->d_model);
  m->model.lm_head = c->tied ? m->model.embedding : device_matrix(m, dtype, c->vocab, c->d_model);
  m->model.final_norm = device_vector(m, c->d_model, 1, 0.2);
  if (c->norm == NORM_LAYER) m->model.final_norm_bias = device_vector(m, c->d_model, 0, 0.2);
  for (int l = 0; l < c->n_layers; l++) {
    if (l < own_layers)
      device_layer(m, dtype, &m->model.layers[l]);
    else
      m->model.layers[l] = m->model.layers[l % own_layers];
  }
}

static inline void device_model_free(struct device_model *m) {
  model_leave_device(&m->model);
  arena_free(&m->memory);
}

#endif
