/* What each token of a chunk sees. Made by the policy before the arithmetic starts; read by every back end. Private to
 * engine/. */
#ifndef SLUICE_ENGINE_PLAN_H
#define SLUICE_ENGINE_PLAN_H

#include "engine/kv/store.h"

enum { SEGMENTS_MAX = 2 };

/* A run of slots that a query attends with one position of its own. Every head sees the same slots today; a policy that
 * keeps others for each head will name its list here. */
struct kv_segment {
  uint32_t first_slot, end_slot; /* first_slot is a multiple of SLOT_BLOCK */
  uint64_t query_position;
};

/* How keys lie in the store. */
enum key_form {
  KEYS_AT_TRUE_POSITION, /* rotated once, when they came; never touched again */
  KEYS_AT_CACHE_POSITION /* unrotated; rotated for attention by the index that the token has among the kept */
};

struct forward_plan {
  enum key_form form;
  int n, n_segments;
  uint32_t *slot;                              /* [n] */
  uint64_t *position;                          /* [n] at which a key at its true position is rotated */
  struct kv_segment (*segments)[SEGMENTS_MAX]; /* [n] */
  /* KEYS_AT_CACHE_POSITION: tokens between two evictions form an epoch, in which no kept token changes its index. */
  int *epoch;            /* [n] of each token */
  const uint32_t **kept; /* [epochs]: slots in order, as the epoch's last token sees them */
  uint32_t *n_kept;      /* [epochs] */
};

sluice_status plan_open(struct forward_plan *p, size_t tokens, struct sluice_error *err);
void plan_close(struct forward_plan *p);

#endif
