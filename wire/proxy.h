/* Private to wire/: the proxy's connections and exchanges.
 *
 *   client (client.c)      one connection: reads requests, writes answers (server.h)
 *   exchange (exchange.c)  one request on its way: libcurl's transfer, the filter, what the client is told
 *   upstream (upstream.c)  libcurl's multi interface in libevent's loop
 *   proxy (proxy.c)        signals, the clock, shutting down;  pages.c: health and metrics
 *
 * Who may free whom: an exchange is freed by exchange_end alone, a client by client_free alone, never inside a callback
 * of libcurl (which may neither remove a transfer nor see its buffers go). */
#ifndef SLUICE_WIRE_PROXY_H
#define SLUICE_WIRE_PROXY_H

#include "wire/server.h"

#include <curl/curl.h>

enum { PROXY_JUDGE_BUCKETS = 7 };

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
  uint64_t faults[FAULT_KINDS], stops, cancelled, refused, pauses, bytes_in, bytes_out;
  uint64_t judge_ns, judged_reads, judge_buckets[PROXY_JUDGE_BUCKETS + 1];
};
struct wire_proxy {
  struct wire_proxy_options o;
  char *base, *prefix; /* of the upstream: scheme and authority; path without a '/' at its end */
  const char *unix_path;
  struct server server;
  struct event *clock, *on_term, *on_int;
  struct upstream *upstream;
  struct exchange *exchanges;
  size_t n_exchanges;
  int64_t drain_until_ns, started_ns, unreachable_ns; /* when the upstream last could not be reached; 0: it was */
  uint64_t numbers, cut;
  struct proxy_counts counts;
};
static inline struct wire_proxy *client_proxy(const struct client *c) {
  return c->server->owner;
}
static inline struct exchange *client_exchange(const struct client *c) {
  return c->call;
}
bool pages_answer(struct client *c); /* /healthz, /readyz, /metrics; false: not one of them */
extern const int64_t pages_bucket_ns[PROXY_JUDGE_BUCKETS];

#endif
