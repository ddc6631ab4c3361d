/* Where a server listens, and the clock over its connections. */
#include "wire/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len, void *ctx) {
  struct server_listener *l = ctx;
  struct server *s = l->server;
  (void)listener, (void)from, (void)len;
  client_accept(s, fd, l->admin, l->tls);
  if (s->full || s->n_clients < s->max_clients) return;
  s->full = true;
  for (size_t i = 0; i < s->n_listeners; i++)
    if (s->listeners[i].listener && !s->listeners[i].admin) evconnlistener_disable(s->listeners[i].listener);
}

/* Out of descriptors, most likely: a rest, or the loop would spin. The clock ends it. */
static void on_accept_error(struct evconnlistener *listener, void *ctx) {
  struct server_listener *l = ctx;
  l->server->full = true;
  evconnlistener_disable(listener);
}

static void accept_again(struct server *s) {
  if (!s->full || s->draining || s->n_clients >= s->max_clients) return;
  s->full = false;
  for (size_t i = 0; i < s->n_listeners; i++)
    if (s->listeners[i].listener) evconnlistener_enable(s->listeners[i].listener);
}

/* A socket that nobody answers on is left from a process that was killed; one in use is not ours to take. */
static sluice_status clear_stale(const struct sockaddr_un *a, struct sluice_error *err) {
  struct stat there;
  if (lstat(a->sun_path, &there) != 0) return SLUICE_OK;
  if (!S_ISSOCK(there.st_mode)) return sluice_fail(err, SLUICE_USAGE, "--listen unix:%s: a file is there", a->sun_path);
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

static void name_address(struct server_listener *l, const char *asked) {
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

sluice_status server_listen(struct server *s, const char *where, bool admin, struct sluice_error *err) {
  struct sockaddr_storage a;
  int len = 0;
  if (s->n_listeners == SERVER_LISTENERS_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "more than %d places to listen", SERVER_LISTENERS_MAX);
  sluice_status st = parse_address(where, &a, &len, err);
  if (st) return st;
  struct server_listener *l = &s->listeners[s->n_listeners];
  *l = (struct server_listener){.server = s, .admin = admin, .tls = s->tls && !admin && a.ss_family != AF_UNIX};
  unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
  if (s->reuse_port && a.ss_family != AF_UNIX) flags |= LEV_OPT_REUSEABLE_PORT;
  errno = 0;
  l->listener = evconnlistener_new_bind(s->loop, on_accept, l, flags, 1024, (struct sockaddr *)(void *)&a, len);
  if (!l->listener) return sluice_fail(err, SLUICE_USAGE, "cannot listen at %s: %s", where, strerror(errno));
  evconnlistener_set_error_cb(l->listener, on_accept_error);
  name_address(l, where);
  s->n_listeners++;
  return SLUICE_OK;
}

/* Each thread has its own queue of connections (SO_REUSEPORT); a socket file has one, which all take from. */
sluice_status server_listen_with(struct server *s, const struct server *from, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < from->n_listeners; i++) {
    const struct server_listener *theirs = &from->listeners[i];
    if (theirs->admin) continue;
    if (strncmp(theirs->address, "unix:", 5) != 0) {
      st = server_listen(s, theirs->address, false, err);
      continue;
    }
    struct server_listener *l = &s->listeners[s->n_listeners];
    *l = (struct server_listener){.server = s, .shared = true};
    snprintf(l->address, sizeof l->address, "%s", theirs->address);
    int fd = fcntl(evconnlistener_get_fd(theirs->listener), F_DUPFD_CLOEXEC, 0);
    if (fd >= 0) l->listener = evconnlistener_new(s->loop, on_accept, l, LEV_OPT_CLOSE_ON_FREE, 0, fd);
    if (!l->listener) {
      if (fd >= 0) close(fd);
      return sluice_fail(err, SLUICE_IO, "cannot listen at %s with another thread: %s", l->address, strerror(errno));
    }
    evconnlistener_set_error_cb(l->listener, on_accept_error);
    s->n_listeners++;
  }
  return st;
}

void server_stop_listening(struct server *s, bool admin_too) {
  for (size_t i = 0; i < s->n_listeners; i++) {
    struct server_listener *l = &s->listeners[i];
    if (!l->listener || (l->admin && !admin_too)) continue;
    evconnlistener_free(l->listener);
    l->listener = NULL;
    if (!l->shared && !strncmp(l->address, "unix:", 5)) unlink(l->address + 5);
  }
}

/* ---- the clock ---- */

void server_tick(struct server *s, int64_t now) {
  for (struct client *c = s->clients, *next; c; c = next) {
    next = c->next;
    client_tick(c, now);
  }
  accept_again(s);
}

bool server_busy(const struct server *s) {
  bool busy = false;
  for (const struct client *c = s->clients; c; c = c->next) busy |= !c->admin;
  return busy;
}

void server_free_clients(struct server *s) {
  while (s->clients) client_free(s->clients);
}
