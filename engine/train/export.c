/* Parameters -> a Hugging Face folder that engine/model and transformers both open: bf16, stacked matrices cut apart.
 */
#include "engine/model/model.h"
#include "engine/model/safetensors.h"
#include "engine/train/train.h"

#include <stdlib.h>
#include <string.h>

enum { PER_LAYER = 9 };

struct export {
  struct tensor_source *tensors;
  size_t n;
  uint16_t *values; /* every parameter once, bf16 */
  struct arena names;
};

/* Round to nearest, ties to even. */
static uint16_t to_bf16(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static sluice_status add(struct export *e, int layer, const char *name, size_t at, int rows, int cols,
                         struct sluice_error *err) {
  char text[128];
  if (layer >= 0)
    snprintf(text, sizeof text, "model.layers.%d.%s.weight", layer, name);
  else
    snprintf(text, sizeof text, "model.%s.weight", name);
  char *kept = arena_strndup(&e->names, text, strlen(text));
  if (!kept) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  e->tensors[e->n++] = (struct tensor_source){
      .name = kept, .dtype = DTYPE_BF16, .n_dims = cols ? 2 : 1, .shape = {rows, cols}, .data = e->values + at};
  return SLUICE_OK;
}

static sluice_status add_layer(struct export *e, const struct net_shape *s, int i, struct sluice_error *err) {
  const struct net_layer *l = &s->layer[i];
  const int D = s->D, A = s->H * s->hd, K = s->KV * s->hd, F = s->F;
  const struct {
    const char *name;
    size_t at;
    int rows, cols;
  } parts[PER_LAYER] = {
      {"input_layernorm", l->norm1, D, 0},
      {"self_attn.q_proj", l->wqkv, A, D},
      {"self_attn.k_proj", l->wqkv + (size_t)A * (size_t)D, K, D},
      {"self_attn.v_proj", l->wqkv + (size_t)(A + K) * (size_t)D, K, D},
      {"self_attn.o_proj", l->wo, D, A},
      {"post_attention_layernorm", l->norm2, D, 0},
      {"mlp.gate_proj", l->wgu, F, D},
      {"mlp.up_proj", l->wgu + (size_t)F * (size_t)D, F, D},
      {"mlp.down_proj", l->wdown, D, F},
  };
  sluice_status st = SLUICE_OK;
  for (int k = 0; !st && k < PER_LAYER; k++)
    st = add(e, i, parts[k].name, parts[k].at, parts[k].rows, parts[k].cols, err);
  return st;
}

static sluice_status copy_file(const char *from, const char *dir, const char *name, struct sluice_error *err) {
  char *bytes, *to = sluice_format("%s/%s", dir, name);
  size_t len;
  if (!to) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  sluice_status st = file_read(from, 0, &bytes, &len, err);
  if (!st) {
    st = file_write_atomic(to, bytes, len, err);
    free(bytes);
  }
  free(to);
  return st;
}

static sluice_status write_weights(const char *dir, const struct export *e, struct sluice_error *err) {
  char *path = sluice_format("%s/model.safetensors", dir);
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  sluice_status st = safetensors_write(path, e->tensors, e->n, err);
  free(path);
  return st;
}

sluice_status train_export(const struct train_options *o, const struct net_shape *s, const float *params,
                           struct sluice_error *err) {
  struct export e = {.tensors = calloc((size_t)s->L * PER_LAYER + 2, sizeof *e.tensors),
                     .values = malloc(s->size * sizeof *e.values)};
  sluice_status st = e.tensors && e.values ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "out of memory");
  for (size_t i = 0; !st && i < s->size; i++) e.values[i] = to_bf16(params[i]);
  if (!st) st = add(&e, -1, "embed_tokens", s->embedding, s->V, s->D, err);
  for (int i = 0; !st && i < s->L; i++) st = add_layer(&e, s, i, err);
  if (!st) st = add(&e, -1, "norm", s->final_norm, s->D, 0, err);
  if (!st) st = write_weights(o->out, &e, err);
  if (!st) st = copy_file(o->config, o->out, "config.json", err);
  if (!st) st = copy_file(o->tokenizer, o->out, "tokenizer.json", err);
  free(e.tensors), free(e.values);
  arena_free(&e.names);
  return st;
}
