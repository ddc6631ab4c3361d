/* Keys that stand twice in one object: some readers take the first, most the last. */
#include "wire/dialect.h"

#include <string.h>

/* What dialects find texts by. A text's own key may stand twice, as each of its places is judged; what leads to texts,
 * or says what they are, may not. */
static const char *const once[] = {"choices",       "delta",       "message",       "index",         "finish_reason",
                                   "tool_calls",    "function",    "custom",        "audio",         "function_call",
                                   "logprobs",      "token",       "tokens",        "bytes",         "type",
                                   "object",        "response",    "item",          "part",          "output",
                                   "output_index",  "error",       "content_index", "summary_index", "sequence_number",
                                   "content_block", "stop_reason", "status"};
static const char *const texts[] = {"content",           "text",       "refusal",  "reasoning", "reasoning_content",
                                    "reasoning_details", "summary",    "thinking", "input",     "arguments",
                                    "partial_json",      "output_text"};

static sluice_status refuse(struct json_span v, const char *key, struct sluice_error *err) {
  return sluice_fail(err, SLUICE_INPUT,
                     "byte %zu: \"%s\" stands twice in one object, so that two readers would read two things", v.start,
                     key);
}

/* Whether the members of this name say different things, or hold texts that only one of two readers sees. */
static sluice_status check_key(struct slice json, struct json_span o, const char *name, bool may,
                               struct sluice_error *err) {
  struct json_span key = {0}, v = {0}, before = {0};
  while (json_span_next_member(json, o, &key, &v)) {
    if (!json_span_key_is(json, key, name)) continue;
    size_t n = v.end - v.start;
    if (before.end) {
      bool holds = v.type >= JSON_ARRAY || before.type >= JSON_ARRAY;
      bool same = n == before.end - before.start && !memcmp(json.ptr + v.start, json.ptr + before.start, n);
      if (holds || (!may && !same)) return refuse(v, name, err);
    }
    before = v;
  }
  return SLUICE_OK;
}

static sluice_status check_value(struct slice json, struct json_span v, struct sluice_error *err) {
  struct json_span key = {0}, each = {0};
  sluice_status st = SLUICE_OK;
  bool twice = v.type == JSON_OBJECT && json_span_keys_repeat(json, v);
  for (size_t i = 0; !st && twice && i < sizeof once / sizeof *once; i++) st = check_key(json, v, once[i], false, err);
  for (size_t i = 0; !st && twice && i < sizeof texts / sizeof *texts; i++)
    st = check_key(json, v, texts[i], true, err);
  /* as deep as a text may be: 64 */
  while (!st && v.type == JSON_OBJECT && json_span_next_member(json, v, &key, &each)) st = check_value(json, each, err);
  while (!st && v.type == JSON_ARRAY && json_span_next(json, v, &each)) st = check_value(json, each, err);
  return st;
}

sluice_status repeats_check(struct slice json, struct json_span root, struct sketch *s, struct sluice_error *err) {
  size_t at = 0;
  s->repeats = json_span_repeats(json, root, &at);
  return s->repeats ? check_value(json, root, err) : SLUICE_OK;
}
