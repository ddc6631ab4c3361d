/* The proxy as a whole: signals, the clock, and its end. */
#include "wire/proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define SECOND 1000000000LL
#define TICK_MS 200
#define FLUSH_S 2 /* for the last words to streams that were cut */

/* ---- the clock and the end ---- */

static void begin_drain(struct proxy_loop *l) {
  l->server.draining = true;
  server_stop_listening(&l->server, false);
}

static void on_signal(evutil_socket_t number, short what, void *ctx) {
  struct proxy_loop *l = ctx;
  int64_t now = clock_mono_ns();
  (void)number, (void)what;
  atomic_store(&l->whole->drain_until_ns, l->server.draining ? now : now + l->whole->o.drain_s * SECOND);
  if (!l->server.draining) begin_drain(l); /* the other threads see it at their clock's next tick */
}

static void reload_once(struct wire_proxy *p) {
  struct sluice_error err = {0};
  struct ssl_ctx_st *fresh = NULL;
  sluice_status st = p->tls ? tls_server_read(p->tls, &fresh, &err) : SLUICE_OK;
  if (!st && p->o.hooks.reload) st = p->o.hooks.reload(p->o.hooks.ctx, &err);
  if (!st) {
    if (p->tls) tls_server_take(p->tls, fresh);
    atomic_fetch_add(&p->reloads, 1);
    return;
  }
  tls_server_drop(fresh);
  atomic_fetch_add(&p->failed_reloads, 1);
  log_line(LOG_ERROR, "proxy: not reloaded, all stays as it was: %s", err.message);
}

static void *reload_thread(void *ctx) {
  struct wire_proxy *p = ctx;
  do {
    while (atomic_exchange(&p->reload_wanted, false)) reload_once(p);
    atomic_store(&p->reloading, false);
  } while (atomic_load(&p->reload_wanted) && !atomic_exchange(&p->reloading, true));
  return NULL;
}

/* In a thread of its own: many rules take their time, and no stream waits for them. */
static void on_hup(evutil_socket_t number, short what, void *ctx) {
  struct wire_proxy *p = ctx;
  sigset_t all, before;
  (void)number, (void)what;
  atomic_store(&p->reload_wanted, true);
  if (atomic_exchange(&p->reloading, true)) return; /* the one under way does it once more */
  if (p->reloader_started) pthread_join(p->reloader, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  p->reloader_started = pthread_create(&p->reloader, NULL, reload_thread, p) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!p->reloader_started) {
    atomic_store(&p->reloading, false);
    atomic_fetch_add(&p->failed_reloads, 1);
  }
}

static void cut_streams(struct proxy_loop *l) {
  while (l->exchanges) {
    l->cut++;
    exchange_cut(l->exchanges, FAULT_CUT, "this proxy is shutting down");
  }
}

void proxy_publish(struct proxy_loop *l) {
  const struct server *s = &l->server;
  struct proxy_gauges now = {.clients = s->n_clients, .connections = s->connections, .refused = s->refused};
  for (const struct client *c = s->clients; c; c = c->next) now.backlog += client_backlog(c);
  __atomic_store_n(&l->gauges.clients, now.clients, __ATOMIC_RELAXED);
  __atomic_store_n(&l->gauges.backlog, now.backlog, __ATOMIC_RELAXED);
  __atomic_store_n(&l->gauges.connections, now.connections, __ATOMIC_RELAXED);
  __atomic_store_n(&l->gauges.refused, now.refused, __ATOMIC_RELAXED);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
  struct proxy_loop *l = ctx;
  int64_t now = clock_mono_ns(), until = atomic_load(&l->whole->drain_until_ns);
  (void)fd, (void)what;
  for (struct exchange *x = l->exchanges, *next; x; x = next) {
    next = x->next;
    exchange_tick(x, now);
  }
  server_tick(&l->server, now);
  proxy_publish(l);
  if (!until) {
    if (l->index == 0) targets_probe(l, now);
    return;
  }
  if (!l->server.draining) begin_drain(l);
  if (now >= until) cut_streams(l);
  if (!server_busy(&l->server) || now >= until + FLUSH_S * SECOND) event_base_loopbreak(l->server.loop);
}

/* ---- what the server asks ---- */

static void on_request(struct client *c) {
  if (c->admin || !client_loop(c)->whole->o.admin) {
    if (pages_answer(c)) return;
    if (c->admin) {
      client_refuse(c, 404, "not_found", "here are /healthz, /readyz and /metrics");
      return;
    }
  }
  if (!client_preflight(c)) exchange_start(c);
}

static void on_taken(struct client *c) {
  exchange_resume(client_exchange(c));
}

static void on_left(struct client *c) {
  exchange_leave(client_exchange(c));
}

static sluice_status error_body(const struct client *c, int status, const char *code, const char *message,
                                struct buffer *out, struct sluice_error *err) {
  const struct exchange *x = client_exchange(c);
  return proxy_error_json(out, x ? x->form : FORM_CHAT, status, code, message, err);
}

static const struct server_hooks hooks = {on_request, on_taken, on_left, error_body};

/* ---- opening ---- */

static sluice_status read_upstreams(struct wire_proxy *p, struct sluice_error *err) {
  const struct wire_proxy_options *o = &p->o;
  sluice_status st = SLUICE_OK;
  if (o->n_upstreams + o->n_backups > PROXY_TARGETS_MAX)
    return sluice_fail(err, SLUICE_USAGE, "more than %d upstreams", PROXY_TARGETS_MAX);
  for (size_t i = 0; !st && i < o->n_upstreams; i++)
    st = target_read(&p->targets[p->n_targets++], o->upstreams[i], false, err);
  for (size_t i = 0; !st && i < o->n_backups; i++)
    st = target_read(&p->targets[p->n_targets++], o->backups[i], true, err);
  return st;
}

static sluice_status open_tls(struct wire_proxy *p, struct sluice_error *err) {
  const struct wire_proxy_options *o = &p->o;
  struct tls_files files = {o->tls_cert, o->tls_key ? o->tls_key : o->tls_cert, o->tls_client_ca};
  sluice_status st = tls_check_client_files(o->upstream_ca, o->upstream_cert, o->upstream_key, err);
  if (st || o->tls_cert) return st ? st : tls_server_open(&files, &p->tls, err);
  if (o->tls_key || o->tls_client_ca)
    return sluice_fail(err, SLUICE_USAGE, "TLS towards clients needs a certificate: --tls-cert FILE");
  return SLUICE_OK;
}

static void fill_defaults(struct wire_proxy_options *o) {
  if (!o->max_body) o->max_body = 32 << 20;
  if (!o->max_frame) o->max_frame = WIRE_FRAME_MAX;
  if (!o->max_streams) o->max_streams = 1024;
  if (!o->max_clients) o->max_clients = 4096;
  if (!o->max_memory) o->max_memory = (size_t)1 << 30;
  if (!o->threads) o->threads = 1;
  if (!o->eject_after) o->eject_after = 3;
  if (!o->connect_s) o->connect_s = 5;
  if (!o->idle_s) o->idle_s = 300;
  if (!o->total_s) o->total_s = 3600;
  if (!o->drain_s) o->drain_s = 30;
}

/* A stream takes two descriptors: as many as the system allows. */
static void raise_descriptors(void) {
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
  }
}

static sluice_status open_loop(struct wire_proxy *p, struct proxy_loop *l, struct sluice_error *err) {
  struct timeval tick = {0, TICK_MS * 1000};
  l->server = (struct server){.hooks = &hooks,
                              .owner = l,
                              .max_body = p->o.max_body,
                              .max_clients = (p->o.max_clients + p->n_loops - 1) / p->n_loops,
                              .memory = &p->memory,
                              .max_memory = p->o.max_memory,
                              .tls = p->tls,
                              .cors = &p->cors,
                              .reuse_port = p->o.reuse_port || p->n_loops > 1};
  l->server.loop = event_base_new();
  if (!l->server.loop) return sluice_fail(err, SLUICE_NOMEM, "no event loop");
  l->clock = event_new(l->server.loop, -1, EV_PERSIST, on_clock, l);
  if (!l->clock || event_add(l->clock, &tick)) return sluice_fail(err, SLUICE_NOMEM, "no memory for the event loop");
  sluice_status st = upstream_open(l, &l->upstream, err);
  if (!st) st = jobs_open(l->server.loop, &l->jobs, err);
  if (!st && l->index) return server_listen_with(&l->server, &p->loops[0].server, err);
  for (size_t i = 0; !st && i < p->o.n_listen; i++) st = server_listen(&l->server, p->o.listen[i], false, err);
  if (!st && p->o.admin) st = server_listen(&l->server, p->o.admin, true, err);
  return st;
}

static sluice_status catch_signals(struct wire_proxy *p, struct sluice_error *err) {
  struct event_base *loop = p->loops[0].server.loop;
  p->on_term = evsignal_new(loop, SIGTERM, on_signal, &p->loops[0]);
  p->on_int = evsignal_new(loop, SIGINT, on_signal, &p->loops[0]);
  p->on_hup = evsignal_new(loop, SIGHUP, on_hup, p);
  if (!p->on_term || !p->on_int || !p->on_hup || event_add(p->on_term, NULL) || event_add(p->on_int, NULL) ||
      event_add(p->on_hup, NULL))
    return sluice_fail(err, SLUICE_NOMEM, "no memory for signals");
  return SLUICE_OK;
}

sluice_status wire_proxy_open(const struct wire_proxy_options *o, struct wire_proxy **out, struct sluice_error *err) {
  struct wire_proxy *p = calloc(1, sizeof *p);
  if (!p) return sluice_fail(err, SLUICE_NOMEM, "no memory for the proxy");
  p->o = *o;
  p->cors = (struct cors){o->cors, o->n_cors};
  p->started_ns = clock_mono_ns();
  fill_defaults(&p->o);
  raise_descriptors();
  p->loops = p->o.threads > PROXY_THREADS_MAX ? NULL : calloc(p->o.threads, sizeof *p->loops);
  p->n_loops = p->loops ? p->o.threads : 0;
  sluice_status st = p->loops ? cors_check(&p->cors, err) : sluice_fail(err, SLUICE_NOMEM, "no memory for the threads");
  if (!st) st = read_upstreams(p, err);
  if (!st && curl_global_init(CURL_GLOBAL_DEFAULT)) st = sluice_fail(err, SLUICE_INTERNAL, "libcurl does not start");
  if (!st) st = open_tls(p, err);
  for (size_t i = 0; i < p->n_loops; i++) {
    p->loops[i].whole = p;
    p->loops[i].index = i;
    if (!st) st = open_loop(p, &p->loops[i], err);
  }
  if (!st) st = catch_signals(p, err);
  if (!st) {
    *out = p;
    return SLUICE_OK;
  }
  wire_proxy_close(p);
  return st;
}

const char *wire_proxy_address(const struct wire_proxy *p, size_t i) {
  const struct server *s = &p->loops[0].server;
  return i < s->n_listeners ? s->listeners[i].address : NULL;
}

/* ---- running ---- */

static void *run_loop(void *ctx) {
  struct proxy_loop *l = ctx;
  event_base_dispatch(l->server.loop);
  return NULL;
}

/* Signals are the first thread's. */
static sluice_status start_threads(struct wire_proxy *p, struct sluice_error *err) {
  sigset_t all, before;
  int failed = 0;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  for (size_t i = 1; i < p->n_loops && !failed; i++) {
    failed = pthread_create(&p->loops[i].thread, NULL, run_loop, &p->loops[i]);
    p->loops[i].started = !failed;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed ? sluice_fail(err, SLUICE_IO, "cannot start a thread: %s", strerror(failed)) : SLUICE_OK;
}

sluice_status wire_proxy_run(struct wire_proxy *p, uint64_t *cut, struct sluice_error *err) {
  sluice_status st = start_threads(p, err);
  if (st) atomic_store(&p->drain_until_ns, 1); /* those that run end at their next tick */
  if (!st && event_base_dispatch(p->loops[0].server.loop) < 0) {
    st = sluice_fail(err, SLUICE_IO, "the event loop ended: %s", strerror(errno));
    atomic_store(&p->drain_until_ns, 1);
  }
  if (p->reloader_started) pthread_join(p->reloader, NULL);
  p->reloader_started = false;
  *cut = p->loops[0].cut;
  for (size_t i = 1; i < p->n_loops; i++) {
    if (p->loops[i].started) pthread_join(p->loops[i].thread, NULL);
    p->loops[i].started = false;
    *cut += p->loops[i].cut;
  }
  return st;
}

static void close_loop(struct proxy_loop *l) {
  server_stop_listening(&l->server, true);
  server_free_clients(&l->server);
  jobs_close(l->jobs);
  upstream_close(l->upstream);
  if (l->clock) event_free(l->clock);
}

void wire_proxy_close(struct wire_proxy *p) {
  if (!p) return;
  struct event *signals[] = {p->on_term, p->on_int, p->on_hup};
  for (size_t i = 0; i < p->n_loops; i++) close_loop(&p->loops[i]);
  for (size_t i = 0; i < 3; i++)
    if (signals[i]) event_free(signals[i]);
  for (size_t i = 0; i < p->n_loops; i++)
    if (p->loops[i].server.loop) event_base_free(p->loops[i].server.loop);
  for (size_t i = 0; i < p->n_targets; i++) target_free(&p->targets[i]);
  tls_server_close(p->tls);
  free(p->loops);
  free(p);
}
