/* One chunk of tokens through the network (Llama: RMSNorm, grouped-query attention with RoPE, SwiGLU). Private to
 * engine/. */
#ifndef SLUICE_ENGINE_FORWARD_H
#define SLUICE_ENGINE_FORWARD_H

#include "engine/kv/store.h"

enum { SEGMENTS_MAX = 2 };

/* A run of slots that a query attends with one position of its own. */
struct kv_segment {
  uint32_t first_slot, end_slot; /* first_slot is a multiple of SLOT_BLOCK */
  uint64_t query_position;
};

/* How keys lie in the store. */
enum key_form {
  KEYS_AT_TRUE_POSITION, /* rotated once, when they came; never touched again */
  KEYS_AT_CACHE_POSITION /* unrotated; rotated for attention by the index that the token has among the kept */
};

/* What each token of a chunk sees; made by the policy before the arithmetic starts. */
struct forward_plan {
  enum key_form form;
  int n, n_segments;
  uint32_t slot[KV_CHUNK];
  uint64_t position[KV_CHUNK]; /* at which a key at its true position is rotated */
  struct kv_segment segments[KV_CHUNK][SEGMENTS_MAX];
  /* KEYS_AT_CACHE_POSITION: tokens between two evictions form an epoch, in which no kept token changes its index. */
  int epoch[KV_CHUNK];            /* of each token */
  const uint32_t *kept[KV_CHUNK]; /* of each epoch: slots in order, as its last token sees them */
  uint32_t n_kept[KV_CHUNK];
};

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
/* The logits that belong to such a hidden state. */
void forward_logits(struct forward *f, const float *hidden, int n_rows, float *logits);

#endif
