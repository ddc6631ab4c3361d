/* One client's connection: requests in, answers out. */
#include "wire/server.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define HEAD_S 10
#define BODY_S 60
#define KEEP_S 75
#define WRITE_S 120 /* a client that takes nothing for this long is gone */
#define LINGER_S 2
enum { CLIENT_BYTES = 8 << 10 }; /* what one costs besides its buffers */

static void wait_for(struct client *c, enum client_state state, int64_t seconds) {
  c->state = state;
  c->deadline_ns = seconds ? clock_mono_ns() + seconds * SECOND : 0;
}

size_t client_backlog(const struct client *c) {
  return c->backlog;
}

static void put(struct client *c, const void *bytes, size_t n) {
  if (client_backlog(c) == 0) c->moved_ns = clock_mono_ns();
  /* Only memory can fail here: then the answer stays visibly unfinished. */
  if (bufferevent_write(c->bev, bytes, n)) c->keep_alive = false;
}

/* ---- memory ---- */

static void charge(struct server *s, size_t more, size_t less) {
  if (!s->memory || more == less) return;
  if (more > less)
    atomic_fetch_add_explicit(s->memory, more - less, memory_order_relaxed);
  else
    atomic_fetch_sub_explicit(s->memory, less - more, memory_order_relaxed);
}

static void charge_body(struct client *c, size_t now) {
  charge(c->server, now, c->charged);
  c->charged = now;
}

static bool memory_is_spent(const struct server *s, size_t more) {
  return s->memory && s->max_memory && atomic_load_explicit(s->memory, memory_order_relaxed) + more > s->max_memory;
}

/* What waits to be read is bounded here: libevent's own high watermark (2.1.12) crashes when there is no memory for it.
 */
static void bound_input(struct client *c, const struct evbuffer *in) {
  bool full = evbuffer_get_length(in) >= 2 * SERVER_HEAD_MAX;
  if (full == c->resting) return;
  c->resting = full;
  if (full)
    bufferevent_disable(c->bev, EV_READ);
  else
    bufferevent_enable(c->bev, EV_READ);
}

static void on_moved(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *ctx) {
  struct client *c = ctx;
  charge(c->server, info->n_added, info->n_deleted);
  if (buffer == bufferevent_get_input(c->bev)) {
    bound_input(c, buffer);
    return;
  }
  c->backlog = info->orig_size + info->n_added - info->n_deleted;
  if (info->n_deleted) c->moved_ns = clock_mono_ns();
}

/* ---- the end of a connection ---- */

void client_free(struct client *c) {
  struct server *s = c->server;
  if (c->call) s->hooks->left(c);
  if (c->prev)
    c->prev->next = c->next;
  else
    s->clients = c->next;
  if (c->next) c->next->prev = c->prev;
  charge(s, 0, client_backlog(c) + evbuffer_get_length(bufferevent_get_input(c->bev)) + CLIENT_BYTES);
  evbuffer_remove_cb(bufferevent_get_output(c->bev), on_moved, c);
  evbuffer_remove_cb(bufferevent_get_input(c->bev), on_moved, c);
  charge_body(c, 0);
  bufferevent_free(c->bev);
  buffer_free(&c->head_bytes);
  buffer_free(&c->body);
  free(c);
  s->n_clients--;
}

/* The other side is told, then its last bytes are read and dropped: closing at once would reset the connection, and the
 * answer could be lost with it. */
static void shut(struct client *c) {
  if (c->shut) return;
  c->shut = true;
  if (c->tls) tls_say_goodbye(c->bev);
  shutdown(bufferevent_getfd(c->bev), SHUT_WR);
  wait_for(c, CLIENT_CLOSING, LINGER_S);
}

static void close_soon(struct client *c) {
  wait_for(c, CLIENT_CLOSING, 0);
  bufferevent_enable(c->bev, EV_READ);
  if (client_backlog(c) == 0) shut(c);
}

/* A reset: where the end of the connection is the end of the answer, nothing else says that it is not whole. The clock
 * frees the client, as the caller may stand inside its callbacks. */
void client_abort(struct client *c) {
  struct linger at_once = {1, 0};
  setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  c->call = NULL;
  c->state = CLIENT_CLOSING;
  c->shut = true;
  c->deadline_ns = clock_mono_ns();
}

/* ---- answers ---- */

void client_begin(struct client *c, int status, const char *reason, struct slice fields, int64_t length) {
  char line[192];
  bool bodyless = status == 204 || status == 304 || status < 200;
  c->chunked = length < 0 && !bodyless && !c->head_only && c->head.minor == 1;
  if (length < 0 && !bodyless && !c->head_only && !c->chunked) c->keep_alive = false;
  if (c->server->draining) c->keep_alive = false;
  int n = snprintf(line, sizeof line, "HTTP/1.1 %03d %s\r\n", status, reason && *reason ? reason : http_reason(status));
  if (n < 0 || (size_t)n >= sizeof line) n = snprintf(line, sizeof line, "HTTP/1.1 %03d \r\n", status);
  put(c, line, (size_t)n);
  if (fields.len) put(c, fields.ptr, fields.len);
  n = 0;
  if (c->chunked)
    n = snprintf(line, sizeof line, "Transfer-Encoding: chunked\r\n");
  else if (length >= 0 && (!bodyless || status == 304))
    n = snprintf(line, sizeof line, "Content-Length: %" PRId64 "\r\n", length);
  put(c, line, (size_t)n);
  const char *last = !c->keep_alive       ? "Connection: close\r\n\r\n"
                     : c->head.minor == 0 ? "Connection: keep-alive\r\n\r\n"
                                          : "\r\n";
  put(c, last, strlen(last));
}

static size_t chunk_head(size_t n, char out[24]) {
  static const char digits[] = "0123456789abcdef";
  char reversed[16];
  size_t len = 0, at = 0;
  do reversed[len++] = digits[n % 16];
  while (n /= 16);
  while (len) out[at++] = reversed[--len];
  out[at++] = '\r';
  out[at++] = '\n';
  return at;
}

/* Straight to the socket where nothing waits before it: a bufferevent would ask the kernel to be woken, be woken, write
 * and ask not to be woken again. Returns how many bytes it took; an error shows when the rest is written. */
static size_t write_now(struct client *c, const struct iovec *parts, size_t n) {
  struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = n};
  if (c->tls || client_backlog(c)) return 0;
  ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent > 0 ? (size_t)sent : 0;
}

void client_body(struct client *c, struct slice bytes) {
  char head[24];
  if (bytes.len == 0 || c->head_only) return;
  struct iovec parts[3] = {{head, c->chunked ? chunk_head(bytes.len, head) : 0},
                           {(char *)(uintptr_t)bytes.ptr, bytes.len},
                           {(char *)(uintptr_t) "\r\n", c->chunked ? 2 : 0}};
  size_t taken = write_now(c, parts, 3);
  for (size_t i = 0; i < 3; i++) {
    size_t skip = taken < parts[i].iov_len ? taken : parts[i].iov_len;
    taken -= skip;
    if (parts[i].iov_len > skip) put(c, (char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
  }
}

void client_end(struct client *c) {
  if (c->chunked) put(c, "0\r\n\r\n", 5);
  c->call = NULL;
  c->chunked = false;
  buffer_free(&c->body);
  charge_body(c, 0);
  buffer_free(&c->head_bytes);
  if (!c->keep_alive || c->server->draining) {
    close_soon(c);
    return;
  }
  wait_for(c, CLIENT_HEAD, KEEP_S);
  bufferevent_trigger(c->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

static void answer(struct client *c, int status, const char *type, bool across, struct slice body) {
  static const struct cors none = {NULL, 0};
  const struct cors *cors = c->server->cors ? c->server->cors : &none;
  struct buffer fields;
  struct sluice_error ignored = {0};
  buffer_init(&fields, SERVER_HEAD_MAX);
  sluice_status st = buffer_printf(&fields, &ignored, "Content-Type: %s\r\nCache-Control: no-store\r\n", type);
  if (!st && across) st = cors_fields(cors, &c->head, true, &fields, &ignored);
  client_begin(c, status, NULL, (struct slice){st ? "" : fields.ptr, st ? 0 : fields.len}, (int64_t)body.len);
  buffer_free(&fields);
  client_body(c, body);
  client_end(c);
}

void client_answer(struct client *c, int status, const char *type, struct slice body) {
  answer(c, status, type, status >= 400, body);
}

void client_answer_across(struct client *c, int status, const char *type, struct slice body) {
  answer(c, status, type, true, body);
}

bool client_preflight(struct client *c) {
  struct buffer fields;
  buffer_init(&fields, 2 * SERVER_HEAD_MAX);
  bool here = c->server->cors && cors_preflight(c->server->cors, &c->head, &fields);
  if (here) {
    client_begin(c, 204, NULL, (struct slice){fields.len ? fields.ptr : "", fields.len}, 0);
    client_end(c);
  }
  buffer_free(&fields);
  return here;
}

void client_refuse(struct client *c, int status, const char *code, const char *message) {
  struct buffer body;
  struct sluice_error ignored = {0};
  buffer_init(&body, 16 << 10);
  sluice_status st = c->server->hooks->error_body(c, status, code, message, &body, &ignored);
  struct slice bytes = st ? slice_of("{\"error\":{\"message\":\"no memory\"}}") : (struct slice){body.ptr, body.len};
  client_answer(c, status, "application/json", bytes);
  buffer_free(&body);
}

/* ---- requests ---- */

static void refuse_message(struct client *c, int status) {
  static const char *const words[] = {"the request is malformed", "the request is larger than this server takes",
                                      "the request did not come in time", "this server does not read such requests",
                                      "no memory for the request"};
  int at = status == 413 || status == 431   ? 1
           : status == 408                  ? 2
           : status == 501 || status == 505 ? 3
           : status == 503                  ? 4
                                            : 0;
  c->keep_alive = false;
  c->server->refused++;
  client_refuse(c, status, "bad_request", words[at]);
}

/* Returns 0 when a head was taken, -1 when more bytes are needed, else the status to refuse with. */
static int take_head(struct client *c) {
  struct evbuffer *in = bufferevent_get_input(c->bev);
  struct sluice_error ignored = {0};
  size_t have = evbuffer_get_length(in), used = 0;
  if (have == 0) return -1;
  if (have > SERVER_HEAD_MAX) have = SERVER_HEAD_MAX;
  const unsigned char *bytes = evbuffer_pullup(in, (ev_ssize_t)have);
  if (!bytes) return 503;
  const char *end = memmem(bytes, have, "\r\n\r\n", 4);
  if (!end && have < SERVER_HEAD_MAX) {
    if (c->head_bytes.len == 0 && c->deadline_ns) { /* its first bytes: from here on it must be quick */
      if (buffer_append(&c->head_bytes, "", 1, &ignored)) return 503;
      wait_for(c, CLIENT_HEAD, HEAD_S);
    }
    return -1;
  }
  buffer_clear(&c->head_bytes);
  if (buffer_append(&c->head_bytes, bytes, have, &ignored)) return 503;
  int status = http_head_parse((struct slice){c->head_bytes.ptr, c->head_bytes.len}, &c->head, &used);
  if (!status && !used) status = have == SERVER_HEAD_MAX ? 431 : -1;
  if (!status) evbuffer_drain(in, used);
  charge_body(c, c->head_bytes.cap);
  return status;
}

static int begin_body(struct client *c) {
  c->keep_alive = c->head.keep_alive;
  c->head_only = slice_is(c->head.method, "HEAD");
  c->chunks = (struct http_chunks){0};
  buffer_init(&c->body, c->server->max_body);
  if (c->head.length > c->server->max_body) return 413;
  wait_for(c, CLIENT_BODY, BODY_S);
  if (c->head.expects_continue) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    put(c, go_on, sizeof go_on - 1);
  }
  return 0;
}

/* As take_head. */
static int take_body(struct client *c) {
  struct evbuffer *in = bufferevent_get_input(c->bev);
  struct sluice_error ignored = {0};
  bool done = !c->head.chunked && c->body.len == c->head.length;
  while (!done && evbuffer_get_length(in)) {
    size_t n = evbuffer_get_contiguous_space(in), used = 0;
    const char *bytes = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
    int status = 0;
    if (!bytes || memory_is_spent(c->server, n)) return 503;
    if (c->head.chunked) {
      status = http_chunks_push(&c->chunks, (struct slice){bytes, n}, &used, &c->body, &done);
    } else {
      used = c->head.length - c->body.len < n ? (size_t)c->head.length - c->body.len : n;
      if (buffer_append(&c->body, bytes, used, &ignored)) status = 503;
      done = c->body.len == c->head.length;
    }
    evbuffer_drain(in, used);
    charge_body(c, c->head_bytes.cap + c->body.len); /* pages of a large buffer that hold nothing cost nothing */
    if (status) return status;
  }
  return done ? 0 : -1;
}

/* Goes on until bytes are needed or an answer is under way. Requests that came behind one another wait their turn. */
static void client_advance(struct client *c) {
  while (c->state == CLIENT_HEAD || c->state == CLIENT_BODY) {
    int status;
    if (c->state == CLIENT_HEAD) {
      c->head = (struct http_head){.minor = 1};
      c->head_only = false;
      status = take_head(c);
      if (!status) status = begin_body(c);
    } else {
      status = take_body(c);
      if (!status) {
        wait_for(c, CLIENT_ANSWER, 0);
        c->server->hooks->request(c);
      }
    }
    if (status < 0) return;
    if (status) refuse_message(c, status);
  }
}

/* ---- events ---- */

static void on_read(struct bufferevent *bev, void *ctx) {
  struct client *c = ctx;
  if (c->state == CLIENT_CLOSING)
    evbuffer_drain(bufferevent_get_input(bev), evbuffer_get_length(bufferevent_get_input(bev)));
  else
    client_advance(c);
}

static void on_write(struct bufferevent *bev, void *ctx) {
  struct client *c = ctx;
  (void)bev;
  if (c->state == CLIENT_CLOSING && client_backlog(c) == 0)
    shut(c);
  else if (c->call && c->server->hooks->taken)
    c->server->hooks->taken(c);
}

static void on_event(struct bufferevent *bev, short what, void *ctx) {
  (void)bev;
  if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) client_free(ctx);
}

void client_tick(struct client *c, int64_t now) {
  bool waits = client_backlog(c) > 0;
  if (waits && now - c->moved_ns > WRITE_S * SECOND) {
    client_free(c);
  } else if (c->deadline_ns && now >= c->deadline_ns) {
    bool begun = c->state == CLIENT_BODY || (c->state == CLIENT_HEAD && c->head_bytes.len);
    if (begun)
      refuse_message(c, 408);
    else
      client_free(c);
  } else if (c->server->draining && c->state == CLIENT_HEAD && !waits) {
    client_free(c);
  }
}

void client_accept(struct server *s, evutil_socket_t fd, bool admin, bool tls) {
  int one = 1;
  struct client *c = calloc(1, sizeof *c);
  struct bufferevent *bev = NULL;
  if (c) bev = tls ? tls_accept(s->tls, s->loop, fd) : bufferevent_socket_new(s->loop, fd, BEV_OPT_CLOSE_ON_FREE);
  if (!bev || !evbuffer_add_cb(bufferevent_get_output(bev), on_moved, c) ||
      !evbuffer_add_cb(bufferevent_get_input(bev), on_moved, c)) {
    if (bev)
      bufferevent_free(bev);
    else
      close(fd);
    free(c);
    return;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on a unix socket, which needs none */
  c->server = s;
  c->bev = bev;
  c->fd = fd;
  c->admin = admin;
  c->tls = tls;
  buffer_init(&c->head_bytes, 2 * SERVER_HEAD_MAX);
  buffer_init(&c->body, s->max_body);
  c->next = s->clients;
  if (c->next) c->next->prev = c;
  s->clients = c;
  s->n_clients++;
  s->connections++;
  charge(s, CLIENT_BYTES, 0);
  wait_for(c, CLIENT_HEAD, HEAD_S);
  bufferevent_setcb(bev, on_read, on_write, on_event, c);
  bufferevent_setwatermark(bev, EV_WRITE, SERVER_BACKLOG_LOW, 0);
  bufferevent_enable(bev, EV_READ | EV_WRITE);
}
