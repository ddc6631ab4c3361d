/* The proxy as a whole: signals, the clock, and its end. */
#include "wire/proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#define SECOND 1000000000LL
#define TICK_MS 200
#define FLUSH_S 2 /* for the last words to streams that were cut */

/* ---- the clock and the end ---- */

static void begin_drain(struct wire_proxy *p) {
  p->server.draining = true;
  p->drain_until_ns = clock_mono_ns() + p->o.drain_s * SECOND;
  server_stop_listening(&p->server, false);
}

static void on_signal(evutil_socket_t number, short what, void *ctx) {
  struct wire_proxy *p = ctx;
  (void)number, (void)what;
  if (p->server.draining)
    p->drain_until_ns = clock_mono_ns();
  else
    begin_drain(p);
}

static void cut_streams(struct wire_proxy *p) {
  while (p->exchanges) {
    p->cut++;
    exchange_cut(p->exchanges, FAULT_CUT, "this proxy is shutting down");
  }
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
  struct wire_proxy *p = ctx;
  int64_t now = clock_mono_ns();
  (void)fd, (void)what;
  for (struct exchange *x = p->exchanges, *next; x; x = next) {
    next = x->next;
    exchange_tick(x, now);
  }
  server_tick(&p->server, now);
  if (!p->server.draining) return;
  if (now >= p->drain_until_ns) cut_streams(p);
  if (!server_busy(&p->server) || now >= p->drain_until_ns + FLUSH_S * SECOND) event_base_loopbreak(p->server.loop);
}

/* ---- what the server asks ---- */

static void on_request(struct client *c) {
  if (c->admin || !client_proxy(c)->o.admin) {
    if (pages_answer(c)) return;
    if (c->admin) {
      client_refuse(c, 404, "not_found", "here are /healthz, /readyz and /metrics");
      return;
    }
  }
  exchange_start(c);
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

static sluice_status read_upstream(struct wire_proxy *p, struct sluice_error *err) {
  const char *url = p->o.upstream;
  if (!strncmp(url, "unix:", 5)) {
    p->unix_path = url + 5;
    url = "http://localhost";
  }
  size_t scheme = !strncasecmp(url, "http://", 7) ? 7 : !strncasecmp(url, "https://", 8) ? 8 : 0;
  size_t host = strcspn(url + scheme, "/?#");
  const char *path = url + scheme + host;
  if (!scheme || !host || strpbrk(path, "?# ") || memchr(url + scheme, '@', host))
    return sluice_fail(err, SLUICE_USAGE,
                       "\"%s\" is no upstream: give http://HOST[:PORT], https://HOST[:PORT] or unix:PATH",
                       p->o.upstream);
  size_t n = strlen(path);
  while (n && path[n - 1] == '/') n--;
  p->base = sluice_strndup(url, scheme + host);
  p->prefix = sluice_strndup(path, n);
  return p->base && p->prefix ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for the upstream");
}

static void fill_defaults(struct wire_proxy_options *o) {
  if (!o->max_body) o->max_body = 32 << 20;
  if (!o->max_frame) o->max_frame = WIRE_FRAME_MAX;
  if (!o->max_streams) o->max_streams = 1024;
  if (!o->max_clients) o->max_clients = 4096;
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

static sluice_status open_loop(struct wire_proxy *p, struct sluice_error *err) {
  struct timeval tick = {0, TICK_MS * 1000};
  p->server.loop = event_base_new();
  if (!p->server.loop) return sluice_fail(err, SLUICE_NOMEM, "no event loop");
  p->clock = event_new(p->server.loop, -1, EV_PERSIST, on_clock, p);
  p->on_term = evsignal_new(p->server.loop, SIGTERM, on_signal, p);
  p->on_int = evsignal_new(p->server.loop, SIGINT, on_signal, p);
  if (!p->clock || !p->on_term || !p->on_int || event_add(p->clock, &tick) || event_add(p->on_term, NULL) ||
      event_add(p->on_int, NULL))
    return sluice_fail(err, SLUICE_NOMEM, "no memory for the event loop");
  return SLUICE_OK;
}

sluice_status wire_proxy_open(const struct wire_proxy_options *o, struct wire_proxy **out, struct sluice_error *err) {
  struct wire_proxy *p = calloc(1, sizeof *p);
  if (!p) return sluice_fail(err, SLUICE_NOMEM, "no memory for the proxy");
  p->o = *o;
  p->started_ns = clock_mono_ns();
  fill_defaults(&p->o);
  p->server = (struct server){.hooks = &hooks,
                              .owner = p,
                              .max_body = p->o.max_body,
                              .max_clients = p->o.max_clients,
                              .reuse_port = p->o.reuse_port};
  raise_descriptors();
  sluice_status st = read_upstream(p, err);
  if (!st && curl_global_init(CURL_GLOBAL_DEFAULT)) st = sluice_fail(err, SLUICE_INTERNAL, "libcurl does not start");
  if (!st) st = open_loop(p, err);
  if (!st) st = upstream_open(p, &p->upstream, err);
  for (size_t i = 0; !st && i < o->n_listen; i++) st = server_listen(&p->server, o->listen[i], false, err);
  if (!st && o->admin) st = server_listen(&p->server, o->admin, true, err);
  if (!st) {
    *out = p;
    return SLUICE_OK;
  }
  wire_proxy_close(p);
  return st;
}

const char *wire_proxy_address(const struct wire_proxy *p, size_t i) {
  return i < p->server.n_listeners ? p->server.listeners[i].address : NULL;
}

sluice_status wire_proxy_run(struct wire_proxy *p, uint64_t *cut, struct sluice_error *err) {
  int ended = event_base_dispatch(p->server.loop);
  *cut = p->cut;
  return ended < 0 ? sluice_fail(err, SLUICE_IO, "the event loop ended: %s", strerror(errno)) : SLUICE_OK;
}

void wire_proxy_close(struct wire_proxy *p) {
  if (!p) return;
  server_stop_listening(&p->server, true);
  server_free_clients(&p->server);
  upstream_close(p->upstream);
  if (p->clock) event_free(p->clock);
  if (p->on_term) event_free(p->on_term);
  if (p->on_int) event_free(p->on_int);
  if (p->server.loop) event_base_free(p->server.loop);
  free(p->base);
  free(p->prefix);
  free(p);
}
