/* The decode step of one token as one launch: token.cu decides whether it can be and fills in token_args, token_*.cuh
 * are its kernel. Private to engine/cuda.
 *
 * One block a multiprocessor runs all layers. Some warps of each block bring weights, in the order in which they will
 * be needed, to a ring of each of the other warps, across the borders of products and layers: weights do not depend on
 * activations, so memory is read without a pause while blocks wait for one another. What a block computes goes to the
 * others through memory as pairs of a number and a tag that says of which layer and launch it is; readers ask again
 * until the tag is right. So there is no barrier over the grid and no fence, and no place is ever cleared. A place is
 * written again one layer later: its writer has by then seen results of every block that came after that block's
 * reading. Every sum has a fixed order. */
#ifndef SLUICE_ENGINE_CUDA_TOKEN_CUH
#define SLUICE_ENGINE_CUDA_TOKEN_CUH

#include "engine/cuda/cuda_backend.cuh"

/* Chosen by measurement (docs/engine-gpu.md). More warps would leave each fewer registers than attention needs; an even
 * number, for what lies behind their barriers in shared memory. */
#ifndef TOKEN_WARPS
#define TOKEN_WARPS 10
#endif
#ifndef TOKEN_DEEP
#define TOKEN_DEEP 2
#endif
#ifndef TOKEN_SLOTS
#define TOKEN_SLOTS 12
#endif
#ifndef TOKEN_FLIGHT
#define TOKEN_FLIGHT 2
#endif
#ifndef TOKEN_FEEDERS
#define TOKEN_FEEDERS 2
#endif
#ifndef TOKEN_TILE
#define TOKEN_TILE 128
#endif

enum {
  WORKERS = TOKEN_WARPS * 32, /* threads that compute; TOKEN_FEEDERS warps more bring weights */
  TOKEN_THREADS = WORKERS + 32 * TOKEN_FEEDERS,
  TOKEN_TILE_BYTES = TOKEN_TILE * 16, /* of each of two rows */
  TOKEN_SLOTS_MAX = TOKEN_SLOTS,
  TOKEN_HEADS = 2, /* query heads that one block attends together */
  TOKEN_SPLITS_MAX = 64,
  TOKEN_WIDTH_MAX = 128 /* of a head */
};

static inline int token_threads(int warps) {
  return (warps + TOKEN_FEEDERS) * 32;
}

enum token_matrix {
  TOKEN_QKV,
  TOKEN_O,
  TOKEN_FFN,
  TOKEN_DOWN,
  TOKEN_LAYER_MATRICES,
  TOKEN_HEAD = TOKEN_LAYER_MATRICES,
  TOKEN_MATRICES
};

/* How a matrix is cut; the same in every layer. A unit is a pair of rows, or 1 / 2^share_log of its tiles. */
struct token_shape {
  int pairs, step, distance; /* pair p is rows p * step and p * step + distance */
  int rows, cols, chunks;    /* chunks of 16 bytes in a row */
  int tile, tiles;           /* chunks of a tile, tiles of a row */
  int share_log, scale_ld;   /* scale_ld 0: no scales */
};

struct token_layer { /* on the device */
  const void *data[TOKEN_LAYER_MATRICES];
  const __half *scale[TOKEN_LAYER_MATRICES];
  const float *bias[TOKEN_LAYER_MATRICES];
  const float *gain[2], *shift[2]; /* of the norms before attention and before the FFN */
  const float *q_norm, *k_norm;
};

struct token_args {
  struct query_item item;
  struct slot_change changes[STEP_CHANGES];
  struct draw draw;
  struct token_shape shape[TOKEN_MATRICES];
  const struct token_layer *layers;
  struct matrix embedding, head;
  struct norm final_norm;
  struct attend attend; /* what all layers share; no input and output */
  const double *frequency;
  uint64_t window;
  int n_layers, window_from, order[TOKEN_LAYER_MATRICES]; /* in which a layer takes its matrices */
  int slots, x_bytes, sum_floats;                         /* of a ring; of the shared memory's parts */
  enum activation activation;
  bool gated, parallel;
  int kind;     /* enum step_kind */
  unsigned tag; /* of the first layer; the embedding has the one before, each layer and the head the next */
  unsigned long long *x[2], *qkv, *mixed, *act, *part, *best;
  float *logits, *hidden[2];
  struct draw *draw_to;
  struct drawn *drawn, *drawn_host;
};

/* Kernels for a type of weights and a width of heads (64 or 128), of ten warps or of eight. */
typedef void (*token_kernel_fn)(const struct token_args a);
token_kernel_fn token_kernel_f32(int width);
token_kernel_fn token_kernel_f16(int width);
token_kernel_fn token_kernel_bf16(int width);
token_kernel_fn token_kernel_bf16_eight(int width);
token_kernel_fn token_kernel_int8(int width);

#endif
