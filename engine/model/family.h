/* engine/model: the families of networks that the engine runs, and how files name their tensors. Private to
 * engine/model. */
#ifndef SLUICE_ENGINE_MODEL_FAMILY_H
#define SLUICE_ENGINE_MODEL_FAMILY_H

#include "engine/model/model.h"

/* How a file names tensors. */
enum naming { NAMES_LLAMA /* Hugging Face's, of all families but one */, NAMES_NEOX, NAMES_GGUF, NAMINGS };

/* One family: what its blocks compute, and what a key means that its config.json leaves out (transformers' defaults).
 */
struct model_family {
  const char *name;         /* config.json's model_type */
  const char *architecture; /* the class in config.json's architectures */
  const char *gguf;         /* GGUF's general.architecture */
  enum naming names;        /* of a Hugging Face folder */
  enum norm_kind norm;
  enum activation activation; /* the default */
  bool plain_ffn, parallel_residual, qk_norm;
  bool qkv_bias, o_bias, ffn_bias; /* the default */
  bool bias_is_a_choice;           /* attention_bias says whether attention has them */
  bool ffn_bias_is_a_choice;       /* mlp_bias */
  bool fused_qkv;                  /* the folder keeps q, k, v as one matrix; GPT-NeoX's goes head by head */
  bool fused_up;                   /* gate and up are one matrix */
  const char *eps_key;
  double eps;
  double rotary; /* share of a head that is rotated */
  const char *rotary_key, *theta_key;
  int kv_heads, head_dim; /* 0: as many as heads; hidden_size / heads */
  int max_context;
  int window;              /* 0: none */
  bool window_if_named;    /* a key that is left out means none */
  bool window_is_a_choice; /* use_sliding_window says whether, max_window_layers from which layer on */
  int window_from;         /* max_window_layers' default */
};
extern const struct model_family model_families[]; /* ends with a NULL name */
extern const int n_model_families;
const struct model_family *model_family_named(const char *name); /* NULL: none has this name */
/* The names of all families, "llama, mistral, ..."; member is the offset of the name wanted. */
void model_family_choices(size_t member, char *out, size_t cap);

/* ---- tensors of a layer ---- */
enum extent { EXTENT_ONE, EXTENT_MODEL, EXTENT_QUERIES, EXTENT_KEYS, EXTENT_FF, EXTENT_HEAD };
int model_extent(const struct model_config *c, enum extent e);

struct layer_part {
  size_t offset; /* in struct layer_weights: of a struct weight; with cols EXTENT_ONE, of a const float * */
  enum extent rows, cols;
  const char *name[NAMINGS]; /* behind the layer's prefix; NULL: the file does not have it as a tensor of its own */
};
extern const struct layer_part layer_parts[];
extern const size_t n_layer_parts;
/* Whether a layer of such a model has this part. */
bool layer_part_wanted(const struct model_config *c, const struct layer_part *p);

/* Tensors outside of layers, by naming; layer_prefix has one %d. */
struct outer_names {
  const char *embedding, *final_norm, *final_norm_bias, *head, *layer_prefix;
  const char *fused_qkv, *fused_qkv_bias, *fused_up; /* behind the prefix */
};
extern const struct outer_names outer_names[NAMINGS];

#endif
