/* What must be known of a pattern before another engine may say in PCRE2's place that there is no match: how far an
 * attempt can see and how many ways it can go (one that could need more than max_match bytes may be reported as capped,
 * one that could go too many ways may hit the match limit; such a rule always runs), and an expression over bytes that
 * matches wherever the pattern does, and perhaps elsewhere. */
#include "monitor/pattern_tree.h"

#include <string.h>

enum { LONG_RUN_MIN = 24 }; /* bytes; shorter ones stand everywhere */

struct first {
  uint64_t ascii[2];
  bool beyond, any; /* any: what follows is not known */
};

static size_t add_sat(size_t a, size_t b) {
  return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}
static size_t mul_sat(size_t a, size_t b) {
  return a && b > SIZE_MAX / a ? SIZE_MAX : a * b;
}

static void unite(struct first *into, const struct first *more) {
  into->ascii[0] |= more->ascii[0];
  into->ascii[1] |= more->ascii[1];
  into->beyond |= more->beyond;
  into->any |= more->any;
}

static bool overlap(const struct first *a, const struct first *b) {
  return a->any || b->any || (a->ascii[0] & b->ascii[0]) || (a->ascii[1] & b->ascii[1]) || (a->beyond && b->beyond);
}

/* Adds the characters that can begin the node; true when it can be empty. */
static bool first_of(const struct node *n, struct first *out) {
  bool empty = n->kind == NODE_CAT || n->kind == NODE_ASSERT;
  if (n->kind == NODE_SET) {
    /* of k and s the third case counts as past ASCII */
    unite(out, &(struct first){{n->ascii[0], n->ascii[1]}, n->bytes_max > 1, false});
    return false;
  }
  if (n->kind == NODE_UNKNOWN) return out->any = true;
  for (const struct node *c = n->child; c; c = c->next) {
    bool c_empty = first_of(c, out);
    if (n->kind == NODE_CAT && !c_empty) return false;
    if (n->kind != NODE_CAT) empty |= c_empty;
  }
  return empty || (n->kind == NODE_REPEAT && n->min == 0);
}

/* What can stand behind a child of a row: the first characters of the rest, and of what follows the row. */
static struct first behind(const struct node *rest, const struct first *after) {
  struct first f = {0};
  for (; rest; rest = rest->next)
    if (!first_of(rest, &f)) return f;
  unite(&f, after);
  return f;
}

static size_t ways(const struct node *n, const struct first *after, size_t most);

static size_t ways_of_alternatives(const struct node *n, const struct first *after, size_t most) {
  struct first seen = {0};
  size_t greatest = 0, sum = 0;
  bool apart = true;
  for (const struct node *c = n->child; c; c = c->next) {
    struct first own = {0};
    if (first_of(c, &own)) unite(&own, after);
    apart &= !overlap(&seen, &own);
    unite(&seen, &own);
    size_t w = ways(c, after, most);
    if (w > greatest) greatest = w;
    sum = add_sat(sum, w);
  }
  return apart ? greatest : sum;
}

static size_t ways_of_repeat(const struct node *n, const struct first *after, size_t most) {
  struct first own = {0}, next = *after;
  bool empty = first_of(n->child, &own);
  unite(&next, &own);
  size_t once = ways(n->child, &next, most), all = 0, times = 1, max = n->max < most ? n->max : most;
  if (empty || (n->max == NODE_UNBOUNDED && once > 1)) return SIZE_MAX;
  bool decided = !overlap(&own, after); /* the next character says whether it goes on */
  if (once == 1) return decided || n->min >= max ? 1 : max - n->min + 1;
  for (size_t i = 0; i <= n->max; i++) {
    if (i >= n->min) all = decided ? times : add_sat(all, times);
    times = mul_sat(times, once);
    if (times == SIZE_MAX) return SIZE_MAX;
  }
  return all;
}

/* On any one text of at most `most` bytes, how many ways lead through the node. What ends a pattern or a look-around
 * goes no second way. */
static size_t ways(const struct node *n, const struct first *after, size_t most) {
  static const struct first nothing;
  size_t w = 1;
  if (n->kind == NODE_UNKNOWN) return SIZE_MAX;
  if (n->kind == NODE_ASSERT) return n->look ? ways(n->look, &nothing, most) : 1;
  if (n->kind == NODE_ALT) return ways_of_alternatives(n, after, most);
  if (n->kind == NODE_REPEAT) return ways_of_repeat(n, after, most);
  for (const struct node *c = n->child; c; c = c->next) {
    struct first next = behind(c->next, after);
    w = mul_sat(w, ways(c, &next, most));
  }
  return w;
}

/* The bytes behind an attempt's start that it reads, at most: where a character of one byte is asked for, one of four
 * may stand. before: bytes that lead to the node. */
static size_t sees(const struct node *n, size_t before) {
  size_t most = before, min = 0, max = 0;
  if (n->kind == NODE_SET || n->kind == NODE_ASSERT) most = add_sat(before, 4);
  if (n->look) {
    size_t l = sees(n->look, before);
    return l > most ? l : most;
  }
  if (n->kind == NODE_REPEAT && n->child) {
    pattern_lengths(n->child, &min, &max);
    return n->max ? sees(n->child, add_sat(before, max ? mul_sat(max, n->max - 1) : 0)) : before;
  }
  for (const struct node *c = n->child; c; c = c->next) {
    size_t l = sees(c, before);
    if (l > most) most = l;
    if (n->kind == NODE_ALT) continue;
    pattern_lengths(c, &min, &max);
    before = add_sat(before, max);
  }
  return most;
}

/* Every character that the pattern or its look-arounds can ask for. */
static void alphabet(const struct node *n, struct first *out) {
  if (n->kind == NODE_SET) unite(out, &(struct first){{n->ascii[0], n->ascii[1]}, n->bytes_max > 1, false});
  if (n->look) alphabet(n->look, out);
  for (const struct node *c = n->child; c; c = c->next) alphabet(c, out);
}

static bool has(const struct first *f, unsigned c) {
  return f->ascii[c / 64] >> (c % 64) & 1;
}

/* ---- as an expression over bytes ---- */

static sluice_status put_set(const struct node *n, struct buffer *out, struct sluice_error *err) {
  bool more = n->beyond || n->bytes_max > 1;
  sluice_status st = buffer_append_str(out, more ? "(?:[" : "[", err);
  for (unsigned c = 0; c < 128 && !st; c++) {
    unsigned end = c;
    if (!node_has(n, c)) continue;
    while (end < 127 && node_has(n, end + 1)) end++;
    st = end > c ? buffer_printf(out, err, "\\x%02x-\\x%02x", c, end) : buffer_printf(out, err, "\\x%02x", c);
    c = end;
  }
  if (!st && n->beyond && !n->ascii[0] && !n->ascii[1]) st = buffer_append_str(out, "\\x80-\\xff", err); /* no [] */
  if (!st) st = buffer_append_str(out, "]", err);
  if (st || !more) return st;
  if (n->beyond) return buffer_append_str(out, "|[\\xc2-\\xf4][\\x80-\\xbf]{1,3})", err);
  if (node_has(n, 's')) st = buffer_append_str(out, "|\\xc5\\xbf", err);
  if (!st && node_has(n, 'k')) st = buffer_append_str(out, "|\\xe2\\x84\\xaa", err);
  return st ? st : buffer_append_str(out, ")", err);
}

/* Before an ASCII word byte Unicode's \b says no more than ASCII's. */
static bool only_word_bytes(const struct first *f) {
  static const uint64_t word[2] = {0x03FF000000000000u, 0x07FFFFFE87FFFFFEu};
  return !f->any && !f->beyond && !(f->ascii[0] & ~word[0]) && !(f->ascii[1] & ~word[1]);
}

static sluice_status put(const struct node *n, struct buffer *out, struct sluice_error *err) {
  static const struct first unknown = {.any = true};
  sluice_status st = SLUICE_OK;
  if (n->kind == NODE_SET) return put_set(n, out, err);
  if (n->kind == NODE_ASSERT) return SLUICE_OK;
  if (n->kind == NODE_UNKNOWN) return sluice_fail(err, SLUICE_INTERNAL, "a pattern that is not known");
  st = buffer_append_str(out, "(?:", err);
  for (const struct node *c = n->child; c && !st; c = c->next) {
    struct first next = behind(c->next, &unknown);
    if (c->kind == NODE_ASSERT && c->assertion == ASSERT_WORD_BOUNDARY && n->kind == NODE_CAT && only_word_bytes(&next))
      st = buffer_append_str(out, "\\b", err);
    if (!st) st = put(c, out, err);
    if (!st && n->kind == NODE_ALT && c->next) st = buffer_append_str(out, "|", err);
  }
  if (!st) st = buffer_append_str(out, ")", err);
  if (st || n->kind != NODE_REPEAT) return st;
  if (n->max == NODE_UNBOUNDED) return buffer_printf(out, err, "{%zu,}", n->min);
  st = buffer_printf(out, err, "{%zu,%zu}", n->min, n->max);
  return st;
}

/* A run that an attempt reads up to max_match: what comes behind it would be decided on less than it asks for. */
static sluice_status put_long_run(const struct first *f, size_t max_match, struct buffer *out,
                                  struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, f->beyond ? "[\\x80-\\xff" : "[", err);
  for (unsigned c = 0; c < 128 && !st; c++)
    if (has(f, c)) st = buffer_printf(out, err, "\\x%02x", c);
  return st ? st : buffer_printf(out, err, "]{%zu}", max_match - 4);
}

sluice_status pattern_prefilter_read(const struct pattern_prefilter_question *q, struct pattern_prefilter *out,
                                     struct sluice_error *err) {
  static const struct first nothing;
  struct arena scratch = {0};
  struct first all = {0};
  struct node *root = NULL;
  const char *why = NULL;
  size_t min = 0, max = 0;
  out->reach = 0;
  sluice_status st = pattern_tree_read(&scratch, q->pattern, q->flags, q->ascii, &root, &why, err);
  if (!st && root) {
    pattern_lengths(root, &min, &max);
    alphabet(root, &all);
    out->capped = sees(root, 0) > q->max_match;
    size_t most = out->capped ? q->max_match : sees(root, 0);
    bool fits = min > 0 && most + PREFILTER_SLACK <= PREFILTER_REACH_MAX;
    if (out->capped) fits &= q->max_match > LONG_RUN_MIN && !(has(&all, ' ') && has(&all, 'e'));
    if (fits && mul_sat(ways(root, &nothing, most), most) <= q->match_limit / 2) out->reach = most + PREFILTER_SLACK;
  }
  if (!st && out->reach) st = put(root, out->expression, err);
  if (!st && out->reach && out->capped) st = put_long_run(&all, q->max_match, out->long_run, err);
  arena_free(&scratch);
  return st;
}
