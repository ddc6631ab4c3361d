/* A scripted server on 127.0.0.1 for tests of the proxy: one thread a connection, many at a time. The query of the
 * request's target ("?s=NAME") names the script. tests/loopback_server.h serves one connection at a time. Header only,
 * because each test program is one file. */
#ifndef SLUICE_TESTS_PROXY_UPSTREAM_H
#define SLUICE_TESTS_PROXY_UPSTREAM_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { VISITS_MAX = 512, VISIT_BYTES = 1 << 20 };
struct visit {
  int fd;
  char script[32];
  char *request; /* head and body, NUL-terminated */
  size_t len;
  _Atomic int64_t gone_ns; /* when the proxy's end was seen to close; 0: not */
  _Atomic size_t sent;
  atomic_bool named, ended; /* named: script may be read by others */
  bool reset;               /* the script wants the connection to end in a reset */
  void (*play)(struct visit *v);
};
struct proxy_upstream {
  int listener, port;
  pthread_t thread;
  atomic_bool stopping;
  atomic_int n;
  struct visit visits[VISITS_MAX];
  void (*play)(struct visit *v);
};

static inline int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline void sleep_ms(int ms) {
  struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&t, NULL);
}

/* False when the other side has gone. */
static inline bool visit_send(struct visit *v, const void *bytes, size_t len) {
  const char *p = bytes;
  while (len) {
    ssize_t n = send(v->fd, p, len, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (!v->gone_ns) v->gone_ns = now_ns();
      return false;
    }
    p += n;
    len -= (size_t)n;
    v->sent += (size_t)n;
  }
  return true;
}
static inline bool visit_say(struct visit *v, const char *text) {
  return visit_send(v, text, strlen(text));
}
/* In pieces of `step` bytes, so that nothing arrives as it was framed. */
static inline bool visit_say_cut(struct visit *v, const char *text, size_t step) {
  for (size_t at = 0, len = strlen(text); at < len; at += step) {
    if (!visit_send(v, text + at, len - at < step ? len - at : step)) return false;
    if (at / step % 8 == 0) sleep_ms(1);
  }
  return true;
}
/* Waits until the other side closes; false after `ms`. */
static inline bool visit_await_end(struct visit *v, int ms) {
  struct pollfd p = {.fd = v->fd, .events = POLLIN | POLLRDHUP};
  char byte;
  for (int64_t until = now_ns() + (int64_t)ms * 1000000; now_ns() < until;) {
    if (poll(&p, 1, 20) > 0 && recv(v->fd, &byte, 1, MSG_DONTWAIT) <= 0) {
      v->gone_ns = now_ns();
      return true;
    }
  }
  return false;
}

static inline bool visit_read(struct visit *v) {
  v->request = calloc(1, VISIT_BYTES + 1);
  while (v->request && v->len < VISIT_BYTES) {
    ssize_t n = recv(v->fd, v->request + v->len, VISIT_BYTES - v->len, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    v->len += (size_t)n;
    const char *body = memmem(v->request, v->len, "\r\n\r\n", 4);
    if (!body) continue;
    const char *length = strstr(v->request, "\r\nContent-Length: ");
    size_t want = length && length < body ? strtoul(length + 18, NULL, 10) : 0;
    if (v->len - (size_t)(body + 4 - v->request) >= want) return true;
  }
  return false;
}

static inline void *visit_thread(void *arg) {
  struct visit *v = arg;
  if (visit_read(v)) {
    const char *query = strstr(v->request, "?s=");
    const char *line = strstr(v->request, "\r\n");
    if (query && query < line) snprintf(v->script, sizeof v->script, "%.*s", (int)strcspn(query + 3, " &"), query + 3);
    v->named = true;
    v->play(v);
  }
  struct linger at_once = {1, 0};
  if (v->reset)
    setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  else
    shutdown(v->fd, SHUT_WR);
  close(v->fd);
  v->ended = true;
  return NULL;
}

static inline void *proxy_upstream_thread(void *arg) {
  struct proxy_upstream *u = arg;
  while (!u->stopping) {
    struct pollfd p = {.fd = u->listener, .events = POLLIN};
    int one = 1;
    pthread_t thread;
    if (poll(&p, 1, 20) <= 0) continue;
    int fd = accept(u->listener, NULL, NULL);
    if (fd < 0 || u->n == VISITS_MAX) continue;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct visit *v = &u->visits[u->n];
    v->fd = fd;
    v->play = u->play;
    u->n++;
    if (pthread_create(&thread, NULL, visit_thread, v) == 0) pthread_detach(thread);
  }
  return NULL;
}

static inline bool proxy_upstream_start(struct proxy_upstream *u, void (*play)(struct visit *v)) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  u->play = play;
  u->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (u->listener < 0 || bind(u->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(u->listener, 256) != 0 ||
      getsockname(u->listener, (struct sockaddr *)&a, &len) != 0)
    return false;
  u->port = ntohs(a.sin_port);
  return pthread_create(&u->thread, NULL, proxy_upstream_thread, u) == 0;
}

static inline bool visit_is(const struct visit *v, const char *script) {
  return v->named && strcmp(v->script, script) == 0;
}

/* The newest visit with this script; waits for it up to 3 s. */
static inline struct visit *proxy_upstream_visit(struct proxy_upstream *u, const char *script) {
  for (int64_t until = now_ns() + 3000000000LL; now_ns() < until; sleep_ms(5))
    for (int i = u->n - 1; i >= 0; i--)
      if (visit_is(&u->visits[i], script)) return &u->visits[i];
  return NULL;
}

#endif
