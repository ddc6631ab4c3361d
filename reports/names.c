/* Strings, each kept once, in order of first sight: open addressing over 64-bit hashes, compared in full on a hit. */
#include "reports/model.h"

#include <stdlib.h>
#include <string.h>

static size_t slot_of(const struct names *n, const char *text) {
  size_t mask = n->n_slots - 1, at = (size_t)hash64(text, strlen(text)) & mask;
  while (n->slots[at] && strcmp(n->text[n->slots[at] - 1], text) != 0) at = (at + 1) & mask;
  return at;
}

static sluice_status grow(struct names *n, struct sluice_error *err) {
  size_t cap = n->cap ? 2 * n->cap : 32;
  if (cap > 2 * REPORT_MAX_NAMES)
    return sluice_fail(err, SLUICE_LIMIT, "report: more than %d different names", REPORT_MAX_NAMES);
  const char **text = realloc(n->text, cap * sizeof *text);
  if (text) n->text = text;
  uint32_t *slots = calloc(2 * cap, sizeof *slots);
  if (!text || !slots) {
    free(slots);
    return sluice_fail(err, SLUICE_NOMEM, "report: no memory for %zu names", cap);
  }
  free(n->slots);
  n->slots = slots;
  n->n_slots = 2 * cap;
  n->cap = cap;
  for (size_t i = 0; i < n->n; i++) n->slots[slot_of(n, n->text[i])] = (uint32_t)i + 1;
  return SLUICE_OK;
}

sluice_status names_add(struct names *n, struct arena *memory, const char *text, uint32_t *index,
                        struct sluice_error *err) {
  if (n->n == n->cap) {
    sluice_status status = grow(n, err);
    if (status) return status;
  }
  size_t at = slot_of(n, text);
  if (!n->slots[at]) {
    n->text[n->n] = arena_strndup(memory, text, strlen(text));
    if (!n->text[n->n]) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for a name");
    n->slots[at] = (uint32_t)++n->n;
  }
  *index = n->slots[at] - 1;
  return SLUICE_OK;
}

bool names_find(const struct names *n, const char *text, uint32_t *index) {
  if (!n->n_slots) return false;
  size_t at = slot_of(n, text);
  if (n->slots[at]) *index = n->slots[at] - 1;
  return n->slots[at] != 0;
}

void names_free(struct names *n) {
  free(n->text);
  free(n->slots);
  *n = (struct names){0};
}
