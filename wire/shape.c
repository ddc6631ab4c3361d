/* Most frames of a stream are the bytes of the frame before with another text in them. Such a frame need not be parsed
 * and asked for a dozen members again: its bytes outside the texts are compared, each text is checked to be a string,
 * and what the dialect found is moved to the new offsets. */
#include "wire/shape.h"

#include <stdlib.h>
#include <string.h>

enum { PENALTY_MAX = 64 };

void shape_free(struct shape *s) {
  buffer_free(&s->pattern);
  sketch_free(&s->sketch);
  *s = (struct shape){0};
}

/* ---- matching ---- */

/* How far what begins at `at` in the pattern has moved. */
static size_t moved(const struct shape *s, const size_t *ends, size_t at) {
  size_t i = s->n_slots;
  while (i > 0 && s->slots[i - 1].end > at) i--;
  return i ? ends[i - 1] + (at - s->slots[i - 1].end) : at;
}

static void move_span(const struct shape *s, const size_t *ends, struct json_span *span) {
  size_t start = moved(s, ends, span->start);
  span->end = moved(s, ends, span->end);
  span->start = start;
}

/* One past a number without sign and fraction; at: none. */
static size_t digits_end(struct slice json, size_t at) {
  size_t end = at;
  while (end < json.len && json.ptr[end] >= '0' && json.ptr[end] <= '9') end++;
  return end - at > 18 || (end - at > 1 && json.ptr[at] == '0') ? at : end;
}

static int64_t digits_value(struct slice json, size_t at, size_t end) {
  int64_t n = 0;
  for (; at < end; at++) n = 10 * n + (json.ptr[at] - '0');
  return n;
}

/* ends[i]: where slot i ends in json. */
static bool compare(const struct shape *s, struct slice json, size_t *ends, int64_t *sequence) {
  size_t at = 0, from = 0;
  for (size_t i = 0; i < s->n_slots; i++) {
    const struct shape_slot *slot = &s->slots[i];
    size_t literal = slot->start - from;
    if (json.len - at <= literal || memcmp(json.ptr + at, s->pattern.ptr + from, literal) != 0) return false;
    at += literal;
    size_t end = slot->number ? digits_end(json, at) : json_span_string_end(json, at);
    if (end <= at) return false;
    if (slot->sequence) *sequence = digits_value(json, at, end);
    ends[i] = at = end;
    from = slot->end;
  }
  return json.len - at == s->pattern.len - from && memcmp(json.ptr + at, s->pattern.ptr + from, json.len - at) == 0;
}

bool shape_match(struct shape *s, struct slice json, const struct dialect *last, struct sketch *out,
                 struct sluice_error *err) {
  size_t ends[SHAPE_SLOTS_MAX];
  int64_t sequence = -1;
  sluice_status st = SLUICE_OK;
  if (!s->dialect || s->dialect != last) return false;
  if (!compare(s, json, ends, &sequence)) return false;
  s->penalty = 0;
  out->n_texts = out->n_choices = out->n_logprobs = out->groups = 0;
  for (size_t i = 0; !st && i < s->sketch.n_texts; i++) {
    struct sketch_text t = s->sketch.texts[i];
    move_span(s, ends, &t.value);
    st = sketch_add_text(out, t, err);
  }
  for (size_t i = 0; !st && i < s->sketch.n_choices; i++) {
    struct sketch_choice c = s->sketch.choices[i];
    if (sequence >= 0) c.sequence = sequence;
    move_span(s, ends, &c.reason);
    move_span(s, ends, &c.details);
    st = sketch_add_choice(out, c, err);
  }
  return !st; /* without memory the dialect is asked, and says so */
}

/* ---- learning ---- */

/* Keeps slots in order; false when there are too many or two overlap. One that is there already stays as it is. */
static bool add_slot(struct shape *s, struct shape_slot slot) {
  size_t at = s->n_slots;
  while (at > 0 && s->slots[at - 1].start > slot.start) at--;
  if (at > 0 && s->slots[at - 1].start == slot.start) return true;
  if (s->n_slots == SHAPE_SLOTS_MAX || (at > 0 && s->slots[at - 1].end > slot.start) ||
      (at < s->n_slots && s->slots[at].start < slot.end))
    return false;
  memmove(s->slots + at + 1, s->slots + at, (s->n_slots - at) * sizeof *s->slots);
  s->slots[at] = slot;
  s->n_slots++;
  return true;
}

/* Members that change from frame to frame and that no dialect looks at, but for the sequence number. */
static bool add_others(struct shape *s, struct slice json, struct json_span root) {
  struct json_span v;
  bool fits = true;
  if (member_of(json, root, "obfuscation", JSON_STRING, &v))
    fits = add_slot(s, (struct shape_slot){.start = v.start, .end = v.end});
  if (fits && member_of(json, root, "created", JSON_NUMBER, &v) && digits_end(json, v.start) == v.end)
    fits = add_slot(s, (struct shape_slot){.start = v.start, .end = v.end, .number = true});
  if (!fits || !member_of(json, root, "sequence_number", JSON_NUMBER, &v) || digits_end(json, v.start) != v.end)
    return fits;
  for (size_t i = 0; i < s->sketch.n_choices; i++)
    if (s->sketch.choices[i].sequence != digits_value(json, v.start, v.end)) return true; /* stays as it is */
  return add_slot(s, (struct shape_slot){.start = v.start, .end = v.end, .number = true, .sequence = true});
}

static bool copy_sketch(struct sketch *to, const struct sketch *from) {
  struct sluice_error ignored = {0};
  sluice_status st = SLUICE_OK;
  to->n_texts = to->n_choices = 0;
  for (size_t i = 0; !st && i < from->n_texts; i++) st = sketch_add_text(to, from->texts[i], &ignored);
  for (size_t i = 0; !st && i < from->n_choices; i++) st = sketch_add_choice(to, from->choices[i], &ignored);
  return !st;
}

/* Frames with repeats of whole texts (groups) and with log-probabilities have rules of their own. */
static bool learnable(struct slice json, const struct sketch *found) {
  bool good = json.len <= SHAPE_BYTES_MAX && found->n_texts > 0 && found->n_texts <= 4 && found->n_choices <= 4 &&
              found->n_logprobs == 0 && found->groups == 0;
  for (size_t i = 0; good && i < found->n_texts; i++)
    good = found->texts[i].value.type == JSON_STRING && found->texts[i].group == 0 && found->texts[i].spelled == 0;
  return good;
}

void shape_learn(struct shape *s, struct slice json, struct json_span root, const struct dialect *d,
                 const struct sketch *found) {
  struct sluice_error ignored = {0};
  if (!learnable(json, found)) return;
  if (s->rest > 0) {
    s->rest--;
    return;
  }
  s->dialect = NULL;
  s->n_slots = 0;
  s->penalty = s->penalty ? 2 * s->penalty : 1;
  if (s->penalty > PENALTY_MAX) s->penalty = PENALTY_MAX;
  s->rest = s->penalty - 1;
  buffer_clear(&s->pattern);
  bool good = copy_sketch(&s->sketch, found) && !buffer_append(&s->pattern, json.ptr, json.len, &ignored);
  for (size_t i = 0; good && i < found->n_texts; i++)
    good = add_slot(s, (struct shape_slot){.start = found->texts[i].value.start, .end = found->texts[i].value.end});
  if (good && add_others(s, json, root)) s->dialect = d;
}
