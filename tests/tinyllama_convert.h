/* For tests: llama2.c's first checkpoint format ("v0", float32) as a Hugging Face folder, and its token table. */
#ifndef SLUICE_TESTS_TINYLLAMA_CONVERT_H
#define SLUICE_TESTS_TINYLLAMA_CONVERT_H

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/model/safetensors.h"

struct llama2c_header {
  int32_t dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
};

enum { LLAMA2C_MAX_TENSORS = 2 + 9 * 64 };

struct llama2c_conversion {
  struct llama2c_header h;
  const float *at; /* the next weights in the file */
  struct tensor_source tensors[LLAMA2C_MAX_TENSORS];
  size_t n;
  struct arena names;
};

static const float *llama2c_take(struct llama2c_conversion *c, size_t floats) {
  const float *w = c->at;
  c->at += floats;
  return w;
}

static void llama2c_add(struct llama2c_conversion *c, int layer, const char *name, const void *data, int rows,
                        int cols) {
  char text[96];
  int n = layer < 0 ? snprintf(text, sizeof text, "model.%s.weight", name)
                    : snprintf(text, sizeof text, "model.layers.%d.%s.weight", layer, name);
  c->tensors[c->n++] =
      (struct tensor_source){arena_strndup(&c->names, text, (size_t)n), DTYPE_F32, cols ? 2 : 1, {rows, cols}, data};
}

/* llama2.c rotates neighbouring pairs (2i, 2i+1) of a head, this format pairs i with i + head_dim/2: the same rotation
 * after the rows of the query and key projections are put in the other order. */
static float *llama2c_unpair_rows(struct llama2c_conversion *c, const float *w, int heads) {
  int dim = c->h.dim, size = dim / c->h.n_heads;
  float *out = arena_alloc(&c->names, (size_t)heads * (size_t)size * (size_t)dim * sizeof *out);
  for (int h = 0; out && h < heads; h++)
    for (int i = 0; i < size; i++) {
      int from = h * size + (i < size / 2 ? 2 * i : 2 * (i - size / 2) + 1);
      memcpy(out + (size_t)(h * size + i) * (size_t)dim, w + (size_t)from * (size_t)dim, (size_t)dim * sizeof *out);
    }
  return out;
}

/* One kind of matrix, for all layers, in the file's order. */
static void llama2c_add_layers(struct llama2c_conversion *c, const char *name, int rows, int cols, int rotated_heads) {
  for (int l = 0; l < c->h.n_layers; l++) {
    const float *w = llama2c_take(c, (size_t)rows * (size_t)(cols ? cols : 1));
    llama2c_add(c, l, name, rotated_heads ? llama2c_unpair_rows(c, w, rotated_heads) : w, rows, cols);
  }
}

static sluice_status llama2c_write_config(const struct llama2c_header *h, const char *dir, struct sluice_error *err) {
  struct buffer out;
  buffer_init(&out, 0);
  sluice_status st = buffer_printf(
      &out, err,
      "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
      "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"vocab_size\":%d,\"max_position_embeddings\":%d,"
      "\"rms_norm_eps\":1e-5,\"rope_theta\":10000,\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":[2]"
      "}",
      h->dim, h->hidden_dim, h->n_layers, h->n_heads, h->n_kv_heads, h->vocab_size, h->seq_len);
  char *path = sluice_format("%s/config.json", dir);
  if (!st) st = file_write_atomic(path, out.ptr, out.len, err);
  free(path);
  buffer_free(&out);
  return st;
}

/* Reads `checkpoint` and writes config.json and model.safetensors into `dir`, which it makes. */
static inline sluice_status tinyllama_convert(const char *checkpoint, const char *dir, struct sluice_error *err) {
  const unsigned char *bytes;
  size_t len;
  struct llama2c_conversion c = {0};
  sluice_status st = file_map(checkpoint, &bytes, &len, err);
  if (st) return st;
  if (len < sizeof c.h) return sluice_fail(err, SLUICE_INPUT, "%s: too short", checkpoint);
  memcpy(&c.h, bytes, sizeof c.h);
  c.at = (const float *)(const void *)(bytes + sizeof c.h);
  int d = c.h.dim, f = c.h.hidden_dim, kv = d / c.h.n_heads * c.h.n_kv_heads;
  llama2c_add(&c, -1, "embed_tokens", llama2c_take(&c, (size_t)c.h.vocab_size * (size_t)d), c.h.vocab_size, d);
  llama2c_add_layers(&c, "input_layernorm", d, 0, 0);
  llama2c_add_layers(&c, "self_attn.q_proj", d, d, c.h.n_heads);
  llama2c_add_layers(&c, "self_attn.k_proj", kv, d, c.h.n_kv_heads);
  llama2c_add_layers(&c, "self_attn.v_proj", kv, d, 0);
  llama2c_add_layers(&c, "self_attn.o_proj", d, d, 0);
  llama2c_add_layers(&c, "post_attention_layernorm", d, 0, 0);
  llama2c_add_layers(&c, "mlp.gate_proj", f, d, 0);
  llama2c_add_layers(&c, "mlp.down_proj", d, f, 0);
  llama2c_add_layers(&c, "mlp.up_proj", f, d, 0);
  llama2c_add(&c, -1, "norm", llama2c_take(&c, (size_t)d), d, 0);
  if ((const unsigned char *)c.at > bytes + len) st = sluice_fail(err, SLUICE_INPUT, "%s: too short", checkpoint);
  if (!st) st = file_make_dirs(dir, err);
  if (!st) st = llama2c_write_config(&c.h, dir, err);
  char *path = sluice_format("%s/model.safetensors", dir);
  if (!st) st = safetensors_write(path, c.tensors, c.n, err);
  free(path);
  arena_free(&c.names);
  file_unmap(bytes, len);
  return st;
}

/* The text of token `id` in llama2.c's table (4 bytes of longest token, then score, length and bytes of each), appended
 * to out. "<0x0A>" is the byte 10. */
static inline sluice_status tinyllama_token_text(struct slice table, int32_t id, struct buffer *out,
                                                 struct sluice_error *err) {
  size_t at = 4;
  for (int32_t i = 0; at + 8 <= table.len; i++) {
    int32_t n;
    memcpy(&n, table.ptr + at + 4, 4);
    at += 8;
    if (n < 0 || (size_t)n > table.len - at) break;
    if (i == id) {
      unsigned byte;
      char text[16] = "";
      memcpy(text, table.ptr + at, (size_t)n < sizeof text - 1 ? (size_t)n : sizeof text - 1);
      if (n == 6 && sscanf(text, "<0x%02X>", &byte) == 1) return buffer_append(out, &(char){(char)byte}, 1, err);
      return buffer_append(out, table.ptr + at, (size_t)n, err);
    }
    at += (size_t)n;
  }
  return sluice_fail(err, SLUICE_INPUT, "token table: no token %d", id);
}

#endif
