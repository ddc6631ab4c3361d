/* A GGUF file of a real model's shape with random weights: `make_gguf OUT TYPE [SHAPE]`. Speed does not depend on what
 * the weights are, so engines can be compared on such a file without anyone's model. TYPE is what every matrix is
 * stored as, "F16", "Q4_K" and so on. The vocabulary is the 256 bytes, then made-up words. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/model.h"

struct shape {
  const char *name, *architecture;
  int layers, d, heads, kv_heads, head_dim, ff, vocab, context;
  double theta;
};

static const struct shape SHAPES[] = {
    {"qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, 1e6},
    {"llama3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5},
    {"smollm2-135m", "llama", 30, 576, 9, 3, 64, 1536, 49152, 8192, 1e5},
    {"smollm2-360m", "llama", 32, 960, 15, 5, 64, 2560, 49152, 8192, 1e5},
    {"llama2-7b", "llama", 32, 4096, 32, 32, 128, 11008, 32000, 4096, 1e4},
    {"small", "qwen2", 2, 256, 4, 2, 64, 512, 512, 1024, 1e6},
};

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9, ALIGNMENT = 32 };
/* As GGUF numbers types of tensors and of files; where a block's scale stands and what makes its values spread like
 * 1/32; what a minimum behind it is, in scales: the middle of the values. */
static const struct {
  uint32_t tensor, file;
  size_t scale_at;
  double scale, minimum;
} FORMS[DTYPE_COUNT] = {[DTYPE_F32] = {0, 0, 0, 0, 0},
                        [DTYPE_F16] = {1, 1, 0, 0, 0},
                        [DTYPE_BF16] = {30, 32, 0, 0, 0},
                        [DTYPE_Q8_0] = {8, 7, 0, 0x1p-11, 0},
                        [DTYPE_Q4_0] = {2, 2, 0, 0x1p-7, 0},
                        [DTYPE_Q4_K] = {12, 14, 0, 0x1p-12, 7.5},
                        [DTYPE_Q6_K] = {14, 18, 208, 0x1p-16, 0},
                        [DTYPE_Q4_1] = {3, 3, 0, 0x1p-7, -7.5},
                        [DTYPE_Q5_0] = {6, 8, 0, 0x1p-8, 0},
                        [DTYPE_Q5_1] = {7, 9, 0, 0x1p-8, -15.5},
                        [DTYPE_Q3_K] = {11, 11, 108, 0x1p-11, 0},
                        [DTYPE_Q5_K] = {13, 16, 0, 0x1p-13, 15.5},
                        [DTYPE_Q2_K] = {10, 10, 80, 0x1p-9, 1.5},
                        [DTYPE_IQ4_NL] = {20, 25, 0, 0x1p-11, 0},
                        [DTYPE_IQ4_XS] = {23, 30, 0, 0x1p-15, 0}};

struct writer {
  FILE *file;
  const struct shape *shape;
  enum dtype dtype;
  struct rng rng;
  uint64_t offset; /* of the next tensor's data */
  bool data;       /* second walk over the tensors: their data; the first: their places */
  uint64_t n_tensors;
};

static void put(struct writer *w, const void *bytes, size_t n) {
  fwrite(bytes, 1, n, w->file);
}
static void put_u32(struct writer *w, uint32_t v) {
  put(w, &v, sizeof v);
}
static void put_u64(struct writer *w, uint64_t v) {
  put(w, &v, sizeof v);
}
static void put_string(struct writer *w, const char *s) {
  put_u64(w, strlen(s));
  put(w, s, strlen(s));
}

static void key(struct writer *w, const char *name, uint32_t type) {
  char full[128];
  snprintf(full, sizeof full, "%s%s", strchr(name, '.') == name ? w->shape->architecture : "", name);
  put_string(w, full);
  put_u32(w, type);
}
static void key_u32(struct writer *w, const char *name, int v) {
  key(w, name, GGUF_U32);
  put_u32(w, (uint32_t)v);
}
static void key_f32(struct writer *w, const char *name, double v) {
  const float f = (float)v;
  key(w, name, GGUF_F32);
  put(w, &f, sizeof f);
}
static void key_string(struct writer *w, const char *name, const char *v) {
  key(w, name, GGUF_STRING);
  put_string(w, v);
}

/* Byte-level BPE's printable stand-in for a byte, as UTF-8. */
static void put_byte_token(struct writer *w, int byte) {
  int code = byte;
  const bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  if (!plain) code = 256 + (byte < 33 ? byte : byte < 161 ? byte - 127 + 33 : 67);
  char text[3] = {(char)code};
  if (code >= 128) text[0] = (char)(0xc0 | code >> 6), text[1] = (char)(0x80 | (code & 63));
  put_string(w, text);
}

static void write_vocabulary(struct writer *w) {
  const int n = w->shape->vocab;
  key_string(w, "tokenizer.ggml.model", "gpt2");
  key_string(w, "tokenizer.ggml.pre", strcmp(w->shape->architecture, "llama") == 0 ? "llama-bpe" : "qwen2");
  key(w, "tokenizer.ggml.tokens", GGUF_ARRAY);
  put_u32(w, GGUF_STRING);
  put_u64(w, (uint64_t)n);
  for (int i = 0; i < n; i++) {
    char word[32];
    snprintf(word, sizeof word, i == 256 ? "w4" : "word%d", i);
    if (i < 256)
      put_byte_token(w, i);
    else
      put_string(w, word);
  }
  key(w, "tokenizer.ggml.token_type", GGUF_ARRAY);
  put_u32(w, GGUF_I32);
  put_u64(w, (uint64_t)n);
  for (int i = 0; i < n; i++) put_u32(w, i == n - 1 ? 3 : 1); /* the last one is a control token, the others words */
  key(w, "tokenizer.ggml.merges", GGUF_ARRAY);
  put_u32(w, GGUF_STRING);
  put_u64(w, 1);
  put_string(w, "w 4"); /* makes the token behind the bytes */
  key_u32(w, "tokenizer.ggml.eos_token_id", n - 1);
  key_u32(w, "tokenizer.ggml.bos_token_id", n - 1);
}

static void write_keys(struct writer *w) {
  const struct shape *s = w->shape;
  key_string(w, "general.architecture", s->architecture);
  key_string(w, "general.name", s->name);
  key_u32(w, "general.file_type", (int)FORMS[w->dtype].file);
  key_u32(w, ".block_count", s->layers);
  key_u32(w, ".context_length", s->context);
  key_u32(w, ".embedding_length", s->d);
  key_u32(w, ".feed_forward_length", s->ff);
  key_u32(w, ".attention.head_count", s->heads);
  key_u32(w, ".attention.head_count_kv", s->kv_heads);
  key_u32(w, ".rope.dimension_count", s->head_dim);
  key_f32(w, ".attention.layer_norm_rms_epsilon", 1e-6);
  key_f32(w, ".rope.freq_base", s->theta);
  write_vocabulary(w);
}
enum { KEYS = 12 + 7 };

/* Blocks whose scales are such that values are spread like 1/32, everything else in them random bits. */
static void random_blocks(struct writer *w, enum dtype d, uint64_t blocks) {
  const size_t bytes = dtype_block_bytes(d);
  for (uint64_t b = 0; b < blocks; b++) {
    uint64_t words[27];
    for (size_t i = 0; i * 8 < bytes; i++) words[i] = rng_u64(&w->rng);
    if (d <= DTYPE_BF16)
      dtype_from_float(words, d, 0, (float)((double)(words[0] >> 11) * 0x1p-53 - 0.5) / 16);
    else
      dtype_from_float((uint8_t *)words + FORMS[d].scale_at, DTYPE_F16, 0, (float)FORMS[d].scale);
    if (FORMS[d].minimum != 0)
      dtype_from_float((uint8_t *)words + FORMS[d].scale_at, DTYPE_F16, 1, (float)(FORMS[d].scale * FORMS[d].minimum));
    put(w, words, bytes);
  }
}

static void pad(struct writer *w) {
  static const char zeros[ALIGNMENT];
  put(w, zeros, (size_t)(ALIGNMENT - ftell(w->file) % ALIGNMENT) % ALIGNMENT);
}

/* rows 0: a vector, which is always F32; of ones when it is a norm's. */
static void tensor(struct writer *w, const char *name, int rows, int cols) {
  const enum dtype d = rows ? w->dtype : DTYPE_F32;
  const uint64_t bytes = dtype_row_bytes(d, cols) * (uint64_t)(rows ? rows : 1);
  const float one = strstr(name, "norm") ? 1 : 0;
  if (w->data) {
    pad(w);
    if (rows)
      random_blocks(w, d, (uint64_t)rows * (uint64_t)(cols / dtype_block(d)));
    else
      for (int i = 0; i < cols; i++) put(w, &one, sizeof one);
    return;
  }
  put_string(w, name);
  put_u32(w, rows ? 2 : 1);
  put_u64(w, (uint64_t)cols);
  if (rows) put_u64(w, (uint64_t)rows);
  put_u32(w, FORMS[d].tensor);
  put_u64(w, w->offset);
  w->offset += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  w->n_tensors++;
}

static void walk_tensors(struct writer *w, bool data) {
  const struct shape *s = w->shape;
  const int q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  const bool biases = strcmp(s->architecture, "qwen2") == 0;
  w->data = data;
  tensor(w, "token_embd.weight", s->vocab, s->d);
  tensor(w, "output_norm.weight", 0, s->d);
  for (int l = 0; l < s->layers; l++) {
    const struct {
      const char *name;
      int rows, cols;
    } parts[] = {{"attn_norm.weight", 0, s->d},    {"ffn_norm.weight", 0, s->d},
                 {"attn_q.weight", q, s->d},       {"attn_k.weight", kv, s->d},
                 {"attn_v.weight", kv, s->d},      {"attn_output.weight", s->d, q},
                 {"ffn_gate.weight", s->ff, s->d}, {"ffn_up.weight", s->ff, s->d},
                 {"ffn_down.weight", s->d, s->ff}, {"attn_q.bias", 0, q},
                 {"attn_k.bias", 0, kv},           {"attn_v.bias", 0, kv}};
    for (size_t i = 0; i < (biases ? 12 : 9); i++) {
      char name[64];
      snprintf(name, sizeof name, "blk.%d.%s", l, parts[i].name);
      tensor(w, name, parts[i].rows, parts[i].cols);
    }
  }
}

static int write_model(struct writer *w, const char *path) {
  uint64_t count = 2 + (uint64_t)w->shape->layers * (strcmp(w->shape->architecture, "qwen2") == 0 ? 12 : 9);
  rng_seed(&w->rng, 1);
  if (!(w->file = fopen(path, "wb"))) return fprintf(stderr, "%s: %s\n", path, strerror(errno)), 1;
  put(w, "GGUF", 4);
  put_u32(w, 3);
  put_u64(w, count);
  put_u64(w, KEYS);
  write_keys(w);
  walk_tensors(w, false);
  walk_tensors(w, true);
  pad(w);
  const bool failed = ferror(w->file) != 0 || w->n_tensors != count;
  if (fclose(w->file) || failed) return fprintf(stderr, "%s: cannot write: %s\n", path, strerror(errno)), 1;
  return 0;
}

int main(int argc, char **argv) {
  struct writer w = {.shape = &SHAPES[0]};
  int d = 0;
  for (d = 0; argc > 2 && d < DTYPE_COUNT && strcmp(argv[2], dtype_name((enum dtype)d)) != 0; d++) continue;
  for (size_t i = 0; argc > 3 && i < sizeof SHAPES / sizeof *SHAPES; i++)
    w.shape = strcmp(argv[3], SHAPES[i].name) == 0 ? &SHAPES[i] : i == 0 ? NULL : w.shape;
  if (argc < 3 || d == DTYPE_COUNT || !w.shape)
    return fputs("usage: make_gguf OUT F16|Q8_0|Q4_K|... "
                 "[qwen2.5-0.5b|llama3.2-1b|smollm2-135m|smollm2-360m|llama2-7b|small]\n",
                 stderr),
           2;
  w.dtype = (enum dtype)d;
  if (w.shape->d % dtype_block(w.dtype) || w.shape->ff % dtype_block(w.dtype))
    return fprintf(stderr, "%s: rows of %d are no whole blocks of %s\n", w.shape->name, w.shape->d, argv[2]), 2;
  return write_model(&w, argv[1]);
}
