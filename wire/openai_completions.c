/* OpenAI Completions: choices[].text, in pieces and whole; the two look alike, so that the filter says which it is by
 * the format. */
#include "wire/dialect.h"

enum { LOGPROBS = 16 }; /* as index of a text: the tokens of its log-probabilities */

/* {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{token: number}, ...], "text_offset": [...]} */
static sluice_status read_logprobs(struct slice json, struct json_span entry, int64_t choice, struct sketch *s,
                                   struct sluice_error *err) {
  struct sketch_logprobs l = {.choice = choice, .emptied = "null"};
  struct json_span v, tokens = {0}, tops = {0};
  if (!json_span_member(json, entry, "logprobs", &l.whole) || l.whole.type == JSON_NULL) return SLUICE_OK;
  if (member_of(json, l.whole, "content", JSON_ARRAY, &v)) /* llama.cpp's server: as Chat Completions have them */
    return add_logprobs(json, v, l, (struct wire_key){choice, WIRE_CONTENT, LOGPROBS}, false, s, err);
  bool listed = member_of(json, l.whole, "tokens", JSON_ARRAY, &tokens);
  bool among = member_of(json, l.whole, "top_logprobs", JSON_ARRAY, &tops);
  sluice_status st = sketch_add_logprobs(s, l, err);
  struct json_span other = {0};
  v = (struct json_span){0};
  while (!st && listed && json_span_next(json, tokens, &v)) {
    struct sketch_text t = {.key = {choice, WIRE_CONTENT, LOGPROBS}, .value = v, .spelled = s->n_logprobs};
    among = among && json_span_next(json, tops, &other);
    if (v.type != JSON_STRING) continue;
    if (among) t.others = other;
    st = sketch_add_text(s, t, err);
  }
  return st;
}

static sluice_status read_choice(struct slice json, struct json_span entry, size_t at, struct sketch *s,
                                 struct sluice_error *err) {
  struct sketch_choice c = {.choice = whole_number(json, entry, "index", (int64_t)at), .stopped = "\"content_filter\""};
  struct wire_key content = {c.choice, WIRE_CONTENT, 0};
  struct member m = {{0}, {0}, 0};
  size_t texts = s->n_texts;
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, entry, s, &m)) {
    if (member_among(json, &m, choice_words)) continue;
    bool text = m.value.type == JSON_STRING && member_named(json, &m, "text");
    /* what belongs to the other interface, or to none: nothing that a choice says goes by unread */
    st = text ? add_member_text(&m, content, s, err) : add_rest(json, &m, content, true, s, err);
  }
  c.wide = s->n_texts == texts;
  if (!st) st = read_logprobs(json, entry, c.choice, s, err);
  c.has_reason = json_span_member(json, entry, "finish_reason", &c.reason);
  c.finish = c.has_reason && c.reason.type != JSON_NULL;
  return st ? st : sketch_add_choice(s, c, err);
}

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  struct json_span list, entry;
  sluice_status st = SLUICE_OK;
  (void)text_key;
  if (!member_of(json, root, "choices", JSON_ARRAY, &list)) return SLUICE_OK;
  *known = true;
  entry = (struct json_span){0};
  for (size_t i = 0; !st && json_span_next(json, list, &entry); i++) st = read_choice(json, entry, i, s, err);
  return st ? st : openai_read_root(json, root, s, err);
}

static sluice_status make_ending(const struct ending *e, struct buffer *out, struct sluice_error *err) {
  return openai_ending(e, "\"text\":\"\"", out, err);
}

const struct dialect dialect_openai_completions = {
    "openai_completions", read_frame, make_ending, "[DONE]", false, false};
