/* Inside of `sluice serve`: requests become calls, calls become choices, and choices advance together.
 *
 *   verb_serve.c    options, the engine, the monitor, the loop
 *   serve_call.c    one request: read, queued, answered
 *   serve_choice.c  one choice of it: a talk, a reply, the frames of its text
 *   serve_pages.c   the paths: models, health, metrics
 *
 * All of one thread: between two turns of the event loop, every choice that runs gets one token. */
#ifndef SLUICE_CLI_SERVE_H
#define SLUICE_CLI_SERVE_H

#include "cli/gate.h"
#include "engine/engine.h"

enum { SERVE_WAITING_MAX = 256 /* choices that wait for a place; more requests are told 503 */ };

struct serve_call;
struct serve_choice {
  struct serve_call *call;
  struct serve_choice *next; /* in serve's queue */
  int64_t index;
  const struct wire_prompt *prompt; /* of a completion */
  struct talk *talk;
  struct reply *reply;       /* NULL: waits for a place */
  struct buffer carry;       /* the bytes of an unfinished character */
  struct buffer text;        /* the whole text, for an answer that is not streamed */
  struct wire_token *tokens; /* likewise, their bytes in the call's arena */
  size_t n_tokens, cap_tokens;
  uint64_t offset; /* characters of text so far */
  bool told;       /* its role has been named */
  const char *finish;
};
struct serve_call {
  struct serve *serve;
  struct serve_call *prev, *next;
  struct wire_call *wire; /* NULL: the client has gone */
  uint64_t number;
  char id[48];
  struct wire_answer answer;
  struct wire_request request;
  struct gate gate;
  struct wire_filter *filter; /* NULL: no monitor */
  struct buffer frame, out;   /* out: the body of an answer that is not streamed */
  struct arena memory;
  struct serve_choice *choices;
  size_t n_choices, n_left; /* left: choices that have not ended */
  struct wire_usage usage;
  int64_t began_ns, first_ns;
  bool stopped; /* by the monitor */
  sluice_status status;
  struct sluice_error err;
};
struct serve_counts {
  uint64_t requests[6]; /* by the status's first digit; 0: the client left */
  uint64_t prompt_tokens, completion_tokens, stopped, steps, choices_stepped;
};
struct serve {
  struct engine *engine;
  const char *policy; /* canonical */
  const char *model;  /* the name that clients see */
  char *names;
  uint64_t max_context; /* tokens of a dialogue under this policy; 0: no bound */
  int64_t max_tokens;   /* of a chat answer that names none */
  size_t parallel, max_frame;
  struct monitor_guard *guard;
  struct monitor_watch *watch;
  struct monitor_audit *audit;
  uint64_t audit_lost;        /* rows, as last looked at */
  struct monitor_counts seen; /* by the monitor, of calls that have ended */
  struct wire_server *server;
  struct serve_call *calls;
  struct serve_choice *first, *last; /* choices that wait for a place */
  size_t n_waiting, n_running;
  uint64_t numbers, cut;
  struct rng rng; /* of ids, and of seeds that a request leaves open */
  struct serve_counts counts;
  bool quiet;
};

/* serve_call.c */
void serve_request(struct serve *s, struct wire_call *wire, bool chat);
void serve_left(struct serve *s, struct wire_call *wire);
void serve_refuse(struct serve *s, struct wire_call *wire, int status, const char *code, struct sluice_error *err);
/* The call's frames so far go on to its client; JSON of one frame in c->frame. */
sluice_status serve_send_frame(struct serve_call *c, struct sluice_error *err);
void serve_call_finish(struct serve_call *c); /* when no choice is left, or the call has failed: frees it */
/* One step for all. False: there was nothing to do. */
bool serve_step(struct serve *s, struct sluice_error *err);

/* serve_choice.c */
sluice_status choice_start(struct serve_choice *c, struct sluice_error *err);
sluice_status choice_end(struct serve_choice *c, struct sluice_error *err); /* its reply is done */
void choice_count(struct serve_choice *c); /* its reply's tokens, into the call's usage */
void choice_free(struct serve_choice *c);

/* serve_pages.c */
void serve_route(void *ctx, struct wire_call *wire);

#endif
