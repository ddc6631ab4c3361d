/* GGUF's metadata as a model_config. Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What the metadata
 * leaves open, the tensors tell: which biases there are, a tied head, q, k and v in one matrix. */
#include <math.h>
#include <string.h>

#include "engine/model/config.h"
#include "engine/model/family.h"
#include "engine/model/gguf.h"

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 18, MAX_VOCAB = 1 << 22, MAX_CONTEXT = 1 << 30 };

struct reader {
  const struct gguf *g;
  const struct model *m; /* the tensors of all parts */
  const struct model_family *family;
  char key[128];
};

/* "llama.block_count" for "block_count". */
static const char *key_of(struct reader *r, const char *name) {
  snprintf(r->key, sizeof r->key, "%s.%s", r->family->gguf, name);
  return r->key;
}

static sluice_status find_family(struct reader *r, struct sluice_error *err) {
  struct slice name;
  sluice_status st = gguf_string(r->g, "general.architecture", &name, err);
  if (st) return st;
  for (const struct model_family *f = model_families; f->name; f++)
    if (name.ptr && slice_is(name, f->gguf)) {
      r->family = f;
      return SLUICE_OK;
    }
  char choices[256];
  model_family_choices(offsetof(struct model_family, gguf), choices, sizeof choices);
  return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: general.architecture: \"%.*s\" is not done here; these are: %s",
                     gguf_path(r->g), (int)(name.len < 80 ? name.len : 80), name.ptr ? name.ptr : "", choices);
}

static sluice_status read_int(struct reader *r, const char *name, int fallback, int max, int *out,
                              struct sluice_error *err) {
  int64_t v = 0;
  sluice_status st = gguf_whole(r->g, key_of(r, name), fallback == 0, fallback, 1, max, &v, err);
  if (!st) *out = (int)v;
  return st;
}

static const struct tensor *tensor(const struct reader *r, const char *name) {
  const struct tensor *found = NULL;
  for (size_t i = 0; i < r->m->n_files && !found; i++) found = tensors_find(r->m->files[i], name);
  return found;
}

static sluice_status read_vocab(struct reader *r, struct model_config *c, struct sluice_error *err) {
  const struct tensor *embedding = tensor(r, outer_names[NAMES_GGUF].embedding);
  if (!embedding || embedding->n_dims != 2 || embedding->shape[0] < 1 || embedding->shape[0] > MAX_VOCAB)
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\": expected a matrix of 1 to %d rows%s", gguf_path(r->g),
                       outer_names[NAMES_GGUF].embedding, (int)MAX_VOCAB,
                       embedding ? "" : "; there is none, so this file holds no model (a vocabulary alone?)");
  c->vocab = (int)embedding->shape[0];
  return SLUICE_OK;
}

static sluice_status read_shape(struct reader *r, struct model_config *c, struct sluice_error *err) {
  int64_t experts = 0;
  int value_dim = 0;
  sluice_status st = gguf_whole(r->g, key_of(r, "expert_count"), false, 0, 0, MAX_WIDTH, &experts, err);
  if (!st && experts)
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "%s: key %s: mixtures of experts are not done here", gguf_path(r->g),
                     r->key);
  if (!st) st = read_vocab(r, c, err);
  if (!st) st = read_int(r, "block_count", 0, MAX_LAYERS, &c->n_layers, err);
  if (!st) st = read_int(r, "embedding_length", 0, MAX_WIDTH, &c->d_model, err);
  if (!st) st = read_int(r, "feed_forward_length", 0, MAX_WIDTH, &c->d_ff, err);
  if (!st) st = read_int(r, "attention.head_count", 0, MAX_WIDTH, &c->n_heads, err);
  if (!st) st = read_int(r, "attention.head_count_kv", c->n_heads, MAX_WIDTH, &c->n_kv_heads, err);
  if (!st) st = read_int(r, "context_length", r->family->max_context, MAX_CONTEXT, &c->max_context, err);
  if (st) return st;
  const int implied = c->d_model / c->n_heads ? c->d_model / c->n_heads : 1;
  st = read_int(r, "attention.key_length", implied, MAX_WIDTH, &c->head_dim, err);
  if (!st) st = read_int(r, "attention.value_length", c->head_dim, MAX_WIDTH, &value_dim, err);
  if (!st) st = read_int(r, "rope.dimension_count", c->head_dim, MAX_WIDTH, &c->rotary_dims, err);
  if (st) return st;
  if (value_dim != c->head_dim || c->head_dim % 2 != 0 || (int64_t)c->head_dim * c->n_heads > MAX_WIDTH ||
      c->n_heads % c->n_kv_heads != 0 || c->rotary_dims > c->head_dim || c->rotary_dims % 2 != 0)
    return sluice_fail(
        err, SLUICE_UNSUPPORTED,
        "%s: %s.attention: %d heads (%d for keys and values) of %d and %d numbers, %d of them rotated, are "
        "not done here",
        gguf_path(r->g), r->family->gguf, c->n_heads, c->n_kv_heads, c->head_dim, value_dim, c->rotary_dims);
  return SLUICE_OK;
}

/* llama.cpp's rule: as transformers', scores also times what the file or its author found better. */
static sluice_status read_yarn(struct reader *r, struct rope_scaling *s, int context, struct sluice_error *err) {
  double by_author = 1;
  s->type = ROPE_YARN, s->beta_fast = 32, s->beta_slow = 1, s->whole_ramp = true;
  sluice_status st =
      gguf_real(r->g, key_of(r, "rope.scaling.original_context_length"), false, context, &s->original_context, err);
  if (!st && !(s->original_context >= 1 && s->original_context <= MAX_CONTEXT))
    return sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected 1 to %d, found %g", gguf_path(r->g), r->key,
                       (int)MAX_CONTEXT, s->original_context);
  if (!st) st = gguf_real(r->g, key_of(r, "rope.scaling.yarn_beta_fast"), false, 32, &s->beta_fast, err);
  if (!st) st = gguf_real(r->g, key_of(r, "rope.scaling.yarn_beta_slow"), false, 1, &s->beta_slow, err);
  if (!st && !(s->beta_slow > 0 && s->beta_fast > s->beta_slow && s->beta_fast <= 1e6))
    return sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected more than 0 and less than yarn_beta_fast, %g, found %g",
                       gguf_path(r->g), r->key, s->beta_fast, s->beta_slow);
  if (!st) st = gguf_real(r->g, key_of(r, "rope.scaling.attn_factor"), false, 1, &by_author, err);
  if (!st) st = gguf_real(r->g, key_of(r, "rope.scaling.yarn_attn_factor"), false, by_author, &by_author, err);
  if (!st && !(by_author > 0 && by_author <= 1e2))
    return sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected more than 0 and at most 100, found %g", gguf_path(r->g),
                       r->key, by_author);
  s->attention = by_author * (1 + 0.1 * log(s->factor));
  return st;
}

static sluice_status read_rope(struct reader *r, struct model_config *c, struct sluice_error *err) {
  struct slice type;
  double factor = 1;
  sluice_status st = gguf_real(r->g, key_of(r, "rope.freq_base"), false, 10000, &c->rope_theta, err);
  if (!st && !(c->rope_theta >= 1 && c->rope_theta <= 1e12))
    st = sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected 1 to 1e12, found %g", gguf_path(r->g), r->key,
                     c->rope_theta);
  if (!st) st = gguf_real(r->g, key_of(r, "rope.scale_linear"), false, 1, &factor, err); /* as old files say it */
  if (!st) st = gguf_real(r->g, key_of(r, "rope.scaling.factor"), false, factor, &factor, err);
  if (!st) st = gguf_string(r->g, key_of(r, "rope.scaling.type"), &type, err);
  if (st) return st;
  const bool yarn = type.ptr && slice_is(type, "yarn"), linear = !type.ptr ? factor != 1 : slice_is(type, "linear");
  if (type.ptr && !linear && !yarn && !slice_is(type, "none") && !slice_is(type, "longrope"))
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: key %s: \"%.*s\" is not done here; none, linear, yarn and longrope are", gguf_path(r->g),
                       r->key, (int)(type.len < 40 ? type.len : 40), type.ptr);
  if ((linear || yarn) && !(factor >= 1 && factor <= 1e6))
    return sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected 1 to 1e6, found %g", gguf_path(r->g),
                       key_of(r, "rope.scaling.factor"), factor);
  if (linear) c->rope_scaling = (struct rope_scaling){.type = ROPE_LINEAR, .factor = factor};
  c->rope_scaling.factor = linear || yarn ? factor : 0;
  if (yarn) st = read_yarn(r, &c->rope_scaling, c->max_context, err);
  return st ? st : model_config_check_rope(gguf_path(r->g), c, err);
}

/* LongRoPE's short factors hold for texts within the first training's context; so a longer one is not taken. */
static sluice_status read_longrope(struct reader *r, struct model_config *c, struct sluice_error *err) {
  struct rope_scaling *s = &c->rope_scaling;
  int64_t original = 0;
  *s = (struct rope_scaling){.type = ROPE_LONG, .factor = 1};
  sluice_status st = gguf_whole(r->g, key_of(r, "rope.scaling.original_context_length"), false, c->max_context, 1,
                                MAX_CONTEXT, &original, err);
  if (!st) st = gguf_real(r->g, key_of(r, "rope.scaling.attn_factor"), false, 1, &s->attention, err);
  if (!st && !(s->attention > 0 && s->attention <= 1e2))
    st = sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected more than 0 and at most 100, found %g", gguf_path(r->g),
                     r->key, s->attention);
  s->original_context = (double)original;
  if (original < c->max_context) c->max_context = (int)original;
  return st;
}

/* Llama 3.1's scaling and LongRoPE's come as a vector: what each frequency is divided by. It points into the mapping.
 */
static sluice_status read_divisors(struct reader *r, struct model_config *c, struct sluice_error *err) {
  const struct tensor *t = tensor(r, "rope_freqs.weight"), *short_ones = tensor(r, "rope_factors_short.weight");
  if (short_ones) {
    const sluice_status st = read_longrope(r, c, err);
    if (st) return st;
    t = short_ones;
  }
  if (!t) return SLUICE_OK;
  if (t->n_dims != 1 || t->shape[0] != c->rotary_dims / 2 || t->dtype != DTYPE_F32 || !t->readable)
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\": expected %d numbers of F32", gguf_path(r->g), t->name,
                       c->rotary_dims / 2);
  c->rope_divisors = (const float *)(const void *)t->data; /* gguf_open: aligned to 8 bytes at least */
  for (int i = 0; i < c->rotary_dims / 2; i++)
    if (!(c->rope_divisors[i] >= 1e-6f && c->rope_divisors[i] <= 1e6f))
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%s\"[%d]: expected 1e-6 to 1e6, found %g", gguf_path(r->g),
                         t->name, i, (double)c->rope_divisors[i]);
  return SLUICE_OK;
}

static sluice_status read_block(struct reader *r, struct model_config *c, struct sluice_error *err) {
  const struct model_family *f = r->family;
  double eps = 0;
  int64_t window = 0;
  c->family = f->name;
  c->norm = f->norm, c->activation = f->activation, c->plain_ffn = f->plain_ffn, c->qk_norm = f->qk_norm;
  c->parallel_residual = f->parallel_residual;
  c->rotary_neighbours = f->names == NAMES_LLAMA && strcmp(f->gguf, "llama") == 0;
  c->qkv_bias = tensor(r, "blk.0.attn_q.bias") || tensor(r, "blk.0.attn_qkv.bias");
  c->o_bias = tensor(r, "blk.0.attn_output.bias");
  c->ffn_bias = tensor(r, "blk.0.ffn_up.bias");
  c->tied = !tensor(r, outer_names[NAMES_GGUF].head);
  const char *eps_key = f->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
  sluice_status st = gguf_real(r->g, key_of(r, eps_key), false, f->eps, &eps, err);
  if (!st && !(eps > 0 && eps < 1))
    st = sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected more than 0 and less than 1, found %g", gguf_path(r->g),
                     r->key, eps);
  c->norm_eps = (float)eps;
  if (!st && f->parallel_residual)
    st = gguf_flag(r->g, key_of(r, "use_parallel_residual"), true, &c->parallel_residual, err);
  if (!st) st = gguf_whole(r->g, key_of(r, "attention.sliding_window"), false, 0, 0, MAX_CONTEXT, &window, err);
  c->window = (int)window;
  return st;
}

static sluice_status read_token(const struct gguf *g, const char *key, int vocab, int32_t *out,
                                struct sluice_error *err) {
  int64_t id = -1;
  sluice_status st = gguf_whole(g, key, false, -1, -1, vocab - 1, &id, err);
  *out = (int32_t)id;
  return st;
}

sluice_status gguf_config_read(struct model *m, struct sluice_error *err) {
  const struct gguf *g = m->gguf;
  struct reader r = {.g = g, .m = m};
  struct model_config c = {0};
  sluice_status st = find_family(&r, err);
  if (!st) st = read_shape(&r, &c, err);
  if (!st) st = read_block(&r, &c, err);
  if (!st) st = read_rope(&r, &c, err);
  if (!st) st = read_divisors(&r, &c, err);
  if (!st) st = read_token(g, "tokenizer.ggml.bos_token_id", c.vocab, &c.bos, err);
  if (!st) st = read_token(g, "tokenizer.ggml.eos_token_id", c.vocab, &c.eos, err);
  static const char *const ends[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  for (size_t i = 0; !st && i < sizeof ends / sizeof *ends; i++) {
    int32_t id = -1;
    st = read_token(g, ends[i], c.vocab, &id, err);
    model_config_ends(&c, id);
  }
  if (st) return st;
  m->fused_qkv = tensor(&r, "blk.0.attn_qkv.weight") != NULL;
  m->fused_up = r.family->fused_up && !tensor(&r, "blk.0.ffn_gate.weight");
  m->config = c;
  return SLUICE_OK;
}
