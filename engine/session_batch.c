/* One more token for several sessions at once: continuous batching. At one token a session the time of a step is the
 * time to read the weights, so many sessions that share one reading cost little more than one. */
#include "engine/session.h"

#include <stdlib.h>

enum { BATCH_MAX = KV_CHUNK };

static sluice_status check(struct session *const *sessions, const int32_t *ids, size_t n, struct sluice_error *err) {
  for (size_t i = 0; i < n; i++) {
    const int vocab = sessions[i]->backend->model->config.vocab;
    if (sessions[i]->backend != sessions[0]->backend)
      return sluice_fail(err, SLUICE_INTERNAL, "session_step_many: session %zu has a back end of its own", i);
    if (ids[i] < 0 || ids[i] >= vocab)
      return sluice_fail(err, SLUICE_INPUT, "sequence %zu: token id %d; the model knows 0 to %d", i, ids[i], vocab - 1);
  }
  return SLUICE_OK;
}

/* Sessions whose policy runs text itself go alone; the others, at most BATCH_MAX, together. */
static sluice_status step_together(struct session *const *s, const int32_t *ids, float *const *logits, size_t n,
                                   struct sluice_error *err) {
  struct backend_job jobs[BATCH_MAX];
  uint32_t *kept[BATCH_MAX] = {NULL};
  struct backend *b = s[0]->backend;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < n; i++) st = session_chunk_reserve(s[i], &kept[i], err);
  if (!st) { /* nothing of ours fails from here on */
    for (size_t i = 0; i < n; i++)
      session_chunk_begin(s[i], &ids[i], 1, logits[i], logits[i] ? 1 : 0, kept[i], &jobs[i]);
    if (b->ops->run_batch && n > 1)
      st = b->ops->run_batch(b, jobs, n, err);
    else
      for (size_t i = 0; !st && i < n; i++)
        st = b->ops->run(b, jobs[i].store, jobs[i].plan, jobs[i].ids, &jobs[i].want, err);
    for (size_t i = 0; !st && i < n; i++) session_chunk_end(s[i], &ids[i], 1, logits[i], logits[i] ? 1 : 0);
  }
  for (size_t i = 0; i < n; i++) free(kept[i]);
  return st;
}

sluice_status session_step_many(struct session *const *sessions, const int32_t *ids, float *const *logits, size_t n,
                                struct sluice_error *err) {
  struct session *group[BATCH_MAX];
  int32_t group_ids[BATCH_MAX];
  float *group_logits[BATCH_MAX];
  size_t waiting = 0;
  sluice_status st = check(sessions, ids, n, err);
  for (size_t i = 0; !st && i < n; i++) {
    if (sessions[i]->policy->family->run) {
      st = session_append(sessions[i], &ids[i], 1, logits[i], logits[i] ? 1 : 0, err);
      continue;
    }
    group[waiting] = sessions[i], group_ids[waiting] = ids[i], group_logits[waiting++] = logits[i];
    if (waiting < BATCH_MAX) continue;
    st = step_together(group, group_ids, group_logits, waiting, err);
    waiting = 0;
  }
  return st || !waiting ? st : step_together(group, group_ids, group_logits, waiting, err);
}

sluice_status session_open_beside(const struct session *s, const char *policy, uint64_t seed, struct session **out,
                                  struct sluice_error *err) {
  const struct policy_family *family;
  struct policy_settings settings;
  sluice_status st = policy_parse(policy ? policy : "full", &family, &settings, err);
  return st ? st : session_build(backend_share(s->backend), family, &settings, seed, out, err);
}
