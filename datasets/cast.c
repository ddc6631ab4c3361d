#include "datasets/cast.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void cast_begin(struct cast *c, struct arena *memory, uint64_t seed, const char *stream, bool held_out) {
  rng_seed_named(&c->rng, seed, stream);
  c->memory = memory;
  c->held_out = held_out;
  c->n_used = 0;
  memset(c->used_numbers, 0, sizeof c->used_numbers);
}

static bool in_list(const char *word, const char *const *list) {
  for (; *list; list++)
    if (strcasecmp(word, *list) == 0) return true;
  return false;
}

static bool is_test_word(const char *word) {
  for (int k = 0; k < WORD_KINDS; k++)
    if (in_list(word, vocabulary((enum word_kind)k)->test)) return true;
  return false;
}

static bool is_used(const struct cast *c, const char *word) {
  for (int i = 0; i < c->n_used; i++)
    if (strcasecmp(word, c->used[i]) == 0) return true;
  return false;
}

static const char *remember(struct cast *c, const char *word) {
  if (word && c->n_used < CAST_MAX) c->used[c->n_used++] = word;
  return word;
}

enum { INVENTED_BYTES = 24 };

static size_t add(char out[INVENTED_BYTES], size_t len, const char *letters) {
  return len + (size_t)snprintf(out + len, INVENTED_BYTES - len, "%s", letters);
}

/* Two syllables, seldom three, pronounceable: "torvin", "melasto". A model that has to copy these learns to copy any
 * pieces, which is what the held-out words of a benchmark ask of it. At most 1 + 3 * 6 + 3 bytes. */
static void invent_word(struct rng *r, bool capital, char out[INVENTED_BYTES]) {
  static const char *const onsets[] = {"b",  "d",  "f",  "g",  "h",  "k",  "l",  "m",  "n",  "p", "r",
                                       "s",  "t",  "v",  "w",  "z",  "b",  "d",  "k",  "l",  "m", "br",
                                       "dr", "gr", "pl", "st", "tr", "sh", "ch", "th", "qu", "j", "c"};
  static const char *const vowels[] = {"a", "e", "i", "o", "u", "a", "e", "o", "ai", "ea", "ou", "ee"};
  static const char *const codas[] = {"", "", "", "", "", "n", "r", "l", "s", "m", "t", "ck"};
  static const char *const ends[] = {"", "", "", "o", "a", "s", "es", "ing", "er", "ia", "y"};
  int syllables = 2 + (rng_below(r, 6) == 0);
  size_t len = 0;
  out[0] = 0;
  if (rng_below(r, 8) == 0) len = add(out, len, vowels[rng_below(r, 8)]);
  for (int i = 0; i < syllables; i++) {
    len = add(out, len, onsets[rng_below(r, sizeof onsets / sizeof *onsets)]);
    len = add(out, len, vowels[rng_below(r, i ? sizeof vowels / sizeof *vowels : 8)]);
    len = add(out, len, codas[rng_below(r, sizeof codas / sizeof *codas)]);
  }
  if (!strchr("aeiou", out[len - 1])) len = add(out, len, ends[rng_below(r, sizeof ends / sizeof *ends)]);
  if (capital) out[0] = (char)toupper((unsigned char)out[0]);
}

const char *cast_word(struct cast *c, enum word_kind kind) {
  const struct word_set *set = vocabulary(kind);
  const char *const *list = c->held_out ? set->test : set->train;
  uint32_t n = (uint32_t)word_count(list);
  if (!c->held_out && rng_below(&c->rng, 2)) {
    for (int tries = 0; tries < 200; tries++) {
      char word[INVENTED_BYTES];
      invent_word(&c->rng, set->capital != 0, word);
      if (!is_used(c, word) && !is_test_word(word)) return remember(c, arena_strndup(c->memory, word, strlen(word)));
    }
  }
  const char *word = list[rng_below(&c->rng, n)];
  for (int tries = 0; tries < 200 && is_used(c, word); tries++) word = list[rng_below(&c->rng, n)];
  return remember(c, word);
}

bool number_is_held_out(int number) {
  char digits[16];
  int len = snprintf(digits, sizeof digits, "%d", number);
  return hash64(digits, (size_t)len) % 5 == 0;
}

const char *cast_number(struct cast *c) {
  for (int tries = 0;; tries++) { /* one in five or four in five pass: ends after a few draws */
    int number = 1000 + (int)rng_below(&c->rng, 9000);
    unsigned char *used = &c->used_numbers[number / 8], bit = (unsigned char)(1 << (number % 8));
    if (number_is_held_out(number) != c->held_out) continue;
    /* long streams hold more lines than there are numbers: repeat rather than search forever */
    if (tries < 100 && (*used & bit)) continue;
    *used |= bit;
    char digits[16];
    snprintf(digits, sizeof digits, "%d", number);
    return arena_strndup(c->memory, digits, 4);
  }
}

const char *cast_value(struct cast *c, enum word_kind kind) {
  return kind == WORD_KINDS ? cast_number(c) : cast_word(c, kind);
}

const char *pick_from(struct rng *r, struct phrases p) {
  return p.items[rng_below(r, (uint32_t)p.n)];
}

const char *pick_phrase(struct rng *r, enum phrase_kind kind) {
  return pick_from(r, phrases_of(kind));
}

void shuffle_ints(struct rng *r, int *items, int n) {
  for (int i = n - 1; i > 0; i--) {
    int j = (int)rng_below(r, (uint32_t)i + 1), keep = items[i];
    items[i] = items[j];
    items[j] = keep;
  }
}
