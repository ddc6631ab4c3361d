/* What a request asks of a model, in the four interfaces: each string that the model reads is judged as a text of its
 * own, and rewritten inside its quotes. Everything else of the request stays as it came. */
#include "wire/dialect.h"
#include "wire/prompts.h"

#include <stdlib.h>
#include <string.h>

enum { PROMPT_TEXTS_MAX = 1 << 16, SLICE_BYTES = 64 << 10 };

struct reading {
  struct slice json;
  struct sketch s;
  size_t unread; /* parts that are no text: pictures, sound, files */
  bool token_ids;
};

static const struct wire_key prompt_key = {0, WIRE_PROMPT, 0};

/* ---- pieces of a request ---- */

static sluice_status add_text(struct reading *r, struct json_span v, struct sluice_error *err) {
  if (v.type != JSON_STRING || v.end - v.start < 3) return SLUICE_OK;
  return sketch_add_text(&r->s, (struct sketch_text){.key = prompt_key, .value = v, .group = ++r->s.groups}, err);
}

static sluice_status add_member(struct reading *r, struct json_span o, const char *key, struct sluice_error *err) {
  struct json_span v;
  return member_of(r->json, o, key, JSON_STRING, &v) ? add_text(r, v, err) : SLUICE_OK;
}

static sluice_status add_any(struct reading *r, struct json_span v, struct sluice_error *err) {
  return add_values(r->json, v, prompt_key, false, &r->s, err);
}

/* An object of arguments: one text, its numbers too. */
static sluice_status add_arguments(struct reading *r, struct json_span v, struct sluice_error *err) {
  size_t from = r->s.n_texts, group = ++r->s.groups;
  if (v.type == JSON_STRING) return add_text(r, v, err);
  sluice_status st = add_structure(r->json, v, prompt_key, &r->s, err);
  for (size_t i = from; i < r->s.n_texts; i++) r->s.texts[i].group = group;
  return st;
}

static sluice_status read_content(struct reading *r, struct json_span content, int depth, struct sluice_error *err);

/* A file or picture: its text where it is text, else it is counted as not read. */
static sluice_status read_medium(struct reading *r, struct json_span part, int depth, struct sluice_error *err) {
  struct json_span source, v;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; i < 2 && !st; i++) st = add_member(r, part, i ? "context" : "title", err);
  if (st || !member_of(r->json, part, "source", JSON_OBJECT, &source)) {
    r->unread += !st;
    return st;
  }
  if (member_is(r->json, source, "type", "text")) return add_member(r, source, "data", err);
  if (member_is(r->json, source, "type", "content") && json_span_member(r->json, source, "content", &v))
    return read_content(r, v, depth + 1, err);
  r->unread++;
  return SLUICE_OK;
}

static bool type_is_of(struct slice json, struct json_span part, const char *const *words) {
  for (size_t i = 0; words[i]; i++)
    if (member_is(json, part, "type", words[i])) return true;
  return false;
}

static sluice_status read_part(struct reading *r, struct json_span part, int depth, struct sluice_error *err) {
  static const char *const texts[] = {"text",      "input_text",   "output_text",    "refusal", "thinking",
                                      "reasoning", "summary_text", "reasoning_text", NULL};
  static const char *const media[] = {
      "image_url", "input_image", "image",      "input_audio", "audio",    "input_video",         "video_url",
      "video",     "file",        "input_file", "audio_url",   "document", "computer_screenshot", NULL};
  static const char *const spoken[] = {"text", "refusal", "thinking"};
  struct json_span v;
  sluice_status st = SLUICE_OK;
  if (part.type == JSON_STRING) return add_text(r, part, err);
  if (part.type != JSON_OBJECT) return SLUICE_OK;
  if (type_is_of(r->json, part, media)) return read_medium(r, part, depth, err);
  if (member_is(r->json, part, "type", "redacted_thinking")) return SLUICE_OK; /* ciphertext */
  if (type_is_of(r->json, part, texts)) {
    for (size_t i = 0; !st && i < 3; i++) st = add_member(r, part, spoken[i], err);
    return st;
  }
  if (member_is(r->json, part, "type", "tool_use") && json_span_member(r->json, part, "input", &v))
    return add_arguments(r, v, err);
  if (member_is(r->json, part, "type", "tool_result"))
    return json_span_member(r->json, part, "content", &v) ? read_content(r, v, depth + 1, err) : SLUICE_OK;
  if (!json_span_member(r->json, part, "type", &v) && member_of(r->json, part, "text", JSON_STRING, &v))
    return add_text(r, v, err);
  return add_any(r, part, err); /* a type that is newer than this program */
}

/* A string, or a list of parts. */
static sluice_status read_content(struct reading *r, struct json_span content, int depth, struct sluice_error *err) {
  struct json_span part = {0};
  sluice_status st = SLUICE_OK;
  if (content.type == JSON_OBJECT || content.type == JSON_STRING) return read_part(r, content, depth, err);
  if (depth > 8) return add_any(r, content, err);
  while (!st && json_span_next(r->json, content, &part)) st = read_part(r, part, depth, err);
  return st;
}

static sluice_status read_member(struct reading *r, struct json_span o, const char *key, struct sluice_error *err) {
  struct json_span v;
  return json_span_member(r->json, o, key, &v) ? read_content(r, v, 0, err) : SLUICE_OK;
}

/* ---- interfaces ---- */

static sluice_status read_calls(struct reading *r, struct json_span message, struct sluice_error *err) {
  struct json_span list, call = {0}, fn, v;
  sluice_status st = SLUICE_OK;
  if (member_of(r->json, message, "tool_calls", JSON_ARRAY, &list))
    while (!st && json_span_next(r->json, list, &call)) {
      if (member_of(r->json, call, "function", JSON_OBJECT, &fn) && json_span_member(r->json, fn, "arguments", &v))
        st = add_arguments(r, v, err);
      if (!st && member_of(r->json, call, "custom", JSON_OBJECT, &fn)) st = add_member(r, fn, "input", err);
    }
  if (!st && member_of(r->json, message, "function_call", JSON_OBJECT, &fn) &&
      json_span_member(r->json, fn, "arguments", &v))
    st = add_arguments(r, v, err);
  return st;
}

static sluice_status read_messages(struct reading *r, struct json_span root, struct sluice_error *err) {
  static const char *const spoken[] = {"refusal", "reasoning_content", "reasoning"};
  struct json_span list, message = {0};
  sluice_status st = SLUICE_OK;
  if (!member_of(r->json, root, "messages", JSON_ARRAY, &list)) return SLUICE_OK;
  while (!st && json_span_next(r->json, list, &message)) {
    st = read_member(r, message, "content", err);
    for (size_t k = 0; !st && k < 3; k++) st = add_member(r, message, spoken[k], err);
    if (!st) st = read_calls(r, message, err);
  }
  return st;
}

static sluice_status read_tools(struct reading *r, struct json_span root, struct sluice_error *err) {
  static const char *const keys[] = {"tools", "functions"};
  struct json_span v;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < 2; i++)
    if (json_span_member(r->json, root, keys[i], &v)) st = add_any(r, v, err);
  return st;
}

static sluice_status read_chat(struct reading *r, struct json_span root, struct sluice_error *err) {
  struct json_span v;
  sluice_status st = read_messages(r, root, err);
  if (!st && member_of(r->json, root, "prediction", JSON_OBJECT, &v)) st = read_member(r, v, "content", err);
  return st ? st : read_tools(r, root, err);
}

static sluice_status read_anthropic(struct reading *r, struct json_span root, struct sluice_error *err) {
  sluice_status st = read_member(r, root, "system", err);
  if (!st) st = read_messages(r, root, err);
  return st ? st : read_tools(r, root, err);
}

/* A string, a list of them, or token ids, which only the model's own tokenizer could read. */
static sluice_status read_completions(struct reading *r, struct json_span root, struct sluice_error *err) {
  struct json_span prompt, one = {0};
  sluice_status st = SLUICE_OK;
  if (json_span_member(r->json, root, "prompt", &prompt)) {
    if (prompt.type == JSON_STRING) st = add_text(r, prompt, err);
    while (!st && !r->token_ids && prompt.type == JSON_ARRAY && json_span_next(r->json, prompt, &one)) {
      r->token_ids = one.type != JSON_STRING;
      st = add_text(r, one, err);
    }
  }
  return st ? st : add_member(r, root, "suffix", err);
}

static sluice_status read_item(struct reading *r, struct json_span item, struct sluice_error *err) {
  static const char *const of_tools[] = {"arguments", "input", "output"};
  struct json_span v;
  sluice_status st = SLUICE_OK;
  if (item.type == JSON_STRING) return add_text(r, item, err);
  bool typed = json_span_member(r->json, item, "type", &v);
  if (!typed || member_is(r->json, item, "type", "message")) return read_member(r, item, "content", err);
  if (member_is(r->json, item, "type", "item_reference")) return SLUICE_OK;
  if (member_is(r->json, item, "type", "reasoning")) {
    st = read_member(r, item, "summary", err);
    return st ? st : read_member(r, item, "content", err);
  }
  static const char *const known[] = {"function_call", "function_call_output", "custom_tool_call",
                                      "custom_tool_call_output", NULL};
  if (!type_is_of(r->json, item, known)) return add_any(r, item, err);
  for (size_t i = 0; !st && i < 3; i++) {
    if (!json_span_member(r->json, item, of_tools[i], &v)) continue;
    st = i == 0 ? add_arguments(r, v, err) : read_content(r, v, 0, err);
  }
  return st;
}

static sluice_status read_responses(struct reading *r, struct json_span root, struct sluice_error *err) {
  struct json_span v, item = {0};
  sluice_status st = read_member(r, root, "instructions", err);
  if (!st && json_span_member(r->json, root, "input", &v)) {
    if (v.type == JSON_STRING) st = add_text(r, v, err);
    while (!st && v.type == JSON_ARRAY && json_span_next(r->json, v, &item)) st = read_item(r, item, err);
  }
  if (!st && member_of(r->json, root, "prompt", JSON_OBJECT, &v) && json_span_member(r->json, v, "variables", &v))
    st = add_any(r, v, err);
  return st ? st : read_tools(r, root, err);
}

static const struct {
  const char *dialect;
  sluice_status (*read)(struct reading *r, struct json_span root, struct sluice_error *err);
} readers[] = {{"openai_chat", read_chat},
               {"openai_completions", read_completions},
               {"openai_responses", read_responses},
               {"anthropic", read_anthropic}};

/* ---- judging ---- */

struct edit {
  size_t start, end, at, len; /* [start, end) of the body becomes [at, len) of quoted */
};
struct judging {
  struct reading r;
  const struct wire_gate *gate;
  struct buffer text, shown, quoted;
  struct edit *edits;
  size_t n_edits, cap_edits;
};

static sluice_status note_edit(struct judging *j, struct json_span v, struct sluice_error *err) {
  if (j->n_edits == j->cap_edits) {
    size_t cap = j->cap_edits ? 2 * j->cap_edits : 16;
    struct edit *grown = realloc(j->edits, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory to rewrite a request");
    j->edits = grown;
    j->cap_edits = cap;
  }
  size_t at = j->quoted.len;
  sluice_status st = wire_quote(&j->quoted, j->shown.ptr ? j->shown.ptr : "", j->shown.len, err);
  if (!st) j->edits[j->n_edits++] = (struct edit){v.start, v.end, at, j->quoted.len - at};
  return st;
}

static sluice_status decode(const struct judging *j, const struct sketch_text *t, struct buffer *out,
                            struct sluice_error *err) {
  if (t->value.type == JSON_STRING) return json_span_decode(j->r.json, t->value, out, err);
  return buffer_append(out, j->r.json.ptr + t->value.start, t->value.end - t->value.start, err);
}

/* The texts [from, to) of the sketch make up one; the number-th. */
static sluice_status judge_group(struct judging *j, size_t from, size_t to, int64_t number, bool *stop,
                                 struct sluice_error *err) {
  struct wire_key key = {0, WIRE_PROMPT, number};
  struct wire_verdict v = {0};
  const struct wire_gate *g = j->gate;
  sluice_status st = SLUICE_OK;
  buffer_clear(&j->text);
  for (size_t i = from; !st && !v.stop && i < to; i++) {
    size_t at = j->text.len;
    st = decode(j, &j->r.s.texts[i], &j->text, err);
    while (!st && !v.stop && at < j->text.len) { /* in slices, between which it may be told to end */
      size_t n = j->text.len - at < SLICE_BYTES ? j->text.len - at : SLICE_BYTES;
      st = g->push(g->ctx, &key, (struct slice){j->text.ptr + at, n}, &v, err);
      at += n;
    }
  }
  if (!st && !v.stop && j->text.len) st = g->settle(g->ctx, &key, &v, err);
  *stop = !st && v.stop;
  uint64_t offset = 0;
  for (size_t i = from; !st && !*stop && i < to; i++) {
    const struct sketch_text *t = &j->r.s.texts[i];
    size_t before = j->text.len;
    bool changed = false;
    st = decode(j, t, &j->text, err); /* once more, behind the rest: where it lies is not remembered */
    struct slice raw = {j->text.ptr ? j->text.ptr + before : "", j->text.len - before};
    buffer_clear(&j->shown);
    if (!st && raw.len) st = g->render(g->ctx, &key, offset, raw, &j->shown, &changed, err);
    if (!st && changed && t->value.type != JSON_OBJECT) st = note_edit(j, t->value, err);
    offset += raw.len;
  }
  g->reset(g->ctx);
  return st;
}

static int by_start(const void *a, const void *b) {
  const struct edit *x = a, *y = b;
  return x->start < y->start ? -1 : x->start > y->start;
}

static sluice_status apply(struct judging *j, struct buffer *out, struct sluice_error *err) {
  struct slice body = j->r.json;
  size_t at = 0;
  sluice_status st = SLUICE_OK;
  qsort(j->edits, j->n_edits, sizeof *j->edits, by_start);
  for (size_t i = 0; !st && i < j->n_edits; i++) {
    const struct edit *e = &j->edits[i];
    st = buffer_append(out, body.ptr + at, e->start - at, err);
    if (!st) st = buffer_append(out, j->quoted.ptr + e->at, e->len, err);
    at = e->end;
  }
  return st ? st : buffer_append(out, body.ptr + at, body.len - at, err);
}

static sluice_status judge(struct judging *j, struct buffer *out, struct prompts_verdict *v, struct sluice_error *err) {
  struct reading *r = &j->r;
  int64_t number = 0;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0, to; !st && !v->stopped && i < r->s.n_texts; i = to) {
    to = i + 1;
    while (to < r->s.n_texts && r->s.texts[to].group == r->s.texts[i].group) to++;
    st = judge_group(j, i, to, number++, &v->stopped, err);
  }
  v->texts = (size_t)number;
  v->unread = r->unread;
  v->changed = !st && !v->stopped && j->n_edits > 0;
  return st || !v->changed ? st : apply(j, out, err);
}

sluice_status prompts_judge(const char *dialect, struct slice body, const struct wire_gate *gate, struct buffer *out,
                            struct prompts_verdict *v, struct sluice_error *err) {
  struct judging j = {.r = {.json = body, .s = {.max_texts = PROMPT_TEXTS_MAX}}, .gate = gate};
  struct json_span root;
  size_t at = 0;
  *v = (struct prompts_verdict){0};
  sluice_status st = json_span_root(body, &root, err);
  if (st) return sluice_fail_in(err, "the request's body");
  if (root.type != JSON_OBJECT) return sluice_fail(err, SLUICE_INPUT, "the request's body is no JSON object");
  if (json_span_repeats(body, root, &at))
    return sluice_fail(err, SLUICE_INPUT, "the request's body has a key twice in one object, at byte %zu", at);
  for (size_t i = 0; !st && i < sizeof readers / sizeof *readers; i++)
    if (strcmp(readers[i].dialect, dialect) == 0) st = readers[i].read(&j.r, root, err);
  if (!st && j.r.token_ids)
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "the prompt is given as token ids, which cannot be judged");
  if (!st) st = judge(&j, out, v, err);
  buffer_free(&j.text);
  buffer_free(&j.shown);
  buffer_free(&j.quoted);
  free(j.edits);
  sketch_free(&j.r.s);
  return st;
}
