/* A folder with a tiny model of random weights and a tokenizer trained on a few lines: enough to test everything that
 * does not need a model to be right. The same bytes for the same seed. */
#ifndef SLUICE_TESTS_TINY_MODEL_H
#define SLUICE_TESTS_TINY_MODEL_H

#include "engine/engine.h"
#include "engine/model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  TINY_VOCAB = 300,
  TINY_D = 32,
  TINY_FF = 64,
  TINY_HEADS = 4,
  TINY_KV = 2,
  TINY_HEAD = 8,
  TINY_LAYERS = 2,
  TINY_TENSORS = 2 + 9 * TINY_LAYERS
};

struct tiny_model {
  char dir[256];
};

static inline bool tiny_write(const char *dir, const char *name, const char *text) {
  char path[512];
  struct sluice_error err;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return file_write_atomic(path, text, strlen(text), &err) == SLUICE_OK;
}

/* Rows x columns of normal numbers; the caller frees. columns 1: a norm, near one. */
static inline float *tiny_values(struct rng *r, int rows, int columns) {
  size_t n = (size_t)rows * (size_t)(columns > 0 ? columns : 1);
  float *v = malloc(n * sizeof *v);
  for (size_t i = 0; v != NULL && i < n; i++) v[i] = columns > 0 ? (float)(rng_normal(r) * 0.35) : 1.0f;
  return v;
}

static inline bool tiny_weights(const char *path, uint64_t seed) {
  static const struct {
    const char *name;
    int rows, columns;
  } shapes[] = {{"input_layernorm.weight", TINY_D, 0},
                {"self_attn.q_proj.weight", TINY_HEADS * TINY_HEAD, TINY_D},
                {"self_attn.k_proj.weight", TINY_KV * TINY_HEAD, TINY_D},
                {"self_attn.v_proj.weight", TINY_KV * TINY_HEAD, TINY_D},
                {"self_attn.o_proj.weight", TINY_D, TINY_HEADS * TINY_HEAD},
                {"post_attention_layernorm.weight", TINY_D, 0},
                {"mlp.gate_proj.weight", TINY_FF, TINY_D},
                {"mlp.up_proj.weight", TINY_FF, TINY_D},
                {"mlp.down_proj.weight", TINY_D, TINY_FF}};
  struct tensor_source t[TINY_TENSORS];
  char names[TINY_TENSORS][64];
  struct sluice_error err;
  struct rng r;
  int n = 0;
  rng_seed(&r, seed);
  t[n++] = (struct tensor_source){
      "model.embed_tokens.weight", DTYPE_F32, 2, {TINY_VOCAB, TINY_D}, tiny_values(&r, TINY_VOCAB, TINY_D)};
  t[n++] = (struct tensor_source){"model.norm.weight", DTYPE_F32, 1, {TINY_D}, tiny_values(&r, TINY_D, 0)};
  for (int layer = 0; layer < TINY_LAYERS; layer++) {
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++, n++) {
      snprintf(names[n], sizeof names[n], "model.layers.%d.%s", layer, shapes[s].name);
      t[n] = (struct tensor_source){names[n],
                                    DTYPE_F32,
                                    shapes[s].columns > 0 ? 2 : 1,
                                    {shapes[s].rows, shapes[s].columns},
                                    tiny_values(&r, shapes[s].rows, shapes[s].columns)};
    }
  }
  bool good = safetensors_write(path, t, (size_t)n, &err) == SLUICE_OK;
  if (!good) fprintf(stderr, "%s\n", err.message);
  for (int i = 0; i < n; i++) free((void *)(uintptr_t)t[i].data);
  return good;
}

/* Makes the folder. False: say so and fail the test. */
static inline bool tiny_model_make(struct tiny_model *m, uint64_t seed) {
  const char *tmp = getenv("TMPDIR");
  char weights[300], lines[300], tokenizer[300], config[512];
  struct sluice_error err;
  snprintf(m->dir, sizeof m->dir, "%s/sluice-tiny-XXXXXX", tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(m->dir) == NULL) return false;
  snprintf(weights, sizeof weights, "%s/model.safetensors", m->dir);
  snprintf(lines, sizeof lines, "%s/lines.jsonl", m->dir);
  snprintf(tokenizer, sizeof tokenizer, "%s/tokenizer.json", m->dir);
  snprintf(
      config, sizeof config,
      "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":%d,\"intermediate_size\":%d,"
      "\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"head_dim\":%d,\"vocab_size\":%"
      "d,"
      "\"max_position_embeddings\":512,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"tie_word_embeddings\":true,"
      "\"hidden_act\":\"silu\",\"bos_token_id\":0,\"eos_token_id\":1}",
      TINY_D, TINY_FF, TINY_LAYERS, TINY_HEADS, TINY_KV, TINY_HEAD, TINY_VOCAB);
  if (!tiny_write(m->dir, "config.json", config) || !tiny_weights(weights, seed) ||
      !tiny_write(
          m->dir, "lines.jsonl",
          "{\"text\":\"<|user|>I want you to buy the rock and the paper and the scissors.<|end|><|bot|>OK<|end|>\"}\n"
          "{\"text\":\"<|user|>Which one is the rock that I want you to buy?<|end|><|bot|>the rocket<|end|>\"}\n"
          "{\"text\":\"the rocks, the rocket, the paper, the papers, the scissors, the buyer, the winter, the "
          "water\"}\n")) {
    return false;
  }
  struct train_tokenizer_options o = {.data = lines, .out = tokenizer, .vocab = TINY_VOCAB};
  if (train_tokenizer(&o, &err) != SLUICE_OK) {
    fprintf(stderr, "%s\n", err.message);
    return false;
  }
  return true;
}

static inline void tiny_model_remove(struct tiny_model *m) {
  static const char *const names[] = {"config.json", "model.safetensors", "lines.jsonl", "tokenizer.json",
                                      "tokenizer_config.json"};
  char path[512];
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    snprintf(path, sizeof path, "%s/%s", m->dir, names[i]);
    unlink(path);
  }
  rmdir(m->dir);
}

#endif
