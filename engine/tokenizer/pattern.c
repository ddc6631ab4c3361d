/* Splitting patterns are written for Oniguruma in its Ruby syntax, which the Hugging Face tokenizers library uses; they
 * run here under PCRE2. What the two read differently is rewritten, or refused where it cannot be: \s \w \h   PCRE2
 * counts U+180E as a space, and marks and other connectors than _ as no part of a word; \h is a hexadecimal digit there
 * and a horizontal space here [a[bc]]    a class within a class is a part of it there, and a literal [ here {1,3}+ is
 * possessive here and repeats the repetition there Source: Oniguruma's doc/RE (6.9) and doc/SYNTAX.md; pcre2pattern(3).
 */
#include <string.h>

#include "engine/tokenizer/split.h"

/* Unicode's White_Space. A list is faster than the property: no table is asked for a character below U+0080. */
#define SPACES "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORD "\\p{L}\\p{M}\\p{Nd}\\p{Pc}"
#define HEX "0-9A-Fa-f"

struct translation {
  const char *where;
  const char *at;
  size_t depth; /* of classes */
  struct buffer *out;
};

static sluice_status put(struct translation *p, const char *text, struct sluice_error *err) {
  return buffer_append(p->out, text, strlen(text), err);
}

static sluice_status refuse(const struct translation *p, const char *what, struct sluice_error *err) {
  return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: the splitting pattern's %s is not done here", p->where, what);
}

/* A set of characters, inside a class or as one. */
static sluice_status put_set(struct translation *p, const char *set, bool negated, struct sluice_error *err) {
  if (p->depth > 0 && negated) return refuse(p, "negated set within a class", err);
  sluice_status st = p->depth > 0 ? SLUICE_OK : put(p, negated ? "[^" : "[", err);
  if (!st) st = put(p, set, err);
  return st || p->depth > 0 ? st : put(p, "]", err);
}

static sluice_status escape(struct translation *p, struct sluice_error *err) {
  const char c = p->at[1];
  const char *from = p->at;
  p->at += c ? 2 : 1;
  switch (c) {
  case 's':
    return put_set(p, SPACES, false, err);
  case 'S':
    return p->depth > 0 ? put(p, "\\P{White_Space}", err) : put_set(p, SPACES, true, err);
  case 'w':
  case 'W':
    return put_set(p, WORD, c == 'W', err);
  case 'h':
  case 'H':
    return put_set(p, HEX, c == 'H', err);
  default:
    return buffer_append(p->out, from, (size_t)(p->at - from), err);
  }
}

static sluice_status open_class(struct translation *p, struct sluice_error *err) {
  if (p->depth > 0 && p->at[1] == '^') return refuse(p, "negated class within a class", err);
  if (p->depth++ > 0) {
    p->at++;
    return SLUICE_OK;
  }
  const char *from = p->at++;
  if (*p->at == '^') p->at++;
  if (*p->at == ']') p->at++; /* the first is a literal one, in both */
  return buffer_append(p->out, from, (size_t)(p->at - from), err);
}

static sluice_status within_class(struct translation *p, struct sluice_error *err) {
  const char *end;
  if (p->at[0] == '&' && p->at[1] == '&') return refuse(p, "&& within a class", err);
  if (p->at[0] == '[' && p->at[1] == ':' && (end = strstr(p->at, ":]"))) {
    const char *from = p->at;
    p->at = end + 2;
    return buffer_append(p->out, from, (size_t)(p->at - from), err);
  }
  if (*p->at == '[') return open_class(p, err);
  if (*p->at == ']' && --p->depth > 0) {
    p->at++;
    return SLUICE_OK;
  }
  return buffer_append(p->out, p->at++, 1, err);
}

/* {2}, {2,}, {,3} and {2,3} */
static size_t interval(const char *at) {
  const size_t low = strspn(at + 1, "0123456789"), comma = at[1 + low] == ',';
  const size_t high = comma ? strspn(at + 2 + low, "0123456789") : 0, end = 1 + low + comma + high;
  return low + high > 0 && at[end] == '}' ? end + 1 : 0;
}

static sluice_status outside(struct translation *p, struct sluice_error *err) {
  if (*p->at == '[') return open_class(p, err);
  const size_t n = *p->at == '{' ? interval(p->at) : 0;
  if (n > 0 && (p->at[n] == '+' || p->at[n] == '*')) return refuse(p, "repeated interval, {...}+ or {...}*,", err);
  const size_t len = n > 0 ? n : 1;
  p->at += len;
  return buffer_append(p->out, p->at - len, len, err);
}

sluice_status pattern_translate(const char *where, const char *pattern, struct buffer *out, struct sluice_error *err) {
  struct translation p = {where, pattern, 0, out};
  sluice_status st = SLUICE_OK;
  while (!st && *p.at) st = *p.at == '\\' ? escape(&p, err) : p.depth > 0 ? within_class(&p, err) : outside(&p, err);
  return st ? st : buffer_append(out, "", 1, err);
}
