/* A client of raw sockets for tests of HTTP on 127.0.0.1: sends what it is given, hears until the other side closes or
 * the time is over. Stands on proxy_upstream.h for clocks. */
#ifndef SLUICE_TESTS_RAW_CLIENT_H
#define SLUICE_TESTS_RAW_CLIENT_H

#include "tests/proxy_upstream.h"

static int dial(int port) {
  struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 16 << 10;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
  close(fd);
  return -1;
}

/* All that comes until the other side closes, or `ms` have passed. NUL-terminated; freed by the caller. */
static char *hear(int fd, int ms, size_t *len) {
  size_t cap = 1 << 20;
  char *all = malloc(cap + 1);
  *len = 0;
  for (int64_t until = now_ns() + (int64_t)ms * 1000000; now_ns() < until && *len < cap;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 50) <= 0) continue;
    ssize_t n = recv(fd, all + *len, cap - *len, 0);
    if (n <= 0) break;
    *len += (size_t)n;
  }
  all[*len] = '\0';
  return all;
}

static char *talk_to(int fd, const char *request, size_t len, int ms) {
  size_t n = 0;
  if (fd < 0) return strdup("(no connection)");
  if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len) { /* refused early: the answer is what counts */
  }
  char *all = hear(fd, ms, &n);
  close(fd);
  return all;
}
static char *talk(int port, const char *request) {
  return talk_to(dial(port), request, strlen(request), 5000);
}
static inline void ask(char *out, size_t size, const char *path, const char *script) {
  snprintf(
      out, size,
      "POST %s?s=%s HTTP/1.1\r\nHost: me\r\nAccept-Encoding: gzip\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
      path, script);
}
static inline char *chat(int port, const char *script) {
  char request[512];
  ask(request, sizeof request, "/v1/chat/completions", script);
  return talk(port, request);
}

/* The body, with its chunks joined in place; NULL when it is not whole. */
static inline char *body_of(char *answer) {
  char *body = strstr(answer, "\r\n\r\n"), *out, *from;
  if (!body) return NULL;
  bool chunked = memmem(answer, (size_t)(body - answer), "Transfer-Encoding: chunked", 26) != NULL;
  body += 4;
  if (!chunked) return body;
  for (out = from = body;;) {
    char *end = NULL;
    size_t n = strtoul(from, &end, 16);
    if (end == from || strncmp(end, "\r\n", 2)) return NULL;
    if (n == 0) break;
    if (strlen(end + 2) < n) return NULL;
    memmove(out, end + 2, n);
    out += n;
    from = end + 2 + n + 2;
  }
  *out = '\0';
  return body;
}
static bool has(const char *text, const char *part) {
  return text && strstr(text, part) != NULL;
}

#endif
