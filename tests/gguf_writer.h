/* For tests: GGUF files, written in memory. */
#ifndef SLUICE_TESTS_GGUF_WRITER_H
#define SLUICE_TESTS_GGUF_WRITER_H

#include <stdlib.h>
#include <string.h>

#include "engine/model/family.h"
#include "engine/model/safetensors.h"

enum { GGUF_WRITER_TENSORS = 256, W_U8 = 0, W_U32 = 4, W_I32 = 5, W_F32 = 6, W_BOOL = 7, W_STRING = 8, W_ARRAY = 9 };

struct gguf_writer {
  struct buffer pairs, infos, data;
  uint64_t n_pairs, n_tensors;
  uint32_t version;
  uint64_t alignment;
  struct sluice_error err;
};

static inline void gguf_begin(struct gguf_writer *w) {
  memset(w, 0, sizeof *w);
  w->version = 3;
  w->alignment = 32;
}

static inline void gguf_raw(struct gguf_writer *w, struct buffer *b, const void *bytes, size_t n) {
  buffer_append(b, bytes, n, &w->err);
}

static inline void gguf_number(struct gguf_writer *w, struct buffer *b, uint64_t v, size_t bytes) {
  gguf_raw(w, b, &v, bytes);
}

static inline void gguf_words(struct gguf_writer *w, struct buffer *b, struct slice s) {
  gguf_number(w, b, s.len, 8);
  gguf_raw(w, b, s.ptr, s.len);
}

static inline void gguf_key(struct gguf_writer *w, const char *key, uint32_t type) {
  gguf_words(w, &w->pairs, slice_of(key));
  gguf_number(w, &w->pairs, type, 4);
  w->n_pairs++;
}

static inline void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v) {
  gguf_key(w, key, W_U32);
  gguf_number(w, &w->pairs, v, 4);
}

static inline void gguf_put_f32(struct gguf_writer *w, const char *key, float v) {
  gguf_key(w, key, W_F32);
  gguf_raw(w, &w->pairs, &v, 4);
}

static inline void gguf_put_bool(struct gguf_writer *w, const char *key, bool v) {
  gguf_key(w, key, W_BOOL);
  gguf_number(w, &w->pairs, v, 1);
}

static inline void gguf_put_string(struct gguf_writer *w, const char *key, const char *v) {
  gguf_key(w, key, W_STRING);
  gguf_words(w, &w->pairs, slice_of(v));
}

static inline void gguf_put_array(struct gguf_writer *w, const char *key, uint32_t type, uint64_t n) {
  gguf_key(w, key, W_ARRAY);
  gguf_number(w, &w->pairs, type, 4);
  gguf_number(w, &w->pairs, n, 8);
}

/* cols 0: a vector. type is GGUF's number. */
static inline void gguf_put_tensor(struct gguf_writer *w, const char *name, uint32_t type, int rows, int cols,
                                   const void *data, size_t bytes) {
  while (w->data.len % w->alignment) gguf_number(w, &w->data, 0, 1);
  gguf_words(w, &w->infos, slice_of(name));
  gguf_number(w, &w->infos, cols ? 2 : 1, 4);
  if (cols) gguf_number(w, &w->infos, (uint64_t)cols, 8);
  gguf_number(w, &w->infos, (uint64_t)rows, 8);
  gguf_number(w, &w->infos, type, 4);
  gguf_number(w, &w->infos, w->data.len, 8);
  gguf_raw(w, &w->data, data, bytes);
  w->n_tensors++;
}

/* The whole file; the writer is empty afterwards. Caller frees. */
static inline char *gguf_finish(struct gguf_writer *w, size_t *len) {
  struct buffer out;
  buffer_init(&out, 0);
  gguf_raw(w, &out, "GGUF", 4);
  gguf_number(w, &out, w->version, 4);
  gguf_number(w, &out, w->n_tensors, 8);
  gguf_number(w, &out, w->n_pairs, 8);
  gguf_raw(w, &out, w->pairs.ptr, w->pairs.len);
  gguf_raw(w, &out, w->infos.ptr, w->infos.len);
  while (w->n_tensors && out.len % w->alignment) gguf_number(w, &out, 0, 1);
  gguf_raw(w, &out, w->data.ptr, w->data.len);
  buffer_free(&w->pairs), buffer_free(&w->infos), buffer_free(&w->data);
  return buffer_take(&out, len);
}

/* ---- a model as llama.cpp's converter writes it -------------------------------------------------------------------
 */

/* Rows of a head by neighbours: i and i + half become 2i and 2i + 1, as Llama's queries and keys are stored. */
static inline void gguf_pair_rows(const float *from, int heads, int head_dim, int cols, float *to) {
  for (int h = 0; h < heads; h++)
    for (int i = 0; i < head_dim; i++) {
      const int row = h * head_dim + (i < head_dim / 2 ? 2 * i : 2 * (i - head_dim / 2) + 1);
      memcpy(to + (size_t)row * (size_t)cols, from + (size_t)(h * head_dim + i) * (size_t)cols,
             (size_t)cols * sizeof *to);
    }
}

/* GPT-NeoX's rows, head by head in its folder: all of q, all of k, all of v. */
static inline void gguf_part_rows(const float *from, int heads, int head_dim, int cols, float *to) {
  const size_t block = (size_t)head_dim * (size_t)cols;
  for (size_t part = 0; part < 3; part++)
    for (size_t h = 0; h < (size_t)heads; h++)
      memcpy(to + (part * (size_t)heads + h) * block, from + (3 * h + part) * block, block * sizeof *to);
}

static inline const char *gguf_layer_name(const struct model_family *f, const char *name) {
  const struct outer_names *o = &outer_names[f->names], *g = &outer_names[NAMES_GGUF];
  if (o->fused_qkv && strcmp(name, o->fused_qkv) == 0) return g->fused_qkv;
  if (o->fused_qkv_bias && strcmp(name, o->fused_qkv_bias) == 0) return g->fused_qkv_bias;
  for (size_t i = 0; i < n_layer_parts; i++)
    if (layer_parts[i].name[f->names] && strcmp(layer_parts[i].name[f->names], name) == 0)
      return layer_parts[i].name[NAMES_GGUF];
  return NULL;
}

static inline void gguf_model_name(const struct model_family *f, const char *name, char *out, size_t cap) {
  const struct outer_names *o = &outer_names[f->names], *g = &outer_names[NAMES_GGUF];
  const size_t prefix = strcspn(o->layer_prefix, "%");
  if (strcmp(name, o->embedding) == 0)
    snprintf(out, cap, "%s", g->embedding);
  else if (strcmp(name, o->final_norm) == 0)
    snprintf(out, cap, "%s", g->final_norm);
  else if (o->final_norm_bias && strcmp(name, o->final_norm_bias) == 0)
    snprintf(out, cap, "%s", g->final_norm_bias);
  else if (strcmp(name, o->head) == 0)
    snprintf(out, cap, "%s", g->head);
  else {
    char *end;
    const long layer = strtol(name + prefix, &end, 10);
    snprintf(out, cap, "blk.%ld.%s", layer, gguf_layer_name(f, end + 1));
  }
}

static inline void gguf_put_float_tensor(struct gguf_writer *w, const struct model_config *c,
                                         const struct model_family *f, const struct tensor_source *t) {
  char name[96];
  const int cols = t->n_dims == 2 ? (int)t->shape[1] : 1, rows = (int)t->shape[0];
  const size_t bytes = (size_t)rows * (size_t)cols * sizeof(float);
  float *copy = malloc(bytes);
  memcpy(copy, t->data, bytes);
  gguf_model_name(f, t->name, name, sizeof name);
  if (strcmp(f->gguf, "llama") == 0 && strstr(name, "attn_q."))
    gguf_pair_rows(t->data, c->n_heads, c->head_dim, cols, copy);
  if (strcmp(f->gguf, "llama") == 0 && strstr(name, "attn_k."))
    gguf_pair_rows(t->data, c->n_kv_heads, c->head_dim, cols, copy);
  if (strstr(name, "attn_qkv.")) gguf_part_rows(t->data, c->n_heads, c->head_dim, cols, copy);
  gguf_put_tensor(w, name, 0, rows, t->n_dims == 2 ? cols : 0, copy, bytes);
  free(copy);
}

static inline void gguf_put_config(struct gguf_writer *w, const struct model_config *c, const char *family) {
  char key[96];
#define GGUF_KEY(name) (snprintf(key, sizeof key, "%s." name, family), key)
  gguf_put_string(w, "general.architecture", family);
  gguf_put_u32(w, GGUF_KEY("block_count"), (uint32_t)c->n_layers);
  gguf_put_u32(w, GGUF_KEY("embedding_length"), (uint32_t)c->d_model);
  gguf_put_u32(w, GGUF_KEY("feed_forward_length"), (uint32_t)c->d_ff);
  gguf_put_u32(w, GGUF_KEY("attention.head_count"), (uint32_t)c->n_heads);
  gguf_put_u32(w, GGUF_KEY("attention.head_count_kv"), (uint32_t)c->n_kv_heads);
  gguf_put_u32(w, GGUF_KEY("attention.key_length"), (uint32_t)c->head_dim);
  gguf_put_u32(w, GGUF_KEY("attention.value_length"), (uint32_t)c->head_dim);
  gguf_put_u32(w, GGUF_KEY("rope.dimension_count"), (uint32_t)c->rotary_dims);
  gguf_put_u32(w, GGUF_KEY("context_length"), (uint32_t)c->max_context);
  gguf_put_f32(w, GGUF_KEY("rope.freq_base"), (float)c->rope_theta);
  gguf_put_f32(
      w, c->norm == NORM_RMS ? GGUF_KEY("attention.layer_norm_rms_epsilon") : GGUF_KEY("attention.layer_norm_epsilon"),
      c->norm_eps);
  if (c->norm == NORM_LAYER) gguf_put_bool(w, GGUF_KEY("use_parallel_residual"), c->parallel_residual);
  if (c->window && c->window_from == 0) gguf_put_u32(w, GGUF_KEY("attention.sliding_window"), (uint32_t)c->window);
#undef GGUF_KEY
}

#endif
