/* Many small allocations, one free. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)64 << 10)
#define ALIGNMENT ((size_t)16)

struct arena_block {
  struct arena_block *next;
  size_t used, size; /* bytes of payload */
  _Alignas(16) unsigned char payload[];
};

void *arena_alloc(struct arena *a, size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  size_t need = size ? (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1) : ALIGNMENT;
  struct arena_block *block = a->head;
  if (!block || block->size - block->used < need) {
    size_t room = need > BLOCK_BYTES / 4 ? need : BLOCK_BYTES;
    struct arena_block *fresh = calloc(1, sizeof *fresh + room);
    if (!fresh) return NULL;
    fresh->size = room;
    if (block && room == need) { /* a large piece has its own block: the half-filled head stays in use */
      fresh->next = block->next;
      block->next = fresh;
    } else {
      fresh->next = block;
      a->head = fresh;
    }
    block = fresh;
  }
  void *piece = block->payload + block->used;
  block->used += need;
  return piece;
}

char *arena_strndup(struct arena *a, const char *s, size_t n) {
  if (n == SIZE_MAX) return NULL;
  char *copy = arena_alloc(a, n + 1);
  if (copy && n) memcpy(copy, s, n);
  return copy;
}

void arena_free(struct arena *a) {
  while (a->head) {
    struct arena_block *next = a->head->next;
    free(a->head);
    a->head = next;
  }
}

void *sluice_alloc_aligned(size_t size) {
  if (size > SIZE_MAX - 64) return NULL;
  size_t rounded = size ? (size + 63) & ~(size_t)63 : 64; /* aligned_alloc wants a multiple of the alignment */
  void *bytes = aligned_alloc(64, rounded);
  if (bytes) memset(bytes, 0, rounded);
  return bytes;
}
