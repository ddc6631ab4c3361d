/* The network that `sluice train` differentiates: the Llama forward pass of engine/cpu with exact gradients, over whole
 * sequences. One source (network.inc) is compiled once an instruction set; network_kernels() picks at run time. */
#ifndef SLUICE_ENGINE_TRAIN_NETWORK_H
#define SLUICE_ENGINE_TRAIN_NETWORK_H

#include "engine/engine.h"

#ifndef TRAIN_REAL
#define TRAIN_REAL float /* the finite-difference test compiles network.inc with double */
#endif
typedef TRAIN_REAL real;

/* Where each matrix lies in the one flat array of parameters. wqkv stacks the rows of q, k, v; wgu those of gate, up.
 */
struct net_layer {
  size_t norm1; /* [D] */
  size_t wqkv;  /* [(H + 2 KV) hd][D] */
  size_t wo;    /* [D][H hd] */
  size_t norm2; /* [D] */
  size_t wgu;   /* [2 F][D] */
  size_t wdown; /* [D][F] */
};
#define NET_MAX_LAYERS 128
struct net_shape {
  int V, D, L, H, KV, hd, F;
  real eps;
  double theta;
  size_t embedding; /* [V][D], also the output head: the trainer ties them */
  struct net_layer layer[NET_MAX_LAYERS];
  size_t final_norm; /* [D] */
  size_t size;       /* parameters */
};
sluice_status net_shape_from_config(const struct model_config *c, struct net_shape *out, struct sluice_error *err);

/* One lane's share of a step: `rows` = sequences * length tokens, and everything that the backward pass needs. */
struct net_lane;
struct net_batch {
  int sequences, length;
  const int32_t *tokens;  /* [sequences][length] */
  const int32_t *targets; /* [sequences][length] */
  const real *weights;    /* [sequences][length]; 0: not scored */
  real scale;             /* 1 / (sum of weights over all lanes) */
};
struct net_result {
  double loss;                                     /* sum of weight * nats; divide by the sum of weights of all lanes */
  double text_nats, answer_nats;                   /* unweighted sums over tokens of weight 1 and of more */
  int64_t text_tokens, answer_tokens, answer_hits; /* hits: greedy token equals the target */
};
struct net_kernels {
  const char *name; /* "avx512bf16", "avx512", "avx2", "portable" */
  sluice_status (*lane_open)(const struct net_shape *s, int max_rows, int max_length, struct net_lane **out,
                             struct sluice_error *err);
  void (*lane_close)(struct net_lane *lane);
  /* Forward and backward of one batch. grad is [size], added to; NULL: forward only. bf16: matrix products round
   * their operands to bfloat16 and sum in float32. */
  void (*step)(struct net_lane *lane, const struct net_shape *s, const real *params, real *grad,
               const struct net_batch *batch, bool bf16, struct net_result *out);
};
extern const struct net_kernels net_portable, net_avx2, net_avx512, net_avx512bf16;
/* The best of this CPU for the precision, or the one named; SLUICE_USAGE for a name that is unknown or that the CPU
 * lacks. */
sluice_status network_kernels(const char *name, bool bf16, const struct net_kernels **out, struct sluice_error *err);

#endif
