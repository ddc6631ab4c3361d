/* Reads the verdict that a judge wrote. "VERDICT: word", in any case, with or without Markdown around it. The last one
 * counts, because judges restate the form before they use it; and if the last one is not on the menu, there is none:
 * going back to an earlier one would be a guess. */
#include "judge/kinds.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool verdict_is_mark(char c) {
  return c != '\0' && strchr("*_`\"'[]() \t", c) != NULL;
}

static bool is_word(char c) {
  return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* The offset just past the colon of the last verdict label; 0 when there is none. */
static size_t last_label(struct slice text) {
  size_t found = 0;
  for (size_t i = 0; i + 8 <= text.len; i++) {
    if (strncasecmp(text.ptr + i, "verdict", 7) != 0 || (i > 0 && is_word(text.ptr[i - 1]) && text.ptr[i - 1] != '_')) {
      continue;
    }
    size_t at = i + 7;
    while (at < text.len && verdict_is_mark(text.ptr[at])) at++;
    if (at < text.len && text.ptr[at] == ':') found = at + 1;
  }
  return found;
}

int verdict_read(struct slice text, const struct menu_word *menu, size_t n, const char **why) {
  size_t at = last_label(text);
  *why = "the judge wrote no line \"VERDICT: word\"";
  if (at == 0) return -1;
  while (at < text.len && verdict_is_mark(text.ptr[at])) at++;
  size_t start = at;
  while (at < text.len && is_word(text.ptr[at])) at++;
  size_t end = at;
  while (end > start && text.ptr[end - 1] == '_') end--; /* Markdown's underscore, not part of a word */
  while (at < text.len && text.ptr[at] != '\n' &&
         (verdict_is_mark(text.ptr[at]) || strchr(".!;,\r", text.ptr[at]) != NULL)) {
    if (text.ptr[at] == '\0') break;
    at++;
  }
  *why = "the last verdict line holds more than one word";
  if (at < text.len && text.ptr[at] != '\n') return -1;
  for (size_t i = 0; i < n; i++) {
    size_t len = strlen(menu[i].word);
    if (len == end - start && strncasecmp(text.ptr + start, menu[i].word, len) == 0) return (int)i;
  }
  *why = "the last verdict is not on the menu";
  return -1;
}
