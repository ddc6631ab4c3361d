/* Reading one streamed chat completion: events of the body become pieces for the tap, and the answer's text. */
#include "engine/remote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_LIMIT ((size_t)4 << 20) /* bytes of one event */

struct remote_stream {
  piece_fn tap;
  void *ctx;
  struct buffer *text;
  struct remote_stream_result result;
  struct sse_parser sse;
  struct remote_fault *fault; /* of the call in progress */
  bool halted;                /* a fault, or the tap said no: nothing more is read */
  bool done, refusal;
  struct remote_chances chances;
  int64_t thought; /* which of several reasoning texts is passed on; -1: none came yet */
};

static sluice_status on_event(void *ctx, const struct sse_event *event, struct sluice_error *err);

sluice_status remote_stream_open(piece_fn tap, void *ctx, struct buffer *text, struct remote_stream **out,
                                 struct sluice_error *err) {
  struct remote_stream *s = calloc(1, sizeof *s);
  if (s == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  s->tap = tap;
  s->ctx = ctx;
  s->text = text;
  s->thought = -1;
  s->result = (struct remote_stream_result){
      .outcome = OUTCOME_ERROR, .prompt_tokens = -1, .output_tokens = -1, .total_tokens = -1};
  remote_chances_open(&s->chances);
  sse_open(&s->sse, EVENT_LIMIT, on_event, s);
  *out = s;
  return SLUICE_OK;
}

void remote_stream_close(struct remote_stream *s) {
  if (s == NULL) return;
  sse_close(&s->sse);
  remote_chances_close(&s->chances);
  free(s);
}

const struct remote_stream_result *remote_stream_result(const struct remote_stream *s) {
  return &s->result;
}

/* Ends the reading of this stream; the parser passes the status through. */
static sluice_status halt(struct remote_stream *s, struct sluice_error *err) {
  s->halted = true;
  return sluice_fail(err, SLUICE_INTERRUPTED, "stream halted");
}

/* ---- one chunk ------------------------------------------------------------------------------------------------ */
static sluice_status tell(struct remote_stream *s, const struct piece *piece, struct sluice_error *err) {
  s->result.emitted = true;
  if (s->tap(s->ctx, piece)) return SLUICE_OK;
  s->result.stopped = true;
  s->result.outcome = OUTCOME_STOPPED;
  return halt(s, err);
}

static sluice_status on_text(void *ctx, const struct wire_key *key, struct slice text, struct sluice_error *err) {
  static const enum channel channels[] = {[WIRE_CONTENT] = CHANNEL_CONTENT,
                                          [WIRE_REASONING] = CHANNEL_REASONING,
                                          [WIRE_TOOL] = CHANNEL_TOOL,
                                          [WIRE_REFUSAL] = CHANNEL_REFUSAL};
  struct remote_stream *s = ctx;
  if (key->choice != 0 || text.len == 0) return SLUICE_OK;
  if (key->channel == WIRE_REASONING) { /* some servers send one thought under two names */
    if (s->thought < 0) s->thought = key->index;
    if (s->thought != key->index) return SLUICE_OK;
  }
  if (key->channel == WIRE_REFUSAL) s->refusal = true;
  sluice_status st = key->channel == WIRE_CONTENT ? buffer_append(s->text, text.ptr, text.len, err) : SLUICE_OK;
  if (st != SLUICE_OK) return st;
  if (s->result.first_token_ns == 0) s->result.first_token_ns = clock_mono_ns();
  if (s->tap == NULL) return SLUICE_OK;
  struct piece piece = {
      .channel = channels[key->channel], .bytes = text, .token = -1, .logprob = NAN, .surprisal = NAN};
  if (key->channel == WIRE_CONTENT) remote_chances_next(&s->chances, &piece);
  return tell(s, &piece, err);
}

/* Tokens of a chunk beyond the one that its text was told with. */
static sluice_status tell_other_tokens(struct remote_stream *s, struct sluice_error *err) {
  struct piece piece = {.channel = CHANNEL_CONTENT, .bytes = {"", 0}, .token = -1};
  sluice_status st = SLUICE_OK;
  while (st == SLUICE_OK && s->tap != NULL && remote_chances_next(&s->chances, &piece)) st = tell(s, &piece, err);
  return st;
}

static int number_at(struct slice json, struct json_span root, const char *path) {
  struct json_span n;
  char digits[16];
  if (!json_span_path(json, root, path, &n) || n.type != JSON_NUMBER || n.end - n.start >= sizeof digits) return -1;
  memcpy(digits, json.ptr + n.start, n.end - n.start);
  digits[n.end - n.start] = '\0';
  char *end = NULL;
  long v = strtol(digits, &end, 10);
  return *end == '\0' && v >= 0 && v <= INT32_MAX ? (int)v : -1;
}

static void take_usage(struct remote_stream *s, struct slice json, struct json_span root) {
  int prompt = number_at(json, root, "usage.prompt_tokens"), output = number_at(json, root, "usage.completion_tokens");
  int total = number_at(json, root, "usage.total_tokens");
  if (prompt >= 0) s->result.prompt_tokens = prompt;
  if (output >= 0) s->result.output_tokens = output;
  if (total >= 0) s->result.total_tokens = total;
}

static sluice_status take_finish(struct remote_stream *s, struct slice json, struct json_span root,
                                 struct sluice_error *err) {
  static const struct {
    const char *word;
    enum outcome outcome;
  } known[] = {{"\"length\"", OUTCOME_TRUNCATED},
               {"\"max_tokens\"", OUTCOME_TRUNCATED},
               {"\"content_filter\"", OUTCOME_REFUSED}};
  struct json_span choices, choice, why;
  if (!json_span_member(json, root, "choices", &choices) || choices.type != JSON_ARRAY) return SLUICE_OK;
  for (size_t i = 0; json_span_element(json, choices, i, &choice); i++) {
    if (number_at(json, choice, "index") > 0) continue;
    if (!json_span_path(json, choice, "finish_reason", &why) || why.type != JSON_STRING) continue;
    struct slice word = {json.ptr + why.start, why.end - why.start};
    if (slice_is(word, "\"abort\"") || slice_is(word, "\"error\"")) {
      remote_fault_set(s->fault, REMOTE_SERVER, true, "the server gave up: finish_reason %.*s", (int)word.len,
                       word.ptr);
      return halt(s, err);
    }
    s->result.finished = true;
    s->result.outcome = s->refusal ? OUTCOME_REFUSED : OUTCOME_DONE;
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
      if (slice_is(word, known[k].word)) s->result.outcome = known[k].outcome;
    }
  }
  return SLUICE_OK;
}

static sluice_status take_chunk(struct remote_stream *s, struct slice json, struct sluice_error *err) {
  struct json_span root, span;
  bool known = false;
  if (json_span_root(json, &root, err) != SLUICE_OK || root.type != JSON_OBJECT) {
    remote_fault_set(s->fault, REMOTE_PROTOCOL, false, "an event is no JSON object: %.*s",
                     (int)(json.len < 100 ? json.len : 100), json.ptr);
    return halt(s, err);
  }
  if (json_span_member(json, root, "error", &span) && span.type != JSON_NULL) {
    char message[300], code[64];
    remote_error_text(json, message, sizeof message, code, sizeof code);
    remote_fault_set(s->fault, REMOTE_SERVER, true, "error event: %s", message);
    return halt(s, err);
  }
  take_usage(s, json, root);
  if (!json_span_member(json, root, "choices", &span)) return SLUICE_OK; /* usage alone, or a server's own event */
  remote_chances_begin(&s->chances, json, root);
  sluice_status st = wire_read_texts(json, NULL, on_text, s, &known, err);
  if (st == SLUICE_OK) st = tell_other_tokens(s, err);
  return st == SLUICE_OK ? take_finish(s, json, root, err) : st;
}

/* ---- the body ------------------------------------------------------------------------------------------------- */
static sluice_status on_event(void *ctx, const struct sse_event *event, struct sluice_error *err) {
  struct remote_stream *s = ctx;
  if (!event->has_data || event->data.len == 0 || s->done) return SLUICE_OK;
  if (slice_is(event->data, "[DONE]")) {
    s->done = true;
    return SLUICE_OK;
  }
  return take_chunk(s, event->data, err);
}

/* A parser's or reader's own error (an event past its bound, text past its limit) is the server's fault. */
static bool go_on(struct remote_stream *s, sluice_status st, const struct sluice_error *err,
                  struct remote_fault *fault) {
  if (st != SLUICE_OK && !s->halted) remote_fault_set(fault, REMOTE_PROTOCOL, false, "%.400s", err->message);
  return st == SLUICE_OK;
}

bool remote_stream_push(struct remote_stream *s, const char *bytes, size_t len, struct remote_fault *fault) {
  struct sluice_error err;
  s->fault = fault;
  return go_on(s, sse_push(&s->sse, (struct slice){bytes, len}, &err), &err, fault);
}

void remote_stream_end(struct remote_stream *s, struct remote_fault *fault) {
  struct sluice_error err;
  s->fault = fault;
  if (!s->done && !go_on(s, sse_end(&s->sse, &err), &err, fault)) return;
  if (s->result.finished) return;
  if (s->done) {
    remote_fault_set(fault, REMOTE_PROTOCOL, false, "the stream ended with [DONE] but without a finish_reason");
  } else {
    remote_fault_set(fault, REMOTE_NETWORK, true, "the stream broke off before a finish_reason");
  }
}

void remote_error_text(struct slice body, char *message, size_t cap, char *code, size_t code_cap) {
  struct json_span root, error, span;
  struct sluice_error err;
  struct buffer text;
  buffer_init(&text, 1 << 20);
  code[0] = '\0';
  bool json = body.len > 0 && json_span_root(body, &root, &err) == SLUICE_OK && root.type == JSON_OBJECT;
  if (json && (!json_span_member(body, root, "error", &error) || error.type != JSON_OBJECT)) error = root;
  if (json && json_span_member(body, error, "message", &span) && span.type == JSON_STRING) {
    json_span_decode(body, span, &text, &err);
  }
  static const char *const keys[] = {"code", "type"};
  for (size_t i = 0; json && i < 2 && code[0] == '\0'; i++) {
    if (!json_span_member(body, error, keys[i], &span) || span.type != JSON_STRING) continue;
    snprintf(code, code_cap, "%.*s", (int)(span.end - span.start - 2), body.ptr + span.start + 1);
  }
  const char *from = text.len > 0 ? text.ptr : body.len > 0 ? body.ptr : "(no text)";
  size_t len = text.len > 0 ? text.len : body.len > 0 ? body.len : strlen(from);
  size_t at = 0;
  for (size_t i = 0; i < len && at + 1 < cap; i++)
    message[at++] = (unsigned char)from[i] < 0x20 || from[i] == 0x7f ? ' ' : from[i];
  size_t bad, whole = utf8_valid_prefix(message, at, &bad); /* the cut may have split a character */
  for (size_t i = 0; i < at && bad != at; i++) message[i] = (unsigned char)message[i] < 0x80 ? message[i] : '?';
  message[bad == at ? whole : at] = '\0';
  buffer_free(&text);
}
