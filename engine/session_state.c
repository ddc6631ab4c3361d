/* session_snapshot and session_restore. The bytes hold: a head, the policy's canonical string, the store, the policy's
 * own state, the last logits where the policy measures surprisal, and a checksum of all of it. */
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

static const char MAGIC[8] = "sluicekv";

struct head {
  char magic[8];
  uint64_t seen, position, peak_bytes, seed;
  uint32_t policy_len, vocab;
  int32_t last_id;
  float last_lse;
  uint32_t hidden_fresh, width;
};

static sluice_status write_state(const struct session *s, struct buffer *out, struct sluice_error *err) {
  const struct policy_family *family = s->policy->family;
  struct head h = {.seen = s->seen, .position = s->position, .peak_bytes = s->peak_bytes, .seed = s->seed};
  memcpy(h.magic, MAGIC, sizeof MAGIC);
  h.policy_len = (uint32_t)strlen(s->canonical);
  h.vocab = (uint32_t)s->backend->model->config.vocab;
  h.last_id = s->last_id;
  h.last_lse = s->last_lse;
  h.hidden_fresh = s->hidden_fresh;
  h.width = (uint32_t)s->backend->ops->width(s->backend);
  sluice_status st = buffer_append(out, &h, sizeof h, err);
  if (!st) st = buffer_append(out, s->canonical, h.policy_len, err);
  if (!st) st = kv_write(&s->store, out, err);
  if (!st && family->snapshot) st = family->snapshot(s->policy, &s->store, out, err);
  if (!st) st = buffer_append(out, s->hidden, h.width * sizeof *s->hidden, err);
  if (!st && s->last_logits && s->last_id >= 0)
    st = buffer_append(out, s->last_logits, h.vocab * sizeof *s->last_logits, err);
  if (st) return st;
  const uint64_t sum = hash64(out->ptr, out->len);
  return buffer_append(out, &sum, sizeof sum, err);
}

sluice_status session_snapshot(const struct session *s, unsigned char **bytes, size_t *len, struct sluice_error *err) {
  struct buffer out;
  buffer_init(&out, SIZE_MAX / 4);
  sluice_status st = write_state(s, &out, err);
  if (st) {
    buffer_free(&out);
    return st;
  }
  *bytes = (unsigned char *)buffer_take(&out, len);
  return SLUICE_OK;
}

static sluice_status read_head(const struct session *s, struct slice *from, struct head *h, struct sluice_error *err) {
  sluice_status st = policy_take(from, h, sizeof *h, err);
  if (st) return st;
  if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0)
    return sluice_fail(err, SLUICE_INPUT, "snapshot: these bytes are none");
  const size_t len = strlen(s->canonical);
  if (from->len < h->policy_len || h->policy_len != len || memcmp(from->ptr, s->canonical, len) != 0)
    return sluice_fail(err, SLUICE_INPUT, "snapshot: made under another cache policy than %s", s->canonical);
  if (h->vocab != (uint32_t)s->backend->model->config.vocab || h->last_id < -1 || h->last_id >= (int64_t)h->vocab ||
      h->width != s->backend->ops->width(s->backend))
    return sluice_fail(err, SLUICE_INPUT, "snapshot: made by another model (vocabulary of %u)", h->vocab);
  from->ptr += len;
  from->len -= len;
  return SLUICE_OK;
}

static sluice_status read_state(struct session *s, struct slice from, struct sluice_error *err) {
  const struct policy_family *family = s->policy->family;
  struct head h;
  sluice_status st = read_head(s, &from, &h, err);
  if (!st) st = kv_read(&s->store, &from, err);
  const uint32_t budget = s->policy->settings.budget, sinks = s->policy->settings.sinks;
  if (!st && ((budget && s->store.n_kept > budget) || (family->pins_sinks && s->store.next_pinned > sinks)))
    st = sluice_fail(err, SLUICE_INPUT, "snapshot: damaged: more tokens than %s keeps", s->canonical);
  if (!st && family->restore) st = family->restore(s->policy, &s->store, &from, err);
  if (!st) st = policy_take(&from, s->hidden, h.width * sizeof *s->hidden, err);
  if (!st && s->last_logits && h.last_id >= 0)
    st = policy_take(&from, s->last_logits, h.vocab * sizeof *s->last_logits, err);
  if (!st && from.len) st = sluice_fail(err, SLUICE_INPUT, "snapshot: %zu bytes too many", from.len);
  if (st) return st;
  s->seen = h.seen;
  s->position = h.position;
  s->peak_bytes = (size_t)h.peak_bytes;
  s->last_id = h.last_id;
  s->last_lse = h.last_lse;
  s->hidden_fresh =
      h.hidden_fresh != 0 || (!family->run && h.seen > 0); /* only a policy that runs text itself leaves it stale */
  return SLUICE_OK;
}

/* Reads into a fresh store and policy and swaps them in, so that bad bytes leave the session as it was. */
sluice_status session_restore(struct session *s, const unsigned char *bytes, size_t len, struct sluice_error *err) {
  uint64_t sum;
  if (len < sizeof sum) return sluice_fail(err, SLUICE_INPUT, "snapshot: cut short: %zu bytes", len);
  memcpy(&sum, bytes + len - sizeof sum, sizeof sum);
  if (hash64(bytes, len - sizeof sum) != sum)
    return sluice_fail(err, SLUICE_INPUT, "snapshot: damaged: wrong checksum");
  struct session *fresh;
  sluice_status st = session_twin(s, &fresh, err);
  if (st) return st;
  st = read_state(fresh, (struct slice){(const char *)bytes, len - sizeof sum}, err);
  if (!st) {
    const struct session old = *s;
    *s = *fresh;
    *fresh = old;
  }
  session_close(fresh);
  return st;
}
