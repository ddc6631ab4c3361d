/* OpenAI Responses: the events of a stream and whole responses. Pieces (.delta) make up a text for each channel of each
 * part; every later event repeats texts whole (.done, output_item.done, response.completed), and each repeat is judged
 * as a text of its own: the same text gives the same masks, and one that was never streamed is judged all the same. */
#include "wire/dialect.h"

#include <inttypes.h>
#include <string.h>

/* Parts of one output item, so that (item, part) is one number: contents, the tokens of their log-probabilities,
 * summaries, types not known here. */
enum { PARTS = 1024, LOGPROBS_AT = 256, SUMMARIES_AT = 512, OTHERS_AT = 768, PART_MAX = 255 };
#define ITEM_MAX ((int64_t)1 << 20) /* keeps a block within an int, which an audit's column is */

static bool has_tail(struct slice s, const char *tail) {
  size_t n = strlen(tail);
  return s.len >= n && memcmp(s.ptr + s.len - n, tail, n) == 0;
}

static bool has_head(struct slice s, const char *head) {
  size_t n = strlen(head);
  return s.len >= n && memcmp(s.ptr, head, n) == 0;
}

static int64_t within(int64_t n, int64_t max) {
  return n < 0 ? 0 : n > max ? max : n;
}

static int channel_of(struct slice type) {
  if (has_head(type, "output_text.") || has_head(type, "content_part.")) return WIRE_CONTENT;
  if (has_head(type, "refusal.")) return WIRE_REFUSAL;
  if (has_head(type, "reasoning")) return WIRE_REASONING;
  bool tool = has_head(type, "function_call") || has_head(type, "mcp_call") || has_head(type, "custom_tool_call") ||
              has_head(type, "code_interpreter_call");
  return tool ? WIRE_TOOL : -1;
}

static int64_t block_of(struct slice json, struct json_span root, struct slice type) {
  int64_t item = within(whole_number(json, root, "output_index", 0), ITEM_MAX);
  int64_t content = within(whole_number(json, root, "content_index", 0), PART_MAX);
  int64_t summary = within(whole_number(json, root, "summary_index", 0), PART_MAX);
  if (has_head(type, "reasoning_summary")) return item * PARTS + SUMMARIES_AT + summary;
  if (channel_of(type) >= 0) return item * PARTS + content;
  const char *last = memrchr(type.ptr, '.', type.len);
  size_t name = last ? (size_t)(last - type.ptr) : type.len;
  uint64_t sum = 0; /* types not known here: each a text of its own */
  for (size_t i = 0; i < name; i++) sum = 31 * sum + (unsigned char)type.ptr[i];
  return item * PARTS + OTHERS_AT + (int64_t)(sum & 127);
}

/* ---- whole texts ---- */

static const char *const of_items[] = {"type", "id", "content", "summary", "status", "phase", NULL};
static const char *const of_pictures[] = {"type",          "id",      "result", "status", "background",
                                          "output_format", "quality", "size",   NULL};

/* What an object says in other members than these. */
static sluice_status add_beside(struct slice json, struct json_span o, const char *const *known, struct sketch *s,
                                struct sluice_error *err) {
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, o, s, &m))
    if (!member_among(json, &m, known)) st = add_rest(json, &m, (struct wire_key){0, WIRE_CONTENT, 0}, false, s, err);
  return st;
}

static sluice_status add_item(struct slice json, struct json_span item, struct sketch *s, struct sluice_error *err) {
  struct wire_key k = {0, WIRE_TOOL, 0};
  struct json_span list, part = {0};
  sluice_status st = SLUICE_OK;
  if (member_is(json, item, "type", "image_generation_call")) return add_beside(json, item, of_pictures, s, err);
  if (member_is(json, item, "type", "reasoning")) k.channel = WIRE_REASONING;
  if (!member_is(json, item, "type", "message")) return add_values(json, item, k, false, s, err);
  k.channel = WIRE_CONTENT;
  if (!member_of(json, item, "content", JSON_ARRAY, &list)) return add_values(json, item, k, false, s, err);
  while (!st && json_span_next(json, list, &part)) {
    k.channel = member_is(json, part, "type", "refusal") ? WIRE_REFUSAL : WIRE_CONTENT;
    st = add_values(json, part, k, false, s, err);
  }
  return st ? st : add_beside(json, item, of_items, s, err);
}

static sluice_status add_response(struct slice json, struct json_span response, struct sketch *s,
                                  struct sluice_error *err) {
  struct json_span list, v = {0};
  sluice_status st = SLUICE_OK;
  bool listed = json_span_member(json, response, "output", &list);
  if (listed && list.type != JSON_ARRAY)
    st = add_values(json, list, (struct wire_key){0, WIRE_CONTENT, 0}, false, s, err);
  while (!st && listed && json_span_next(json, list, &v)) st = add_item(json, v, s, err);
  if (!st && json_span_member(json, response, "error", &v)) /* all else echoes the request */
    st = add_values(json, v, (struct wire_key){0, WIRE_CONTENT, 0}, false, s, err);
  if (!st && json_span_member(json, response, "output_text", &v)) /* some servers put it all in one */
    st = add_values(json, v, (struct wire_key){0, WIRE_CONTENT, 0}, false, s, err);
  return st;
}

/* ---- pieces ---- */

static sluice_status add_streamed_logprobs(struct slice json, struct json_span o, struct wire_key k, struct sketch *s,
                                           struct sluice_error *err) {
  struct json_span list;
  if (!member_of(json, o, "logprobs", JSON_ARRAY, &list)) return SLUICE_OK;
  k.index += LOGPROBS_AT;
  return add_logprobs(json, list, (struct sketch_logprobs){k.choice, list, "[]"}, k, false, s, err);
}

static sluice_status add_delta(struct slice json, struct json_span root, struct slice type, int64_t block,
                               struct sketch *s, struct sluice_error *err) {
  int channel = channel_of(type);
  struct wire_key k = {0, channel < 0 ? WIRE_CONTENT : channel, block};
  struct json_span v;
  sluice_status st = SLUICE_OK;
  if (!json_span_member(json, root, "delta", &v)) return add_values(json, root, k, true, s, err);
  if (slice_is(type, "audio.delta") || slice_is(type, "output_audio.delta")) return SLUICE_OK; /* sound */
  if (v.type == JSON_STRING)
    st = add_string(json, root, "delta", k, s, err);
  else
    st = add_values(json, v, k, true, s, err);
  return st ? st : add_streamed_logprobs(json, root, k, s, err);
}

/* What a part or an item begins with: the deltas go on from there. */
static sluice_status add_beginning(struct slice json, struct json_span part, int channel, int64_t block,
                                   struct sketch *s, struct sluice_error *err) {
  struct wire_key k = {0, member_is(json, part, "type", "reasoning_text") ? WIRE_REASONING : channel, block};
  static const char *const known[] = {"output_text", "text", "refusal", "reasoning_text", "summary_text"};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  bool other = true;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) other &= !member_is(json, part, "type", known[i]);
  if (other) return add_values(json, part, k, false, s, err);
  while (!st && next_member(json, part, s, &m)) {
    bool string = m.value.type == JSON_STRING;
    if (string && member_named(json, &m, "text"))
      st = add_member_text(&m, k, s, err);
    else if (string && member_named(json, &m, "refusal"))
      st = add_member_text(&m, (struct wire_key){0, WIRE_REFUSAL, block}, s, err);
    else if (m.value.type != JSON_ARRAY || !member_named(json, &m, "logprobs"))
      st = add_rest(json, &m, k, false, s, err);
  }
  return st ? st : add_streamed_logprobs(json, part, k, s, err);
}

/* A call: its arguments go on in deltas. */
static sluice_status add_new_call(struct slice json, struct json_span item, int64_t first, struct sketch *s,
                                  struct sluice_error *err) {
  static const char *const begun[] = {"arguments", "input", "code", NULL};
  struct wire_key k = {0, WIRE_TOOL, first};
  struct member m = {{0}, {0}, 0};
  sluice_status st = SLUICE_OK;
  while (!st && next_member(json, item, s, &m)) {
    bool piece = m.value.type == JSON_STRING && member_among(json, &m, begun);
    st = piece ? add_member_text(&m, k, s, err) : add_rest(json, &m, k, false, s, err);
  }
  return st;
}

static sluice_status add_new_item(struct slice json, struct json_span item, int64_t first, struct sketch *s,
                                  struct sluice_error *err) {
  struct json_span list, part = {0};
  sluice_status st = SLUICE_OK;
  bool reasoning = member_is(json, item, "type", "reasoning");
  if (member_is(json, item, "type", "image_generation_call")) return add_item(json, item, s, err);
  if (!reasoning && !member_is(json, item, "type", "message")) return add_new_call(json, item, first, s, err);
  if (member_of(json, item, "content", JSON_STRING, &part))
    st = add_string(json, item, "content", (struct wire_key){0, WIRE_CONTENT, first}, s, err);
  part = (struct json_span){0};
  if (!st && member_of(json, item, "content", JSON_ARRAY, &list))
    for (int64_t i = 0; !st && json_span_next(json, list, &part); i++)
      st = add_beginning(json, part, reasoning ? WIRE_REASONING : WIRE_CONTENT, first + within(i, PART_MAX), s, err);
  part = (struct json_span){0};
  if (!st && member_of(json, item, "summary", JSON_ARRAY, &list))
    for (int64_t i = 0; !st && json_span_next(json, list, &part); i++)
      st = add_beginning(json, part, WIRE_REASONING, first + SUMMARIES_AT + within(i, PART_MAX), s, err);
  return st ? st : add_beside(json, item, of_items, s, err);
}

/* ---- frames ---- */

/* The member that an event's type is known for, when it is there; NULL: all that it says is judged. */
static const char *subject_of(struct slice json, struct json_span root, struct slice type, struct json_span *v) {
  if (member_of(json, root, "response", JSON_OBJECT, v)) return "response";
  if (has_tail(type, ".delta") && json_span_member(json, root, "delta", v)) return "delta";
  bool item = slice_is(type, "output_item.added") || slice_is(type, "output_item.done");
  if (item && member_of(json, root, "item", JSON_OBJECT, v)) return "item";
  if (has_tail(type, "part.added") && member_of(json, root, "part", JSON_OBJECT, v)) return "part";
  return NULL;
}

static sluice_status read_subject(struct slice json, struct json_span root, struct slice type, const char *subject,
                                  struct json_span v, int64_t block, struct sketch *s, struct sluice_error *err) {
  if (slice_is(slice_of(subject), "response")) return add_response(json, v, s, err);
  if (slice_is(slice_of(subject), "delta")) return add_delta(json, root, type, block, s, err);
  if (slice_is(slice_of(subject), "part"))
    return add_beginning(json, v, channel_of(type) < 0 ? WIRE_CONTENT : channel_of(type), block, s, err);
  return slice_is(type, "output_item.added") ? add_new_item(json, v, block - block % PARTS, s, err)
                                             : add_item(json, v, s, err);
}

static sluice_status read_event(struct slice json, struct json_span root, struct slice type, struct sketch *s,
                                struct sluice_error *err) {
  struct sketch_choice c = {.wide = true, .atomic = true, .bare = true};
  struct json_span v;
  sluice_status st = SLUICE_OK;
  int channel = channel_of(type);
  const char *subject = subject_of(json, root, type, &v);
  c.sequence = whole_number(json, root, "sequence_number", 0);
  c.block = block_of(json, root, type);
  if (subject) {
    const char *known[] = {"type", "item_id", "obfuscation", "logprobs", subject, NULL};
    st = read_subject(json, root, type, subject, v, c.block, s, err);
    if (!st) st = add_beside(json, root, known, s, err);
  } else { /* .done: the part's text once more; anything newer: whatever it says */
    struct wire_key k = {0, channel < 0 ? WIRE_CONTENT : channel, 0};
    c.closes = has_tail(type, ".done");
    st = add_values(json, root, k, false, s, err);
  }
  c.bare = !subject || !slice_is(slice_of(subject), "response");
  c.finish = !c.bare && (has_head(type, "completed") || has_head(type, "incomplete") || has_head(type, "failed") ||
                         has_head(type, "cancelled"));
  c.last = c.finish;
  c.atomic = !has_tail(type, ".delta");
  return st ? st : sketch_add_choice(s, c, err);
}

static sluice_status read_whole(struct slice json, struct json_span root, struct sketch *s, struct sluice_error *err) {
  struct sketch_choice c = {.wide = true,
                            .finish = true,
                            .whole = true,
                            .stopped = "\"incomplete\"",
                            .stopped_details = "{\"reason\":\"content_filter\"}"};
  c.has_reason = json_span_member(json, root, "status", &c.reason);
  c.has_details = json_span_member(json, root, "incomplete_details", &c.details);
  if (!c.has_details) c.stopped = "\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"}";
  sluice_status st = add_response(json, root, s, err);
  return st ? st : sketch_add_choice(s, c, err);
}

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  static const char prefix[] = "response.";
  struct json_span v;
  (void)text_key;
  if (member_of(json, root, "type", JSON_STRING, &v)) {
    struct slice type = {json.ptr + v.start + 1, v.end - v.start - 2};
    if (!has_head(type, prefix)) return SLUICE_OK;
    *known = true;
    type.ptr += sizeof prefix - 1, type.len -= sizeof prefix - 1;
    return read_event(json, root, type, s, err);
  }
  if (!member_is(json, root, "object", "response") || !member_of(json, root, "output", JSON_ARRAY, &v))
    return SLUICE_OK;
  *known = true;
  return read_whole(json, root, s, err);
}

/* What was streamed stays with the reader: output is left empty, because no whole item has passed here. */
static sluice_status make_ending(const struct ending *e, struct buffer *out, struct sluice_error *err) {
  static const char *const carried[] = {"id",
                                        "object",
                                        "created_at",
                                        "model",
                                        "metadata",
                                        "instructions",
                                        "previous_response_id",
                                        "max_output_tokens",
                                        "temperature",
                                        "top_p",
                                        "parallel_tool_calls",
                                        "tool_choice",
                                        "tools",
                                        "reasoning",
                                        "text",
                                        "truncation",
                                        "store",
                                        "service_tier",
                                        "background",
                                        "user"};
  struct json_span root, response = {0}, v;
  sluice_status st = json_span_root_lenient(e->like, &root, err);
  bool any = !st && member_of(e->like, root, "response", JSON_OBJECT, &response);
  if (!st)
    st = buffer_printf(out, err, "{\"type\":\"response.incomplete\",\"sequence_number\":%" PRId64 ",\"response\":{",
                       e->sequence + 1);
  for (size_t i = 0; !st && any && i < sizeof carried / sizeof *carried; i++) {
    if (!json_span_member(e->like, response, carried[i], &v)) continue;
    st = buffer_printf(out, err, "\"%s\":", carried[i]);
    if (!st) st = buffer_append(out, e->like.ptr + v.start, v.end - v.start, err);
    if (!st) st = buffer_append_str(out, ",", err);
  }
  return st ? st
            : buffer_append_str(out,
                                "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":"
                                "\"content_filter\"},\"output\":[],\"usage\":null}}",
                                err);
}

const struct dialect dialect_openai_responses = {"openai_responses", read_frame, make_ending, NULL, true, true};
