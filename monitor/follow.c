/* The states of an attempt: ordered lists of threads, built under a lock when text first comes to them, read without.
 */
#include "monitor/follow.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { STATES_MAX = 4096, THREADS_MAX = 1 << 17, TABLE = 2 * STATES_MAX, COLUMNS_MAX = 64 };
enum { COLUMN_PAST_ASCII = 0 };

struct state {
  uint32_t first, n; /* into threads */
  bool fresh;        /* nothing has been read: a complete path is none, for no match is empty */
  bool word;         /* the byte before is a word's; only told apart where a thread stands at \b */
  bool complete;     /* a path after these threads is */
  bool any;          /* of all attempts from a start on: one more begins behind each byte */
};
struct list {
  uint16_t *at;
  unsigned n;
  uint32_t *seen, turn; /* seen[i] == turn: i is in it */
};
struct follow_body {
  pthread_mutex_t lock;
  struct follow_program program;
  unsigned char byte_of[COLUMNS_MAX]; /* one of each column's bytes */
  bool *late;                         /* by instruction: a path that has come to a protect group leads there */
  struct state *states;
  unsigned n_states, n_threads;
  uint16_t *threads, *table;
  struct list before, after;
  uint16_t *stack;
};

static bool is_word(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool has(const uint64_t ascii[2], unsigned char c) {
  return c < 128 && ((ascii[c / 64] >> (c % 64)) & 1);
}

/* ---- columns ---- */

/* Splits each column by whether its bytes are in the set. false: too many columns. */
static bool split_columns(struct follow *f, const uint64_t ascii[2]) {
  unsigned char in[COLUMNS_MAX + 1] = {0}; /* where a column's members of the set go; 0: not yet known */
  bool out[COLUMNS_MAX + 1] = {false};
  for (unsigned c = 0; c < 128; c++) out[f->column[c]] |= !has(ascii, (unsigned char)c);
  for (unsigned c = 0; c < 128; c++) {
    unsigned char column = f->column[c];
    if (!has(ascii, (unsigned char)c) || !out[column]) continue;
    if (!in[column] && f->n_columns == COLUMNS_MAX) return false;
    if (!in[column]) in[column] = (unsigned char)f->n_columns++;
    f->column[c] = in[column];
  }
  return true;
}

/* Bytes that no instruction tells apart share a column; all past ASCII are one. */
static bool number_columns(struct follow *f, const struct follow_program *p, unsigned char byte_of[COLUMNS_MAX]) {
  static const uint64_t words[2] = {0x03FF000000000000u, 0x07FFFFFE87FFFFFEu}, line_ends[2] = {1u << '\n' | 1u << '\r'};
  for (unsigned c = 0; c < 128; c++) f->column[c] = COLUMN_PAST_ASCII + 1;
  f->n_columns = COLUMN_PAST_ASCII + 2;
  bool fit = split_columns(f, words) && split_columns(f, line_ends);
  for (unsigned i = 0; i < p->n && fit; i++)
    if (p->at[i].op == OP_SET || p->at[i].op == OP_AHEAD) fit = split_columns(f, p->at[i].ascii);
  byte_of[COLUMN_PAST_ASCII] = 0xC3;
  for (unsigned c = 0; c < 128; c++) byte_of[f->column[c]] = (unsigned char)c;
  return fit;
}

/* ---- threads ---- */

static void list_begin(struct list *l) {
  l->n = 0;
  l->turn++;
}

static bool list_enter(struct list *l, unsigned i) {
  if (l->seen[i] == l->turn) return false;
  l->seen[i] = l->turn;
  return true;
}

enum outcome { WENT_ON, COMPLETE, ASK };

/* What a thread that stands at `from` becomes. next < 0: up to what reads a byte or looks at the next one; else that
 * byte, of what stands behind one that is a word's or not. leading: look-arounds are taken to hold. */
struct closing {
  int next;
  bool word, leading;
};

static enum outcome pass(const struct follow_instruction *at, const struct closing *c, bool *holds) {
  const bool ascii = c->next < 128;
  *holds = false;
  if ((at->op == OP_LOOK || at->op == OP_BEHIND) && c->leading) {
    *holds = true;
    return WENT_ON;
  }
  if (at->op == OP_LOOK || at->op == OP_BEHIND || !ascii) return ASK;
  if (at->op == OP_BOUNDARY) *holds = c->word != is_word((unsigned char)c->next);
  if (at->op == OP_AHEAD) *holds = has(at->ascii, (unsigned char)c->next) != at->negative;
  return at->op == OP_END && (c->next == '\n' || c->next == '\r') ? ASK : WENT_ON;
}

static enum outcome close_thread(struct follow_body *b, struct list *l, unsigned from, const struct closing *c) {
  unsigned n = 0;
  b->stack[n++] = (uint16_t)from;
  while (n) {
    unsigned i = b->stack[--n];
    const struct follow_instruction *at = &b->program.at[i];
    bool holds = false;
    if (!list_enter(l, i)) continue;
    switch (at->op) {
    case OP_MATCH:
      return COMPLETE;
    case OP_UNKNOWN:
      return ASK;
    case OP_SPLIT:
      b->stack[n++] = at->y;
      b->stack[n++] = at->x;
      break;
    case OP_JUMP:
      b->stack[n++] = at->x;
      break;
    case OP_GROUP:
      b->stack[n++] = (uint16_t)(i + 1);
      break;
    case OP_SET:
      l->at[l->n++] = (uint16_t)i;
      break;
    default:
      if (c->next < 0 && !((at->op == OP_LOOK || at->op == OP_BEHIND) && c->leading)) {
        l->at[l->n++] = (uint16_t)i;
        break;
      }
      if (pass(at, c, &holds) == ASK) return ASK;
      if (holds) b->stack[n++] = (uint16_t)(i + 1);
    }
  }
  return WENT_ON;
}

/* ---- states ---- */

static uint16_t same_state(const struct follow_body *b, const struct state *s, unsigned slot) {
  for (; b->table[slot]; slot = (slot + 1) % TABLE) {
    const struct state *t = &b->states[b->table[slot]];
    if (t->n == s->n && t->fresh == s->fresh && t->word == s->word && t->complete == s->complete && t->any == s->any &&
        memcmp(b->threads + t->first, b->after.at, s->n * sizeof *b->threads) == 0)
      return b->table[slot];
  }
  return 0;
}

/* The state whose threads are b->after. */
static uint16_t find_state(const struct follow *f, struct state s) {
  struct follow_body *b = f->body;
  uint32_t h = 2166136261u;
  bool boundary = false, early = true;
  if (!b->after.n && !s.fresh) return s.complete ? FOLLOW_SETTLED : FOLLOW_MISS;
  for (unsigned i = 0; i < b->after.n; i++) {
    boundary |= b->program.at[b->after.at[i]].op == OP_BOUNDARY;
    early &= !b->late[b->after.at[i]];
    h = (h ^ b->after.at[i]) * 16777619u;
  }
  s.word &= boundary;
  h ^= (s.fresh ? 1u : 0u) | (s.word ? 2u : 0u) | (s.complete ? 4u : 0u) | (s.any ? 8u : 0u);
  s.n = b->after.n;
  s.first = b->n_threads;
  unsigned slot = h % TABLE;
  uint16_t known = same_state(b, &s, slot);
  if (known) return known;
  if (b->n_states == STATES_MAX || b->n_threads + s.n > THREADS_MAX) return FOLLOW_ASK;
  memcpy(b->threads + s.first, b->after.at, s.n * sizeof *b->threads);
  b->n_threads += s.n;
  while (b->table[slot]) slot = (slot + 1) % TABLE;
  f->early[b->n_states] = early;
  b->states[b->n_states] = s;
  b->table[slot] = (uint16_t)b->n_states;
  return (uint16_t)b->n_states++;
}

static uint16_t start_state(const struct follow *f, enum follow_before before, bool any) {
  struct follow_body *b = f->body;
  const struct closing begin = {.next = -1, .leading = true};
  list_begin(&b->after);
  enum outcome o = close_thread(b, &b->after, 0, &begin);
  for (unsigned i = 0; i < b->after.n && before == BEFORE_PAST_ASCII; i++)
    if (b->program.at[b->after.at[i]].op == OP_BOUNDARY) return FOLLOW_ASK;
  for (unsigned i = 0; i < b->program.n; i++) /* what stands before is not known well enough */
    if (b->program.at[i].op == OP_BEHIND &&
        (before == BEFORE_PAST_ASCII || (before == BEFORE_NOTHING && !b->program.at[i].negative)))
      return FOLLOW_ASK;
  /* complete and empty: what comes after it in order counts too */
  return o == WENT_ON ? find_state(f, (struct state){.fresh = true, .word = before == BEFORE_WORD, .any = any})
                      : FOLLOW_ASK;
}

static uint16_t step(const struct follow *f, uint16_t from, unsigned column) {
  struct follow_body *b = f->body;
  const struct state s = b->states[from];
  const unsigned char byte = b->byte_of[column];
  const struct closing ahead = {byte, s.word, s.fresh || s.any}, behind = {.next = -1},
                       begin = {.next = -1, .leading = true};
  bool complete = s.complete, cut = false;
  list_begin(&b->before);
  list_begin(&b->after);
  for (unsigned i = 0; i < s.n && !cut; i++) {
    enum outcome o = close_thread(b, &b->before, b->threads[s.first + i], &ahead);
    if (o == ASK || (o == COMPLETE && (s.fresh || s.any))) return FOLLOW_ASK;
    cut = o == COMPLETE;
  }
  complete |= cut;
  cut = false;
  for (unsigned i = 0; i < b->before.n && !cut; i++) {
    const struct follow_instruction *at = &b->program.at[b->before.at[i]];
    if (column == COLUMN_PAST_ASCII ? !at->wide : !has(at->ascii, byte)) continue;
    if (column == COLUMN_PAST_ASCII) return FOLLOW_ASK;
    enum outcome o = close_thread(b, &b->after, b->before.at[i] + 1u, &behind);
    if (o == ASK || (o == COMPLETE && s.any)) return FOLLOW_ASK;
    cut = o == COMPLETE;
  }
  if (s.any && close_thread(b, &b->after, 0, &begin) != WENT_ON) return FOLLOW_ASK;
  return find_state(f, (struct state){.word = is_word(byte), .complete = complete || cut, .any = s.any});
}

uint16_t follow_build(const struct follow *f, uint16_t state, unsigned column) {
  struct follow_body *b = f->body;
  pthread_mutex_lock(&b->lock);
  _Atomic(uint16_t) *to = &f->next[(size_t)state * f->n_columns + column];
  uint16_t found = atomic_load_explicit(to, memory_order_relaxed);
  if (!found) {
    found = state < FOLLOW_OPEN ? state : step(f, state, column);
    atomic_store_explicit(to, found, memory_order_release);
  }
  pthread_mutex_unlock(&b->lock);
  return found;
}

/* ---- making ---- */

static void follow_free(struct follow *f) {
  if (!f) return;
  struct follow_body *b = f->body;
  if (b) {
    pthread_mutex_destroy(&b->lock);
    free(b->program.at);
    free(b->late);
    free(b->states);
    free(b->threads);
    free(b->table);
    free(b->before.at);
    free(b->before.seen);
    free(b->after.at);
    free(b->after.seen);
    free(b->stack);
    free(b);
  }
  free((void *)f->next);
  free(f->early);
  free(f);
}

/* Which instructions a path can come to once it has read a byte of a protect group. */
static bool mark_late(struct follow_body *b) {
  bool *begins = calloc(b->program.n, sizeof *begins); /* a path stands there at a group's first byte */
  for (bool more = begins != NULL; more;) {
    more = false;
    for (unsigned i = 0; i < b->program.n; i++) {
      const struct follow_instruction *at = &b->program.at[i];
      bool late = b->late[i] || (begins[i] && (at->op == OP_SET || at->op == OP_UNKNOWN));
      bool first = (begins[i] || at->op == OP_GROUP) && at->op != OP_SET && at->op != OP_UNKNOWN;
      unsigned to[2] = {at->op == OP_SPLIT || at->op == OP_JUMP ? at->x : i + 1,
                        at->op == OP_SPLIT ? at->y : UINT32_MAX};
      for (int k = 0; k < 2; k++) {
        if (to[k] >= b->program.n) continue;
        more |= (late && !b->late[to[k]]) || (first && !begins[to[k]]);
        b->late[to[k]] |= late;
        begins[to[k]] |= first;
      }
    }
  }
  free(begins);
  return begins != NULL;
}

/* Look-arounds that stand before anything is read, behind \b and the like too. */
static void find_looks(struct follow *f) {
  struct follow_body *b = f->body;
  const struct closing through = {.next = -1, .leading = true};
  list_begin(&b->after);
  enum outcome o = close_thread(b, &b->after, 0, &through);
  for (unsigned i = 0; i < b->after.n && o == WENT_ON; i++)
    if (b->program.at[b->after.at[i]].op != OP_SET) o = close_thread(b, &b->after, b->after.at[i] + 1u, &through);
  for (unsigned i = 0; i < b->program.n; i++) {
    if (b->program.at[i].op != OP_LOOK || b->after.seen[i] != b->after.turn) continue;
    f->looks = true;
    if (b->program.at[i].sees > f->trust) f->trust = b->program.at[i].sees;
  }
  if (o == WENT_ON) return;
  f->looks = true;
  f->trust = SIZE_MAX;
}

static bool allocate(struct follow *f) {
  struct follow_body *b = f->body;
  const unsigned n = b->program.n;
  f->next = calloc((size_t)STATES_MAX * f->n_columns, sizeof *f->next);
  f->early = calloc(STATES_MAX, 1);
  b->late = calloc(n, sizeof *b->late);
  b->states = calloc(STATES_MAX, sizeof *b->states);
  b->threads = calloc(THREADS_MAX, sizeof *b->threads);
  b->table = calloc(TABLE, sizeof *b->table);
  b->before.at = calloc(n, sizeof(uint16_t));
  b->after.at = calloc(n, sizeof(uint16_t));
  b->before.seen = calloc(n, sizeof(uint32_t));
  b->after.seen = calloc(n, sizeof(uint32_t));
  b->stack = calloc(2 * n + 2, sizeof *b->stack);
  return f->next && f->early && b->late && b->states && b->threads && b->table && b->before.at && b->after.at &&
         b->before.seen && b->after.seen && b->stack;
}

static struct follow *make(const struct rule *r, uint32_t match_limit) {
  struct sluice_error ignored;
  struct follow *f = calloc(1, sizeof *f);
  struct follow_body *b = f ? calloc(1, sizeof *b) : NULL;
  if (!b || pthread_mutex_init(&b->lock, NULL)) {
    free(b);
    free(f);
    return NULL;
  }
  f->body = b;
  if (follow_program_read(r, match_limit, &b->program, &f->sound, &ignored) || !b->program.n ||
      !number_columns(f, &b->program, b->byte_of) || !allocate(f)) {
    follow_free(f);
    return NULL;
  }
  b->n_states = FOLLOW_OPEN;
  follow_program_bars(&b->program, f->barred);
  if (!mark_late(b)) {
    follow_free(f);
    return NULL;
  }
  find_looks(f);
  for (int i = 0; i < FOLLOW_BEFORE; i++) {
    f->start[i] = start_state(f, (enum follow_before)i, false);
    f->start_any[i] = start_state(f, (enum follow_before)i, true);
  }
  return f;
}

struct follow_slot {
  pthread_mutex_t lock;
  _Atomic(bool) made;
  struct follow *follow;
};

sluice_status follow_open(const char *where, struct follow_slot **out, struct sluice_error *err) {
  struct follow_slot *slot = calloc(1, sizeof *slot);
  if (!slot || pthread_mutex_init(&slot->lock, NULL)) {
    free(slot);
    return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the pattern", where);
  }
  *out = slot;
  return SLUICE_OK;
}

void follow_close(struct follow_slot *slot) {
  if (!slot) return;
  follow_free(slot->follow);
  pthread_mutex_destroy(&slot->lock);
  free(slot);
}

const struct follow *follow_of(const struct monitor_policy *p, const struct rule *r) {
  struct follow_slot *slot = r->follow;
  if (!atomic_load_explicit(&slot->made, memory_order_acquire)) {
    pthread_mutex_lock(&slot->lock);
    if (!atomic_load_explicit(&slot->made, memory_order_relaxed)) {
      slot->follow = r->pattern ? make(r, p->match_limit) : NULL;
      atomic_store_explicit(&slot->made, true, memory_order_release);
    }
    pthread_mutex_unlock(&slot->lock);
  }
  return slot->follow;
}
