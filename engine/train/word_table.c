#include <stdlib.h>

#include "engine/train/bpe_merges.h"

enum { FIRST_SLOTS = 1 << 16, MAX_WORDS = 1 << 28 };

sluice_status word_table_init(struct word_table *t, struct sluice_error *err) {
  *t = (struct word_table){0};
  buffer_init(&t->pool, 0);
  t->slots = calloc(FIRST_SLOTS, sizeof *t->slots);
  if (!t->slots) return sluice_fail(err, SLUICE_NOMEM, "out of memory for counting words");
  t->mask = FIRST_SLOTS - 1;
  return SLUICE_OK;
}

void word_table_free(struct word_table *t) {
  buffer_free(&t->pool);
  free(t->words);
  free(t->slots);
  *t = (struct word_table){0};
}

static sluice_status grow_slots(struct word_table *t, struct sluice_error *err) {
  size_t n = (t->mask + 1) * 2;
  uint32_t *slots = calloc(n, sizeof *slots);
  if (!slots) return sluice_fail(err, SLUICE_NOMEM, "out of memory for counting %zu words", t->n);
  for (size_t w = 0; w < t->n; w++) {
    size_t i = (size_t)hash64(t->pool.ptr + t->words[w].start, t->words[w].len) & (n - 1);
    while (slots[i]) i = (i + 1) & (n - 1);
    slots[i] = (uint32_t)w + 1;
  }
  free(t->slots);
  t->slots = slots;
  t->mask = n - 1;
  return SLUICE_OK;
}

static sluice_status add_new(struct word_table *t, const char *word, size_t len, struct sluice_error *err) {
  if (t->n == MAX_WORDS)
    return sluice_fail(err, SLUICE_LIMIT, "more than %d different words; train on a sample of the text",
                       (int)MAX_WORDS);
  if (t->n == t->cap) {
    size_t cap = t->cap ? t->cap * 2 : 4096;
    struct counted_word *words = realloc(t->words, cap * sizeof *words);
    if (!words) return sluice_fail(err, SLUICE_NOMEM, "out of memory for %zu words", cap);
    t->words = words;
    t->cap = cap;
  }
  size_t start = t->pool.len; /* the pool's own bound of 1 GiB keeps it within 32 bits */
  sluice_status st = buffer_append(&t->pool, word, len, err);
  if (st) return st;
  t->words[t->n++] = (struct counted_word){1, (uint32_t)start, (uint32_t)len};
  return SLUICE_OK;
}

/* The slot of a word, or the empty one where it would go. */
static size_t slot_of(const struct word_table *t, const char *word, size_t len) {
  size_t i = (size_t)hash64(word, len) & t->mask;
  for (; t->slots[i]; i = (i + 1) & t->mask)
    if (slice_equal(word_table_at(t, t->slots[i] - 1), (struct slice){word, len})) break;
  return i;
}

struct slice word_table_at(const struct word_table *t, size_t index) {
  return (struct slice){t->pool.ptr + t->words[index].start, t->words[index].len};
}

size_t word_table_find(const struct word_table *t, const char *word, size_t len) {
  size_t slot = slot_of(t, word, len);
  return t->slots[slot] ? t->slots[slot] - 1 : SIZE_MAX;
}

sluice_status word_table_add(struct word_table *t, const char *word, size_t len, struct sluice_error *err) {
  size_t i = slot_of(t, word, len);
  if (t->slots[i]) {
    t->words[t->slots[i] - 1].count++;
    return SLUICE_OK;
  }
  sluice_status st = add_new(t, word, len, err);
  if (st) return st;
  t->slots[i] = (uint32_t)t->n;
  return t->n * 2 > t->mask ? grow_slots(t, err) : SLUICE_OK;
}
