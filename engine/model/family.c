/* The table of families, and the table of a layer's tensors. A family that computes what these columns can say is one
 * row here. Defaults: the configuration classes of Hugging Face transformers. GGUF's names: llama.cpp's gguf-py. */
#include <string.h>

#include "engine/model/family.h"

/* What Llama, Mistral and Qwen have in common. */
#define LLAMA_LIKE                                                                                                     \
  .names = NAMES_LLAMA, .eps_key = "rms_norm_eps", .eps = 1e-6, .rotary = 1, .rotary_key = "partial_rotary_factor",    \
  .theta_key = "rope_theta"

const struct model_family model_families[] = {
    {.name = "llama",
     .architecture = "LlamaForCausalLM",
     .gguf = "llama",
     LLAMA_LIKE,
     .bias_is_a_choice = true,
     .ffn_bias_is_a_choice = true,
     .max_context = 2048},
    {.name = "mistral",
     .architecture = "MistralForCausalLM",
     .gguf = "mistral", /* files say "llama", which computes the same */
     LLAMA_LIKE,
     .kv_heads = 8,
     .max_context = 131072,
     .window = 4096},
    {.name = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .gguf = "qwen2",
     LLAMA_LIKE,
     .qkv_bias = true,
     .kv_heads = 32,
     .max_context = 32768,
     .window = 4096,
     .window_is_a_choice = true,
     .window_from = 28},
    {.name = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .gguf = "qwen3",
     LLAMA_LIKE,
     .qk_norm = true,
     .bias_is_a_choice = true,
     .kv_heads = 32,
     .head_dim = 128,
     .max_context = 32768,
     .window = 4096,
     .window_is_a_choice = true,
     .window_from = 28},
    {.name = "phi3", /* Phi-3, Phi-3.5 and Phi-4's mini ones */
     .architecture = "Phi3ForCausalLM",
     .gguf = "phi3",
     .names = NAMES_LLAMA,
     .fused_qkv = true,
     .fused_up = true,
     .eps_key = "rms_norm_eps",
     .eps = 1e-5,
     .rotary = 1,
     .rotary_key = "partial_rotary_factor",
     .theta_key = "rope_theta",
     .max_context = 4096,
     .window_if_named = true},
    {.name = "gpt_neox", /* Pythia too */
     .architecture = "GPTNeoXForCausalLM",
     .gguf = "gptneox",
     .names = NAMES_NEOX,
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU,
     .plain_ffn = true,
     .parallel_residual = true,
     .qkv_bias = true,
     .o_bias = true,
     .ffn_bias = true,
     .bias_is_a_choice = true,
     .fused_qkv = true,
     .eps_key = "layer_norm_eps",
     .eps = 1e-5,
     .rotary = 0.25,
     .rotary_key = "rotary_pct",
     .theta_key = "rotary_emb_base",
     .max_context = 2048},
    {.name = NULL},
};
const int n_model_families = sizeof model_families / sizeof *model_families - 1;

const struct model_family *model_family_named(const char *name) {
  for (const struct model_family *f = model_families; f->name; f++)
    if (strcmp(f->name, name) == 0) return f;
  return NULL;
}

void model_family_choices(size_t member, char *out, size_t cap) {
  size_t at = 0;
  for (int i = 0; i < n_model_families && at < cap; i++) {
    const char *name;
    memcpy(&name, (const char *)&model_families[i] + member, sizeof name);
    const int n = snprintf(out + at, cap - at, "%s%s", i ? ", " : "", name);
    at += n > 0 ? (size_t)n : 0;
  }
}

#define PART(member) .offset = offsetof(struct layer_weights, member)

const struct layer_part layer_parts[] = {
    {PART(attn_norm),
     EXTENT_MODEL,
     EXTENT_ONE,
     {"input_layernorm.weight", "input_layernorm.weight", "attn_norm.weight"}},
    {PART(attn_norm_bias), EXTENT_MODEL, EXTENT_ONE, {NULL, "input_layernorm.bias", "attn_norm.bias"}},
    {PART(wq), EXTENT_QUERIES, EXTENT_MODEL, {"self_attn.q_proj.weight", NULL, "attn_q.weight"}},
    {PART(bq), EXTENT_QUERIES, EXTENT_ONE, {"self_attn.q_proj.bias", NULL, "attn_q.bias"}},
    {PART(wk), EXTENT_KEYS, EXTENT_MODEL, {"self_attn.k_proj.weight", NULL, "attn_k.weight"}},
    {PART(bk), EXTENT_KEYS, EXTENT_ONE, {"self_attn.k_proj.bias", NULL, "attn_k.bias"}},
    {PART(wv), EXTENT_KEYS, EXTENT_MODEL, {"self_attn.v_proj.weight", NULL, "attn_v.weight"}},
    {PART(bv), EXTENT_KEYS, EXTENT_ONE, {"self_attn.v_proj.bias", NULL, "attn_v.bias"}},
    {PART(q_norm), EXTENT_HEAD, EXTENT_ONE, {"self_attn.q_norm.weight", NULL, "attn_q_norm.weight"}},
    {PART(k_norm), EXTENT_HEAD, EXTENT_ONE, {"self_attn.k_norm.weight", NULL, "attn_k_norm.weight"}},
    {PART(wo),
     EXTENT_MODEL,
     EXTENT_QUERIES,
     {"self_attn.o_proj.weight", "attention.dense.weight", "attn_output.weight"}},
    {PART(bo), EXTENT_MODEL, EXTENT_ONE, {"self_attn.o_proj.bias", "attention.dense.bias", "attn_output.bias"}},
    {PART(ffn_norm),
     EXTENT_MODEL,
     EXTENT_ONE,
     {"post_attention_layernorm.weight", "post_attention_layernorm.weight", "ffn_norm.weight"}},
    {PART(ffn_norm_bias), EXTENT_MODEL, EXTENT_ONE, {NULL, "post_attention_layernorm.bias", "ffn_norm.bias"}},
    {PART(w_gate), EXTENT_FF, EXTENT_MODEL, {"mlp.gate_proj.weight", NULL, "ffn_gate.weight"}},
    {PART(b_gate), EXTENT_FF, EXTENT_ONE, {"mlp.gate_proj.bias", NULL, "ffn_gate.bias"}},
    {PART(w_up), EXTENT_FF, EXTENT_MODEL, {"mlp.up_proj.weight", "mlp.dense_h_to_4h.weight", "ffn_up.weight"}},
    {PART(b_up), EXTENT_FF, EXTENT_ONE, {"mlp.up_proj.bias", "mlp.dense_h_to_4h.bias", "ffn_up.bias"}},
    {PART(w_down), EXTENT_MODEL, EXTENT_FF, {"mlp.down_proj.weight", "mlp.dense_4h_to_h.weight", "ffn_down.weight"}},
    {PART(b_down), EXTENT_MODEL, EXTENT_ONE, {"mlp.down_proj.bias", "mlp.dense_4h_to_h.bias", "ffn_down.bias"}},
};
const size_t n_layer_parts = sizeof layer_parts / sizeof *layer_parts;

const struct outer_names outer_names[NAMINGS] = {
    [NAMES_LLAMA] = {.embedding = "model.embed_tokens.weight",
                     .final_norm = "model.norm.weight",
                     .head = "lm_head.weight",
                     .layer_prefix = "model.layers.%d.",
                     .fused_qkv = "self_attn.qkv_proj.weight",
                     .fused_up = "mlp.gate_up_proj.weight"},
    [NAMES_NEOX] = {.embedding = "gpt_neox.embed_in.weight",
                    .final_norm = "gpt_neox.final_layer_norm.weight",
                    .final_norm_bias = "gpt_neox.final_layer_norm.bias",
                    .head = "embed_out.weight",
                    .layer_prefix = "gpt_neox.layers.%d.",
                    .fused_qkv = "attention.query_key_value.weight",
                    .fused_qkv_bias = "attention.query_key_value.bias"},
    [NAMES_GGUF] = {.embedding = "token_embd.weight",
                    .final_norm = "output_norm.weight",
                    .final_norm_bias = "output_norm.bias",
                    .head = "output.weight",
                    .layer_prefix = "blk.%d.",
                    .fused_qkv = "attn_qkv.weight",
                    .fused_qkv_bias = "attn_qkv.bias",
                    .fused_up = "ffn_up.weight"},
};

int model_extent(const struct model_config *c, enum extent e) {
  switch (e) {
  case EXTENT_ONE:
    return 1;
  case EXTENT_MODEL:
    return c->d_model;
  case EXTENT_QUERIES:
    return c->n_heads * c->head_dim;
  case EXTENT_KEYS:
    return c->n_kv_heads * c->head_dim;
  case EXTENT_FF:
    return c->d_ff;
  case EXTENT_HEAD:
    return c->head_dim;
  }
  return 0;
}

bool layer_part_wanted(const struct model_config *c, const struct layer_part *p) {
  const struct {
    size_t offset;
    bool wanted;
  } conditions[] = {
      {offsetof(struct layer_weights, attn_norm_bias), c->norm == NORM_LAYER},
      {offsetof(struct layer_weights, ffn_norm_bias), c->norm == NORM_LAYER},
      {offsetof(struct layer_weights, q_norm), c->qk_norm},
      {offsetof(struct layer_weights, k_norm), c->qk_norm},
      {offsetof(struct layer_weights, bq), c->qkv_bias},
      {offsetof(struct layer_weights, bk), c->qkv_bias},
      {offsetof(struct layer_weights, bv), c->qkv_bias},
      {offsetof(struct layer_weights, bo), c->o_bias},
      {offsetof(struct layer_weights, w_gate), !c->plain_ffn},
      {offsetof(struct layer_weights, b_gate), !c->plain_ffn && c->ffn_bias},
      {offsetof(struct layer_weights, b_up), c->ffn_bias},
      {offsetof(struct layer_weights, b_down), c->ffn_bias},
  };
  for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
    if (conditions[i].offset == p->offset) return conditions[i].wanted;
  return true;
}
