/* Private to the engine room: one streamed answer of an OpenAI-compatible server. remote_stream.c reads the stream
 * (wire's SSE parser and openai_chat dialect), remote.c speaks HTTP through libcurl and decides about retries. */
#ifndef SLUICE_ENGINE_REMOTE_H
#define SLUICE_ENGINE_REMOTE_H

#include "engine/talk.h"
#include "wire/wire.h"

enum remote_class {
  REMOTE_OK,
  REMOTE_RATE_LIMITED, /* 429 */
  REMOTE_SERVER,       /* 5xx, or an error event inside a stream */
  REMOTE_TIMEOUT,      /* connecting, silent for stall_ms, or longer than timeout_ms */
  REMOTE_NETWORK,      /* refused, reset, resolved to nothing, or the stream broke off */
  REMOTE_PROTOCOL,     /* an answer that is no chat completion stream, or a request that the server calls malformed */
  REMOTE_AUTH,         /* 401, 403 */
  REMOTE_REFUSED       /* the server declined the prompt before any token (OUTCOME_REFUSED, not an error) */
};
const char *remote_class_name(enum remote_class c);

/* Why an attempt failed. */
struct remote_fault {
  enum remote_class class;
  bool retry; /* asking again may help */
  char message[512];
};
void remote_fault_set(struct remote_fault *f, enum remote_class class, bool retry, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- the stream (engine/remote_stream.c) ---------------------------------------------------------------------- */
struct remote_stream;
struct remote_stream_result {
  bool finished;        /* a finish_reason came */
  enum outcome outcome; /* when finished, or stopped by the tap */
  bool stopped;         /* the tap said no */
  bool emitted;         /* something reached the tap */
  int64_t first_token_ns;
  int prompt_tokens, output_tokens, total_tokens; /* -1: no usage came */
};
/* text gathers the content channel. tap may be NULL. */
sluice_status remote_stream_open(piece_fn tap, void *ctx, struct buffer *text, struct remote_stream **out,
                                 struct sluice_error *err);
void remote_stream_close(struct remote_stream *s);
/* Bytes of the body. False: stop reading, because the tap stopped, or a fault was set. */
bool remote_stream_push(struct remote_stream *s, const char *bytes, size_t len, struct remote_fault *fault);
/* The body ended. Sets a fault when the answer is not complete. */
void remote_stream_end(struct remote_stream *s, struct remote_fault *fault);
const struct remote_stream_result *remote_stream_result(const struct remote_stream *s);
/* ---- a chunk's log-probabilities (engine/remote_logprobs.c) ---- */
struct remote_chances {
  struct slice json;
  struct json_span list, at; /* choices[0].logprobs.content, and the newest of its tokens */
  bool any;
  struct buffer bytes; /* of the alternatives below */
  struct token_chance top[TOP_LOGPROBS_MAX];
};
void remote_chances_open(struct remote_chances *c);
void remote_chances_close(struct remote_chances *c);
void remote_chances_begin(struct remote_chances *c, struct slice json, struct json_span root);
/* The next token's into *p (logprob, surprisal, top), valid until the next call. False: there are no more. */
bool remote_chances_next(struct remote_chances *c, struct piece *p);

/* The short text of an API's error: error.message of a JSON body, else its beginning, one line, at most cap bytes.
 * *code receives error.code or error.type, "" when there is none. */
void remote_error_text(struct slice body, char *message, size_t cap, char *code, size_t code_cap);

#endif
