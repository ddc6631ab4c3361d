/* The back ends: where the arithmetic of a session runs. One table of functions for each; the CPU's is in
 * engine/cpu/backend_cpu.c, CUDA's comes as a library of its own (engine/plugin.c). A session decides with its policy
 * which tokens are kept and what each sees (engine/plan.h) and hands that over; a back end holds the weights, the keys
 * and values, and working memory. Private to engine/. */
#ifndef SLUICE_ENGINE_BACKEND_H
#define SLUICE_ENGINE_BACKEND_H

#include "engine/plan.h"

struct backend_options {
  const char *device;  /* NULL: "cpu" */
  const char *kernel;  /* NULL: the best there is */
  const char *weights; /* NULL: as the files have them */
  int threads;
};

struct backend_ops;
struct backend { /* the first member of every back end's own struct */
  const struct backend_ops *ops;
  const struct model *model;
  const struct kernels *host; /* for the little arithmetic that sessions do on rows of logits */
  int shares;
};

/* How a back end that draws tokens itself draws one (engine/sampler.c has the rules), and what it drew. */
struct draw {
  float temperature; /* 0: the most likely */
  int top_k;         /* 0: off */
  float top_p;       /* 0 or 1: off */
  float min_p;       /* of the largest probability; 0: off */
  double uniform;    /* in [0, 1) */
};
struct drawn {
  int32_t id;
  float logit,
      log_sum;   /* its logit, and the log of the sum of exp of all: the first less the second is its log-probability */
  float largest; /* the largest logit */
};

/* What a chunk is run for. */
struct backend_result {
  int n_rows;    /* logits of the last n_rows tokens */
  float *logits; /* [n_rows][vocab] */
  float *hidden; /* [width]: the normalised last hidden state of the newest token */
  const struct draw
      *draw; /* NULL, or for one token, where backend_ops.draws: its successor into *drawn, in place of logits */
  struct drawn *drawn;
};

/* The residual stream behind a layer (-1: the embeddings): rows x[n][width] of tokens first, first+1, ... of the chunk;
 * in the last layer only of those whose logits are asked for. */
typedef void (*layer_watch_fn)(void *ctx, int layer, int first, int n, const float *x, size_t width);

/* One of several stores that take a chunk together. */
struct backend_job {
  struct kv_store *store;
  const struct forward_plan *plan;
  const int32_t *ids; /* [plan->n] */
  struct backend_result want;
};

struct backend_ops {
  const char *name;
  sluice_status (*open)(const struct model *m, const struct backend_options *o, struct backend **out,
                        struct sluice_error *err);
  void (*close)(struct backend *b);
  const char *(*kernel)(const struct backend *b); /* "avx512", "sm_90": a build's results depend on it */
  size_t (*width)(const struct backend *b);       /* floats of a hidden state, padding included */
  /* Tokens that one run takes at most while none is evicted; a multiple of KV_CHUNK. */
  size_t chunk_max;
  bool draws;                                         /* knows backend_result.draw */
  const struct kv_place *(*place)(struct backend *b); /* for kv_open */
  /* Working memory for a store of `slots` slots. After it `run` fails only where a device does. */
  sluice_status (*reserve)(struct backend *b, uint32_t slots, enum key_form form, struct sluice_error *err);
  /* Runs ids[plan->n], writes their keys and values into the store, and what *want asks for. */
  sluice_status (*run)(struct backend *b, struct kv_store *s, const struct forward_plan *plan, const int32_t *ids,
                       const struct backend_result *want, struct sluice_error *err);
  /* The same for several stores, which have had their `reserve`: the weights are read once for all. On the CPU each
   * gets the bits that it would get alone; a GPU's products sum in another order in a batch. At most KV_CHUNK tokens in
   * all. NULL: they are run one after another. */
  sluice_status (*run_batch)(struct backend *b, const struct backend_job *jobs, size_t n, struct sluice_error *err);
  /* The logits that belong to a hidden state. */
  sluice_status (*logits)(struct backend *b, const float *hidden, float *logits, struct sluice_error *err);
  /* Has fn see every layer of the runs that follow; NULL: this back end cannot. For comparisons with other programs. */
  void (*watch)(struct backend *b, layer_watch_fn fn, void *ctx);
};

/* SLUICE_USAGE for a device that nobody knows, SLUICE_UNSUPPORTED for one that is not here, with the reason. Forks of a
 * session share one back end, so they run one at a time. */
sluice_status backend_open(const struct model *m, const struct backend_options *o, struct backend **out,
                           struct sluice_error *err);
struct backend *backend_share(struct backend *b);
void backend_close(struct backend *b); /* the last one frees */

extern const struct backend_ops backend_cpu;

/* engine/plugin.c: a symbol of libsluice-cuda.so, which is loaded at the first question. */
sluice_status cuda_symbol(const char *name, const void **out, struct sluice_error *err);

#endif
