/* Text in, text out: one stream a (choice, channel), and the bytes that wait. */
#include "monitor/monitor.h"

#include <stdlib.h>

enum { LANES_MAX = 256 };

struct lane {
  int choice, channel;
  struct monitor_text *text;
  uint64_t shown;     /* raw offset up to which text has been emitted */
  struct buffer wait; /* raw bytes from `shown` on */
  bool stopped;
};
struct monitor_tap {
  struct monitor *monitor; /* one of these two */
  struct monitor_watch *watch;
  size_t route;
  monitor_emit_fn emit;
  void *ctx;
  struct lane *lanes;
  size_t n;
  struct buffer out;
  const char *rule, *category; /* of the first stop */
};

sluice_status monitor_tap_open(struct monitor *m, monitor_emit_fn emit, void *ctx, struct monitor_tap **out,
                               struct sluice_error *err) {
  struct monitor_tap *t = calloc(1, sizeof *t);
  if (!t) return sluice_fail(err, SLUICE_NOMEM, "no memory for a tap");
  *t = (struct monitor_tap){.monitor = m, .emit = emit, .ctx = ctx};
  *out = t;
  return SLUICE_OK;
}

sluice_status monitor_tap_watch(struct monitor_watch *w, size_t route, monitor_emit_fn emit, void *ctx,
                                struct monitor_tap **out, struct sluice_error *err) {
  sluice_status st = monitor_tap_open(NULL, emit, ctx, out, err);
  if (st) return st;
  (*out)->watch = w;
  (*out)->route = route;
  return SLUICE_OK;
}

void monitor_tap_close(struct monitor_tap *t) {
  if (!t) return;
  for (size_t i = 0; i < t->n; i++) {
    monitor_text_close(t->lanes[i].text);
    buffer_free(&t->lanes[i].wait);
  }
  free(t->lanes);
  buffer_free(&t->out);
  free(t);
}

static sluice_status find_lane(struct monitor_tap *t, int choice, int channel, struct lane **lane,
                               struct sluice_error *err) {
  for (size_t i = 0; i < t->n; i++)
    if (t->lanes[i].choice == choice && t->lanes[i].channel == channel) {
      *lane = &t->lanes[i];
      return SLUICE_OK;
    }
  if (t->n == LANES_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d texts in one stream", LANES_MAX);
  struct lane *grown = realloc(t->lanes, (t->n + 1) * sizeof *grown);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  t->lanes = grown;
  *lane = &t->lanes[t->n];
  **lane = (struct lane){.choice = choice, .channel = channel};
  buffer_init(&(*lane)->wait, 0);
  struct monitor_text **text = &(*lane)->text;
  sluice_status st = t->watch ? monitor_text_open(t->watch, t->route, MONITOR_ANSWER, choice, channel, 0, text, err)
                              : monitor_text_over(t->monitor, choice, channel, 0, text, err);
  if (!st) t->n++;
  return st;
}

static sluice_status release(struct monitor_tap *t, struct lane *l, const struct monitor_verdict *v,
                             struct sluice_error *err) {
  size_t n = (size_t)(v->released - l->shown);
  bool changed = false;
  sluice_status st = SLUICE_OK;
  buffer_clear(&t->out);
  if (n) st = monitor_text_render(l->text, l->shown, (struct slice){l->wait.ptr, n}, &t->out, &changed, err);
  if (st) return st;
  buffer_consume(&l->wait, n);
  l->shown += n;
  monitor_text_forget(l->text, l->shown);
  if (v->stop && !l->stopped) {
    buffer_clear(&l->wait);
    for (size_t i = 0; i < t->n; i++) t->lanes[i].stopped |= t->lanes[i].choice == l->choice;
    if (!t->rule) {
      t->rule = monitor_text_stop_rule(l->text);
      t->category = monitor_text_stop_category(l->text);
    }
  }
  if (!t->out.len || !t->emit) return SLUICE_OK;
  return t->emit(t->ctx, l->choice, l->channel, (struct slice){t->out.ptr, t->out.len}, err);
}

static bool choice_stopped(const struct monitor_tap *t, int choice) {
  for (size_t i = 0; i < t->n; i++)
    if (t->lanes[i].choice == choice && t->lanes[i].stopped) return true;
  return false;
}

sluice_status monitor_tap_push(struct monitor_tap *t, int choice, int channel, struct slice bytes, bool *stop,
                               struct sluice_error *err) {
  struct lane *l = NULL;
  struct monitor_verdict v;
  *stop = choice_stopped(t, choice);
  if (*stop) return SLUICE_OK;
  sluice_status st = find_lane(t, choice, channel, &l, err);
  if (!st) st = buffer_append(&l->wait, bytes.ptr, bytes.len, err);
  if (!st) st = monitor_text_push(l->text, bytes, &v, err);
  if (!st) st = release(t, l, &v, err);
  *stop = choice_stopped(t, choice);
  return st;
}

sluice_status monitor_tap_end(struct monitor_tap *t, bool *stopped, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  *stopped = false;
  for (size_t i = 0; !st && i < t->n; i++) {
    struct lane *l = &t->lanes[i];
    struct monitor_verdict v;
    if (!l->stopped) st = monitor_text_settle(l->text, &v, err);
    if (!st && !l->stopped) st = release(t, l, &v, err);
    *stopped |= l->stopped;
  }
  return st;
}

bool monitor_tap_stopped(const struct monitor_tap *t, const char **rule, const char **category) {
  if (rule) *rule = t->rule;
  if (category) *category = t->category;
  return t->rule != NULL;
}

void monitor_counts_add(struct monitor_counts *sum, const struct monitor_counts *c) {
  sum->pieces += c->pieces;
  sum->pieces_held += c->pieces_held;
  sum->bytes += c->bytes;
  sum->held_sum += c->held_sum;
  if (c->held_max > sum->held_max) sum->held_max = c->held_max;
  sum->masks += c->masks;
  sum->flags += c->flags;
  sum->stops += c->stops;
  sum->not_scanned += c->not_scanned;
  sum->capped += c->capped;
  sum->exposed += c->exposed;
  sum->pattern_runs += c->pattern_runs;
}

void monitor_tap_counts(const struct monitor_tap *t, struct monitor_counts *sum) {
  for (size_t i = 0; i < t->n; i++) monitor_text_counts(t->lanes[i].text, sum);
}
