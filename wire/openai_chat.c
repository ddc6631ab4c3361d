/* OpenAI Chat Completions, streamed chunks (choices[].delta) and whole bodies (choices[].message), with what compatible
 * servers add: reasoning_content (DeepSeek, vLLM), reasoning (OpenRouter, Ollama), content as a list of parts. */
#include "wire/dialect.h"

#include <inttypes.h>

enum { LOGPROBS = 16 }; /* as index of a text: the tokens of its log-probabilities */

/* A list of parts or details: the text of each. */
static sluice_status add_parts(struct slice json, struct json_span o, const char *key, struct wire_key k,
                               struct sketch *s, struct sluice_error *err) {
  struct json_span list, part;
  sluice_status st = SLUICE_OK;
  if (!member_of(json, o, key, JSON_ARRAY, &list)) return SLUICE_OK;
  for (size_t i = 0; !st && json_span_element(json, list, i, &part); i++) {
    st = add_string(json, part, "text", k, s, err);
    if (!st) st = add_string(json, part, "refusal", (struct wire_key){k.choice, WIRE_REFUSAL, 0}, s, err);
  }
  return st;
}

static sluice_status add_calls(struct slice json, struct json_span message, int64_t choice, struct sketch *s,
                               struct sluice_error *err) {
  struct json_span list, call, fn;
  sluice_status st = SLUICE_OK;
  if (member_of(json, message, "tool_calls", JSON_ARRAY, &list)) {
    for (size_t i = 0; !st && json_span_element(json, list, i, &call); i++) {
      struct wire_key k = {choice, WIRE_TOOL, whole_number(json, call, "index", (int64_t)i)};
      if (member_of(json, call, "function", JSON_OBJECT, &fn)) st = add_string(json, fn, "arguments", k, s, err);
      if (!st && member_of(json, call, "custom", JSON_OBJECT, &fn)) st = add_string(json, fn, "input", k, s, err);
    }
  }
  if (!st && member_of(json, message, "function_call", JSON_OBJECT, &fn))
    st = add_string(json, fn, "arguments", (struct wire_key){choice, WIRE_TOOL, -1}, s, err);
  return st;
}

static sluice_status read_message(struct slice json, struct json_span message, int64_t choice, struct sketch *s,
                                  struct sluice_error *err) {
  struct wire_key content = {choice, WIRE_CONTENT, 0}, reasoning = {choice, WIRE_REASONING, 0};
  struct wire_key refusal = {choice, WIRE_REFUSAL, 0};
  struct json_span audio;
  /* Some servers send the same thought under two names: each name is a text of its own, or pieces would interleave. */
  sluice_status st = add_string(json, message, "reasoning_content", reasoning, s, err);
  if (!st) st = add_string(json, message, "reasoning", (struct wire_key){choice, WIRE_REASONING, 1}, s, err);
  if (!st) st = add_parts(json, message, "reasoning_details", (struct wire_key){choice, WIRE_REASONING, 2}, s, err);
  if (!st) st = add_string(json, message, "content", content, s, err);
  if (!st) st = add_parts(json, message, "content", content, s, err);
  if (!st && member_of(json, message, "audio", JSON_OBJECT, &audio))
    st = add_string(json, audio, "transcript", (struct wire_key){choice, WIRE_CONTENT, 1}, s, err);
  if (!st) st = add_string(json, message, "refusal", refusal, s, err);
  return st ? st : add_calls(json, message, choice, s, err);
}

/* content and refusal are lists of {token, logprob, bytes, top_logprobs}. Their tokens are texts of their own, because
 * servers send them earlier and later than the text that they spell. */
static sluice_status read_logprobs(struct slice json, struct json_span entry, int64_t choice, struct sketch *s,
                                   struct sluice_error *err) {
  struct sketch_logprobs l = {.choice = choice, .emptied = "null"};
  struct json_span list;
  sluice_status st = SLUICE_OK;
  if (!json_span_member(json, entry, "logprobs", &l.whole) || l.whole.type == JSON_NULL) return SLUICE_OK;
  if (l.whole.type != JSON_OBJECT) return sketch_add_logprobs(s, l, err);
  if (member_of(json, l.whole, "content", JSON_ARRAY, &list))
    st = add_logprobs(json, list, l, (struct wire_key){choice, WIRE_CONTENT, LOGPROBS}, false, s, err);
  if (!st && member_of(json, l.whole, "refusal", JSON_ARRAY, &list))
    st = add_logprobs(json, list, l, (struct wire_key){choice, WIRE_REFUSAL, LOGPROBS}, false, s, err);
  return st;
}

static sluice_status read_choice(struct slice json, struct json_span entry, size_t at, struct sketch *s,
                                 struct sluice_error *err) {
  struct sketch_choice c = {.choice = whole_number(json, entry, "index", (int64_t)at)};
  struct json_span message, role;
  size_t texts = s->n_texts;
  bool delta = member_of(json, entry, "delta", JSON_OBJECT, &message);
  c.whole = !delta && member_of(json, entry, "message", JSON_OBJECT, &message);
  sluice_status st = delta || c.whole ? read_message(json, message, c.choice, s, err) : SLUICE_OK;
  if (!st && !delta && !c.whole) /* a choice of Completions beside ours */
    st = add_string(json, entry, "text", (struct wire_key){c.choice, WIRE_CONTENT, 0}, s, err);
  c.wide = s->n_texts == texts || ((delta || c.whole) && member_of(json, message, "role", JSON_STRING, &role));
  if (!st) st = read_logprobs(json, entry, c.choice, s, err);
  c.has_reason = json_span_member(json, entry, "finish_reason", &c.reason);
  c.finish = c.whole || (c.has_reason && c.reason.type != JSON_NULL);
  c.stopped = "\"content_filter\"";
  return st ? st : sketch_add_choice(s, c, err);
}

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  (void)text_key;
  struct json_span list, entry, v;
  if (!member_of(json, root, "choices", JSON_ARRAY, &list)) return SLUICE_OK;
  if (json_span_element(json, list, 0, &entry) && !member_of(json, entry, "delta", JSON_OBJECT, &v) &&
      member_of(json, entry, "text", JSON_STRING, &v))
    return SLUICE_OK; /* Completions */
  *known = true;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && json_span_element(json, list, i, &entry); i++) st = read_choice(json, entry, i, s, err);
  return st;
}

sluice_status openai_ending(const struct ending *e, const char *entry, struct buffer *out, struct sluice_error *err) {
  static const char *const carried[] = {"id",           "object",  "created", "model", "system_fingerprint",
                                        "service_tier", "provider"};
  struct slice like = e->like;
  struct json_span root, v;
  sluice_status st = json_span_root(like, &root, err);
  if (!st) st = buffer_append_str(out, "{", err);
  for (size_t i = 0; !st && i < sizeof carried / sizeof *carried; i++) {
    if (!json_span_member(like, root, carried[i], &v)) continue;
    st = buffer_printf(out, err, "\"%s\":", carried[i]);
    if (!st) st = buffer_append(out, like.ptr + v.start, v.end - v.start, err);
    if (!st) st = buffer_append_str(out, ",", err);
  }
  if (st) return st;
  return buffer_printf(
      out, err, "\"choices\":[{\"index\":%" PRId64 ",%s,\"logprobs\":null,\"finish_reason\":\"content_filter\"}]}",
      e->choice, entry);
}

static sluice_status make_ending(const struct ending *e, struct buffer *out, struct sluice_error *err) {
  return openai_ending(e, "\"delta\":{}", out, err);
}

const struct dialect dialect_openai_chat = {"openai_chat", read_frame, make_ending, "[DONE]", false, false};
