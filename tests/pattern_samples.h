/* For tests: texts that a pattern could match, drawn from its tree; what the tree leaves out (look-around,
 * back-references) is left out of the text too, so some match and some only begin to. */
#ifndef SLUICE_TESTS_PATTERN_SAMPLES_H
#define SLUICE_TESTS_PATTERN_SAMPLES_H

#include "monitor/pattern_tree.h"

#include <string.h>

struct sample {
  char *text;
  size_t n, max;
};

static inline void sample_set(struct rng *rng, const struct node *set, struct sample *out) {
  unsigned members[128], n = 0;
  for (unsigned c = 1; c < 128; c++)
    if (node_has(set, c) && (c >= ' ' || c == '\t' || c == '\n')) members[n++] = c;
  if (out->n + 2 > out->max) return;
  if (n && (!set->beyond || rng_below(rng, 20))) {
    out->text[out->n++] = (char)members[rng_below(rng, n)];
  } else if (set->beyond) {
    memcpy(out->text + out->n, "\xc3\xa9", 2);
    out->n += 2;
  }
}

static inline void sample_node(struct rng *rng, const struct node *node, struct sample *out) {
  if (node->kind == NODE_SET) {
    sample_set(rng, node, out);
  } else if (node->kind == NODE_ALT) {
    unsigned n = 0;
    const struct node *c = node->child;
    for (; c; c = c->next) n++;
    for (n = rng_below(rng, n), c = node->child; n; n--) c = c->next;
    sample_node(rng, c, out);
  } else if (node->kind == NODE_REPEAT) {
    size_t more = node->max == NODE_UNBOUNDED ? 3 : node->max - node->min;
    size_t times = node->min + rng_below(rng, (unsigned)(more < 4 ? more : 4) + 1);
    for (size_t i = 0; i < times && out->n + 2 <= out->max; i++) sample_node(rng, node->child, out);
  } else {
    for (const struct node *c = node->child; c; c = c->next) sample_node(rng, c, out);
  }
}

/* A sample of the pattern into out, at most max bytes; 0 where the reader does not know the pattern. Now and then cut
 * short, or with a byte changed. */
static inline size_t sample_pattern(struct rng *rng, const char *pattern, uint32_t flags, char *text, size_t max) {
  struct arena scratch = {0};
  struct sluice_error err = {0};
  struct node *root = NULL;
  const char *unknown = NULL;
  struct sample out = {text, 0, max};
  pattern_tree_read(&scratch, slice_of(pattern), flags, true, &root, &unknown, &err);
  if (root) sample_node(rng, root, &out);
  arena_free(&scratch);
  if (out.n && rng_below(rng, 4) == 0) out.n -= rng_below(rng, (unsigned)out.n < 9 ? (unsigned)out.n : 9);
  if (out.n && rng_below(rng, 6) == 0) {
    size_t at = rng_below(rng, (unsigned)out.n);
    if ((unsigned char)text[at] < 0x80) text[at] = "x1 =\"_"[rng_below(rng, 6)];
  }
  return out.n;
}

#endif
