#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "engine/model/config.h"
#include "engine/model/family.h"

enum {
  MAX_LAYERS = 1024,
  MAX_WIDTH = 1 << 18, /* d_model, heads * head_dim and d_ff: products of two stay within 64 bits with room */
  MAX_VOCAB = 1 << 22,
  MAX_CONTEXT = 1 << 30
};

/* Keys whose absence means the family's default, while null means "none" or "as implied". */
struct absent_keys {
  bool window, kv_heads, head_dim;
};

/* For all other keys null means the default, as an absent key does. */
static void drop_nulls(cJSON *object) {
  for (cJSON *item = object->child, *next; item; item = next) {
    next = item->next;
    if (cJSON_IsNull(item)) cJSON_Delete(cJSON_DetachItemViaPointer(object, item));
  }
}

/* The family by class, or by model_type where no class is named: a configuration that was saved without a model. */
static sluice_status find_family(const char *path, const cJSON *root, const struct model_family **out,
                                 struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "architectures");
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(root, "model_type");
  const cJSON *named = list ? (cJSON_IsArray(list) ? list->child : NULL) : type;
  char choices[256];
  model_family_choices(list ? offsetof(struct model_family, architecture) : offsetof(struct model_family, name),
                       choices, sizeof choices);
  if (!cJSON_IsString(named))
    return sluice_fail(err, SLUICE_INPUT, "%s: architectures: expected a list of one of %s", path, choices);
  for (const struct model_family *f = model_families; f->name && !(list && named->next); f++)
    if (strcmp(named->valuestring, list ? f->architecture : f->name) == 0) {
      *out = f;
      return SLUICE_OK;
    }
  return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s: \"%.80s\" is not done here; these are: %s", path,
                     list ? "architectures" : "model_type", named->valuestring, choices);
}

static sluice_status refuse_other_models(const char *path, const cJSON *root, struct sluice_error *err) {
  bool interleaved = false;
  if (cJSON_GetObjectItemCaseSensitive(root, "quantization_config"))
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: quantization_config is not done here; take the model's F16 or BF16 folder, or a GGUF file",
                       path);
  sluice_status st = json_bool(root, path, "rope_interleaved", false, &interleaved, err);
  if (!st && interleaved)
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "%s: rope_interleaved: true is not done here", path);
  return st;
}

static sluice_status read_activation(const char *path, const cJSON *root, const struct model_family *f,
                                     struct model_config *c, struct sluice_error *err) {
  static const struct {
    const char *name;
    enum activation activation;
  } known[] = {{"silu", ACTIVATION_SILU},           {"swish", ACTIVATION_SILU},
               {"gelu", ACTIVATION_GELU},           {"gelu_new", ACTIVATION_GELU_TANH},
               {"gelu_fast", ACTIVATION_GELU_TANH}, {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH}};
  const char *name;
  sluice_status st = json_string(root, path, "hidden_act", false, NULL, &name, err);
  c->activation = f->activation;
  if (st || !name) return st;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(known[i].name, name) != 0) continue;
    if (!f->plain_ffn && known[i].activation != ACTIVATION_SILU) break;
    c->activation = known[i].activation;
    return SLUICE_OK;
  }
  return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: hidden_act: \"%.80s\" is not done here; %s", path, name,
                     f->plain_ffn ? "silu, gelu, gelu_new, gelu_fast and gelu_pytorch_tanh are" : "\"silu\" is");
}

static sluice_status read_biases(const char *path, const cJSON *root, const struct model_family *f,
                                 struct model_config *c, struct sluice_error *err) {
  bool attention = f->o_bias;
  sluice_status st = SLUICE_OK;
  c->qkv_bias = f->qkv_bias, c->o_bias = f->o_bias, c->ffn_bias = f->ffn_bias;
  if (f->bias_is_a_choice) {
    st = json_bool(root, path, "attention_bias", f->o_bias, &attention, err);
    c->qkv_bias = c->o_bias = attention;
  }
  if (!st && f->ffn_bias_is_a_choice) st = json_bool(root, path, "mlp_bias", f->ffn_bias, &c->ffn_bias, err);
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
  return st;
}

static sluice_status check_original(const char *where, const struct rope_scaling *s, struct sluice_error *err) {
  if (s->type == ROPE_LINEAR || (s->original_context >= 1 && s->original_context <= MAX_CONTEXT)) return SLUICE_OK;
  return sluice_fail(err, SLUICE_USAGE, "%s: original_max_position_embeddings: expected 1 to %d, found %g", where,
                     (int)MAX_CONTEXT, s->original_context);
}

/* The number of a key; 0, as an absent one, means the default, as in transformers. */
static sluice_status read_or(const char *where, const cJSON *object, const char *key, double fallback, double *out,
                             struct sluice_error *err) {
  sluice_status st = json_double(object, where, key, false, fallback, out, err);
  if (!st && *out == 0) *out = fallback;
  return st;
}

static double yarn_attention(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

/* Keys and defaults as in transformers 5. `context`: max_position_embeddings. */
static sluice_status read_yarn(const char *where, const cJSON *object, int context, struct rope_scaling *s,
                               struct sluice_error *err) {
  double attention = 0, mscale = 0, all = 0;
  sluice_status st = read_or(where, object, "original_max_position_embeddings", context, &s->original_context, err);
  if (!st) st = read_or(where, object, "factor", context / s->original_context, &s->factor, err);
  if (!st) st = read_or(where, object, "beta_fast", 32, &s->beta_fast, err);
  if (!st) st = read_or(where, object, "beta_slow", 1, &s->beta_slow, err);
  if (!st) st = read_or(where, object, "mscale", 0, &mscale, err);
  if (!st) st = read_or(where, object, "mscale_all_dim", 0, &all, err);
  if (!st) st = read_or(where, object, "attention_factor", 0, &attention, err);
  if (!st) st = json_bool(object, where, "truncate", true, &s->whole_ramp, err);
  if (st) return st;
  s->attention = attention != 0            ? attention
                 : mscale != 0 && all != 0 ? yarn_attention(s->factor, mscale) / yarn_attention(s->factor, all)
                                           : yarn_attention(s->factor, 1);
  if (!(s->attention > 0 && s->attention <= 1e3))
    return sluice_fail(err, SLUICE_USAGE,
                       "%s: attention_factor, mscale, mscale_all_dim: a factor of %g; expected more "
                       "than 0 and at most 1000",
                       where, s->attention);
  if (!(s->beta_slow > 0 && s->beta_fast > s->beta_slow && s->beta_fast <= 1e6))
    return sluice_fail(err, SLUICE_USAGE, "%s: expected 0 < beta_slow < beta_fast, found %g and %g", where,
                       s->beta_slow, s->beta_fast);
  return SLUICE_OK;
}

static sluice_status read_factors(const char *where, const cJSON *list, struct model_config *c,
                                  struct sluice_error *err) {
  const cJSON *item;
  int n = 0;
  if (!cJSON_IsArray(list)) return sluice_fail(err, SLUICE_USAGE, "%s: short_factor: expected a list", where);
  cJSON_ArrayForEach(item, list) {
    const double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
    if (n == ROPE_FACTORS_MAX)
      return sluice_fail(err, SLUICE_LIMIT, "%s: short_factor: more than %d factors", where, (int)ROPE_FACTORS_MAX);
    if (!(value >= 1e-6 && value <= 1e6))
      return sluice_fail(err, SLUICE_USAGE, "%s: short_factor[%d]: expected a number of 1e-6 to 1e6", where, n);
    c->rope_factors[n++] = (float)value;
  }
  c->n_rope_factors = n; /* model_config_check_rope knows how many there must be */
  return SLUICE_OK;
}

/* The short factors hold for texts within the first training's context, the long ones from their first token on for
 * longer texts; nobody knows beforehand how long a text will be, so only the first are done. */
static sluice_status read_longrope(const char *where, const cJSON *object, const cJSON *root, struct model_config *c,
                                   struct sluice_error *err) {
  static const char key[] = "original_max_position_embeddings";
  struct rope_scaling *s = &c->rope_scaling;
  double attention = 0;
  s->factor = 1;
  const bool above = cJSON_HasObjectItem(root, key); /* Phi-3 has it there, and then no factor counts */
  sluice_status st = read_or(where, above ? root : object, key, c->max_context, &s->original_context, err);
  if (st) return st;
  if (!(s->original_context >= 1)) return SLUICE_OK; /* refused by check_original */
  s->factor = c->max_context / s->original_context;
  if (!above) st = read_or(where, object, "factor", s->factor, &s->factor, err);
  if (!st) st = read_or(where, object, "attention_factor", 0, &attention, err);
  if (!st) st = read_factors(where, cJSON_GetObjectItemCaseSensitive(object, "short_factor"), c, err);
  if (attention == 0) attention = s->factor <= 1 ? 1 : sqrt(1 + log(s->factor) / log(s->original_context));
  s->attention = attention;
  if (!st && !(attention > 0 && attention <= 1e3))
    st = sluice_fail(err, SLUICE_USAGE, "%s: attention_factor: expected more than 0 and at most 1000, found %g", where,
                     attention);
  if (s->original_context < c->max_context) c->max_context = (int)s->original_context;
  return st;
}

/* rope_scaling (transformers 4, where old files say "type") or rope_parameters (5), its nulls dropped. */
static sluice_status read_scaling(const char *where, const cJSON *object, const cJSON *root, struct model_config *c,
                                  struct sluice_error *err) {
  static const char *const types[] = {[ROPE_LINEAR] = "linear",
                                      [ROPE_LLAMA3] = "llama3",
                                      [ROPE_DYNAMIC] = "dynamic",
                                      [ROPE_YARN] = "yarn",
                                      [ROPE_LONG] = "longrope"};
  struct rope_scaling *s = &c->rope_scaling;
  const int context = c->max_context;
  const char *type = NULL;
  sluice_status st = json_string(object, where, "type", false, "default", &type, err);
  if (!st) st = json_string(object, where, "rope_type", false, type, &type, err);
  if (st || strcmp(type, "default") == 0) return st;
  if (strcmp(type, "su") == 0) type = types[ROPE_LONG]; /* as Phi-3's first files have it */
  for (int t = ROPE_LINEAR; t <= ROPE_LONG; t++)
    if (strcmp(type, types[t]) == 0) s->type = (enum rope_type)t;
  if (s->type == ROPE_DEFAULT)
    return sluice_fail(
        err, SLUICE_UNSUPPORTED,
        "%s.rope_type: \"%.80s\" is not done here; default, linear, llama3, dynamic, yarn and longrope are", where,
        type);
  s->original_context = context;
  if (s->type == ROPE_YARN)
    st = read_yarn(where, object, context, s, err);
  else if (s->type == ROPE_LONG)
    st = read_longrope(where, object, root, c, err);
  else
    st = json_double(object, where, "factor", true, 1, &s->factor, err);
  if (!st && !(s->factor >= 1 && s->factor <= 1e6))
    st = sluice_fail(err, SLUICE_USAGE, "%s: factor: expected 1 to 1e6, found %g", where, s->factor);
  if (!st && s->type == ROPE_LLAMA3) st = read_llama3(where, object, s, err);
  if (!st && s->type == ROPE_LINEAR) s->original_context = 0;
  return st ? st : check_original(where, s, err);
}

/* The share of a head that is rotated, in whole pairs. */
static sluice_status set_rotary(const char *path, const char *key, double share, struct model_config *c,
                                struct sluice_error *err) {
  const int dims = (int)(c->head_dim * share); /* cut, as transformers does */
  if (!(share > 0 && share <= 1) || dims < 2 || dims % 2 != 0)
    return sluice_fail(err, SLUICE_USAGE, "%s: %s: %g of a head of %d is not an even number of at least 2", path, key,
                       share, c->head_dim);
  c->rotary_dims = dims;
  return SLUICE_OK;
}

/* Theta, share and scaling stand at the top, or in rope_parameters (transformers 5). */
static sluice_status read_rope(const char *path, cJSON *root, const struct model_family *f, struct model_config *c,
                               struct sluice_error *err) {
  static const char *const keys[] = {"rope_scaling", "rope_parameters"};
  double share = f->rotary;
  sluice_status st = json_double(root, path, f->theta_key, false, 10000, &c->rope_theta, err);
  if (!st) st = json_double(root, path, f->rotary_key, false, share, &share, err);
  for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
    cJSON *object = cJSON_GetObjectItemCaseSensitive(root, keys[i]);
    char where[512];
    if (!object) continue;
    snprintf(where, sizeof where, "%.400s: %s", path, keys[i]);
    if (!cJSON_IsObject(object)) return sluice_fail(err, SLUICE_USAGE, "%s: expected an object or null", where);
    drop_nulls(object);
    for (const cJSON *item = object->child; item; item = item->next)
      if (cJSON_IsObject(item))
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s.%.80s: one rotation for all layers is done here, not one for each kind", where,
                           item->string);
    st = read_scaling(where, object, root, c, err);
    if (!st) st = json_double(object, where, "rope_theta", false, c->rope_theta, &c->rope_theta, err);
    if (!st) st = json_double(object, where, "partial_rotary_factor", false, share, &share, err);
  }
  if (!st && !(c->rope_theta >= 1 && c->rope_theta <= 1e12))
    st = sluice_fail(err, SLUICE_USAGE, "%s: %s: expected 1 to 1e12, found %g", path, f->theta_key, c->rope_theta);
  if (!st) st = set_rotary(path, f->rotary_key, share, c, err);
  return st ? st : model_config_check_rope(path, c, err);
}

/* layer_types (transformers 5) says it layer by layer: full ones first, windowed ones from some layer on. */
static sluice_status read_layer_types(const char *path, const cJSON *list, struct model_config *c,
                                      struct sluice_error *err) {
  const cJSON *item;
  int i = 0, from = c->n_layers;
  cJSON_ArrayForEach(item, list) {
    const bool windowed = cJSON_IsString(item) && strcmp(item->valuestring, "sliding_attention") == 0;
    if (!windowed && (!cJSON_IsString(item) || strcmp(item->valuestring, "full_attention") != 0 || from < i))
      return sluice_fail(err, SLUICE_UNSUPPORTED,
                         "%s: layer_types[%d]: expected \"full_attention\", then \"sliding_attention\" to the end",
                         path, i);
    if (windowed && from > i) from = i;
    i++;
  }
  if (i != c->n_layers)
    return sluice_fail(err, SLUICE_INPUT, "%s: layer_types: %d entries for %d layers", path, i, c->n_layers);
  c->window_from = from;
  return SLUICE_OK;
}

static sluice_status read_window(const char *path, const cJSON *root, const struct model_family *f,
                                 const struct absent_keys *absent, struct model_config *c, struct sluice_error *err) {
  bool used = !f->window_is_a_choice;
  int64_t window = 0, from = 0;
  const cJSON *types = cJSON_GetObjectItemCaseSensitive(root, "layer_types");
  sluice_status st =
      json_int(root, path, "sliding_window", false, absent->window ? f->window : 0, 0, MAX_CONTEXT, &window, err);
  if (!st) st = json_bool(root, path, "use_sliding_window", used, &used, err);
  if (!st && f->window_is_a_choice)
    st = json_int(root, path, "max_window_layers", false, f->window_from, 0, MAX_CONTEXT, &from, err);
  if (!st && window && !f->window && !f->window_is_a_choice && !f->window_if_named)
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "%s: sliding_window is not part of the %s family", path, f->name);
  if (st || !window || !used) return st;
  c->window_from = from < c->n_layers ? (int)from : c->n_layers;
  if (types) st = read_layer_types(path, types, c, err);
  c->window = c->window_from < c->n_layers ? (int)window : 0;
  if (!c->window) c->window_from = 0;
  return st;
}

sluice_status model_config_check_rope(const char *path, struct model_config *c, struct sluice_error *err) {
  const struct rope_scaling *s = &c->rope_scaling;
  if (s->type == ROPE_DYNAMIC && c->rotary_dims < 4)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: dynamic RoPE scaling of %d rotated dimensions; expected 4 or more",
                       path, c->rotary_dims);
  if (s->type == ROPE_LONG && !c->rope_divisors && c->n_rope_factors != c->rotary_dims / 2)
    return sluice_fail(err, SLUICE_USAGE, "%s: short_factor: %d factors; expected %d, one for two rotated dimensions",
                       path, c->n_rope_factors, c->rotary_dims / 2);
  if (s->type != ROPE_YARN) return SLUICE_OK;
  if (!(c->rope_theta > 1))
    return sluice_fail(err, SLUICE_USAGE, "%s: RoPE's theta: yarn expects more than 1, found %g", path, c->rope_theta);
  const double reach = s->factor * s->original_context;
  if (reach > c->max_context) c->max_context = reach < MAX_CONTEXT ? (int)reach : MAX_CONTEXT;
  return SLUICE_OK;
}

bool model_config_ends(struct model_config *c, int64_t id) {
  bool known = id < 0 || id >= c->vocab || id == c->eos;
  for (int i = 0; i < c->n_more_ends; i++) known = known || c->more_ends[i] == id;
  if (known) return true;
  if (c->n_more_ends == ENDS_MAX) return false;
  c->more_ends[c->n_more_ends++] = (int32_t)id;
  return true;
}

/* A list of ends, or one. What no row of the vocabulary has never comes, so it is left out. */
static sluice_status read_ends(const char *path, const cJSON *item, struct model_config *c, struct sluice_error *err) {
  const bool list = cJSON_IsArray(item);
  for (item = list ? item->child : item; item; item = list ? item->next : NULL) {
    if (!cJSON_IsNumber(item)) return sluice_fail(err, SLUICE_USAGE, "%s: eos_token_id: expected token ids", path);
    if (!model_config_ends(c, item->valueint))
      return sluice_fail(err, SLUICE_LIMIT, "%s: eos_token_id: more than %d ends", path, (int)ENDS_MAX);
  }
  return SLUICE_OK;
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

static sluice_status read_shape(const char *path, const cJSON *root, const struct model_family *f,
                                const struct absent_keys *absent, struct model_config *c, struct sluice_error *err) {
  sluice_status st = read_whole(root, path, "hidden_size", 0, MAX_WIDTH, &c->d_model, err);
  if (!st) st = read_whole(root, path, "num_hidden_layers", 0, MAX_LAYERS, &c->n_layers, err);
  if (!st) st = read_whole(root, path, "num_attention_heads", 0, MAX_WIDTH, &c->n_heads, err);
  const int kv_heads = absent->kv_heads && f->kv_heads ? f->kv_heads : c->n_heads;
  if (!st) st = read_whole(root, path, "num_key_value_heads", kv_heads, MAX_WIDTH, &c->n_kv_heads, err);
  if (!st) st = read_whole(root, path, "intermediate_size", 0, MAX_WIDTH, &c->d_ff, err);
  if (!st) st = read_whole(root, path, "vocab_size", 0, MAX_VOCAB, &c->vocab, err);
  if (!st) st = read_whole(root, path, "max_position_embeddings", f->max_context, MAX_CONTEXT, &c->max_context, err);
  if (st) return st;
  const bool given = cJSON_GetObjectItemCaseSensitive(root, "head_dim") || (absent->head_dim && f->head_dim);
  if (!given && c->d_model % c->n_heads != 0)
    return sluice_fail(err, SLUICE_USAGE, "%s: hidden_size %d is no multiple of num_attention_heads %d; give head_dim",
                       path, c->d_model, c->n_heads);
  const int implied = absent->head_dim && f->head_dim ? f->head_dim : c->d_model / c->n_heads;
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
  const struct absent_keys absent = {.window = !cJSON_HasObjectItem(root, "sliding_window"),
                                     .kv_heads = !cJSON_HasObjectItem(root, "num_key_value_heads"),
                                     .head_dim = !cJSON_HasObjectItem(root, "head_dim")};
  drop_nulls(root);
  double eps = 0;
  const struct model_family *f = NULL;
  sluice_status st = find_family(path, root, &f, err);
  if (st) return st;
  c->family = f->name;
  c->norm = f->norm, c->plain_ffn = f->plain_ffn, c->qk_norm = f->qk_norm;
  st = refuse_other_models(path, root, err);
  if (!st) st = read_activation(path, root, f, c, err);
  if (!st) st = read_biases(path, root, f, c, err);
  if (!st) st = read_shape(path, root, f, &absent, c, err);
  if (!st) st = json_double(root, path, f->eps_key, false, f->eps, &eps, err);
  if (!st && !(eps > 0 && eps < 1))
    st =
        sluice_fail(err, SLUICE_USAGE, "%s: %s: expected more than 0 and less than 1, found %g", path, f->eps_key, eps);
  c->parallel_residual = f->parallel_residual;
  if (!st && f->parallel_residual)
    st = json_bool(root, path, "use_parallel_residual", true, &c->parallel_residual, err);
  if (!st) st = read_rope(path, root, f, c, err);
  if (!st) st = read_window(path, root, f, &absent, c, err);
  if (!st) st = json_bool(root, path, "tie_word_embeddings", false, &c->tied, err);
  if (!st) st = read_token(path, root, "bos_token_id", c->vocab, &c->bos, err);
  if (!st) st = read_token(path, root, "eos_token_id", c->vocab, &c->eos, err);
  const cJSON *ends = cJSON_GetObjectItemCaseSensitive(root, "eos_token_id");
  if (!st && cJSON_IsArray(ends)) st = read_ends(path, ends, c, err);
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

sluice_status model_config_read_generation(const char *path, struct model_config *c, struct sluice_error *err) {
  cJSON *root = NULL;
  sluice_status st = json_read_file(path, false, &root, err);
  const cJSON *ends = cJSON_GetObjectItemCaseSensitive(root, "eos_token_id");
  if (!st && ends && !cJSON_IsNull(ends)) st = read_ends(path, ends, c, err);
  cJSON_Delete(root);
  return st;
}

/* What is not Llama's way is hashed behind the rest, so that a Llama's hash is what it was before there were others. */
static int describe_block(const struct model_config *c, char *out, size_t cap) {
  const int rotary = c->rotary_dims ? c->rotary_dims : c->head_dim;
  const int features[] = {(int)c->norm, (int)c->activation, c->plain_ffn,         c->parallel_residual,
                          c->qkv_bias,  c->o_bias,          c->ffn_bias,          c->qk_norm,
                          c->window,    c->window_from,     c->head_dim - rotary, c->rotary_neighbours};
  bool plain = c->rope_divisors == NULL;
  for (size_t i = 0; i < sizeof features / sizeof *features; i++) plain = plain && features[i] == 0;
  if (plain) return 0;
  int n = 0;
  for (size_t i = 0; i < sizeof features / sizeof *features; i++)
    n += snprintf(out + n, cap - (size_t)n, " %d", features[i]);
  const size_t divisors = c->rope_divisors ? (size_t)rotary / 2 : 0;
  return n + snprintf(out + n, cap - (size_t)n, " %016llx",
                      (unsigned long long)hash64(c->rope_divisors, divisors * sizeof *c->rope_divisors));
}

void model_config_hash(const struct model_config *c, char hex[2 * SHA256_BYTES + 1]) {
  const struct rope_scaling *r = &c->rope_scaling;
  unsigned char digest[SHA256_BYTES];
  char text[1536];
  int n = snprintf(text, 640, "%d %d %d %d %d %d %d %.9g %.17g %d %d %d %d %.17g %.17g %.17g %.17g", c->n_layers,
                   c->d_model, c->n_heads, c->n_kv_heads, c->head_dim, c->d_ff, c->vocab, (double)c->norm_eps,
                   c->rope_theta, c->tied, c->bos, c->eos, (int)r->type, r->factor, r->low_freq_factor,
                   r->high_freq_factor, r->original_context);
  if (r->type == ROPE_YARN)
    n += snprintf(text + n, sizeof text - (size_t)n, " yarn %.17g %.17g %.17g %d", r->beta_fast, r->beta_slow,
                  r->attention, r->whole_ramp);
  if (r->type == ROPE_LONG)
    n += snprintf(text + n, sizeof text - (size_t)n, " longrope %.17g %016llx", r->attention,
                  (unsigned long long)hash64(c->rope_factors, (size_t)c->n_rope_factors * sizeof *c->rope_factors));
  n += describe_block(c, text + n, sizeof text - (size_t)n);
  for (int i = 0; i < c->n_more_ends; i++)
    n += snprintf(text + n, sizeof text - (size_t)n, "%s %d", i ? "" : " ends", c->more_ends[i]);
  sha256(text, (size_t)n, digest);
  hex_of(digest, SHA256_BYTES, hex);
}
