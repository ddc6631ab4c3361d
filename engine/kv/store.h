/* engine/kv: where the keys and values of kept tokens lie. Private to engine/.
 *
 * Tokens lie in slots, SLOT_BLOCK slots a block; a block holds all layers and heads of its slots, so that the store
 * grows without moving what it has. A slot of an evicted token is given out again only when no query of the same chunk
 * can still need it (KV_CHUNK - 1 tokens later), so the slot of a token, and with it the order of every sum in
 * attention, depends on the tokens alone and not on how they were cut into chunks.
 *
 * A store has two regions of slots: the first `pinned` ones (sinks that are attended with a query position of their
 * own) and the others. Everything is private to one session; forks copy. */
#ifndef SLUICE_ENGINE_KV_STORE_H
#define SLUICE_ENGINE_KV_STORE_H

#include "engine/cpu/kernels.h"

enum { KV_CHUNK = 64 };         /* the most tokens that one forward pass takes */
#define KV_SLOTS_MAX (1u << 24) /* tokens held at once, whatever the policy */
#define KV_ALWAYS INT32_MAX     /* dead[slot] of a token that stays */

struct kv_released { /* no padding: snapshots hold it as it is */
  uint64_t slot;
  uint64_t usable; /* the first token number that may take the slot */
};

struct kv_store;
/* Where the blocks lie: in host memory, or on a device behind its back end. `owner` is the back end, NULL for the host.
 */
struct kv_place {
  void *owner;
  size_t element;                                  /* bytes of one number of a key or value */
  size_t (*block_bytes)(const struct kv_store *s); /* of one block, in a snapshot too */
  /* Makes s->memory one of `slots` slots; keeps the s->capacity that it had, zeros behind them (attention multiplies
   * unused values by zero, so they must be finite). On failure nothing has changed. */
  sluice_status (*resize)(struct kv_store *s, uint32_t slots, struct sluice_error *err);
  void (*release)(struct kv_store *s);
  /* The first `blocks` blocks of another store, to the host, from the host. */
  sluice_status (*copy)(struct kv_store *to, const struct kv_store *from, size_t blocks, struct sluice_error *err);
  sluice_status (*get)(const struct kv_store *s, size_t blocks, void *out, struct sluice_error *err);
  sluice_status (*set)(struct kv_store *s, size_t blocks, const void *from, struct sluice_error *err);
};
extern const struct kv_place kv_in_host_memory;

struct kv_store {
  const struct kv_place *place;
  int n_layers, n_kv_heads, head_dim;
  size_t v_width;          /* floats a value row: head_dim padded */
  size_t k_plane, v_plane; /* floats of one block's keys or values, one layer, one head */
  size_t block_floats;     /* a block's keys of all layers and heads, then its values; all of these on the host */
  size_t block_bytes;      /* of one block where it lies */

  uint32_t pinned;            /* slots of the first region, a multiple of SLOT_BLOCK */
  uint32_t limit;             /* slots at most, a multiple of SLOT_BLOCK; KV_SLOTS_MAX when the policy sets no bound */
  uint32_t capacity;          /* slots allocated */
  uint32_t next_pinned, next; /* the first slots of the regions never given out */

  void *memory;         /* of capacity / SLOT_BLOCK blocks, as the place has them; floats on the host */
  uint64_t *position;   /* [capacity] true position of the token in a slot */
  int32_t *born, *dead; /* [capacity] seen by token t of the running chunk when born <= t < dead */
  uint32_t *kept;       /* [capacity] slots of kept tokens, ascending position */
  uint32_t n_kept;
  struct kv_released *released; /* ring of [KV_CHUNK]: slots waiting, oldest first */
  uint32_t released_first, n_released;
  uint32_t *changed; /* [changed_max] slots whose born or dead speak of the running chunk */
  uint32_t changed_max;
  uint32_t n_changed;
  uint64_t tokens; /* tokens ever admitted */
  uint64_t chunk;  /* `tokens` when the running chunk began */
};

/* kept_max: tokens that the policy keeps at most (0: no bound); pinned: of these, how many go to the first region. */
sluice_status kv_open(struct kv_store *s, const struct kv_place *place, const struct model_config *c, uint32_t kept_max,
                      uint32_t pinned, struct sluice_error *err);
void kv_close(struct kv_store *s);
/* Forgets every token, keeps the memory. */
void kv_clear(struct kv_store *s);
sluice_status kv_copy(const struct kv_store *from, struct kv_store *to, struct sluice_error *err);

/* Room for n more tokens, whatever is evicted meanwhile: after it nothing below can fail. */
sluice_status kv_reserve(struct kv_store *s, uint64_t n, struct sluice_error *err);
/* A chunk: begin, then at most KV_CHUNK times evict at most one and admit one, then attention, then settle. A chunk in
 * which nothing is evicted may be longer. */
sluice_status kv_allow_chunk(struct kv_store *s, size_t tokens, struct sluice_error *err);
void kv_begin_chunk(struct kv_store *s);
/* Takes the token out that stands at `index` of `kept`; the token that is admitted next no longer sees it. */
void kv_evict(struct kv_store *s, uint32_t index);
/* Gives the next token its slot; pinned: in the first region while that has room. */
uint32_t kv_admit(struct kv_store *s, uint64_t position, bool pinned);
void kv_settle(struct kv_store *s);

/* On the host: of block 0; block_floats to the next. */
float *kv_keys(const struct kv_store *s, int layer, int head);
float *kv_values(const struct kv_store *s, int layer, int head);
size_t kv_token_bytes(const struct kv_store *s);     /* keys and values of one token over all layers and heads */
size_t kv_allocated_bytes(const struct kv_store *s); /* what was allocated, index arrays included */

/* The store as bytes, appended to *out; and back into a store opened with the same arguments. */
sluice_status kv_write(const struct kv_store *s, struct buffer *out, struct sluice_error *err);
/* *from moves behind what was read. SLUICE_INPUT when the bytes cannot be a store's; *s is then cleared. */
sluice_status kv_read(struct kv_store *s, struct slice *from, struct sluice_error *err);

#endif
