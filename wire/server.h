/* Private to wire/: a server's side of HTTP/1.1 in one event loop: listeners (listen.c) and connections (client.c).
 * Requests come in, answers go out; who answers is handed in as hooks: the proxy, or `sluice serve`.
 *
 * A client is freed by client_free alone. libevent's own HTTP server is not used: it does not see a client leave before
 * the answer begins, and ends the process when bytes come where it expects none (docs/proxy.md). */
#ifndef SLUICE_WIRE_SERVER_H
#define SLUICE_WIRE_SERVER_H

#include "wire/cors.h"
#include "wire/tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdatomic.h>

enum {
  SERVER_LISTENERS_MAX = 16,
  SERVER_HEAD_MAX = 64 << 10,      /* a request's or an answer's head, bytes */
  SERVER_BACKLOG_HIGH = 256 << 10, /* bytes waiting for a client at which who answers should rest */
  SERVER_BACKLOG_LOW = 64 << 10    /* and at which it is told to go on */
};

struct server;
enum client_state { CLIENT_HEAD, CLIENT_BODY, CLIENT_ANSWER, CLIENT_CLOSING };
struct client {
  struct server *server;
  struct client *prev, *next;
  struct bufferevent *bev;
  /* What an event of a stream looks at stands together here, so that it need not touch bev's memory. */
  evutil_socket_t fd; /* bev's */
  size_t backlog;     /* bytes that wait in bev's output */
  void *call;         /* the hooks' own, while an answer is under way; NULL: none */
  enum client_state state;
  bool admin;
  bool keep_alive; /* after the answer under way */
  bool chunked;    /* framing of the answer under way */
  bool head_only, shut, tls;
  bool resting; /* its input is full: not read */
  struct buffer head_bytes, body;
  struct http_head head; /* points into head_bytes */
  struct http_chunks chunks;
  int64_t deadline_ns; /* for what the state waits for; 0: none */
  size_t charged;      /* bytes of the body, as counted in the server's memory */
  int64_t moved_ns;    /* when it last took a byte, or had nothing to take */
};

struct server_hooks {
  void (*request)(struct client *c); /* c->head and c->body are a request: answer it, now or later */
  void (*taken)(struct client *c);   /* c->call's client has taken what waited; NULL: not wanted */
  void (*left)(struct client *c);    /* c->call's client has gone */
  /* The object that says an error, in the form that the client speaks. */
  sluice_status (*error_body)(const struct client *c, int status, const char *code, const char *message,
                              struct buffer *out, struct sluice_error *err);
};

struct server_listener {
  struct server *server;
  struct evconnlistener *listener;
  bool admin;
  bool tls;
  bool shared; /* another server's, whose socket file is not this one's to remove */
  char address[128];
};
struct server {
  struct event_base *loop;
  const struct server_hooks *hooks;
  void *owner;
  size_t max_body, max_clients;
  atomic_size_t *memory;   /* bytes of all buffers that outside data can grow are counted here; NULL: nowhere */
  size_t max_memory;       /* at which bodies are refused; 0: none */
  struct tls_server *tls;  /* for connections that come over TCP, but the admin's; NULL: none. Not owned */
  const struct cors *cors; /* NULL: pages of other origins may read what this server refuses, and nothing else */
  bool reuse_port;
  bool full;     /* listeners rest until a client leaves */
  bool draining; /* no answer is followed by another request */
  struct server_listener listeners[SERVER_LISTENERS_MAX];
  size_t n_listeners;
  struct client *clients;
  size_t n_clients;
  uint64_t connections, refused; /* accepted; requests that were no requests */
};

/* ---- listen.c ---- */
sluice_status server_listen(struct server *s, const char *where, bool admin, struct sluice_error *err);
/* Listens where `from`, of another thread, does; not on its admin listener. */
sluice_status server_listen_with(struct server *s, const struct server *from, struct sluice_error *err);
void server_stop_listening(struct server *s, bool admin_too);
/* Now and then: accepts again after a rest, and ends what waits for too long. */
void server_tick(struct server *s, int64_t now);
bool server_busy(const struct server *s); /* any client but an admin's */
void server_free_clients(struct server *s);

/* ---- client.c ---- */
void client_accept(struct server *s, evutil_socket_t fd, bool admin, bool tls);
void client_free(struct client *c);
void client_tick(struct client *c, int64_t now); /* may free it */
size_t client_backlog(const struct client *c);
/* An answer: begin, any number of bodies, end. fields: whole lines with CRLF. length -1: not known. */
void client_begin(struct client *c, int status, const char *reason, struct slice fields, int64_t length);
void client_body(struct client *c, struct slice bytes);
void client_end(struct client *c);   /* then the next request, or the end of the connection */
void client_abort(struct client *c); /* the answer stays visibly unfinished */
void client_answer(struct client *c, int status, const char *type, struct slice body);
/* The same for one that a page of another origin may read, as it may every refusal. */
void client_answer_across(struct client *c, int status, const char *type, struct slice body);
bool client_preflight(struct client *c); /* answers it when it is one that is answered here */
void client_refuse(struct client *c, int status, const char *code, const char *message);

#endif
