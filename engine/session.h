/* Inside of a session; for engine/ and its tests. */
#ifndef SLUICE_ENGINE_SESSION_H
#define SLUICE_ENGINE_SESSION_H

#include "engine/backend.h"
#include "engine/policies/policy.h"

struct session {
  struct backend *backend;
  struct forward_plan plan;
  size_t plan_tokens; /* what it has room for */
  struct kv_store store;
  struct policy *policy;
  char *canonical;
  uint64_t seed;
  uint64_t seen;     /* tokens appended */
  uint64_t position; /* true position of the next token; seen, unless session_skip moved it */
  size_t peak_bytes;
  float *hidden;     /* [backend width] of the newest token that was computed */
  bool hidden_fresh; /* that token is the newest of the text */
  float
      *last_logits; /* [vocab] of the newest token, for its successor's surprisal; NULL unless the policy wants that */
  float last_lse;
  int32_t last_id; /* -1: no token yet */
  float *rows;     /* [KV_CHUNK][vocab] scratch of the same policies */
};

/* An empty session; takes `backend` over, also when it fails. */
sluice_status session_build(struct backend *backend, const struct policy_family *family,
                            const struct policy_settings *settings, uint64_t seed, struct session **out,
                            struct sluice_error *err);
/* An empty session with the same model, policy, seed and kernel; the two share threads and working memory. */
sluice_status session_twin(const struct session *s, struct session **out, struct sluice_error *err);
/* Gives the next token a true position that is n higher than it would be, as if n tokens had come and gone. For tests
 * of far positions and for the benchmark; only meaningful when no kept token is attended across the gap. */
void session_skip(struct session *s, uint64_t n);
/* A chunk in three steps, for sessions that take one together (session_batch.c): room for one token, the policy's part,
 * and what follows the arithmetic. *kept (caller frees) must live until the chunk has ended. */
sluice_status session_chunk_reserve(struct session *s, uint32_t **kept, struct sluice_error *err);
void session_chunk_begin(struct session *s, const int32_t *ids, int n, float *logits, int n_rows, uint32_t *kept,
                         struct backend_job *job);
void session_chunk_end(struct session *s, const int32_t *ids, int n, float *logits, int n_rows);
/* Whether session_draw can be called: the back end draws tokens itself, and nothing asks for whole rows of logits. */
bool session_draws(const struct session *s);
/* Appends one token and draws its successor, which is not appended. The second: to each of at most KV_CHUNK sessions of
 * one back end, together. */
sluice_status session_draw(struct session *s, int32_t id, const struct draw *how, struct drawn *out,
                           struct sluice_error *err);
sluice_status session_draw_many(struct session *const *sessions, const int32_t *ids, const struct draw *how,
                                struct drawn *out, size_t n, struct sluice_error *err);
/* What a fork held at most was held for this session's dialogue: its peak counts here too. A policy that computes only
 * where a score is asked for may never hold anything but in the fork that was asked. */
void session_count_aside(struct session *s, const struct session *fork);
/* Memory that the session holds for its cache, index arrays and staging included. */
size_t session_allocated(const struct session *s);

#endif
