/* For tests of datasets: the text of a dialogue before a turn, and mentions of a word in it. */
#ifndef TESTS_DIALOGUE_TEXT_H
#define TESTS_DIALOGUE_TEXT_H

#include "datasets/datasets.h"

#include <ctype.h>
#include <string.h>

/* Turns 0..turn-1 joined by newlines, without the choices of scored turns; with the right answers where asked. */
static inline void text_before(const struct dialogue *d, size_t turn, bool answers, struct buffer *out) {
  struct sluice_error err;
  buffer_clear(out);
  for (size_t i = 0; i < turn; i++) {
    const struct turn *t = &d->turns[i];
    buffer_append_str(out, t->text, &err);
    if (answers && t->task == TASK_CHOOSE && t->answer >= 0) buffer_append_str(out, t->choices[t->answer].text, &err);
    if (answers && t->task == TASK_GENERATE) buffer_append_str(out, t->expected, &err);
    buffer_append_str(out, "\n", &err);
  }
}

/* A choice such as " lentils." or "(B) lentils" without letter, spaces and full stop. */
static inline const char *bare_choice(const char *text, char out[64]) {
  if (text[0] == '(') text += 3;
  while (*text == ' ') text++;
  snprintf(out, 64, "%s", text);
  size_t len = strlen(out);
  if (len && out[len - 1] == '.') out[len - 1] = 0;
  return out;
}

/* Mentions of a whole word; *first and *last get their offsets (-1: none). */
static inline int mentions(const char *text, const char *word, long *first, long *last) {
  int n = 0;
  size_t len = strlen(word);
  *first = *last = -1;
  for (const char *p = text; (p = strstr(p, word)) != NULL; p++) {
    if ((p > text && isalnum((unsigned char)p[-1])) || isalnum((unsigned char)p[len])) continue;
    if (n++ == 0) *first = p - text;
    *last = p - text;
  }
  return n;
}

#endif
