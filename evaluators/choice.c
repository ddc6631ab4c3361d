/* Choice accuracy: ACC_c, ACC_g, next utterance, recall. Right or wrong from the picked index; which rule picked it is
 * a recorded parameter, since published numbers differ by the rule alone (SirLLM's own code: the greedy string, else
 * the first token's log-probability). */
#include "evaluators/evaluators.h"
#include "evaluators/families.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static const char *const rule_names[] = {"sum", "mean", "first", "greedy", "text", NULL};

const char *choice_rule_name(enum choice_rule rule) {
  return rule_names[rule];
}

sluice_status choice_rule_parse(const char *name, enum choice_rule *out, struct sluice_error *err) {
  for (int i = 0; rule_names[i]; i++)
    if (strcmp(name, rule_names[i]) == 0) {
      *out = (enum choice_rule)i;
      return SLUICE_OK;
    }
  const char *near = suggest(name, rule_names);
  return sluice_fail(err, SLUICE_USAGE, "choice rule \"%s\" is unknown%s%s%s; known: sum, mean, first, greedy, text",
                     name, near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static bool word_byte(char c) {
  return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

static struct slice trim(struct slice s) {
  while (s.len && isspace((unsigned char)s.ptr[0])) s.ptr++, s.len--;
  while (s.len && isspace((unsigned char)s.ptr[s.len - 1])) s.len--;
  return s;
}

/* A label stands alone when no word byte touches it: "(B)", "B.", "Answer: B", never the B of "Both". A bare "A" or "I"
 * inside running text is an English word, so there the label must carry a bracket, a dot, a colon or the line to
 * itself. */
static bool label_stands(struct slice text, size_t at, size_t len) {
  bool left = at == 0 || !word_byte(text.ptr[at - 1]);
  size_t end = at + len;
  bool right = end == text.len || !word_byte(text.ptr[end]);
  if (!left || !right) return false;
  char after = end < text.len ? text.ptr[end] : '\n', before = at > 0 ? text.ptr[at - 1] : '\n';
  if (strchr(").:]\n\r*", after)) return true;
  return before == '(' || before == '[' || before == '*';
}

static bool names_label(struct slice text, const char *label) {
  size_t n = strlen(label);
  for (size_t i = 0; n && i + n <= text.len; i++)
    if (memcmp(text.ptr + i, label, n) == 0 && label_stands(text, i, n)) return true;
  return false;
}

/* Where a choice's text is its letter, looking for it as a word would find every "A" of running text. */
static bool only_label(const struct turn_choice *c) {
  return c->label && slice_equal(trim(slice_of(c->text)), slice_of(c->label));
}

int choice_parse(const struct turn_choice *choices, size_t n, struct slice output) {
  struct slice text = trim(output);
  if (text.len == 0) return -1;
  int found = -1, count = 0;
  for (size_t i = 0; i < n; i++) /* the whole answer is the label, or the choice's own text */
    if ((choices[i].label && slice_is(text, choices[i].label)) || slice_equal(text, trim(slice_of(choices[i].text))))
      return (int)i;
  for (size_t i = 0; i < n; i++)
    if (choices[i].label && names_label(text, choices[i].label)) found = (int)i, count++;
  if (count == 1) return found;
  if (count > 1) return -1;
  for (size_t i = 0; i < n; i++)
    if (!only_label(&choices[i]) && text_contains(text, choices[i].text)) found = (int)i, count++;
  return count == 1 ? found : -1;
}

static int argmax(const double *score, const int *divide_by, size_t n) {
  int best = -1;
  double top = -INFINITY;
  for (size_t i = 0; i < n; i++) {
    double value = score[i];
    if (divide_by) value = divide_by[i] > 0 ? value / divide_by[i] : NAN;
    if (isfinite(value) && value > top) top = value, best = (int)i;
  }
  return best;
}

int choice_pick(enum choice_rule rule, const struct turn_choice *choices, size_t n, const double *logprob,
                const double *first_logprob, const int *tokens, struct slice greedy) {
  switch (rule) {
  case CHOICE_BY_SUM:
    return logprob ? argmax(logprob, NULL, n) : -1;
  case CHOICE_BY_MEAN:
    return logprob && tokens ? argmax(logprob, tokens, n) : -1;
  case CHOICE_BY_FIRST:
    return first_logprob ? argmax(first_logprob, NULL, n) : -1;
  case CHOICE_BY_TEXT:
    return choice_parse(choices, n, greedy);
  case CHOICE_BY_GREEDY:
    for (size_t i = 0; i < n; i++) {
      struct slice text = trim(slice_of(choices[i].text));
      if (text.len && slice_equal(text, trim(greedy))) return (int)i;
    }
    return first_logprob ? argmax(first_logprob, NULL, n) : -1;
  }
  return -1;
}

void choice_score(const struct scored_turn *in, struct turn_score *out) {
  const struct turn *t = in->turn;
  if (t->answer < 0 || (size_t)t->answer >= t->n_choices)
    *out = (struct turn_score){SCORE_UNSCORED, NAN, "the turn has no right choice"};
  else if (in->chosen < 0 || (size_t)in->chosen >= t->n_choices)
    *out = (struct turn_score){SCORE_UNSCORED, NAN, "no choice could be read from the answer"};
  else if (in->chosen == t->answer)
    *out = (struct turn_score){SCORE_RIGHT, 1, "chose the right one"};
  else
    *out = (struct turn_score){SCORE_WRONG, 0, "chose another"};
}
