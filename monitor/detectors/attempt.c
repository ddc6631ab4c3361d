/* attempt(s) of monitor.h on a text that is still coming. PCRE2's hard partial matching gives up as soon as a path
 * needs text past the end of what there is; so a hit or a miss reached before that is the hit or miss of the whole
 * text, and what remains open is exactly what further text could change. */
#include "monitor/detectors/attempt.h"

struct window {
  uint64_t base, end; /* raw offsets of the subject */
  bool full;          /* the attempt at its first start may not see more */
};

static struct window window_from(const struct lane *s, const struct rule *r, uint64_t from) {
  const struct view *v = &s->view;
  uint64_t ready = view_ready_end(v), base = from > r->look_behind ? from - r->look_behind : 0;
  if (base < v->base) base = v->base;
  base = view_round_up(v, base);
  if (ready - from <= r->max_match) return (struct window){base, ready, false};
  uint64_t end = view_round_down(v, from + r->max_match);
  if (end == from) end = view_round_up(v, from + 1); /* a window holds at least one character */
  return (struct window){base, end, end < ready};
}

static int run(struct lane *s, const struct rule *r, const pcre2_code *code, const struct window *w, uint64_t from,
               uint32_t options) {
  struct monitor *m = s->monitor;
  PCRE2_SPTR subject = (PCRE2_SPTR)view_at(&s->view, w->base);
  size_t len = (size_t)(w->end - w->base), at = (size_t)(from - w->base);
  options |= PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK;
  if (w->base > 0) options |= PCRE2_NOTBOL;
  if (w->full) options |= PCRE2_NOTEOL;
  s->counts->pattern_runs++;
  if (machine_runs(r)) return pcre2_jit_match(code, subject, len, at, options, m->match, m->match_context);
  return pcre2_match(code, subject, len, at, options, m->match, m->match_context);
}

static void read_match(const struct lane *s, const struct rule *r, const struct window *w, struct attempt *a) {
  const PCRE2_SIZE *o = pcre2_get_ovector_pointer(s->monitor->match);
  a->start = w->base + o[0];
  a->end = w->base + o[1];
  a->group_start = a->start;
  a->group_end = a->end;
  a->exempt = r->protect[0] != 0;
  for (const uint32_t *g = r->protect; *g && a->exempt; g++) {
    if (o[2 * *g] == PCRE2_UNSET || o[2 * *g + 1] <= o[2 * *g]) continue;
    a->group_start = w->base + o[2 * *g];
    a->group_end = w->base + o[2 * *g + 1];
    a->exempt = false;
  }
  if (!r->protect[0] || a->exempt) return;
  /* a group inside a look-behind: those bytes were never held for this match */
  if (a->group_start < a->start) a->group_start = a->start;
  if (a->group_end < a->group_start) a->group_start = a->group_end = a->end;
}

static uint64_t next_character(const struct lane *s, uint64_t at) {
  return view_round_up(&s->view, at + 1);
}

/* One start, decided on what there is: nothing more may be seen, or nothing more comes. */
static enum attempt_result decide(struct lane *s, const struct rule *r, const struct window *w, uint64_t at,
                                  struct attempt *a) {
  int rc = run(s, r, r->anchored, w, at, 0);
  a->start = at;
  if (rc >= 0) {
    read_match(s, r, w, a);
    return ATTEMPT_HIT;
  }
  if (rc != PCRE2_ERROR_NOMATCH) return ATTEMPT_FAULT;
  if (w->full && a->capped == UINT64_MAX) a->capped = at;
  return ATTEMPT_MISS;
}

/* Start by start, to learn which one hit the match limit. */
static enum attempt_result run_each(struct lane *s, const struct rule *r, uint64_t lo, uint64_t hi, bool final,
                                    struct attempt *a) {
  for (uint64_t at = lo; at <= hi && at < view_ready_end(&s->view); at = next_character(s, at)) {
    struct window w = window_from(s, r, at);
    int rc = run(s, r, r->anchored, &w, at, final && !w.full ? 0 : PCRE2_PARTIAL_HARD);
    a->start = at;
    if (rc >= 0) {
      read_match(s, r, &w, a);
      return ATTEMPT_HIT;
    }
    if (rc == PCRE2_ERROR_PARTIAL) {
      if (!w.full) return ATTEMPT_OPEN;
      enum attempt_result result = decide(s, r, &w, at, a);
      if (result != ATTEMPT_MISS) return result;
    } else if (rc != PCRE2_ERROR_NOMATCH) {
      return ATTEMPT_FAULT;
    }
  }
  return ATTEMPT_MISS;
}

enum attempt_result attempt_one(struct lane *s, const struct rule *r, uint64_t at, struct attempt *a) {
  a->capped = UINT64_MAX;
  return run_each(s, r, at, at, false, a);
}

enum attempt_result attempt_run(struct lane *s, const struct rule *r, uint64_t lo, uint64_t hi, bool final,
                                struct attempt *a) {
  uint64_t from = lo < s->view.base ? view_round_up(&s->view, s->view.base) : lo, ready = view_ready_end(&s->view);
  a->capped = UINT64_MAX;
  while (from <= hi && from < ready) {
    struct window w = window_from(s, r, from);
    pcre2_set_offset_limit(s->monitor->match_context, hi < w.end ? (PCRE2_SIZE)(hi - w.base) : PCRE2_UNSET);
    int rc = run(s, r, r->code, &w, from, PCRE2_PARTIAL_HARD);
    pcre2_set_offset_limit(s->monitor->match_context, PCRE2_UNSET); /* `anchored` is compiled without one */
    if (rc >= 0) {
      read_match(s, r, &w, a);
      return a->start <= hi ? ATTEMPT_HIT : ATTEMPT_MISS;
    }
    if (rc == PCRE2_ERROR_NOMATCH) {
      from = w.end;
    } else if (rc == PCRE2_ERROR_PARTIAL) {
      uint64_t at = w.base + pcre2_get_ovector_pointer(s->monitor->match)[0];
      if (at > hi || at >= ready) return ATTEMPT_MISS;
      a->start = at;
      if (at > from) {
        from = at; /* the starts before it have failed; look again with its own window */
        if (!w.full && !final) return ATTEMPT_OPEN;
        if (w.full) continue;
      }
      if (!w.full && !final) return ATTEMPT_OPEN;
      enum attempt_result result = decide(s, r, &w, at, a);
      if (result != ATTEMPT_MISS) return result;
      from = next_character(s, at);
    } else {
      return run_each(s, r, from, hi, final, a);
    }
  }
  return ATTEMPT_MISS;
}

uint64_t attempt_probe(struct lane *s, const struct rule *r, uint64_t open) {
  if (!r->probe) return open;
  struct monitor *m = s->monitor;
  uint64_t ready = view_ready_end(&s->view), base = open > r->look_behind ? open - r->look_behind : 0;
  if (base < s->view.base) base = s->view.base;
  base = view_round_up(&s->view, base);
  PCRE2_SPTR subject = (PCRE2_SPTR)view_at(&s->view, base);
  uint32_t options = PCRE2_PARTIAL_SOFT | PCRE2_NO_UTF_CHECK | (base > 0 ? PCRE2_NOTBOL : 0);
  m->probe_min = SIZE_MAX;
  m->probing = true;
  int rc = machine_probes(r) ? pcre2_jit_match(r->probe, subject, (size_t)(ready - base), (size_t)(open - base),
                                               options, m->match, m->match_context)
                             : pcre2_match(r->probe, subject, (size_t)(ready - base), (size_t)(open - base), options,
                                           m->match, m->match_context);
  m->probing = false;
  s->counts->pattern_runs++;
  if (rc != PCRE2_ERROR_NOMATCH && rc != PCRE2_ERROR_PARTIAL) return open;
  return m->probe_min == SIZE_MAX ? ready : base + m->probe_min;
}
