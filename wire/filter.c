/* A stream of frames through a gate. */
#include "wire/frames.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* When another visible text of the choice has moved this many frames ahead of one that holds a tail, the tail is
 * settled: a model that has gone on from reasoning to its answer does not come back, and the answer must not wait for
 * the finish frame. */
enum { SETTLE_AFTER = 16, LANES_MAX = 4096, CHOICES_SEEN_MAX = 1024 };

const char *wire_format_name(enum wire_format f) {
  static const char *const names[] = {"sse", "jsonl", "json", "words"};
  return names[f];
}

/* ---- lanes and choices ---- */

static sluice_status lane_find(struct wire_filter *f, const struct wire_key *key, size_t *at,
                               struct sluice_error *err) {
  size_t free_lane = f->n_lanes;
  for (size_t i = 0; i < f->n_lanes; i++) {
    const struct wire_key *k = &f->lanes[i].key;
    if (f->lanes[i].over) {
      free_lane = i;
    } else if (k->choice == key->choice && k->channel == key->channel && k->index == key->index) {
      *at = i;
      return SLUICE_OK;
    }
  }
  if (free_lane < f->n_lanes) {
    f->lanes[ *at = free_lane] = (struct lane){.key = *key, .settled = true};
    return SLUICE_OK;
  }
  if (f->n_lanes == LANES_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d texts in one stream", LANES_MAX);
  struct lane *grown = realloc(f->lanes, (f->n_lanes + 1) * sizeof *grown);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream's texts");
  f->lanes = grown;
  f->lanes[f->n_lanes] = (struct lane){.key = *key, .settled = true};
  *at = f->n_lanes++;
  return SLUICE_OK;
}

static sluice_status choice_note(struct wire_filter *f, int64_t choice, struct sluice_error *err) {
  if (choice_find(f, choice)) return SLUICE_OK;
  if (f->n_choices == CHOICES_SEEN_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d choices", CHOICES_SEEN_MAX);
  struct choice_state *grown = realloc(f->choices, (f->n_choices + 1) * sizeof *grown);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream's choices");
  f->choices = grown;
  f->choices[f->n_choices++] = (struct choice_state){.choice = choice};
  return SLUICE_OK;
}

/* Takes a verdict on a lane. *stop when the choice has to end now. */
static void lane_take(struct wire_filter *f, size_t lane, const struct wire_verdict *v, bool *stop) {
  struct lane *l = &f->lanes[lane];
  l->released = v->released;
  if (l->released == l->received) l->passed = 0;
  if (!v->stop) return;
  struct choice_state *c = choice_find(f, l->key.choice);
  if (c && !c->stopped) *stop = true;
}

static sluice_status settle_lane(struct wire_filter *f, size_t lane, bool *stop, struct sluice_error *err) {
  struct lane *l = &f->lanes[lane];
  struct wire_verdict v = {0};
  if (l->settled) return SLUICE_OK;
  l->settled = true;
  sluice_status st = f->gate.settle(f->gate.ctx, &l->key, &v, err);
  if (!st) lane_take(f, lane, &v, stop);
  return st;
}

/* A block of the choice is complete: its texts are decided. */
static sluice_status settle_block(struct wire_filter *f, int64_t choice, int64_t block, bool *stop,
                                  struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < f->n_lanes; i++)
    if (f->lanes[i].key.choice == choice && f->lanes[i].key.index == block) st = settle_lane(f, i, stop, err);
  return st;
}

static sluice_status settle_choice(struct wire_filter *f, int64_t choice, bool *stop, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < f->n_lanes; i++)
    if (f->lanes[i].key.choice == choice) st = settle_lane(f, i, stop, err);
  return st;
}

/* ---- ends ---- */

static sluice_status append_ending(struct wire_filter *f, int64_t choice, struct sluice_error *err) {
  struct frame *frame = frame_take(f, err);
  if (!frame) return SLUICE_NOMEM;
  sluice_status st = SLUICE_OK;
  for (int i = 0; !st && f->unended && i < 2; i++) st = buffer_append_str(&frame->raw, f->sse.eol, err);
  frame->after_stop = true;
  if (!st && !frame->cap_choices) {
    frame->choices = malloc(sizeof *frame->choices);
    if (!frame->choices)
      st = sluice_fail(err, SLUICE_NOMEM, "no memory for a frame");
    else
      frame->cap_choices = 1;
  }
  if (st) {
    frame_free(frame);
    return st;
  }
  frame->choices[0] = (struct sketch_choice){.choice = choice, .wide = true, .finish = true};
  frame->n_choices = 1;
  return frames_push(f, frame, err);
}

static sluice_status end_stream(struct wire_filter *f, struct sluice_error *err) {
  sluice_status st = frames_drain(f, err);
  if (!st && f->o.format == WIRE_SSE && f->dialect->closing) {
    buffer_clear(&f->out);
    st = frame_wrap(f, NULL, slice_of(f->dialect->closing), &f->out, err);
    if (!st) st = f->sink(f->sink_ctx, (struct slice){f->out.ptr, f->out.len}, err);
  }
  f->ended = true;
  return st;
}

/* A choice ends: its other texts are decided as they stand, what is safe leaves, then the ending. */
static sluice_status stop_choice(struct wire_filter *f, int64_t choice, bool in_place, struct sluice_error *err) {
  struct choice_state *c = choice_find(f, choice);
  bool ignored = false;
  c->stopped = f->stopped = true;
  sluice_status st = settle_choice(f, choice, &ignored, err);
  if (!st && !in_place) st = append_ending(f, choice, err);
  bool left = in_place;
  for (size_t i = 0; i < f->n_choices; i++) left |= !f->choices[i].stopped && !f->choices[i].finished;
  if (st || left) return st;
  return end_stream(f, err);
}

/* ---- frames in ---- */

static sluice_status frame_fill(struct wire_filter *f, struct frame *frame, struct sluice_error *err) {
  const struct sketch *s = &f->sketch;
  if (frame->cap_texts < s->n_texts) {
    struct frame_text *grown = realloc(frame->texts, s->n_texts * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a frame's texts");
    frame->texts = grown;
    frame->cap_texts = s->n_texts;
  }
  if (frame->cap_choices < s->n_choices) {
    struct sketch_choice *grown = realloc(frame->choices, s->n_choices * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a frame's choices");
    frame->choices = grown;
    frame->cap_choices = s->n_choices;
  }
  if (frame->cap_logprobs < s->n_logprobs) {
    struct sketch_logprobs *grown = realloc(frame->logprobs, s->n_logprobs * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a frame's logprobs");
    frame->logprobs = grown;
    frame->cap_logprobs = s->n_logprobs;
  }
  if (s->n_logprobs) memcpy(frame->logprobs, s->logprobs, s->n_logprobs * sizeof *s->logprobs);
  frame->n_logprobs = s->n_logprobs;
  if (s->n_choices) memcpy(frame->choices, s->choices, s->n_choices * sizeof *s->choices);
  frame->n_choices = s->n_choices;
  frame->global = s->n_choices == 0;
  return SLUICE_OK;
}

/* Other visible texts of the choice that hold a tail fall behind by one frame; too far, and they are settled. */
static sluice_status settle_laggards(struct wire_filter *f, size_t lane, bool *stop, struct sluice_error *err) {
  const struct wire_key *key = &f->lanes[lane].key;
  sluice_status st = SLUICE_OK;
  f->lanes[lane].passed = 0;
  if (key->channel == WIRE_TOOL) return SLUICE_OK;
  for (size_t i = 0; !st && i < f->n_lanes; i++) {
    struct lane *l = &f->lanes[i];
    if (i == lane || l->key.choice != key->choice || l->key.channel == WIRE_TOOL || l->released == l->received)
      continue;
    if (++l->passed >= SETTLE_AFTER) st = settle_lane(f, i, stop, err);
  }
  return st;
}

static sluice_status decode_text(struct slice json, const struct sketch_text *t, struct buffer *out,
                                 struct sluice_error *err) {
  size_t from = out->len; /* no bytes at all are none of a token's: some servers leave the list empty */
  bool good = false;
  sluice_status st = SLUICE_OK;
  if (t->bytes.end > t->bytes.start) st = logprob_bytes(json, t->bytes, out, &good, err);
  if (st || (good && out->len > from)) return st;
  if (t->value.type == JSON_STRING) return json_span_decode(json, t->value, out, err);
  return buffer_append(out, json.ptr + t->value.start, t->value.end - t->value.start, err);
}

/* The index-th text of the sketch goes to the gate. */
static sluice_status push_text(struct wire_filter *f, struct frame *frame, size_t index, int64_t *stop_choice_id,
                               bool *stop, struct sluice_error *err) {
  const struct sketch_text *t = &f->sketch.texts[index];
  size_t lane = 0, at = frame->text.len;
  struct slice json = frame_json(frame);
  struct wire_key key = t->key;
  if (t->group && t->group != f->group) f->group = t->group, f->n_groups++;
  if (t->group) key.index = -1 - f->n_groups; /* -1 is the dialects' own */
  sluice_status st = lane_find(f, &key, &lane, err);
  if (!st) st = decode_text(json, t, &frame->text, err);
  if (st) return st;
  struct lane *l = &f->lanes[lane];
  l->once = t->group != 0;
  frame->texts[frame->n_texts++] = (struct frame_text){lane,       t->value, l->received, at,   frame->text.len - at,
                                                       t->spelled, t->bytes, t->others,   false};
  const struct choice_state *c = choice_find(f, t->key.choice);
  struct wire_verdict v = {0};
  if (c && c->stopped) { /* blanked: nothing of it is released */
    frame->texts[frame->n_texts - 1].offset = BLANKED;
    return SLUICE_OK;
  }
  st = t->spelled ? alternatives_judge(f, frame, &frame->texts[frame->n_texts - 1], err) : SLUICE_OK;
  if (st || frame->text.len == at) return st;
  l->received += frame->text.len - at;
  l->settled = false;
  bool now = false;
  st = f->gate.push(f->gate.ctx, &key, (struct slice){frame->text.ptr + at, frame->text.len - at}, &v, err);
  if (!st) lane_take(f, lane, &v, &now);
  bool last = index + 1 == f->sketch.n_texts || f->sketch.texts[index + 1].group != t->group;
  if (!st && !now) st = t->group ? SLUICE_OK : settle_laggards(f, lane, &now, err);
  if (!st && !now && t->group && last) st = settle_lane(f, lane, &now, err);
  if (now) *stop = true, *stop_choice_id = t->key.choice;
  return st;
}

static bool all_stopped(struct wire_filter *f) {
  bool all = f->sketch.n_choices > 0;
  for (size_t i = 0; i < f->sketch.n_choices; i++) {
    const struct choice_state *c = choice_find(f, f->sketch.choices[i].choice);
    all &= c && c->stopped;
  }
  return all;
}

static bool is_whole(const struct sketch *s, int64_t choice) {
  for (size_t i = 0; i < s->n_choices; i++)
    if (s->choices[i].choice == choice) return s->choices[i].whole;
  return false;
}

/* Texts to the gate, then the frame to the queue, then what follows from the verdicts. */
static sluice_status judge_frame(struct wire_filter *f, struct frame *frame, struct sluice_error *err) {
  int64_t to_stop[64];
  size_t n_stop = 0;
  f->group = 0;
  sluice_status st = frame_fill(f, frame, err);
  for (size_t i = 0; !st && i < f->sketch.n_choices; i++) st = choice_note(f, f->sketch.choices[i].choice, err);
  if (st || all_stopped(f)) {
    frame_drop(f, frame);
    return st;
  }
  for (size_t i = 0; !st && i < f->sketch.n_texts; i++) {
    bool stop = false;
    int64_t choice = 0;
    st = push_text(f, frame, i, &choice, &stop, err);
    for (size_t k = 0; k < n_stop; k++) stop &= to_stop[k] != choice;
    if (stop && n_stop < 64) to_stop[n_stop++] = choice;
  }
  if (st) {
    frame_free(frame);
    return st;
  }
  st = frames_push(f, frame, err);
  for (size_t i = 0; !st && i < f->sketch.n_choices; i++) {
    const struct sketch_choice *c = &f->sketch.choices[i];
    bool stop = false, known = false;
    if (c->closes) st = settle_block(f, c->choice, c->block, &stop, err);
    if (!st && c->finish) st = settle_choice(f, c->choice, &stop, err);
    for (size_t k = 0; k < n_stop; k++) known |= to_stop[k] == c->choice;
    if (stop && !known && n_stop < 64)
      to_stop[n_stop++] = c->choice;
    else if (c->finish && !known)
      choice_find(f, c->choice)->finished = true;
  }
  for (size_t k = 0; !st && k < n_stop; k++) st = stop_choice(f, to_stop[k], is_whole(&f->sketch, to_stop[k]), err);
  if (st || f->ended) return st;
  st = frames_drain(f, err);
  f->saw_closing |= f->sketch.n_choices == 1 && f->sketch.choices[0].last && f->n_queue == 0;
  return st;
}

static sluice_status settle_all(struct wire_filter *f, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < f->n_choices && !f->ended; i++) {
    bool stop = false;
    st = settle_choice(f, f->choices[i].choice, &stop, err);
    if (!st && stop) st = stop_choice(f, f->choices[i].choice, false, err);
  }
  return st || f->ended ? st : frames_drain(f, err);
}

/* A frame without text: keeps its place (global), or passes at once (comments). */
static sluice_status pass(struct wire_filter *f, struct slice raw, struct sluice_error *err) {
  if (f->n_queue == 0) return f->sink(f->sink_ctx, raw, err);
  struct frame *frame = frame_take(f, err);
  if (!frame) return SLUICE_NOMEM;
  frame->global = true;
  sluice_status st = buffer_append(&frame->raw, raw.ptr, raw.len, err);
  if (st) frame_free(frame);
  return st ? st : frames_push(f, frame, err);
}

/* After a frame that was complete in itself. */
static sluice_status begin_anew(struct wire_filter *f, struct sluice_error *err) {
  sluice_status st = settle_all(f, err);
  if (st || f->n_queue) return st;
  f->n_choices = f->n_lanes = f->n_open = 0;
  f->n_groups = 0;
  f->gate.reset(f->gate.ctx);
  return SLUICE_OK;
}

static bool complete_in_itself(const struct sketch *s) {
  bool whole = s->n_choices > 0;
  for (size_t i = 0; i < s->n_choices; i++) whole &= s->choices[i].whole;
  return whole;
}

/* Finds the frame's texts. *d: the dialect that reads it; NULL: none. */
static sluice_status read_json(struct wire_filter *f, struct slice json, const struct dialect **d,
                               struct sluice_error *err) {
  struct json_span root;
  *d = f->dialect;
  if (shape_match(&f->shape, json, f->dialect, &f->sketch, err)) return SLUICE_OK;
  sluice_status st = json_span_root_lenient(json, &root, err);
  if (!st) st = dialect_read(json, root, f->o.text_key, f->dialect, &f->sketch, d, err);
  if (!st && *d) shape_learn(&f->shape, json, root, *d, &f->sketch);
  return st;
}

/* A frame that no dialect reads: an error's body is judged string by string, one without a string says nothing. */
static sluice_status read_strings(struct wire_filter *f, struct slice json, const struct dialect **d, bool *silent,
                                  struct sluice_error *err) {
  struct json_span all = {JSON_OBJECT, 0, json.len};
  sluice_status st = add_values(json, all, (struct wire_key){0}, false, &f->sketch, err);
  *silent = !st && f->sketch.n_texts == 0;
  if (st || *silent || f->o.format != WIRE_WORDS) return st;
  *d = &dialect_server_error;
  return sketch_add_choice(&f->sketch, (struct sketch_choice){.wide = true}, err);
}

/* One JSON frame. json lies in raw when in_raw. */
static sluice_status on_json(struct wire_filter *f, struct slice raw, struct slice json, bool in_raw, uint64_t offset,
                             struct sluice_error *err) {
  const struct dialect *d = NULL;
  sluice_status st = read_json(f, json, &d, err);
  if (st) return sluice_fail_in(err, "frame at byte %" PRIu64, offset);
  bool silent = false;
  if (!d && !f->o.pass_unknown) st = read_strings(f, json, &d, &silent, err);
  if (st) return st;
  if (!d && !silent && !f->o.pass_unknown)
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "frame at byte %" PRIu64
                       ": no dialect reads it, so its text could not be judged; --pass-unknown lets "
                       "such frames by",
                       offset);
  if (!d || f->sketch.n_choices == 0) return pass(f, raw, err);
  bool error = d == &dialect_server_error; /* no frame that an ending could be like */
  if (!error) f->dialect = d;
  f->saw_error |= error;
  bool complete = f->o.each_line || f->o.format >= WIRE_JSON;
  for (size_t i = 0; complete && i < f->sketch.n_choices; i++)
    f->sketch.choices[i].whole = f->sketch.choices[i].finish = true;
  if (!error && (!f->sketch.choices[0].bare || f->like.len == 0)) {
    buffer_clear(&f->like);
    st = buffer_append(&f->like, json.ptr, json.len, err);
  }
  struct frame *frame = st ? NULL : frame_take(f, err);
  if (!frame) return SLUICE_NOMEM;
  frame->in_raw = in_raw;
  frame->json_at = in_raw ? (size_t)(json.ptr - raw.ptr) : 0;
  frame->json_len = json.len;
  st = buffer_append(&frame->raw, raw.ptr, raw.len, err);
  if (!st && !in_raw) st = buffer_append(&frame->json, json.ptr, json.len, err);
  if (st) {
    frame_free(frame);
    return st;
  }
  bool whole = complete_in_itself(&f->sketch);
  st = judge_frame(f, frame, err);
  if (!st && whole) st = begin_anew(f, err);
  return st ? sluice_fail_in(err, "frame at byte %" PRIu64, offset) : SLUICE_OK;
}

static sluice_status on_event(void *ctx, const struct sse_event *e, struct sluice_error *err) {
  struct wire_filter *f = ctx;
  if (f->ended) return SLUICE_OK;
  f->unended = !e->ended;
  if (e->stray && !f->o.pass_unknown)
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "event at byte %" PRIu64 ": a line that is neither a field nor a comment", e->offset);
  if (!e->has_data) return f->sink(f->sink_ctx, e->raw, err); /* comments and keep-alives wait for nothing */
  size_t at = 0;
  while (at < e->data.len && (e->data.ptr[at] == ' ' || e->data.ptr[at] == '\t')) at++;
  size_t end = e->data.len;
  while (end > at && (e->data.ptr[end - 1] == ' ' || e->data.ptr[end - 1] == '\t')) end--;
  if (slice_is((struct slice){e->data.ptr + at, end - at}, "[DONE]")) {
    sluice_status st = settle_all(f, err);
    if (st || f->ended) return st;
    f->saw_closing = true;
    return f->sink(f->sink_ctx, e->raw, err);
  }
  if (e->data.len == 0) return pass(f, e->raw, err);
  if (!e->ended && f->saw_closing) return SLUICE_OK;
  return on_json(f, e->raw, e->data, e->one_line, e->offset, err);
}

static sluice_status on_line(struct wire_filter *f, struct slice raw, uint64_t offset, struct sluice_error *err) {
  struct slice json = raw;
  if (json.len >= 3 && memcmp(json.ptr, "\xEF\xBB\xBF", 3) == 0) json.ptr += 3, json.len -= 3; /* a byte order mark */
  while (json.len && strchr(" \t\r\n", json.ptr[json.len - 1]) && json.ptr[json.len - 1]) json.len--;
  while (json.len && (json.ptr[0] == ' ' || json.ptr[0] == '\t')) json.ptr++, json.len--;
  if (f->ended) return SLUICE_OK;
  if (json.len == 0) return pass(f, raw, err);
  return on_json(f, raw, json, true, offset, err);
}

static sluice_status push_lines(struct wire_filter *f, struct slice bytes, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!st && bytes.len && !f->ended) {
    const char *nl = f->o.format != WIRE_JSONL ? NULL : memchr(bytes.ptr, '\n', bytes.len);
    size_t n = nl ? (size_t)(nl - bytes.ptr) + 1 : bytes.len;
    if (f->line.len + n > f->o.max_frame)
      return sluice_fail(err, SLUICE_LIMIT, "byte %" PRIu64 ": a line of more than %zu bytes", f->line_offset,
                         f->o.max_frame);
    st = buffer_append(&f->line, bytes.ptr, n, err);
    bytes.ptr += n;
    bytes.len -= n;
    if (st || !nl) continue;
    st = on_line(f, (struct slice){f->line.ptr, f->line.len}, f->line_offset, err);
    f->line_offset += f->line.len;
    buffer_clear(&f->line);
  }
  return st;
}

/* An error's body: the strings of its JSON, or else all of it as one text. */
static sluice_status on_words(struct wire_filter *f, struct slice raw, struct sluice_error *err) {
  static const struct wire_key key = {0, WIRE_CONTENT, 0};
  struct sluice_error ignored = {0};
  struct json_span root;
  struct wire_verdict v = {0};
  bool changed = false;
  if (!json_span_root(raw, &root, &ignored) && root.type >= JSON_STRING) return on_line(f, raw, 0, err);
  sluice_status st = f->gate.push(f->gate.ctx, &key, raw, &v, err);
  if (!st) st = f->gate.settle(f->gate.ctx, &key, &v, err);
  buffer_clear(&f->out);
  raw.len = v.released < raw.len ? (size_t)v.released : raw.len;
  if (!st) st = f->gate.render(f->gate.ctx, &key, 0, raw, &f->out, &changed, err);
  f->stopped |= v.stop;
  return st || f->out.len == 0 ? st : f->sink(f->sink_ctx, (struct slice){f->out.ptr, f->out.len}, err);
}

/* ---- the whole ---- */

sluice_status wire_filter_open(const struct wire_filter_options *o, const struct wire_gate *gate, wire_sink_fn sink,
                               void *ctx, struct wire_filter **out, struct sluice_error *err) {
  struct wire_filter *f = calloc(1, sizeof *f);
  if (!f) return sluice_fail(err, SLUICE_NOMEM, "no memory for a filter");
  f->o = *o;
  if (!f->o.text_key) f->o.text_key = "text";
  if (!f->o.max_frame) f->o.max_frame = WIRE_FRAME_MAX;
  if (!f->o.max_waiting) f->o.max_waiting = 2 * f->o.max_frame;
  f->gate = *gate;
  f->sink = sink;
  f->sink_ctx = ctx;
  f->dialect = dialect_named(o->dialect);
  sse_open(&f->sse, f->o.max_frame, on_event, f);
  *out = f;
  return SLUICE_OK;
}

void wire_filter_close(struct wire_filter *f) {
  if (!f) return;
  struct buffer *buffers[] = {&f->line, &f->like, &f->out, &f->json_out, &f->quoted, &f->other};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) buffer_free(buffers[i]);
  for (size_t i = 0; i < f->n_queue; i++) frame_free(f->queue[i]);
  for (size_t i = 0; i < f->n_spare; i++) frame_free(f->spare[i]);
  free(f->queue);
  free(f->spare);
  free(f->lanes);
  free(f->choices);
  free(f->open);
  sketch_free(&f->sketch);
  shape_free(&f->shape);
  sse_close(&f->sse);
  free(f);
}

sluice_status wire_filter_push(struct wire_filter *f, struct slice bytes, struct sluice_error *err) {
  if (f->ended) return SLUICE_OK;
  return f->o.format == WIRE_SSE ? sse_push(&f->sse, bytes, err) : push_lines(f, bytes, err);
}

sluice_status wire_filter_end(struct wire_filter *f, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  if (f->ended) return SLUICE_OK;
  if (f->o.format == WIRE_SSE) {
    st = sse_end(&f->sse, err);
    struct sluice_error other = {0};
    if (st == SLUICE_INPUT && !f->ended) settle_all(f, &other); /* cut off upstream: what came whole is still owed */
    if (st) return st;
  } else if (f->line.len && f->o.format == WIRE_WORDS)
    st = on_words(f, (struct slice){f->line.ptr, f->line.len}, err);
  else if (f->line.len)
    st = on_line(f, (struct slice){f->line.ptr, f->line.len}, f->line_offset, err);
  return st || f->ended ? st : settle_all(f, err);
}

size_t wire_filter_unread(const struct wire_filter *f) {
  return f->sse.raw.len + f->line.len;
}
size_t wire_filter_held(const struct wire_filter *f) {
  return f->waiting + wire_filter_unread(f);
}
bool wire_filter_ended(const struct wire_filter *f) {
  return f->ended;
}
bool wire_filter_stopped(const struct wire_filter *f) {
  return f->stopped;
}
uint64_t wire_filter_emptied(const struct wire_filter *f) {
  return f->emptied;
}
bool wire_filter_closed(const struct wire_filter *f) {
  return f->ended || f->saw_closing;
}
bool wire_filter_unfinished(const struct wire_filter *f) {
  bool any = false;
  for (size_t i = 0; i < f->n_choices; i++) any |= !f->choices[i].finished && !f->choices[i].stopped;
  return any && !wire_filter_closed(f) && !f->saw_error;
}
int64_t wire_filter_sequence(const struct wire_filter *f) {
  return f->sequence;
}
