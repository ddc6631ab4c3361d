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
  struct buffer line, data, decoded;
  bool done, refusal;
};

sluice_status remote_stream_open(piece_fn tap, void *ctx, struct buffer *text, struct remote_stream **out,
                                 struct sluice_error *err) {
  struct remote_stream *s = calloc(1, sizeof *s);
  if (s == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  s->tap = tap;
  s->ctx = ctx;
  s->text = text;
  s->result = (struct remote_stream_result){
      .outcome = OUTCOME_ERROR, .prompt_tokens = -1, .output_tokens = -1, .total_tokens = -1};
  buffer_init(&s->line, EVENT_LIMIT);
  buffer_init(&s->data, EVENT_LIMIT);
  buffer_init(&s->decoded, EVENT_LIMIT);
  *out = s;
  return SLUICE_OK;
}

void remote_stream_close(struct remote_stream *s) {
  if (s == NULL) return;
  buffer_free(&s->line);
  buffer_free(&s->data);
  buffer_free(&s->decoded);
  free(s);
}

const struct remote_stream_result *remote_stream_result(const struct remote_stream *s) {
  return &s->result;
}

/* ---- one chunk ------------------------------------------------------------------------------------------------ */
/* Hands a text member of the delta on. False: stop. */
static bool take(struct remote_stream *s, struct slice json, struct json_span delta, const char *key,
                 enum channel channel, struct remote_fault *fault) {
  struct json_span span;
  struct sluice_error err;
  if (!json_span_member(json, delta, key, &span) || span.type != JSON_STRING) return true;
  buffer_clear(&s->decoded);
  sluice_status st = json_span_decode(json, span, &s->decoded, &err);
  if (st == SLUICE_OK && s->decoded.len > 0 && channel == CHANNEL_CONTENT) {
    st = buffer_append(s->text, s->decoded.ptr, s->decoded.len, &err);
  }
  if (st != SLUICE_OK) {
    remote_fault_set(fault, REMOTE_PROTOCOL, false, "%.300s", err.message);
    return false;
  }
  if (s->decoded.len == 0) return true;
  if (s->result.first_token_ns == 0) s->result.first_token_ns = clock_mono_ns();
  if (channel == CHANNEL_REFUSAL) s->refusal = true;
  if (s->tap == NULL) return true;
  struct piece piece = {
      .channel = channel, .bytes = {s->decoded.ptr, s->decoded.len}, .token = -1, .logprob = NAN, .surprisal = NAN};
  s->result.emitted = true;
  if (s->tap(s->ctx, &piece)) return true;
  s->result.stopped = true;
  s->result.outcome = OUTCOME_STOPPED;
  return false;
}

static bool take_delta(struct remote_stream *s, struct slice json, struct json_span delta, struct remote_fault *fault) {
  struct json_span calls, call;
  if (!take(s, json, delta, "reasoning_content", CHANNEL_REASONING, fault) ||
      !take(s, json, delta, "reasoning", CHANNEL_REASONING, fault) ||
      !take(s, json, delta, "content", CHANNEL_CONTENT, fault) ||
      !take(s, json, delta, "refusal", CHANNEL_REFUSAL, fault)) {
    return false;
  }
  if (!json_span_member(json, delta, "tool_calls", &calls) || calls.type != JSON_ARRAY) return true;
  for (size_t i = 0; i < json_span_count(json, calls); i++) {
    if (json_span_element(json, calls, i, &call) && json_span_path(json, call, "function", &call) &&
        !take(s, json, call, "arguments", CHANNEL_TOOL, fault)) {
      return false;
    }
  }
  return true;
}

static int number_at(struct slice json, struct json_span root, const char *path) {
  struct json_span n;
  if (!json_span_path(json, root, path, &n) || n.type != JSON_NUMBER) return -1;
  long v = strtol(json.ptr + n.start, NULL, 10);
  return v >= 0 && v <= INT32_MAX ? (int)v : -1;
}

static bool take_finish(struct remote_stream *s, struct slice json, struct json_span why, struct remote_fault *fault) {
  static const struct {
    const char *word;
    enum outcome outcome;
  } known[] = {{"\"length\"", OUTCOME_TRUNCATED},
               {"\"max_tokens\"", OUTCOME_TRUNCATED},
               {"\"content_filter\"", OUTCOME_REFUSED}};
  struct slice word = {json.ptr + why.start, why.end - why.start};
  if (slice_is(word, "\"abort\"") || slice_is(word, "\"error\"")) {
    remote_fault_set(fault, REMOTE_SERVER, true, "the server gave up: finish_reason %.*s", (int)word.len, word.ptr);
    return false;
  }
  s->result.finished = true;
  s->result.outcome = s->refusal ? OUTCOME_REFUSED : OUTCOME_DONE;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (slice_is(word, known[i].word)) s->result.outcome = known[i].outcome;
  }
  return true;
}

static bool take_chunk(struct remote_stream *s, struct slice json, struct remote_fault *fault) {
  struct json_span root, choices, span;
  struct sluice_error err;
  if (json_span_root(json, &root, &err) != SLUICE_OK || root.type != JSON_OBJECT) {
    remote_fault_set(fault, REMOTE_PROTOCOL, false, "an event is no JSON object: %.100s", json.ptr);
    return false;
  }
  if (json_span_member(json, root, "error", &span) && span.type != JSON_NULL) {
    char message[300], code[64];
    remote_error_text(json, message, sizeof message, code, sizeof code);
    remote_fault_set(fault, REMOTE_SERVER, true, "error event: %s", message);
    return false;
  }
  int tokens = number_at(json, root, "usage.prompt_tokens");
  if (tokens >= 0) s->result.prompt_tokens = tokens;
  tokens = number_at(json, root, "usage.completion_tokens");
  if (tokens >= 0) s->result.output_tokens = tokens;
  tokens = number_at(json, root, "usage.total_tokens");
  if (tokens >= 0) s->result.total_tokens = tokens;
  if (!json_span_member(json, root, "choices", &choices) || choices.type != JSON_ARRAY) return true;
  for (size_t i = 0; i < json_span_count(json, choices); i++) {
    struct json_span choice, delta;
    if (!json_span_element(json, choices, i, &choice) || number_at(json, choice, "index") > 0) continue;
    if (json_span_member(json, choice, "delta", &delta) && delta.type == JSON_OBJECT &&
        !take_delta(s, json, delta, fault))
      return false;
    if (json_span_member(json, choice, "finish_reason", &span) && span.type == JSON_STRING &&
        !take_finish(s, json, span, fault))
      return false;
  }
  return true;
}

/* ---- the body ------------------------------------------------------------------------------------------------- */
static bool take_line(struct remote_stream *s, struct remote_fault *fault) {
  struct sluice_error err;
  struct slice line = {s->line.ptr, s->line.len};
  if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
  bool on = true;
  if (line.len == 0) {
    if (s->data.len > 0) {
      if (slice_is((struct slice){s->data.ptr, s->data.len}, "[DONE]"))
        s->done = true;
      else
        on = take_chunk(s, (struct slice){s->data.ptr, s->data.len}, fault);
      buffer_clear(&s->data);
    }
  } else if (line.len >= 5 && memcmp(line.ptr, "data:", 5) == 0) {
    size_t skip = line.len > 5 && line.ptr[5] == ' ' ? 6 : 5;
    if (s->data.len > 0) buffer_append(&s->data, "\n", 1, &err);
    if (buffer_append(&s->data, line.ptr + skip, line.len - skip, &err) != SLUICE_OK) {
      remote_fault_set(fault, REMOTE_PROTOCOL, false, "%.300s", err.message);
      on = false;
    }
  }
  buffer_clear(&s->line);
  return on;
}

bool remote_stream_push(struct remote_stream *s, const char *bytes, size_t len, struct remote_fault *fault) {
  struct sluice_error err;
  while (len > 0) {
    const char *end = memchr(bytes, '\n', len);
    size_t n = end != NULL ? (size_t)(end - bytes) : len;
    if (buffer_append(&s->line, bytes, n, &err) != SLUICE_OK) {
      remote_fault_set(fault, REMOTE_PROTOCOL, false, "%.300s", err.message);
      return false;
    }
    if (end == NULL) return true;
    if (!take_line(s, fault)) return false;
    bytes = end + 1;
    len -= n + 1;
  }
  return true;
}

void remote_stream_end(struct remote_stream *s, struct remote_fault *fault) {
  if (s->line.len > 0 && !take_line(s, fault)) return;
  if (s->data.len > 0 && !take_line(s, fault)) return;
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
  message[at] = '\0';
  buffer_free(&text);
}
