/* The arithmetic of one forward pass, as a table of functions for each instruction set. Private to engine/.
 *
 * Every element of a result is summed in an order that depends on the kernel alone: not on how many tokens or queries
 * are worked on together, nor on how rows are dealt to threads. So a text gives the same bits however it is cut into
 * chunks. */
#ifndef SLUICE_ENGINE_KERNELS_H
#define SLUICE_ENGINE_KERNELS_H

#include "engine/model/model.h"

enum {
  KERNEL_PAD = 16, /* activations' rows hold a multiple of this many floats; what pads them stays finite */
  SLOT_BLOCK = 16  /* keys of this many tokens lie together, dimension by dimension */
};

static inline size_t kernel_padded(size_t n) {
  return (n + KERNEL_PAD - 1) / KERNEL_PAD * KERNEL_PAD;
}

/* Softmax attention of some queries over one segment of kept tokens, one layer, one key-value head. */
struct attention {
  const float *k;        /* block 0: [head_dim][SLOT_BLOCK] */
  const float *v;        /* block 0: [SLOT_BLOCK][v_width] */
  size_t k_step, v_step; /* floats from one block to the next */
  size_t v_width;        /* head_dim padded to KERNEL_PAD */
  int head_dim, first_block, end_block;
  /* A slot is seen by a query of time t when born[slot] <= t < dead[slot]. */
  const int32_t *born, *dead;
  const float *const *q; /* [n_queries] -> [head_dim], already divided by sqrt(head_dim) */
  const int32_t *time;   /* [n_queries] */
  int n_queries;
  float *scores;     /* scratch: ATTENTION_TILE * (end_block - first_block) * SLOT_BLOCK */
  float *const *out; /* [n_queries] -> [head_dim]: softmax-weighted mean of the values seen; zeros when none is */
  float *lse;        /* [n_queries]: log of the sum of exp(score); -INFINITY when nothing is seen */
};
enum { ATTENTION_TILE = 8 };

/* Activations of some tokens as one side of products, in the forms that weights ask for. Weights of F32, F16 and BF16
 * meet the floats themselves. Quantised ones meet integers of eight bits with a step for each ACT_GROUP of them: the
 * largest of a group maps to 127 or -127, the others round to the nearest, ties to even. */
enum { ACT_GROUP = 32 };
struct operand {
  const float *x; /* [n_tokens][ldx], padded */
  size_t ldx;
  int cols, n_tokens;
  /* Made by kernels.prepare. A token has room for `width` elements, a multiple of 512, at least cols. For few tokens
   * each one's elements lie in order, zeros behind cols. For many, some tokens form a tile, whose elements lie one
   * behind the other (products.inc). Groups are whole or, for Q6_K and Q3_K, half ones. */
  size_t width;
  float *turned;     /* [n_tokens][width]: the floats, for many tokens */
  int8_t *q;         /* [n_tokens][width] */
  int8_t *by_halves; /* [n_tokens][width]: q of few tokens, where rows ask for it: of 4 groups the first halves, then
                        the second */
  float *step[2];    /* [n_tokens][groups]: by whole and by half groups */
  int32_t *minus[2]; /* [n_tokens][groups]: the group's -q, summed */
  float *total;      /* [n_tokens][whole groups]: step * sum of q */
};
/* Room for n_tokens rows of up to cols; operand_free works on what a failed open leaves. */
sluice_status operand_open(struct operand *o, int cols, int n_tokens, struct sluice_error *err);
void operand_free(struct operand *o);
size_t panel_floats(int cols); /* scratch of one thread in matmul */

struct kernels {
  const char *name;
  /* Makes what products of o with weights of type d ask for, for tokens [begin, end) of it; all of them before the
   * product. */
  void (*prepare)(struct operand *o, enum dtype d, int begin, int end);
  /* y[t][row] (+)= sum over c of w[row][c] * o[t][c], rows [row_begin, row_end), all tokens of o, which is prepared.
   * ldy in floats; panel is scratch of the calling thread. */
  void (*matmul)(const struct weight *w, int row_begin, int row_end, const struct operand *o, float *y, size_t ldy,
                 bool add, float *panel);
  /* out = x / rms(x) * gain; x is padded with zeros. */
  void (*rms_norm)(const float *x, const float *gain, float eps, int n, float *out);
  void (*swiglu)(float *gate, const float *up, int n); /* gate = silu(gate) * up; reads and writes padded rows */
  /* Half-split rotation of x[2*half] by angles whose cosines and sines are given. */
  void (*rotate)(const float *x, const float *cosine, const float *sine, int half, float *out);
  /* The same for whole key blocks: cosine and sine are [block][half][SLOT_BLOCK], out is [block][2*half][SLOT_BLOCK].
   */
  void (*rotate_blocks)(const float *k, size_t k_step, const float *cosine, const float *sine, int half, int n_blocks,
                        float *out);
  void (*attend)(const struct attention *a);
  float (*log_sum_exp)(const float *x, int n); /* of unpadded x */
};

extern const struct kernels kernels_portable;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512, kernels_avx512vnni;
#endif

/* name: NULL for the best that this CPU runs. SLUICE_USAGE for an unknown word, SLUICE_UNSUPPORTED for one this CPU
 * lacks. */
sluice_status kernels_find(const char *name, const struct kernels **out, struct sluice_error *err);

#endif
