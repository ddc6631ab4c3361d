/* A store as bytes, in this machine's order: for one session's rollback and for resuming a run where it was stopped. */
#include <stdlib.h>
#include <string.h>

#include "engine/kv/store.h"

struct head { /* what must agree, and what is restored; no padding */
  uint32_t n_layers, n_kv_heads, head_dim, pinned, limit;
  uint32_t next_pinned, next, n_kept, released_first, n_released;
  uint64_t tokens;
};

sluice_status kv_write(const struct kv_store *s, struct buffer *out, struct sluice_error *err) {
  const struct head h = {(uint32_t)s->n_layers,
                         (uint32_t)s->n_kv_heads,
                         (uint32_t)s->head_dim,
                         s->pinned,
                         s->limit,
                         s->next_pinned,
                         s->next,
                         s->n_kept,
                         s->released_first,
                         s->n_released,
                         s->tokens};
  const size_t blocks = (s->next + SLOT_BLOCK - 1) / SLOT_BLOCK, bytes = blocks * s->block_bytes;
  sluice_status st = buffer_append(out, &h, sizeof h, err);
  if (!st) st = buffer_append(out, s->released, KV_CHUNK * sizeof *s->released, err);
  if (st || !s->capacity) return st;
  st = buffer_append(out, s->position, s->next * sizeof *s->position, err);
  if (!st) st = buffer_append(out, s->dead, s->next * sizeof *s->dead, err);
  if (!st) st = buffer_append(out, s->kept, s->n_kept * sizeof *s->kept, err);
  if (st || s->place == &kv_in_host_memory) return st ? st : buffer_append(out, s->memory, bytes, err);
  void *memory = malloc(bytes);
  if (!memory) return sluice_fail(err, SLUICE_NOMEM, "out of memory: a snapshot of %zu bytes", bytes);
  st = s->place->get(s, blocks, memory, err);
  if (!st) st = buffer_append(out, memory, bytes, err);
  free(memory);
  return st;
}

static bool take(struct slice *from, void *to, size_t n) {
  if (from->len < n) return false;
  if (n) memcpy(to, from->ptr, n);
  from->ptr += n;
  from->len -= n;
  return true;
}

static bool head_agrees(const struct kv_store *s, const struct head *h) {
  return h->n_layers == (uint32_t)s->n_layers && h->n_kv_heads == (uint32_t)s->n_kv_heads &&
         h->head_dim == (uint32_t)s->head_dim && h->pinned == s->pinned && h->limit == s->limit;
}

/* Every slot ever given out of the second region is kept or waits to be given out again, and fewer than KV_CHUNK wait
 * between chunks: this is what keeps a bounded store inside its bound. Pinned tokens never leave. */
static bool head_possible(const struct kv_store *s, const struct head *h) {
  if (h->next_pinned > s->pinned || h->next < s->pinned || h->next > s->limit || h->n_kept > h->tokens) return false;
  if (h->released_first >= KV_CHUNK || h->n_released >= KV_CHUNK || h->n_kept < h->next_pinned) return false;
  return h->n_kept - h->next_pinned + h->n_released == h->next - s->pinned;
}

/* The waiting slots: dead, of the second region, each once, usable soon. */
static bool released_possible(const struct kv_store *s) {
  uint64_t usable = 0;
  for (uint32_t i = 0; i < s->n_released; i++) {
    const struct kv_released *r = &s->released[(s->released_first + i) % KV_CHUNK];
    if (r->slot >= s->next || r->slot < s->pinned || s->dead[r->slot] != 0) return false;
    if (r->usable <= usable || r->usable - s->tokens > KV_CHUNK) return false;
    usable = r->usable;
    for (uint32_t j = 0; j < i; j++)
      if (s->released[(s->released_first + j) % KV_CHUNK].slot == r->slot) return false;
  }
  return true;
}

/* Every kept slot alive and no other, in ascending position, the pinned ones first. */
static bool index_possible(const struct kv_store *s) {
  uint32_t alive = 0;
  for (uint32_t i = 0; i < s->next; i++) {
    if (s->dead[i] != 0 && s->dead[i] != KV_ALWAYS) return false;
    alive += s->dead[i] == KV_ALWAYS;
  }
  for (uint32_t i = 0; i < s->n_kept; i++) {
    const uint32_t slot = s->kept[i];
    if (slot >= s->next || s->dead[slot] != KV_ALWAYS || (slot < s->pinned) != (i < s->next_pinned)) return false;
    if (i > 0 && s->position[slot] <= s->position[s->kept[i - 1]]) return false; /* so no slot stands twice */
  }
  return alive == s->n_kept && released_possible(s);
}

sluice_status kv_read(struct kv_store *s, struct slice *from, struct sluice_error *err) {
  struct head h;
  kv_clear(s);
  if (!take(from, &h, sizeof h) || !take(from, s->released, KV_CHUNK * sizeof *s->released))
    return sluice_fail(err, SLUICE_INPUT, "snapshot: cut short");
  if (!head_agrees(s, &h)) return sluice_fail(err, SLUICE_INPUT, "snapshot: made by another model or policy");
  if (!head_possible(s, &h))
    return sluice_fail(err, SLUICE_INPUT, "snapshot: damaged: impossible counts of cached tokens");
  const size_t blocks = (h.next + SLOT_BLOCK - 1) / SLOT_BLOCK, bytes = s->block_bytes;
  if (h.tokens && from->len / bytes < blocks) return sluice_fail(err, SLUICE_INPUT, "snapshot: cut short");
  sluice_status st = h.tokens ? kv_reserve(s, h.next > s->next ? h.next - s->next : 1, err) : SLUICE_OK;
  if (st) return st;
  bool ok = true;
  if (h.tokens) {
    ok = take(from, s->position, h.next * sizeof *s->position) && take(from, s->dead, h.next * sizeof *s->dead) &&
         take(from, s->kept, h.n_kept * sizeof *s->kept) && from->len >= blocks * bytes;
    if (ok) st = s->place->set(s, blocks, from->ptr, err);
    if (st) return st;
    if (ok) from->ptr += blocks * bytes, from->len -= blocks * bytes;
    if (ok) memset(s->born, 0, s->capacity * sizeof *s->born);
  }
  s->next_pinned = h.next_pinned, s->next = h.next, s->n_kept = h.n_kept;
  s->released_first = h.released_first, s->n_released = h.n_released;
  s->tokens = h.tokens;
  if (ok && (!s->capacity || index_possible(s))) return SLUICE_OK;
  kv_clear(s);
  return sluice_fail(err, SLUICE_INPUT, "snapshot: damaged or cut short");
}
