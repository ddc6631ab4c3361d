/* Anthropic Messages: the events of a stream (message_start, content_block_start/delta/stop, message_delta,
 * message_stop, ping, error) and whole messages. Each content block is a text of its own. */
#include "wire/dialect.h"

#include <inttypes.h>

/* One block of a whole message, or as content_block_start shows it. */
static sluice_status read_block(struct slice json, struct json_span block, int64_t index, struct sketch *s,
                                struct sluice_error *err) {
  struct wire_key content = {0, WIRE_CONTENT, index};
  struct json_span v;
  sluice_status st = SLUICE_OK;
  if (block.type == JSON_STRING) return sketch_add_text(s, (struct sketch_text){.key = content, .value = block}, err);
  if (member_is(json, block, "type", "redacted_thinking")) return SLUICE_OK; /* ciphertext */
  if (member_is(json, block, "type", "text")) {
    st = add_string(json, block, "text", content, s, err);
    if (!st && json_span_member(json, block, "citations", &v)) st = add_values(json, v, content, false, s, err);
    return st;
  }
  if (member_is(json, block, "type", "thinking"))
    return add_string(json, block, "thinking", (struct wire_key){0, WIRE_REASONING, index}, s, err);
  if (json_span_member(json, block, "input", &v))
    return add_structure(json, v, (struct wire_key){0, WIRE_TOOL, index}, s, err);
  return add_values(json, block, content, false, s, err); /* what the server's own tools found */
}

static sluice_status read_delta(struct slice json, struct json_span delta, int64_t index, struct sketch *s,
                                struct sluice_error *err) {
  struct wire_key content = {0, WIRE_CONTENT, index};
  if (member_is(json, delta, "type", "text_delta")) return add_string(json, delta, "text", content, s, err);
  if (member_is(json, delta, "type", "thinking_delta"))
    return add_string(json, delta, "thinking", (struct wire_key){0, WIRE_REASONING, index}, s, err);
  if (member_is(json, delta, "type", "input_json_delta"))
    return add_string(json, delta, "partial_json", (struct wire_key){0, WIRE_TOOL, index}, s, err);
  if (member_is(json, delta, "type", "signature_delta")) return SLUICE_OK;
  if (member_is(json, delta, "type", "citations_delta")) return add_values(json, delta, content, false, s, err);
  return add_values(json, delta, (struct wire_key){0, WIRE_CONTENT, -1}, true, s, err);
}

static sluice_status read_blocks(struct slice json, struct json_span message, struct sketch *s,
                                 struct sluice_error *err) {
  struct json_span list, block;
  sluice_status st = SLUICE_OK;
  if (!json_span_member(json, message, "content", &list)) return SLUICE_OK;
  if (list.type == JSON_STRING) return read_block(json, list, 0, s, err);
  if (list.type != JSON_ARRAY) return SLUICE_OK;
  for (size_t i = 0; !st && json_span_element(json, list, i, &block); i++)
    st = read_block(json, block, (int64_t)i, s, err);
  return st;
}

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  (void)text_key;
  struct sketch_choice c = {.wide = true, .stopped = "\"refusal\""};
  struct json_span v, reason;
  struct slice type;
  sluice_status st = SLUICE_OK;
  if (!member_of(json, root, "type", JSON_STRING, &v)) return SLUICE_OK;
  type = (struct slice){json.ptr + v.start + 1, v.end - v.start - 2};
  c.block = whole_number(json, root, "index", 0);
  if (slice_is(type, "message") && json_span_member(json, root, "content", &v)) {
    c.whole = c.finish = true;
    c.has_reason = json_span_member(json, root, "stop_reason", &c.reason);
    st = read_blocks(json, root, s, err);
  } else if (slice_is(type, "message_start")) {
    if (member_of(json, root, "message", JSON_OBJECT, &v)) st = read_blocks(json, v, s, err);
  } else if (slice_is(type, "content_block_start")) {
    c.opens = c.atomic = true;
    if (member_of(json, root, "content_block", JSON_OBJECT, &v)) st = read_block(json, v, c.block, s, err);
  } else if (slice_is(type, "content_block_delta")) {
    if (member_of(json, root, "delta", JSON_OBJECT, &v)) st = read_delta(json, v, c.block, s, err);
  } else if (slice_is(type, "content_block_stop")) {
    c.closes = true;
  } else if (slice_is(type, "message_delta")) {
    c.finish = member_of(json, root, "delta", JSON_OBJECT, &v) && json_span_member(json, v, "stop_reason", &reason) &&
               reason.type != JSON_NULL;
  } else if (slice_is(type, "message_stop")) {
    c.finish = true;
  } else {
    *known = slice_is(type, "ping") || slice_is(type, "error");
    return SLUICE_OK; /* no model text */
  }
  *known = true;
  return st ? st : sketch_add_choice(s, c, err);
}

static sluice_status make_ending(const struct ending *e, struct buffer *out, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < e->n_open; i++) {
    st = buffer_printf(out, err, "{\"type\":\"content_block_stop\",\"index\":%" PRId64 "}", e->open[i]);
    if (!st) st = buffer_append(out, "", 1, err);
  }
  /* usage is required of a message_delta; how many tokens were made until the stop is not known here */
  if (!st)
    st = buffer_append_str(out,
                           "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_sequence\":null},"
                           "\"usage\":{\"output_tokens\":0}}",
                           err);
  if (!st) st = buffer_append(out, "", 1, err);
  return st ? st : buffer_append_str(out, "{\"type\":\"message_stop\"}", err);
}

const struct dialect dialect_anthropic = {"anthropic", read_frame, make_ending, NULL, true, true};
