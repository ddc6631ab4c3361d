#include "cli/gate.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct gate_lane {
  struct wire_key key;
  struct monitor_stream *stream;
};

_Static_assert((int)WIRE_CONTENT == (int)MONITOR_CONTENT && (int)WIRE_REASONING == (int)MONITOR_REASONING &&
                   (int)WIRE_TOOL == (int)MONITOR_TOOL && (int)WIRE_REFUSAL == (int)MONITOR_REFUSAL,
               "both rooms number channels alike");

void gate_open(struct gate *g, struct monitor *m) {
  *g = (struct gate){.monitor = m};
}

static void gate_reset(void *ctx) {
  struct gate *g = ctx;
  for (size_t i = 0; i < g->n; i++) {
    monitor_counts_add(&g->closed, monitor_stream_counts(g->lanes[i].stream));
    monitor_stream_close(g->lanes[i].stream);
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
  return n > INT_MAX ? INT_MAX : n < INT_MIN ? INT_MIN : (int)n;
}

static struct monitor_stream *find(const struct gate *g, const struct wire_key *key) {
  for (size_t i = 0; i < g->n; i++) {
    const struct wire_key *k = &g->lanes[i].key;
    if (k->choice == key->choice && k->channel == key->channel && k->index == key->index) return g->lanes[i].stream;
  }
  return NULL;
}

static sluice_status obtain(struct gate *g, const struct wire_key *key, struct monitor_stream **s,
                            struct sluice_error *err) {
  *s = find(g, key);
  if (*s) return SLUICE_OK;
  if (g->n == g->cap) {
    size_t cap = g->cap ? 2 * g->cap : 4;
    struct gate_lane *grown = realloc(g->lanes, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
    g->lanes = grown;
    g->cap = cap;
  }
  sluice_status st = monitor_stream_open(g->monitor, to_int(key->choice), key->channel, to_int(key->index), s, err);
  if (!st) g->lanes[g->n++] = (struct gate_lane){*key, *s};
  return st;
}

static void take(struct gate *g, const struct monitor_stream *s, const struct monitor_verdict *v,
                 struct wire_verdict *out) {
  *out = (struct wire_verdict){v->released, v->stop};
  if (!v->stop || g->rule[0]) return;
  snprintf(g->rule, sizeof g->rule, "%s", monitor_stream_stop_rule(s));
  snprintf(g->category, sizeof g->category, "%s", monitor_stream_stop_category(s));
}

static sluice_status gate_push(void *ctx, const struct wire_key *key, struct slice bytes, struct wire_verdict *v,
                               struct sluice_error *err) {
  struct monitor_stream *s = NULL;
  struct monitor_verdict verdict;
  sluice_status st = obtain(ctx, key, &s, err);
  if (!st) st = monitor_push(s, bytes, &verdict, err);
  if (!st) take(ctx, s, &verdict, v);
  return st;
}

static sluice_status gate_settle(void *ctx, const struct wire_key *key, struct wire_verdict *v,
                                 struct sluice_error *err) {
  struct monitor_stream *s = NULL;
  struct monitor_verdict verdict;
  sluice_status st = obtain(ctx, key, &s, err);
  if (!st) st = monitor_settle(s, &verdict, err);
  if (!st) take(ctx, s, &verdict, v);
  return st;
}

static sluice_status gate_render(void *ctx, const struct wire_key *key, uint64_t offset, struct slice raw,
                                 struct buffer *out, bool *changed, struct sluice_error *err) {
  const struct monitor_stream *s = find(ctx, key);
  return s ? monitor_render(s, offset, raw, out, changed, err) : buffer_append(out, raw.ptr, raw.len, err);
}

static void gate_forget(void *ctx, const struct wire_key *key, uint64_t offset) {
  struct monitor_stream *s = find(ctx, key);
  if (s) monitor_forget(s, offset);
}

struct wire_gate gate_for_wire(struct gate *g) {
  return (struct wire_gate){g, gate_push, gate_settle, gate_render, gate_forget, gate_reset};
}

void gate_counts(const struct gate *g, struct monitor_counts *sum) {
  monitor_counts_add(sum, &g->closed);
  for (size_t i = 0; i < g->n; i++) monitor_counts_add(sum, monitor_stream_counts(g->lanes[i].stream));
}
