/* What forward.c and attention.c share. Private to engine/cpu/. */
#ifndef SLUICE_ENGINE_CPU_WORKSPACE_H
#define SLUICE_ENGINE_CPU_WORKSPACE_H

#include "engine/cpu/forward.h"

/* Scratch of one thread in attention. */
struct lane_space {
  float *scores;        /* [ATTENTION_TILE][slots] */
  float *cosine, *sine; /* [blocks][half][SLOT_BLOCK]: rotation of each slot in the epoch at hand */
  float *keys;          /* [blocks][head_dim][SLOT_BLOCK]: keys rotated by it */
  int epoch;            /* whose cosines and sines lie here; -1: none */
  int32_t *dead;        /* [slots]: struct attention's, in a layer with a sliding window; NULL: the model has none */
  int dead_epoch;       /* of which tokens; -1: none */
  float *part[SEGMENTS_MAX]; /* [queries][head_dim] */
  float *lse;                /* [SEGMENTS_MAX][queries] */
  const float **q;           /* [queries] */
  float **out, **part_out;   /* [queries] */
  int32_t *time;             /* [queries] */
  float *panel;              /* [panel_floats]: matmul's */
};

struct forward {
  int shares;
  const struct model *model;
  const struct kernels *kernels;
  struct team *team;
  int lanes;
  int half;          /* head_dim / 2 */
  int group;         /* query heads a key-value head */
  double *frequency; /* [half] */
  int *head_order;   /* [head_dim]: rope_head_order; NULL: nothing to do */
  layer_watch_fn watch;
  void *watch_ctx;
  /* Rows of CPU_CHUNK tokens, each padded to KERNEL_PAD floats; the padding is zero and stays zero. */
  size_t d_width, q_width, kv_width, ff_width;
  float *x, *normed;            /* [CPU_CHUNK][d_width] */
  float *q, *mixed;             /* [CPU_CHUNK][q_width] */
  float *q_rotated;             /* [SEGMENTS_MAX][CPU_CHUNK][q_width] */
  float *k, *v;                 /* [CPU_CHUNK][kv_width] */
  float *gate, *up;             /* [CPU_CHUNK][ff_width] */
  struct operand operand;       /* what a product multiplies with weights: one of the rows above, made ready */
  float *q_cosine, *q_sine;     /* [SEGMENTS_MAX][CPU_CHUNK][half], over sqrt(head_dim) */
  float *k_cosine, *k_sine;     /* [CPU_CHUNK][half] */
  float *row_cosine, *row_sine; /* [slots][half]: every cache position */
  uint32_t slots;               /* what lanes and rows have room for */
  bool keys_reserved;
  struct lane_space *lane; /* [lanes] */
};

enum { TILE_TOKENS_MAX = 8 }; /* tokens whose queries go to the kernel together */

/* Runs fn on all lanes when there is work for them: handing out a job costs some microseconds. */
void forward_spread(struct forward *f, double multiplications, void (*fn)(void *ctx, int lane, int lanes), void *ctx);
/* ---- elementwise.c ---- */
void layer_norm(const float *x, const float *gain, const float *bias, float eps, int n, float *out);
void head_norm(float *x, const float *gain, float eps, int n); /* RMSNorm in place, no padding */
void head_reorder(float *x, const int *order, int n, float *scratch);
void activate(enum activation kind, float *x, int n);

/* mixed[t] = attention output of tokens [from, plan->n) in one layer; q, and the store's keys and values, are ready. */
void forward_attend(struct forward *f, const struct kv_store *s, const struct forward_plan *plan, int layer, int from);

#endif
