/* PCRE2's syntax (pcre2pattern(3)) into a tree. */
#include "monitor/pattern_tree.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 250, REPEAT_MAX = 65535 };
enum { OPT_I = 1, OPT_S = 2, OPT_X = 4, OPT_N = 8 };

struct reader {
  struct arena *arena;
  const char *s;
  size_t n, at;
  unsigned options;
  bool ascii;  /* \w, \d, \s, \b are ASCII's */
  bool quoted; /* between \Q and \E */
  uint32_t groups;
  unsigned depth;
  const char *unknown;
  bool nomem;
};

static struct node *read_alternatives(struct reader *r);

static struct node *new_node(struct reader *r, enum node_kind kind) {
  struct node *n = arena_alloc(r->arena, sizeof *n);
  if (!n) {
    r->nomem = true;
    return NULL;
  }
  n->kind = kind;
  return n;
}

static struct node *give_up(struct reader *r, const char *why) {
  if (!r->unknown) r->unknown = why;
  return NULL;
}

static bool peek(const struct reader *r, const char *with) {
  size_t len = strlen(with);
  return r->n - r->at >= len && memcmp(r->s + r->at, with, len) == 0;
}

static bool take(struct reader *r, const char *with) {
  if (!peek(r, with)) return false;
  r->at += strlen(with);
  return true;
}

/* ---- sets ---- */

static void set_add(struct node *n, unsigned c) {
  if (c >= 128) return;
  n->ascii[c / 64] |= (uint64_t)1 << (c % 64);
  n->unsure[c / 64] &= ~((uint64_t)1 << (c % 64));
}

/* More is said than may be so, which is safe until the set is inverted. */
static void set_add_unsure(struct node *n, unsigned c) {
  if (c >= 128 || node_has(n, c)) return;
  n->ascii[c / 64] |= (uint64_t)1 << (c % 64);
  n->unsure[c / 64] |= (uint64_t)1 << (c % 64);
}

static void set_beyond(struct node *n) {
  n->beyond = true;
  n->bytes_max = 4;
}

static void set_range(struct node *n, unsigned lo, unsigned hi) {
  for (unsigned c = lo; c <= hi && c < 128; c++) set_add(n, c);
  if (hi >= 128) set_beyond(n);
}

static void set_invert(struct node *n) {
  for (int i = 0; i < 2; i++) n->ascii[i] = ~n->ascii[i] | n->unsure[i];
  set_beyond(n); /* even where the class named all past ASCII: saying more is safe */
}

static bool is_sure(const struct node *n, unsigned c) {
  return node_has(n, c) && !((n->unsure[c / 64] >> (c % 64)) & 1);
}

/* What the other one has, too. */
static void set_unite(struct node *n, const struct node *one) {
  for (unsigned c = 0; c < 128; c++) {
    if (is_sure(one, c))
      set_add(n, c);
    else if (node_has(one, c))
      set_add_unsure(n, c);
  }
  if (one->beyond) set_beyond(n);
}

/* Whatever a Unicode property names. */
static void set_any(struct node *n) {
  for (unsigned c = 0; c < 128; c++) set_add_unsure(n, c);
  set_beyond(n);
}

/* The other case; k and s have a third one past ASCII, which is left out of `beyond` (a literal may hold them) but
 * counts in the length. */
static void set_fold(struct node *n) {
  for (unsigned c = 'a'; c <= 'z'; c++) {
    if (!node_has(n, c) && !node_has(n, c - 32)) continue;
    if (is_sure(n, c) || is_sure(n, c - 32)) {
      set_add(n, c);
      set_add(n, c - 32);
    }
    set_add_unsure(n, c);
    set_add_unsure(n, c - 32);
    if ((c == 'k' || c == 's') && n->bytes_max < 3) n->bytes_max = 3;
  }
}

static bool is_word(unsigned c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* \d \w \s \h \v \N and their opposites; false for another letter. */
static bool set_shorthand(struct node *n, char letter, bool ascii) {
  struct node one = {.bytes_max = 1};
  char lower = (char)(letter | 32);
  for (unsigned c = 0; c < 128; c++) {
    bool in = lower == 'd'   ? c >= '0' && c <= '9'
              : lower == 'w' ? is_word(c)
              : lower == 's' ? c == ' ' || (c >= '\t' && c <= '\r')
              : lower == 'h' ? c == ' ' || c == '\t'
              : lower == 'v' ? c >= '\n' && c <= '\r'
                             : letter == 'N' && c == '\n';
    if (in) set_add(&one, c);
  }
  if (!strchr("dwshv", lower) && letter != 'N') return false;
  if (letter == 'N' || letter != lower)
    set_invert(&one);
  else if (!ascii || lower == 'h' || lower == 'v')
    set_beyond(&one);
  set_unite(n, &one);
  return true;
}

static bool set_posix(struct node *n, struct slice name, bool inverse, bool ascii) {
  static const struct {
    const char *name, *ranges; /* pairs of first and last */
  } classes[] = {{"alnum", "09AZaz"},   {"alpha", "AZaz"},
                 {"ascii", "\001\177"}, {"digit", "09"},
                 {"lower", "az"},       {"upper", "AZ"},
                 {"xdigit", "09AFaf"},  {"word", "09AZaz__"},
                 {"punct", "!/:@[`{~"}, {"space", "\t\r  "},
                 {"blank", "\t\t  "},   {"graph", "!~"},
                 {"print", " ~"},       {"cntrl", "\001\037\177\177"}};
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    struct node one = {.bytes_max = 1};
    if (!slice_is(name, classes[i].name)) continue;
    for (const char *p = classes[i].ranges; *p; p += 2) set_range(&one, (unsigned char)p[0], (unsigned char)p[1]);
    if (!strcmp(classes[i].name, "ascii") || !strcmp(classes[i].name, "cntrl")) set_add(&one, 0);
    if (inverse)
      set_invert(&one);
    else if (!ascii && strcmp(classes[i].name, "ascii") && strcmp(classes[i].name, "xdigit"))
      set_beyond(&one);
    set_unite(n, &one);
    return true;
  }
  return false;
}

/* ---- characters ---- */

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static bool read_digits(struct reader *r, int base, int most, uint32_t *value) {
  int n = 0;
  for (*value = 0; n < most && r->at < r->n; n++, r->at++) {
    int d = hex_digit(r->s[r->at]);
    if (d < 0 || d >= base || *value > 0x10FFFF) break;
    *value = *value * (uint32_t)base + (uint32_t)d;
  }
  return n > 0;
}

/* Behind a backslash: an escape that stands for one character. */
static bool read_escaped(struct reader *r, uint32_t *c) {
  static const char letters[] = "tnrfae", values[] = "\t\n\r\f\a\033";
  char e = r->s[r->at];
  const char *known = strchr(letters, e);
  if (known && e) {
    r->at++;
    *c = (uint32_t)values[known - letters];
    return true;
  }
  if (e == 'x') {
    r->at++;
    *c = 0;
    if (!take(r, "{")) return read_digits(r, 16, 2, c) || true; /* \x alone is U+0000 */
    return read_digits(r, 16, 8, c) && take(r, "}");
  }
  if (e == 'o') {
    r->at++;
    return take(r, "{") && read_digits(r, 8, 8, c) && take(r, "}");
  }
  if (e == '0') return read_digits(r, 8, 3, c);
  if (e == 'c' && r->at + 1 < r->n) {
    unsigned char ctrl = (unsigned char)r->s[r->at + 1];
    *c = (uint32_t)((ctrl >= 'a' && ctrl <= 'z' ? ctrl - 32 : ctrl) ^ 64);
    r->at += 2;
    return true;
  }
  if (is_word((unsigned char)e)) return false;
  int n = utf8_decode(r->s + r->at, r->n - r->at, c);
  r->at += n > 0 ? (size_t)n : 1;
  return n > 0;
}

static bool read_plain(struct reader *r, uint32_t *c) {
  int n = utf8_decode(r->s + r->at, r->n - r->at, c);
  if (n <= 0) return give_up(r, "a byte that is no UTF-8"), false;
  r->at += (size_t)n;
  return true;
}

static void add_range(struct reader *r, struct node *n, uint32_t lo, uint32_t hi) {
  set_range(n, lo, hi);
  if (r->options & OPT_I && hi >= 128) { /* a few of them fold to ASCII letters: U+017F, U+212A */
    set_add_unsure(n, 'k');
    set_add_unsure(n, 's');
  }
}

static void add_character(struct reader *r, struct node *n, uint32_t c) {
  add_range(r, n, c, c);
}

static struct node *character(struct reader *r, uint32_t c) {
  struct node *n = new_node(r, NODE_SET);
  if (!n) return NULL;
  n->bytes_max = 1;
  add_character(r, n, c);
  if (r->options & OPT_I) set_fold(n);
  return n;
}

/* ---- classes ---- */

static bool skip_property(struct reader *r) {
  r->at++;
  if (r->at >= r->n) return false;
  if (r->s[r->at] != '{') return r->at++, true;
  const char *end = memchr(r->s + r->at, '}', r->n - r->at);
  if (end) r->at = (size_t)(end - r->s) + 1;
  return end != NULL;
}

/* One member at r->at; *single: it is one character, *c, that can begin a range. */
static bool class_member(struct reader *r, struct node *n, bool *single, uint32_t *c) {
  *single = true;
  if (peek(r, "[:")) {
    const char *end = NULL;
    for (size_t i = r->at + 2; !end && i + 1 < r->n && r->s[i] != ']'; i++)
      if (r->s[i] == ':' && r->s[i + 1] == ']') end = r->s + i;
    if (end) {
      bool inverse = r->s[r->at + 2] == '^';
      const char *name = r->s + r->at + 2 + inverse;
      *single = false;
      if (!set_posix(n, (struct slice){name, (size_t)(end - name)}, inverse, r->ascii)) return false;
      r->at = (size_t)(end - r->s) + 2;
      return true;
    }
  }
  if (!take(r, "\\")) return read_plain(r, c);
  if (r->at >= r->n) return false;
  char e = r->s[r->at];
  if (e == 'b') return r->at++, *c = 8, true;
  if (e == 'E' || e == 'Q') return false;
  if (e == 'p' || e == 'P') {
    *single = false;
    set_any(n);
    return skip_property(r);
  }
  if (e != 'N' && set_shorthand(n, e, r->ascii)) return r->at++, *single = false, true;
  if (e >= '1' && e <= '7') return read_digits(r, 8, 3, c);
  return read_escaped(r, c);
}

static struct node *read_class(struct reader *r) {
  struct node *n = new_node(r, NODE_SET);
  if (!n) return NULL;
  n->bytes_max = 1;
  bool inverse = take(r, "^"), first = true;
  for (; r->at < r->n && (first || r->s[r->at] != ']'); first = false) {
    uint32_t lo = 0, hi = 0;
    bool single = false, end_single = true;
    if (!class_member(r, n, &single, &lo)) return give_up(r, "a member of a class");
    hi = lo;
    if (single && r->at + 1 < r->n && r->s[r->at] == '-' && r->s[r->at + 1] != ']') {
      size_t back = r->at++;
      if (!class_member(r, n, &end_single, &hi)) return give_up(r, "a range in a class");
      if (!end_single) r->at = back, hi = lo; /* [a-\d]: a hyphen */
    }
    if (!single) continue;
    if (hi == lo)
      add_character(r, n, lo);
    else
      add_range(r, n, lo, hi);
  }
  if (!take(r, "]")) return give_up(r, "a class without end");
  if (r->options & OPT_I) set_fold(n);
  if (inverse) set_invert(n);
  return n;
}

/* ---- escapes outside classes ---- */

static struct node *assertion(struct reader *r, enum assert_kind kind) {
  struct node *n = new_node(r, NODE_ASSERT);
  if (n) n->assertion = kind;
  return n;
}

static struct node *unknown_text(struct reader *r, size_t min, size_t max) {
  struct node *n = new_node(r, NODE_UNKNOWN);
  if (n) n->min = min, n->max = max;
  return n;
}

static struct node *read_escape(struct reader *r) {
  if (r->at >= r->n) return give_up(r, "a backslash at the end");
  char e = r->s[r->at];
  uint32_t c = 0;
  if (e == 'b') return r->at++, assertion(r, ASSERT_WORD_BOUNDARY);
  if (e == 'A') return r->at++, assertion(r, ASSERT_START);
  if (e == 'z' || e == 'Z') return r->at++, assertion(r, ASSERT_END);
  if (e == 'B') return r->at++, assertion(r, ASSERT_OTHER);
  if (e == 'R') return r->at++, unknown_text(r, 1, 3);
  if (e == 'X') return r->at++, unknown_text(r, 1, NODE_UNBOUNDED);
  if (e == 'N' && r->at + 1 < r->n && r->s[r->at + 1] == '{') return give_up(r, "\\N{...}");
  if (e == 'p' || e == 'P') {
    struct node *n = new_node(r, NODE_SET);
    if (!n || !skip_property(r)) return give_up(r, "a property");
    set_any(n);
    return n;
  }
  if ((e >= '1' && e <= '9') || e == 'g' || e == 'k') return give_up(r, "a back-reference");
  struct node *n = new_node(r, NODE_SET);
  if (!n) return NULL;
  n->bytes_max = 1;
  if (set_shorthand(n, e, r->ascii)) return r->at++, n;
  return read_escaped(r, &c) ? character(r, c) : give_up(r, "an escape");
}

/* ---- groups ---- */

/* "i", "s-m", "^" and the like up to ':' or ')'. */
static bool read_options(struct reader *r) {
  bool off = false;
  for (; r->at < r->n && r->s[r->at] != ':' && r->s[r->at] != ')'; r->at++) {
    char c = r->s[r->at];
    unsigned bit = c == 'i' ? OPT_I : c == 's' ? OPT_S : c == 'x' ? OPT_X : c == 'n' ? OPT_N : 0;
    if (c == '-')
      off = true;
    else if (c == '^')
      r->options = 0;
    else if (!bit && c != 'm' && c != 'J' && c != 'U')
      return false;
    else if (off)
      r->options &= ~bit;
    else
      r->options |= bit;
  }
  return r->at < r->n;
}

static bool skip_name(struct reader *r, char end) {
  const char *close = memchr(r->s + r->at, end, r->n - r->at);
  if (close) r->at = (size_t)(close - r->s) + 1;
  return close != NULL;
}

/* Behind '('. What a look-around says of the text is not used, only that it has no length. */
static struct node *read_group(struct reader *r) {
  unsigned before = r->options;
  bool look = false, capture = false, negative = peek(r, "?!") || peek(r, "?<!"), behind = peek(r, "?<");
  if (peek(r, "*")) return give_up(r, "(*...)");
  if (take(r, "?=") || take(r, "?!") || take(r, "?<=") || take(r, "?<!")) {
    look = true;
  } else if (take(r, "?P<") || take(r, "?<")) {
    capture = skip_name(r, '>');
  } else if (take(r, "?'")) {
    capture = skip_name(r, '\'');
  } else if (take(r, "?>")) {
    capture = false;
  } else if (take(r, "?")) {
    if (!read_options(r)) return give_up(r, "a group of another kind");
    if (take(r, ")")) return new_node(r, NODE_CAT); /* (?i): until the enclosing group ends */
    take(r, ":");
  } else {
    capture = !(r->options & OPT_N);
  }
  uint32_t number = capture ? ++r->groups : 0;
  struct node *inner = read_alternatives(r);
  if (!inner || !take(r, ")")) return give_up(r, "a group without end");
  r->options = before;
  if (look) {
    struct node *n = assertion(r, ASSERT_OTHER);
    if (!n) return NULL;
    n->look = inner;
    n->negative = negative;
    n->behind = behind;
    return n;
  }
  if (!capture) return inner;
  struct node *group = new_node(r, NODE_GROUP);
  if (!group) return NULL;
  group->group = number;
  group->child = inner;
  return group;
}

/* ---- sequences ---- */

static struct node *read_atom(struct reader *r) {
  uint32_t c = 0;
  if (r->quoted) return read_plain(r, &c) ? character(r, c) : NULL;
  if (take(r, "\\")) return read_escape(r);
  if (take(r, "[")) return read_class(r);
  if (take(r, "^")) return assertion(r, ASSERT_START);
  if (take(r, "$")) return assertion(r, ASSERT_END);
  if (take(r, "(")) {
    if (++r->depth > DEPTH_MAX) return give_up(r, "groups nested too deep");
    struct node *n = read_group(r);
    r->depth--;
    return n;
  }
  if (take(r, ".")) {
    struct node *n = new_node(r, NODE_SET);
    if (!n) return NULL;
    n->bytes_max = 1;
    if (!(r->options & OPT_S)) set_add(n, '\n');
    set_invert(n);
    return n;
  }
  return read_plain(r, &c) ? character(r, c) : NULL;
}

/* {n}, {n,}, {n,m}; anything else is text. */
static bool read_braces(struct reader *r, size_t *min, size_t *max) {
  size_t back = r->at;
  uint32_t lo = 0, hi = 0;
  r->at++;
  if (!read_digits(r, 10, 5, &lo)) return r->at = back, false;
  *min = *max = lo;
  if (take(r, ",")) *max = read_digits(r, 10, 5, &hi) ? hi : NODE_UNBOUNDED;
  return take(r, "}") ? true : (r->at = back, false);
}

/* {,n} and { n } are text before PCRE2 10.43, quantifiers since. */
static bool newer_braces(const struct reader *r) {
  size_t i = r->at + 1;
  while (i < r->n && r->s[i] && strchr("0123456789, \t", r->s[i])) i++;
  return i > r->at + 1 && i < r->n && r->s[i] == '}';
}

static struct node *read_repeats(struct reader *r, struct node *atom) {
  while (r->at < r->n) {
    size_t min = 0, max = NODE_UNBOUNDED;
    char c = r->s[r->at];
    if (c == '{') {
      if (!read_braces(r, &min, &max)) return newer_braces(r) ? give_up(r, "{...} that newer PCRE2 repeats by") : atom;
    } else if (c == '*' || c == '+' || c == '?') {
      min = c == '+';
      if (c == '?') max = 1;
      r->at++;
    } else {
      return atom;
    }
    bool lazy = r->at < r->n && r->s[r->at] == '?';
    if (lazy || (r->at < r->n && r->s[r->at] == '+')) r->at++;
    struct node *repeat = new_node(r, NODE_REPEAT);
    if (!repeat) return NULL;
    repeat->lazy = lazy;
    repeat->child = atom;
    repeat->min = min;
    repeat->max = max;
    atom = repeat;
  }
  return atom;
}

/* What stands for nothing, also between an item and its quantifier: \Q and \E, comments, the white space of /x. */
static bool skip_silent(struct reader *r) {
  for (;;) {
    char c = r->at < r->n ? r->s[r->at] : '\0';
    if (take(r, "\\E")) {
      r->quoted = false;
    } else if (r->quoted) {
      return true;
    } else if (take(r, "\\Q")) {
      r->quoted = true;
    } else if (take(r, "(?#")) {
      if (!skip_name(r, ')')) return give_up(r, "a comment without end"), false;
    } else if ((r->options & OPT_X) && c == '#') {
      while (r->at < r->n && r->s[r->at] != '\n') r->at++;
    } else if ((r->options & OPT_X) && (c == ' ' || (c >= '\t' && c <= '\r'))) {
      r->at++;
    } else {
      return true;
    }
  }
}

static struct node *read_sequence(struct reader *r) {
  struct node *cat = new_node(r, NODE_CAT), **last = cat ? &cat->child : NULL;
  while (last) {
    if (!skip_silent(r)) return NULL;
    if (r->at >= r->n || (!r->quoted && (r->s[r->at] == '|' || r->s[r->at] == ')'))) break;
    struct node *atom = read_atom(r);
    if (!atom || !skip_silent(r)) return NULL;
    if (!r->quoted) atom = read_repeats(r, atom);
    if (!atom) return NULL;
    *last = atom;
    last = &atom->next;
  }
  return cat;
}

static struct node *read_alternatives(struct reader *r) {
  struct node *first = read_sequence(r);
  if (!first || r->at >= r->n || r->s[r->at] != '|') return first;
  struct node *alt = new_node(r, NODE_ALT), *last = first;
  if (!alt) return NULL;
  alt->child = first;
  while (take(r, "|")) {
    if (!(last->next = read_sequence(r))) return NULL;
    last = last->next;
  }
  return alt;
}

sluice_status pattern_tree_read(struct arena *a, struct slice pattern, uint32_t flags, bool ascii, struct node **out,
                                const char **unknown, struct sluice_error *err) {
  struct reader r = {.arena = a, .s = pattern.ptr, .n = pattern.len, .ascii = ascii};
  r.options = (flags & PCRE2_CASELESS ? OPT_I : 0u) | (flags & PCRE2_DOTALL ? OPT_S : 0u) |
              (flags & PCRE2_EXTENDED ? OPT_X : 0u);
  *out = read_alternatives(&r);
  if (*out && r.at < r.n) *out = give_up(&r, "an unmatched parenthesis");
  if (r.nomem) return sluice_fail(err, SLUICE_NOMEM, "no memory to read a pattern of %zu bytes", pattern.len);
  *unknown = *out ? NULL : r.unknown ? r.unknown : "what stands at its end";
  return SLUICE_OK;
}
