/* OpenAI Chat Completions, streamed chunks (choices[].delta) and whole bodies (choices[].message), with what compatible
 * servers add: reasoning_content (DeepSeek, vLLM), reasoning (OpenRouter, Ollama), content as a list of parts. */
#include "wire/dialect.h"

#include <inttypes.h>
#include <string.h>

enum { LOGPROBS = 16 }; /* as index of a text: the tokens of its log-probabilities */

/* A part of a list: its text, whatever the server calls it (Mistral's thinking, a summary). */
static sluice_status add_part(struct slice json, struct json_span part, struct wire_key k, struct sketch *s,
                              struct sluice_error *err) {
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  if (part.type == JSON_STRING) return sketch_add_text(s, (struct sketch_text){.key = k, .value = part}, err);
  if (member_is(json, part, "type", "reasoning.encrypted")) return SLUICE_OK; /* ciphertext */
  while (!st && next_member(json, part, s, &m)) {
    bool string = m.value.type == JSON_STRING;
    if (string && member_named(json, &m, "text"))
      st = add_member_text(&m, k, s, err);
    else if (string && member_named(json, &m, "refusal"))
      st = add_member_text(&m, (struct wire_key){k.choice, WIRE_REFUSAL, 0}, s, err);
    else if (!member_named(json, &m, "format"))
      st = add_rest(json, &m, k, true, s, err);
  }
  return st;
}

/* A string, or a list of parts. */
static sluice_status add_text(struct slice json, const struct member *m, struct wire_key k, struct sketch *s,
                              struct sluice_error *err) {
  struct json_span part = {0};
  sluice_status st = SLUICE_OK;
  if (m->value.type == JSON_STRING) return add_member_text(m, k, s, err);
  if (m->value.type == JSON_OBJECT) return add_part(json, m->value, k, s, err);
  while (!st && json_span_next(json, m->value, &part)) st = add_part(json, part, k, s, err);
  return st;
}

/* What is called, and with which arguments: a string of JSON, or with some servers an object. */
static sluice_status add_function(struct slice json, struct json_span fn, struct wire_key k, struct sketch *s,
                                  struct sluice_error *err) {
  static const char *const said[] = {"arguments", "input", NULL};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, fn, s, &m)) {
    if (!member_among(json, &m, said))
      st = add_rest(json, &m, k, false, s, err);
    else
      st = m.value.type == JSON_STRING ? add_member_text(&m, k, s, err) : add_structure(json, m.value, k, s, err);
  }
  return st;
}

static sluice_status add_calls(struct slice json, struct json_span list, int64_t choice, struct sketch *s,
                               struct sluice_error *err) {
  static const char *const functions[] = {"function", "custom", NULL};
  struct json_span call = {0};
  sluice_status st = SLUICE_OK;
  for (int64_t i = 0; !st && json_span_next(json, list, &call); i++) {
    struct wire_key k = {choice, WIRE_TOOL, whole_number(json, call, "index", i)};
    struct member m = {{0}, {0}, 0};
    while (!st && next_member(json, call, s, &m)) {
      bool fn = m.value.type == JSON_OBJECT && member_among(json, &m, functions);
      st = fn ? add_function(json, m.value, k, s, err) : add_rest(json, &m, k, true, s, err);
    }
  }
  return st;
}

static sluice_status read_audio(struct slice json, struct json_span audio, int64_t choice, struct sketch *s,
                                struct sluice_error *err) {
  struct wire_key k = {choice, WIRE_CONTENT, 1};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, audio, s, &m)) {
    if (member_named(json, &m, "data")) continue; /* sound */
    bool said = m.value.type == JSON_STRING && member_named(json, &m, "transcript");
    st = said ? add_member_text(&m, k, s, err) : add_rest(json, &m, k, true, s, err);
  }
  return st;
}

static sluice_status read_message(struct slice json, struct json_span message, int64_t choice, struct sketch *s,
                                  struct sluice_error *err) {
  /* Some servers send the same thought under two names: each name is a text of its own, or pieces would interleave. */
  static const struct {
    const char *name;
    int channel;
    int64_t index;
  } texts[] = {{"content", WIRE_CONTENT, 0},
               {"reasoning_content", WIRE_REASONING, 0},
               {"reasoning", WIRE_REASONING, 1},
               {"reasoning_details", WIRE_REASONING, 2},
               {"refusal", WIRE_REFUSAL, 0}};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, message, s, &m)) {
    struct wire_key k = {choice, WIRE_CONTENT, 0};
    size_t i = 0, n = sizeof texts / sizeof *texts;
    while (i < n && !member_named(json, &m, texts[i].name)) i++;
    if (i < n) k = (struct wire_key){choice, texts[i].channel, texts[i].index};
    if (i < n)
      st = add_text(json, &m, k, s, err);
    else if (m.value.type == JSON_ARRAY && member_named(json, &m, "tool_calls"))
      st = add_calls(json, m.value, choice, s, err);
    else if (m.value.type == JSON_OBJECT && member_named(json, &m, "function_call"))
      st = add_function(json, m.value, (struct wire_key){choice, WIRE_TOOL, -1}, s, err);
    else if (m.value.type == JSON_OBJECT && member_named(json, &m, "audio"))
      st = read_audio(json, m.value, choice, s, err);
    else
      st = add_rest(json, &m, k, true, s, err);
  }
  return st;
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

static bool speaks(const struct sketch *s, size_t from) { /* any text that is not beside the known ones */
  while (from < s->n_texts && s->texts[from].aside) from++;
  return from < s->n_texts;
}

static sluice_status read_choice(struct slice json, struct json_span entry, size_t at, struct sketch *s,
                                 struct sluice_error *err) {
  struct sketch_choice c = {.choice = whole_number(json, entry, "index", (int64_t)at), .stopped = "\"content_filter\""};
  struct wire_key content = {c.choice, WIRE_CONTENT, 0};
  struct json_span message, role;
  struct member m = {{0}, {0}, 0};
  size_t texts = s->n_texts;
  bool delta = member_of(json, entry, "delta", JSON_OBJECT, &message);
  c.whole = !delta && member_of(json, entry, "message", JSON_OBJECT, &message);
  sluice_status st = delta || c.whole ? read_message(json, message, c.choice, s, err) : SLUICE_OK;
  while (!st && next_member(json, entry, s, &m)) {
    bool read = (delta || c.whole) && m.value.start == message.start;
    if (read || member_among(json, &m, choice_words)) continue;
    if (!delta && !c.whole && m.value.type == JSON_STRING && member_named(json, &m, "text"))
      st = add_member_text(&m, content, s, err); /* a choice of Completions beside ours */
    else
      st = add_rest(json, &m, content, !c.whole, s, err);
  }
  c.wide = !speaks(s, texts) || ((delta || c.whole) && member_of(json, message, "role", JSON_STRING, &role));
  if (!st) st = read_logprobs(json, entry, c.choice, s, err);
  c.has_reason = json_span_member(json, entry, "finish_reason", &c.reason);
  c.finish = c.whole || (c.has_reason && c.reason.type != JSON_NULL);
  return st ? st : sketch_add_choice(s, c, err);
}

static bool names_an_id(struct slice json, const struct member *m) {
  static const char tail[] = "_id\"";
  size_t n = sizeof tail - 1;
  return m->key.end - m->key.start > n && memcmp(json.ptr + m->key.end - n, tail, n) == 0;
}

sluice_status openai_read_root(struct slice json, struct json_span root, struct sketch *s, struct sluice_error *err) {
  /* Said once, and whole; nothing else of what servers add may go by unread either (llama.cpp's __verbose repeats each
   * piece, Perplexity names pictures). */
  static const char *const said[] = {"error",          "message",           "detail", "citations",
                                     "search_results", "related_questions", NULL};
  static const char *const no_text[] = {"id",
                                        "object",
                                        "created",
                                        "model",
                                        "choices",
                                        "usage",
                                        "system_fingerprint",
                                        "service_tier",
                                        "provider",
                                        "obfuscation",
                                        "p", /* Mistral's obfuscation */
                                        "prompt_filter_results",
                                        "prompt_token_ids",
                                        "kv_transfer_params",
                                        NULL};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, root, s, &m)) {
    if (member_among(json, &m, no_text) || names_an_id(json, &m)) continue;
    bool whole = m.value.type < JSON_STRING || member_among(json, &m, said);
    st = add_rest(json, &m, (struct wire_key){0, WIRE_CONTENT, 0}, !whole, s, err);
  }
  if (st || s->n_choices || s->n_texts == 0) return st;
  return sketch_add_choice(s, (struct sketch_choice){.wide = true, .bare = true}, err);
}

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  (void)text_key;
  struct json_span list, entry, v;
  bool listed = json_span_member(json, root, "choices", &list);
  if (listed ? list.type == JSON_NULL : member_is(json, root, "object", "chat.completion.chunk")) {
    *known = true; /* usage, from servers that leave the list out */
    return openai_read_root(json, root, s, err);
  }
  if (!listed || list.type != JSON_ARRAY) return SLUICE_OK;
  if (json_span_element(json, list, 0, &entry) && !member_of(json, entry, "delta", JSON_OBJECT, &v) &&
      member_of(json, entry, "text", JSON_STRING, &v))
    return SLUICE_OK; /* Completions */
  *known = true;
  sluice_status st = SLUICE_OK;
  entry = (struct json_span){0};
  for (size_t i = 0; !st && json_span_next(json, list, &entry); i++) st = read_choice(json, entry, i, s, err);
  return st ? st : openai_read_root(json, root, s, err);
}

sluice_status openai_ending(const struct ending *e, const char *entry, struct buffer *out, struct sluice_error *err) {
  static const char *const carried[] = {"id",           "object",  "created", "model", "system_fingerprint",
                                        "service_tier", "provider"};
  struct slice like = e->like;
  struct json_span root, v;
  sluice_status st = json_span_root_lenient(like, &root, err);
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
