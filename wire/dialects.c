/* The table of dialects, and sketches. */
#include "wire/dialect.h"

#include <stdlib.h>
#include <string.h>

static const struct dialect *const dialects[] = {
    &dialect_openai_chat, /* first: the most frequent, known by one look */
    &dialect_openai_completions, &dialect_anthropic,  &dialect_openai_responses,
    &dialect_server_error,       &dialect_text_lines,
};

enum { TEXTS_MAX = 1 << 16, CHOICES_MAX = 1024 }; /* in one frame */

const struct dialect *dialect_named(const char *name) {
  for (size_t i = 0; name && i < sizeof dialects / sizeof *dialects; i++)
    if (!strcmp(dialects[i]->name, name)) return dialects[i];
  return dialects[0];
}

void sketch_free(struct sketch *s) {
  free(s->texts);
  free(s->choices);
  free(s->logprobs);
  *s = (struct sketch){0};
}

sluice_status sketch_add_text(struct sketch *s, struct sketch_text t, struct sluice_error *err) {
  size_t max = s->max_texts ? s->max_texts : TEXTS_MAX;
  if (s->n_texts == max) return sluice_fail(err, SLUICE_LIMIT, "more than %zu texts in one frame", max);
  if (s->n_texts == s->cap_texts) {
    size_t cap = s->cap_texts ? 2 * s->cap_texts : 4;
    struct sketch_text *grown = realloc(s->texts, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a frame's texts");
    s->texts = grown;
    s->cap_texts = cap;
  }
  s->texts[s->n_texts++] = t;
  return SLUICE_OK;
}

sluice_status sketch_add_choice(struct sketch *s, struct sketch_choice c, struct sluice_error *err) {
  if (s->n_choices == CHOICES_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "more than %d choices in one frame", CHOICES_MAX);
  if (s->n_choices == s->cap_choices) {
    size_t cap = s->cap_choices ? 2 * s->cap_choices : 2;
    struct sketch_choice *grown = realloc(s->choices, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a frame's choices");
    s->choices = grown;
    s->cap_choices = cap;
  }
  s->choices[s->n_choices++] = c;
  return SLUICE_OK;
}

sluice_status sketch_add_logprobs(struct sketch *s, struct sketch_logprobs l, struct sluice_error *err) {
  if (s->n_logprobs == TEXTS_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "more than %d logprobs in one frame", TEXTS_MAX);
  if (s->n_logprobs == s->cap_logprobs) {
    size_t cap = s->cap_logprobs ? 2 * s->cap_logprobs : 2;
    struct sketch_logprobs *grown = realloc(s->logprobs, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for a frame's logprobs");
    s->logprobs = grown;
    s->cap_logprobs = cap;
  }
  s->logprobs[s->n_logprobs++] = l;
  return SLUICE_OK;
}

/* A type that is newer than this program: what it says is judged, in a text of its own. */
static sluice_status read_unknown(struct slice json, struct json_span root, struct sketch *s,
                                  struct sluice_error *err) {
  sluice_status st = add_values(json, root, (struct wire_key){0, WIRE_CONTENT, -1}, true, s, err);
  if (st) return st;
  return sketch_add_choice(
      s,
      (struct sketch_choice){
          .wide = true, .atomic = true, .bare = true, .sequence = whole_number(json, root, "sequence_number", 0)},
      err);
}

sluice_status dialect_read(struct slice json, struct json_span root, const char *text_key, const struct dialect *last,
                           struct sketch *s, const struct dialect **out, struct sluice_error *err) {
  struct json_span type;
  sluice_status st = SLUICE_OK;
  *out = NULL;
  s->n_texts = s->n_choices = s->n_logprobs = s->groups = 0;
  st = repeats_check(json, root, s, err);
  for (size_t i = 0; !st && !*out && i < sizeof dialects / sizeof *dialects; i++) {
    bool known = false;
    st = dialects[i]->read(json, root, text_key, s, &known, err);
    if (known) *out = dialects[i];
  }
  if (st || *out || !last || !last->grows || !member_of(json, root, "type", JSON_STRING, &type)) return st;
  *out = last;
  return read_unknown(json, root, s, err);
}

sluice_status wire_read_texts(struct slice json, const char *text_key, wire_text_fn fn, void *ctx, bool *known,
                              struct sluice_error *err) {
  struct json_span root;
  struct sketch s = {0};
  struct buffer text;
  const struct dialect *d = NULL;
  buffer_init(&text, 0);
  sluice_status st = json_span_root_lenient(json, &root, err);
  if (!st) st = dialect_read(json, root, text_key ? text_key : "text", NULL, &s, &d, err);
  *known = !st && d;
  for (size_t i = 0; !st && i < s.n_texts; i++) {
    struct json_span v = s.texts[i].value;
    if (s.texts[i].spelled || s.texts[i].aside) continue;
    if (s.texts[i].group && !(s.n_choices && s.choices[0].whole)) continue; /* a reader has had it from the pieces */
    buffer_clear(&text);
    st = v.type == JSON_STRING ? json_span_decode(json, v, &text, err)
                               : buffer_append(&text, json.ptr + v.start, v.end - v.start, err);
    if (!st) st = fn(ctx, &s.texts[i].key, (struct slice){text.ptr ? text.ptr : "", text.len}, err);
  }
  buffer_free(&text);
  sketch_free(&s);
  return st;
}
