/* One step of generation on a back end that draws tokens itself: a row of logits never leaves the device. */
#include <stdlib.h>

#include "engine/session.h"

bool session_draws(const struct session *s) {
  return s->backend->ops->draws && !s->policy->family->run && !s->policy->family->wants_surprisal;
}

sluice_status session_draw(struct session *s, int32_t id, const struct draw *how, struct drawn *out,
                           struct sluice_error *err) {
  const int vocab = s->backend->model->config.vocab;
  if (id < 0 || id >= vocab)
    return sluice_fail(err, SLUICE_INPUT, "token id %d; the model knows 0 to %d", id, vocab - 1);
  uint32_t *kept = NULL;
  struct backend_job job;
  sluice_status st = session_chunk_reserve(s, &kept, err);
  if (st) return st;
  session_chunk_begin(s, &id, 1, NULL, 0, kept, &job);
  job.want.draw = how;
  job.want.drawn = out;
  st = s->backend->ops->run(s->backend, job.store, job.plan, &id, &job.want, err);
  if (!st) session_chunk_end(s, &id, 1, NULL, 0);
  free(kept);
  return st;
}
