/* The rules of a policy over one text. A rule sleeps until a byte that can begin its match, or one of its keywords, has
 * come; awake, it is tried from where it left off, so that no start is decided twice. */
#include "monitor/detectors/attempt.h"
#include "monitor/detectors/detectors.h"

#include <stdlib.h>
#include <string.h>

#define NO_KEYWORD UINT64_MAX

struct rule_state {
  uint64_t from;                  /* starts before it are decided */
  uint64_t keyword, keyword_last; /* first one not yet dealt with; last one seen */
  bool capped_told, fault_told;   /* one event a stream says it; counts go on */
};

struct rules_state {
  uint32_t at;            /* state of the keyword automaton */
  uint64_t *awake, *open; /* bit sets of rules */
  struct rule_state rules[];
};

static sluice_status rules_open(const struct monitor_policy *p, void **state, struct sluice_error *err) {
  size_t words = p->n_open_words, head = sizeof(struct rules_state) + p->n_rules * sizeof(struct rule_state);
  struct rules_state *st = calloc(1, head + 2 * words * sizeof(uint64_t));
  if (!st) return sluice_fail(err, SLUICE_NOMEM, "no memory for the state of %zu rules", p->n_rules);
  st->awake = (uint64_t *)(void *)((char *)st + head);
  st->open = st->awake + words;
  for (size_t i = 0; i < p->n_rules; i++) st->rules[i].keyword = NO_KEYWORD;
  *state = st;
  return SLUICE_OK;
}

static void rules_close(void *state) {
  free(state);
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
    q = a->next[q][keyword_fold((unsigned char)*view_at(&s->view, at))];
    for (uint32_t o = 0; o < a->n_outputs[q]; o++) {
      const struct keyword *k = &p->keywords[a->outputs[a->first_output[q] + o]];
      if (k->rule == index && at + 1 - k->len < best) best = at + 1 - k->len;
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

/* Where protection may begin, given the first keyword of a match. */
static uint64_t clip_at(const struct lane *s, uint32_t index, uint64_t keyword) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  if (p->rules[index].hold == HOLD_WORD) return word_start(s, keyword);
  if (p->rules[index].hold != HOLD_AFTER) return keyword;
  uint64_t at = keyword, end = view_ready_end(&s->view);
  for (uint32_t q = 0; at < end; at++) { /* the shortest keyword that begins here ends first */
    q = a->next[q][keyword_fold((unsigned char)*view_at(&s->view, at))];
    for (uint32_t o = 0; o < a->n_outputs[q]; o++) {
      const struct keyword *k = &p->keywords[a->outputs[a->first_output[q] + o]];
      if (k->rule == index && at + 1 - k->len == keyword) return at + 1;
    }
  }
  return at;
}

/* ---- what was found ---- */

static uint64_t max_u64(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}
static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* Whether a hit counts; its protected span then. keyword: first one inside the match. */
static bool accept(const struct lane *s, uint32_t index, const struct attempt *a, struct found *f) {
  const struct rule *r = &s->monitor->policy->rules[index];
  uint64_t from = a->start;
  if (r->keyworded) {
    uint64_t keyword = first_keyword(s, index, a->start, a->end);
    if (keyword == NO_KEYWORD) return false;
    from = clip_at(s, index, keyword);
  }
  uint64_t start = max_u64(a->group_start, from), end = a->group_end;
  if (r->check && !a->exempt && !r->check(view_at(&s->view, a->group_start), (size_t)(a->group_end - a->group_start)))
    return false;
  if (start >= end) start = end = a->end;
  *f = (struct found){start, end, a->start, a->end, index, MONITOR_MATCH, r->action, s->name};
  return true;
}

static sluice_status report_capped(struct lane *s, uint32_t index, struct rule_state *st, uint64_t at,
                                   struct sluice_error *err) {
  s->counts->capped++;
  if (st->capped_told) return SLUICE_OK;
  st->capped_told = true;
  return lane_report(s, &(struct found){at, at, at, at, index, MONITOR_CAPPED, MONITOR_FLAG, s->name}, err);
}

static sluice_status report_fault(struct lane *s, uint32_t index, struct rule_state *st, uint64_t start,
                                  uint64_t match_start, struct sluice_error *err) {
  const struct rule *r = &s->monitor->policy->rules[index];
  s->counts->not_scanned++;
  if (r->fail_open && st->fault_told) return SLUICE_OK;
  st->fault_told = true;
  enum monitor_action action = r->fail_open ? MONITOR_FLAG : MONITOR_STOP;
  return lane_report(
      s, &(struct found){start, start, match_start, match_start, index, MONITOR_NOT_SCANNED, action, s->name}, err);
}

static uint64_t next_start(const struct lane *s, uint64_t at) {
  return view_round_up(&s->view, at + 1);
}

/* ---- one rule ---- */

/* Deals with one decided attempt and moves st->from past it. */
static sluice_status take(struct lane *s, uint32_t index, struct rule_state *st, enum attempt_result result,
                          const struct attempt *a, uint64_t keyword, struct sluice_error *err) {
  struct found f;
  if (result == ATTEMPT_FAULT) {
    uint64_t at = keyword == NO_KEYWORD ? a->start : max_u64(a->start, clip_at(s, index, keyword));
    st->from = next_start(s, a->start);
    return report_fault(s, index, st, at, a->start, err);
  }
  if (!accept(s, index, a, &f)) {
    st->from = next_start(s, a->start);
    return SLUICE_OK;
  }
  st->from = a->end;
  return a->exempt ? SLUICE_OK : lane_report(s, &f, err);
}

static sluice_status run_ungated(struct lane *s, uint32_t index, struct rule_state *st, bool final, bool *open,
                                 uint64_t *hold, struct sluice_error *err) {
  const struct rule *r = &s->monitor->policy->rules[index];
  struct attempt a;
  for (;;) {
    enum attempt_result result = attempt_run(s, r, st->from, UINT64_MAX, final, &a);
    sluice_status status = a.capped == UINT64_MAX ? SLUICE_OK : report_capped(s, index, st, a.capped, err);
    if (status) return status;
    if (result == ATTEMPT_MISS) {
      if (!final) st->from = view_ready_end(&s->view);
      return SLUICE_OK;
    }
    if (result == ATTEMPT_OPEN) {
      st->from = a.start;
      *open = true;
      if (r->action != MONITOR_FLAG) *hold = min_u64(*hold, attempt_probe(s, r, a.start));
      return SLUICE_OK;
    }
    status = take(s, index, st, result, &a, NO_KEYWORD, err);
    if (status) return status;
  }
}

static sluice_status run_keyworded(struct lane *s, uint32_t index, struct rule_state *st, bool final, bool *open,
                                   uint64_t *hold, struct sluice_error *err) {
  const struct rule *r = &s->monitor->policy->rules[index];
  uint64_t ready = view_ready_end(&s->view);
  /* A miss at the text's end is no miss should text follow after all: the first one is where to take up again. */
  uint64_t again_from = 0, again_keyword = NO_KEYWORD;
  struct attempt a;
  while (st->keyword != NO_KEYWORD) {
    uint64_t k = st->keyword;
    if (k < st->from) { /* inside or before what is decided */
      st->keyword = st->keyword_last < st->from ? NO_KEYWORD : first_keyword(s, index, st->from, ready);
      continue;
    }
    uint64_t lo = max_u64(st->from, view_round_up(&s->view, k + 1 > r->max_match ? k + 1 - r->max_match : 0));
    enum attempt_result result = attempt_run(s, r, lo, k, final, &a);
    sluice_status status = a.capped == UINT64_MAX ? SLUICE_OK : report_capped(s, index, st, a.capped, err);
    if (status) return status;
    if (result == ATTEMPT_OPEN) {
      st->from = a.start;
      *open = true;
      if (r->action != MONITOR_FLAG)
        *hold = min_u64(*hold, max_u64(attempt_probe(s, r, a.start), clip_at(s, index, k)));
      return SLUICE_OK;
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

/* The gate over the new bytes. */
static void wake(struct lane *s, struct rules_state *st) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  uint64_t end = view_ready_end(&s->view);
  uint32_t q = st->at;
  for (uint64_t at = s->scanned; at < end; at++) {
    unsigned char c = (unsigned char)*view_at(&s->view, at);
    q = a->next[q][keyword_fold(c)];
    for (uint32_t o = 0; o < a->n_outputs[q]; o++) {
      const struct keyword *k = &p->keywords[a->outputs[a->first_output[q] + o]];
      struct rule_state *rs = &st->rules[k->rule];
      uint64_t start = at + 1 - k->len;
      if (start < rs->keyword) rs->keyword = start;
      if (start > rs->keyword_last) rs->keyword_last = start;
      st->awake[k->rule / 64] |= (uint64_t)1 << (k->rule % 64);
    }
    if (!p->any_first_byte) continue;
    const uint64_t *first = p->first_byte + (size_t)c * p->n_open_words;
    for (size_t w = 0; w < p->n_open_words; w++) st->awake[w] |= first[w];
  }
  st->at = q;
}

/* Half-seen keywords: the deepest prefix that some rule must hold from, and the word that it or the text's end stands
 * in. */
static uint64_t hold_prefixes(const struct lane *s, const struct rules_state *st) {
  const struct monitor_policy *p = s->monitor->policy;
  const struct keyword_automaton *a = &p->words;
  uint64_t end = view_ready_end(&s->view), hold = end;
  for (uint32_t q = st->at; q; q = a->fail[q]) {
    uint64_t start = end - a->depth[q];
    char before = start > s->view.base ? *view_at(&s->view, start - 1) : ' ';
    bool inside = (before >= '0' && before <= '9') || (before >= 'a' && before <= 'z') ||
                  (before >= 'A' && before <= 'Z') || before == '_';
    if ((a->pending[q] & PENDING_ANY) || ((a->pending[q] & PENDING_WORD_START) && !inside)) {
      hold = start;
      break;
    }
  }
  return p->any_hold_word ? word_start(s, min_u64(hold, end - a->depth[st->at])) : hold;
}

static sluice_status rules_scan(struct lane *s, void *state, bool final, uint64_t *hold, struct sluice_error *err) {
  const struct monitor_policy *p = s->monitor->policy;
  struct rules_state *st = state;
  wake(s, st);
  for (size_t w = 0; w < p->n_open_words; w++) {
    uint64_t bits = st->awake[w] | st->open[w];
    st->awake[w] = 0;
    for (; bits; bits &= bits - 1) {
      uint32_t index = (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(bits);
      uint64_t bit = bits & (~bits + 1);
      struct rule_state *rs = &st->rules[index];
      bool open = false;
      sluice_status status;
      if (p->rules[index].keyworded) {
        status = run_keyworded(s, index, rs, final, &open, hold, err);
      } else {
        if (!(st->open[w] & bit) && rs->from < s->scanned)
          rs->from = s->scanned; /* asleep: nothing could begin before */
        status = run_ungated(s, index, rs, final, &open, hold, err);
        open |= final;
      }
      if (status) return status;
      st->open[w] = open ? st->open[w] | bit : st->open[w] & ~bit;
    }
  }
  if (!final && p->n_keywords) *hold = min_u64(*hold, hold_prefixes(s, st));
  return SLUICE_OK;
}

const struct detector detector_rules = {"rules", rules_open, rules_close, rules_scan};
