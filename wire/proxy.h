/* Private to wire/: the proxy's connections and exchanges.
 *
 *   client (client.c)      one connection: reads requests, writes answers
 *   exchange (exchange.c)  one request on its way: libcurl's transfer, the filter, what the client is told
 *   upstream (upstream.c)  libcurl's multi interface in libevent's loop
 *   proxy (proxy.c)        listeners, signals, the clock, shutting down;  pages.c: health and metrics
 *
 * Who may free whom: an exchange is freed by exchange_end alone, a client by client_free alone, never inside a callback
 * of libcurl (which may neither remove a transfer nor see its buffers go). */
#ifndef SLUICE_WIRE_PROXY_H
#define SLUICE_WIRE_PROXY_H

#include "wire/http.h"

#include <curl/curl.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

enum {
  PROXY_LISTENERS_MAX = 16,
  PROXY_HEAD_MAX = 64 << 10,      /* a request's or an answer's head, bytes */
  PROXY_BACKLOG_HIGH = 256 << 10, /* bytes waiting for a client at which its upstream is paused */
  PROXY_BACKLOG_LOW = 64 << 10,   /* and at which it goes on */
  PROXY_JUDGE_BUCKETS = 7
};
#define PROXY_HEAD_S 10
#define PROXY_BODY_S 60
#define PROXY_KEEP_S 75
#define PROXY_WRITE_S 120 /* a client that takes nothing for this long is gone */
#define PROXY_LINGER_S 2

enum client_state { CLIENT_HEAD, CLIENT_BODY, CLIENT_EXCHANGE, CLIENT_CLOSING };
struct exchange;
struct client {
  struct wire_proxy *proxy;
  struct client *prev, *next;
  struct bufferevent *bev;
  enum client_state state;
  bool admin;
  bool keep_alive; /* after the answer under way */
  bool chunked;    /* framing of the answer under way */
  bool head_only, shut;
  struct buffer head_bytes, body;
  struct http_head head; /* points into head_bytes */
  struct http_chunks chunks;
  int64_t deadline_ns; /* for what the state waits for; 0: none */
  int64_t moved_ns;    /* when it last took a byte, or had nothing to take */
  struct exchange *exchange;
};
void client_accept(struct wire_proxy *p, evutil_socket_t fd, bool admin);
void client_free(struct client *c);
void client_tick(struct client *c, int64_t now); /* may free it */
size_t client_backlog(const struct client *c);
/* An answer: begin, any number of bodies, end. fields: whole lines with CRLF. length -1: not known. */
void client_begin(struct client *c, int status, const char *reason, struct slice fields, int64_t length);
void client_body(struct client *c, struct slice bytes);
void client_end(struct client *c);   /* then the next request, or the end of the connection */
void client_abort(struct client *c); /* the answer stays visibly unfinished */
void client_answer(struct client *c, int status, const char *type, struct slice body);
/* An error object in the form of the exchange under way; OpenAI's before there is one. */
void client_refuse(struct client *c, int status, const char *code, const char *message);

/* proxy_errors.c. sequence: the event's own number, where the form has one. */
enum answer_form { FORM_CHAT, FORM_RESPONSES, FORM_MESSAGES };
sluice_status proxy_error_json(struct buffer *out, enum answer_form form, int status, const char *code,
                               const char *message, struct sluice_error *err);
sluice_status proxy_error_event(struct buffer *out, enum answer_form form, int status, const char *code,
                                const char *message, int64_t sequence, struct sluice_error *err);

enum exchange_kind { EXCHANGE_PASSED, EXCHANGE_JUDGED, EXCHANGE_UNJUDGED };
enum fault { FAULT_NONE, FAULT_UPSTREAM, FAULT_UNREADABLE, FAULT_TIMEOUT, FAULT_CLIENT_LEFT, FAULT_CUT, FAULT_KINDS };
struct exchange {
  struct wire_proxy *proxy;
  struct client *client;
  struct exchange *prev, *next;
  uint64_t number;
  char *method, *path, *url, *target;
  CURL *easy;
  struct curl_slist *fields;
  enum exchange_kind kind;
  enum answer_form form; /* that the path speaks */
  /* the upstream's answer */
  struct buffer head;
  int status;
  bool head_done, encoded;
  char type[128], reason[64];
  int64_t length; /* -1: not said */
  /* on its way */
  bool begun; /* the client has the answer's head */
  bool whole; /* judged as one body */
  bool paused, stopped;
  int told; /* the status that the client got */
  struct wire_filter *filter;
  void *texts;
  struct buffer out; /* what the filter let go and the client has not been given */
  enum fault fault;
  struct sluice_error err;
  uint64_t bytes_in, bytes_out;
  int64_t began_ns, first_ns, heard_ns;
};
void exchange_start(struct client *c);    /* c->head and c->body are a request */
void exchange_resume(struct exchange *x); /* the client has taken what waited */
void exchange_done(struct exchange *x, CURLcode code);
void exchange_leave(struct exchange *x); /* the client has gone */
void exchange_cut(struct exchange *x, enum fault why, const char *message);
void exchange_tick(struct exchange *x, int64_t now);
/* answer.c: from the upstream's bytes to the client's */
sluice_status answer_begin(struct exchange *x, struct sluice_error *err);
sluice_status answer_push(struct exchange *x, struct slice bytes, struct sluice_error *err);
sluice_status answer_finish(struct exchange *x, struct sluice_error *err);
void answer_fail(struct exchange *x); /* tells the client as well as can be still told */

struct upstream;
sluice_status upstream_open(struct wire_proxy *p, struct upstream **out, struct sluice_error *err);
void upstream_close(struct upstream *u);
sluice_status upstream_add(struct upstream *u, CURL *easy, struct sluice_error *err);
void upstream_remove(struct upstream *u, CURL *easy);
void upstream_check(struct upstream *u); /* ends the exchanges whose transfers have ended */

struct proxy_counts {
  uint64_t requests[3][6]; /* by exchange_kind and the status's first digit; 0: the client left before */
  uint64_t faults[FAULT_KINDS], stops, cancelled, refused, pauses, connections, bytes_in, bytes_out;
  uint64_t judge_ns, judged_reads, judge_buckets[PROXY_JUDGE_BUCKETS + 1];
};
struct proxy_listener {
  struct wire_proxy *proxy;
  struct evconnlistener *listener;
  bool admin;
  char address[128];
};
struct wire_proxy {
  struct wire_proxy_options o;
  char *base, *prefix; /* of the upstream: scheme and authority; path without a '/' at its end */
  const char *unix_path;
  struct event_base *loop;
  struct event *clock, *on_term, *on_int;
  struct upstream *upstream;
  struct proxy_listener listeners[PROXY_LISTENERS_MAX];
  size_t n_listeners;
  struct client *clients;
  struct exchange *exchanges;
  size_t n_clients, n_exchanges;
  bool full; /* listeners rest until a client leaves */
  bool draining;
  int64_t drain_until_ns, started_ns, unreachable_ns; /* when the upstream last could not be reached; 0: it was */
  uint64_t numbers, cut;
  struct proxy_counts counts;
};
void proxy_client_left(struct wire_proxy *p);
bool pages_answer(struct client *c); /* /healthz, /readyz, /metrics; false: not one of them */
extern const int64_t pages_bucket_ns[PROXY_JUDGE_BUCKETS];

#endif
