/* What must be known of a pattern before another engine may say in PCRE2's place that there is no match: how far an
 * attempt can see and how many ways it can go (one that could need more than max_match bytes may be reported as capped,
 * one that could go too many ways may hit the match limit; such a rule always runs), and an expression over bytes that
 * matches wherever the pattern does, and perhaps elsewhere. */
#include "monitor/pattern_tree.h"

#include <math.h>
#include <string.h>

enum {
  LONG_RUN_MIN = 24 /* bytes; shorter ones stand everywhere */,
  BEGINNING_MAX = 16,
  COUNTED_MAX = 8,
  ROW_MAX = 256,
  BITS_ENOUGH = 10,
  ALTERNATIVES_MAX = 256
};

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

/* The characters that a node asks for one after the other, as far as all its matches ask alike. */
struct beginning {
  struct first at[BEGINNING_MAX];
  int n;
  bool end; /* behind them the pattern ends */
};

/* true: the whole node stands there, and what follows it may be added. */
static bool read_beginning(const struct node *n, struct beginning *b) {
  if (n->kind == NODE_ASSERT) return true;
  if (n->kind == NODE_CAT || n->kind == NODE_GROUP) {
    for (const struct node *c = n->child; c; c = c->next)
      if (!read_beginning(c, b)) return false;
    return true;
  }
  if (n->kind == NODE_REPEAT && n->min > 0) {
    for (size_t i = 0; i < n->min; i++)
      if (!read_beginning(n->child, b)) return false;
    return n->min == n->max;
  }
  struct first own = {0};
  if (b->n == BEGINNING_MAX || first_of(n, &own)) return false;
  b->at[b->n++] = own;
  return n->kind == NODE_SET;
}

/* The first characters of a row, and of what follows it where the row can be empty. */
static struct first first_of_row(const struct node *row, const struct beginning *after) {
  struct first f = {0};
  for (; row; row = row->next)
    if (!first_of(row, &f)) return f;
  if (after->n) unite(&f, &after->at[0]);
  f.any |= !after->n && !after->end;
  return f;
}

/* What follows a child of a row: the rest of the row, and what follows that. */
static struct beginning behind(const struct node *rest, const struct beginning *after) {
  struct beginning b = {.n = 0};
  for (; rest; rest = rest->next) {
    int before = b.n;
    if (read_beginning(rest, &b)) continue;
    if (b.n == before && b.n < BEGINNING_MAX) b.at[b.n++] = first_of_row(rest, after);
    return b;
  }
  for (int i = 0; i < after->n && b.n < BEGINNING_MAX; i++) b.at[b.n++] = after->at[i];
  b.end = after->end && b.n < BEGINNING_MAX;
  return b;
}

/* What one more turn of a repetition, or what follows it, begins with. */
static struct beginning again_or(const struct node *child, const struct beginning *after) {
  struct beginning b = {.n = 1};
  b.at[0] = first_of_row(NULL, after);
  b.at[0].any |= first_of(child, &b.at[0]);
  return b;
}

/* How many lengths of a run of such characters one text can have before what follows: where that asks for another
 * character k further on, the run ends less than k before it. */
static size_t lengths_of_run(const struct first *own, const struct beginning *after) {
  for (int k = 0; k < after->n; k++)
    if (!overlap(own, &after->at[k])) return (size_t)k + 1;
  return after->n == 0 && after->end ? 1 : SIZE_MAX;
}

/* ---- how many ways ---- */

/* No text begins like both. */
static bool apart(const struct beginning *a, const struct beginning *b) {
  for (int i = 0; i < a->n && i < b->n; i++)
    if (!overlap(&a->at[i], &b->at[i])) return true;
  return false;
}

static size_t ways(const struct node *n, const struct beginning *after, size_t most);

/* Alternatives that one text could begin like add up. */
static size_t ways_of_alternatives(const struct node *n, const struct beginning *after, size_t most) {
  struct beginning begins[ALTERNATIVES_MAX] = {{.n = 0}};
  size_t each[ALTERNATIVES_MAX], count = 0, greatest = 0, sum = 0;
  for (const struct node *c = n->child; c; c = c->next, count++) {
    size_t w = ways(c, after, most);
    sum = add_sat(sum, w);
    if (count >= ALTERNATIVES_MAX) continue;
    each[count] = w;
    read_beginning(c, &begins[count]);
  }
  if (count > ALTERNATIVES_MAX) return sum;
  for (size_t i = 0; i < count; i++) {
    size_t together = 0;
    for (size_t j = 0; j < count; j++)
      if (i == j || !apart(&begins[i], &begins[j])) together = add_sat(together, each[j]);
    if (together > greatest) greatest = together;
  }
  return greatest;
}

static size_t ways_of_repeat(const struct node *n, const struct beginning *after, size_t most) {
  struct first own = {0}, then = first_of_row(NULL, after);
  const struct beginning next = again_or(n->child, after);
  bool empty = first_of(n->child, &own),
       decided = !overlap(&own, &then); /* the next character says whether it goes on */
  size_t once = ways(n->child, &next, most), all = 0, times = 1, max = n->max < most ? n->max : most;
  if ((empty && n->max > 1) || (n->max == NODE_UNBOUNDED && once > 1)) return SIZE_MAX;
  if (n->child->kind == NODE_SET) {
    size_t lengths = n->min >= max ? 1 : max - n->min + 1, run = lengths_of_run(&own, after);
    return run < lengths ? run : lengths;
  }
  if (once == 1 && !empty) return decided || n->min >= max ? 1 : max - n->min + 1;
  for (size_t i = 0; i <= n->max; i++) {
    if (i >= n->min) all = decided && !empty ? times : add_sat(all, times);
    times = mul_sat(times, once);
    if (times == SIZE_MAX) return SIZE_MAX;
  }
  return all;
}

/* On any one text of at most `most` bytes, how many ways lead through the node. What ends a pattern or a look-around
 * goes no second way. */
static size_t ways(const struct node *n, const struct beginning *after, size_t most) {
  static const struct beginning nothing = {.end = true};
  size_t w = 1;
  if (n->kind == NODE_UNKNOWN) return SIZE_MAX;
  if (n->kind == NODE_ASSERT) return n->look ? ways(n->look, &nothing, most) : 1;
  if (n->kind == NODE_ALT) return ways_of_alternatives(n, after, most);
  if (n->kind == NODE_REPEAT) return ways_of_repeat(n, after, most);
  for (const struct node *c = n->child; c; c = c->next) {
    const struct beginning next = behind(c->next, after);
    w = mul_sat(w, ways(c, &next, most));
  }
  return w;
}

/* How often, at most, an attempt turns into an alternative, one more repetition or a group: what the match limit
 * counts. */
static size_t steps(const struct node *n, const struct beginning *after, size_t most) {
  static const struct beginning nothing = {.end = true};
  size_t total = n->kind == NODE_GROUP, times = 1;
  if (n->kind == NODE_UNKNOWN) return SIZE_MAX;
  if (n->kind == NODE_ASSERT) return n->look ? add_sat(1, steps(n->look, &nothing, most)) : 0;
  if (n->kind == NODE_REPEAT) {
    const struct beginning next = again_or(n->child, after);
    size_t once = ways(n->child, &next, most), turn = add_sat(1, steps(n->child, &next, most));
    if (n->child->kind == NODE_SET) turn += (size_t)after->n; /* what fails in there is no way through */
    for (size_t i = 0; i <= n->max && i <= most && total < SIZE_MAX; i++) {
      total = add_sat(total, mul_sat(times, turn));
      times = mul_sat(times, once);
    }
    return total;
  }
  for (const struct node *c = n->child; c; c = c->next) {
    const struct beginning next = n->kind == NODE_ALT ? *after : behind(c->next, after);
    total = add_sat(total, mul_sat(times, add_sat(n->kind == NODE_ALT, steps(c, &next, most))));
    if (n->kind != NODE_ALT && c->next) times = mul_sat(times, ways(c, &next, most));
  }
  return total;
}

size_t pattern_steps(const struct node *root, size_t most) {
  static const struct beginning nothing = {.end = true};
  return steps(root, &nothing, most);
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

static sluice_status put_ascii(const struct node *n, struct buffer *out, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (unsigned c = 0; c < 128 && !st; c++) {
    unsigned end = c;
    if (!node_has(n, c)) continue;
    while (end < 127 && node_has(n, end + 1)) end++;
    st = end > c ? buffer_printf(out, err, "\\x%02x-\\x%02x", c, end) : buffer_printf(out, err, "\\x%02x", c);
    c = end;
  }
  return st;
}

static sluice_status put_set(const struct node *n, struct buffer *out, struct sluice_error *err) {
  bool more = n->beyond || n->bytes_max > 1;
  sluice_status st = buffer_append_str(out, more ? "(?:[" : "[", err);
  if (!st) st = put_ascii(n, out, err);
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

/* A long run of a set as one of bytes: automata that count are large. */
static sluice_status put_run(const struct node *n, struct buffer *out, struct sluice_error *err) {
  const struct node *set = n->child;
  sluice_status st = buffer_append_str(out, "[", err);
  if (!st) st = put_ascii(set, out, err);
  if (!st && (set->beyond || set->bytes_max > 1)) st = buffer_append_str(out, "\\x80-\\xff", err);
  return st ? st : buffer_printf(out, err, "]{%zu,}", n->min);
}

/* Characters of the expression, repetitions written out. */
static size_t size_of(const struct node *n) {
  size_t size = n->kind == NODE_SET;
  if (n->kind == NODE_ASSERT) return 0;
  for (const struct node *c = n->child; c; c = c->next) size = add_sat(size, size_of(c));
  if (n->kind != NODE_REPEAT) return size;
  return mul_sat(size, n->child->kind == NODE_SET && n->max >= COUNTED_MAX ? n->min + 1 : n->max);
}

/* Of surprise in English text. */
static double bits_of(const struct node *n) {
  double share = 0, bits = 0;
  if (n->kind == NODE_SET) {
    for (unsigned c = 0; c < 128; c++)
      if (node_has(n, c)) share += english_share((unsigned char)c, false);
    return share >= 1 ? 0 : -log2(share > 1e-6 ? share : 1e-6);
  }
  if (n->kind == NODE_ASSERT || n->kind == NODE_UNKNOWN) return 0;
  for (const struct node *c = n->child; c; c = c->next) {
    bits += bits_of(c);
    share += exp2(-bits_of(c));
  }
  if (n->kind == NODE_ALT) return share >= 1 ? 0 : -log2(share);
  return n->kind == NODE_REPEAT ? bits * (double)n->min : bits;
}

/* Of a long row the last part that says enough: a match holds it, and its place is all that is asked for. *end: what
 * follows that part. */
static const struct node *part_of_row(const struct node *row, const struct node **end) {
  *end = NULL;
  if (size_of(row) <= ROW_MAX) return row->child;
  for (;;) {
    const struct node *from = NULL, *last = NULL;
    double bits = 0;
    size_t size = 0;
    for (const struct node *c = row->child; c != *end; c = c->next) size = add_sat(size, size_of(c)), last = c;
    for (from = row->child; from != last && size > ROW_MAX; from = from->next) size -= size_of(from);
    for (const struct node *c = from; c != *end; c = c->next) bits += bits_of(c);
    if (bits >= BITS_ENOUGH) return from;
    if (last == row->child) break;
    *end = last;
  }
  *end = NULL;
  return row->child;
}

static sluice_status put(const struct node *n, struct buffer *out, struct sluice_error *err) {
  static const struct beginning unknown = {.n = 0};
  sluice_status st = SLUICE_OK;
  if (n->kind == NODE_SET) return put_set(n, out, err);
  if (n->kind == NODE_ASSERT) return SLUICE_OK;
  if (n->kind == NODE_REPEAT && n->child->kind == NODE_SET && n->max > n->min && n->max >= COUNTED_MAX)
    return put_run(n, out, err);
  if (n->kind == NODE_UNKNOWN) return sluice_fail(err, SLUICE_INTERNAL, "a pattern that is not known");
  st = buffer_append_str(out, "(?:", err);
  const struct node *end = NULL, *from = n->kind == NODE_CAT ? part_of_row(n, &end) : n->child;
  for (const struct node *c = from; c != end && !st; c = c->next) {
    struct first next = first_of_row(c->next, &unknown);
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
    if (fits && pattern_steps(root, most) <= q->match_limit / 2) out->reach = most + PREFILTER_SLACK;
  }
  if (!st && out->reach) st = put(root, out->expression, err);
  if (!st && out->reach && out->capped) st = put_long_run(&all, q->max_match, out->long_run, err);
  arena_free(&scratch);
  return st;
}
