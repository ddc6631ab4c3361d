/* A run of at most LEET_RUN digits and signs becomes letters when a letter follows it; behind a letter at a word's end
 * it does too, up to its last digit, $ or @ (an exclamation mark there is one). 1 is i, and two in a row are ll. */
#include "monitor/leet.h"

#include <stdlib.h>
#include <string.h>

enum { CHANGES_MAX = 1 << 20 };

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The letter that a digit or sign is used for, else 0. */
static char letter_of(char c) {
  static const char digits[] = "oizeasgtbg";
  if (c >= '0' && c <= '9') return digits[c - '0'];
  return c == '@' ? 'a' : c == '$' ? 's' : c == '!' ? 'i' : c == '|' ? 'l' : '\0';
}

/* How many of the run's bytes are letters, given what is around it. */
static unsigned letters_in(const char *run, unsigned n, bool after_letter, bool before_letter) {
  if (before_letter) return n;
  if (!after_letter) return 0;
  while (n > 0 && (run[n - 1] == '!' || run[n - 1] == '|')) n--;
  return n;
}

static char letter_at(const char *run, unsigned n, unsigned i) {
  bool twin = (i > 0 && run[i - 1] == '1') || (i + 1 < n && run[i + 1] == '1');
  return run[i] == '1' && twin ? 'l' : letter_of(run[i]);
}

static sluice_status add_change(struct leet *l, uint64_t at, struct sluice_error *err) {
  if (l->n == l->cap) {
    size_t cap = l->cap ? 2 * l->cap : 64;
    if (cap > CHANGES_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d folded characters wait", CHANGES_MAX);
    uint64_t *grown = realloc(l->changed, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu folded characters", cap);
    l->changed = grown;
    l->cap = cap;
  }
  l->changed[l->n++] = at;
  l->any = true;
  return SLUICE_OK;
}

static sluice_status flush_run(struct leet *l, struct view *out, unsigned letters, uint64_t keep_from,
                               struct sluice_error *err) {
  char bytes[LEET_RUN];
  uint64_t at = view_ready_end(out);
  sluice_status st = SLUICE_OK;
  for (unsigned i = 0; !st && i < l->n_run; i++) {
    bytes[i] = i < letters ? letter_at(l->run, letters, i) : l->run[i];
    if (i < letters) st = add_change(l, at + i, err);
  }
  if (!st) st = view_put(out, (struct slice){bytes, l->n_run}, keep_from, err);
  l->n_run = 0;
  return st;
}

static sluice_status take_sign(struct leet *l, struct view *out, char c, uint64_t keep_from, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  if (!l->number && l->n_run < LEET_RUN) {
    l->run[l->n_run++] = c;
    return SLUICE_OK;
  }
  if (l->n_run) st = flush_run(l, out, 0, keep_from, err);
  l->number = true;
  return st ? st : view_put(out, (struct slice){&c, 1}, keep_from, err);
}

static size_t plain_run(struct slice text) {
  size_t n = 0;
  while (n < text.len && !letter_of(text.ptr[n])) n++;
  return n;
}

void leet_begin(struct leet *l, const struct view *same) {
  uint64_t at = view_ready_end(same);
  unsigned run = 0;
  while (run <= LEET_RUN && at - run > same->base && letter_of(*view_at(same, at - run - 1))) run++;
  *l = (struct leet){.changed = l->changed,
                     .cap = l->cap,
                     .after_letter = at > same->base && is_letter(*view_at(same, at - 1)),
                     .number = run > LEET_RUN};
}

void leet_free(struct leet *l) {
  free(l->changed);
  *l = (struct leet){0};
}

sluice_status leet_append(struct leet *l, struct view *out, struct slice text, uint64_t keep_from,
                          struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!st && text.len) {
    size_t n = plain_run(text);
    if (n) {
      if (l->n_run) {
        unsigned letters = letters_in(l->run, l->n_run, l->after_letter, is_letter(text.ptr[0]));
        st = flush_run(l, out, letters, keep_from, err);
      }
      l->number = false;
      l->after_letter = is_letter(text.ptr[n - 1]);
      if (!st) st = view_put(out, (struct slice){text.ptr, n}, keep_from, err);
    } else {
      n = 1;
      st = take_sign(l, out, text.ptr[0], keep_from, err);
    }
    text.ptr += n;
    text.len -= n;
  }
  return st;
}

sluice_status leet_end(struct leet *l, struct view *out, struct sluice_error *err) {
  unsigned letters = letters_in(l->run, l->n_run, l->after_letter, false);
  l->number = false;
  return l->n_run ? flush_run(l, out, letters, 0, err) : SLUICE_OK;
}

bool leet_covers_change(const struct leet *l, uint64_t start, uint64_t end) {
  for (size_t i = l->n; i > 0 && l->changed[i - 1] >= start; i--)
    if (l->changed[i - 1] < end) return true;
  return false;
}

void leet_drop(struct leet *l, uint64_t before) {
  size_t n = 0;
  while (n < l->n && l->changed[n] < before) n++;
  if (n) memmove(l->changed, l->changed + n, (l->n - n) * sizeof *l->changed);
  l->n -= n;
}

/* The run of digits and signs around `at`: whether it is, or may still become, letters. *end: behind it. */
static bool run_may_be_letters(const struct view *text, uint64_t at, uint64_t *end) {
  uint64_t start = at, ready = view_ready_end(text);
  while (start > text->base && at - start <= LEET_RUN && letter_of(*view_at(text, start - 1))) start--;
  *end = at + 1;
  while (*end < ready && letter_of(*view_at(text, *end))) ++*end;
  if (*end - start > LEET_RUN) return false;
  if (*end == ready) return true;
  bool after = start > text->base && is_letter(*view_at(text, start - 1));
  return letters_in(view_at(text, start), (unsigned)(*end - start), after, is_letter(*view_at(text, *end))) > 0;
}

bool leet_is_needed(const struct view *text, uint64_t from) {
  uint64_t ready = view_ready_end(text);
  for (uint64_t at = from; at < ready; at++) {
    if (!letter_of(*view_at(text, at))) continue;
    if (run_may_be_letters(text, at, &at)) return true;
    at--;
  }
  return false;
}
