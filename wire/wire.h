/* wire: bytes on the network. Frames of a stream in and out, the text inside them found by byte range, everything else
 * as it came. What decides about text is handed in as a gate; the wire knows no rule. */
#ifndef SLUICE_WIRE_H
#define SLUICE_WIRE_H

#include "base/base.h"

/* ---- server-sent events (wire/sse.c), https://html.spec.whatwg.org/multipage/server-sent-events.html
 * ----------------- */
enum { WIRE_FRAME_MAX = 8 << 20 }; /* default bound of one frame, bytes */
struct sse_event {
  struct slice
      raw; /* the event's own bytes with the blank line that ended it (without, at the end of a stream that lacks it) */
  struct slice data; /* data lines joined by \n; points into raw when there is one line */
  struct slice name; /* of the last event: field; empty */
  bool has_data;
  bool one_line;   /* data lies in raw as it is */
  bool ended;      /* false: the stream ended inside this event */
  bool stray;      /* a line that is neither comment nor field: readers of events skip it, others may not */
  uint64_t offset; /* of raw in the stream */
};
typedef sluice_status (*sse_event_fn)(void *ctx, const struct sse_event *event, struct sluice_error *err);
struct sse_parser {
  struct buffer raw, joined;
  size_t line;     /* where the current line begins in raw */
  size_t max;      /* bytes of one event; 0: WIRE_FRAME_MAX */
  uint64_t offset; /* of raw in the stream */
  bool after_cr, blank_waits;
  const char *eol; /* the stream's own, "\n" until one is seen */
  sse_event_fn fn;
  void *ctx;
};
void sse_open(struct sse_parser *p, size_t max_event, sse_event_fn fn, void *ctx);
void sse_close(struct sse_parser *p);
/* Lines may end in LF, CR or CRLF, bytes may be cut anywhere. An event past the bound is SLUICE_LIMIT naming its
 * offset. */
sluice_status sse_push(struct sse_parser *p, struct slice bytes, struct sluice_error *err);
sluice_status sse_end(struct sse_parser *p, struct sluice_error *err); /* hands over an unfinished last event */

/* ---- gates
 * ------------------------------------------------------------------------------------------------------------ */
enum wire_channel { WIRE_CONTENT, WIRE_REASONING, WIRE_TOOL, WIRE_REFUSAL, WIRE_PROMPT };
/* One text of a stream. Texts are independent of each other. */
struct wire_key {
  int64_t choice;
  int channel;   /* enum wire_channel */
  int64_t index; /* which tool call; 0 elsewhere */
};
struct wire_verdict {
  uint64_t released; /* bytes of the text so far that may leave */
  bool stop;         /* nothing past them ever may: the choice ends */
};
struct wire_gate {
  void *ctx;
  sluice_status (*push)(void *ctx, const struct wire_key *key, struct slice bytes, struct wire_verdict *v,
                        struct sluice_error *err);
  /* Decide what waits as if the text ended here; more may follow. */
  sluice_status (*settle)(void *ctx, const struct wire_key *key, struct wire_verdict *v, struct sluice_error *err);
  /* Appends what may be shown of released bytes [offset, offset + raw.len); sets *changed when it differs from raw. */
  sluice_status (*render)(void *ctx, const struct wire_key *key, uint64_t offset, struct slice raw, struct buffer *out,
                          bool *changed, struct sluice_error *err);
  /* Bytes before offset have been rendered. UINT64_MAX: the text is over, and its key may name another one. */
  void (*forget)(void *ctx, const struct wire_key *key, uint64_t offset);
  void (*reset)(void *ctx); /* what comes next has nothing to do with what came: all texts begin anew */
  /* Whether anything of `other` would be masked or stopped if the text went on with it from `before`, its last bytes.
   * It is no text of the stream: nothing is released, counted or told. NULL: others are never named. */
  sluice_status (*would)(void *ctx, const struct wire_key *key, struct slice before, struct slice other, bool *named,
                         struct sluice_error *err);
};
typedef sluice_status (*wire_sink_fn)(void *ctx, struct slice bytes, struct sluice_error *err);

/* ---- filter (wire/filter.c): a stream of frames through a gate
 * ---------------------------------------------------------- A frame waits until all its text may leave; frames of one
 * text, and content, reasoning and refusal of one choice, keep their order; other choices and tool calls do not wait
 * for each other. A frame that nothing changes leaves as the bytes that came. On a stop the safe part leaves, then one
 * well-formed ending in the stream's own dialect, and nothing more of that choice; when no choice is left the stream
 * ends. A choice's finish frame leaves only after everything of the choice has been decided. A frame that no dialect
 * reads ends the filter with an error that names its offset: it is never passed unread. */
enum wire_format { WIRE_SSE, WIRE_JSONL, WIRE_JSON, WIRE_WORDS }; /* WIRE_WORDS: an error's body, whatever it is */
const char *wire_format_name(enum wire_format f);
struct wire_filter_options {
  enum wire_format format;
  const char *dialect;  /* that the stream is expected in, as its table names it; NULL: the first frame says it */
  const char *text_key; /* JSON lines that are no chunks: the key of their text; NULL: "text" */
  bool each_line;       /* JSON lines: each line is a text of its own, not a piece of one stream */
  bool pass_unknown;    /* forward frames that no dialect reads, unread */
  size_t max_frame;     /* bytes; 0: WIRE_FRAME_MAX */
  size_t max_waiting;   /* bytes of frames that wait; 0: 2 * WIRE_FRAME_MAX */
};
struct wire_filter;
sluice_status wire_filter_open(const struct wire_filter_options *o, const struct wire_gate *gate, wire_sink_fn sink,
                               void *ctx, struct wire_filter **out, struct sluice_error *err);
void wire_filter_close(struct wire_filter *f);
sluice_status wire_filter_push(struct wire_filter *f, struct slice bytes, struct sluice_error *err);
sluice_status wire_filter_end(struct wire_filter *f, struct sluice_error *err);
size_t wire_filter_unread(const struct wire_filter *f);    /* bytes of the frame that has come in part */
size_t wire_filter_held(const struct wire_filter *f);      /* bytes that have come and not left */
bool wire_filter_ended(const struct wire_filter *f);       /* stopped, and no choice is left: read no more */
bool wire_filter_stopped(const struct wire_filter *f);     /* at least one choice was stopped */
uint64_t wire_filter_emptied(const struct wire_filter *f); /* lists of alternatives, for what one of them says */
bool wire_filter_closed(const struct wire_filter *f);      /* the last frame that a stream of its form has, has left */
bool wire_filter_unfinished(const struct wire_filter *f);  /* of some choice no finish has come, nor an error */
int64_t wire_filter_sequence(const struct wire_filter *f); /* sequence_number of the last frame that left */

/* ---- reading text out of frames, for clients and players (wire/dialects.c)
 * ------------------------------------------------ */
/* Calls fn with each text of one JSON frame, decoded. *known is false when no dialect reads it. */
typedef sluice_status (*wire_text_fn)(void *ctx, const struct wire_key *key, struct slice text,
                                      struct sluice_error *err);
sluice_status wire_read_texts(struct slice json, const char *text_key, wire_text_fn fn, void *ctx, bool *known,
                              struct sluice_error *err);

/* ---- proxy (wire/proxy.c): clients on one side, OpenAI-compatible servers on the other; one event loop a thread
 * Answers of POST .../chat/completions, .../completions, .../responses and .../v1/messages go through a filter whose
 * gate is handed in; every other path goes by as it came. Fails closed: what cannot be judged is an error that the
 * client can read, never passed on. Every buffer has a bound; a client that reads slowly slows the upstream, one that
 * leaves cancels it. */
struct wire_record { /* what became of one request */
  uint64_t request;  /* 1, 2, ... */
  const char *method, *path;
  int status;          /* what the client was told; 0: it left before */
  int upstream_status; /* 0: none came */
  const char *outcome; /* "done", "stopped", "blocked" (its prompt), "refused", "upstream_error", "unreadable",
                          "timeout", "client_left", "cut" */
  const char *detail;  /* an error's words; "" */
  bool judged, streamed;
  size_t unread_parts;          /* of the request: pictures, sound and files, which nobody looked at */
  const char *upstream;         /* the server that was asked last, as given; "" */
  int64_t token_limit;          /* that the request set on its answer; -1: none */
  uint64_t bytes_in, bytes_out; /* of bodies: from the upstream, to the client */
  int64_t first_ns, total_ns; /* from the request's last byte to the upstream's first, and to the end; first -1: none */
};
struct wire_asked { /* a request whose answer is judged */
  uint64_t request;
  struct slice path; /* without the query */
  const char *dialect;
  struct slice model; /* as it stands between its quotes; "" */
  bool beside;        /* its prompts are judged on the thread beside the loop's */
  const void *head;   /* for wire_asked_field */
};
bool wire_asked_field(const struct wire_asked *a, const char *name, struct slice *value); /* any case; the first one */
struct wire_hooks {
  void *ctx;
  /* Before the request is sent: a gate for the texts of its answer, and one for what it asks (left as it is: nobody
   * looks at that). *texts is handed back to finish. Both are called from every loop's thread, those of one request
   * from the same one: `thread`, from 0. Beside each runs one more, for what would hold the loop up. */
  sluice_status (*begin)(void *ctx, size_t thread, const struct wire_asked *asked, struct wire_gate *answer,
                         struct wire_gate *prompts, void **texts, struct sluice_error *err);
  /* texts: NULL when begin was not called */
  void (*finish)(void *ctx, size_t thread, void *texts, const struct wire_record *record);
  sluice_status (*metrics)(void *ctx, struct buffer *out, struct sluice_error *err); /* more lines for /metrics; NULL */
  /* SIGHUP: whatever begin stands on is read again, for answers that begin from now on. Called from a thread of its
   * own, one at a time. NULL: there is nothing. */
  sluice_status (*reload)(void *ctx, struct sluice_error *err);
  /* The answer's texts are judged on the thread beside this one from now on, or on this one again; nobody judges any of
   * them during the call. NULL: nothing is judged beside. */
  void (*move)(void *ctx, size_t thread, void *texts, bool beside);
};
struct wire_proxy_options {
  const char **upstreams; /* http://HOST[:PORT][/PREFIX], https://..., or unix:PATH; the least busy one is asked */
  size_t n_upstreams;
  const char **backups; /* asked when none of those is well */
  size_t n_backups;
  const char *probe_path; /* GET of it says whether a server is back; NULL: a connection does */
  int eject_after;        /* failures in a row, after which a server is left alone until it is back; 0: 3 */
  /* For https:// upstreams: who signs for them (NULL: the system's), what this side shows (NULL: nothing). PEM. */
  const char *upstream_ca, *upstream_cert, *upstream_key;
  bool upstream_http2; /* over TLS, where the server offers it */
  size_t threads;      /* 0: 1 */
  const char **listen; /* ADDRESS:PORT, [V6]:PORT or unix:PATH; port 0: any free one */
  size_t n_listen;
  const char *admin; /* where /healthz, /readyz and /metrics answer; NULL: on the listeners, before any upstream's */
  /* TLS towards clients, on every listener but the admin's and unix sockets. PEM; read again on SIGHUP. NULL: none. */
  const char *tls_cert, *tls_key, *tls_client_ca;
  /* Origins whose pages may read answers in a browser, "*" for any: then preflights are answered here and what
   * upstreams say of it is left out. None: upstreams speak for themselves. */
  const char **cors;
  size_t n_cors;
  bool reuse_port;     /* several processes share a port */
  bool refuse_blocked; /* a blocked prompt is answered as a refusal of the model, not as an error 400 */
  bool pass_unjudged;  /* pass model answers that no dialect reads (Ollama's, ...); else they are refused */
  size_t max_body;     /* of a request, bytes; 0: 32 MiB */
  size_t max_frame;    /* of one event or whole answer to judge, bytes; 0: 8 MiB */
  size_t max_streams;  /* at the same time; 0: 1024. More are told 503 */
  size_t max_clients;  /* connections; 0: 4096. More wait to be accepted */
  size_t max_memory;   /* of all buffers that clients and upstreams can grow, bytes; 0: 1 GiB */
  int64_t connect_s, idle_s, total_s, drain_s; /* seconds; 0: 5, 300, 3600, 30 */
  struct wire_hooks hooks;
};
struct wire_proxy;
/* Listens. options' strings must outlive the proxy. */
sluice_status wire_proxy_open(const struct wire_proxy_options *o, struct wire_proxy **out, struct sluice_error *err);
const char *wire_proxy_address(const struct wire_proxy *p, size_t i); /* where it listens, with the real port; NULL */
/* Serves until SIGTERM or SIGINT, then accepts no more and lets streams end for drain_s seconds (a second signal: not
 * at all). *cut: streams that had to be cut. */
sluice_status wire_proxy_run(struct wire_proxy *p, uint64_t *cut, struct sluice_error *err);
void wire_proxy_close(struct wire_proxy *p);

/* ---- a server's side of OpenAI's forms (wire/openai_request.c, wire/openai_answer.c): for `sluice serve`
 * -------------
 */
enum {
  WIRE_MESSAGES_MAX = 4096, /* of one request */
  WIRE_CHOICES_MAX = 128,   /* n, and prompts of a completion times n */
  WIRE_STOPS_MAX = 16,
  WIRE_TOP_MAX = 20 /* alternatives to a token */
};
enum wire_role { WIRE_SYSTEM, WIRE_USER, WIRE_ASSISTANT };
struct wire_message {
  enum wire_role role;
  struct slice text; /* decoded; U+0000 kept */
};
struct wire_bias {
  int32_t token;
  double added;
};
/* A completion's: text, or token ids. */
struct wire_prompt {
  struct slice text;
  int32_t *ids; /* NULL: text */
  size_t n_ids;
};
/* POST /v1/chat/completions or /v1/completions. What a field left out means is in the defaults' names: -1, NAN or an
 * empty slice is "not said". */
struct wire_request {
  bool chat, stream, include_usage, echo, logprobs;
  struct slice model, user;
  struct wire_message *messages; /* chat; the last one may be the assistant's: it is continued */
  size_t n_messages;
  struct wire_prompt *prompts; /* completions */
  size_t n_prompts;
  int64_t n, max_tokens, seed, top_k, top_logprobs; /* n: at least 1 */
  double temperature, top_p, min_p, repetition_penalty;
  double frequency_penalty, presence_penalty; /* 0: off */
  struct wire_bias *bias;                     /* logit_bias */
  size_t n_bias;
  bool no_thought; /* enable_thinking is false */
  struct slice stop[WIRE_STOPS_MAX];
  size_t n_stop;
  struct arena memory; /* of everything above */
};
/* SLUICE_INPUT for what is no such request, SLUICE_UNSUPPORTED for a field that would change the answer and that this
 * server does not know (tools, response_format, images, ...); the message begins with the field's name. Fields that
 * cannot change an answer are not looked at. Free in any case. */
sluice_status wire_request_read(bool chat, struct slice json, struct wire_request *out, struct sluice_error *err);
void wire_request_free(struct wire_request *r);

struct wire_token {             /* one generated token, for log-probabilities */
  struct slice bytes;           /* may split a character */
  double logprob;               /* NAN: nothing stood before it (completions) */
  const struct wire_token *top; /* the likeliest, best first; their own `top` is not read */
  size_t n_top;
};
/* Characters that begin in bytes. */
uint64_t wire_characters(struct slice bytes);
struct wire_answer { /* what all frames of one answer have in common */
  const char *id, *model;
  int64_t created; /* Unix seconds */
  bool chat;
  bool usage_follows; /* of a stream: a last frame has it, all others say null */
};
struct wire_usage {
  uint64_t prompt_tokens, completion_tokens;
};
struct wire_piece { /* of one choice; every part may be absent */
  int64_t choice;
  bool first;         /* chat: names the role */
  struct slice text;  /* whole characters */
  const char *finish; /* "stop", "length", "content_filter"; NULL: not yet */
  const struct wire_token *tokens;
  size_t n_tokens;
  uint64_t text_offset; /* completions' log-probabilities: characters of the choice before this piece */
  bool logprobs;
};
/* One frame of a stream, as `data: {...}` with its blank line. */
sluice_status wire_answer_piece(const struct wire_answer *a, const struct wire_piece *p, struct buffer *out,
                                struct sluice_error *err);
sluice_status wire_answer_usage(const struct wire_answer *a, struct wire_usage u, struct buffer *out,
                                struct sluice_error *err); /* the frame without choices */
/* A whole body: one piece a choice. */
sluice_status wire_answer_whole(const struct wire_answer *a, const struct wire_piece *choices, size_t n,
                                struct wire_usage u, struct buffer *out, struct sluice_error *err);
/* {"error": {...}}; type by HTTP status. param may be NULL. */
sluice_status wire_answer_error(int status, const char *code, const char *param, const char *message,
                                struct buffer *out, struct sluice_error *err);

/* ---- a server (wire/serve.c): requests in, answers out, by hooks; for `sluice serve`
 * ---------------------------------- One thread, one event loop, which its owner turns. HTTP/1.1, read as strictly as
 * the proxy reads it. */
struct wire_call; /* one request and its answer; gone after the answer's end or after `left` */
struct wire_server_options {
  const char **listen; /* as struct wire_proxy_options' */
  size_t n_listen;
  size_t max_body;    /* of a request, bytes; 0: 32 MiB */
  size_t max_clients; /* connections; 0: 4096. More wait to be accepted */
  int64_t drain_s;    /* seconds that answers may take after SIGTERM or SIGINT; 0: 30 */
  const char **cors;  /* origins whose pages may read answers in a browser, "*" for any; they outlive the server */
  size_t n_cors;
  void *ctx;
  void (*request)(void *ctx, struct wire_call *call); /* answer it, now or later */
  void (*left)(void *ctx, struct wire_call *call);    /* its client has gone: forget the call */
};
struct wire_server;
sluice_status wire_server_open(const struct wire_server_options *o, struct wire_server **out, struct sluice_error *err);
const char *wire_server_address(const struct wire_server *s, size_t i); /* with the real port; NULL past the last */
/* Handles what the network brought. wait: sleeps until something comes. False: a signal came and all answers have
 * ended, or their time is up (then those under way are told by `left`). */
bool wire_server_turn(struct wire_server *s, bool wait);
bool wire_server_draining(const struct wire_server *s);
void wire_server_close(struct wire_server *s); /* tells `left` of every call under way */

struct slice wire_call_method(const struct wire_call *c);
bool wire_call_field(const struct wire_call *c, const char *name, struct slice *value); /* any case; the first one */
const char *
wire_call_path(const struct wire_call *c); /* as a server routes by: no query, escapes resolved, no '/' last */
struct slice wire_call_body(const struct wire_call *c);
void wire_call_keep(struct wire_call *c, void *mine); /* for the owner, with wire_call_kept */
void *wire_call_kept(const struct wire_call *c);
/* A whole answer; then the call is gone. */
void wire_call_answer(struct wire_call *c, int status, const char *type, struct slice body);
/* An answer in parts: begin, any number of sends, end (then the call is gone) or break (the client sees it unfinished).
 */
void wire_call_begin(struct wire_call *c, int status, const char *type);
void wire_call_send(struct wire_call *c, struct slice bytes);
void wire_call_end(struct wire_call *c);
bool wire_call_slow(const struct wire_call *c); /* much waits for its client: make no more for now */

#endif
