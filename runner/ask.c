/* An API shows no log-probabilities of given texts, so a choice becomes a question with lettered options. */
#include "runner/play.h"

#include <stdlib.h>
#include <string.h>

static const char *const letters[26] = {"A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M",
                                        "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z"};

static sluice_status write_question(const struct turn *t, const struct turn_choice *choices, struct buffer *out,
                                    struct sluice_error *err) {
  sluice_status status = buffer_append_str(out, "Which of these comes next", err);
  if (!status && t->text && t->text[0]) status = buffer_printf(out, err, " after \"%s\"", t->text);
  if (!status) status = buffer_append_str(out, "?\n", err);
  for (size_t i = 0; i < t->n_choices && !status; i++) {
    const char *text = choices[i].text;
    while (*text == ' ') text++;
    status = buffer_printf(out, err, "%s. %s\n", choices[i].label, text);
  }
  return status ? status : buffer_append_str(out, "Answer with the letter alone.", err);
}

sluice_status ask_for_letter(const struct turn *t, char **question, struct turn_choice **labelled,
                             struct sluice_error *err) {
  *question = NULL;
  *labelled = NULL;
  if (t->n_choices > 26)
    return sluice_fail(err, SLUICE_LIMIT, "a question with %zu choices has no letter for each; at most 26",
                       t->n_choices);
  struct turn_choice *choices = calloc(t->n_choices ? t->n_choices : 1, sizeof *choices);
  if (!choices) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu choices", t->n_choices);
  for (size_t i = 0; i < t->n_choices; i++) {
    choices[i] = t->choices[i];
    if (!choices[i].label) choices[i].label = letters[i];
  }
  struct buffer text;
  buffer_init(&text, 1 << 20);
  sluice_status status = write_question(t, choices, &text, err);
  if (!status) *question = buffer_take(&text, NULL);
  buffer_free(&text);
  if (status) {
    free(choices);
    return status;
  }
  *labelled = choices;
  return SLUICE_OK;
}
