/* What a trivial baseline sees. A question that lists its choices would hand every mention-based baseline the answer's
 * form (the last one listed would always be the most recent), so the list is cut away before anything is counted. */
#include "evaluators/baseline_view.h"

#include <ctype.h>
#include <string.h>

static bool word_byte(char c) {
  return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}
static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static struct slice strip(struct slice s) {
  while (s.len && !word_byte(s.ptr[0])) s.ptr++, s.len--;
  while (s.len && !word_byte(s.ptr[s.len - 1])) s.len--;
  return s;
}

bool baseline_next_word(struct slice *rest, struct slice *word) {
  size_t i = 0;
  while (i < rest->len && !word_byte(rest->ptr[i])) i++;
  size_t start = i;
  while (i < rest->len && word_byte(rest->ptr[i])) i++;
  *word = (struct slice){rest->ptr + start, i - start};
  *rest = (struct slice){rest->ptr + i, rest->len - i};
  return word->len > 0;
}

size_t baseline_find(struct slice text, size_t from, struct slice want) {
  if (want.len == 0) return SIZE_MAX;
  for (size_t i = from; i + want.len <= text.len; i++) {
    if (lower(text.ptr[i]) != lower(want.ptr[0]) || (i > 0 && word_byte(text.ptr[i - 1]))) continue;
    size_t j = 1;
    while (j < want.len && lower(text.ptr[i + j]) == lower(want.ptr[j])) j++;
    if (j == want.len && (i + j == text.len || !word_byte(text.ptr[i + j]))) return i;
  }
  return SIZE_MAX;
}

static size_t find_last(struct slice text, struct slice want) {
  size_t last = SIZE_MAX;
  for (size_t at = baseline_find(text, 0, want); at != SIZE_MAX; at = baseline_find(text, at + 1, want)) last = at;
  return last;
}

/* Offset of the label's marker, "(A)", "A)" or "A.", at or after from; *end is where its words begin. */
static size_t find_marker(struct slice text, size_t from, const char *label, size_t *end) {
  struct slice want = slice_of(label);
  for (size_t at = baseline_find(text, from, want); at != SIZE_MAX; at = baseline_find(text, at + 1, want)) {
    size_t after = at + want.len;
    if (memcmp(text.ptr + at, label, want.len) != 0 || after >= text.len || !strchr(").:", text.ptr[after])) continue;
    *end = after + 1;
    return at;
  }
  return SIZE_MAX;
}

/* The turn whose text asks the question: the nearest context turn before the answer. SIZE_MAX: none. */
static size_t question_of(const struct dialogue *d, size_t turn) {
  return turn > 0 && d->turns[turn - 1].task == TASK_FEED ? turn - 1 : SIZE_MAX;
}

/* The last place where all labels follow each other in order; fills what stands behind each. SIZE_MAX: nowhere. */
static size_t lettered_list(const struct turn *t, struct slice question, struct slice *content) {
  size_t found = SIZE_MAX;
  for (size_t from = 0; from < question.len;) {
    size_t starts[BASELINE_MAX_CHOICES + 1], ends[BASELINE_MAX_CHOICES], at = from;
    size_t i = 0;
    for (; i < t->n_choices; i++) {
      if (!t->choices[i].label) return SIZE_MAX;
      starts[i] = find_marker(question, at, t->choices[i].label, &ends[i]);
      if (starts[i] == SIZE_MAX) break;
      at = ends[i];
    }
    if (i < t->n_choices) break;
    starts[t->n_choices] = question.len;
    for (i = 0; i < t->n_choices && content; i++) {
      struct slice words = {question.ptr + ends[i], starts[i + 1] - ends[i]};
      const char *line = memchr(words.ptr, '\n', words.len);
      if (line && i + 1 == t->n_choices) words.len = (size_t)(line - words.ptr); /* "Answer:" may follow the list */
      content[i] = strip(words);
    }
    found = starts[0];
    from = ends[0];
  }
  return found;
}

static bool only_letter(const struct turn_choice *c) {
  struct slice text = strip(slice_of(c->text));
  return c->label && slice_is(text, c->label);
}

bool baseline_contents(const struct dialogue *d, size_t turn, struct slice *content) {
  const struct turn *t = &d->turns[turn];
  if (t->n_choices == 0 || t->n_choices > BASELINE_MAX_CHOICES) return false;
  bool letters = true;
  for (size_t i = 0; i < t->n_choices; i++) {
    content[i] = strip(slice_of(t->choices[i].text));
    letters = letters && only_letter(&t->choices[i]);
    if (!letters && t->choices[i].label) { /* " (B) paper": the letter is not what it says */
      struct slice label = slice_of(t->choices[i].label), *c = &content[i];
      bool prefixed =
          c->len > label.len && memcmp(c->ptr, label.ptr, label.len) == 0 && strchr(").:", c->ptr[label.len]);
      if (prefixed) *c = strip((struct slice){c->ptr + label.len, c->len - label.len});
    }
  }
  size_t question = question_of(d, turn);
  if (letters && question != SIZE_MAX) lettered_list(t, slice_of(d->turns[question].text), content);
  return true;
}

/* Where the question's list of choices begins, so that it can be cut away; the question's length when it lists none. */
static size_t list_start(const struct dialogue *d, size_t turn, const struct slice *content, struct slice question) {
  const struct turn *t = &d->turns[turn];
  size_t start = lettered_list(t, question, NULL);
  if (start != SIZE_MAX) return start;
  start = question.len;
  for (size_t i = 0; i < t->n_choices; i++) {
    size_t at = find_last(question, content[i]);
    if (at == SIZE_MAX) return question.len;
    if (at < start) start = at;
  }
  return start;
}

static sluice_status append_turn(const struct turn *t, struct buffer *out, struct sluice_error *err) {
  sluice_status status = buffer_append_str(out, t->text, err);
  bool scored = t->task == TASK_CHOOSE || t->task == TASK_GENERATE;
  if (status == SLUICE_OK && scored && t->gold_in_context) {
    const char *gold = t->task == TASK_GENERATE ? t->expected : NULL;
    if (t->task == TASK_CHOOSE && t->answer >= 0 && (size_t)t->answer < t->n_choices) gold = t->choices[t->answer].text;
    if (gold) status = buffer_append_str(out, gold, err);
  }
  return status == SLUICE_OK ? buffer_append_str(out, "\n", err) : status;
}

sluice_status baseline_view_open(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,
                                 struct baseline_view *out, struct sluice_error *err) {
  memset(out, 0, sizeof *out);
  buffer_init(&out->memory, 0);
  if (!baseline_contents(d, turn, out->content))
    return sluice_fail(err, SLUICE_LIMIT, "%s turn %zu: more than %d choices", d->id, turn, BASELINE_MAX_CHOICES);
  size_t question = question_of(d, turn), cut = 0;
  for (size_t i = 0; i < turn; i++) {
    size_t before = out->memory.len;
    sluice_status status = append_turn(&d->turns[i], &out->memory, err);
    if (status != SLUICE_OK) {
      buffer_free(&out->memory);
      return status;
    }
    cut = out->memory.len;
    if (i == question) cut = before + list_start(d, turn, out->content, slice_of(d->turns[i].text));
  }
  size_t from = 0;
  if (budget && budget->bytes && out->memory.len > budget->bytes) from = out->memory.len - budget->bytes;
  if (from > cut) from = cut;
  out->text = (struct slice){out->memory.ptr ? out->memory.ptr + from : "", cut - from};
  return SLUICE_OK;
}

void baseline_view_close(struct baseline_view *v) {
  buffer_free(&v->memory);
}
