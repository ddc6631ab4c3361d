/* Added tokens inside a text, as the Hugging Face tokenizers library finds them: the leftmost, of those the longest,
 * special or not; one that may not stand there (a special token in plain text, a word within a word) is passed over as
 * a whole. */
#include <string.h>
#include <unicode/uchar.h>

#include "engine/tokenizer/tokenizer.h"

/* The longest that stands at text[at]. */
static const struct added_token *longest_at(const struct tokenizer *t, struct slice text, size_t at, bool normalized) {
  const unsigned char first = (unsigned char)text.ptr[at];
  for (uint32_t i = t->added_from[first]; i < t->added_from[first + 1]; i++) {
    const struct added_token *a = &t->added[i];
    if (a->normalized == normalized && a->pattern.len <= text.len - at &&
        memcmp(t->pool.ptr + a->pattern.start, text.ptr + at, a->pattern.len) == 0)
      return a;
  }
  return NULL;
}

/* What Rust's regular expressions call \w. An invalid byte is none. */
static bool is_word(UChar32 c) {
  return c >= 0 && (u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
                    (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)));
}

/* The character that begins at `at`, or ends there; -1 when there is none. */
static UChar32 character_at(struct slice text, size_t at, size_t *size) {
  uint32_t c;
  const int n = at < text.len ? utf8_decode(text.ptr + at, text.len - at, &c) : 0;
  *size = n > 0 ? (size_t)n : 0;
  return n > 0 ? (UChar32)c : -1;
}

static UChar32 character_before(struct slice text, size_t at, size_t *size) {
  const struct slice before = {text.ptr, at};
  for (size_t back = 1; back <= 4 && back <= at; back++) {
    const UChar32 c = character_at(before, at - back, size);
    if (*size == back) return c;
  }
  *size = 0;
  return -1;
}

static bool may_stand(const struct added_token *a, struct slice text, size_t start, size_t end, bool specials) {
  size_t size;
  if (a->special && !specials) return false;
  return !a->single_word || !(is_word(character_before(text, start, &size)) || is_word(character_at(text, end, &size)));
}

static bool is_space(UChar32 c) {
  return c >= 0 && u_isUWhiteSpace(c);
}

bool added_next(const struct tokenizer *t, struct slice text, size_t from, size_t floor, bool specials, bool normalized,
                struct added_match *m) {
  if (t->n_added == 0) return false;
  for (size_t i = from, size; i < text.len;) {
    const struct added_token *a = longest_at(t, text, i, normalized);
    if (!a) {
      i++;
      continue;
    }
    const size_t end = i + a->pattern.len;
    if (!may_stand(a, text, i, end, specials)) {
      i = end;
      continue;
    }
    *m = (struct added_match){a, i, end, end};
    while (a->lstrip && m->start > floor && is_space(character_before(text, m->start, &size))) m->start -= size;
    if (m->start < floor) m->start = floor;
    while (a->rstrip && is_space(character_at(text, m->end, &size))) m->end += size;
    return true;
  }
  return false;
}
