/* The policy in force, and how a SIGHUP replaces it: an answer keeps the policy that it began with, a new one begins
 * with the new policy, and an old policy goes when its last answer has ended. */
#include "cli/proxy_run.h"

#include <stdlib.h>

struct workspace { /* a thread's */
  struct proxy_run *run;
  struct generation *generation;
  struct monitor_watch *watch;
  uint64_t request; /* whose text is being judged */
};
struct generation {
  struct monitor_guard *guard;
  const struct monitor_policy *policy; /* the guard's */
  struct monitor_audit *audit;
  struct monitor_counts ended;
  bool stopped;
  size_t users; /* answers, and the run itself while it is the current one */
  size_t threads;
  struct workspace spaces[];
};

/* What is judged goes on; that nobody keeps the record is said at once, then at 10, 100, 1000 lost rows. r->lock is
 * held. */
static void write_row(struct proxy_run *r, struct monitor_audit *audit, const struct monitor_event *e) {
  const char *why = "";
  const uint64_t before = monitor_audit_lost(audit, &why);
  monitor_audit_event(audit, e);
  if (monitor_audit_lost(audit, &why) == before) return;
  if (r->audit_lost++ == 0) r->audit_lost_told = 1;
  if (r->audit_lost != r->audit_lost_told) return;
  r->audit_lost_told *= 10;
  log_line(LOG_ERROR, "proxy: audit rows lost so far: %llu; %s", (unsigned long long)r->audit_lost, why);
}

static void on_verdict(void *ctx, const struct monitor_event *e) {
  struct workspace *w = ctx;
  struct monitor_event event = *e;
  if (gate_is_aside(e)) return;
  event.request = w->request;
  pthread_mutex_lock(&w->run->lock);
  if (w->generation->audit) write_row(w->run, w->generation->audit, &event);
  proxy_metrics_count(w->run, &event);
  pthread_mutex_unlock(&w->run->lock);
}

static sluice_status generation_free(struct generation *g, struct sluice_error *err) {
  if (!g) return SLUICE_OK;
  sluice_status st = monitor_audit_close(g->audit, &g->ended, g->stopped, err);
  for (size_t i = 0; i < g->threads; i++) monitor_watch_close(g->spaces[i].watch);
  monitor_guard_free(g->guard);
  free(g);
  return st;
}

static sluice_status open_audit(const struct proxy_run *r, struct generation *g, struct sluice_error *err) {
  struct monitor_audit_options o = {.path = r->audit_path,
                                    .text = r->audit_text,
                                    .policy = monitor_policy_name(g->policy),
                                    .policy_hash = monitor_policy_hash(g->policy),
                                    .source = r->source};
  return r->audit_path ? monitor_audit_open(&o, &g->audit, err) : SLUICE_OK;
}

static sluice_status generation_read(struct proxy_run *r, struct generation *g, struct sluice_error *err) {
  char *shipped = NULL;
  sluice_status st = SLUICE_OK;
  if (!r->policy_path) st = monitor_policy_default_path(&shipped, err);
  if (!st) st = monitor_guard_load_as(r->policy_path ? r->policy_path : shipped, r->mode, &g->guard, err);
  if (!st) g->policy = monitor_guard_policy(g->guard);
  if (!st) monitor_guard_prepare(g->guard);
  free(shipped);
  for (size_t i = 0; !st && monitor_policy_note(g->policy, i); i++)
    log_line(LOG_WARN, "%s", monitor_policy_note(g->policy, i));
  for (size_t i = 0; !st && i < g->threads; i++) {
    g->spaces[i] = (struct workspace){.run = r, .generation = g};
    st = monitor_watch_open(g->guard, on_verdict, &g->spaces[i], &g->spaces[i].watch, err);
  }
  return st ? st : open_audit(r, g, err);
}

static void let_go(struct proxy_run *r, struct generation *g) {
  struct sluice_error err = {0};
  pthread_mutex_lock(&r->lock);
  bool last = g && --g->users == 0;
  pthread_mutex_unlock(&r->lock);
  if (last && generation_free(g, &err)) log_line(LOG_ERROR, "proxy: %s", err.message);
}

sluice_status proxy_policy_load(struct proxy_run *r, struct sluice_error *err) {
  struct generation *g = calloc(1, sizeof *g + 2 * r->threads * sizeof *g->spaces), *before = NULL;
  struct sluice_error ignored = {0};
  if (!g) return sluice_fail(err, SLUICE_NOMEM, "no memory for a policy");
  g->users = 1;
  g->threads = 2 * r->threads; /* the loops', and those beside them */
  sluice_status st = generation_read(r, g, err);
  if (!st) {
    pthread_mutex_lock(&r->lock);
    st = proxy_metrics_list(r, g->policy, err);
    before = r->current;
    if (!st) r->current = g;
    pthread_mutex_unlock(&r->lock);
  }
  if (st)
    generation_free(g, &ignored);
  else
    let_go(r, before);
  return st;
}

/* Only by who loads: what is in force does not change meanwhile. */
const char *proxy_policy_words(const struct proxy_run *r, size_t *rules) {
  *rules = monitor_policy_rules(r->current->policy);
  return monitor_policy_name(r->current->policy);
}

sluice_status proxy_policy_close(struct proxy_run *r, struct sluice_error *err) {
  struct generation *g = r->current;
  r->current = NULL;
  return generation_free(g, err);
}

/* ---- answers ---- */

static sluice_status push(void *ctx, const struct wire_key *key, struct slice bytes, struct wire_verdict *v,
                          struct sluice_error *err) {
  struct texts_side *side = ctx;
  struct workspace *w = &side->whole->generation->spaces[side->thread];
  struct detector_times *times = &w->run->times[side->thread];
  bool timed = times->pieces++ % 8 == 0; /* the clock costs as much as a short piece */
  int64_t began = timed ? clock_mono_ns() : 0;
  w->request = side->whole->request;
  sluice_status st = side->judged.push(side->judged.ctx, key, bytes, v, err);
  if (timed) proxy_metrics_time(times, clock_mono_ns() - began);
  return st;
}

static sluice_status settle(void *ctx, const struct wire_key *key, struct wire_verdict *v, struct sluice_error *err) {
  struct texts_side *side = ctx;
  side->whole->generation->spaces[side->thread].request = side->whole->request;
  return side->judged.settle(side->judged.ctx, key, v, err);
}

static sluice_status render(void *ctx, const struct wire_key *key, uint64_t offset, struct slice raw,
                            struct buffer *out, bool *changed, struct sluice_error *err) {
  struct texts_side *side = ctx;
  return side->judged.render(side->judged.ctx, key, offset, raw, out, changed, err);
}

static void forget(void *ctx, const struct wire_key *key, uint64_t offset) {
  struct texts_side *side = ctx;
  side->judged.forget(side->judged.ctx, key, offset);
}

static void reset(void *ctx) {
  struct texts_side *side = ctx;
  side->judged.reset(side->judged.ctx);
}

static sluice_status would(void *ctx, const struct wire_key *key, struct slice before, struct slice other, bool *named,
                           struct sluice_error *err) {
  struct texts_side *side = ctx;
  return side->judged.would(side->judged.ctx, key, before, other, named, err);
}

static struct wire_gate open_side(struct answer_texts *t, struct texts_side *side, struct gate *gate, size_t thread,
                                  size_t route, enum monitor_side of) {
  gate_watch(gate, t->generation->spaces[thread].watch, route, of);
  *side = (struct texts_side){t, gate_for_wire(gate), thread};
  return (struct wire_gate){side, push, settle, render, forget, reset, would};
}

static bool field_of(const void *asked, const char *name, struct slice *value) {
  return wire_asked_field(asked, name, value);
}

sluice_status proxy_policy_begin(struct proxy_run *r, size_t thread, const struct wire_asked *asked,
                                 struct wire_gate *answer, struct wire_gate *prompts, void **texts,
                                 struct sluice_error *err) {
  struct monitor_request request = {asked->path, asked->dialect, asked->model, field_of, asked};
  struct answer_texts *t = calloc(1, sizeof *t);
  if (!t) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  pthread_mutex_lock(&r->lock);
  t->generation = r->current;
  t->generation->users++;
  pthread_mutex_unlock(&r->lock);
  size_t route = monitor_guard_route(t->generation->guard, &request);
  t->request = asked->request;
  *answer = open_side(t, &t->answer, &t->gate, thread, route, MONITOR_ANSWER);
  struct wire_gate before =
      open_side(t, &t->asked, &t->prompts, asked->beside ? r->threads + thread : thread, route, MONITOR_ASKED);
  if (monitor_guard_looks_at(t->generation->guard, route, MONITOR_ASKED)) *prompts = before;
  *texts = t;
  return SLUICE_OK;
}

void proxy_policy_move(struct proxy_run *r, size_t thread, struct answer_texts *t, bool beside) {
  t->answer.thread = beside ? r->threads + thread : thread;
  gate_move(&t->gate, t->generation->spaces[t->answer.thread].watch);
}

void proxy_policy_end(struct proxy_run *r, struct answer_texts *t, const struct monitor_counts *counts) {
  gate_close(&t->gate);
  gate_close(&t->prompts);
  pthread_mutex_lock(&r->lock);
  monitor_counts_add(&t->generation->ended, counts);
  t->generation->stopped |= t->gate.rule[0] || t->prompts.rule[0];
  pthread_mutex_unlock(&r->lock);
  let_go(r, t->generation);
  free(t);
}
