#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/safetensors.h"
#include "engine/model/weights.h"

/* Finds a tensor in whichever file has it, and checks its type and shape; cols 0: a vector. */
static sluice_status find_tensor(const struct model *m, const char *name, int rows, int cols, const struct tensor **out,
                                 struct sluice_error *err) {
  const struct tensor *found = NULL;
  const char *path = safetensors_path(m->files[0]);
  for (size_t i = 0; i < m->n_files; i++) {
    const struct tensor *t = safetensors_find(m->files[i], name);
    if (t && found)
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\" is in %s too", safetensors_path(m->files[i]), name,
                         path);
    if (!t) continue;
    found = t;
    path = safetensors_path(m->files[i]);
  }
  char wanted[64];
  if (cols)
    snprintf(wanted, sizeof wanted, "[%d, %d]", rows, cols);
  else
    snprintf(wanted, sizeof wanted, "[%d]", rows);
  if (!found)
    return sluice_fail(err, SLUICE_INPUT, "%s: no tensor \"%s\"; config.json asks for one of shape %s", path, name,
                       wanted);
  if (!found->readable)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: tensor \"%s\" is %s; F32, F16 and BF16 are read", path, name,
                       found->dtype_text);
  bool fits = found->n_dims == (cols ? 2 : 1) && found->shape[0] == rows && (!cols || found->shape[1] == cols);
  if (!fits) {
    char has[160] = "";
    for (int i = 0; i < found->n_dims && strlen(has) < 120; i++)
      snprintf(has + strlen(has), sizeof has - strlen(has), "%s%lld", i ? ", " : "", (long long)found->shape[i]);
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\" has shape [%s]; config.json asks for %s", path, name, has,
                       wanted);
  }
  *out = found;
  return SLUICE_OK;
}

static sluice_status bind_weight(struct model *m, const char *name, int rows, int cols, struct weight *out,
                                 struct sluice_error *err) {
  const struct tensor *t;
  sluice_status st = find_tensor(m, name, rows, cols, &t, err);
  if (st) return st;
  *out = (struct weight){t->data, t->dtype, rows, cols};
  m->parameters += (uint64_t)rows * (uint64_t)cols;
  return SLUICE_OK;
}

/* Norm vectors are converted: they are small, and every kernel wants them as floats. */
static sluice_status bind_norm(struct model *m, const char *name, float *into, const float **out,
                               struct sluice_error *err) {
  const struct tensor *t;
  int n = m->config.d_model;
  sluice_status st = find_tensor(m, name, n, 0, &t, err);
  if (st) return st;
  for (int i = 0; i < n; i++) {
    into[i] = dtype_to_float(t->data, t->dtype, (size_t)i);
    if (!isfinite(into[i]))
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\"[%d] is not a finite number", m->dir, name, i);
  }
  *out = into;
  m->parameters += (uint64_t)n;
  return SLUICE_OK;
}

static sluice_status bind_layer(struct model *m, int index, float *norms, size_t stride, struct sluice_error *err) {
  const struct model_config *c = &m->config;
  struct layer_weights *l = &m->layers[index];
  int q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
  const struct {
    const char *name;
    int rows, cols;
    struct weight *weight;
  } parts[] = {
      {"self_attn.q_proj", q, c->d_model, &l->wq},        {"self_attn.k_proj", kv, c->d_model, &l->wk},
      {"self_attn.v_proj", kv, c->d_model, &l->wv},       {"self_attn.o_proj", c->d_model, q, &l->wo},
      {"mlp.gate_proj", c->d_ff, c->d_model, &l->w_gate}, {"mlp.up_proj", c->d_ff, c->d_model, &l->w_up},
      {"mlp.down_proj", c->d_model, c->d_ff, &l->w_down},
  };
  char name[96];
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < sizeof parts / sizeof *parts; i++) {
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", index, parts[i].name);
    st = bind_weight(m, name, parts[i].rows, parts[i].cols, parts[i].weight, err);
  }
  snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", index);
  if (!st) st = bind_norm(m, name, norms, &l->attn_norm, err);
  snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight", index);
  return st ? st : bind_norm(m, name, norms + stride, &l->ffn_norm, err);
}

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), k = strlen(end);
  return n >= k && strcmp(name + n - k, end) == 0;
}

/* Whether a Llama model with this configuration reads a tensor of this name. */
static bool is_read(const struct model_config *c, const char *name) {
  static const char *const whole[] = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};
  static const char *const layer[] = {
      "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight",
      "self_attn.o_proj.weight", "mlp.gate_proj.weight",    "mlp.up_proj.weight",
      "mlp.down_proj.weight",    "input_layernorm.weight",  "post_attention_layernorm.weight"};
  static const char prefix[] = "model.layers.";
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    if (strcmp(name, whole[i]) == 0) return true;
  if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
  const char *digits = name + sizeof prefix - 1;
  char *end;
  long index = strtol(digits, &end, 10);
  if (end == digits || *end != '.' || index < 0 || index >= c->n_layers) return false;
  for (size_t i = 0; i < sizeof layer / sizeof *layer; i++)
    if (strcmp(end + 1, layer[i]) == 0) return true;
  return false;
}

/* A tensor that nothing reads (a bias, a layer past the last) means that this is another model than config.json says.
 * Two kinds are harmless: a tied head stored again, and old files' table of RoPE frequencies. */
static sluice_status refuse_leftovers(const struct model *m, struct sluice_error *err) {
  size_t wanted = 2 + 9 * (size_t)m->config.n_layers + (m->config.tied ? 0 : 1), present = 0;
  for (size_t f = 0; f < m->n_files; f++)
    for (size_t i = 0; i < safetensors_count(m->files[f]); i++) {
      const char *name = safetensors_at(m->files[f], i)->name;
      if (ends_with(name, ".rotary_emb.inv_freq") || (m->config.tied && strcmp(name, "lm_head.weight") == 0)) continue;
      present++;
      if (!is_read(&m->config, name))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: tensor \"%.120s\" is not part of the Llama model that config.json describes",
                           safetensors_path(m->files[f]), name);
    }
  if (present != wanted) /* such as a layer's number written in two ways */
    return sluice_fail(err, SLUICE_INPUT, "%s: %zu tensors; config.json asks for %zu", m->dir, present, wanted);
  return SLUICE_OK;
}

sluice_status weights_bind(struct model *m, struct sluice_error *err) {
  const struct model_config *c = &m->config;
  size_t stride = ((size_t)c->d_model + 15) / 16 * 16; /* each vector begins on a cache line */
  m->layers = calloc((size_t)c->n_layers, sizeof *m->layers);
  m->norms = sluice_alloc_aligned((2 * (size_t)c->n_layers + 1) * stride * sizeof *m->norms);
  if (!m->layers || !m->norms)
    return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %d layers", m->dir, c->n_layers);
  sluice_status st = bind_weight(m, "model.embed_tokens.weight", c->vocab, c->d_model, &m->embedding, err);
  for (int i = 0; !st && i < c->n_layers; i++) st = bind_layer(m, i, m->norms + 2 * stride * (size_t)i, stride, err);
  if (!st) st = bind_norm(m, "model.norm.weight", m->norms + 2 * stride * (size_t)c->n_layers, &m->final_norm, err);
  if (!st && c->tied) m->lm_head = m->embedding;
  if (!st && !c->tied) {
    st = bind_weight(m, "lm_head.weight", c->vocab, c->d_model, &m->lm_head, err);
    if (st == SLUICE_INPUT)
      st = sluice_fail_in(err, "tie_word_embeddings is false in config.json, or absent, which means the same");
  }
  return st ? st : refuse_leftovers(m, err);
}
