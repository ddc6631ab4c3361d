#include "datasets/script.h"

#include <string.h>

void script_fail_memory(struct script *s) {
  if (!s->status) s->status = sluice_fail(s->err, SLUICE_NOMEM, "%s: no memory for this dialogue", s->id ? s->id : "?");
}

const char *script_copy(struct script *s, const char *bytes, size_t len) {
  const char *copy = s->status ? NULL : arena_strndup(s->memory, bytes, len);
  if (!copy) script_fail_memory(s);
  return copy ? copy : "";
}

const char *script_format(struct script *s, const char *fmt, ...) {
  char small[256];
  va_list args;
  va_start(args, fmt);
  int len = vsnprintf(small, sizeof small, fmt, args);
  va_end(args);
  if (len < (int)sizeof small) return script_copy(s, small, (size_t)len);
  char *large = s->status ? NULL : arena_alloc(s->memory, (size_t)len + 1);
  if (!large) {
    script_fail_memory(s);
    return "";
  }
  va_start(args, fmt);
  vsnprintf(large, (size_t)len + 1, fmt, args);
  va_end(args);
  return large;
}

const char *script_sentence(struct script *s, struct rng *r, const char *phrase, const char *const args[4]) {
  static const char *const none[4] = {"", "", "", ""};
  bool first = s->draft.len == 0;
  if (!s->status && !first) s->status = buffer_append_str(&s->draft, " ", s->err);
  if (!s->status && first && phrase[0] == '$')
    s->status = buffer_printf(&s->draft, s->err, "%s ", pick_phrase(r, PHRASE_LEAD_IN));
  size_t at = s->draft.len;
  if (!s->status) s->status = phrase_fill(&s->draft, phrase, args ? args : none, NULL, s->err);
  return s->status ? "" : script_copy(s, s->draft.ptr + at, s->draft.len - at);
}

static struct turn *add_turn(struct script *s, enum turn_role role, enum turn_task task, const char *text) {
  if (s->status) return NULL;
  if (s->n == s->cap) {
    size_t cap = s->cap ? 2 * s->cap : 32;
    struct turn *grown = arena_alloc(s->memory, cap * sizeof *grown);
    if (!grown) {
      script_fail_memory(s);
      return NULL;
    }
    if (s->n) memcpy(grown, s->turns, s->n * sizeof *grown);
    s->turns = grown;
    s->cap = cap;
  }
  struct turn *t = &s->turns[s->n++];
  *t = (struct turn){
      .role = role, .task = task, .text = text, .answer = -1, .tie = -1, .evidence_turn = -1, .distance = -1};
  return t;
}

int script_feed(struct script *s, enum turn_role role, const char *text) {
  add_turn(s, role, TASK_FEED, text);
  return (int)s->n - 1;
}

int script_end_turn(struct script *s, enum turn_role role) {
  const char *text = script_copy(s, s->draft.ptr ? s->draft.ptr : "", s->draft.len);
  buffer_clear(&s->draft);
  return script_feed(s, role, text);
}

struct turn *script_choose(struct script *s, const char *metric, const char *prefix, const char *const *texts,
                           bool lettered, int n) {
  struct turn *t = add_turn(s, TURN_BOT, TASK_CHOOSE, prefix);
  struct turn_choice *choices = t ? arena_alloc(s->memory, (size_t)n * sizeof *choices) : NULL;
  if (!choices) {
    script_fail_memory(s);
    return NULL;
  }
  for (int i = 0; i < n; i++) {
    choices[i].text = texts[i];
    choices[i].label = lettered ? script_format(s, "%c", 'A' + i) : NULL;
  }
  t->metric = metric;
  t->choices = choices;
  t->n_choices = (size_t)n;
  return s->status ? NULL : t;
}

struct turn *script_generate(struct script *s, const char *metric, const char *prefix, const char *expected) {
  struct turn *t = add_turn(s, TURN_BOT, TASK_GENERATE, prefix);
  if (!t) return NULL;
  t->metric = metric;
  t->expected = expected;
  return t;
}

const char *script_prefix(struct script *s, const char *phrase, const char *const args[4]) {
  struct buffer text;
  size_t span[2] = {0, 0};
  buffer_init(&text, 0);
  if (!s->status) s->status = phrase_fill(&text, phrase, args, span, s->err);
  const char *prefix = s->status ? "" : script_copy(s, text.ptr, span[0]);
  buffer_free(&text);
  return prefix;
}
