/* engine/train: what the files of the trainer share. Private to this folder. */
#ifndef SLUICE_ENGINE_TRAIN_H
#define SLUICE_ENGINE_TRAIN_H

#include "engine/train/network.h"

/* ---- corpus.c: a file of JSON lines as numbered token sequences ---- */
struct corpus;
sluice_status corpus_open(const char *path, struct corpus **out, struct sluice_error *err);
void corpus_close(struct corpus *c);
size_t corpus_lines(const struct corpus *c);
/* Line `line` as `length` tokens and their targets: <s> (which the tokenizer must have) first, cut at length, padded
 * with weight 0. A token that overlaps an answer span weighs answer_weight, another one 1. The sum of the weights is
 * added to *weight_sum. */
struct sequence {
  int32_t *tokens, *targets;
  real *weights;
};
sluice_status corpus_sequence(const struct corpus *c, const struct tokenizer *t, size_t line, int length,
                              double answer_weight, struct sequence out, double *weight_sum, struct sluice_error *err);

/* ---- optimizer.c ---- */
struct adamw {
  double beta1, beta2, eps, weight_decay;
  float *m, *v; /* [size] */
};
/* One step over parameters [from, to): t counts from 1; decay only where `decays` says (matrices, not norms). */
void adamw_step(const struct adamw *o, float *params, const float *grad, float grad_scale, double lr, int64_t t,
                size_t from, size_t to, const struct net_shape *s);
/* The end of the run of parameters at i that are alike in decaying or not. */
size_t adamw_run(const struct net_shape *s, size_t i, bool *decays);
/* Linear warm-up, then half a cosine from lr to lr_end at `total` steps. step counts from 0. */
double learning_rate(const struct train_options *o, int64_t step, int64_t total);

/* ---- checkpoint.c: everything that the next step depends on, in one file written atomically ---- */
struct train_state {
  int64_t step;   /* steps done over all stages */
  int64_t tokens; /* tokens seen */
  float *params, *m, *v;
  size_t size;
};
/* fingerprint: hash of what must not change between the parts of a run (shape, seed, stages, lanes, precision). */
sluice_status checkpoint_write(const char *path, const struct train_state *s, uint64_t fingerprint,
                               struct sluice_error *err);
sluice_status checkpoint_read(const char *path, struct train_state *s, uint64_t fingerprint, struct sluice_error *err);

/* ---- export.c: parameters -> model.safetensors, config.json and tokenizer.json of a Hugging Face folder ---- */
sluice_status train_export(const struct train_options *o, const struct net_shape *s, const float *params,
                           struct sluice_error *err);

/* ---- device: where a step's arithmetic runs. cpu.c, and engine/cuda when the build has it ---- */
struct train_device; /* opaque per implementation */
struct train_backend {
  const char *name;
  sluice_status (*open)(const struct train_options *o, const struct net_shape *s, int max_length, int max_batch,
                        const float *params, struct train_device **out, struct sluice_error *err);
  void (*close)(struct train_device *d);
  /* Forward and backward of `sequences` of `length` tokens; the gradient stays on the device. */
  sluice_status (*gradient)(struct train_device *d, const struct net_batch *batch, struct net_result *out,
                            struct sluice_error *err);
  /* Global norm of the gradient, clipping, AdamW; zeroes the gradient. */
  sluice_status (*update)(struct train_device *d, double lr, int64_t t, double *grad_norm, struct sluice_error *err);
  /* Copies parameters and moments to (get) or from (set) the host. */
  sluice_status (*get)(struct train_device *d, struct train_state *s, struct sluice_error *err);
  sluice_status (*set)(struct train_device *d, const struct train_state *s, struct sluice_error *err);
};
extern const struct train_backend train_backend_cpu;
/* "cpu" or "cuda"; a build without CUDA answers SLUICE_UNSUPPORTED and says so. */
sluice_status train_backend_find(const char *device, const struct train_backend **out, struct sluice_error *err);

#endif
