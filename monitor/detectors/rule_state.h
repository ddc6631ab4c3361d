/* Private to the rules detector: where one rule stands in one text, and an attempt that is open. */
#ifndef SLUICE_MONITOR_RULE_STATE_H
#define SLUICE_MONITOR_RULE_STATE_H

#include "monitor/detectors/attempt.h"
#include "monitor/follow.h"

#define NO_KEYWORD UINT64_MAX
#define NO_CONTEXT UINT64_MAX

struct rule_state {
  uint64_t from;                  /* starts before it are decided */
  uint64_t keyword, keyword_last; /* first one not yet dealt with; last one seen */
  uint64_t context;               /* where its first context word ended; matches begin from there on */
  uint64_t hold;                  /* of an open attempt, from where on; UINT64_MAX: nothing so far */
  uint16_t follow, follow_any;    /* where it and all that begin behind it stand, at the lane's `scanned` (follow.h) */
  bool vouched;                   /* PCRE2 has said that the look-arounds it begins with hold */
  bool capped_told, fault_told;   /* one event a stream says it; counts go on */
};

static inline uint64_t max_u64(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}
static inline uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}
static inline bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static inline uint64_t next_start(const struct lane *s, uint64_t at) {
  return view_round_up(&s->view, at + 1);
}

/* rules.c: where protection may begin, given the first keyword of a match. */
uint64_t rule_clip(const struct lane *s, uint32_t index, uint64_t keyword);

/* PCRE2 has just said that the attempt at st->from is open: sets st->hold, and follows it from now on. */
void pursuit_begin(struct lane *s, uint32_t index, struct rule_state *st);
enum pursuit { STILL_OPEN, NO_MATCH, NOT_KNOWN };
/* The attempt at st->from was open; the lane's new bytes have not been looked at. */
enum pursuit pursuit_go_on(struct lane *s, uint32_t index, struct rule_state *st);
/* The first start at or after st->from, which moves there, that is not known to fail. STILL_OPEN: it is open, and
 * followed; NOT_KNOWN: PCRE2 must be asked; NO_MATCH: there is none. */
enum pursuit pursuit_search(struct lane *s, uint32_t index, struct rule_state *st);
/* attempt_run while more may come, where few starts are asked about of a rule that can be followed: PCRE2 is asked
 * about those not known to fail. */
enum attempt_result pursuit_try(struct lane *s, const struct rule *r, uint64_t lo, uint64_t hi, struct attempt *a);
/* Whether an attempt at `start`, or one behind it, may have begun to protect. */
bool pursuit_holds(struct lane *s, uint32_t index, uint64_t start);

#endif
