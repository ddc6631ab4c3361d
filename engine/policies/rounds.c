#include "engine/policies/policy.h"

#include <string.h>

void rounds_open(struct policy_rounds *r, const struct policy_settings *s) {
  const uint32_t half = (s->budget - s->sinks) / 2;
  r->segment = 0;
  r->segment_max = half ? half : 1;
}

bool rounds_append(struct policy_rounds *r, const struct policy_settings *s, const struct kv_store *store,
                   uint32_t *first, uint32_t *end) {
  if (r->segment == r->segment_max) r->segment = 0;
  *first = s->sinks;
  *end = store->n_kept - r->segment;
  r->segment++;
  return store->n_kept == s->budget;
}

sluice_status policy_take(struct slice *from, void *to, size_t n, struct sluice_error *err) {
  if (from->len < n)
    return sluice_fail(err, SLUICE_INPUT, "snapshot: cut short: %zu bytes where %zu belong", from->len, n);
  memcpy(to, from->ptr, n);
  from->ptr += n;
  from->len -= n;
  return SLUICE_OK;
}

sluice_status rounds_restore(struct policy_rounds *r, const struct kv_store *s, struct slice *from,
                             struct sluice_error *err) {
  uint32_t segment = 0;
  sluice_status st = policy_take(from, &segment, sizeof segment, err);
  if (st) return st;
  if (segment > r->segment_max || segment > s->n_kept)
    return sluice_fail(err, SLUICE_INPUT, "snapshot: a round of %u tokens, where %u are kept", segment, s->n_kept);
  r->segment = segment;
  return SLUICE_OK;
}
