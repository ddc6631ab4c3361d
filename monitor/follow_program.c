/* A pattern's tree as a program of threads (Thompson 1968, with priorities as in Pike's sam). */
#include "monitor/follow.h"
#include "monitor/pattern_tree.h"

#include <stdlib.h>
#include <string.h>

struct writer {
  struct follow_program *program;
  const uint32_t *protect;
  bool full;
};

static unsigned emit(struct writer *w, enum follow_op op) {
  if (w->program->n == FOLLOW_PROGRAM_MAX) {
    w->full = true;
    return 0;
  }
  w->program->at[w->program->n] = (struct follow_instruction){.op = op};
  return w->program->n++;
}

static void write_node(struct writer *w, const struct node *n);

/* Goes on behind it first, or leaves to a place that is set later; lazy: the other way round. */
static unsigned emit_split(struct writer *w, bool lazy) {
  unsigned at = emit(w, OP_SPLIT);
  struct follow_instruction *split = &w->program->at[at];
  if (lazy)
    split->y = (uint16_t)(at + 1);
  else
    split->x = (uint16_t)(at + 1);
  return at;
}

static void set_exit(struct writer *w, unsigned split, bool lazy) {
  if (w->full) return;
  if (lazy)
    w->program->at[split].x = (uint16_t)w->program->n;
  else
    w->program->at[split].y = (uint16_t)w->program->n;
}

static void write_alternatives(struct writer *w, const struct node *n) {
  unsigned first_jump = 0, jumps = 0; /* jumps to the end are chained through x until it is known */
  for (const struct node *c = n->child; c && !w->full; c = c->next) {
    unsigned split = c->next ? emit_split(w, false) : 0;
    write_node(w, c);
    if (!c->next) break;
    unsigned jump = emit(w, OP_JUMP);
    w->program->at[jump].x = (uint16_t)first_jump;
    first_jump = jump;
    jumps++;
    set_exit(w, split, false);
  }
  while (jumps-- && !w->full) {
    unsigned before = w->program->at[first_jump].x;
    w->program->at[first_jump].x = (uint16_t)w->program->n;
    first_jump = before;
  }
}

static void write_repeat(struct writer *w, const struct node *n) {
  for (size_t i = 0; i < n->min && !w->full; i++) write_node(w, n->child);
  if (n->max == NODE_UNBOUNDED) {
    unsigned split = emit_split(w, n->lazy);
    write_node(w, n->child);
    unsigned jump = emit(w, OP_JUMP);
    w->program->at[jump].x = (uint16_t)split;
    set_exit(w, split, n->lazy);
    return;
  }
  const unsigned first = w->program->n;
  for (size_t i = n->min; i < n->max && !w->full; i++) {
    unsigned split = emit_split(w, n->lazy);
    w->program->at[split].sees = 1; /* this repeat's own; the child's have been set by then */
    write_node(w, n->child);
  }
  const unsigned end = w->program->n;
  for (unsigned i = first; i < end && !w->full; i++) {
    struct follow_instruction *at = &w->program->at[i];
    if (at->op != OP_SPLIT || at->sees != 1) continue;
    at->sees = 0;
    set_exit(w, i, n->lazy);
  }
}

/* The one character that a look-around asks for; NULL: more, or not known exactly. */
static const struct node *single(const struct node *n) {
  while (n && n->kind == NODE_CAT && n->child && !n->child->next) n = n->child;
  return n && n->kind == NODE_SET && !n->unsure[0] && !n->unsure[1] ? n : NULL;
}

/* So far every path has come this way, and read nothing. */
static bool at_beginning(const struct follow_program *p) {
  for (unsigned i = 0; i < p->n; i++)
    if (p->at[i].op != OP_BEHIND && p->at[i].op != OP_BOUNDARY && p->at[i].op != OP_GROUP) return false;
  return true;
}

static void write_look(struct writer *w, const struct node *n) {
  size_t min = 0, max = 0;
  const struct node *set = n->look ? single(n->look) : NULL;
  if (set && n->behind && !at_beginning(w->program)) set = NULL;
  unsigned at = emit(w, set ? n->behind ? OP_BEHIND : OP_AHEAD : OP_LOOK);
  struct follow_instruction *look = &w->program->at[at];
  if (n->look) pattern_lengths(n->look, &min, &max);
  look->sees = max > SIZE_MAX - 4 ? SIZE_MAX : max + 4;
  look->negative = n->negative;
  if (set) memcpy(look->ascii, set->ascii, sizeof look->ascii);
}

static void write_node(struct writer *w, const struct node *n) {
  switch (n->kind) {
  case NODE_SET: {
    unsigned at = emit(w, OP_SET);
    memcpy(w->program->at[at].ascii, n->ascii, sizeof n->ascii);
    w->program->at[at].wide = n->beyond || n->bytes_max > 1;
    break;
  }
  case NODE_GROUP:
    for (const uint32_t *g = w->protect; *g; g++)
      if (*g == n->group) emit(w, OP_GROUP);
    write_node(w, n->child);
    break;
  case NODE_CAT:
    for (const struct node *c = n->child; c && !w->full; c = c->next) write_node(w, c);
    break;
  case NODE_ALT:
    write_alternatives(w, n);
    break;
  case NODE_REPEAT:
    write_repeat(w, n);
    break;
  case NODE_ASSERT:
    if (n->assertion == ASSERT_WORD_BOUNDARY)
      emit(w, OP_BOUNDARY);
    else if (n->assertion == ASSERT_END)
      emit(w, OP_END);
    else
      write_look(w, n);
    break;
  case NODE_UNKNOWN:
    emit(w, OP_UNKNOWN);
    break;
  }
}

void follow_program_bars(const struct follow_program *p, bool barred[128]) {
  for (unsigned i = 0; i < p->n; i++) {
    const struct follow_instruction *at = &p->at[i];
    for (unsigned c = 0; c < 128 && at->op == OP_BEHIND; c++)
      barred[c] |= ((at->ascii[c / 64] >> (c % 64)) & 1) == (at->negative ? 1u : 0u);
    if (at->op != OP_BEHIND && at->op != OP_BOUNDARY && at->op != OP_GROUP) return;
  }
}

/* The longest miss before which PCRE2 has gone so few ways that the match limit is far. */
static size_t sound_length(const struct node *root, size_t max_match, uint32_t match_limit) {
  size_t lo = 0, hi = max_match;
  while (lo < hi) {
    size_t mid = hi - (hi - lo) / 2;
    if (pattern_steps(root, mid) <= match_limit / 2)
      lo = mid;
    else
      hi = mid - 1;
  }
  return lo;
}

sluice_status follow_program_read(const struct rule *r, uint32_t match_limit, struct follow_program *out, size_t *sound,
                                  struct sluice_error *err) {
  struct arena scratch = {0};
  struct node *root = NULL;
  const char *why = NULL;
  struct writer w = {.program = out, .protect = r->protect};
  *out = (struct follow_program){.at = calloc(FOLLOW_PROGRAM_MAX, sizeof *out->at)};
  if (!out->at) return sluice_fail(err, SLUICE_NOMEM, "no memory for a rule's program");
  sluice_status st =
      pattern_tree_read(&scratch, (struct slice){r->pattern, r->pattern_len}, r->flags, r->ascii, &root, &why, err);
  if (!st && root) {
    write_node(&w, root);
    emit(&w, OP_MATCH);
    *sound = sound_length(root, r->max_match, match_limit);
  }
  if (w.full || st) out->n = 0;
  struct follow_instruction *fitting = out->n ? realloc(out->at, out->n * sizeof *fitting) : NULL;
  if (fitting)
    out->at = fitting;
  else if (!out->n)
    free(out->at), out->at = NULL;
  arena_free(&scratch);
  return st;
}
