/* Attempts followed byte by byte (monitor/follow.h), so that PCRE2 runs when they are decided, not for each piece. */
#include "monitor/detectors/rule_state.h"

enum { YOUNG = 8 /* bytes of an attempt that is held unasked until it is known whether its look-arounds hold */ };

/* What the attempt holds, asked of PCRE2. It only moves on. */
static void set_hold(struct lane *s, uint32_t index, struct rule_state *st) {
  const struct rule *r = &s->monitor->policy->rules[index];
  st->hold = UINT64_MAX;
  if (r->action == MONITOR_FLAG) return;
  uint64_t hold = attempt_probe(s, r, st->from);
  if (r->keyworded) hold = max_u64(hold, rule_clip(s, index, st->keyword));
  if (hold < view_ready_end(&s->view)) st->hold = hold;
}

/* *at moves to behind what was read. Near the attempt's cap PCRE2 decides. */
static uint16_t follow_over(const struct lane *s, const struct rule *r, const struct follow *f, uint16_t state,
                            uint64_t start, uint64_t *at) {
  const uint64_t ready = view_ready_end(&s->view), room = r->max_match > 8 ? r->max_match - 8 : 0;
  const uint64_t end = min_u64(ready, start + room);
  const unsigned char *text = (const unsigned char *)view_at(&s->view, *at);
  const uint64_t n = end > *at ? end - *at : 0;
  for (uint64_t i = 0; i < n; i++) {
    state = follow_step(f, state, text[i]);
    if (state < FOLLOW_OPEN) {
      *at += i + 1;
      return state;
    }
  }
  *at += n;
  return end == ready ? state : FOLLOW_ASK;
}

/* The state of an attempt, or of all that begin there or later, before it has read a byte. */
static uint16_t first_state(const struct lane *s, const struct follow *f, const uint16_t start[FOLLOW_BEFORE],
                            uint64_t at) {
  if (at == s->view.base) return at > 0 ? FOLLOW_ASK : start[BEFORE_NOTHING];
  unsigned char c = (unsigned char)*view_at(&s->view, at - 1);
  if (c >= 0x80) return start[BEFORE_PAST_ASCII];
  if (f->barred[c]) return FOLLOW_MISS;
  return start[is_word_byte((char)c) ? BEFORE_WORD : BEFORE_OTHER];
}

static void follow_from(struct lane *s, const struct rule *r, const struct follow *f, struct rule_state *st) {
  uint64_t at = st->from;
  uint16_t state = first_state(s, f, f->start, at), any = first_state(s, f, f->start_any, at);
  st->follow = state >= FOLLOW_OPEN ? follow_over(s, r, f, state, st->from, &at) : state;
  at = st->from;
  st->follow_any = FOLLOW_UNKNOWN;
  if (st->follow >= FOLLOW_OPEN && r->probe && any >= FOLLOW_OPEN)
    st->follow_any = follow_over(s, r, f, any, st->from, &at);
}

void pursuit_begin(struct lane *s, uint32_t index, struct rule_state *st) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct rule *r = &p->rules[index];
  const struct follow *f = follow_of(p, r);
  set_hold(s, index, st);
  st->follow = st->follow_any = FOLLOW_UNKNOWN;
  if (!f || (f->looks && view_ready_end(&s->view) - st->from < f->trust)) return;
  follow_from(s, r, f, st);
  st->vouched = true;
  if (st->follow < FOLLOW_OPEN) st->follow = FOLLOW_UNKNOWN;
}

enum pursuit pursuit_go_on(struct lane *s, uint32_t index, struct rule_state *st) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct rule *r = &p->rules[index];
  uint16_t state = st->follow;
  st->follow = FOLLOW_UNKNOWN;
  if (!state) return NOT_KNOWN;
  const struct follow *f = follow_of(p, r);
  uint64_t at = s->scanned;
  state = follow_over(s, r, f, state, st->from, &at);
  if (state == FOLLOW_MISS && at - st->from <= f->sound) return NO_MATCH;
  if (state < FOLLOW_OPEN || (!st->vouched && view_ready_end(&s->view) - st->from >= min_u64(f->trust, YOUNG)))
    return NOT_KNOWN;
  st->follow = state;
  if (st->hold != UINT64_MAX || r->action == MONITOR_FLAG) return STILL_OPEN;
  at = s->scanned;
  if (st->follow_any >= FOLLOW_OPEN) st->follow_any = follow_over(s, r, f, st->follow_any, st->from, &at);
  if (st->follow_any < FOLLOW_OPEN || !f->early[st->follow_any]) set_hold(s, index, st);
  return STILL_OPEN;
}

enum pursuit pursuit_search(struct lane *s, uint32_t index, struct rule_state *st) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct rule *r = &p->rules[index];
  const struct follow *f = follow_of(p, r);
  const uint64_t ready = view_ready_end(&s->view);
  if (!f) return NOT_KNOWN;
  for (; st->from < ready; st->from = next_start(s, st->from)) {
    uint64_t at = st->from;
    uint16_t state = first_state(s, f, f->start, at);
    if (state == FOLLOW_MISS) continue;
    if (state >= FOLLOW_OPEN) state = follow_over(s, r, f, state, st->from, &at);
    if (state == FOLLOW_MISS && at - st->from <= f->sound) continue;
    if (state < FOLLOW_OPEN || (f->looks && ready - st->from >= min_u64(f->trust, YOUNG))) return NOT_KNOWN;
    st->vouched = !f->looks;
    st->follow = state;
    st->follow_any = FOLLOW_UNKNOWN;
    if (r->probe) follow_from(s, r, f, st);
    st->hold = r->action == MONITOR_FLAG ? UINT64_MAX : st->from;
    if (r->probe && st->follow_any >= FOLLOW_OPEN && f->early[st->follow_any])
      st->hold = UINT64_MAX;
    else if (r->probe)
      set_hold(s, index, st);
    return STILL_OPEN;
  }
  return NO_MATCH;
}

enum attempt_result pursuit_try(struct lane *s, const struct rule *r, uint64_t lo, uint64_t hi, struct attempt *a) {
  const struct follow *f = follow_of(s->monitor->policy, r);
  uint64_t capped = UINT64_MAX;
  enum attempt_result result = ATTEMPT_MISS;
  a->capped = UINT64_MAX;
  for (uint64_t start = lo; start <= hi && result == ATTEMPT_MISS; start = next_start(s, start)) {
    uint64_t at = start;
    uint16_t state = first_state(s, f, f->start, at);
    if (state >= FOLLOW_OPEN) state = follow_over(s, r, f, state, start, &at);
    if (state == FOLLOW_MISS && at - start <= f->sound) continue;
    if (state >= FOLLOW_OPEN && !f->looks) {
      a->start = start;
      result = ATTEMPT_OPEN;
    } else {
      result = attempt_one(s, r, start, a);
      capped = min_u64(capped, a->capped);
    }
  }
  a->capped = capped;
  return result;
}

bool pursuit_holds(struct lane *s, uint32_t index, uint64_t start) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct rule *r = &p->rules[index];
  const struct follow *f = follow_of(p, r);
  uint64_t at = start;
  uint16_t any = f ? first_state(s, f, f->start_any, at) : FOLLOW_UNKNOWN;
  if (any >= FOLLOW_OPEN) any = follow_over(s, r, f, any, start, &at);
  return any < FOLLOW_OPEN || !f->early[any];
}
