/* The first bytes of rules without a keyword, as bit sets of rules by place and byte (compare Baeza-Yates and Gonnet's
 * shift-and, with a register a start and a bit a pattern). */
#include "monitor/openings.h"
#include "monitor/follow.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned char byte_set[256];

/* ---- what is known of one rule ---- */

struct reading {
  const struct follow_program *program;
  bool *now, *then; /* instructions: threads at a place, and at the next one */
  uint16_t *stack;
};

/* Adds what stands at `from` without reading a byte. false: a match may end there, or more than the tree tells. */
static bool reach(const struct reading *r, bool *set, unsigned from) {
  unsigned n = 0;
  bool goes_on = true;
  r->stack[n++] = (uint16_t)from;
  while (n) {
    unsigned i = r->stack[--n];
    const struct follow_instruction *at = &r->program->at[i];
    if (set[i]) continue;
    set[i] = true;
    if (at->op == OP_MATCH || at->op == OP_UNKNOWN) goes_on = false;
    if (at->op == OP_SPLIT) r->stack[n++] = at->y;
    if (at->op == OP_SPLIT || at->op == OP_JUMP)
      r->stack[n++] = at->x;
    else if (at->op != OP_SET && at->op != OP_MATCH && at->op != OP_UNKNOWN)
      r->stack[n++] = (uint16_t)(i + 1);
  }
  return goes_on;
}

static void bytes_of(const struct follow_program *p, const bool *set, byte_set out) {
  for (unsigned i = 0; i < p->n; i++) {
    const struct follow_instruction *at = &p->at[i];
    if (!set[i] || at->op != OP_SET) continue;
    for (unsigned c = 0; c < 256; c++) out[c] |= c < 128 ? (at->ascii[c / 64] >> (c % 64)) & 1 : at->wide;
  }
}

/* Places of which something is known; at least the first. */
static size_t read_places(struct reading *r, size_t most, byte_set places[OPENING_BYTES]) {
  const struct follow_program *p = r->program;
  memset(r->now, 0, p->n * sizeof *r->now);
  bool goes_on = reach(r, r->now, 0);
  size_t k = 0;
  while (goes_on && k < most) {
    byte_set own = {0};
    bytes_of(p, r->now, own);
    for (unsigned c = 0; c < 256; c++) places[k][c] = own[c] && (k || places[0][c]); /* PCRE2 knows the first, too */
    memset(r->then, 0, p->n * sizeof *r->then);
    for (unsigned i = 0; i < p->n; i++)
      if (r->now[i] && p->at[i].op == OP_SET) goes_on &= reach(r, r->then, i + 1);
    bool *swap = r->now;
    r->now = r->then;
    r->then = swap;
    k++;
  }
  return k ? k : 1;
}

/* Behind which bytes a match can begin. */
static void read_behind(const struct rule *rule, const struct follow_program *p, byte_set out) {
  memset(out, 1, sizeof(byte_set));
  for (unsigned c = 0; c < 128 && rule->word_start; c++)
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_') out[c] = 0;
  bool barred[128] = {false};
  follow_program_bars(p, barred);
  for (unsigned c = 0; c < 128; c++) out[c] &= !barred[c];
}

struct one {
  byte_set places[OPENING_BYTES], behind;
  size_t n;
};

static sluice_status read_one(const struct monitor_policy *p, const struct rule *r, struct one *out,
                              struct sluice_error *err) {
  struct follow_program program = {0};
  size_t sound = 0;
  out->n = 1;
  memset(out->behind, 1, sizeof out->behind);
  pattern_first_bytes(r, out->places[0]);
  memset(out->places[0] + 0x80, 0, 0x40); /* in the middle of a character */
  sluice_status st = r->pattern ? follow_program_read(r, p->match_limit, &program, &sound, err) : SLUICE_OK;
  if (st || !program.n) {
    if (r->word_start) read_behind(r, &program, out->behind);
    return st;
  }
  struct reading reading = {.program = &program,
                            .now = calloc(program.n, sizeof *reading.now),
                            .then = calloc(program.n, sizeof *reading.then),
                            .stack = calloc(2 * program.n + 2, sizeof *reading.stack)};
  size_t most = sound < OPENING_BYTES ? sound : OPENING_BYTES;
  if (r->max_match <= 2 * OPENING_BYTES) most = 1; /* a window that ends so soon is PCRE2's to decide */
  if (reading.now && reading.then && reading.stack)
    out->n = read_places(&reading, most, out->places);
  else
    st = sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  read_behind(r, &program, out->behind);
  free(reading.now);
  free(reading.then);
  free(reading.stack);
  free(program.at);
  return st;
}

/* ---- all of them ---- */

static void split_columns(struct openings *o, const byte_set set) {
  unsigned in[256] = {0};
  bool out[256] = {false};
  for (unsigned c = 0; c < 256; c++) out[o->column[c]] |= !set[c];
  for (unsigned c = 0; c < 256; c++) {
    unsigned column = o->column[c];
    if (!set[c] || !out[column]) continue;
    if (!in[column]) in[column] = o->n_columns++;
    o->column[c] = (unsigned char)in[column];
  }
}

static void mark(uint64_t *set, size_t bit) {
  set[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static sluice_status fill(struct openings *o, const struct monitor_policy *p, const struct one *all,
                          struct sluice_error *err) {
  const size_t words = o->words;
  o->n_columns = 1;
  for (size_t i = 0; i < o->n_rules; i++) {
    for (size_t k = 0; k < all[i].n; k++) split_columns(o, all[i].places[k]);
    split_columns(o, all[i].behind);
  }
  o->may = calloc(OPENING_BYTES * o->n_columns * words, sizeof *o->may);
  o->behind = calloc(o->n_columns * words, sizeof *o->behind);
  o->last = calloc(OPENING_BYTES * words, sizeof *o->last);
  o->holds = calloc(words, sizeof *o->holds);
  o->probed = calloc(words, sizeof *o->probed);
  bool lanes = true;
  for (int k = 0; k < LANES; k++) lanes &= (o->lanes[k] = calloc(words, sizeof *o->lanes[k])) != NULL;
  if (!lanes || !o->may || !o->behind || !o->last || !o->holds || !o->probed)
    return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  for (size_t i = 0; i < o->n_rules; i++) {
    const struct rule *r = &p->rules[o->rule[i]];
    for (unsigned c = 0; c < 256; c++) {
      for (size_t k = 0; k < all[i].n; k++)
        if (all[i].places[k][c]) mark(o->may + (k * o->n_columns + o->column[c]) * words, i);
      if (all[i].behind[c]) mark(o->behind + o->column[c] * words, i);
    }
    mark(o->last + (all[i].n - 1) * words, i);
    if (r->action != MONITOR_FLAG) mark(r->probe ? o->probed : o->holds, i);
    for (int k = 0; k < LANES; k++)
      if (p->lane_rules[k][o->rule[i] / 64] >> (o->rule[i] % 64) & 1) mark(o->lanes[k], i);
  }
  return SLUICE_OK;
}

sluice_status openings_build(struct monitor_policy *p, struct sluice_error *err) {
  struct openings *o = p->openings = calloc(1, sizeof *o);
  struct one *all = calloc(p->n_rules ? p->n_rules : 1, sizeof *all);
  sluice_status st = SLUICE_OK;
  if (o) {
    o->rule = calloc(p->n_rules ? p->n_rules : 1, sizeof *o->rule);
    o->bit_of = calloc(p->n_rules ? p->n_rules : 1, sizeof *o->bit_of);
  }
  if (!o || !all || !o->rule || !o->bit_of) {
    free(all);
    return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  }
  for (size_t i = 0; i < p->n_rules && !st; i++) {
    o->bit_of[i] = OPENING_NONE;
    if (p->rules[i].keyworded) continue;
    st = read_one(p, &p->rules[i], &all[o->n_rules], err);
    o->bit_of[i] = (uint32_t)o->n_rules;
    o->rule[o->n_rules++] = (uint32_t)i;
  }
  o->words = (o->n_rules + 63) / 64;
  if (!st && o->n_rules) st = fill(o, p, all, err);
  free(all);
  return st;
}

void openings_free(struct openings *o) {
  if (!o) return;
  free(o->rule);
  free(o->bit_of);
  free(o->may);
  free(o->behind);
  free(o->last);
  free(o->holds);
  free(o->probed);
  for (int k = 0; k < LANES; k++) free(o->lanes[k]);
  free(o);
}

/* ---- over a text ---- */

size_t openings_state_words(const struct openings *o) {
  return (OPENING_BYTES + 1) * o->words;
}

static void wake_all(const struct openings *o, uint64_t set, size_t word, uint64_t start, opening_fn wake, void *ctx) {
  for (; set; set &= set - 1) wake(ctx, o->rule[word * 64 + (size_t)__builtin_ctzll(set)], start);
}

/* One start's rules after one more byte; false: none waits there any more. */
static bool advance(const struct openings *o, uint64_t *alive, size_t age, unsigned column, bool all, uint64_t start,
                    opening_fn wake, void *ctx) {
  const uint64_t *may = o->may + (age * o->n_columns + column) * o->words, *last = o->last + age * o->words;
  uint64_t any = 0;
  for (size_t w = 0; w < o->words; w++) {
    uint64_t set = alive[w] & may[w], done = all ? set : set & last[w];
    alive[w] = set & ~done;
    any |= alive[w];
    if (done) wake_all(o, done, w, start, wake, ctx);
  }
  return any;
}

/* The starts that live before `at`, as bits: i for at - OPENING_BYTES + i. */
static unsigned in_order(const struct openings_state *s, uint64_t at) {
  const unsigned turn = (unsigned)(at % OPENING_BYTES);
  return (s->live >> turn | s->live << (OPENING_BYTES - turn)) & ((1u << OPENING_BYTES) - 1);
}

void openings_see(const struct openings *o, struct openings_state *s, const uint64_t *among, unsigned char c,
                  int before, uint64_t at, opening_fn wake, void *ctx) {
  const unsigned column = o->column[c], own = (unsigned)(at % OPENING_BYTES);
  const bool past_ascii = c >= 0x80; /* how many bytes its character takes is the rule's to know */
  for (unsigned live = in_order(s, at); live; live &= live - 1) {
    const unsigned i = (unsigned)__builtin_ctz(live), slot = (own + i) % OPENING_BYTES;
    const size_t age = OPENING_BYTES - i; /* bytes read before this one */
    if (!advance(o, s->alive + slot * o->words, age, column, past_ascii, at - age, wake, ctx)) s->live &= ~(1u << slot);
  }
  const uint64_t *may = o->may + column * o->words,
                 *behind = before < 0 ? NULL : o->behind + o->column[before] * o->words;
  uint64_t *alive = s->alive + own * o->words, any = 0;
  for (size_t w = 0; w < o->words; w++)
    any |= alive[w] = may[w] & s->listen[w] & among[w] & (behind ? behind[w] : ~(uint64_t)0);
  if (any && advance(o, alive, 0, column, past_ascii, at, wake, ctx)) s->live |= 1u << own;
}

void openings_wake(const struct openings *o, struct openings_state *s, uint64_t end, opening_fn wake, void *ctx) {
  for (unsigned live = in_order(s, end); live; live &= live - 1) {
    const unsigned i = (unsigned)__builtin_ctz(live);
    const uint64_t *alive = s->alive + (end + i) % OPENING_BYTES * o->words;
    for (size_t w = 0; w < o->words; w++) wake_all(o, alive[w], w, end - OPENING_BYTES + i, wake, ctx);
  }
  s->live = 0;
}

void openings_forget(const struct openings *o, struct openings_state *s, uint32_t rule) {
  const uint32_t bit = o->bit_of[rule];
  for (unsigned live = s->live; live; live &= live - 1)
    s->alive[(size_t)__builtin_ctz(live) * o->words + bit / 64] &= ~((uint64_t)1 << (bit % 64));
}

void openings_listen(const struct openings *o, struct openings_state *s, uint32_t rule, bool on) {
  const uint32_t bit = o->bit_of[rule];
  const uint64_t one = (uint64_t)1 << (bit % 64);
  s->listen[bit / 64] = on ? s->listen[bit / 64] | one : s->listen[bit / 64] & ~one;
}

uint64_t openings_hold(const struct openings *o, const struct openings_state *s, const uint64_t *among, uint64_t end,
                       bool (*holds)(void *ctx, uint32_t rule, uint64_t start), void *ctx) {
  for (unsigned live = in_order(s, end); live; live &= live - 1) {
    const unsigned i = (unsigned)__builtin_ctz(live);
    const uint64_t start = end - OPENING_BYTES + i;
    const uint64_t *alive = s->alive + start % OPENING_BYTES * o->words;
    for (size_t w = 0; w < o->words; w++) {
      if (alive[w] & o->holds[w] & among[w]) return start;
      for (uint64_t ask = alive[w] & o->probed[w] & among[w]; ask; ask &= ask - 1)
        if (holds(ctx, o->rule[w * 64 + (size_t)__builtin_ctzll(ask)], start)) return start;
    }
  }
  return UINT64_MAX;
}
