/* Model folders: what opens, and what is refused with the file, the key or the tensor named. */
#include "tests/scratch_folder.h"

#include <math.h>

#include "engine/model/config.h"
#include "engine/model/safetensors.h"
#include "engine/session.h"

/* Two layers of the smallest shape that has grouped heads. */
enum { D = 8, FF = 12, HEADS = 4, KV = 2, HEAD = 2, VOCAB = 20, LAYERS = 2, TENSORS = 3 + 9 * LAYERS };

#define SHAPE                                                                                                          \
  "\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_layers\":2,"       \
  "\"num_attention_heads\":4,\"vocab_size\":20"
#define WHOLE SHAPE ",\"num_key_value_heads\":2,\"tie_word_embeddings\":true"

static float numbers[VOCAB * D * 2];

struct parts {
  struct tensor_source tensors[TENSORS];
  char names[TENSORS][64];
  size_t n;
};

static void add(struct parts *p, const char *name, int rows, int cols) {
  snprintf(p->names[p->n], sizeof p->names[0], "%s.weight", name);
  p->tensors[p->n] = (struct tensor_source){p->names[p->n], DTYPE_F32, cols ? 2 : 1, {rows, cols}, numbers};
  p->n++;
}

static struct parts *all_parts(bool head) {
  static struct parts p;
  char name[64];
  static const struct {
    const char *name;
    int rows, cols;
  } layer[] = {{"input_layernorm", D, 0},
               {"self_attn.q_proj", HEADS * HEAD, D},
               {"self_attn.k_proj", KV * HEAD, D},
               {"self_attn.v_proj", KV * HEAD, D},
               {"self_attn.o_proj", D, HEADS * HEAD},
               {"post_attention_layernorm", D, 0},
               {"mlp.gate_proj", FF, D},
               {"mlp.up_proj", FF, D},
               {"mlp.down_proj", D, FF}};
  p.n = 0;
  add(&p, "model.embed_tokens", VOCAB, D);
  for (int l = 0; l < LAYERS; l++)
    for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
      snprintf(name, sizeof name, "model.layers.%d.%s", l, layer[i].name);
      add(&p, name, layer[i].rows, layer[i].cols);
    }
  add(&p, "model.norm", D, 0);
  if (head) add(&p, "lm_head", VOCAB, D);
  return &p;
}

static size_t index_of(const struct parts *p, const char *name) {
  for (size_t i = 0; i < p->n; i++)
    if (strcmp(p->tensors[i].name, name) == 0) return i;
  fail_msg("no %s", name);
  return 0;
}

static void write_config(const char *members) {
  char *text = sluice_format("{%s}", members);
  scratch_write("config.json", text, strlen(text));
  free(text);
}

static void write_weights(const char *name, const struct parts *p) {
  struct sluice_error err;
  char *path = sluice_format("%s/%s", scratch_dir, name);
  if (safetensors_write(path, p->tensors, p->n, &err)) fail_msg("%s", err.message);
  free(path);
}

static int begin(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) numbers[i] = (float)i * 0.25f;
  return scratch_begin("model");
}

static struct model *opened(void) {
  struct sluice_error err;
  struct model *m = NULL;
  if (model_open(scratch_dir, &m, &err)) fail_msg("%s", err.message);
  return m;
}

static void refused(const char *part) {
  struct sluice_error err = {0};
  struct model *m = NULL;
  if (model_open(scratch_dir, &m, &err) == SLUICE_OK) fail_msg("accepted, in spite of %s", part);
  assert_null(m);
  if (!strstr(err.message, part) || !strstr(err.message, scratch_dir))
    fail_msg("\"%s\" does not say \"%s\" and name the folder", err.message, part);
}

static void a_folder_opens(void **state) {
  (void)state;
  write_config(WHOLE
               ",\"bos_token_id\":0,\"eos_token_id\":[1,2],\"rope_theta\":5e5,\"rms_norm_eps\":1e-5,"
               "\"max_position_embeddings\":4096,\"head_dim\":null,\"rope_scaling\":null,\"attention_bias\":false,"
               "\"torch_dtype\":\"float32\",\"transformers_version\":\"4.40\"");
  write_weights("model.safetensors", all_parts(false));
  struct model *m = opened();
  const struct model_config *c = model_configuration(m);
  assert_int_equal(c->head_dim, HEAD);
  assert_int_equal(c->n_kv_heads, KV);
  assert_int_equal(c->max_context, 4096);
  assert_true(c->rope_theta == 5e5);
  assert_true(c->norm_eps == 1e-5f);
  assert_int_equal(c->bos, 0);
  assert_int_equal(c->eos, 1);
  assert_int_equal(model_parameters(m), VOCAB * D + LAYERS * (2 * D + 2 * D * D + 2 * KV * HEAD * D + 3 * FF * D) + D);
  assert_ptr_equal(m->lm_head.data, m->embedding.data);
  assert_int_equal(m->layers[1].wk.rows, KV * HEAD);
  assert_int_equal(m->layers[1].wk.cols, D);
  assert_int_equal((uintptr_t)m->layers[1].ffn_norm % 64, 0);
  assert_true(m->layers[1].ffn_norm[3] == numbers[3]);
  assert_string_equal(model_directory(m), scratch_dir);
  assert_null(model_tokenizer(m));
  char want[2 * SHA256_BYTES + 1], *path = sluice_format("%s/model.safetensors", scratch_dir);
  struct sluice_error err;
  assert_int_equal(sha256_file_hex(path, want, &err), 0);
  assert_string_equal(model_hash(m), want);
  assert_string_equal(model_hash(m), want);
  float row[D], *whole = weight_to_float(&m->embedding);
  weight_row(&m->embedding, 2, row);
  assert_memory_equal(row, whole + 2 * D, sizeof row);
  assert_memory_equal(whole, numbers, VOCAB * D * sizeof *whole);
  free(whole);
  free(path);
  model_close(m);
}

static void half_precision_opens(void **state) {
  (void)state;
  struct parts *p = all_parts(true);
  uint16_t halves[VOCAB * D], bfloats[VOCAB * D];
  for (size_t i = 0; i < VOCAB * D; i++) {
    dtype_from_float(halves, DTYPE_F16, i, numbers[i]);
    dtype_from_float(bfloats, DTYPE_BF16, i, numbers[i]);
  }
  for (size_t i = 0; i < p->n; i++) {
    p->tensors[i].dtype = i % 2 ? DTYPE_F16 : DTYPE_BF16;
    p->tensors[i].data = i % 2 ? halves : bfloats;
  }
  static const char scaled[] =
      "\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_layers\":2,"
      "\"num_attention_heads\":4,\"vocab_size\":20,\"num_key_value_heads\":2,\"rope_theta\":20000,"
      "\"architectures\":null,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
      "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}";
  write_config(scaled);
  write_weights("model.safetensors", p);
  struct model *m = opened();
  char one[2 * SHA256_BYTES + 1], other[2 * SHA256_BYTES + 1];
  assert_int_equal(model_configuration(m)->rope_scaling.type, ROPE_LLAMA3);
  assert_true(model_configuration(m)->rope_scaling.original_context == 8192);
  model_config_hash(model_configuration(m), one);
  model_close(m);
  write_config(SHAPE ",\"num_key_value_heads\":2,\"rope_scaling\":{\"type\":\"default\"},"
                     "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":20000}");
  m = opened();
  model_config_hash(model_configuration(m), other);
  assert_string_not_equal(one, other);
  assert_int_equal(model_configuration(m)->rope_scaling.type, ROPE_DEFAULT);
  assert_false(model_configuration(m)->tied);
  assert_true(model_configuration(m)->rope_theta == 20000);
  assert_int_equal(model_configuration(m)->bos, -1);
  assert_ptr_not_equal(m->lm_head.data, m->embedding.data);
  assert_true(m->layers[0].attn_norm[5] == 1.25f); /* exact in both */
  assert_true(m->final_norm[7] == 1.75f);
  float row[D];
  weight_row(&m->layers[0].wv, 1, row);
  assert_true(row[0] == 2.0f);
  model_close(m);
}

static void rotations_are_read(const char *scaling, struct rope_scaling *s, int *context) {
  char *text =
      sluice_format(WHOLE ",\"max_position_embeddings\":32768,\"rope_theta\":1e6,\"rope_scaling\":%s", scaling);
  write_config(text);
  struct model *m = opened();
  *s = model_configuration(m)->rope_scaling;
  *context = model_configuration(m)->max_context;
  model_close(m);
  free(text);
}

/* Numbers as transformers 5 makes them of the same object. */
static void yarn_is_read(void **state) {
  (void)state;
  struct rope_scaling s;
  int context;
  write_weights("model.safetensors", all_parts(false));
  rotations_are_read("{\"factor\":4.0,\"original_max_position_embeddings\":32768,\"type\":\"yarn\"}", &s, &context);
  assert_true(s.type == ROPE_YARN && s.factor == 4 && s.original_context == 32768 && s.whole_ramp);
  assert_true(s.beta_fast == 32 && s.beta_slow == 1);
  assert_true(fabs(s.attention - 1.1386294361119891) < 1e-15);
  assert_int_equal(context, 131072); /* what it stretches to */
  rotations_are_read(
      "{\"rope_type\":\"yarn\",\"original_max_position_embeddings\":4096,\"beta_fast\":0,\"beta_slow\":2,"
      "\"mscale\":0.707,\"mscale_all_dim\":1.414,\"truncate\":false}",
      &s, &context);
  assert_true(s.factor == 8 && s.beta_fast == 32 && s.beta_slow == 2 && !s.whole_ramp);
  assert_true(fabs(s.attention - 0.886388899560736) < 1e-14);
  assert_int_equal(context, 32768);
  rotations_are_read("{\"rope_type\":\"yarn\",\"factor\":2,\"attention_factor\":1.5}", &s, &context);
  assert_true(s.attention == 1.5 && s.original_context == 32768);
}

static void last_logits(float *logits) {
  struct sluice_error err;
  static const int32_t ids[] = {3, 1, 4, 1, 5, 9};
  struct model *m = opened();
  struct session *s;
  if (session_open(m, NULL, &s, &err) || session_append(s, ids, 6, logits, 1, &err)) fail_msg("%s", err.message);
  session_close(s);
  model_close(m);
}

/* Rows of several parts, one behind the other, as a tensor of its own. */
static void add_joined(struct parts *p, int layer, const char *name, const int *rows, int n) {
  static float joined[2 * LAYERS][2 * FF * D];
  static int used;
  float *to = joined[used++ % (2 * LAYERS)];
  char full[64];
  int total = 0;
  for (int i = 0; i < n; total += rows[i++])
    memcpy(to + total * D, numbers, sizeof *numbers * (size_t)(rows[i] * D)); /* every part's numbers */
  snprintf(full, sizeof full, "model.layers.%d.%s", layer, name);
  add(p, full, total, D);
  p->tensors[p->n - 1].data = to;
}

static void fused_rows_are_read(void **state) {
  (void)state;
  static const char *const separate[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj",
                                         "mlp.up_proj"};
  static const int qkv[] = {HEADS * HEAD, KV * HEAD, KV * HEAD}, up[] = {FF, FF};
  float want[VOCAB], got[VOCAB];
  struct parts *p = all_parts(false);
  write_weights("model.safetensors", p);
  write_config(WHOLE ",\"rms_norm_eps\":1e-5");
  last_logits(want);
  static struct parts fused;
  fused.n = 0;
  for (size_t i = 0; i < p->n; i++) {
    bool joined = false;
    for (size_t k = 0; k < 5; k++) joined = joined || strstr(p->names[i], separate[k]);
    if (joined) continue;
    snprintf(fused.names[fused.n], sizeof fused.names[0], "%s", p->names[i]);
    fused.tensors[fused.n] = p->tensors[i];
    fused.tensors[fused.n].name = fused.names[fused.n];
    fused.n++;
  }
  for (int l = 0; l < LAYERS; l++) {
    add_joined(&fused, l, "self_attn.qkv_proj", qkv, 3);
    add_joined(&fused, l, "mlp.gate_up_proj", up, 2);
  }
  write_weights("model.safetensors", &fused);
#define PHI3                                                                                                           \
  "\"architectures\":[\"Phi3ForCausalLM\"],\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_layers\":2,"        \
  "\"num_attention_heads\":4,\"vocab_size\":20,\"num_key_value_heads\":2,\"tie_word_embeddings\":true"
  write_config(PHI3);
  last_logits(got);
  assert_true(isfinite(want[0]));
  assert_memory_equal(want, got, sizeof want);
  fused.n--;
  write_weights("model.safetensors", &fused);
  refused("mlp.gate_up_proj.weight");
}

static void longrope_is_read(void **state) {
  (void)state;
  struct rope_scaling s;
  int context;
  write_weights("model.safetensors", all_parts(false));
  rotations_are_read("{\"type\":\"su\",\"short_factor\":[1.5],\"long_factor\":[9]},"
                     "\"original_max_position_embeddings\":4096",
                     &s, &context);
  assert_true(s.type == ROPE_LONG && s.original_context == 4096);
  assert_true(fabs(s.attention - 1.118033988749895) < 1e-12); /* sqrt(1 + ln 8 / ln 4096) */
  assert_int_equal(context, 4096);
  static const char *const cases[][2] = {
      {"{\"type\":\"longrope\",\"factor\":2}", "short_factor"},
      {"{\"type\":\"longrope\",\"short_factor\":[1,1]}", "short_factor: 2 factors"},
      {"{\"type\":\"longrope\",\"short_factor\":[0]}", "short_factor[0]"},
      {"{\"type\":\"longrope\",\"short_factor\":[1],\"attention_factor\":-1}", "attention_factor"},
      {"{\"type\":\"longrope\",\"short_factor\":[1],\"original_max_position_embeddings\":-1}",
       "original_max_position_embeddings"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *text = sluice_format(WHOLE ",\"rope_scaling\":%s", cases[i][0]);
    write_config(text);
    refused(cases[i][1]);
    free(text);
  }
}

static void shards_open_as_one(void **state) {
  (void)state;
  struct parts *p = all_parts(false), half = *p;
  static const char index[] =
      "{\"weight_map\":{\"model.embed_tokens.weight\":\"one.safetensors\",\"model.norm.weight\":"
      "\"two.safetensors\",\"x\":\"one.safetensors\"}}";
  write_config(WHOLE);
  scratch_write("model.safetensors.index.json", index, strlen(index));
  half.n = 7;
  write_weights("one.safetensors", &half);
  memmove(p->tensors, p->tensors + 7, (p->n - 7) * sizeof *p->tensors);
  p->n -= 7;
  write_weights("two.safetensors", p);
  struct model *m = opened();
  assert_int_equal(strlen(model_hash(m)), 64);
  model_close(m);
  p->n--; /* without the norm */
  write_weights("two.safetensors", p);
  refused("no tensor \"model.norm.weight\"");
  p->tensors[p->n++] = half.tensors[0];
  write_weights("two.safetensors", p);
  refused("is in");
  static const char *const bad[] = {"{}",
                                    "{\"weight_map\":{}}",
                                    "{\"weight_map\":{\"x\":\"../one.safetensors\"}}",
                                    "{\"weight_map\":{\"x\":\"..\"}}",
                                    "{\"weight_map\":{\"x\":1}}",
                                    "{\"weight_map\":{\"x\":\"\"}}"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    scratch_write("model.safetensors.index.json", bad[i], strlen(bad[i]));
    refused("weight_map");
  }
}

static void wrong_configurations_are_refused_by_key(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"", "architectures"},
      {"\"architectures\":[]", "architectures"},
      {"\"architectures\":[\"GPT2LMHeadModel\"]", "GPT2LMHeadModel"},
      {"\"architectures\":[\"LlamaForCausalLM\"]", "hidden_size"},
      {WHOLE ",\"attention_bias\":true", "self_attn.q_proj.bias"}, /* then the file must have them */
      {WHOLE ",\"mlp_bias\":true", "mlp.gate_proj.bias"},
      {WHOLE ",\"model_type\":\"llama\",\"attention_bias\":2", "attention_bias"},
      {"\"architectures\":[\"LlamaForCausalLM\",\"X\"]", "LlamaForCausalLM"},
      {"\"model_type\":\"bert\"", "model_type"},
      {WHOLE ",\"mlp_bias\":1", "mlp_bias"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"other\",\"factor\":2}", "rope_scaling.rope_type"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"dynamic\"}", "factor"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}", "dynamic"}, /* heads of 2 */
      {WHOLE ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":0.5}", "factor"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"beta_fast\":1}", "beta_fast"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"beta_slow\":-1}", "beta_slow"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":-1}", "attention_factor"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"truncate\":1}", "truncate"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":-5}",
       "original_max_position_embeddings"},
      {WHOLE ",\"rope_theta\":1,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}", "theta"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"linear\"}", "factor"},
      {WHOLE ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", "factor"},
      {WHOLE ",\"rope_scaling\":2", "rope_scaling"},
      {WHOLE ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8}", "low_freq_factor"},
      {WHOLE ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
             "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}",
       "low_freq_factor"},
      {WHOLE ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}", "rope_parameters.full_attention"},
      {WHOLE ",\"rope_parameters\":{\"partial_rotary_factor\":0.5}", "partial_rotary_factor"},
      {WHOLE ",\"rope_parameters\":\"default\"", "rope_parameters"},
      {WHOLE ",\"rope_interleaved\":true", "rope_interleaved"},
      {WHOLE ",\"quantization_config\":{}", "quantization_config"},
      {WHOLE ",\"sliding_window\":128", "sliding_window"},
      {WHOLE ",\"hidden_act\":\"gelu\"", "gelu"},
      {WHOLE ",\"partial_rotary_factor\":0.5", "partial_rotary_factor"},
      {WHOLE ",\"rope_theta\":0", "rope_theta"},
      {WHOLE ",\"rms_norm_eps\":0", "rms_norm_eps"},
      {WHOLE ",\"rms_norm_eps\":\"small\"", "rms_norm_eps"},
      {WHOLE ",\"bos_token_id\":20", "bos_token_id"},
      {WHOLE ",\"eos_token_id\":[\"x\"]", "eos_token_id"},
      {WHOLE ",\"eos_token_id\":1.5", "eos_token_id"},
      {WHOLE ",\"head_dim\":3", "head_dim"},
      {WHOLE ",\"head_dim\":262144", "head_dim"},
      {WHOLE ",\"max_position_embeddings\":0", "max_position_embeddings"},
      {WHOLE ",\"max_position_embeddings\":1e12", "max_position_embeddings"},
      {SHAPE ",\"num_key_value_heads\":3", "num_key_value_heads"},
      {"\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":8.5", "hidden_size"},
      {"\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":10,\"intermediate_size\":12,\"num_hidden_layers\":2,"
       "\"num_attention_heads\":4,\"vocab_size\":20",
       "hidden_size"},
      {"\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":2,\"intermediate_size\":12,\"num_hidden_layers\":2,"
       "\"num_attention_heads\":4,\"vocab_size\":20",
       "hidden_size"},
  };
  write_weights("model.safetensors", all_parts(false));
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_config(cases[i][0]);
    refused(cases[i][1]);
  }
  scratch_write("config.json", "[]", 2);
  refused("config.json");
  scratch_write("config.json", "{", 1);
  refused("config.json");
  scratch_remove("config.json");
  refused("config.json");
}

static void wrong_tensors_are_refused_by_name(void **state) {
  (void)state;
  write_config(WHOLE);
  refused("model.safetensors"); /* not there */
  scratch_write("pytorch_model.bin", "x", 1);
  refused("save the model as safetensors");
  scratch_remove("pytorch_model.bin");
  struct parts *p = all_parts(false);
  for (size_t i = 0; i < p->n; i++) { /* each missing in turn */
    struct parts less = *p;
    memmove(less.tensors + i, less.tensors + i + 1, (p->n - i - 1) * sizeof less.tensors[0]);
    less.n--;
    write_weights("model.safetensors", &less);
    refused(p->tensors[i].name);
  }
  struct tensor_source *wk = &p->tensors[index_of(p, "model.layers.1.self_attn.k_proj.weight")];
  wk->shape[0] = HEADS * HEAD;
  write_weights("model.safetensors", p);
  refused("shape [8, 8]; config.json asks for [4, 8]");
  wk->shape[0] = KV * HEAD;
  wk->n_dims = 1;
  write_weights("model.safetensors", p);
  refused("shape [4]");
  wk->n_dims = 2;
  wk->name = "model.layers.1.self_attn.k_proj.bias";
  write_weights("model.safetensors", p);
  refused("k_proj.weight");
  p = all_parts(true);
  p->tensors[p->n - 1].name = "model.layers.2.mlp.up_proj.weight"; /* one layer more than config.json says */
  write_weights("model.safetensors", p);
  refused("model.layers.2.mlp.up_proj.weight");
  p->tensors[p->n - 1].name = "model.layers.01.mlp.up_proj.weight";
  write_weights("model.safetensors", p);
  refused("21 tensors; config.json asks for 20");
  p->tensors[p->n - 1].name = "model.layers.0.self_attn.q_proj.bias";
  write_weights("model.safetensors", p);
  refused("q_proj.bias");
  p->tensors[p->n - 1].name = "model.layers.0.self_attn.rotary_emb.inv_freq"; /* harmless, from old files */
  write_weights("model.safetensors", p);
  model_close(opened());
  numbers[1] = INFINITY;
  write_weights("model.safetensors", p);
  numbers[1] = 0.25f;
  refused("not a finite number");
}

static void the_tokenizer_belongs_to_the_folder(void **state) {
  (void)state;
  write_config(WHOLE);
  write_weights("model.safetensors", all_parts(false));
#define TOKENIZER(id)                                                                                                  \
  "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"vocab\":{\"a\":" #id            \
  "},\"merges\":[]}}"
  scratch_write("tokenizer.json", TOKENIZER(19), strlen(TOKENIZER(19)));
  struct model *m = opened();
  assert_int_equal(tokenizer_size(model_tokenizer(m)), 20);
  model_close(m);
  scratch_write("tokenizer.json", TOKENIZER(20), strlen(TOKENIZER(20)));
  refused("vocab_size");
  scratch_write("tokenizer.json", "{}", 2);
  refused("tokenizer.json");
}

/* Where a chat model names its ends: a list in config.json, and generation_config.json. */
static void all_ends_of_a_turn_are_known(void **state) {
  (void)state;
  write_config(WHOLE ",\"eos_token_id\":[3,5,3]");
  write_weights("model.safetensors", all_parts(false));
  scratch_write("generation_config.json", "{\"eos_token_id\":[5,7,4000]}", 27);
  struct model *m = opened();
  const struct model_config *c = model_configuration(m);
  assert_int_equal(c->eos, 3);
  assert_int_equal(c->n_more_ends, 2); /* 4000 is no row of the vocabulary */
  assert_int_equal(c->more_ends[0], 5);
  assert_int_equal(c->more_ends[1], 7);
  char with[65], without[65];
  struct model_config fewer = *c;
  fewer.n_more_ends = 1;
  model_config_hash(c, with), model_config_hash(&fewer, without);
  assert_string_not_equal(with, without);
  model_close(m);
  scratch_write("generation_config.json", "{\"eos_token_id\":7}", 18);
  model_close(m = opened());
  scratch_write("generation_config.json", "{\"eos_token_id\":\"7\"}", 20);
  refused("generation_config.json: eos_token_id");
  scratch_write("generation_config.json", "{", 1);
  refused("generation_config.json");
}

/* What a clone without Git LFS has, and other files that are no models. */
static void what_is_no_model_is_told_apart(void **state) {
  (void)state;
  static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
  struct sluice_error err = {0};
  struct model *m = NULL;
  write_config(WHOLE);
  refused("neither model.safetensors nor model.safetensors.index.json");
  scratch_write("model.safetensors", pointer, sizeof pointer - 1);
  refused("git lfs pull");
  char *path = sluice_format("%s/model.safetensors", scratch_dir);
  assert_int_equal(model_open(path, &m, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "git lfs pull"));
  scratch_write("model.safetensors", "<html>", 6);
  assert_int_equal(model_open(path, &m, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "neither a GGUF file nor a model's folder"));
  scratch_write("model.safetensors", "", 0);
  assert_int_equal(model_open(path, &m, &err), SLUICE_INPUT);
  free(path);
}

static void the_default_folder_can_be_named(void **state) {
  (void)state;
  struct sluice_error err;
  char *found;
  setenv("SLUICE_MODEL", "/some/where", 1);
  assert_int_equal(model_default_dir(&found, &err), 0);
  assert_string_equal(found, "/some/where");
  free(found);
  unsetenv("SLUICE_MODEL");
}

/* The hash is filled in by whoever asks first. */
static void ask_for_hash(void *ctx, int lane) {
  (void)lane;
  assert_int_equal(strlen(model_hash(ctx)), 64);
}

static void threads_may_ask_for_the_hash(void **state) {
  (void)state;
  struct sluice_error err;
  struct team *team;
  write_config(WHOLE);
  write_weights("model.safetensors", all_parts(false));
  struct model *m = opened();
  assert_int_equal(team_start(4, &team, &err), 0);
  team_run(team, ask_for_hash, m);
  team_stop(team);
  model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_folder_opens, scratch_clean),
      cmocka_unit_test_setup(half_precision_opens, scratch_clean),
      cmocka_unit_test_setup(shards_open_as_one, scratch_clean),
      cmocka_unit_test_setup(yarn_is_read, scratch_clean),
      cmocka_unit_test_setup(fused_rows_are_read, scratch_clean),
      cmocka_unit_test_setup(longrope_is_read, scratch_clean),
      cmocka_unit_test_setup(wrong_configurations_are_refused_by_key, scratch_clean),
      cmocka_unit_test_setup(wrong_tensors_are_refused_by_name, scratch_clean),
      cmocka_unit_test_setup(the_tokenizer_belongs_to_the_folder, scratch_clean),
      cmocka_unit_test_setup(all_ends_of_a_turn_are_known, scratch_clean),
      cmocka_unit_test_setup(what_is_no_model_is_told_apart, scratch_clean),
      cmocka_unit_test_setup(the_default_folder_can_be_named, scratch_clean),
      cmocka_unit_test_setup(threads_may_ask_for_the_hash, scratch_clean),
  };
  return cmocka_run_group_tests(tests, begin, scratch_end);
}
