/* The CUDA back end's own struct: run.cu opens it and tells it what a step is, step.cu enqueues the step. Private to
 * engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_BACKEND_CUH
#define SLUICE_ENGINE_CUDA_BACKEND_CUH

#include "engine/cuda/session_memory.cuh"

/* What follows the layers of a decode step. */
enum step_kind { STEP_HIDDEN, STEP_LOGITS, STEP_GREEDY, STEP_BY_CHANCE, STEP_KINDS };

enum {
  ROWS_MAX = 2048,                        /* tokens of one chunk */
  LOGIT_ROWS = 64,                        /* rows of logits computed at a time */
  FLASH_FROM = 16,                        /* queries from which tensor cores pay */
  GRAPHS = STEP_KINDS * 7 * SEGMENTS_MAX, /* for 1, 2, 4 .. 64 shares of attention */
  BATCH_GRAPHS = 32,
  STEP_CHANGES = 2, /* slots that one token changes at most: one goes, one comes */
  BLAS_BYTES = 32 << 20,
  EXPAND_ELEMENTS = 32 << 20 /* int8 weights made bf16 at a time */
};

/* What a decode step reads from the host, in one copy. */
struct step_head {
  struct slot_change changes[STEP_CHANGES];
  struct draw draw;
  struct query_item items[1]; /* [ROWS_MAX] */
};

struct batch_graph { /* what a graph of a batch depends on */
  cudaGraphExec_t graph;
  int n, n_segments, splits;
  enum step_kind kind;
  uint64_t used;
};

struct token_args;
struct cuda_backend {
  struct backend base;
  struct launcher launcher;
  const struct device_weights *w;
  struct kv_shape kv;
  float score_scale;
  struct kv_place place;
  cublasHandle_t blas;
  cudaGraphExec_t graph[GRAPHS];
  bool plain;    /* no graphs and no overlap: for debuggers and checkers of memory */
  bool stepwise; /* a decode step is never one launch */
  char kernel[64];
  layer_watch_fn watch;
  void *watch_ctx;
  float *watch_rows; /* host, [ROWS_MAX][ld] */

  struct step_head *head, *head_host; /* with room for ROWS_MAX items; pinned */
  struct slot_change *changes, *changes_host;
  float *x;                                           /* [ROWS_MAX][ld of d_model] */
  void *normed, *qkv, *mixed, *middle, *act, *turned; /* of the low type, for chunks */
  float *v_qkv, *v_mixed, *v_act;                     /* for one token */
  float2 *angles;
  float *part;
  unsigned *arrived;
  float *logits, *hidden;           /* [LOGIT_ROWS][vocab], [ld] */
  float *logits_host, *hidden_host; /* [vocab], [ld]: pinned */
  float *states, *states_host;      /* [LOGIT_ROWS][ld]: hidden states of a batch */
  struct drawn *drawn, *drawn_host; /* kernels write results to pinned memory themselves: a copy would take longer */
  struct draw *draws;               /* [DRAW_ROWS], of a batch */
  struct drawn *drawn_batch;        /* [DRAW_ROWS] */
  struct draw *draws_host;          /* the same, pinned */
  struct drawn *drawn_batch_host;
  struct batch_graph batches[BATCH_GRAPHS];
  uint64_t batch_clock;
  void *draw_scratch;
  void *expanded, *blas_space;
  void *owned; /* one allocation for all of them */

  float2 *row_angles; /* [slots][half]: cache positions */
  void *kept_keys;    /* [kv heads][slots][width] */
  uint32_t *index_host;
  uint32_t slots; /* what these three have room for */

  /* token.cu */
  void (*token_kernel)(const struct token_args a); /* NULL: steps go through graphs */
  struct token_args *token;
  void *token_memory;
  size_t token_shared;
  int token_blocks, token_warps;
  unsigned token_tag; /* of the next launch */
};

/* A chunk, or one token of each of several sessions. */
struct chunk {
  int n, n_segments, n_rows; /* n_rows: of the last tokens, whose logits are asked for */
  bool one_store;
  enum key_form form;
  uint32_t slots;                  /* the most that a query sees */
  const struct forward_plan *plan; /* one store: for epochs */
  int n_changes;
};

/* One token through all layers, its hidden state and what else `kind` says to the host. */
cudaError_t step_decode(struct cuda_backend *b, int n_segments, int splits, enum step_kind kind);
/* The same as one launch, where token_kernel is there. `slots`: that the token sees. */
cudaError_t token_step(struct cuda_backend *b, int n_segments, uint32_t slots, enum step_kind kind);
sluice_status token_open(struct cuda_backend *b, struct sluice_error *err);
void token_close(struct cuda_backend *b);
/* The successor of a row of logits at b->logits into b->drawn. */
cudaError_t step_draw(struct cuda_backend *b, bool by_chance);
/* All layers for a chunk; x then holds its rows. Logits are step_logits' part. */
cudaError_t step_chunk(struct cuda_backend *b, const struct chunk *c);
/* Logits of rows [first, first + n) of x into b->logits, n <= LOGIT_ROWS. */
cudaError_t step_logits(struct cuda_backend *b, int first, int n);
/* The normalised hidden states of n rows from `first` on into `to`. */
cudaError_t step_hidden(struct cuda_backend *b, int first, int n, float *to);

#endif
