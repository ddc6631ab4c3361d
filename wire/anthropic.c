/* Anthropic Messages: the events of a stream (message_start, content_block_start/delta/stop, message_delta,
 * message_stop, ping, error) and whole messages. Each content block is a text of its own. */
#include "wire/dialect.h"

#include <inttypes.h>

/* One block of a whole message, or as content_block_start shows it: whatever its type, each member by its name. */
static sluice_status read_block(struct slice json, struct json_span block, int64_t index, struct sketch *s,
                                struct sluice_error *err) {
  struct wire_key content = {0, WIRE_CONTENT, index};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  if (block.type == JSON_STRING) return sketch_add_text(s, (struct sketch_text){.key = content, .value = block}, err);
  if (member_is(json, block, "type", "redacted_thinking")) return SLUICE_OK; /* ciphertext */
  while (!st && next_member(json, block, s, &m)) {
    bool string = m.value.type == JSON_STRING;
    if (string && member_named(json, &m, "text"))
      st = add_member_text(&m, content, s, err);
    else if (string && member_named(json, &m, "thinking"))
      st = add_member_text(&m, (struct wire_key){0, WIRE_REASONING, index}, s, err);
    else if (!string && member_named(json, &m, "input"))
      st = add_structure(json, m.value, (struct wire_key){0, WIRE_TOOL, index}, s, err);
    else /* citations, what the server's own tools found, a tool's name */
      st = add_rest(json, &m, content, false, s, err);
  }
  return st;
}

static sluice_status read_delta(struct slice json, struct json_span delta, int64_t index, struct sketch *s,
                                struct sluice_error *err) {
  static const struct {
    const char *name;
    int channel;
  } pieces[] = {{"text", WIRE_CONTENT}, {"thinking", WIRE_REASONING}, {"partial_json", WIRE_TOOL}};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, delta, s, &m)) {
    size_t i = 0, n = sizeof pieces / sizeof *pieces;
    while (i < n && !(m.value.type == JSON_STRING && member_named(json, &m, pieces[i].name))) i++;
    if (i < n)
      st = add_member_text(&m, (struct wire_key){0, pieces[i].channel, index}, s, err);
    else if (member_named(json, &m, "citation"))
      st = add_rest(json, &m, (struct wire_key){0, WIRE_CONTENT, index}, false, s, err);
    else
      st = add_rest(json, &m, (struct wire_key){0, WIRE_CONTENT, index}, true, s, err);
  }
  return st;
}

static sluice_status read_blocks(struct slice json, struct json_span message, struct sketch *s,
                                 struct sluice_error *err) {
  struct json_span list, block = {0};
  sluice_status st = SLUICE_OK;
  if (!json_span_member(json, message, "content", &list)) return SLUICE_OK;
  if (list.type != JSON_ARRAY) return read_block(json, list, 0, s, err);
  for (int64_t i = 0; !st && json_span_next(json, list, &block); i++) st = read_block(json, block, i, s, err);
  return st;
}

/* What an event says beside the member that its type is known for. */
static sluice_status read_beside(struct slice json, struct json_span o, const char *const *known, struct sketch *s,
                                 struct sluice_error *err) {
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, o, s, &m))
    if (!member_among(json, &m, known)) st = add_rest(json, &m, (struct wire_key){0, WIRE_CONTENT, 0}, false, s, err);
  return st;
}

/* A message, whole or as it begins: what it says, and what stands around that. */
static sluice_status read_message(struct slice json, struct json_span message, struct sketch *s,
                                  struct sluice_error *err) {
  static const char *const known[] = {"id",    "type",        "role",          "model",     "content",
                                      "usage", "stop_reason", "stop_sequence", "container", "context_management",
                                      NULL};
  sluice_status st = read_blocks(json, message, s, err);
  return st ? st : read_beside(json, message, known, s, err);
}

/* An event with the object that its type is known for under `key`; without it all that it says is judged. */
static sluice_status read_event(struct slice json, struct json_span root, const char *key, int64_t block,
                                struct sketch *s, struct sluice_error *err) {
  const char *known[] = {"usage", "context_management", key, NULL};
  struct json_span v;
  if (!member_of(json, root, key, JSON_OBJECT, &v)) known[2] = NULL;
  sluice_status st = SLUICE_OK;
  if (known[2] && slice_is(slice_of(key), "message")) st = read_message(json, v, s, err);
  if (known[2] && slice_is(slice_of(key), "content_block")) st = read_block(json, v, block, s, err);
  if (known[2] && slice_is(slice_of(key), "delta")) st = read_delta(json, v, block, s, err);
  return st ? st : read_beside(json, root, known, s, err);
}

static sluice_status read_message_delta(struct slice json, struct json_span root, bool *finish, struct sketch *s,
                                        struct sluice_error *err) {
  static const char *const known[] = {"stop_reason", "stop_sequence", "container", NULL};
  static const char *const around[] = {"delta", "usage", "context_management", NULL};
  struct json_span delta, reason;
  if (!member_of(json, root, "delta", JSON_OBJECT, &delta)) return read_beside(json, root, around + 1, s, err);
  *finish = json_span_member(json, delta, "stop_reason", &reason) && reason.type != JSON_NULL;
  sluice_status st = read_beside(json, delta, known, s, err);
  return st ? st : read_beside(json, root, around, s, err);
}

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  (void)text_key;
  struct sketch_choice c = {.wide = true, .stopped = "\"refusal\""};
  struct json_span v;
  struct slice type;
  sluice_status st = SLUICE_OK;
  if (!member_of(json, root, "type", JSON_STRING, &v)) return SLUICE_OK;
  type = (struct slice){json.ptr + v.start + 1, v.end - v.start - 2};
  c.block = whole_number(json, root, "index", 0);
  if (slice_is(type, "message") && json_span_member(json, root, "content", &v)) {
    c.whole = c.finish = true;
    c.has_reason = json_span_member(json, root, "stop_reason", &c.reason);
    st = read_message(json, root, s, err);
  } else if (slice_is(type, "message_start")) {
    st = read_event(json, root, "message", 0, s, err);
  } else if (slice_is(type, "content_block_start")) {
    c.opens = c.atomic = true;
    st = read_event(json, root, "content_block", c.block, s, err);
  } else if (slice_is(type, "content_block_delta")) {
    st = read_event(json, root, "delta", c.block, s, err);
  } else if (slice_is(type, "content_block_stop")) {
    c.closes = true;
  } else if (slice_is(type, "message_delta")) {
    st = read_message_delta(json, root, &c.finish, s, err);
  } else if (slice_is(type, "message_stop")) {
    c.finish = c.last = true;
  } else {
    *known = slice_is(type, "ping");
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
