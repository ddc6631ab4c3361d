/* One chunk of tokens through the network that model_config describes. Private to engine/. */
#ifndef SLUICE_ENGINE_FORWARD_H
#define SLUICE_ENGINE_FORWARD_H

#include "engine/backend.h"

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
/* Runs ids[plan->n], writes their keys and values into the store, the logits of the last n_rows tokens,
 * logits[n_rows][vocab], and the normalised last hidden state of the newest token, hidden[forward_width]. */
void forward_run(struct forward *f, struct kv_store *s, const struct forward_plan *plan, const int32_t *ids, int n_rows,
                 float *logits, float *hidden);
/* backend_ops.watch; NULL: nobody. */
void forward_watch(struct forward *f, layer_watch_fn fn, void *ctx);
/* The logits that belong to such a hidden state. */
void forward_logits(struct forward *f, const float *hidden, int n_rows, float *logits);

#endif
