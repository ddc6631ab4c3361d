/* engine/model: the opened weights, as the rest of the engine room sees them. Private to engine/. */
#ifndef SLUICE_ENGINE_MODEL_H
#define SLUICE_ENGINE_MODEL_H

#include <pthread.h>

#include "engine/engine.h"

/* The first three hold one number an element; the others are GGUF's blocks of numbers with common scales
 * (dtype_blocks.c). */
enum dtype {
  DTYPE_F32,
  DTYPE_F16,
  DTYPE_BF16,
  DTYPE_Q8_0,
  DTYPE_Q4_0,
  DTYPE_Q4_K,
  DTYPE_Q6_K,
  DTYPE_Q4_1,
  DTYPE_Q5_0,
  DTYPE_Q5_1,
  DTYPE_Q3_K,
  DTYPE_Q5_K,
  DTYPE_Q2_K,
  DTYPE_IQ4_NL,
  DTYPE_IQ4_XS,
  DTYPE_COUNT
};
#define GGUF_TYPES_READ "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL and IQ4_XS"
const char *dtype_name(enum dtype d); /* as safetensors and GGUF spell it: "F32", "Q4_K" */
static inline bool dtype_is_quantised(enum dtype d) {
  return d > DTYPE_BF16;
}
/* Elements of one block: 1, 32 or 256; cols is a multiple of it. */
static inline int dtype_block(enum dtype d) {
  if (!dtype_is_quantised(d)) return 1;
  const bool wide = d == DTYPE_Q4_K || d == DTYPE_Q6_K || d == DTYPE_Q3_K || d == DTYPE_Q5_K || d == DTYPE_Q2_K;
  return wide || d == DTYPE_IQ4_XS ? 256 : 32;
}
/* Bytes of one block; here, so that kernels see them as constants. */
static inline size_t dtype_block_bytes(enum dtype d) {
  switch (d) {
  case DTYPE_F32:
    return 4;
  case DTYPE_F16:
  case DTYPE_BF16:
    return 2;
  case DTYPE_Q8_0:
    return 34;
  case DTYPE_Q4_0:
  case DTYPE_IQ4_NL:
    return 18;
  case DTYPE_Q4_1:
    return 20;
  case DTYPE_Q5_0:
    return 22;
  case DTYPE_Q5_1:
    return 24;
  case DTYPE_Q2_K:
    return 84;
  case DTYPE_Q3_K:
    return 110;
  case DTYPE_IQ4_XS:
    return 136;
  case DTYPE_Q4_K:
    return 144;
  case DTYPE_Q5_K:
    return 176;
  case DTYPE_Q6_K:
    return 210;
  case DTYPE_COUNT:
    break;
  }
  return 0;
}
/* Rows follow one another without a gap. */
static inline size_t dtype_row_bytes(enum dtype d, int cols) {
  return (size_t)(cols / dtype_block(d)) * dtype_block_bytes(d);
}
/* Elements [first, first + n) as floats; for blocks, first and n are multiples of dtype_block. Exact for F16 and BF16;
 * for the others the product of scale and integer, rounded once or twice as the format's own definition is. */
void dtype_to_floats(const void *data, enum dtype d, size_t first, size_t n, float *out);

/* F32, F16 and BF16 alone. */
size_t dtype_size(enum dtype d);                                            /* bytes of one element: 4 or 2 */
float dtype_to_float(const void *data, enum dtype d, size_t index);         /* exact */
void dtype_from_float(void *data, enum dtype d, size_t index, float value); /* rounds to nearest even */
/* The sixteen numbers of IQ4_NL and IQ4_XS. */
extern const int8_t dtype_nonlinear[16];
/* The numbers of one block as floats; private to engine/model. */
void dtype_block_to_floats(const void *block, enum dtype d, float *out);

/* A matrix in row-major order, as torch's Linear stores it: y = W x has rows outputs and cols inputs. data points into
 * the mapping (or into memory of the trainer) and is aligned to the element, no more; blocks to 2 bytes. */
struct weight {
  const void *data;
  enum dtype dtype;
  int rows, cols;
};
/* Row `row` as floats into out[cols]. */
void weight_row(const struct weight *w, int row, float *out);
/* The whole matrix as rows*cols floats, 64-byte aligned; free() it. NULL when out of memory. */
float *weight_to_float(const struct weight *w);

/* What model_config says that a layer does not have is NULL, and a weight without data. Vectors are floats, whatever
 * the file holds. */
struct layer_weights {
  const float *attn_norm, *ffn_norm;           /* [d_model] */
  const float *attn_norm_bias, *ffn_norm_bias; /* [d_model]; NORM_LAYER */
  const float *q_norm, *k_norm;                /* [head_dim]; qk_norm */
  const float *bq, *bk, *bv, *bo;              /* as many as the weight's rows; qkv_bias, o_bias */
  const float *b_gate, *b_up, *b_down;         /* ffn_bias */
  struct weight wq;                            /* [n_heads*head_dim, d_model] */
  struct weight wk, wv;                        /* [n_kv_heads*head_dim, d_model] */
  struct weight wo;                            /* [d_model, n_heads*head_dim] */
  struct weight w_gate, w_up;                  /* [d_ff, d_model]; no gate with plain_ffn */
  struct weight w_down;                        /* [d_model, d_ff] */
};

/* A mapped file of weights (tensors.h). Several, when an index names shards. */
struct tensor_file;

struct model {
  struct model_config config;
  struct tokenizer *tok;        /* NULL: the folder has none */
  struct weight embedding;      /* [vocab, d_model] */
  struct weight lm_head;        /* [vocab, d_model]; the embedding itself when config.tied */
  const float *final_norm;      /* [d_model] */
  const float *final_norm_bias; /* [d_model]; NORM_LAYER */
  struct layer_weights *layers; /* [n_layers] */
  uint64_t parameters;          /* distinct values: a tied head counts once */
  float *vectors;               /* owns every norm and bias above */
  void **copies;                /* [n_layers]: own matrices that a file keeps in another order; NULL: all are mapped */
  int names;                    /* enum naming (family.h): how the files name tensors */
  bool fused_qkv;               /* the files keep q, k and v of a layer as one matrix */
  bool fused_up;                /* and gate and up */
  struct tensor_file **files;   /* own the mappings */
  size_t n_files;
  const struct gguf *gguf;   /* one of the files, with the metadata; NULL: a folder */
  char *dir;                 /* the folder, or the path of the GGUF file */
  pthread_mutex_t hash_lock; /* hash is computed at the first question: 1 GB takes longer than opening may */
  char hash[2 * SHA256_BYTES + 1];
  /* What a device keeps of this model: put there by its back end at the first session, freed by model_leave_device. */
  pthread_mutex_t device_lock;
  void *device_weights;
  void (*device_release)(void *device_weights);
};
/* When the last session is closed. */
void model_leave_device(struct model *m);

#endif
