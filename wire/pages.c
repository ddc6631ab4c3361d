/* What the proxy says of itself: /healthz, /readyz, and /metrics in Prometheus' text format 0.0.4. */
#include "wire/proxy.h"

#include <inttypes.h>
#include <string.h>

#define SECOND 1000000000LL

const int64_t pages_bucket_ns[PROXY_JUDGE_BUCKETS] = {5000, 20000, 50000, 100000, 500000, 1000000, 10000000};

static sluice_status one(struct buffer *out, const char *name, const char *type, uint64_t value, const char *about,
                         struct sluice_error *err) {
  return buffer_printf(out, err, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, about, name, type, name, value);
}

static sluice_status requests(const struct proxy_counts *n, struct buffer *out, struct sluice_error *err) {
  static const char *const kinds[] = {"passed", "judged", "unjudged"};
  static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
  sluice_status st = buffer_append_str(out,
                                       "# HELP sluice_requests_total Requests by path kind and by the status that the "
                                       "client got (none: it left before).\n# TYPE sluice_requests_total counter\n",
                                       err);
  for (int k = 0; !st && k < 3; k++)
    for (int c = 0; !st && c < 6; c++)
      if (c != 1)
        st = buffer_printf(out, err, "sluice_requests_total{path=\"%s\",status=\"%s\"} %" PRIu64 "\n", kinds[k],
                           classes[c], n->requests[k][c]);
  return st;
}

static sluice_status faults(const struct proxy_counts *n, struct buffer *out, struct sluice_error *err) {
  static const char *const names[FAULT_KINDS] = {"", "upstream_error", "unreadable", "timeout", "client_left", "cut"};
  sluice_status st = buffer_append_str(
      out, "# HELP sluice_faults_total Requests that did not end as they should.\n# TYPE sluice_faults_total counter\n",
      err);
  for (int i = 1; !st && i < FAULT_KINDS; i++)
    st = buffer_printf(out, err, "sluice_faults_total{kind=\"%s\"} %" PRIu64 "\n", names[i], n->faults[i]);
  return st;
}

static sluice_status judging(const struct proxy_counts *n, struct buffer *out, struct sluice_error *err) {
  uint64_t sum = 0;
  sluice_status st =
      buffer_append_str(out,
                        "# HELP sluice_judge_seconds Time to judge what one read from the upstream brought.\n"
                        "# TYPE sluice_judge_seconds histogram\n",
                        err);
  for (int i = 0; !st && i < PROXY_JUDGE_BUCKETS; i++) {
    sum += n->judge_buckets[i];
    st = buffer_printf(out, err, "sluice_judge_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
                       (double)pages_bucket_ns[i] / (double)SECOND, sum);
  }
  if (st) return st;
  return buffer_printf(out, err,
                       "sluice_judge_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\nsluice_judge_seconds_sum %.9f\n"
                       "sluice_judge_seconds_count %" PRIu64 "\n",
                       n->judged_reads, (double)n->judge_ns / (double)SECOND, n->judged_reads);
}

/* Of all threads. Every member of the two structures is a uint64_t. */
static void sum_up(const struct wire_proxy *p, struct proxy_counts *counts, struct proxy_gauges *gauges) {
  memset(counts, 0, sizeof *counts);
  memset(gauges, 0, sizeof *gauges);
  for (size_t i = 0; i < p->n_loops; i++) {
    const uint64_t *c = (const uint64_t *)&p->loops[i].counts, *g = (const uint64_t *)&p->loops[i].gauges;
    for (size_t k = 0; k < sizeof *counts / sizeof *c; k++) ((uint64_t *)counts)[k] += proxy_read(&c[k]);
    for (size_t k = 0; k < sizeof *gauges / sizeof *g; k++) ((uint64_t *)gauges)[k] += proxy_read(&g[k]);
  }
}

static sluice_status label(struct buffer *out, const char *text, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (const char *s = text; !st && *s; s++)
    st = *s == '"' || *s == '\\' ? buffer_printf(out, err, "\\%c", *s) : buffer_append(out, s, 1, err);
  return st;
}

/* A line for each server behind the proxy. */
static sluice_status upstreams(struct wire_proxy *p, struct buffer *out, struct sluice_error *err) {
  static const struct {
    const char *name, *type, *about;
  } table[] = {{"sluice_upstream_up", "gauge", "0: left alone after failures, until a probe succeeds."},
               {"sluice_upstream_outstanding", "gauge", "Requests under way to this upstream."},
               {"sluice_upstream_requests_total", "counter", "Requests sent to this upstream."},
               {"sluice_upstream_errors_total", "counter", "Requests and probes to which no answer came."},
               {"sluice_upstream_ejections_total", "counter", "Times that it was left alone."}};
  sluice_status st = SLUICE_OK;
  for (size_t k = 0; !st && k < sizeof table / sizeof *table; k++) {
    st = buffer_printf(out, err, "# HELP %s %s\n# TYPE %s %s\n", table[k].name, table[k].about, table[k].name,
                       table[k].type);
    for (size_t i = 0; !st && i < p->n_targets; i++) {
      struct target *t = &p->targets[i];
      unsigned long long values[] = {!atomic_load(&t->away_until_ns), (unsigned long long)atomic_load(&t->outstanding),
                                     atomic_load(&t->requests), atomic_load(&t->failed), atomic_load(&t->ejections)};
      st = buffer_printf(out, err, "%s{upstream=\"", table[k].name);
      if (!st) st = label(out, t->name, err);
      if (!st) st = buffer_printf(out, err, "\",tier=\"%s\"} %llu\n", t->backup ? "backup" : "primary", values[k]);
    }
  }
  return st;
}

static sluice_status metrics(struct proxy_loop *l, struct buffer *out, struct sluice_error *err) {
  struct wire_proxy *p = l->whole;
  struct proxy_counts sum, *n = &sum;
  struct proxy_gauges gauges;
  proxy_publish(l);
  sum_up(p, &sum, &gauges);
  const struct {
    const char *name, *type;
    uint64_t value;
    const char *about;
  } table[] = {
      {"sluice_clients", "gauge", gauges.clients, "Connections that are open."},
      {"sluice_streams", "gauge", atomic_load(&p->n_streams), "Requests under way."},
      {"sluice_backlog_bytes", "gauge", gauges.backlog, "Bytes that wait for clients to read."},
      {"sluice_buffered_bytes", "gauge", atomic_load(&p->memory), "Bytes that count towards --max-memory."},
      {"sluice_connections_total", "counter", gauges.connections, "Connections accepted."},
      {"sluice_stopped_total", "counter", n->stops, "Answers that a rule stopped."},
      {"sluice_alternatives_emptied_total", "counter", n->emptied,
       "Lists of alternatives to a token that were emptied for what one of them says."},
      {"sluice_upstream_cancelled_total", "counter", n->cancelled,
       "Upstream answers cut short: stopped, or client gone."},
      {"sluice_upstream_repeated_total", "counter", n->repeated, "Requests that another upstream was asked again."},
      {"sluice_refused_total", "counter", n->refused + gauges.refused, "Requests that never went upstream."},
      {"sluice_paused_total", "counter", n->pauses, "Times that a slow client held its upstream."},
      {"sluice_upstream_bytes_total", "counter", n->bytes_in, "Bytes of answers from the upstream."},
      {"sluice_client_bytes_total", "counter", n->bytes_out, "Bytes of answers to clients."},
      {"sluice_reloads_total", "counter", atomic_load(&p->reloads), "SIGHUPs after which all was read again."},
      {"sluice_reloads_failed_total", "counter", atomic_load(&p->failed_reloads),
       "SIGHUPs after which something was broken and all stayed as it was."},
      {"sluice_threads", "gauge", p->n_loops, "Event loops."},
      {"sluice_draining", "gauge", atomic_load(&p->drain_until_ns) != 0, "1 while shutting down."},
      {"sluice_uptime_seconds", "gauge", (uint64_t)((clock_mono_ns() - p->started_ns) / SECOND), "Since the start."}};
  sluice_status st = requests(n, out, err);
  if (!st) st = faults(n, out, err);
  for (size_t i = 0; !st && i < sizeof table / sizeof *table; i++)
    st = one(out, table[i].name, table[i].type, table[i].value, table[i].about, err);
  if (!st) st = upstreams(p, out, err);
  if (!st) st = judging(n, out, err);
  if (!st && p->o.hooks.metrics) st = p->o.hooks.metrics(p->o.hooks.ctx, out, err);
  return st;
}

static void ready(struct client *c) {
  struct wire_proxy *p = client_loop(c)->whole;
  bool draining = atomic_load(&p->drain_until_ns) != 0, away = !target_any_ready(p);
  const char *words = draining ? "draining\n" : away ? "the upstream cannot be reached\n" : "ready\n";
  client_answer(c, draining || away ? 503 : 200, "text/plain", slice_of(words));
}

static void show_metrics(struct client *c) {
  struct buffer out;
  struct sluice_error err = {0};
  buffer_init(&out, 4 << 20);
  if (metrics(client_loop(c), &out, &err))
    client_refuse(c, 503, "no_memory", err.message);
  else
    client_answer(c, 200, "text/plain; version=0.0.4; charset=utf-8", (struct slice){out.ptr, out.len});
  buffer_free(&out);
}

bool pages_answer(struct client *c) {
  struct slice t = c->head.target;
  const char *query = memchr(t.ptr, '?', t.len);
  if (query) t.len = (size_t)(query - t.ptr);
  bool health = slice_is(t, "/healthz"), readiness = slice_is(t, "/readyz"), numbers = slice_is(t, "/metrics");
  if (!health && !readiness && !numbers) return false;
  if (!slice_is(c->head.method, "GET") && !c->head_only)
    client_refuse(c, 405, "method_not_allowed", "GET is asked for here");
  else if (health)
    client_answer(c, 200, "text/plain", slice_of("ok\n"));
  else if (readiness)
    ready(c);
  else
    show_metrics(c);
  return true;
}
