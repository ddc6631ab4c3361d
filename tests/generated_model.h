/* For tests: a model's folder with weights that only its config.json and the names of its tensors decide, the same that
 * tests/parity/compare.py generates: FNV-1a of the name, splitmix64 of the index, 24 bits. */
#ifndef SLUICE_TESTS_GENERATED_MODEL_H
#define SLUICE_TESTS_GENERATED_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "engine/model/config.h"
#include "engine/model/family.h"
#include "engine/model/safetensors.h"

enum { GENERATED_MAX = 256 };

struct generated_model {
  struct model_config config;
  const struct model_family *family;
  struct tensor_source tensors[GENERATED_MAX];
  char names[GENERATED_MAX][96];
  size_t n;
};

static inline float generated_value(const char *name, bool vector, size_t index) {
  uint64_t h = 0xcbf29ce484222325u, z;
  for (const char *c = name; *c; c++) h = (h ^ (unsigned char)*c) * 0x100000001b3u;
  z = h + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  const double u = (double)(z >> 40) / 0x1p24 - 0.5;
  const size_t n = strlen(name);
  if (vector && (n < 5 || strcmp(name + n - 5, ".bias") != 0)) return (float)(1 + u / 2);
  return (float)(strstr(name, "embed_tokens") || strstr(name, "embed_in") ? 2 * u : u);
}

static inline void generated_add(struct generated_model *g, const char *name, int rows, int cols) {
  struct tensor_source *t = &g->tensors[g->n];
  const size_t n = (size_t)rows * (size_t)cols;
  float *values = malloc(n * sizeof *values);
  snprintf(g->names[g->n], sizeof g->names[0], "%s", name);
  /* transformers 5 calls the head of every family lm_head in memory, and some of them otherwise in files. */
  const char *in_memory = strcmp(name, "embed_out.weight") == 0 ? "lm_head.weight" : name;
  for (size_t i = 0; i < n; i++) values[i] = generated_value(in_memory, cols == 1, i);
  *t = (struct tensor_source){g->names[g->n], DTYPE_F32, cols == 1 ? 1 : 2, {rows, cols}, values};
  g->n++;
}

static inline void generated_add_layer(struct generated_model *g, int layer) {
  const struct model_config *c = &g->config;
  const struct outer_names *names = &outer_names[g->family->names];
  char name[96];
  int prefix = snprintf(name, sizeof name, names->layer_prefix, layer);
  for (size_t i = 0; i < n_layer_parts; i++) {
    const struct layer_part *p = &layer_parts[i];
    if (!p->name[g->family->names] || !layer_part_wanted(c, p)) continue;
    snprintf(name + prefix, sizeof name - (size_t)prefix, "%s", p->name[g->family->names]);
    generated_add(g, name, model_extent(c, p->rows), model_extent(c, p->cols));
  }
  if (!g->family->fused_qkv) return;
  const int rows = model_extent(c, EXTENT_QUERIES) + 2 * model_extent(c, EXTENT_KEYS);
  snprintf(name + prefix, sizeof name - (size_t)prefix, "%s", names->fused_qkv);
  generated_add(g, name, rows, c->d_model);
  snprintf(name + prefix, sizeof name - (size_t)prefix, "%s", names->fused_qkv_bias);
  if (c->qkv_bias) generated_add(g, name, rows, 1);
}

static inline void generated_free(struct generated_model *g) {
  for (size_t i = 0; i < g->n; i++) free((void *)(uintptr_t)g->tensors[i].data);
}

/* The tensors of the model that config_path describes; generated_free them. */
static inline sluice_status generated_make(struct generated_model *g, const char *config_path,
                                           struct sluice_error *err) {
  memset(g, 0, sizeof *g);
  sluice_status st = model_config_read(config_path, &g->config, err);
  if (st) return st;
  g->family = model_family_named(g->config.family);
  const struct outer_names *names = &outer_names[g->family->names];
  generated_add(g, names->embedding, g->config.vocab, g->config.d_model);
  for (int l = 0; l < g->config.n_layers; l++) generated_add_layer(g, l);
  generated_add(g, names->final_norm, g->config.d_model, 1);
  if (names->final_norm_bias) generated_add(g, names->final_norm_bias, g->config.d_model, 1);
  if (!g->config.tied) generated_add(g, names->head, g->config.vocab, g->config.d_model);
  return SLUICE_OK;
}

#endif
