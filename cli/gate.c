#include "cli/gate.h"

#include <stdio.h>
#include <stdlib.h>

struct gate_lane {
  struct wire_key key;
  struct monitor_text *text;
};

_Static_assert((int)WIRE_CONTENT == (int)MONITOR_CONTENT && (int)WIRE_REASONING == (int)MONITOR_REASONING &&
                   (int)WIRE_TOOL == (int)MONITOR_TOOL && (int)WIRE_REFUSAL == (int)MONITOR_REFUSAL &&
                   (int)WIRE_PROMPT == (int)MONITOR_PROMPT,
               "both rooms number channels alike");

void gate_open(struct gate *g, struct monitor *m) {
  *g = (struct gate){.monitor = m};
}

void gate_watch(struct gate *g, struct monitor_watch *w, size_t route, enum monitor_side side) {
  *g = (struct gate){.watch = w, .route = route, .side = side};
}

void gate_move(struct gate *g, struct monitor_watch *w) {
  g->watch = w;
  for (size_t i = 0; i < g->n; i++) monitor_text_use(g->lanes[i].text, w);
}

static void gate_reset(void *ctx) {
  struct gate *g = ctx;
  for (size_t i = 0; i < g->n; i++) {
    monitor_text_counts(g->lanes[i].text, &g->closed);
    monitor_text_close(g->lanes[i].text);
  }
  g->n = 0;
}

void gate_close(struct gate *g) {
  gate_reset(g);
  free(g->lanes);
  g->lanes = NULL;
  g->cap = 0;
}

static int to_int(int64_t n) {
  return n > INT_MAX ? INT_MAX : n <= GATE_ASIDE ? GATE_ASIDE + 1 : (int)n;
}

static struct monitor_text *find(const struct gate *g, const struct wire_key *key) {
  for (size_t i = 0; i < g->n; i++) {
    const struct wire_key *k = &g->lanes[i].key;
    if (k->choice == key->choice && k->channel == key->channel && k->index == key->index) return g->lanes[i].text;
  }
  return NULL;
}

static sluice_status open_text(const struct gate *g, const struct wire_key *key, int index, struct monitor_text **t,
                               struct sluice_error *err) {
  int choice = to_int(key->choice);
  return g->watch ? monitor_text_open(g->watch, g->route, g->side, choice, key->channel, index, t, err)
                  : monitor_text_over(g->monitor, choice, key->channel, index, t, err);
}

static sluice_status obtain(struct gate *g, const struct wire_key *key, struct monitor_text **t,
                            struct sluice_error *err) {
  *t = find(g, key);
  if (*t) return SLUICE_OK;
  if (g->n == g->cap) {
    size_t cap = g->cap ? 2 * g->cap : 4;
    struct gate_lane *grown = realloc(g->lanes, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
    g->lanes = grown;
    g->cap = cap;
  }
  sluice_status st = open_text(g, key, to_int(key->index), t, err);
  if (!st) g->lanes[g->n++] = (struct gate_lane){*key, *t};
  return st;
}

static void take(struct gate *g, const struct monitor_text *t, const struct monitor_verdict *v,
                 struct wire_verdict *out) {
  *out = (struct wire_verdict){v->released, v->stop};
  if (!v->stop || g->rule[0]) return;
  snprintf(g->rule, sizeof g->rule, "%s", monitor_text_stop_rule(t));
  snprintf(g->category, sizeof g->category, "%s", monitor_text_stop_category(t));
}

static sluice_status gate_push(void *ctx, const struct wire_key *key, struct slice bytes, struct wire_verdict *v,
                               struct sluice_error *err) {
  struct monitor_text *t = NULL;
  struct monitor_verdict verdict;
  sluice_status st = obtain(ctx, key, &t, err);
  if (!st) st = monitor_text_push(t, bytes, &verdict, err);
  if (!st) take(ctx, t, &verdict, v);
  return st;
}

static sluice_status gate_settle(void *ctx, const struct wire_key *key, struct wire_verdict *v,
                                 struct sluice_error *err) {
  struct monitor_text *t = NULL;
  struct monitor_verdict verdict;
  sluice_status st = obtain(ctx, key, &t, err);
  if (!st) st = monitor_text_settle(t, &verdict, err);
  if (!st) take(ctx, t, &verdict, v);
  return st;
}

static sluice_status gate_render(void *ctx, const struct wire_key *key, uint64_t offset, struct slice raw,
                                 struct buffer *out, bool *changed, struct sluice_error *err) {
  const struct monitor_text *t = find(ctx, key);
  return t ? monitor_text_render(t, offset, raw, out, changed, err) : buffer_append(out, raw.ptr, raw.len, err);
}

static void gate_forget(void *ctx, const struct wire_key *key, uint64_t offset) {
  struct gate *g = ctx;
  struct monitor_text *t = find(g, key);
  if (t && offset < UINT64_MAX) monitor_text_forget(t, offset);
  if (!t || offset < UINT64_MAX) return;
  size_t at = 0;
  while (g->lanes[at].text != t) at++;
  monitor_text_counts(t, &g->closed);
  monitor_text_close(t);
  g->lanes[at] = g->lanes[--g->n];
}

/* A text of its own that ends with the alternative: what lies before it has been judged where it is the stream's. */
static sluice_status gate_would(void *ctx, const struct wire_key *key, struct slice before, struct slice other,
                                bool *named, struct sluice_error *err) {
  struct monitor_text *t = NULL;
  struct monitor_verdict v = {0};
  struct buffer both, shown;
  buffer_init(&both, 0);
  buffer_init(&shown, 0);
  sluice_status st = open_text(ctx, key, GATE_ASIDE, &t, err);
  if (!st) st = buffer_append(&both, before.ptr, before.len, err);
  if (!st) st = buffer_append(&both, other.ptr, other.len, err);
  if (!st) st = monitor_text_push(t, (struct slice){both.ptr, both.len}, &v, err);
  if (!st && !v.stop) st = monitor_text_settle(t, &v, err);
  *named |= !st && v.stop;
  if (!st && !v.stop) st = monitor_text_render(t, before.len, other, &shown, named, err);
  if (t) monitor_text_close(t);
  buffer_free(&both);
  buffer_free(&shown);
  return st;
}

struct wire_gate gate_for_wire(struct gate *g) {
  return (struct wire_gate){g, gate_push, gate_settle, gate_render, gate_forget, gate_reset, gate_would};
}

void gate_audit(void *audit, const struct monitor_event *e) {
  if (!gate_is_aside(e)) monitor_audit_event(audit, e);
}

void gate_counts(const struct gate *g, struct monitor_counts *sum) {
  monitor_counts_add(sum, &g->closed);
  for (size_t i = 0; i < g->n; i++) monitor_text_counts(g->lanes[i].text, sum);
}
