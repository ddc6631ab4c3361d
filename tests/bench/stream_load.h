/* Load for proxies: an upstream that streams chat completions and a client that reads many of them, each one thread
 * with epoll. Every event is LOAD_EVENT bytes, is sent by a send of its own as an inference server does, in an HTTP
 * chunk of its own, and carries the time at which it was sent. Header only, because each bench program is one file. */
#ifndef SLUICE_TESTS_STREAM_LOAD_H
#define SLUICE_TESTS_STREAM_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LOAD_EVENT = 299, LOAD_CONNS_MAX = 16384, LOAD_READ = 64 << 10 };
#define LOAD_STAMP "\"created\":"       /* before the time: LOAD_EPOCH + nanoseconds of CLOCK_MONOTONIC, 18 digits */
#define LOAD_EPOCH 100000000000000000LL /* so that the number has 18 digits from the first second on */

static inline int64_t load_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void load_pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (core >= 0) sched_setaffinity(0, sizeof set, &set);
}

static inline struct sockaddr_in load_address(int port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A listening socket on 127.0.0.1; *port is set when it was 0. */
static inline int load_listen(int *port) {
  struct sockaddr_in a = load_address(*port);
  socklen_t len = sizeof a;
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&a, &len)) {
    close(fd);
    return -1;
  }
  *port = ntohs(a.sin_port);
  return fd;
}

/* ---- the upstream ---- */

struct load_stream {
  int fd, at; /* at: in the list of those under way; -1: not in it */
  bool asked, writable;
  char request[4096];
  size_t request_len;
  int64_t every_ns, next_ns; /* 0: as fast as the socket takes them */
  uint64_t events;
  char out[768];
  size_t out_len, out_at;
};
struct load_upstream {
  int listener, poll;
  struct load_stream *streams[LOAD_CONNS_MAX];
  int n;
};

/* Pieces of English of four bytes or so, one an event. */
static inline size_t load_piece(uint64_t i, char out[8]) {
  static const char text[] =
      "The harbour was quiet when the last boat came in. You are late, said the old man, and he took the rope from her "
      "hands without another word. Rain had been falling since noon; it ran down the windows of the customs house, "
      "where a single lamp was burning, and gathered in the ruts of the road that led up to the town. ";
  size_t at = (size_t)(i % ((sizeof text - 1) / 4)) * 4;
  memcpy(out, text + at, 4);
  return 4;
}

/* One chunk with one event of LOAD_EVENT bytes. */
static inline size_t load_event(uint64_t i, char *out, size_t size) {
  char piece[8], event[512];
  size_t n = load_piece(i, piece);
  int head = snprintf(event, sizeof event,
                      "data: {\"id\":\"chatcmpl-9f2b61c07d5e4a38\",\"object\":\"chat.completion.chunk\"," LOAD_STAMP
                      "%lld,\"model\":"
                      "\"example-8b-instruct\",\"choices\":[{\"index\":0,\"delta\":{"
                      "\"content\":\"%.*s\"},\"logprobs\":null,\"finish_reason\":null}],\"obfuscation\":\"",
                      LOAD_EPOCH + (long long)load_now(), (int)n, piece);
  static const char tail[] = "\"}\n\n";
  size_t pad = LOAD_EVENT - (size_t)head - (sizeof tail - 1);
  memset(event + head, 'x', pad);
  memcpy(event + head + pad, tail, sizeof tail);
  int all = snprintf(out, size, "%x\r\n%s\r\n", LOAD_EVENT, event);
  return (size_t)all;
}

static inline void load_stream_end(struct load_upstream *u, struct load_stream *s) {
  if (s->at >= 0) {
    u->streams[s->at] = u->streams[--u->n];
    u->streams[s->at]->at = s->at;
  }
  close(s->fd);
  free(s);
}

/* False when the stream has ended (and is freed). */
static inline bool load_stream_read(struct load_upstream *u, struct load_stream *s) {
  char drop[4096];
  for (;;) {
    bool room = !s->asked && s->request_len < sizeof s->request - 1;
    ssize_t got = room ? recv(s->fd, s->request + s->request_len, sizeof s->request - 1 - s->request_len, 0)
                       : recv(s->fd, drop, sizeof drop, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      load_stream_end(u, s);
      return false;
    }
    if (!room) continue;
    s->request_len += (size_t)got;
    s->request[s->request_len] = '\0';
    const char *rate = strstr(s->request, "?rate="), *end = strstr(s->request, "\r\n\r\n");
    if (!end || !rate || u->n == LOAD_CONNS_MAX) continue;
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: "
        "chunked\r\n\r\n";
    double hz = strtod(rate + 6, NULL);
    s->asked = true;
    s->every_ns = hz > 0 ? (int64_t)(1e9 / hz) : 0;
    s->next_ns = load_now();
    if (s->every_ns) /* on one grid for all contenders: how many events meet in one waking is most of what an event
                        costs */
      s->next_ns += s->every_ns - s->next_ns % s->every_ns +
                    (int64_t)((uint64_t)(u->n + 1) * 7919 * 1000 % (uint64_t)s->every_ns);
    memcpy(s->out, head, sizeof head - 1);
    s->out_len = sizeof head - 1;
    s->at = u->n;
    u->streams[u->n++] = s;
  }
}

/* Sends what waits, then one event if it is due. Returns how many events were sent; -1 when the stream has ended. */
static inline int load_stream_write(struct load_upstream *u, struct load_stream *s, int64_t now) {
  if (!s->writable) return 0;
  if (s->out_at == s->out_len) {
    if (s->every_ns && now < s->next_ns) return 0;
    s->next_ns += s->every_ns;
    s->out_len = load_event(s->events++, s->out, sizeof s->out);
    s->out_at = 0;
  }
  ssize_t sent = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) {
    s->writable = false;
    return 0;
  }
  if (sent < 0) {
    load_stream_end(u, s);
    return -1;
  }
  s->out_at += (size_t)sent;
  return s->out_at == s->out_len;
}

static inline void load_upstream_accept(struct load_upstream *u) {
  int one = 1, fd;
  while ((fd = accept4(u->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct load_stream *s = calloc(1, sizeof *s);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = s};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->fd = fd;
    s->at = -1;
    epoll_ctl(u->poll, EPOLL_CTL_ADD, fd, &e);
  }
}

static inline void load_upstream_poll(struct load_upstream *u, int64_t wait_ns) {
  static struct epoll_event events[1024];
  struct timespec t = {wait_ns / 1000000000, wait_ns % 1000000000};
  int n = epoll_pwait2(u->poll, events, 1024, &t, NULL);
  for (int i = 0; i < n; i++) {
    struct load_stream *s = events[i].data.ptr;
    if (!s) {
      load_upstream_accept(u);
      continue;
    }
    if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) && !load_stream_read(u, s)) continue;
    if (events[i].events & EPOLLOUT) s->writable = true;
  }
}

/* Serves until it is killed. */
static inline void load_upstream_serve(int listener) {
  static struct load_upstream u;
  u.listener = listener;
  u.poll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(u.poll, EPOLL_CTL_ADD, listener, &e);
  for (;;) {
    int64_t now = load_now(), next = now + 100000000;
    bool any = false;
    for (int i = u.n - 1; i >= 0; i--) {
      struct load_stream *s = u.streams[i];
      int sent = load_stream_write(&u, s, now);
      if (sent < 0) continue;
      any |= sent > 0 && !s->every_ns;
      if (s->writable && s->every_ns && s->next_ns < next) next = s->next_ns;
    }
    int64_t left = next - load_now();
    load_upstream_poll(&u, any || left < 0 ? 0 : left);
  }
}

/* ---- the client ---- */

struct load_reader {
  int fd;
  char tail[64]; /* bytes that may begin a stamp which the next read ends */
  size_t tail_len;
};
struct load_client {
  int poll, n;
  struct load_reader *readers;
  uint64_t events, bytes, ended;
  uint32_t *latency_ns; /* of each event, when asked for */
  size_t n_latency, cap_latency;
};

static inline int load_dial(int port, const char *target) {
  struct sockaddr_in a = load_address(port);
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
    close(fd);
    return -1;
  }
  char request[512];
  static const char body[] = "{\"model\":\"example-8b\",\"stream\":true,\"messages\":[]}";
  int n = snprintf(request, sizeof request,
                   "POST /v1/chat/completions%s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   target, sizeof body - 1, body);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
    close(fd);
    return -1;
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

/* Opens n streams of hz events a second (0: a flood). False when one cannot be opened. */
static inline bool load_client_open(struct load_client *c, int port, int n, double hz) {
  char target[64];
  snprintf(target, sizeof target, "?rate=%g", hz);
  *c = (struct load_client){.poll = epoll_create1(EPOLL_CLOEXEC), .readers = calloc((size_t)n, sizeof *c->readers)};
  for (; c->readers && c->n < n; c->n++) {
    struct load_reader *r = &c->readers[c->n];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = r};
    r->fd = load_dial(port, target);
    if (r->fd < 0) return false;
    epoll_ctl(c->poll, EPOLL_CTL_ADD, r->fd, &e);
  }
  return c->readers != NULL;
}

static inline void load_client_close(struct load_client *c) {
  for (int i = 0; i < c->n; i++)
    if (c->readers[i].fd >= 0) close(c->readers[i].fd);
  close(c->poll);
  free(c->readers);
  free(c->latency_ns);
}

static inline void load_client_note(struct load_client *c, int64_t ns) {
  if (c->n_latency == c->cap_latency) return;
  c->latency_ns[c->n_latency++] = ns < 0 ? 0 : ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static inline void load_reader_take(struct load_client *c, struct load_reader *r, char *bytes, size_t n, int64_t now) {
  enum { STAMP = sizeof LOAD_STAMP - 1, WHOLE = STAMP + 18 };
  char *at = bytes, *end = bytes + n;
  while ((at = memmem(at, (size_t)(end - at), LOAD_STAMP, STAMP)) && end - at >= WHOLE) {
    c->events++;
    if (c->cap_latency) {
      char digits[19];
      memcpy(digits, at + STAMP, 18);
      digits[18] = '\0';
      load_client_note(c, now - (strtoll(digits, NULL, 10) - LOAD_EPOCH));
    }
    at += WHOLE;
  }
  size_t keep = at ? (size_t)(end - at) : n < STAMP - 1 ? n : STAMP - 1;
  memcpy(r->tail, end - keep, keep);
  r->tail_len = keep;
}

/* Reads for this long; *first_ns, where not NULL: when every stream had brought an event. */
static inline void load_client_run(struct load_client *c, int64_t for_ns) {
  static char bytes[LOAD_READ + 64];
  static struct epoll_event events[1024];
  int64_t until = load_now() + for_ns;
  for (int64_t now = load_now(); now < until; now = load_now()) {
    int n = epoll_wait(c->poll, events, 1024, (int)((until - now) / 1000000 + 1));
    for (int i = 0; i < n; i++) {
      struct load_reader *r = events[i].data.ptr;
      memcpy(bytes, r->tail, r->tail_len);
      ssize_t got = recv(r->fd, bytes + r->tail_len, LOAD_READ, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got <= 0) {
        close(r->fd);
        r->fd = -1;
        c->ended++;
        continue;
      }
      c->bytes += (uint64_t)got;
      load_reader_take(c, r, bytes, r->tail_len + (size_t)got, load_now());
    }
  }
}

static inline int load_compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}
/* In microseconds; the samples are put in order. */
static inline double load_client_percentile(struct load_client *c, double share) {
  if (!c->n_latency) return -1;
  qsort(c->latency_ns, c->n_latency, sizeof *c->latency_ns, load_compare);
  return c->latency_ns[(size_t)(share * (double)(c->n_latency - 1))] / 1e3;
}

#endif
