#include "engine/kv/store.h"

#include <stdlib.h>
#include <string.h>

static uint32_t whole_blocks(uint64_t slots) {
  return (uint32_t)((slots + SLOT_BLOCK - 1) / SLOT_BLOCK * SLOT_BLOCK);
}

sluice_status kv_open(struct kv_store *s, const struct kv_place *place, const struct model_config *c, uint32_t kept_max,
                      uint32_t pinned, struct sluice_error *err) {
  memset(s, 0, sizeof *s);
  s->place = place;
  s->n_layers = c->n_layers;
  s->n_kv_heads = c->n_kv_heads;
  s->head_dim = c->head_dim;
  s->v_width = kernel_padded((size_t)c->head_dim);
  s->k_plane = (size_t)c->head_dim * SLOT_BLOCK;
  s->v_plane = s->v_width * SLOT_BLOCK;
  s->block_floats = (s->k_plane + s->v_plane) * (size_t)c->n_layers * (size_t)c->n_kv_heads;
  s->block_bytes = place->block_bytes(s);
  s->pinned = s->next = whole_blocks(pinned);
  s->limit = KV_SLOTS_MAX;
  if (kept_max) s->limit = s->pinned + whole_blocks((uint64_t)kept_max - pinned + KV_CHUNK - 1);
  if (s->limit > KV_SLOTS_MAX) s->limit = KV_SLOTS_MAX;
  s->released = calloc(KV_CHUNK, sizeof *s->released);
  return s->released ? kv_allow_chunk(s, KV_CHUNK, err) : sluice_fail(err, SLUICE_NOMEM, "out of memory");
}

void kv_close(struct kv_store *s) {
  if (s->memory) s->place->release(s);
  free(s->changed);
  free(s->position);
  free(s->born);
  free(s->dead);
  free(s->kept);
  free(s->released);
  memset(s, 0, sizeof *s);
}

void kv_clear(struct kv_store *s) {
  s->next_pinned = 0;
  s->next = s->pinned;
  s->n_kept = s->released_first = s->n_released = s->n_changed = 0;
  s->tokens = s->chunk = 0;
  if (s->dead) memset(s->dead, 0, sizeof *s->dead * s->capacity);
}

/* ---- the host's memory --------------------------------------------------------------------------------------------
 */

static size_t host_block_bytes(const struct kv_store *s) {
  return s->block_floats * sizeof(float);
}

static sluice_status host_resize(struct kv_store *s, uint32_t slots, struct sluice_error *err) {
  const size_t blocks = slots / SLOT_BLOCK;
  if (blocks > SIZE_MAX / s->block_bytes / 2)
    return sluice_fail(err, SLUICE_NOMEM, "out of memory: %u cached tokens", slots);
  void *memory = sluice_alloc_aligned(blocks * s->block_bytes);
  if (!memory) return sluice_fail(err, SLUICE_NOMEM, "out of memory: no room for %u cached tokens", slots);
  if (s->capacity) memcpy(memory, s->memory, s->capacity / SLOT_BLOCK * s->block_bytes);
  free(s->memory);
  s->memory = memory;
  return SLUICE_OK;
}

static void host_release(struct kv_store *s) {
  free(s->memory);
}

static sluice_status host_copy(struct kv_store *to, const struct kv_store *from, size_t blocks,
                               struct sluice_error *err) {
  (void)err;
  memcpy(to->memory, from->memory, blocks * from->block_bytes);
  return SLUICE_OK;
}

static sluice_status host_get(const struct kv_store *s, size_t blocks, void *out, struct sluice_error *err) {
  (void)err;
  memcpy(out, s->memory, blocks * s->block_bytes);
  return SLUICE_OK;
}

static sluice_status host_set(struct kv_store *s, size_t blocks, const void *from, struct sluice_error *err) {
  (void)err;
  memcpy(s->memory, from, blocks * s->block_bytes);
  return SLUICE_OK;
}

const struct kv_place kv_in_host_memory = {
    .element = sizeof(float),
    .block_bytes = host_block_bytes,
    .resize = host_resize,
    .release = host_release,
    .copy = host_copy,
    .get = host_get,
    .set = host_set,
};

/* ---- room ---------------------------------------------------------------------------------------------------------
 */

/* Room for `slots` slots: new arrays, old content. */
static sluice_status resize(struct kv_store *s, uint32_t slots, struct sluice_error *err) {
  uint64_t *position = calloc(slots, sizeof *position);
  int32_t *born = calloc(slots, sizeof *born), *dead = calloc(slots, sizeof *dead);
  uint32_t *kept = calloc(slots, sizeof *kept);
  sluice_status st = position && born && dead && kept
                         ? s->place->resize(s, slots, err)
                         : sluice_fail(err, SLUICE_NOMEM, "out of memory: no room for %u cached tokens", slots);
  if (st) {
    free(position), free(born), free(dead), free(kept);
    return st;
  }
  if (s->capacity) {
    memcpy(position, s->position, s->capacity * sizeof *position);
    memcpy(born, s->born, s->capacity * sizeof *born);
    memcpy(dead, s->dead, s->capacity * sizeof *dead);
    memcpy(kept, s->kept, s->n_kept * sizeof *kept);
  }
  free(s->position), free(s->born), free(s->dead), free(s->kept);
  s->position = position, s->born = born, s->dead = dead, s->kept = kept;
  s->capacity = slots;
  return SLUICE_OK;
}

sluice_status kv_copy(const struct kv_store *from, struct kv_store *to, struct sluice_error *err) {
  const uint32_t used = whole_blocks(from->next);
  *to = *from;
  to->memory = NULL, to->position = NULL, to->born = to->dead = NULL, to->kept = NULL;
  to->changed = NULL, to->changed_max = 0;
  to->capacity = 0;
  const uint32_t n_kept = from->n_kept;
  to->n_kept = 0;
  to->released = calloc(KV_CHUNK, sizeof *to->released);
  sluice_status st = to->released ? kv_allow_chunk(to, KV_CHUNK, err) : sluice_fail(err, SLUICE_NOMEM, "out of memory");
  /* A bounded store is soon full: its copy gets the final size at once. An unbounded one gets a little room. */
  const uint32_t room = from->limit == KV_SLOTS_MAX ? used + KV_CHUNK : from->capacity;
  if (!st && from->capacity) st = resize(to, room < from->limit ? room : from->limit, err);
  if (!st && from->capacity) st = from->place->copy(to, from, used / SLOT_BLOCK, err);
  if (st) {
    kv_close(to);
    return st;
  }
  memcpy(to->released, from->released, KV_CHUNK * sizeof *to->released);
  to->n_kept = n_kept;
  if (from->capacity) {
    memcpy(to->position, from->position, used * sizeof *to->position);
    memcpy(to->born, from->born, used * sizeof *to->born);
    memcpy(to->dead, from->dead, used * sizeof *to->dead);
    memcpy(to->kept, from->kept, n_kept * sizeof *to->kept);
  }
  return SLUICE_OK;
}

/* ---- one chunk ----------------------------------------------------------------------------------------------------
 */

sluice_status kv_reserve(struct kv_store *s, uint64_t n, struct sluice_error *err) {
  uint64_t want = s->next + n; /* released slots may serve, but there need not be any */
  if (want > KV_SLOTS_MAX && s->limit == KV_SLOTS_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "the cache holds %u tokens, its bound; choose a policy with a budget",
                       s->n_kept);
  if (want > s->limit) want = s->limit;
  if (want <= s->capacity) return SLUICE_OK;
  uint64_t slots = s->capacity ? (uint64_t)s->capacity * 2 : 4 * SLOT_BLOCK;
  while (slots < want) slots *= 2;
  return resize(s, slots < s->limit ? (uint32_t)slots : s->limit, err);
}

sluice_status kv_allow_chunk(struct kv_store *s, size_t tokens, struct sluice_error *err) {
  const size_t n = 2 * tokens;
  if (n <= s->changed_max) return SLUICE_OK;
  uint32_t *changed = realloc(s->changed, n * sizeof *changed);
  if (!changed) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  s->changed = changed;
  s->changed_max = (uint32_t)n;
  return SLUICE_OK;
}

void kv_begin_chunk(struct kv_store *s) {
  s->chunk = s->tokens;
}

void kv_evict(struct kv_store *s, uint32_t index) {
  const uint32_t slot = s->kept[index];
  memmove(s->kept + index, s->kept + index + 1, (s->n_kept - index - 1) * sizeof *s->kept);
  s->n_kept--;
  s->dead[slot] = (int32_t)(s->tokens - s->chunk);
  s->changed[s->n_changed++] = slot;
  if (slot < s->pinned) return; /* a pinned region is filled once */
  s->released[(s->released_first + s->n_released++) % KV_CHUNK] =
      (struct kv_released){.slot = slot, .usable = s->tokens + KV_CHUNK - 1};
}

static uint32_t next_slot(struct kv_store *s, bool pinned) {
  if (pinned && s->next_pinned < s->pinned) return s->next_pinned++;
  if (s->n_released && s->released[s->released_first].usable <= s->tokens) {
    const uint32_t slot = (uint32_t)s->released[s->released_first].slot;
    s->released_first = (s->released_first + 1) % KV_CHUNK;
    s->n_released--;
    return slot;
  }
  return s->next++;
}

uint32_t kv_admit(struct kv_store *s, uint64_t position, bool pinned) {
  const uint32_t slot = next_slot(s, pinned);
  s->position[slot] = position;
  s->born[slot] = (int32_t)(s->tokens - s->chunk);
  s->dead[slot] = KV_ALWAYS;
  s->changed[s->n_changed++] = slot;
  s->kept[s->n_kept++] = slot;
  s->tokens++;
  return slot;
}

void kv_settle(struct kv_store *s) {
  for (uint32_t i = 0; i < s->n_changed; i++) {
    const uint32_t slot = s->changed[i];
    s->born[slot] = 0;
    if (s->dead[slot] != KV_ALWAYS) s->dead[slot] = 0;
  }
  s->n_changed = 0;
}

/* ---- where things lie ---------------------------------------------------------------------------------------------
 */

float *kv_keys(const struct kv_store *s, int layer, int head) {
  return (float *)s->memory + ((size_t)layer * (size_t)s->n_kv_heads + (size_t)head) * s->k_plane;
}

float *kv_values(const struct kv_store *s, int layer, int head) {
  const size_t planes = (size_t)s->n_layers * (size_t)s->n_kv_heads;
  return (float *)s->memory + planes * s->k_plane + ((size_t)layer * (size_t)s->n_kv_heads + (size_t)head) * s->v_plane;
}

size_t kv_token_bytes(const struct kv_store *s) {
  return 2 * s->place->element * (size_t)s->n_layers * (size_t)s->n_kv_heads * (size_t)s->head_dim;
}

size_t kv_allocated_bytes(const struct kv_store *s) {
  const size_t index = sizeof *s->position + sizeof *s->born + sizeof *s->dead + sizeof *s->kept;
  return s->capacity / SLOT_BLOCK * s->block_bytes + s->capacity * index + s->changed_max * sizeof *s->changed +
         KV_CHUNK * sizeof *s->released;
}
