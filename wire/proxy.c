/* The proxy as a whole: listeners, signals, the clock, and its end. */
#include "wire/proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define TICK_MS 200
#define FLUSH_S 2 /* for the last words to streams that were cut */

/* ---- listening ---- */

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len, void *ctx) {
  struct proxy_listener *l = ctx;
  struct wire_proxy *p = l->proxy;
  (void)listener, (void)from, (void)len;
  client_accept(p, fd, l->admin);
  if (p->full || p->n_clients < p->o.max_clients) return;
  p->full = true;
  for (size_t i = 0; i < p->n_listeners; i++)
    if (p->listeners[i].listener && !p->listeners[i].admin) evconnlistener_disable(p->listeners[i].listener);
}

/* Out of descriptors, most likely: a rest, or the loop would spin. The clock ends it. */
static void on_accept_error(struct evconnlistener *listener, void *ctx) {
  struct proxy_listener *l = ctx;
  l->proxy->full = true;
  evconnlistener_disable(listener);
}

static void accept_again(struct wire_proxy *p) {
  if (!p->full || p->draining || p->n_clients >= p->o.max_clients) return;
  p->full = false;
  for (size_t i = 0; i < p->n_listeners; i++)
    if (p->listeners[i].listener) evconnlistener_enable(p->listeners[i].listener);
}

void proxy_client_left(struct wire_proxy *p) {
  p->n_clients--;
}

/* A socket that nobody answers on is left from a process that was killed; one in use is not ours to take. */
static sluice_status clear_stale(const struct sockaddr_un *a, struct sluice_error *err) {
  struct stat s;
  if (lstat(a->sun_path, &s) != 0) return SLUICE_OK;
  if (!S_ISSOCK(s.st_mode)) return sluice_fail(err, SLUICE_USAGE, "--listen unix:%s: a file is there", a->sun_path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool used = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) == 0;
  if (fd >= 0) close(fd);
  if (used) return sluice_fail(err, SLUICE_USAGE, "--listen unix:%s: another process listens there", a->sun_path);
  unlink(a->sun_path);
  return SLUICE_OK;
}

static sluice_status parse_address(const char *text, struct sockaddr_storage *out, int *len, struct sluice_error *err) {
  struct sockaddr_un *local = (struct sockaddr_un *)(void *)out;
  memset(out, 0, sizeof *out);
  *len = sizeof *out;
  if (!strncmp(text, "unix:", 5)) {
    if (strlen(text + 5) >= sizeof local->sun_path || !text[5])
      return sluice_fail(err, SLUICE_USAGE, "%s: a path of 1 to %zu bytes is needed", text, sizeof local->sun_path - 1);
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, text + 5, strlen(text + 5) + 1);
    *len = sizeof *local;
    return clear_stale(local, err);
  }
  char place[80];
  size_t n = strlen(text);
  bool any = n > 2 && n < sizeof place && !strcmp(text + n - 2, ":0"); /* libevent reads no port 0 */
  if (any) {
    memcpy(place, text, n + 1);
    place[n - 1] = '1';
    text = place;
  }
  struct sockaddr *generic = (struct sockaddr *)(void *)out;
  if (!strchr(text, ':') || evutil_parse_sockaddr_port(text, generic, len))
    return sluice_fail(err, SLUICE_USAGE,
                       "\"%s\" is no place to listen: give ADDRESS:PORT in digits, [V6]:PORT or unix:PATH", text);
  if (any && generic->sa_family == AF_INET) ((struct sockaddr_in *)(void *)out)->sin_port = 0;
  if (any && generic->sa_family == AF_INET6) ((struct sockaddr_in6 *)(void *)out)->sin6_port = 0;
  return SLUICE_OK;
}

static void name_address(struct proxy_listener *l, const char *asked) {
  struct sockaddr_storage a;
  socklen_t len = sizeof a;
  char digits[64] = "";
  snprintf(l->address, sizeof l->address, "%s", asked);
  if (getsockname(evconnlistener_get_fd(l->listener), (struct sockaddr *)(void *)&a, &len) != 0) return;
  if (a.ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a;
    evutil_inet_ntop(AF_INET, &v4->sin_addr, digits, sizeof digits);
    snprintf(l->address, sizeof l->address, "%s:%u", digits, (unsigned)ntohs(v4->sin_port));
  } else if (a.ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a;
    evutil_inet_ntop(AF_INET6, &v6->sin6_addr, digits, sizeof digits);
    snprintf(l->address, sizeof l->address, "[%s]:%u", digits, (unsigned)ntohs(v6->sin6_port));
  }
}

static sluice_status listen_at(struct wire_proxy *p, const char *where, bool admin, struct sluice_error *err) {
  struct sockaddr_storage a;
  int len = 0;
  if (p->n_listeners == PROXY_LISTENERS_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "more than %d places to listen", PROXY_LISTENERS_MAX);
  sluice_status st = parse_address(where, &a, &len, err);
  if (st) return st;
  struct proxy_listener *l = &p->listeners[p->n_listeners];
  *l = (struct proxy_listener){.proxy = p, .admin = admin};
  unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
  if (p->o.reuse_port && a.ss_family != AF_UNIX) flags |= LEV_OPT_REUSEABLE_PORT;
  errno = 0;
  l->listener = evconnlistener_new_bind(p->loop, on_accept, l, flags, 1024, (struct sockaddr *)(void *)&a, len);
  if (!l->listener) return sluice_fail(err, SLUICE_USAGE, "cannot listen at %s: %s", where, strerror(errno));
  evconnlistener_set_error_cb(l->listener, on_accept_error);
  name_address(l, where);
  p->n_listeners++;
  return SLUICE_OK;
}

static void stop_listening(struct wire_proxy *p, bool admin_too) {
  for (size_t i = 0; i < p->n_listeners; i++) {
    struct proxy_listener *l = &p->listeners[i];
    if (!l->listener || (l->admin && !admin_too)) continue;
    evconnlistener_free(l->listener);
    l->listener = NULL;
    if (!strncmp(l->address, "unix:", 5)) unlink(l->address + 5);
  }
}

/* ---- the clock and the end ---- */

static void begin_drain(struct wire_proxy *p) {
  p->draining = true;
  p->drain_until_ns = clock_mono_ns() + p->o.drain_s * SECOND;
  stop_listening(p, false);
}

static void on_signal(evutil_socket_t number, short what, void *ctx) {
  struct wire_proxy *p = ctx;
  (void)number, (void)what;
  if (p->draining)
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
  for (struct client *c = p->clients, *next; c; c = next) {
    next = c->next;
    client_tick(c, now);
  }
  accept_again(p);
  if (!p->draining) return;
  if (now >= p->drain_until_ns) cut_streams(p);
  bool busy = false;
  for (const struct client *c = p->clients; c; c = c->next) busy |= !c->admin;
  if (!busy || now >= p->drain_until_ns + FLUSH_S * SECOND) event_base_loopbreak(p->loop);
}

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
  p->loop = event_base_new();
  if (!p->loop) return sluice_fail(err, SLUICE_NOMEM, "no event loop");
  p->clock = event_new(p->loop, -1, EV_PERSIST, on_clock, p);
  p->on_term = evsignal_new(p->loop, SIGTERM, on_signal, p);
  p->on_int = evsignal_new(p->loop, SIGINT, on_signal, p);
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
  raise_descriptors();
  sluice_status st = read_upstream(p, err);
  if (!st && curl_global_init(CURL_GLOBAL_DEFAULT)) st = sluice_fail(err, SLUICE_INTERNAL, "libcurl does not start");
  if (!st) st = open_loop(p, err);
  if (!st) st = upstream_open(p, &p->upstream, err);
  for (size_t i = 0; !st && i < o->n_listen; i++) st = listen_at(p, o->listen[i], false, err);
  if (!st && o->admin) st = listen_at(p, o->admin, true, err);
  if (!st) {
    *out = p;
    return SLUICE_OK;
  }
  wire_proxy_close(p);
  return st;
}

const char *wire_proxy_address(const struct wire_proxy *p, size_t i) {
  return i < p->n_listeners ? p->listeners[i].address : NULL;
}

sluice_status wire_proxy_run(struct wire_proxy *p, uint64_t *cut, struct sluice_error *err) {
  int ended = event_base_dispatch(p->loop);
  *cut = p->cut;
  return ended < 0 ? sluice_fail(err, SLUICE_IO, "the event loop ended: %s", strerror(errno)) : SLUICE_OK;
}

void wire_proxy_close(struct wire_proxy *p) {
  if (!p) return;
  stop_listening(p, true);
  while (p->clients) client_free(p->clients);
  upstream_close(p->upstream);
  if (p->clock) event_free(p->clock);
  if (p->on_term) event_free(p->on_term);
  if (p->on_int) event_free(p->on_int);
  if (p->loop) event_base_free(p->loop);
  free(p->base);
  free(p->prefix);
  free(p);
}
