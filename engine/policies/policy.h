/* engine/policies: which tokens stay in the cache, and at which positions attention sees them. Private to engine/.
 *
 * One policy is one file and one line in table.c. A policy decides before the arithmetic of a chunk runs, token by
 * token: `append` may evict one kept token for the one that comes, then `attend` says in which segments the new token
 * sees the kept ones, each segment with a query position of its own. Everything else has a default.
 *
 * Families that come later have their place here: eviction by layer and head (H2O, SnapKV, DuoAttention) gives the
 * store one `kept` a head and this table an op that hears attention's weights; storage (KIVI, q8) replaces kv_keys and
 * kv_values behind kv/store.h; selection (Quest, InfLLM) returns more, smaller segments from `attend`. Names joined by
 * '+' compose them; policy_parse says which pairs compose (none yet). */
#ifndef SLUICE_ENGINE_POLICY_H
#define SLUICE_ENGINE_POLICY_H

#include "engine/plan.h"

struct policy_settings { /* what the keys of a policy string say; unused ones are zero */
  uint32_t budget;       /* tokens kept at most, all parts together; 0: all */
  uint32_t sinks, recent, entropy;
  double decay;
  bool repo; /* sirllm: mode=repo */
  uint64_t seed;
};

struct policy_family;
struct policy { /* the first member of every policy's own struct */
  const struct policy_family *family;
  struct policy_settings settings;
};

/* What a policy that replaces the whole of session_append gets (recompute). */
struct policy_runner {
  struct kv_store *store;
  void *ctx;
  /* Tokens through the network at positions that follow the store's; logits of the last n_rows, or NULL. */
  sluice_status (*feed)(void *ctx, const int32_t *ids, size_t n, float *logits, size_t n_rows,
                        struct sluice_error *err);
  /* Room for n tokens in the store, so that feeding them cannot fail. */
  sluice_status (*reserve)(void *ctx, size_t n, struct sluice_error *err);
  int vocab;
};

struct policy_family {
  const char *name;
  const char *const *known_keys; /* NULL-terminated */
  enum key_form form;
  int n_segments;
  bool pins_sinks;      /* the first settings.sinks tokens lie in the store's own region */
  bool wants_surprisal; /* observe gets -log p of every token */

  sluice_status (*configure)(const struct spec *spec, struct policy_settings *out, struct sluice_error *err);
  sluice_status (*describe)(const struct policy_settings *s, struct buffer *out, struct sluice_error *err);
  size_t size; /* of the policy's struct; zeroed, base filled before `open` */
  sluice_status (*open)(struct policy *p, uint64_t seed, struct sluice_error *err); /* NULL: nothing to do */
  void (*close)(struct policy *p);                                                  /* frees what open took, not p */

  /* How many tokens may come before `observe` is heard; NULL: any number. */
  size_t (*reach)(const struct policy *p);
  void (*append)(struct policy *p, struct kv_store *s); /* makes room for one token; NULL: keeps everything */
  /* How the token admitted last, at `position`, sees the kept ones: n_segments entries. */
  void (*attend)(const struct policy *p, const struct kv_store *s, uint64_t position, struct kv_segment *out);
  /* After the arithmetic of a chunk: its slots and, when wanted, surprisals in nats (NAN when no logits came before).
   */
  void (*observe)(struct policy *p, const struct kv_store *s, const uint32_t *slots, const float *surprisal, size_t n);
  void (*end_turn)(struct policy *p, struct kv_store *s);
  sluice_status (*fork)(const struct policy *from, struct policy *to,
                        struct sluice_error *err); /* owned memory of *to */
  sluice_status (*snapshot)(const struct policy *p, const struct kv_store *s, struct buffer *out,
                            struct sluice_error *err);
  sluice_status (*restore)(struct policy *p, const struct kv_store *s, struct slice *from, struct sluice_error *err);
  size_t (*bytes)(const struct policy *p, const struct kv_store *s); /* KV bytes of kept tokens; NULL: kept x token */
  size_t (*trace)(const struct policy *p, const struct kv_store *s, uint64_t *positions,
                  size_t cap); /* NULL: the store's */
  /* Replaces the chunked forward pass altogether. */
  sluice_status (*run)(struct policy *p, struct policy_runner *r, const int32_t *ids, size_t n, float *logits,
                       size_t n_rows, struct sluice_error *err);
};

extern const struct policy_family policy_full, policy_window, policy_recompute, policy_streaming, policy_sirllm,
    policy_random, policy_interval;

extern const struct policy_family *const policy_families[]; /* table.c; ends with NULL */

/* Parses a policy string; SLUICE_USAGE names the wrong word and the nearest right one. */
sluice_status policy_parse(const char *text, const struct policy_family **family, struct policy_settings *settings,
                           struct sluice_error *err);
sluice_status policy_canonical(const struct policy_family *family, const struct policy_settings *s, char **out,
                               struct sluice_error *err);

/* ---- for configure (settings.c) ---- */
enum { POLICY_TOKENS_MAX = 1 << 23 }; /* the largest number of tokens a key may name */
sluice_status policy_tokens(const struct spec *spec, const char *key, uint32_t fallback, uint32_t min, uint32_t *out,
                            struct sluice_error *err);
/* budget= is the total: the part named `rest` gets what `taken` leaves. Without budget= the part's own key, or
 * `fallback`. */
sluice_status policy_budget(const struct spec *spec, const char *rest, uint32_t taken, uint32_t fallback,
                            struct policy_settings *s, uint32_t *part, struct sluice_error *err);

/* ---- one segment over everything kept ---- */
void policy_attend_true(const struct policy *p, const struct kv_store *s, uint64_t position, struct kv_segment *out);
void policy_attend_cache(const struct policy *p, const struct kv_store *s, uint64_t position, struct kv_segment *out);

/* Moves n bytes from the front of *from to `to`; SLUICE_INPUT when there are fewer. */
sluice_status policy_take(struct slice *from, void *to, size_t n, struct sluice_error *err);

/* ---- rounds (rounds.c): what SirLLM's eviction and its baselines share ----
 * Upstream evicts once before a dialogue round is fed, to make room for all of it. A stream does not know how long a
 * round will be, so here the room is made token by token, always from the rounds before: the running round stays whole,
 * and what is left of the earlier ones when it ends is what upstream's single eviction leaves. A round longer than half
 * of the budget behind the sinks is cut into segments of that length, each ending like a round but without decay. */
struct policy_rounds {
  uint32_t segment; /* tokens of the running segment */
  uint32_t segment_max;
};
void rounds_open(struct policy_rounds *r, const struct policy_settings *s);
/* Counts a coming token in. True when one must go first: a kept one with index in [*first, *end). */
bool rounds_append(struct policy_rounds *r, const struct policy_settings *s, const struct kv_store *store,
                   uint32_t *first, uint32_t *end);
sluice_status rounds_restore(struct policy_rounds *r, const struct kv_store *s, struct slice *from,
                             struct sluice_error *err);

#endif
