/* From what detectors found to what may leave: spans in order, masks united, the first stop ends the text. Acting only
 * on spans that the release passes makes the outcome the same for every cut of the text. */
#include "monitor/layer.h"

#include <stdlib.h>
#include <string.h>

enum { PENDING_MAX = 1 << 20 };

static bool comes_before(const struct found *a, const struct found *b) {
  if (a->start != b->start) return a->start < b->start;
  if ((a->action == MONITOR_STOP) != (b->action == MONITOR_STOP)) return a->action == MONITOR_STOP;
  if (a->rule != b->rule) return a->rule < b->rule;
  return a->end != b->end ? a->end < b->end : a->lane < b->lane;
}

sluice_status verdict_report(struct monitor_stream *s, const struct found *f, struct sluice_error *err) {
  if (s->n_pending == s->cap_pending) {
    size_t cap = s->cap_pending ? 2 * s->cap_pending : 8;
    if (cap > PENDING_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d matches in one piece", PENDING_MAX);
    struct found *grown = realloc(s->pending, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu matches that wait", cap);
    s->pending = grown;
    s->cap_pending = cap;
  }
  size_t at = s->n_pending++;
  for (; at > 0 && comes_before(f, &s->pending[at - 1]); at--) s->pending[at] = s->pending[at - 1];
  s->pending[at] = *f;
  return SLUICE_OK;
}

/* Protected bytes that had left in the open before this was known: only after a settle. */
static uint64_t exposed_bytes(const struct monitor_stream *s, const struct found *f) {
  uint64_t end = f->end < s->released ? f->end : s->released, start = f->start;
  if (s->n_spans && s->spans[s->n_spans - 1].end > start) start = s->spans[s->n_spans - 1].end;
  return end > start ? end - start : 0;
}

static void tell(struct monitor_stream *s, const struct found *f, uint64_t exposed) {
  const struct monitor *m = s->monitor;
  const struct rule *r = &m->policy->rules[f->rule];
  if (!m->fn) return;
  uint64_t from = f->start < s->text->raw.view.base ? s->text->raw.view.base : f->start,
           end = view_ready_end(&s->text->raw.view);
  uint64_t to = f->end < end ? f->end : end;
  struct slice text = {to > from ? view_at(&s->text->raw.view, from) : "", to > from ? (size_t)(to - from) : 0};
  m->fn(m->ctx, &(struct monitor_event){f->kind, f->action, r->id, r->category, f->view, s->choice, s->channel,
                                        s->index, f->start, f->end, f->match_start, f->match_end, exposed, text,
                                        clock_wall_ns(), MONITOR_STRICT, NULL, 0});
}

static sluice_status add_span(struct monitor_stream *s, const struct found *f, struct sluice_error *err) {
  uint64_t start = f->start < s->released ? s->released : f->start; /* what has left cannot be masked */
  struct monitor_span *last = s->n_spans ? &s->spans[s->n_spans - 1] : NULL;
  if (f->end <= start) return SLUICE_OK;
  if (last && start <= last->end) {
    if (f->end > last->end) last->end = f->end;
    return SLUICE_OK;
  }
  if (s->n_spans == s->cap_spans) {
    size_t cap = s->cap_spans ? 2 * s->cap_spans : 8;
    if (cap > PENDING_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d masked spans wait", PENDING_MAX);
    struct monitor_span *grown = realloc(s->spans, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu masked spans that wait", cap);
    s->spans = grown;
    s->cap_spans = cap;
  }
  s->spans[s->n_spans++] = (struct monitor_span){start, f->end, f->rule};
  return SLUICE_OK;
}

static sluice_status act(struct monitor_stream *s, const struct found *f, struct sluice_error *err) {
  if (f->quiet) return add_span(s, f, err);
  uint64_t exposed = f->kind == MONITOR_MATCH && f->action != MONITOR_FLAG ? exposed_bytes(s, f) : 0;
  s->counts.exposed += exposed;
  tell(s, f, exposed);
  if (f->action == MONITOR_STOP) {
    s->counts.stops++;
    s->stopped = true;
    s->stop_rule = f->rule;
    if (f->start > s->released) s->released = f->start;
    return SLUICE_OK;
  }
  if (f->kind != MONITOR_MATCH) return SLUICE_OK;
  if (f->action == MONITOR_FLAG)
    s->counts.flags++;
  else
    s->counts.masks++;
  return f->action == MONITOR_MASK ? add_span(s, f, err) : SLUICE_OK;
}

sluice_status verdict_advance(struct monitor_stream *s, uint64_t hold, struct sluice_error *err) {
  size_t done = 0;
  sluice_status st = SLUICE_OK;
  for (; !st && !s->stopped && done < s->n_pending; done++) {
    const struct found *f = &s->pending[done];
    /* A stop needs only what is before it decided; other spans that begin at `hold` may still unite with later ones. */
    if (f->start > hold || (f->start == hold && f->action != MONITOR_STOP && f->start < s->received)) break;
    st = act(s, f, err);
  }
  if (done > 0) memmove(s->pending, s->pending + done, (s->n_pending - done) * sizeof *s->pending);
  s->n_pending -= done;
  if (s->stopped)
    s->n_pending = 0;
  else if (hold > s->released)
    s->released = hold;
  return st;
}
