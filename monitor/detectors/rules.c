/* The rules of a policy over one text. A rule sleeps until a byte that can begin its match, or one of its keywords, has
 * come; awake, it is tried from where it left off, so that no start is decided twice. */
#include "monitor/detectors/detectors.h"
#include "monitor/detectors/rule_state.h"
#include "monitor/openings.h"
#include "monitor/prefilter.h"

#include <stdlib.h>
#include <string.h>

enum {
  LONG_PIECE = 512, /* bytes from which on rules search for themselves */
  FEW_STARTS = 9    /* more of them are PCRE2's to search */
};

struct rules_state {
  uint32_t at;   /* state of the keyword automaton */
  bool odd_case; /* U+017F or U+212A has come, which a pattern may take for s or k and a keyword does not */
  struct openings_state openings;
  uint64_t *awake, *open, *woken; /* bit sets of rules; woken: by their first bytes, `from` says where */
  struct rule_state rules[];
};

/* Of the bit sets behind the rules' states. */
static size_t state_words(const struct monitor_policy *p) {
  return 3 * p->n_open_words + openings_state_words(p->openings);
}

static void rules_begin(const struct monitor_policy *p, struct rules_state *st) {
  st->at = 0;
  st->odd_case = false;
  memset(st->awake, 0, state_words(p) * sizeof(uint64_t));
  st->openings.live = 0;
  for (size_t i = 0; i < p->openings->n_rules; i++)
    if (!p->rules[p->openings->rule[i]].contexted)
      openings_listen(p->openings, &st->openings, p->openings->rule[i], true);
  for (size_t i = 0; i < p->n_rules; i++) {
    bool capped = st->rules[i].capped_told, fault = st->rules[i].fault_told;
    st->rules[i] = (struct rule_state){.keyword = NO_KEYWORD,
                                       .context = p->rules[i].contexted ? NO_CONTEXT : 0,
                                       .capped_told = capped,
                                       .fault_told = fault};
  }
}

static sluice_status rules_open(const struct monitor_policy *p, void **state, struct sluice_error *err) {
  size_t words = p->n_open_words, head = sizeof(struct rules_state) + p->n_rules * sizeof(struct rule_state);
  struct rules_state *st = calloc(1, head + state_words(p) * sizeof(uint64_t));
  if (!st) return sluice_fail(err, SLUICE_NOMEM, "no memory for the state of %zu rules", p->n_rules);
  st->awake = (uint64_t *)(void *)((char *)st + head);
  st->open = st->awake + words;
  st->woken = st->open + words;
  st->openings.alive = st->woken + words;
  st->openings.listen = st->openings.alive + OPENING_BYTES * p->openings->words;
  rules_begin(p, st);
  *state = st;
  return SLUICE_OK;
}

static void rules_close(void *state) {
  free(state);
}

/* What an event has said once in this lane stays said. */
static void rules_copy(const struct monitor_policy *p, void *to, const void *from) {
  struct rules_state *t = to;
  const struct rules_state *f = from;
  if (!f) {
    rules_begin(p, t);
    return;
  }
  t->at = f->at;
  t->odd_case |= f->odd_case;
  memcpy(t->awake, f->awake, state_words(p) * sizeof(uint64_t));
  t->openings.live = f->openings.live;
  for (size_t i = 0; i < p->n_rules; i++) {
    bool capped = t->rules[i].capped_told, fault = t->rules[i].fault_told;
    t->rules[i] = f->rules[i];
    t->rules[i].capped_told = capped;
    t->rules[i].fault_told = fault;
  }
}

/* A context word opens its rule for good. */
static bool rules_same(const struct monitor_policy *p, const void *a, const void *b) {
  const struct rules_state *x = a, *y = b;
  for (size_t i = 0; i < p->n_rules; i++)
    if ((x->rules[i].context == NO_CONTEXT) != (y->rules[i].context == NO_CONTEXT)) return false;
  return true;
}

/* ---- keywords ---- */

/* Start of the first keyword of rule `index` inside [lo, hi), or NO_KEYWORD. A longer keyword may begin earlier and end
 * later than the first one that ends, hence the look past it. */
static uint64_t first_keyword(const struct lane *s, uint32_t index, uint64_t lo, uint64_t hi) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  uint64_t best = NO_KEYWORD, longest = p->rules[index].keyword_longest;
  uint32_t q = 0;
  for (uint64_t at = lo; at < hi && (best == NO_KEYWORD || at < best + longest); at++) {
    q = automaton_step(a, q, (unsigned char)*view_at(&s->view, at));
    for (uint32_t o = 0; o < a->n_outputs[q]; o++) {
      const struct keyword *k = &p->keywords[a->outputs[a->first_output[q] + o]];
      uint64_t start = at + 1 - k->len;
      if (k->rule == index && !k->context && start < best && keyword_is(k, view_at(&s->view, start))) best = start;
    }
  }
  return best;
}

static bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint64_t word_start(const struct lane *s, uint64_t at) {
  uint64_t start = at, floor = at > MONITOR_WORD_MAX ? at - MONITOR_WORD_MAX : 0;
  if (floor < s->view.base) floor = s->view.base;
  while (start > floor && !is_space(*view_at(&s->view, start - 1))) start--;
  return view_round_up(&s->view, start);
}

uint64_t rule_clip(const struct lane *s, uint32_t index, uint64_t keyword) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  if (p->rules[index].derived) return 0; /* protects what it would without */
  if (p->rules[index].hold == HOLD_WORD) return word_start(s, keyword);
  if (p->rules[index].hold != HOLD_AFTER) return keyword;
  uint64_t at = keyword, end = view_ready_end(&s->view);
  for (uint32_t q = 0; at < end; at++) { /* the shortest keyword that begins here ends first */
    q = automaton_step(a, q, (unsigned char)*view_at(&s->view, at));
    for (uint32_t o = 0; o < a->n_outputs[q]; o++) {
      const struct keyword *k = &p->keywords[a->outputs[a->first_output[q] + o]];
      bool here = k->rule == index && !k->context && at + 1 - k->len == keyword;
      if (here && keyword_is(k, view_at(&s->view, keyword))) return at + 1;
    }
  }
  return at;
}

/* ---- what was found ---- */

static struct slice view_slice(const struct lane *s, uint64_t from, uint64_t to) {
  return (struct slice){view_at(&s->view, from), (size_t)(to - from)};
}

static uint64_t line_start(const struct lane *s, uint64_t at) {
  uint64_t start = at, floor = at > MONITOR_WORD_MAX ? at - MONITOR_WORD_MAX : 0;
  if (floor < s->view.base) floor = s->view.base;
  while (start > floor && *view_at(&s->view, start - 1) != '\n') start--;
  return view_round_up(&s->view, start);
}

/* What the pattern cannot say: check, entropy, allow lists. */
static bool conditions_hold(const struct lane *s, const struct rule *r, const struct attempt *a) {
  const struct monitor *m = s->monitor;
  struct candidate c = {.protected_text = view_slice(s, a->group_start, a->group_end),
                        .match = view_slice(s, a->start, a->end)};
  if (r->check && !r->check(c.protected_text.ptr, c.protected_text.len)) return false;
  if (r->entropy > 0 && text_entropy(c.protected_text) <= r->entropy) return false;
  if (!r->allow.n && !m->policy->allow.n) return true;
  c.line = view_slice(s, line_start(s, a->start), a->end);
  return !allow_lets_by(&r->allow, &c, m->match, m->match_context) &&
         !allow_lets_by(&m->policy->allow, &c, m->match, m->match_context);
}

/* Whether a hit counts; its protected span then. */
static bool accept(const struct lane *s, uint32_t index, const struct attempt *a, struct found *f) {
  const struct rule *r = &s->monitor->policy->rules[index];
  uint64_t from = a->start;
  if (r->keyworded && !r->derived) {
    uint64_t keyword = first_keyword(s, index, a->start, a->end);
    if (keyword == NO_KEYWORD) return false;
    from = rule_clip(s, index, keyword);
  }
  uint64_t start = max_u64(a->group_start, from), end = a->group_end;
  if (!a->exempt && !conditions_hold(s, r, a)) return false;
  if (start >= end) start = end = a->end;
  *f = (struct found){start, end, a->start, a->end, index, MONITOR_MATCH, r->action, s->kind, s->name, false};
  return true;
}

static sluice_status report_capped(struct lane *s, uint32_t index, struct rule_state *st, uint64_t at,
                                   struct sluice_error *err) {
  s->counts->capped++;
  if (st->capped_told) return SLUICE_OK;
  st->capped_told = true;
  return lane_report(s, &(struct found){at, at, at, at, index, MONITOR_CAPPED, MONITOR_FLAG, s->kind, s->name, false},
                     err);
}

static sluice_status report_fault(struct lane *s, uint32_t index, struct rule_state *st, uint64_t start,
                                  uint64_t match_start, struct sluice_error *err) {
  const struct rule *r = &s->monitor->policy->rules[index];
  s->counts->not_scanned++;
  if (r->fail_open && st->fault_told) return SLUICE_OK;
  st->fault_told = true;
  enum monitor_action action = r->fail_open ? MONITOR_FLAG : MONITOR_STOP;
  return lane_report(s,
                     &(struct found){start, start, match_start, match_start, index, MONITOR_NOT_SCANNED, action,
                                     s->kind, s->name, false},
                     err);
}

/* Starts before it, from `from` on, cannot match. *last: the end of the stretch that can. */
static uint64_t next_place(const struct lane *s, uint32_t index, uint64_t from, bool final, uint64_t *last) {
  uint64_t at = prefilter_next(s->monitor, index, from, final, last);
  return at > from ? view_round_up(&s->view, at) : from;
}

/* ---- one rule ---- */

/* Deals with one decided attempt and moves st->from past it. */
static sluice_status take(struct lane *s, uint32_t index, struct rule_state *st, enum attempt_result result,
                          const struct attempt *a, uint64_t keyword, struct sluice_error *err) {
  struct found f;
  if (result == ATTEMPT_FAULT) {
    uint64_t at = keyword == NO_KEYWORD ? a->start : max_u64(a->start, rule_clip(s, index, keyword));
    st->from = next_start(s, a->start);
    return report_fault(s, index, st, at, a->start, err);
  }
  if (!accept(s, index, a, &f)) {
    st->from = next_start(s, a->start);
    return SLUICE_OK;
  }
  st->from = s->consumed = a->end;
  return a->exempt ? SLUICE_OK : lane_report(s, &f, err);
}

static sluice_status run_ungated(struct lane *s, uint32_t index, struct rule_state *st, bool final, bool *open,
                                 uint64_t *hold, struct sluice_error *err) {
  const struct rule *r = &s->monitor->policy->rules[index];
  uint64_t tried = 0; /* at the text's end, where a miss is none should text follow after all */
  struct attempt a;
  for (;;) {
    uint64_t last = UINT64_MAX, from = next_place(s, index, max_u64(st->from, tried), final, &last);
    enum attempt_result result = attempt_run(s, r, from, last, final, &a);
    sluice_status status = a.capped == UINT64_MAX ? SLUICE_OK : report_capped(s, index, st, a.capped, err);
    if (status) return status;
    if (result == ATTEMPT_MISS && last != UINT64_MAX) {
      tried = next_start(s, last);
      if (!final) st->from = tried;
      continue;
    }
    if (result == ATTEMPT_MISS) {
      if (!final) st->from = view_ready_end(&s->view);
      return SLUICE_OK;
    }
    if (result == ATTEMPT_OPEN) {
      st->from = a.start;
      *open = true;
      pursuit_begin(s, index, st);
      *hold = min_u64(*hold, st->hold);
      return SLUICE_OK;
    }
    status = take(s, index, st, result, &a, NO_KEYWORD, err);
    if (status) return status;
  }
}

/* The same where little is new: PCRE2 is asked about starts that are not known to fail. */
static sluice_status run_followed(struct lane *s, uint32_t index, struct rule_state *st, bool *open, uint64_t *hold,
                                  struct sluice_error *err) {
  const struct rule *r = &s->monitor->policy->rules[index];
  struct attempt a;
  for (;;) {
    enum pursuit found = pursuit_search(s, index, st);
    if (found == NO_MATCH) return SLUICE_OK;
    enum attempt_result result = found == STILL_OPEN ? ATTEMPT_OPEN : attempt_one(s, r, st->from, &a);
    sluice_status status = SLUICE_OK;
    if (found == NOT_KNOWN && a.capped != UINT64_MAX) status = report_capped(s, index, st, a.capped, err);
    if (status) return status;
    if (result == ATTEMPT_MISS) {
      st->from = next_start(s, st->from);
      continue;
    }
    if (result == ATTEMPT_OPEN) {
      if (found == NOT_KNOWN) pursuit_begin(s, index, st);
      *open = true;
      *hold = min_u64(*hold, st->hold);
      return SLUICE_OK;
    }
    status = take(s, index, st, result, &a, NO_KEYWORD, err);
    if (status) return status;
  }
}

static sluice_status run_keyworded(struct lane *s, uint32_t index, struct rule_state *st, bool odd_case, bool final,
                                   bool *open, uint64_t *hold, struct sluice_error *err) {
  const struct rule *r = &s->monitor->policy->rules[index];
  uint64_t ready = view_ready_end(&s->view);
  /* A miss at the text's end is no miss should text follow after all: the first one is where to take up again. */
  uint64_t again_from = 0, again_keyword = NO_KEYWORD;
  struct attempt a;
  while (st->keyword != NO_KEYWORD) {
    uint64_t k = st->keyword, last = UINT64_MAX;
    uint64_t place = next_place(s, index, st->from, final, &last);
    if (final && place > st->from && again_keyword == NO_KEYWORD) again_from = st->from, again_keyword = k;
    st->from = place;
    if (k < st->from) { /* inside or before what is decided */
      st->keyword = st->keyword_last < st->from ? NO_KEYWORD : first_keyword(s, index, st->from, ready);
      continue;
    }
    uint64_t back = odd_case || r->lead >= r->max_match ? r->max_match - 1 : r->lead;
    uint64_t lo = max_u64(st->from, view_round_up(&s->view, k > back ? k - back : 0));
    const uint64_t hi = min_u64(k, last);
    const bool few = !final && lo <= hi && hi - lo < FEW_STARTS && ready - lo < 2 * LONG_PIECE && lo >= s->view.base &&
                     follow_of(s->monitor->policy, r);
    a.capped = UINT64_MAX;
    enum attempt_result result = few         ? pursuit_try(s, r, lo, hi, &a)
                                 : lo > last ? ATTEMPT_MISS
                                             : attempt_run(s, r, lo, hi, final, &a);
    sluice_status status = a.capped == UINT64_MAX ? SLUICE_OK : report_capped(s, index, st, a.capped, err);
    if (status) return status;
    if (result == ATTEMPT_OPEN) {
      st->from = a.start;
      *open = true;
      pursuit_begin(s, index, st);
      *hold = min_u64(*hold, st->hold);
      return SLUICE_OK;
    }
    if (result == ATTEMPT_MISS && last < k) {
      if (final && again_keyword == NO_KEYWORD) again_from = st->from, again_keyword = k;
      st->from = next_start(s, last);
      continue;
    }
    if (result == ATTEMPT_MISS) {
      if (final && again_keyword == NO_KEYWORD) again_from = st->from, again_keyword = k;
      st->from = next_start(s, k);
      continue;
    }
    uint64_t reported = s->reports;
    status = take(s, index, st, result, &a, k, err);
    if (status) return status;
    if (s->reports != reported) again_keyword = NO_KEYWORD;
  }
  if (again_keyword != NO_KEYWORD) {
    st->from = again_from;
    st->keyword = again_keyword;
    *open = true;
  }
  return SLUICE_OK;
}

/* ---- all rules ---- */

static void see_keyword(const struct lane *s, struct rules_state *st, const struct keyword *k, uint64_t end) {
  struct rule_state *rs = &st->rules[k->rule];
  uint64_t start = end - k->len;
  if (k->context) {
    if (rs->context != NO_CONTEXT) return;
    rs->context = end;
    const struct openings *o = s->monitor->policy->openings;
    if (o->bit_of[k->rule] != OPENING_NONE) openings_listen(o, &st->openings, k->rule, true);
    return;
  }
  if (rs->context == NO_CONTEXT || start < s->view.base || !keyword_is(k, view_at(&s->view, start))) return;
  if (start < rs->keyword) rs->keyword = start;
  if (start > rs->keyword_last) rs->keyword_last = start;
  st->awake[k->rule / 64] |= (uint64_t)1 << (k->rule % 64);
}

/* At the last byte of a character past ASCII. */
static bool is_odd_case(const struct lane *s, const unsigned char *at) {
  const unsigned char *base = (const unsigned char *)s->view.bytes;
  return (*at == 0xBF && at > base && at[-1] == 0xC5) ||
         (*at == 0xAA && at > base + 1 && at[-1] == 0x84 && at[-2] == 0xE2);
}

static void wake_rule(void *ctx, uint32_t rule, uint64_t start) {
  struct rules_state *st = ctx;
  const uint64_t bit = (uint64_t)1 << (rule % 64);
  if (st->woken[rule / 64] & bit) return; /* at an earlier start */
  st->woken[rule / 64] |= bit;
  st->rules[rule].from = max_u64(st->rules[rule].from, start);
}

/* Rules that one byte may begin, to search for themselves. */
static void wake_by_byte(const struct lane *s, struct rules_state *st, const unsigned char *at, bool first) {
  const struct monitor_policy *p = s->monitor->policy;
  if (!p->first_any[0][*at]) return;
  bool inside = !first && is_word_byte((char)at[-1]);
  if (!p->first_any[inside][*at]) return;
  const uint64_t *begin = p->first_byte + ((size_t)inside * 256 + *at) * p->n_open_words;
  for (size_t w = 0; w < p->n_open_words; w++) st->awake[w] |= begin[w];
}

/* The gate over the new bytes. */
static void wake(struct lane *s, struct rules_state *st) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  const size_t n = (size_t)(view_ready_end(&s->view) - s->scanned), columns = a->n_columns;
  if (n == 0) return;
  const unsigned char *text = (const unsigned char *)view_at(&s->view, s->scanned);
  const uint64_t *lane = p->openings->lanes[s->kind];
  const bool by_byte = n >= LONG_PIECE, openings = p->openings->n_rules > 0 && !by_byte;
  uint32_t q = st->at;
  if (by_byte) openings_wake(p->openings, &st->openings, s->scanned, wake_rule, st);
  for (size_t i = 0; i < n; i++) {
    q = a->next[q * columns + a->column[text[i]]];
    if (q & KEYWORD_ENDS) {
      q &= ~KEYWORD_ENDS;
      for (uint32_t o = 0; o < a->n_outputs[q]; o++)
        see_keyword(s, st, &p->keywords[a->outputs[a->first_output[q] + o]], s->scanned + i + 1);
    }
    if (text[i] >= 0x80 && is_odd_case(s, text + i)) st->odd_case = true;
    const bool first = s->scanned + i == s->view.base;
    if (openings)
      openings_see(p->openings, &st->openings, lane, text[i], first ? -1 : text[(ptrdiff_t)i - 1], s->scanned + i,
                   wake_rule, st);
    else if (by_byte)
      wake_by_byte(s, st, text + i, first);
  }
  st->at = q;
}

static bool half_seen(const struct lane *s, uint32_t q, uint64_t start) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  if (start < s->view.base) return true;
  char before = start > s->view.base ? *view_at(&s->view, start - 1) : ' ';
  bool inside = is_word_byte(before);
  for (uint32_t h = a->first_half[q]; h < a->first_half[q + 1]; h++) {
    if (a->halves[h] == UINT32_MAX) return true;
    const struct keyword *k = &p->keywords[a->halves[h]];
    if (inside && p->rules[k->rule].word_start) continue;
    if (!k->cased || memcmp(view_at(&s->view, start), k->exact, a->depth[q]) == 0) return true;
  }
  return false;
}

/* Half-seen keywords: the deepest prefix that some rule must hold from, and the word that it or the text's end stands
 * in. */
static uint64_t hold_prefixes(const struct lane *s, const struct rules_state *st) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  uint64_t end = view_ready_end(&s->view), hold = end;
  for (uint32_t q = st->at; q; q = a->fail[q])
    if (half_seen(s, q, end - a->depth[q])) {
      hold = end - a->depth[q];
      break;
    }
  return p->any_hold_word ? word_start(s, min_u64(hold, end - a->depth[st->at])) : hold;
}

/* Long new text is looked through as a whole before any rule runs. */
static void look_ahead(const struct lane *s, bool final) {
  const struct prefilter *g = s->monitor->policy->prefilter;
  uint64_t ready = view_ready_end(&s->view);
  if ((!final && ready - s->scanned < s->monitor->policy->prefilter_min) || ready == s->view.base ||
      !prefilter_is_ready(g))
    return;
  uint64_t back = prefilter_look_back(g), from = s->scanned > s->view.base + back ? s->scanned - back : s->view.base;
  prefilter_look(s->monitor, (struct slice){view_at(&s->view, from), (size_t)(ready - from)}, from);
}

/* A rule whose attempt may be open, or that something has woken. */
static sluice_status run_rule(struct lane *s, struct rules_state *st, uint32_t index, bool final, bool *open,
                              uint64_t *hold, struct sluice_error *err) {
  const struct monitor_policy *p = s->monitor->policy;
  struct rule_state *rs = &st->rules[index];
  const uint64_t bit = (uint64_t)1 << (index % 64);
  const bool was_open = st->open[index / 64] & bit;
  if (rs->from < rs->context) rs->from = rs->context;
  if (was_open) {
    enum pursuit result = final ? NOT_KNOWN : pursuit_go_on(s, index, rs);
    if (result == STILL_OPEN) {
      *hold = min_u64(*hold, rs->hold);
      *open = true;
      return SLUICE_OK;
    }
    if (result == NO_MATCH) rs->from = next_start(s, rs->from);
    rs->follow = FOLLOW_UNKNOWN;
  }
  if (p->rules[index].keyworded) return run_keyworded(s, index, rs, st->odd_case, final, open, hold, err);
  if (!was_open && !(st->woken[index / 64] & bit) && rs->from < s->scanned)
    rs->from = s->scanned; /* asleep: nothing could begin before */
  const bool little = view_ready_end(&s->view) - rs->from < 2 * LONG_PIECE;
  sluice_status status = !final && little && follow_of(p, &p->rules[index])
                             ? run_followed(s, index, rs, open, hold, err)
                             : run_ungated(s, index, rs, final, open, hold, err);
  *open |= final;
  openings_forget(p->openings, &st->openings, index);
  openings_listen(p->openings, &st->openings, index, !*open);
  return status;
}

static sluice_status run_awake(struct lane *s, struct rules_state *st, bool final, uint64_t *hold,
                               struct sluice_error *err) {
  const struct monitor_policy *p = s->monitor->policy;
  for (size_t w = 0; w < p->n_open_words; w++) {
    uint64_t bits = (st->awake[w] | st->woken[w] | st->open[w]) & s->enabled[w];
    for (; bits; bits &= bits - 1) {
      uint32_t index = (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(bits);
      uint64_t bit = bits & (~bits + 1);
      bool open = false;
      if (st->rules[index].context == NO_CONTEXT) continue;
      sluice_status status = run_rule(s, st, index, final, &open, hold, err);
      if (status) return status;
      st->open[w] = open ? st->open[w] | bit : st->open[w] & ~bit;
    }
    st->awake[w] = st->woken[w] = 0;
  }
  return SLUICE_OK;
}

static bool opening_holds(void *ctx, uint32_t rule, uint64_t start) {
  return pursuit_holds(ctx, rule, start);
}

static sluice_status rules_scan(struct lane *s, void *state, bool final, uint64_t *hold, struct sluice_error *err) {
  const struct monitor_policy *p = s->monitor->policy;
  struct rules_state *st = state;
  wake(s, st);
  look_ahead(s, final);
  sluice_status status = run_awake(s, st, final, hold, err);
  prefilter_clear(s->monitor);
  if (status) return status;
  if (!final && p->n_keywords) *hold = min_u64(*hold, hold_prefixes(s, st));
  if (!final && st->openings.live)
    *hold = min_u64(*hold, openings_hold(p->openings, &st->openings, p->openings->lanes[s->kind],
                                         view_ready_end(&s->view), opening_holds, s));
  return SLUICE_OK;
}
const struct detector detector_rules = {"rules", rules_open, rules_close, rules_copy, rules_same, rules_scan};
