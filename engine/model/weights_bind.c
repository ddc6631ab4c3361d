#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/family.h"
#include "engine/model/tensors.h"
#include "engine/model/weights.h"

/* Finds a tensor in whichever file has it, and checks its type and shape; cols 0: a vector. */
/* What says which tensors there should be, for messages. */
static const char *described_by(const struct model *m) {
  return m->names == NAMES_GGUF ? "the metadata" : "config.json";
}

static sluice_status find_tensor(const struct model *m, const char *name, int rows, int cols, const struct tensor **out,
                                 struct sluice_error *err) {
  const struct tensor *found = NULL;
  const char *path = m->files[0]->path;
  for (size_t i = 0; i < m->n_files; i++) {
    const struct tensor *t = tensors_find(m->files[i], name);
    if (t && found)
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\" is in %s too", m->files[i]->path, name, path);
    if (!t) continue;
    found = t;
    path = m->files[i]->path;
  }
  char wanted[64];
  if (cols)
    snprintf(wanted, sizeof wanted, "[%d, %d]", rows, cols);
  else
    snprintf(wanted, sizeof wanted, "[%d]", rows);
  if (!found)
    return sluice_fail(err, SLUICE_INPUT, "%s: no tensor \"%s\"; %s asks for one of shape %s", path, name,
                       described_by(m), wanted);
  if (!found->readable)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: tensor \"%s\" is %s; %s", path, name, found->dtype_text,
                       m->names == NAMES_GGUF ? GGUF_TYPES_READ " are read" : "F32, F16 and BF16 are read");
  bool fits = found->n_dims == (cols ? 2 : 1) && found->shape[0] == rows && (!cols || found->shape[1] == cols);
  if (!fits) {
    char has[160] = "";
    for (int i = 0; i < found->n_dims && strlen(has) < 120; i++)
      snprintf(has + strlen(has), sizeof has - strlen(has), "%s%lld", i ? ", " : "", (long long)found->shape[i]);
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\" has shape [%s]; %s asks for %s", path, name, has,
                       described_by(m), wanted);
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

/* Where vectors come to lie: each begins on a cache line. */
struct vector_space {
  float *next;
};

static size_t vector_floats(int n) {
  return ((size_t)n + 15) / 16 * 16;
}

/* Norms and biases are converted: they are small, and every kernel wants them as floats. */
static sluice_status bind_vector(struct model *m, const char *name, int n, struct vector_space *space,
                                 const float **out, struct sluice_error *err) {
  const struct tensor *t;
  float *into = space->next;
  sluice_status st = find_tensor(m, name, n, 0, &t, err);
  if (st) return st;
  if (dtype_is_quantised(t->dtype))
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: tensor \"%s\" is %s; vectors are read as F32, F16 or BF16", m->dir,
                       name, t->dtype_text);
  for (int i = 0; i < n; i++) {
    into[i] = dtype_to_float(t->data, t->dtype, (size_t)i);
    if (!isfinite(into[i]))
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\"[%d] is not a finite number", m->dir, name, i);
  }
  space->next += vector_floats(n);
  *out = into;
  m->parameters += (uint64_t)n;
  return SLUICE_OK;
}

/* ---- q, k and v in one matrix, gate and up in one -------------------------------------------------------------------
 * GPT-NeoX's folders go head by head: q of head 0, k of head 0, v of head 0, q of head 1, ... These rows are put in
 * order once, in memory of our own, so that everything behind this file knows three matrices. GGUF and Phi-3's folders
 * have them in order, and gate before up. */

static bool is_fused(const struct model *m, const struct layer_part *p) {
  static const size_t parts[] = {offsetof(struct layer_weights, wq), offsetof(struct layer_weights, wk),
                                 offsetof(struct layer_weights, wv), offsetof(struct layer_weights, bq),
                                 offsetof(struct layer_weights, bk), offsetof(struct layer_weights, bv)};
  for (size_t i = 0; m->fused_qkv && i < sizeof parts / sizeof *parts; i++)
    if (p->offset == parts[i]) return true;
  return m->fused_up &&
         (p->offset == offsetof(struct layer_weights, w_gate) || p->offset == offsetof(struct layer_weights, w_up));
}

/* Whether the file has this part as a tensor of its own. */
static bool is_separate(const struct model *m, const struct layer_part *p) {
  return p->name[m->names] && !is_fused(m, p) && layer_part_wanted(&m->config, p);
}

static sluice_status split_fused(struct model *m, int layer, const struct tensor *t, struct sluice_error *err) {
  const struct model_config *c = &m->config;
  struct layer_weights *l = &m->layers[layer];
  struct weight *const parts[3] = {&l->wq, &l->wk, &l->wv};
  const int rows[3] = {model_extent(c, EXTENT_QUERIES), model_extent(c, EXTENT_KEYS), model_extent(c, EXTENT_KEYS)};
  if (m->names != NAMES_NEOX) {
    const unsigned char *at = t->data;
    for (size_t i = 0; i < 3; i++) {
      *parts[i] = (struct weight){at, t->dtype, rows[i], c->d_model};
      at += (size_t)rows[i] * dtype_row_bytes(t->dtype, c->d_model);
    }
    return SLUICE_OK;
  }
  const size_t block = (size_t)c->head_dim * dtype_row_bytes(t->dtype, c->d_model), part = block * (size_t)c->n_heads;
  char *copy = sluice_alloc_aligned(3 * part);
  if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for layer %d", m->dir, layer);
  m->copies[layer] = copy;
  for (size_t i = 0; i < 3; i++) {
    *parts[i] = (struct weight){copy + i * part, t->dtype, rows[i], c->d_model};
    for (size_t h = 0; h < (size_t)c->n_heads; h++)
      memcpy(copy + i * part + h * block, t->data + (3 * h + i) * block, block);
  }
  return SLUICE_OK;
}

static sluice_status split_fused_bias(struct model *m, int layer, const char *name, struct vector_space *space,
                                      struct sluice_error *err) {
  const struct model_config *c = &m->config;
  struct layer_weights *l = &m->layers[layer];
  const float **const parts[3] = {&l->bq, &l->bk, &l->bv};
  const int n = model_extent(c, EXTENT_QUERIES), kv = model_extent(c, EXTENT_KEYS);
  const float *fused;
  if (m->names != NAMES_NEOX) { /* biases of whole cache lines stay where they are; alignment is no promise here */
    sluice_status found = bind_vector(m, name, n + 2 * kv, space, &fused, err);
    l->bq = fused, l->bk = fused + n, l->bv = fused + n + kv;
    return found;
  }
  sluice_status st = bind_vector(m, name, 3 * n, space, &fused, err); /* its room is given back below */
  float *copy = st ? NULL : malloc(3 * (size_t)n * sizeof *copy);
  if (st) return st;
  if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for layer %d", m->dir, layer);
  memcpy(copy, fused, 3 * (size_t)n * sizeof *copy);
  space->next -= vector_floats(3 * n);
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < n; j++) space->next[j] = copy[(j / c->head_dim * 3 + i) * c->head_dim + j % c->head_dim];
    *parts[i] = space->next;
    space->next += vector_floats(n);
  }
  free(copy);
  return SLUICE_OK;
}

static void layer_tensor_name(char *out, size_t cap, const struct model *m, int layer, const char *name) {
  const int n = snprintf(out, cap, outer_names[m->names].layer_prefix, layer);
  snprintf(out + n, cap - (size_t)n, "%s", name);
}

static sluice_status bind_fused_up(struct model *m, int layer, struct sluice_error *err) {
  const int ff = m->config.d_ff, cols = m->config.d_model;
  char name[96];
  struct weight both;
  layer_tensor_name(name, sizeof name, m, layer, outer_names[m->names].fused_up);
  sluice_status st = bind_weight(m, name, 2 * ff, cols, &both, err);
  if (st) return st;
  const unsigned char *up = (const unsigned char *)both.data + (size_t)ff * dtype_row_bytes(both.dtype, cols);
  m->layers[layer].w_gate = (struct weight){both.data, both.dtype, ff, cols};
  m->layers[layer].w_up = (struct weight){up, both.dtype, ff, cols};
  return SLUICE_OK;
}

static sluice_status bind_fused(struct model *m, int layer, struct vector_space *space, struct sluice_error *err) {
  const struct model_config *c = &m->config;
  char name[96];
  const struct tensor *t;
  const int rows = model_extent(c, EXTENT_QUERIES) + 2 * model_extent(c, EXTENT_KEYS);
  layer_tensor_name(name, sizeof name, m, layer, outer_names[m->names].fused_qkv);
  sluice_status st = find_tensor(m, name, rows, c->d_model, &t, err);
  if (!st) st = split_fused(m, layer, t, err);
  m->parameters += (uint64_t)rows * (uint64_t)c->d_model;
  layer_tensor_name(name, sizeof name, m, layer, outer_names[m->names].fused_qkv_bias);
  return st || !c->qkv_bias ? st : split_fused_bias(m, layer, name, space, err);
}

/* ---- layers -------------------------------------------------------------------------------------------------------
 */

static sluice_status bind_layer(struct model *m, int layer, struct vector_space *space, struct sluice_error *err) {
  const struct model_config *c = &m->config;
  sluice_status st = m->fused_qkv ? bind_fused(m, layer, space, err) : SLUICE_OK;
  if (!st && m->fused_up) st = bind_fused_up(m, layer, err);
  for (size_t i = 0; !st && i < n_layer_parts; i++) {
    const struct layer_part *p = &layer_parts[i];
    void *member = (char *)&m->layers[layer] + p->offset;
    char name[96];
    if (!is_separate(m, p)) continue;
    layer_tensor_name(name, sizeof name, m, layer, p->name[m->names]);
    const int rows = model_extent(c, p->rows);
    if (p->cols == EXTENT_ONE)
      st = bind_vector(m, name, rows, space, member, err);
    else
      st = bind_weight(m, name, rows, model_extent(c, p->cols), member, err);
  }
  return st;
}

/* Floats that all vectors take; a fused bias takes as much as its three parts, each rounded up. */
static size_t all_vector_floats(const struct model *m) {
  const struct model_config *c = &m->config;
  size_t layer = 0;
  for (size_t i = 0; i < n_layer_parts; i++)
    if (layer_parts[i].cols == EXTENT_ONE && layer_part_wanted(c, &layer_parts[i]))
      layer += vector_floats(model_extent(c, layer_parts[i].rows));
  return layer * (size_t)c->n_layers + 2 * vector_floats(c->d_model);
}

/* ---- what nothing reads -------------------------------------------------------------------------------------------
 */

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), k = strlen(end);
  return n >= k && strcmp(name + n - k, end) == 0;
}

/* Whether a layer of this model reads a tensor with this name behind the layer's prefix. */
static bool layer_reads(const struct model *m, const char *name) {
  const struct outer_names *outer = &outer_names[m->names];
  if (m->fused_qkv && strcmp(name, outer->fused_qkv) == 0) return true;
  if (m->fused_up && strcmp(name, outer->fused_up) == 0) return true;
  if (m->fused_qkv && m->config.qkv_bias && strcmp(name, outer->fused_qkv_bias) == 0) return true;
  for (size_t i = 0; i < n_layer_parts; i++) {
    const char *part = layer_parts[i].name[m->names];
    if (part && strcmp(name, part) == 0) return is_separate(m, &layer_parts[i]);
  }
  return false;
}

static bool is_read(const struct model *m, const char *name) {
  const struct outer_names *outer = &outer_names[m->names];
  const char *const whole[] = {outer->embedding, outer->final_norm, m->config.tied ? NULL : outer->head,
                               m->config.norm == NORM_LAYER ? outer->final_norm_bias : NULL};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    if (whole[i] && strcmp(name, whole[i]) == 0) return true;
  const size_t prefix = strcspn(outer->layer_prefix, "%");
  if (strncmp(name, outer->layer_prefix, prefix) != 0) return false;
  const char *digits = name + prefix;
  char *end;
  long index = strtol(digits, &end, 10);
  if (end == digits || *end != '.' || index < 0 || index >= m->config.n_layers) return false;
  return layer_reads(m, end + 1);
}

/* A tied head stored again, tables that old files keep (RoPE frequencies, GPT-NeoX's causal mask), and the divisors of
 * RoPE that the configuration has read. */
static bool is_harmless(const struct model *m, const char *name) {
  static const char *const ends[] = {".rotary_emb.inv_freq", ".attention.bias",           ".attention.masked_bias",
                                     "rope_freqs.weight",    "rope_factors_short.weight", "rope_factors_long.weight"};
  if (m->config.tied && strcmp(name, outer_names[m->names].head) == 0) return true;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (ends_with(name, ends[i])) return true;
  return false;
}

static size_t tensors_wanted(const struct model *m) {
  const struct model_config *c = &m->config;
  size_t layer = m->fused_qkv ? (c->qkv_bias ? 2 : 1) : 0;
  if (m->fused_up) layer++;
  for (size_t i = 0; i < n_layer_parts; i++) layer += is_separate(m, &layer_parts[i]);
  return layer * (size_t)c->n_layers + 2 + (c->tied ? 0 : 1) + (c->norm == NORM_LAYER ? 1 : 0);
}

/* A tensor that nothing reads (a bias, a layer past the last) means that this is another model than its configuration
 * says. */
static sluice_status refuse_leftovers(const struct model *m, struct sluice_error *err) {
  const size_t wanted = tensors_wanted(m);
  size_t present = 0;
  for (size_t f = 0; f < m->n_files; f++)
    for (size_t i = 0; i < m->files[f]->n; i++) {
      const char *name = m->files[f]->tensors[i].name;
      if (is_harmless(m, name)) continue;
      present++;
      if (!is_read(m, name))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: tensor \"%.120s\" is not part of the %s model that %s describes", m->files[f]->path,
                           name, m->config.family, described_by(m));
    }
  if (present != wanted) /* such as a layer's number written in two ways */
    return sluice_fail(err, SLUICE_INPUT, "%s: %zu tensors; %s asks for %zu", m->dir, present, described_by(m), wanted);
  return SLUICE_OK;
}

sluice_status weights_bind(struct model *m, struct sluice_error *err) {
  const struct model_config *c = &m->config;
  const struct outer_names *names = &outer_names[m->names];
  m->layers = calloc((size_t)c->n_layers, sizeof *m->layers);
  m->copies = calloc((size_t)c->n_layers, sizeof *m->copies);
  m->vectors = sluice_alloc_aligned(all_vector_floats(m) * sizeof *m->vectors);
  if (!m->layers || !m->vectors || !m->copies)
    return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %d layers", m->dir, c->n_layers);
  struct vector_space space = {m->vectors};
  sluice_status st = bind_weight(m, names->embedding, c->vocab, c->d_model, &m->embedding, err);
  for (int i = 0; !st && i < c->n_layers; i++) st = bind_layer(m, i, &space, err);
  if (!st) st = bind_vector(m, names->final_norm, c->d_model, &space, &m->final_norm, err);
  if (!st && c->norm == NORM_LAYER)
    st = bind_vector(m, names->final_norm_bias, c->d_model, &space, &m->final_norm_bias, err);
  if (!st && c->tied) m->lm_head = m->embedding;
  if (!st && !c->tied) {
    st = bind_weight(m, names->head, c->vocab, c->d_model, &m->lm_head, err);
    if (st == SLUICE_INPUT && m->names != NAMES_GGUF)
      st = sluice_fail_in(err, "tie_word_embeddings is false in config.json, or absent, which means the same");
  }
  return st ? st : refuse_leftovers(m, err);
}
