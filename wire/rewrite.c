/* A frame with other text in it: only the byte ranges of the changed values are replaced, everything else is copied. */
#include "wire/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EDITS_MAX = 1 << 18 };

static int by_start(const void *a, const void *b) {
  const struct edit *x = a, *y = b;
  return x->start < y->start ? -1 : x->start > y->start;
}

/* A lone surrogate came in as a \uD8xx escape and was decoded to three bytes (WTF-8): it leaves as the same escape. */
static bool lone_surrogate(const char *s, size_t len, uint32_t *cp) {
  const unsigned char *b = (const unsigned char *)s;
  if (len < 3 || b[0] != 0xED || b[1] < 0xA0 || b[1] > 0xBF || (b[2] & 0xC0) != 0x80) return false;
  *cp = 0xD000u | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
  return true;
}

sluice_status wire_quote(struct buffer *out, const char *s, size_t len, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "\"", err);
  for (size_t i = 0; !st && i < len;) {
    unsigned char c = (unsigned char)s[i];
    uint32_t cp = 0;
    if (c == '"' || c == '\\')
      st = buffer_printf(out, err, "\\%c", c);
    else if (c == '\n')
      st = buffer_append_str(out, "\\n", err);
    else if (c < 0x20 || c == 0x7F)
      st = buffer_printf(out, err, "\\u%04x", c);
    else if (lone_surrogate(s + i, len - i, &cp))
      st = buffer_printf(out, err, "\\u%04x", cp), i += 2;
    else
      st = buffer_append(out, s + i, 1, err);
    i++;
  }
  return st ? st : buffer_append_str(out, "\"", err);
}

struct edits {
  struct edit *list;
  size_t n, cap;
};

static sluice_status add_edit(struct edits *e, struct edit one, struct sluice_error *err) {
  if (e->n == e->cap) {
    size_t cap = e->cap ? 2 * e->cap : 8;
    struct edit *grown = cap > EDITS_MAX ? NULL : realloc(e->list, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory to rewrite a frame");
    e->list = grown;
    e->cap = cap;
  }
  e->list[e->n++] = one;
  return SLUICE_OK;
}

static sluice_status edit_with(struct wire_filter *f, struct edits *e, struct json_span v, const char *text,
                               struct sluice_error *err) {
  size_t at = f->quoted.len;
  sluice_status st = buffer_append_str(&f->quoted, text, err);
  return st ? st : add_edit(e, (struct edit){v.start, v.end, at, strlen(text)}, err);
}

/* The tokens that a token was chosen among. */
static sluice_status empty_others(struct wire_filter *f, const struct frame_text *t, struct edits *e,
                                  struct sluice_error *err) {
  if ((t->others.type != JSON_ARRAY && t->others.type != JSON_OBJECT) || t->others.end <= t->others.start)
    return SLUICE_OK;
  return edit_with(f, e, t->others, t->others.type == JSON_ARRAY ? "[]" : "{}", err);
}

/* One text: what may be shown of it. *left counts bytes of it that were not cut off by a stop. */
static sluice_status edit_text(struct wire_filter *f, const struct frame *frame, const struct frame_text *t,
                               struct edits *e, bool *changed, size_t *left, struct sluice_error *err) {
  const struct lane *l = &f->lanes[t->lane];
  uint64_t shown = l->released > t->offset ? l->released - t->offset : 0;
  size_t n = shown < t->len ? (size_t)shown : t->len;
  *changed = n < t->len;
  *left = n;
  buffer_clear(&f->json_out);
  struct slice raw = {t->len ? frame->text.ptr + t->at : "", n};
  sluice_status st = SLUICE_OK;
  if (n) st = f->gate.render(f->gate.ctx, &l->key, t->offset, raw, &f->json_out, changed, err);
  if (t->value.type == JSON_OBJECT) *changed = false; /* the structure between two values stays */
  if (!st && t->named && !*changed) return empty_others(f, t, e, err);
  if (st || !*changed) return st;
  size_t at = f->quoted.len;
  st = wire_quote(&f->quoted, f->json_out.ptr ? f->json_out.ptr : "", f->json_out.len, err);
  if (!st) st = add_edit(e, (struct edit){t->value.start, t->value.end, at, f->quoted.len - at}, err);
  if (!st && t->bytes.end > t->bytes.start) st = edit_with(f, e, t->bytes, "null", err);
  return st ? st : empty_others(f, t, e, err);
}

/* Whether the tokens of a list spell out one text of the frame, so that what was decided of one holds for the other. */
static bool spells_its_text(const struct wire_filter *f, const struct frame *frame, size_t list) {
  const struct frame_text *first = NULL;
  size_t len = 0;
  for (size_t i = 0; i < frame->n_texts; i++) {
    if (frame->texts[i].spelled != list) continue;
    if (!first) first = &frame->texts[i];
    len += frame->texts[i].len;
  }
  for (size_t i = 0; first && i < frame->n_texts; i++) {
    const struct frame_text *t = &frame->texts[i];
    if (t->spelled || t->len != len || t->offset != first->offset) continue;
    if (f->lanes[t->lane].key.choice != f->lanes[first->lane].key.choice) continue;
    if (len == 0 || memcmp(frame->text.ptr + t->at, frame->text.ptr + first->at, len) == 0) return true;
  }
  return false;
}

static sluice_status edit_logprobs(struct wire_filter *f, const struct frame *frame, const bool *touched,
                                   struct edits *e, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < frame->n_logprobs; i++) {
    const struct sketch_logprobs *l = &frame->logprobs[i];
    const struct choice_state *state = choice_find(f, l->choice);
    bool changed = false;
    for (size_t c = 0; c < frame->n_choices; c++) changed |= touched[c] && frame->choices[c].choice == l->choice;
    if ((state && state->stopped) || (changed && !spells_its_text(f, frame, i + 1)))
      st = edit_with(f, e, l->whole, l->emptied, err);
  }
  return st;
}

static sluice_status edit_choices(struct wire_filter *f, const struct frame *frame, struct edits *e,
                                  struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < frame->n_choices; i++) {
    const struct sketch_choice *c = &frame->choices[i];
    const struct choice_state *state = choice_find(f, c->choice);
    bool stopped = state && state->stopped;
    if (stopped && c->has_reason) st = edit_with(f, e, c->reason, c->whole ? c->stopped : "null", err);
    if (!st && stopped && c->has_details && c->whole) st = edit_with(f, e, c->details, c->stopped_details, err);
  }
  return st;
}

static sluice_status append_data(struct buffer *out, struct slice json, const char *eol, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!st) {
    const char *nl = memchr(json.ptr, '\n', json.len);
    size_t n = nl ? (size_t)(nl - json.ptr) : json.len;
    st = buffer_append_str(out, "data: ", err);
    if (!st) st = buffer_append(out, json.ptr, n, err);
    if (!st) st = buffer_append_str(out, eol, err);
    if (!nl) break;
    json.ptr += n + 1;
    json.len -= n + 1;
  }
  return st;
}

sluice_status frame_wrap(const struct wire_filter *f, const char *event, struct slice json, struct buffer *out,
                         struct sluice_error *err) {
  if (f->o.format == WIRE_SSE) {
    sluice_status st = event ? buffer_printf(out, err, "event: %s%s", event, f->sse.eol) : SLUICE_OK;
    if (!st) st = append_data(out, json, f->sse.eol, err);
    return st ? st : buffer_append_str(out, f->sse.eol, err);
  }
  sluice_status st = buffer_append(out, json.ptr, json.len, err);
  return st ? st : buffer_append_str(out, "\n", err);
}

/* Data over several lines: the other lines of the event stay, the data follows as lines of its own. */
static sluice_status wrap_again(const struct wire_filter *f, const struct frame *frame, struct slice json,
                                struct buffer *out, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t at = 0; !st && at < frame->raw.len;) {
    size_t from = at;
    while (at < frame->raw.len && frame->raw.ptr[at] != '\n' && frame->raw.ptr[at] != '\r') at++;
    size_t line = at - from;
    while (at < frame->raw.len && (frame->raw.ptr[at] == '\n' || frame->raw.ptr[at] == '\r')) at++;
    bool data =
        line >= 4 && memcmp(frame->raw.ptr + from, "data", 4) == 0 && (line == 4 || frame->raw.ptr[from + 4] == ':');
    if (data || line == 0) continue;
    st = buffer_append(out, frame->raw.ptr + from, line, err);
    if (!st) st = buffer_append_str(out, f->sse.eol, err);
  }
  return st ? st : frame_wrap(f, NULL, json, out, err);
}

static sluice_status apply(struct wire_filter *f, const struct frame *frame, struct edits *e,
                           struct sluice_error *err) {
  struct slice json = frame_json(frame);
  struct buffer *out = frame->in_raw ? &f->out : &f->json_out;
  size_t at = 0;
  buffer_clear(&f->out);
  buffer_clear(&f->json_out);
  if (e->n) qsort(e->list, e->n, sizeof *e->list, by_start);
  sluice_status st = frame->in_raw ? buffer_append(out, frame->raw.ptr, frame->json_at, err) : SLUICE_OK;
  for (size_t i = 0; !st && i < e->n; i++) {
    if (e->list[i].start < at) continue;
    st = buffer_append(out, json.ptr + at, e->list[i].start - at, err);
    if (!st) st = buffer_append(out, f->quoted.ptr + e->list[i].at, e->list[i].len, err);
    at = e->list[i].end;
  }
  if (!st) st = buffer_append(out, json.ptr + at, json.len - at, err);
  if (st) return st;
  size_t tail = frame->json_at + frame->json_len;
  if (frame->in_raw) return buffer_append(out, frame->raw.ptr + tail, frame->raw.len - tail, err);
  return wrap_again(f, frame, (struct slice){f->json_out.ptr, f->json_out.len}, &f->out, err);
}

/* The ending of a stopped choice, made when everything before it has left. */
static sluice_status render_ending(struct wire_filter *f, const struct frame *frame, struct slice *bytes,
                                   struct sluice_error *err) {
  struct ending e = {.like = {f->like.len ? f->like.ptr : "{}", f->like.len ? f->like.len : 2},
                     .choice = frame->choices[0].choice,
                     .text_key = f->o.text_key,
                     .open = f->open,
                     .n_open = f->n_open,
                     .sequence = f->sequence};
  buffer_clear(&f->json_out);
  buffer_clear(&f->out);
  sluice_status st = f->dialect->ending(&e, &f->json_out, err);
  if (!st) st = buffer_append(&f->out, frame->raw.ptr, frame->raw.len, err);
  for (size_t at = 0; !st && at < f->json_out.len;) {
    const char *from = f->json_out.ptr + at, *nul = memchr(from, '\0', f->json_out.len - at);
    size_t n = nul ? (size_t)(nul - from) : f->json_out.len - at;
    struct slice json = {from, n};
    struct json_span root, type;
    char name[64] = "";
    at += n + 1;
    if (f->dialect->named && !json_span_root_lenient(json, &root, err) &&
        member_of(json, root, "type", JSON_STRING, &type))
      snprintf(name, sizeof name, "%.*s", (int)(type.end - type.start - 2), json.ptr + type.start + 1);
    st = frame_wrap(f, name[0] ? name : NULL, json, &f->out, err);
  }
  *bytes = (struct slice){f->out.ptr, f->out.len};
  return st;
}

sluice_status frame_render(struct wire_filter *f, struct frame *frame, struct slice *bytes, bool *drop,
                           struct sluice_error *err) {
  struct edits e = {0};
  size_t left = 0, length = 0;
  bool touched[1024] = {false}, all_stopped = frame->n_choices > 0, finish = false;
  bool atomic = false;
  if (frame->after_stop) return render_ending(f, frame, bytes, err);
  sluice_status st = SLUICE_OK;
  buffer_clear(&f->quoted);
  for (size_t i = 0; !st && i < frame->n_texts; i++) {
    bool changed = false;
    size_t n = 0;
    st = edit_text(f, frame, &frame->texts[i], &e, &changed, &n, err);
    if (frame->texts[i].spelled) continue;
    left += n;
    length += frame->texts[i].len;
    for (size_t c = 0; changed && c < frame->n_choices; c++)
      if (frame->choices[c].choice == f->lanes[frame->texts[i].lane].key.choice) touched[c] = true;
  }
  for (size_t c = 0; c < frame->n_choices; c++) {
    const struct choice_state *state = choice_find(f, frame->choices[c].choice);
    all_stopped &= state && state->stopped && !frame->choices[c].whole;
    finish |= frame->choices[c].finish;
    atomic |= frame->choices[c].atomic;
  }
  *drop = all_stopped && ((left == 0 && (length > 0 || finish)) || (atomic && (finish || left < length)));
  if (!st) st = edit_logprobs(f, frame, touched, &e, err);
  if (!st) st = edit_choices(f, frame, &e, err);
  if (!st && e.n) st = apply(f, frame, &e, err);
  *bytes = e.n ? (struct slice){f->out.ptr, f->out.len} : (struct slice){frame->raw.ptr, frame->raw.len};
  free(e.list);
  return st;
}
