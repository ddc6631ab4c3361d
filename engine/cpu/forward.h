/* One chunk of tokens through the network that model_config describes. Private to engine/. */
#ifndef SLUICE_ENGINE_FORWARD_H
#define SLUICE_ENGINE_FORWARD_H

#include "engine/backend.h"

/* Tokens of one run: enough that turning weights into panels costs a few per cent of the products, and few enough that
 * their rows stay in the outermost cache. */
enum { CPU_CHUNK = 512 };
_Static_assert(CPU_CHUNK % KV_CHUNK == 0, "backend_ops.chunk_max");

/* Kernels, threads and working memory for one model. Forks of a session share one, so they run one at a time. */
struct forward;
sluice_status forward_open(const struct model *m, const struct kernels *k, int threads, struct forward **out,
                           struct sluice_error *err);
struct forward *forward_share(struct forward *f);
void forward_close(struct forward *f); /* the last one frees */
const struct kernels *forward_kernels(const struct forward *f);
const struct model *forward_model(const struct forward *f);
/* Working memory for a store of `slots` slots, so that forward_run cannot fail. */
sluice_status forward_reserve(struct forward *f, uint32_t slots, enum key_form form, struct sluice_error *err);
/* Floats of a hidden state: d_model, padded with zeros. */
size_t forward_width(const struct forward *f);
/* backend_ops.run and run_batch. Only a batch asks for memory: room for its logits. */
void forward_run(struct forward *f, const struct backend_job *job);
sluice_status forward_run_batch(struct forward *f, const struct backend_job *jobs, size_t n_jobs,
                                struct sluice_error *err);
/* backend_ops.watch; NULL: nobody. */
void forward_watch(struct forward *f, layer_watch_fn fn, void *ctx);
/* The logits that belong to such a hidden state. */
void forward_logits(struct forward *f, const float *hidden, int n_rows, float *logits);

#endif
