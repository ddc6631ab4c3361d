#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

static size_t slots_for(size_t expected) {
  size_t n = 16;
  while (n < expected * 2) n *= 2;
  return n;
}

sluice_status merge_map_init(struct merge_map *m, size_t expected, struct sluice_error *err) {
  size_t n = slots_for(expected);
  m->slots = malloc(n * sizeof *m->slots);
  if (!m->slots) return sluice_fail(err, SLUICE_NOMEM, "out of memory for a table of %zu merges", expected);
  memset(m->slots, 0xff, n * sizeof *m->slots);
  m->mask = n - 1;
  m->used = 0;
  return SLUICE_OK;
}

static uint64_t pair_of(int32_t left, int32_t right) {
  return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* Fibonacci hashing, folded: merges of one token sit in neighbouring pairs, which a plain mask would pile up. */
static size_t pair_slot(uint64_t pair, size_t mask) {
  uint64_t h = pair * 0x9e3779b97f4a7c15u;
  return (size_t)(h ^ (h >> 32)) & mask;
}

static struct merge *find_slot(const struct merge_map *m, uint64_t pair) {
  size_t i = pair_slot(pair, m->mask);
  while (m->slots[i].rank >= 0 && m->slots[i].pair != pair) i = (i + 1) & m->mask;
  return &m->slots[i];
}

void merge_map_put(struct merge_map *m, int32_t left, int32_t right, int32_t rank, int32_t id) {
  struct merge *slot = find_slot(m, pair_of(left, right));
  if (slot->rank < 0) m->used++;
  *slot = (struct merge){pair_of(left, right), rank, id};
}

const struct merge *merge_map_get(const struct merge_map *m, int32_t left, int32_t right) {
  const struct merge *slot = find_slot(m, pair_of(left, right));
  return slot->rank < 0 ? NULL : slot;
}

sluice_status bytes_map_init(struct bytes_map *m, size_t expected, struct sluice_error *err) {
  size_t n = slots_for(expected);
  m->slots = malloc(n * sizeof *m->slots);
  if (!m->slots) return sluice_fail(err, SLUICE_NOMEM, "out of memory for a table of %zu tokens", expected);
  memset(m->slots, 0xff, n * sizeof *m->slots);
  m->mask = n - 1;
  return SLUICE_OK;
}

static int32_t *bytes_slot(const struct tokenizer *t, const struct bytes_map *m, const char *bytes, size_t len) {
  size_t i = (size_t)hash64(bytes, len) & m->mask;
  for (; m->slots[i] >= 0; i = (i + 1) & m->mask) {
    struct token_text text = t->texts[m->slots[i]];
    if (text.len == len && memcmp(t->pool.ptr + text.start, bytes, len) == 0) break;
  }
  return &m->slots[i];
}

void bytes_map_put(const struct tokenizer *t, struct bytes_map *m, int32_t id) {
  struct token_text text = t->texts[id];
  int32_t *slot = bytes_slot(t, m, t->pool.ptr + text.start, text.len);
  if (*slot < 0) *slot = id;
}

int32_t bytes_map_get(const struct tokenizer *t, const struct bytes_map *m, const char *bytes, size_t len) {
  return len ? *bytes_slot(t, m, bytes, len) : -1;
}
