/* One text under a guard: a stream for the rules of each mode, and what may leave by all of them. */
#include "monitor/guard.h"
#include "monitor/stream.h"

#include <stdlib.h>
#include <string.h>

struct monitor_watch {
  const struct monitor_guard *guard;
  monitor_event_fn fn;
  void *ctx;
  struct monitor **monitors;    /* one a policy of the guard */
  struct monitor_text *current; /* events belong to this text */
  size_t part;                  /* and to this part of it */
  struct sluice_error err;      /* of an event, told after the scan */
  sluice_status st;
};
struct piece { /* that bounded rules have not decided */
  uint64_t end;
  int64_t at_ns;
};
struct text_mask {
  uint64_t start, end;
  const struct rule *rule;
};
struct text_part {
  struct monitor_stream *stream;
  struct mode_setting mode;
  const struct monitor_policy *policy;
  struct monitor_verdict verdict;
};
struct monitor_text {
  struct monitor_watch *watch; /* NULL: over a monitor, whose own events they are */
  const char *route;           /* NULL: the policy has no routes */
  struct text_part parts[GUARD_PARTS_MAX];
  size_t n;
  bool plain;   /* one strict part, whose stream is all there is */
  bool bounded; /* some part is */
  uint64_t received, released;
  bool stopped;
  size_t stop_part;
  struct piece *pieces;
  size_t n_pieces, cap_pieces, first_piece;
  struct text_mask *masks; /* ascending, apart from each other */
  size_t n_masks, cap_masks;
  struct monitor_counts counts;
};

/* ---- events ---- */

static sluice_status add_mask(struct monitor_text *t, struct text_mask m, struct sluice_error *err) {
  size_t at = t->n_masks, last;
  if (m.end <= m.start) return SLUICE_OK;
  while (at > 0 && t->masks[at - 1].start > m.start) at--;
  if (at > 0 && t->masks[at - 1].end >= m.start)
    at--; /* it goes on where that one is */
  else {
    if (t->n_masks == t->cap_masks) {
      size_t cap = t->cap_masks ? 2 * t->cap_masks : 8;
      struct text_mask *grown = cap > (1 << 20) ? NULL : realloc(t->masks, cap * sizeof *grown);
      if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu masked spans that wait", cap);
      t->masks = grown;
      t->cap_masks = cap;
    }
    memmove(t->masks + at + 1, t->masks + at, (t->n_masks++ - at) * sizeof *t->masks);
    t->masks[at] = m;
  }
  if (m.end > t->masks[at].end) t->masks[at].end = m.end;
  for (last = at + 1; last < t->n_masks && t->masks[last].start <= t->masks[at].end; last++)
    if (t->masks[last].end > t->masks[at].end) t->masks[at].end = t->masks[last].end;
  memmove(t->masks + at + 1, t->masks + last, (t->n_masks - last) * sizeof *t->masks);
  t->n_masks -= last - at - 1;
  return SLUICE_OK;
}

static const struct rule *rule_of(const struct monitor_policy *p, const char *id) {
  size_t i = 0;
  while (i + 1 < p->n_rules && p->rules[i].id != id) i++;
  return &p->rules[i];
}

/* What had left before a match was known; in shadow all of it does. */
static uint64_t exposed_of(const struct monitor_text *t, const struct monitor_event *e, enum monitor_mode mode) {
  uint64_t end = mode == MONITOR_SHADOW || e->end < t->released ? e->end : t->released;
  if (e->kind != MONITOR_MATCH || e->action == MONITOR_FLAG || end <= e->start) return 0;
  return end - e->start;
}

static void on_event(void *ctx, const struct monitor_event *event) {
  struct monitor_watch *w = ctx;
  struct monitor_text *t = w->current;
  const struct text_part *part = &t->parts[w->part];
  struct monitor_event e = *event;
  e.mode = part->mode.mode;
  e.route = t->route;
  if (e.mode != MONITOR_STRICT) e.exposed = exposed_of(t, event, part->mode.mode);
  if (e.mode == MONITOR_BOUNDED || e.mode == MONITOR_OPTIMISTIC) t->counts.exposed += e.exposed;
  if (!t->plain && e.mode != MONITOR_SHADOW && e.kind == MONITOR_MATCH && e.action == MONITOR_MASK && !w->st)
    w->st = add_mask(
        t, (struct text_mask){e.start < t->released ? t->released : e.start, e.end, rule_of(part->policy, e.rule)},
        &w->err);
  if (w->fn) w->fn(w->ctx, &e);
}

/* ---- a watch ---- */

sluice_status monitor_watch_open(const struct monitor_guard *g, monitor_event_fn fn, void *ctx,
                                 struct monitor_watch **out, struct sluice_error *err) {
  struct monitor_watch *w = calloc(1, sizeof *w);
  if (!w) return sluice_fail(err, SLUICE_NOMEM, "no memory for a monitor");
  *w = (struct monitor_watch){.guard = g, .fn = fn, .ctx = ctx};
  w->monitors = calloc(g->n_policies + 1, sizeof *w->monitors);
  sluice_status st = w->monitors ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for a monitor");
  for (size_t i = 0; !st && i < g->n_policies; i++)
    st = monitor_open(g->policies[i], on_event, w, &w->monitors[i], err);
  if (st)
    monitor_watch_close(w);
  else
    *out = w;
  return st;
}

void monitor_watch_close(struct monitor_watch *w) {
  if (!w) return;
  for (size_t i = 0; w->monitors && i < w->guard->n_policies; i++) monitor_close(w->monitors[i]);
  free(w->monitors);
  free(w);
}

/* ---- a text ---- */

sluice_status monitor_text_open(struct monitor_watch *w, size_t route, enum monitor_side side, int choice, int channel,
                                int index, struct monitor_text **out, struct sluice_error *err) {
  const struct guard_side *g = &w->guard->routes[route].sides[side];
  struct monitor_text *t = calloc(1, sizeof *t);
  if (!t) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  t->watch = w;
  if (w->guard->n_routes > 1) t->route = w->guard->routes[route].name;
  sluice_status st = SLUICE_OK;
  for (; !st && t->n < g->n; t->n++) {
    const struct guard_part *p = &g->parts[t->n];
    struct text_part *part = &t->parts[t->n];
    part->mode = p->mode;
    part->policy = w->guard->policies[p->policy];
    t->bounded |= p->mode.mode == MONITOR_BOUNDED;
    st = monitor_stream_open(w->monitors[p->policy], choice, channel, index, &part->stream, err);
  }
  t->plain = g->n == 1 && g->parts[0].mode.mode == MONITOR_STRICT;
  if (st)
    monitor_text_close(t);
  else
    *out = t;
  return st;
}

sluice_status monitor_text_over(struct monitor *m, int choice, int channel, int index, struct monitor_text **out,
                                struct sluice_error *err) {
  struct monitor_text *t = calloc(1, sizeof *t);
  if (!t) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  t->plain = true;
  t->n = 1;
  t->parts[0].policy = m->policy;
  sluice_status st = monitor_stream_open(m, choice, channel, index, &t->parts[0].stream, err);
  if (st)
    free(t);
  else
    *out = t;
  return st;
}

void monitor_text_use(struct monitor_text *t, struct monitor_watch *w) {
  t->watch = w;
  for (size_t i = 0; i < t->n; i++) {
    size_t at = 0;
    while (w->guard->policies[at] != t->parts[i].policy) at++;
    monitor_stream_use(t->parts[i].stream, w->monitors[at]);
  }
}

void monitor_text_close(struct monitor_text *t) {
  if (!t) return;
  for (size_t i = 0; i < t->n; i++) monitor_stream_close(t->parts[i].stream);
  free(t->pieces);
  free(t->masks);
  free(t);
}

/* ---- what may leave ---- */

static sluice_status note_piece(struct monitor_text *t, struct sluice_error *err) {
  if (t->first_piece > 64 && 2 * t->first_piece > t->n_pieces) {
    t->n_pieces -= t->first_piece;
    memmove(t->pieces, t->pieces + t->first_piece, t->n_pieces * sizeof *t->pieces);
    t->first_piece = 0;
  }
  if (t->n_pieces == t->cap_pieces) {
    size_t cap = t->cap_pieces ? 2 * t->cap_pieces : 64;
    struct piece *grown = cap > (1 << 20) ? NULL : realloc(t->pieces, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu pieces that wait", cap);
    t->pieces = grown;
    t->cap_pieces = cap;
  }
  t->pieces[t->n_pieces++] = (struct piece){t->received, clock_mono_ns()};
  return SLUICE_OK;
}

/* How far ahead of `decided` a bounded part lets the text go. */
static uint64_t allowance(const struct monitor_text *t, const struct mode_setting *m, uint64_t decided) {
  uint64_t to = decided;
  int64_t n = 0, since = 0;
  for (size_t i = t->first_piece; i < t->n_pieces; i++) {
    const struct piece *p = &t->pieces[i];
    if (p->end <= decided) continue;
    if (!n) since = p->at_ns;
    if ((m->tokens && n == m->tokens) || (m->ms && p->at_ns - since > m->ms * 1000000)) break;
    n++;
    to = p->end;
  }
  return to;
}

static uint64_t part_release(const struct monitor_text *t, const struct text_part *part) {
  uint64_t to = part->verdict.released;
  if (part->mode.mode == MONITOR_SHADOW) return t->received;
  if (part->mode.mode == MONITOR_STRICT || part->verdict.stop) return to;
  uint64_t known = monitor_stream_known(part->stream), ahead = t->received;
  if (part->mode.mode == MONITOR_BOUNDED) ahead = allowance(t, &part->mode, to);
  if (ahead > known) ahead = known; /* what has been found does not leave because it waits to be united with more */
  return ahead > to ? ahead : to;
}

static void advance(struct monitor_text *t, struct monitor_verdict *v) {
  uint64_t to = t->received, decided = t->received;
  for (size_t i = 0; i < t->n; i++) {
    const struct text_part *part = &t->parts[i];
    uint64_t mine = part_release(t, part);
    if (mine < to) to = mine;
    if (part->mode.mode == MONITOR_BOUNDED && part->verdict.released < decided) decided = part->verdict.released;
    if (part->verdict.stop && part->mode.mode != MONITOR_SHADOW && !t->stopped) t->stopped = true, t->stop_part = i;
  }
  if (to > t->released) t->released = to;
  while (t->first_piece < t->n_pieces && t->pieces[t->first_piece].end <= decided) t->first_piece++;
  *v = (struct monitor_verdict){
      .released = t->released, .held = !t->stopped && t->received > t->released, .stop = t->stopped};
}

static void count_held(struct monitor_text *t) {
  uint64_t held = t->stopped ? 0 : t->received - t->released;
  t->counts.held_sum += held;
  if (held > t->counts.held_max) t->counts.held_max = held;
  if (held) t->counts.pieces_held++;
}

typedef sluice_status (*step_fn)(struct monitor_stream *s, struct slice bytes, struct monitor_verdict *v,
                                 struct sluice_error *err);

static sluice_status each_part(struct monitor_text *t, step_fn step, struct slice bytes, struct sluice_error *err) {
  struct monitor_watch *w = t->watch;
  sluice_status st = SLUICE_OK;
  if (w) w->current = t, w->st = SLUICE_OK;
  for (size_t i = 0; !st && i < t->n; i++) {
    if (w) w->part = i;
    st = step(t->parts[i].stream, bytes, &t->parts[i].verdict, err);
  }
  if (!st && w && w->st) {
    st = w->st;
    *err = w->err;
  }
  return st;
}

static sluice_status settle_step(struct monitor_stream *s, struct slice bytes, struct monitor_verdict *v,
                                 struct sluice_error *err) {
  (void)bytes;
  return monitor_settle(s, v, err);
}

sluice_status monitor_text_push(struct monitor_text *t, struct slice bytes, struct monitor_verdict *v,
                                struct sluice_error *err) {
  if (!t->stopped) t->received += bytes.len;
  t->counts.pieces++;
  t->counts.bytes += bytes.len;
  sluice_status st = t->bounded && bytes.len && !t->stopped ? note_piece(t, err) : SLUICE_OK;
  if (!st) st = each_part(t, monitor_push, bytes, err);
  if (st) return st;
  advance(t, v);
  count_held(t);
  return SLUICE_OK;
}

sluice_status monitor_text_settle(struct monitor_text *t, struct monitor_verdict *v, struct sluice_error *err) {
  sluice_status st = each_part(t, settle_step, (struct slice){"", 0}, err);
  if (!st) advance(t, v);
  return st;
}

sluice_status monitor_text_render(const struct monitor_text *t, uint64_t offset, struct slice raw, struct buffer *out,
                                  bool *changed, struct sluice_error *err) {
  uint64_t at = offset, end = offset + raw.len;
  sluice_status st = SLUICE_OK;
  if (t->plain) return monitor_render(t->parts[0].stream, offset, raw, out, changed, err);
  for (size_t i = 0; !st && i < t->n_masks && t->masks[i].start < end; i++) {
    const struct text_mask *m = &t->masks[i];
    if (m->end <= at) continue;
    if (m->start > at) st = buffer_append(out, raw.ptr + (at - offset), (size_t)(m->start - at), err);
    uint64_t from = m->start > at ? m->start : at, to = m->end < end ? m->end : end;
    struct slice covered = {raw.ptr + (from - offset), (size_t)(to - from)};
    if (!st) st = rule_mask(m->rule, covered, from == m->start, out, err);
    *changed = true;
    at = to;
  }
  if (!st && at < end) st = buffer_append(out, raw.ptr + (at - offset), (size_t)(end - at), err);
  return st;
}

void monitor_text_forget(struct monitor_text *t, uint64_t offset) {
  size_t n = 0;
  for (size_t i = 0; i < t->n; i++) monitor_forget(t->parts[i].stream, offset);
  while (n + 1 < t->n_masks && t->masks[n].end <= offset) n++; /* the last one stays, as in a stream */
  if (n) memmove(t->masks, t->masks + n, (t->n_masks - n) * sizeof *t->masks);
  t->n_masks -= n;
}

void monitor_text_counts(const struct monitor_text *t, struct monitor_counts *sum) {
  struct monitor_counts own = t->counts;
  for (size_t i = 0; i < t->n; i++) {
    const struct monitor_counts *c = monitor_stream_counts(t->parts[i].stream);
    enum monitor_mode mode = t->parts[i].mode.mode;
    own.pattern_runs += c->pattern_runs;
    own.not_scanned += c->not_scanned;
    own.capped += c->capped;
    if (mode == MONITOR_SHADOW) continue;
    own.masks += c->masks;
    own.flags += c->flags;
    own.stops += c->stops;
    if (mode == MONITOR_STRICT) own.exposed += c->exposed;
  }
  monitor_counts_add(sum, &own);
}

const char *monitor_text_stop_rule(const struct monitor_text *t) {
  return t->stopped ? monitor_stream_stop_rule(t->parts[t->stop_part].stream) : NULL;
}
const char *monitor_text_stop_category(const struct monitor_text *t) {
  return t->stopped ? monitor_stream_stop_category(t->parts[t->stop_part].stream) : NULL;
}
