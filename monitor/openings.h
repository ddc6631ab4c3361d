/* Private to monitor/: which rules without a keyword can begin where a text stands. Of each rule it is known which
 * bytes a match can hold at its first places; all rules are asked at once, a bit each, before any of them is tried
 * alone. */
#ifndef SLUICE_MONITOR_OPENINGS_H
#define SLUICE_MONITOR_OPENINGS_H

#include "monitor/policy.h"

enum { OPENING_BYTES = 8 };
#define OPENING_NONE UINT32_MAX
struct openings {
  size_t n_rules, words; /* words: 64-bit words a set of these rules takes */
  uint32_t *rule;        /* by bit */
  uint32_t *bit_of;      /* by rule; OPENING_NONE: it has a keyword */
  unsigned char column[256];
  unsigned n_columns;
  uint64_t *may;          /* [OPENING_BYTES][n_columns][words]: rules that can hold such a byte at that place */
  uint64_t *behind;       /* [n_columns][words]: rules that can begin behind it */
  uint64_t *last;         /* [OPENING_BYTES][words]: rules of which nothing is known behind that place */
  uint64_t *holds;        /* [words]: rules that hold text back */
  uint64_t *probed;       /* [words]: those of them that hold from a group on */
  uint64_t *lanes[LANES]; /* [words]: rules that run over such a lane */
};

/* Over one text. A start that could be a match's, of which not enough has come to ask the rule itself, waits. */
struct openings_state {
  unsigned live;    /* bit set of starts, modulo OPENING_BYTES, that some rule waits at */
  uint64_t *alive;  /* [OPENING_BYTES][words] */
  uint64_t *listen; /* [words]: rules that may begin: their context has come, and none is open */
};
size_t openings_state_words(const struct openings *o);

sluice_status openings_build(struct monitor_policy *p, struct sluice_error *err); /* p->openings */
void openings_free(struct openings *o);

typedef void (*opening_fn)(void *ctx, uint32_t rule, uint64_t start);
/* The byte c at `at`; before < 0: the text begins there. Calls wake for what must be asked from now on, earlier starts
 * first. among: of which rules. */
void openings_see(const struct openings *o, struct openings_state *s, const uint64_t *among, unsigned char c,
                  int before, uint64_t at, opening_fn wake, void *ctx);
/* Wakes all that wait before `end`. */
void openings_wake(const struct openings *o, struct openings_state *s, uint64_t end, opening_fn wake, void *ctx);
/* The rule has been tried at every start that waited. */
void openings_forget(const struct openings *o, struct openings_state *s, uint32_t rule);
void openings_listen(const struct openings *o, struct openings_state *s, uint32_t rule, bool on);
/* The earliest start that waits and must be held, before end. holds says so of a rule that holds from a group on. */
uint64_t openings_hold(const struct openings *o, const struct openings_state *s, const uint64_t *among, uint64_t end,
                       bool (*holds)(void *ctx, uint32_t rule, uint64_t start), void *ctx);

#endif
