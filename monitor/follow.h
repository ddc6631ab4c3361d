/* Private to monitor/: one attempt of a rule followed byte by byte, so that PCRE2 need not be asked from its start
 * again for each piece. What is followed is the pattern's tree, its paths in the order in which PCRE2 tries them: while
 * one that comes before every complete one goes on, PCRE2's partial match says "open" and nothing else. Every match is
 * PCRE2's; here only "still open" is said, and "no match" where no path goes on. After Cox, "Regular Expression
 * Matching in the Wild" (2010): ordered sets of threads as states, built as text comes to them. */
#ifndef SLUICE_MONITOR_FOLLOW_H
#define SLUICE_MONITOR_FOLLOW_H

#include "monitor/policy.h"

#include <stdatomic.h>

/* States; greater ones are open attempts. */
enum {
  FOLLOW_UNKNOWN, /* not built yet; as an attempt's state: it is not followed */
  FOLLOW_MISS,    /* no path goes on, none was complete */
  FOLLOW_SETTLED, /* no path goes on that comes before the complete one: PCRE2 knows the match */
  FOLLOW_ASK,     /* more stands there than the tree tells of: PCRE2 must be asked for each piece */
  FOLLOW_OPEN     /* the first of them */
};
enum follow_before { BEFORE_NOTHING, BEFORE_OTHER, BEFORE_WORD, BEFORE_PAST_ASCII, FOLLOW_BEFORE };

struct follow_body;
struct follow {
  unsigned char column[256];
  unsigned n_columns;
  _Atomic(uint16_t) *next;           /* [states][n_columns] */
  unsigned char *early;              /* by state: on no path has a protect group begun */
  uint16_t start[FOLLOW_BEFORE];     /* by what stands before */
  uint16_t start_any[FOLLOW_BEFORE]; /* the same for all attempts that begin there or later */
  bool looks;                        /* it begins with a look-around or the like: only PCRE2 says whether it holds */
  size_t trust;                      /* bytes behind the start from which on PCRE2's "open" says that those have held */
  size_t sound; /* FOLLOW_MISS within so many bytes is one for PCRE2, which cannot have hit the match limit before */
  bool barred[128]; /* bytes of ASCII behind which none begins */
  struct follow_body *body;
};

/* A rule's, made when it is first asked for; NULL: it has none. Any thread may follow. */
const struct follow *follow_of(const struct monitor_policy *p, const struct rule *r);
uint16_t follow_build(const struct follow *f, uint16_t state, unsigned column);
static inline uint16_t follow_step(const struct follow *f, uint16_t state, unsigned char c) {
  const unsigned column = f->column[c];
  uint16_t to = atomic_load_explicit(&f->next[(size_t)state * f->n_columns + column], memory_order_acquire);
  return to ? to : follow_build(f, state, column);
}

sluice_status follow_open(const char *where, struct follow_slot **out, struct sluice_error *err);
void follow_close(struct follow_slot *slot); /* NULL is fine */

/* ---- the pattern as a program (follow_program.c) ---- */
enum follow_op {
  OP_SET,      /* one character */
  OP_SPLIT,    /* x, and when that fails y */
  OP_JUMP,     /* x */
  OP_GROUP,    /* a protect group begins */
  OP_BOUNDARY, /* \b */
  OP_END,      /* $, \z, \Z */
  OP_AHEAD,    /* a look-ahead for one character */
  OP_BEHIND,   /* the pattern begins with it: a look-behind for one character */
  OP_LOOK,     /* another look-around, \B, ^, \A */
  OP_UNKNOWN,  /* text that the tree does not describe */
  OP_MATCH
};
struct follow_instruction {
  enum follow_op op;
  uint16_t x, y;
  uint64_t ascii[2]; /* OP_SET, OP_AHEAD, OP_BEHIND */
  bool wide;         /* OP_SET: characters past ASCII too */
  bool negative;     /* OP_AHEAD, OP_BEHIND */
  size_t sees;       /* OP_LOOK: bytes that decide it, from where it stands */
};
struct follow_program {
  struct follow_instruction *at; /* instruction i goes on at i + 1 but for splits and jumps */
  unsigned n;
};
enum { FOLLOW_PROGRAM_MAX = 4096 };
/* Behind which bytes of ASCII no attempt can begin. */
void follow_program_bars(const struct follow_program *p, bool barred[128]);
/* An empty program: none can be made. */
sluice_status follow_program_read(const struct rule *r, uint32_t match_limit, struct follow_program *out, size_t *sound,
                                  struct sluice_error *err);

#endif
