/* A scripted HTTP server on 127.0.0.1 for tests of what speaks HTTP. The script is a function: it sees each request and
 * sends, waits, resets or hangs up as it likes, so that a test can split a frame anywhere or fall silent in the middle.
 * One connection at a time, one request a connection. Header only, because each test program is one file. */
#ifndef SLUICE_TESTS_LOOPBACK_SERVER_H
#define SLUICE_TESTS_LOOPBACK_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOOPBACK_REQUESTS 64
#define LOOPBACK_REQUEST_BYTES ((size_t)1 << 20)

struct loopback;
/* Called on the server's thread for request number `n` (from 0). request: head and body, NUL-terminated. */
typedef void (*loopback_script)(struct loopback *l, void *ctx, int n, const char *request);

struct loopback {
  int listener, peer;
  int port;
  pthread_t thread;
  loopback_script script;
  void *ctx;
  pthread_mutex_t lock;
  int n;
  char *requests[LOOPBACK_REQUESTS];
  int64_t at_ns[LOOPBACK_REQUESTS];
  bool gone[LOOPBACK_REQUESTS]; /* the client hung up while the script waited */
  bool stopping;
};

static inline int64_t loopback_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- what a script calls -------------------------------------------------------------------------------------- */
static inline void loopback_send_bytes(struct loopback *l, const void *bytes, size_t len) {
  const char *p = bytes;
  while (len > 0 && l->peer >= 0) {
    ssize_t n = send(l->peer, p, len, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return; /* the client left: that is its right */
    p += n;
    len -= (size_t)n;
  }
}
static inline void loopback_send(struct loopback *l, const char *text) {
  loopback_send_bytes(l, text, strlen(text));
}
/* Every byte in a packet of its own: the hardest split. */
static inline void loopback_send_dripping(struct loopback *l, const char *text) {
  for (; *text != '\0'; text++) loopback_send_bytes(l, text, 1);
}
/* Waits, but no longer than until the client hangs up. */
static inline void loopback_wait(struct loopback *l, int ms) {
  int64_t until = loopback_now_ns() + (int64_t)ms * 1000000;
  for (;;) {
    int64_t left = (until - loopback_now_ns()) / 1000000;
    struct pollfd p = {.fd = l->peer, .events = POLLIN | POLLRDHUP};
    char c;
    if (left <= 0 || __atomic_load_n(&l->stopping, __ATOMIC_ACQUIRE)) return;
    if (poll(&p, 1, left < 20 ? (int)left : 20) > 0 && recv(l->peer, &c, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
      pthread_mutex_lock(&l->lock);
      l->gone[l->n - 1] = true;
      pthread_mutex_unlock(&l->lock);
      return;
    }
  }
}
/* RST instead of FIN. */
static inline void loopback_reset(struct loopback *l) {
  struct linger hard = {.l_onoff = 1, .l_linger = 0};
  setsockopt(l->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(l->peer);
  l->peer = -1;
}
static inline void loopback_event_stream(struct loopback *l) {
  loopback_send(l, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
}
static inline void loopback_status(struct loopback *l, const char *status, const char *headers, const char *body) {
  char head[512];
  snprintf(head, sizeof head,
           "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n",
           status, strlen(body), headers);
  loopback_send(l, head);
  loopback_send(l, body);
}

/* ---- what a test calls ---------------------------------------------------------------------------------------- */
static inline bool loopback_complete(const char *request, size_t len) {
  const char *body = memmem(request, len, "\r\n\r\n", 4);
  if (body == NULL) return false;
  size_t head = (size_t)(body - request) + 4;
  const char *length = strcasestr(request, "\r\nContent-Length:");
  return length == NULL || length > body || len - head >= strtoul(length + 17, NULL, 10);
}

static inline char *loopback_read(int fd) {
  char *request = malloc(LOOPBACK_REQUEST_BYTES + 1);
  size_t len = 0;
  while (request != NULL && len < LOOPBACK_REQUEST_BYTES) {
    ssize_t n = recv(fd, request + len, LOOPBACK_REQUEST_BYTES - len, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    len += (size_t)n;
    request[len] = '\0';
    if (loopback_complete(request, len)) return request;
  }
  free(request);
  return NULL;
}

static inline void *loopback_serve(void *arg) {
  struct loopback *l = arg;
  while (!__atomic_load_n(&l->stopping, __ATOMIC_ACQUIRE)) {
    struct pollfd p = {.fd = l->listener, .events = POLLIN};
    if (poll(&p, 1, 20) <= 0) continue;
    l->peer = accept(l->listener, NULL, NULL);
    if (l->peer < 0) continue;
    int one = 1;
    setsockopt(l->peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char *request = loopback_read(l->peer);
    if (request != NULL && l->n < LOOPBACK_REQUESTS) {
      pthread_mutex_lock(&l->lock);
      int n = l->n++;
      l->requests[n] = request;
      l->at_ns[n] = loopback_now_ns();
      pthread_mutex_unlock(&l->lock);
      l->script(l, l->ctx, n, request);
    } else {
      free(request);
    }
    if (l->peer >= 0) {
      shutdown(l->peer, SHUT_WR);
      close(l->peer);
    }
  }
  return NULL;
}

/* NULL when no port can be had. */
static inline struct loopback *loopback_start(loopback_script script, void *ctx) {
  struct loopback *l = calloc(1, sizeof *l);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  if (l == NULL) return NULL;
  l->script = script;
  l->ctx = ctx;
  l->peer = -1;
  l->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  pthread_mutex_init(&l->lock, NULL);
  if (l->listener < 0 || bind(l->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(l->listener, 16) != 0 ||
      getsockname(l->listener, (struct sockaddr *)&a, &len) != 0 ||
      pthread_create(&l->thread, NULL, loopback_serve, l) != 0) {
    if (l->listener >= 0) close(l->listener);
    free(l);
    return NULL;
  }
  l->port = ntohs(a.sin_port);
  return l;
}

static inline int loopback_requests(struct loopback *l) {
  pthread_mutex_lock(&l->lock);
  int n = l->n;
  pthread_mutex_unlock(&l->lock);
  return n;
}

static inline bool loopback_client_left(struct loopback *l, int request) {
  pthread_mutex_lock(&l->lock);
  bool gone = l->gone[request];
  pthread_mutex_unlock(&l->lock);
  return gone;
}

static inline void loopback_stop(struct loopback *l) {
  if (l == NULL) return;
  __atomic_store_n(&l->stopping, true, __ATOMIC_RELEASE);
  pthread_join(l->thread, NULL);
  close(l->listener);
  for (int i = 0; i < l->n; i++) free(l->requests[i]);
  pthread_mutex_destroy(&l->lock);
  free(l);
}

#endif
