/* Private to wire/: the proxy's connections and exchanges.
 *
 *   client (client.c)      one connection: reads requests, writes answers (server.h)
 *   exchange (exchange.c)  one request on its way: libcurl's transfer, the filter, what the client is told
 *   upstream (upstream.c)  libcurl's multi interface in libevent's loop
 *   target (targets.c)     one server behind the proxy: which is asked next, which is left alone for a while
 *   loop (proxy.c)         one thread with its own event loop, listeners, clients, exchanges and connections upstream
 *   proxy (proxy.c)        all loops, signals, shutting down;  pages.c: health and metrics
 *
 * Loops share what is immutable after the start and what is atomic, nothing else.
 *
 * Who may free whom: an exchange is freed by exchange_end alone, a client by client_free alone, never inside a callback
 * of libcurl (which may neither remove a transfer nor see its buffers go). */
#ifndef SLUICE_WIRE_PROXY_H
#define SLUICE_WIRE_PROXY_H

#include "wire/jobs.h"
#include "wire/server.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { PROXY_JUDGE_BUCKETS = 7, PROXY_TARGETS_MAX = 64, PROXY_THREADS_MAX = 256 };
enum {
  EXCHANGE_BYTES = 24 << 10
}; /* what one costs besides its buffers: libcurl's handle, the filter's and the monitor's */

/* proxy_errors.c. sequence: the event's own number, where the form has one. */
enum answer_form { FORM_CHAT, FORM_RESPONSES, FORM_MESSAGES, FORM_COMPLETIONS };
sluice_status proxy_error_json(struct buffer *out, enum answer_form form, int status, const char *code,
                               const char *message, struct sluice_error *err);
sluice_status proxy_error_event(struct buffer *out, enum answer_form form, int status, const char *code,
                                const char *message, int64_t sequence, struct sluice_error *err);

enum exchange_kind { EXCHANGE_PASSED, EXCHANGE_JUDGED, EXCHANGE_UNJUDGED };
enum fault { FAULT_NONE, FAULT_UPSTREAM, FAULT_UNREADABLE, FAULT_TIMEOUT, FAULT_CLIENT_LEFT, FAULT_CUT, FAULT_KINDS };
struct transfer {                                  /* one of libcurl's, whoever asked for it */
  void (*done)(struct transfer *t, CURLcode code); /* it has ended, or must end; calls upstream_remove */
  struct transfer *next_cut;                       /* upstream.c's */
  bool is_cut;
};
struct proxy_loop;
enum {
  BESIDE_FROM = 16 << 10
};                /* bytes that are judged on the thread beside the loop, so that no stream waits for them */
struct beside {   /* an exchange's work there; while it lasts the exchange is not freed */
  struct job job; /* first */
  struct exchange *x;
  atomic_bool left;   /* nobody waits for what comes of it */
  struct buffer kept; /* the request's body, of a client that has left */
};
struct exchange {
  struct transfer transfer; /* first */
  struct proxy_loop *loop;
  struct client *client;
  /* What each read of an answer looks at stands together. */
  struct beside *beside; /* NULL: nothing of it is worked on there */
  struct wire_filter *filter;
  struct buffer out; /* what the filter let go and the client has not been given */
  int64_t heard_ns;
  uint64_t bytes_in, bytes_out;
  size_t held; /* bytes in the filter and in out, as charged to the proxy's memory */
  bool whole;  /* judged as one body */
  bool rested; /* the bytes that came last are the first for a while */
  bool paused, stopped;
  bool waits_to_leave;
  struct exchange *next_to_leave; /* of those whose out is not empty */
  /* all else */
  struct exchange *prev, *next;
  bool unlisted; /* no longer among its loop's */
  uint64_t number;
  char *method, *path;
  CURL *easy;
  size_t target;  /* the server that is asked */
  uint64_t tried; /* servers that were, by bit */
  bool under_way; /* libcurl has easy */
  bool ended;     /* its transfer, by itself */
  struct curl_slist *fields;
  enum exchange_kind kind;
  enum answer_form form; /* that the path speaks */
  /* the upstream's answer */
  struct buffer head;
  int status;
  bool head_done, encoded;
  bool framed; /* its end is told: by a length, in chunks, by HTTP/2. Else only that the connection closes */
  char type[128], reason[64];
  int64_t length; /* -1: not said */
  /* on its way */
  bool begun;          /* the client has the answer's head */
  bool done_meanwhile; /* its transfer, with this code, while it was worked on beside */
  CURLcode done_code;
  int64_t next_sequence; /* of events, as that work began */
  int told;              /* the status that the client got */
  bool blocked;          /* its prompt was */
  size_t unread_parts;
  struct slice model; /* as JSON, in the request's body as it came */
  bool wants_stream;
  struct wire_gate gate; /* for its answer */
  void *texts;
  enum fault fault;
  struct sluice_error err;
  size_t ahead;        /* bytes that libcurl holds of a paused HTTP/2 stream, charged alike */
  int64_t token_limit; /* that the request set on its answer; -1: none */
  int64_t began_ns, first_ns;
};
void exchange_start(struct client *c);    /* c->head and c->body are a request */
void exchange_resume(struct exchange *x); /* the client has taken what waited */
void exchange_leave(struct exchange *x);  /* the client has gone */
void exchange_cut(struct exchange *x, enum fault why, const char *message);
void exchange_tick(struct exchange *x, int64_t now);
bool exchange_is_back(struct exchange *x);                  /* from beside. True: its client has left, and it is gone */
void exchange_finish(struct exchange *x, sluice_status st); /* its answer has been read to the end */
void exchange_read(struct exchange *x, sluice_status st);   /* some of it has been, beside the loop */
/* answer.c: from the upstream's bytes to the client's. answer_finish: *waits when the rest of it is done beside. */
sluice_status answer_begin(struct exchange *x, struct sluice_error *err);
sluice_status answer_push(struct exchange *x, struct slice bytes, struct sluice_error *err);
sluice_status answer_finish(struct exchange *x, bool *waits, struct sluice_error *err);
void answers_leave(struct proxy_loop *l); /* what flowed since the last call goes to the clients */
void answer_forget(struct exchange *x);
void answer_fail(struct exchange *x); /* tells the client as well as can be still told */
/* answer_head.c: the fields that go on to the client: not those of the connection, none that speaks of bytes that were
 * changed, and places at the upstream as places at this proxy */
sluice_status answer_fields(const struct exchange *x, bool rewritten, struct buffer *out, struct sluice_error *err);
bool answer_leads_away(const struct exchange *x); /* a redirection past this proxy */

/* targets.c */
struct target {
  char *base, *prefix;              /* scheme and authority; path without a '/' at its end */
  const char *unix_path;            /* NULL: base says where */
  const char *name;                 /* as it was given */
  bool backup;                      /* asked only when no other is well */
  atomic_int outstanding, failures; /* failures: in a row */
  atomic_llong away_until_ns;       /* left alone until a probe after this succeeds; 0: in use */
  atomic_llong away_for_ns, unreachable_ns;
  atomic_bool probing;
  atomic_ullong requests, failed, ejections;
};
sluice_status target_read(struct target *t, const char *url, bool backup, struct sluice_error *err);
void target_free(struct target *t);
/* The server to ask: not one of `tried`; PROXY_TARGETS_MAX: none is left. */
size_t target_pick(struct wire_proxy *p, uint64_t tried);
void target_note(struct wire_proxy *p, size_t target, bool good); /* it answered, or did not */
bool target_any_ready(struct wire_proxy *p);
void targets_probe(struct proxy_loop *l, int64_t now); /* asks those that were left alone whether they are back */
/* What a transfer to it needs besides a path. */
bool target_set(const struct wire_proxy *p, size_t target, CURL *easy);

enum { UPSTREAM_IDLE_MAX = 256 }; /* connections kept open for later requests, a thread */
struct upstream;
sluice_status upstream_open(struct proxy_loop *l, struct upstream **out, struct sluice_error *err);
void upstream_close(struct upstream *u);
sluice_status upstream_add(struct upstream *u, CURL *easy, struct sluice_error *err);
void upstream_remove(struct upstream *u, CURL *easy);
void upstream_check(struct upstream *u); /* tells who asked for the transfers that have ended */

struct proxy_counts {
  uint64_t requests[3][6]; /* by exchange_kind and the status's first digit; 0: the client left before */
  uint64_t faults[FAULT_KINDS], stops, emptied, cancelled, refused, pauses, repeated, bytes_in, bytes_out;
  uint64_t judge_ns, judged_reads, judge_buckets[PROXY_JUDGE_BUCKETS + 1];
};
struct proxy_gauges { /* what the other threads may know of a loop */
  uint64_t clients, backlog, connections, refused;
};
struct proxy_loop {
  struct wire_proxy *whole;
  size_t index;
  struct server server;
  struct event *clock;
  struct upstream *upstream;
  struct jobs *jobs;
  unsigned idle[PROXY_TARGETS_MAX]; /* connections that libcurl may still hold open, at most */
  struct exchange *exchanges;
  struct exchange *to_leave;
  int64_t now_ns; /* when the loop last heard of an upstream */
  uint64_t cut, reads;
  struct proxy_counts counts; /* written by this loop's thread with proxy_count, read by any with proxy_read */
  struct proxy_gauges gauges; /* alike */
  pthread_t thread;
  bool started;
};
struct wire_proxy {
  struct wire_proxy_options o;
  struct cors cors;
  struct target targets[PROXY_TARGETS_MAX];
  size_t n_targets;
  struct proxy_loop *loops;
  size_t n_loops;
  struct tls_server *tls;                  /* NULL: clients speak plain */
  struct event *on_term, *on_int, *on_hup; /* in the first loop */
  atomic_llong drain_until_ns;             /* 0: serving */
  atomic_size_t n_streams, memory;         /* memory: bytes of all buffers that outside data can grow */
  atomic_ullong numbers, turn, reloads, failed_reloads;
  int64_t started_ns;
  pthread_t reloader; /* after a SIGHUP */
  bool reloader_started;
  atomic_bool reloading, reload_wanted;
};
static inline void proxy_count(uint64_t *at, uint64_t n) {
  __atomic_store_n(at, *at + n, __ATOMIC_RELAXED);
}
static inline uint64_t proxy_read(const uint64_t *at) {
  return __atomic_load_n(at, __ATOMIC_RELAXED);
}
void proxy_publish(struct proxy_loop *l); /* its gauges */
static inline bool proxy_memory_spent(const struct wire_proxy *p) {
  return atomic_load_explicit(&p->memory, memory_order_relaxed) >= p->o.max_memory;
}
static inline struct proxy_loop *client_loop(const struct client *c) {
  return c->server->owner;
}
static inline struct exchange *client_exchange(const struct client *c) {
  return c->call;
}
bool pages_answer(struct client *c); /* /healthz, /readyz, /metrics; false: not one of them */
extern const int64_t pages_bucket_ns[PROXY_JUDGE_BUCKETS];

#endif
