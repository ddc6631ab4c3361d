/* A step of generation on a back end that draws tokens itself: a row of logits never leaves the device. */
#include <stdlib.h>

#include "engine/session.h"

bool session_draws(const struct session *s) {
  return s->backend->ops->draws && !s->policy->family->run && !s->policy->family->wants_surprisal;
}

static sluice_status check(struct session *const *sessions, const int32_t *ids, size_t n, struct sluice_error *err) {
  if (n > KV_CHUNK)
    return sluice_fail(err, SLUICE_INTERNAL, "session_draw_many: %zu sessions, at most %d", n, KV_CHUNK);
  for (size_t i = 0; i < n; i++) {
    const int vocab = sessions[i]->backend->model->config.vocab;
    if (sessions[i]->backend != sessions[0]->backend)
      return sluice_fail(err, SLUICE_INTERNAL, "session_draw_many: session %zu has a back end of its own", i);
    if (ids[i] < 0 || ids[i] >= vocab)
      return sluice_fail(err, SLUICE_INPUT, "sequence %zu: token id %d; the model knows 0 to %d", i, ids[i], vocab - 1);
  }
  return SLUICE_OK;
}

sluice_status session_draw_many(struct session *const *sessions, const int32_t *ids, const struct draw *how,
                                struct drawn *out, size_t n, struct sluice_error *err) {
  struct backend_job jobs[KV_CHUNK];
  uint32_t *kept[KV_CHUNK] = {NULL};
  sluice_status st = check(sessions, ids, n, err);
  const size_t all = st ? 0 : n;
  for (size_t i = 0; !st && i < n; i++) st = session_chunk_reserve(sessions[i], &kept[i], err);
  for (size_t i = 0; !st && i < n; i++) {
    session_chunk_begin(sessions[i], &ids[i], 1, NULL, 0, kept[i], &jobs[i]);
    jobs[i].want.draw = &how[i];
    jobs[i].want.drawn = &out[i];
  }
  struct backend *b = n ? sessions[0]->backend : NULL;
  if (!st && n > 1 && b->ops->run_batch)
    st = b->ops->run_batch(b, jobs, n, err);
  else
    for (size_t i = 0; !st && i < n; i++)
      st = b->ops->run(b, jobs[i].store, jobs[i].plan, jobs[i].ids, &jobs[i].want, err);
  for (size_t i = 0; !st && i < n; i++) session_chunk_end(sessions[i], &ids[i], 1, NULL, 0);
  for (size_t i = 0; i < all; i++) free(kept[i]);
  return st;
}

sluice_status session_draw(struct session *s, int32_t id, const struct draw *how, struct drawn *out,
                           struct sluice_error *err) {
  return session_draw_many(&s, &id, how, out, 1, err);
}
