/* Exact answers in free text: where the expected answer is an integer, the last integer of the output must equal it
 * (LongEval's rule); otherwise the expected words must occur (StreamEval's). */
#include "evaluators/evaluators.h"
#include "evaluators/families.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static bool digit(char c) {
  return c >= '0' && c <= '9';
}

/* Digits at text[*i...] into *value, with group commas only as ",ddd" after one to three digits; *i moves past them. */
static bool integer_at(struct slice text, size_t *i, int64_t *value) {
  size_t at = *i, group = 0;
  bool fits = true, grouped = false;
  int64_t v = 0;
  for (;;) {
    if (at < text.len && digit(text.ptr[at])) {
      if (grouped && group == 3) break;
      int d = text.ptr[at] - '0';
      if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v)) fits = false;
      at++, group++;
      continue;
    }
    bool comma = at + 3 < text.len && text.ptr[at] == ',' && digit(text.ptr[at + 1]) && digit(text.ptr[at + 2]) &&
                 digit(text.ptr[at + 3]) && (at + 4 >= text.len || !digit(text.ptr[at + 4]));
    if (!comma || group > 3 || (grouped && group != 3)) break;
    grouped = true;
    group = 0;
    at++;
  }
  *i = at;
  *value = v;
  return fits;
}

bool number_last(struct slice text, int64_t *out) {
  bool found = false;
  for (size_t i = 0; i < text.len;) {
    if (!digit(text.ptr[i])) {
      i++;
      continue;
    }
    /* A minus counts as a sign only where no word or number runs into it: "-5" and "is -5", not "10-5". */
    bool negative = i > 0 && text.ptr[i - 1] == '-' && (i < 2 || isspace((unsigned char)text.ptr[i - 2]));
    int64_t value;
    if (integer_at(text, &i, &value)) {
      *out = negative ? -value : value;
      found = true;
    } else {
      found = false; /* the last integer is too large to be the answer; an earlier one is not the last */
    }
  }
  return found;
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static bool word_byte(char c) {
  return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* Length of the match of `want` at text.ptr[at], runs of white space alike; 0: none. */
static size_t match_at(struct slice text, size_t at, struct slice want) {
  size_t i = at, j = 0;
  while (j < want.len) {
    if (isspace((unsigned char)want.ptr[j])) {
      if (i >= text.len || !isspace((unsigned char)text.ptr[i])) return 0;
      while (j < want.len && isspace((unsigned char)want.ptr[j])) j++;
      while (i < text.len && isspace((unsigned char)text.ptr[i])) i++;
      continue;
    }
    if (i >= text.len || lower(text.ptr[i]) != lower(want.ptr[j])) return 0;
    i++, j++;
  }
  return i - at;
}

bool text_contains(struct slice text, const char *expected) {
  struct slice want = slice_of(expected);
  while (want.len && isspace((unsigned char)want.ptr[0])) want.ptr++, want.len--;
  while (want.len && isspace((unsigned char)want.ptr[want.len - 1])) want.len--;
  if (want.len == 0) return false;
  bool word_start = word_byte(want.ptr[0]), word_end = word_byte(want.ptr[want.len - 1]);
  for (size_t i = 0; i + 1 <= text.len; i++) {
    if (word_start && i > 0 && word_byte(text.ptr[i - 1])) continue;
    size_t len = match_at(text, i, want);
    if (len && (!word_end || i + len == text.len || !word_byte(text.ptr[i + len]))) return true;
  }
  return false;
}

static bool whole_integer(const char *s, int64_t *value) {
  struct slice text = slice_of(s);
  while (text.len && isspace((unsigned char)text.ptr[0])) text.ptr++, text.len--;
  while (text.len && isspace((unsigned char)text.ptr[text.len - 1])) text.len--;
  size_t at = text.len && text.ptr[0] == '-';
  for (size_t i = at; i < text.len; i++)
    if (!digit(text.ptr[i])) return false;
  return at < text.len && number_last(text, value);
}

void exact_score(const struct scored_turn *in, struct turn_score *out) {
  const char *expected = in->turn->expected;
  int64_t want, got;
  if (!expected || !expected[0]) {
    *out = (struct turn_score){SCORE_UNSCORED, NAN, "the turn has no expected answer"};
  } else if (whole_integer(expected, &want)) {
    bool right = number_last(in->output, &got) && got == want;
    *out = (struct turn_score){right ? SCORE_RIGHT : SCORE_WRONG, right ? 1 : 0,
                               right ? "the last integer is the expected one"
                                     : "the last integer is not the expected one"};
  } else {
    bool right = text_contains(in->output, expected);
    *out = (struct turn_score){right ? SCORE_RIGHT : SCORE_WRONG, right ? 1 : 0,
                               right ? "the expected words occur" : "the expected words do not occur"};
  }
}
