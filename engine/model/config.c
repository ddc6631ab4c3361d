#include <cjson/cJSON.h>
#include <string.h>

#include "engine/model/config.h"

enum {
  MAX_LAYERS = 1024,
  MAX_WIDTH = 1 << 18, /* d_model, heads * head_dim and d_ff: products of two stay within 64 bits with room */
  MAX_VOCAB = 1 << 22,
  MAX_CONTEXT = 1 << 30
};

/* In these files null means "the default", as an absent key does. */
static void drop_nulls(cJSON *object) {
  for (cJSON *item = object->child, *next; item; item = next) {
    next = item->next;
    if (cJSON_IsNull(item)) cJSON_Delete(cJSON_DetachItemViaPointer(object, item));
  }
}

/* A configuration that was saved without a model has no architectures, but a model_type. */
static sluice_status check_architecture(const char *path, const cJSON *root, struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "architectures");
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(root, "model_type");
  if (!list && cJSON_IsString(type) && strcmp(type->valuestring, "llama") == 0) return SLUICE_OK;
  const cJSON *first = cJSON_IsArray(list) ? list->child : NULL;
  if (!cJSON_IsString(first))
    return sluice_fail(err, SLUICE_INPUT, "%s: architectures: expected [\"LlamaForCausalLM\"]", path);
  if (first->next || strcmp(first->valuestring, "LlamaForCausalLM") != 0)
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: architectures: \"%.80s\" is not done here; \"LlamaForCausalLM\" is", path,
                       first->valuestring);
  return SLUICE_OK;
}

/* Keys that would change the computation into one that the engine does not do, and the one value of each that does not.
 */
static sluice_status refuse_other_models(const char *path, const cJSON *root, struct sluice_error *err) {
  static const char *const must_be_false[] = {"attention_bias", "mlp_bias", "rope_interleaved", NULL};
  static const char *const must_be_absent[] = {"sliding_window", "quantization_config", NULL};
  for (size_t i = 0; must_be_false[i]; i++) {
    bool set = false;
    sluice_status st = json_bool(root, path, must_be_false[i], false, &set, err);
    if (st) return st;
    if (set) return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s: true is not done here", path, must_be_false[i]);
  }
  for (size_t i = 0; must_be_absent[i]; i++)
    if (cJSON_GetObjectItemCaseSensitive(root, must_be_absent[i]))
      return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s is not done here; only models without it are", path,
                         must_be_absent[i]);
  const char *act;
  sluice_status st = json_string(root, path, "hidden_act", false, "silu", &act, err);
  if (!st && strcmp(act, "silu") != 0)
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "%s: hidden_act: \"%.80s\" is not done here; \"silu\" is", path, act);
  return st;
}

static sluice_status refuse_partial_rotation(const char *where, const cJSON *object, struct sluice_error *err) {
  double rotary = 1;
  sluice_status st = json_double(object, where, "partial_rotary_factor", false, 1, &rotary, err);
  if (!st && rotary != 1)
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "%s: partial_rotary_factor: %g is not done here; 1 is", where, rotary);
  return st;
}

static sluice_status read_llama3(const char *where, const cJSON *object, struct rope_scaling *s,
                                 struct sluice_error *err) {
  sluice_status st = json_double(object, where, "low_freq_factor", true, 0, &s->low_freq_factor, err);
  if (!st) st = json_double(object, where, "high_freq_factor", true, 0, &s->high_freq_factor, err);
  if (!st) st = json_double(object, where, "original_max_position_embeddings", true, 0, &s->original_context, err);
  if (!st && !(s->low_freq_factor > 0 && s->high_freq_factor > s->low_freq_factor))
    st = sluice_fail(err, SLUICE_USAGE, "%s: expected 0 < low_freq_factor < high_freq_factor, found %g and %g", where,
                     s->low_freq_factor, s->high_freq_factor);
  if (!st && !(s->original_context >= 1 && s->original_context <= MAX_CONTEXT))
    st = sluice_fail(err, SLUICE_USAGE, "%s: original_max_position_embeddings: expected 1 to %d, found %g", where,
                     (int)MAX_CONTEXT, s->original_context);
  return st;
}

/* rope_scaling (transformers 4, where old files say "type") or rope_parameters (5), its nulls dropped. */
static sluice_status read_scaling(const char *where, const cJSON *object, struct rope_scaling *s,
                                  struct sluice_error *err) {
  const char *type = NULL;
  sluice_status st = json_string(object, where, "type", false, "default", &type, err);
  if (!st) st = json_string(object, where, "rope_type", false, type, &type, err);
  if (!st) st = refuse_partial_rotation(where, object, err);
  if (st || strcmp(type, "default") == 0) return st;
  if (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0)
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s.rope_type: \"%.80s\" is not done here; default, linear and llama3 are", where, type);
  s->type = strcmp(type, "linear") == 0 ? ROPE_LINEAR : ROPE_LLAMA3;
  st = json_double(object, where, "factor", true, 1, &s->factor, err);
  if (!st && !(s->factor >= 1 && s->factor <= 1e6))
    st = sluice_fail(err, SLUICE_USAGE, "%s: factor: expected 1 to 1e6, found %g", where, s->factor);
  return st || s->type == ROPE_LINEAR ? st : read_llama3(where, object, s, err);
}

/* rope_theta stands at the top, or in rope_parameters (transformers 5). */
static sluice_status read_rope(const char *path, cJSON *root, struct model_config *c, struct sluice_error *err) {
  static const char *const keys[] = {"rope_scaling", "rope_parameters"};
  sluice_status st = json_double(root, path, "rope_theta", false, 10000, &c->rope_theta, err);
  if (!st) st = refuse_partial_rotation(path, root, err);
  for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
    cJSON *object = cJSON_GetObjectItemCaseSensitive(root, keys[i]);
    char where[512];
    if (!object) continue;
    snprintf(where, sizeof where, "%.400s: %s", path, keys[i]);
    if (!cJSON_IsObject(object)) return sluice_fail(err, SLUICE_USAGE, "%s: expected an object or null", where);
    drop_nulls(object);
    st = read_scaling(where, object, &c->rope_scaling, err);
    if (!st) st = json_double(object, where, "rope_theta", false, c->rope_theta, &c->rope_theta, err);
  }
  if (!st && !(c->rope_theta >= 1 && c->rope_theta <= 1e12))
    st = sluice_fail(err, SLUICE_USAGE, "%s: rope_theta: expected 1 to 1e12, found %g", path, c->rope_theta);
  return st;
}

/* bos_token_id and eos_token_id: a whole number or, for several ends, a list whose first is taken. -1: none. */
static sluice_status read_token(const char *path, cJSON *root, const char *key, int vocab, int32_t *out,
                                struct sluice_error *err) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
  if (cJSON_IsArray(item)) item = item->child;
  *out = -1;
  if (!item) return SLUICE_OK;
  if (!cJSON_IsNumber(item) || item->valuedouble != (double)item->valueint || item->valueint < -1 ||
      item->valueint >= vocab)
    return sluice_fail(err, SLUICE_USAGE, "%s: %s: expected a token id of 0 to %d", path, key, vocab - 1);
  *out = item->valueint;
  return SLUICE_OK;
}

static sluice_status read_whole(const cJSON *root, const char *path, const char *key, int64_t fallback, int64_t max,
                                int *out, struct sluice_error *err) {
  int64_t value = 0; /* a fallback of 0: the key must be there */
  sluice_status st = json_int(root, path, key, fallback == 0, fallback, 1, max, &value, err);
  if (!st) *out = (int)value;
  return st;
}

static sluice_status read_shape(const char *path, const cJSON *root, struct model_config *c, struct sluice_error *err) {
  sluice_status st = read_whole(root, path, "hidden_size", 0, MAX_WIDTH, &c->d_model, err);
  if (!st) st = read_whole(root, path, "num_hidden_layers", 0, MAX_LAYERS, &c->n_layers, err);
  if (!st) st = read_whole(root, path, "num_attention_heads", 0, MAX_WIDTH, &c->n_heads, err);
  if (!st) st = read_whole(root, path, "num_key_value_heads", c->n_heads, MAX_WIDTH, &c->n_kv_heads, err);
  if (!st) st = read_whole(root, path, "intermediate_size", 0, MAX_WIDTH, &c->d_ff, err);
  if (!st) st = read_whole(root, path, "vocab_size", 0, MAX_VOCAB, &c->vocab, err);
  if (!st) st = read_whole(root, path, "max_position_embeddings", 2048, MAX_CONTEXT, &c->max_context, err);
  if (st) return st;
  if (!cJSON_GetObjectItemCaseSensitive(root, "head_dim") && c->d_model % c->n_heads != 0)
    return sluice_fail(err, SLUICE_USAGE, "%s: hidden_size %d is no multiple of num_attention_heads %d; give head_dim",
                       path, c->d_model, c->n_heads);
  int implied = c->d_model / c->n_heads;
  st = read_whole(root, path, "head_dim", implied ? implied : 1, MAX_WIDTH, &c->head_dim, err);
  if (st) return st;
  if (c->head_dim % 2 != 0 || (int64_t)c->head_dim * c->n_heads > MAX_WIDTH)
    return sluice_fail(err, SLUICE_USAGE, "%s: head_dim %d: expected an even number, and at most %d with %d heads",
                       path, c->head_dim, (int)MAX_WIDTH, c->n_heads);
  if (c->n_heads % c->n_kv_heads != 0)
    return sluice_fail(err, SLUICE_USAGE, "%s: num_attention_heads %d is no multiple of num_key_value_heads %d", path,
                       c->n_heads, c->n_kv_heads);
  return SLUICE_OK;
}

static sluice_status read_config(const char *path, cJSON *root, struct model_config *c, struct sluice_error *err) {
  if (!cJSON_IsObject(root)) return sluice_fail(err, SLUICE_INPUT, "%s: not a JSON object", path);
  drop_nulls(root);
  double eps = 0;
  sluice_status st = check_architecture(path, root, err);
  if (!st) st = refuse_other_models(path, root, err);
  if (!st) st = read_shape(path, root, c, err);
  if (!st) st = json_double(root, path, "rms_norm_eps", false, 1e-6, &eps, err);
  if (!st && !(eps > 0 && eps < 1))
    st = sluice_fail(err, SLUICE_USAGE, "%s: rms_norm_eps: expected more than 0 and less than 1, found %g", path, eps);
  if (!st) st = read_rope(path, root, c, err);
  if (!st) st = json_bool(root, path, "tie_word_embeddings", false, &c->tied, err);
  if (!st) st = read_token(path, root, "bos_token_id", c->vocab, &c->bos, err);
  if (!st) st = read_token(path, root, "eos_token_id", c->vocab, &c->eos, err);
  c->norm_eps = (float)eps;
  return st;
}

sluice_status model_config_read(const char *path, struct model_config *out, struct sluice_error *err) {
  cJSON *root = NULL;
  sluice_status st = json_read_file(path, false, &root, err);
  struct model_config config = {0};
  if (!st) st = read_config(path, root, &config, err);
  cJSON_Delete(root);
  if (!st) *out = config;
  return st;
}

void model_config_hash(const struct model_config *c, char hex[2 * SHA256_BYTES + 1]) {
  const struct rope_scaling *r = &c->rope_scaling;
  unsigned char digest[SHA256_BYTES];
  char text[640];
  int n = snprintf(text, sizeof text, "%d %d %d %d %d %d %d %.9g %.17g %d %d %d %d %.17g %.17g %.17g %.17g",
                   c->n_layers, c->d_model, c->n_heads, c->n_kv_heads, c->head_dim, c->d_ff, c->vocab,
                   (double)c->norm_eps, c->rope_theta, c->tied, c->bos, c->eos, (int)r->type, r->factor,
                   r->low_freq_factor, r->high_freq_factor, r->original_context);
  sha256(text, (size_t)n, digest);
  hex_of(digest, SHA256_BYTES, hex);
}
