/* What a pattern's tree tells: the length of a match, a literal that every match holds, what of the protected span can
 * stand before it. Compare Cox, "Regular Expression Matching with a Trigram Index" (2012), which asks the same of a
 * pattern's parts. */
#include "monitor/pattern_tree.h"

#include <math.h>
#include <string.h>

enum { STRINGS_MAX = 96, STRING_BYTES_MAX = 64, CLASS_MAX = 10, TIMES_MAX = 4 };
static const double RARE_ENOUGH = 8; /* bits: less often than once in 256 places of English text */
static const double ONE_LETTER = 7;  /* or digit, at most: alone it says little in a secret */

struct analyst {
  struct arena *arena;
  const struct pattern_question *question;
  const uint32_t *protect;
  struct pattern_shape *shape;
  bool nomem;
};

/* What one node gives. */
struct part {
  bool exact; /* matches these strings and no others */
  struct literal *strings;
  size_t n;
  struct literal_set best; /* n 0: none */
  size_t protected_max;    /* protected bytes inside */
};

static size_t add_sat(size_t a, size_t b) {
  return a > NODE_UNBOUNDED - b ? NODE_UNBOUNDED : a + b;
}
static size_t mul_sat(size_t a, size_t b) {
  return a && b > NODE_UNBOUNDED / a ? NODE_UNBOUNDED : a * b;
}

void pattern_lengths(const struct node *n, size_t *min, size_t *max) {
  size_t lo = 0, hi = 0;
  *min = n->kind == NODE_ALT ? NODE_UNBOUNDED : 0;
  *max = 0;
  if (n->kind == NODE_SET) {
    *min = n->ascii[0] || n->ascii[1] ? 1 : 2;
    *max = n->bytes_max;
  } else if (n->kind == NODE_UNKNOWN) {
    *min = n->min;
    *max = n->max;
  }
  for (const struct node *c = n->child; c; c = c->next) {
    pattern_lengths(c, &lo, &hi);
    if (n->kind == NODE_ALT) {
      if (lo < *min) *min = lo;
      if (hi > *max) *max = hi;
    } else if (n->kind == NODE_REPEAT) {
      *min = mul_sat(lo, n->min);
      *max = hi ? mul_sat(hi, n->max) : 0;
    } else {
      *min = add_sat(*min, lo);
      *max = add_sat(*max, hi);
    }
  }
}

/* ---- English ---- */

/* Letters per 10,000 bytes of running English text, and first letters of words per 10,000 words (two novels counted;
 * any large text gives these within a tenth). */
static const struct {
  unsigned short anywhere, first;
} letters[26] = {{610, 1160}, {115, 440}, {185, 350}, {350, 320}, {980, 230}, {165, 380},  {155, 170},
                 {490, 720},  {540, 660}, {10, 60},   {65, 80},   {310, 250}, {200, 420},  {530, 230},
                 {590, 680},  {135, 260}, {8, 20},    {450, 210}, {490, 710}, {700, 1620}, {220, 110},
                 {75, 60},    {190, 710}, {11, 1},    {170, 190}, {4, 2}};

double english_share(unsigned char c, bool word_start) {
  static const double words = 0.175; /* of bytes begin a word */
  bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
  if (c == ' ') return 0.17;
  if (c == '\n' || c == '.' || c == ',' || c == '"') return 0.015;
  if (c == '-' || c == '\'' || c == ';') return 0.004;
  if (!upper && !lower) return 0.0003;
  unsigned i = (c | 32u) - 'a';
  double share = word_start ? letters[i].first * 1e-4 * words : letters[i].anywhere * 1e-4;
  return upper ? letters[i].first * 1e-4 * words * 0.12 : share;
}

/* Bits of surprise: letters as if independent. */
static double rarity(const struct literal *l) {
  double bits = 0;
  for (size_t i = 0; i < l->len; i++) bits -= log2(english_share((unsigned char)l->text[i], false));
  unsigned char c = keyword_fold((unsigned char)l->text[0]);
  bool one_letter = l->len == 1 && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'));
  return one_letter && bits > ONE_LETTER ? ONE_LETTER : bits;
}

/* ---- sets of strings ---- */

static struct literal *new_strings(struct analyst *a, size_t n) {
  struct literal *s = arena_alloc(a->arena, (n ? n : 1) * sizeof *s);
  if (!s) a->nomem = true;
  return s;
}

static struct part nothing(void) {
  return (struct part){.exact = false};
}

static struct part empty_string(struct analyst *a) {
  struct part p = {.exact = true, .n = 1, .strings = new_strings(a, 1)};
  if (p.strings) p.strings[0] = (struct literal){.text = "", .cased = true};
  return p;
}

/* Letters that stand in both cases count as one, written small. */
static struct part strings_of_set(struct analyst *a, const struct node *n) {
  struct part p = {.exact = !n->beyond, .strings = new_strings(a, CLASS_MAX + 2)};
  for (unsigned c = 0; p.strings && p.exact && c < 128; c++) {
    bool upper = c >= 'A' && c <= 'Z', letter = upper || (c >= 'a' && c <= 'z');
    if (!node_has(n, c) || (upper && node_has(n, c + 32))) continue;
    char one = (char)c, *text = arena_strndup(a->arena, &one, 1);
    if (p.n == CLASS_MAX || c == 0) return nothing();
    if (!text) a->nomem = true;
    p.strings[p.n++] = (struct literal){text, 1, !letter || !node_has(n, c ^ 32)};
  }
  if (!p.n || !p.strings) p.exact = false;
  if (!p.exact || !a->question->every_case || n->bytes_max < 3) return p;
  if (node_has(n, 's')) p.strings[p.n++] = (struct literal){.text = "\xc5\xbf", .len = 2, .cased = true};
  if (node_has(n, 'k')) p.strings[p.n++] = (struct literal){.text = "\xe2\x84\xaa", .len = 3, .cased = true};
  return p;
}

static struct part product(struct analyst *a, const struct part *x, const struct part *y) {
  struct part p = {.exact = x->n * y->n <= STRINGS_MAX};
  if (p.exact) p.strings = new_strings(a, x->n * y->n);
  for (size_t i = 0; p.strings && i < x->n; i++)
    for (size_t j = 0; j < y->n; j++) {
      const struct literal *s = &x->strings[i], *t = &y->strings[j];
      char joined[2 * STRING_BYTES_MAX + 2];
      if (s->len + t->len > STRING_BYTES_MAX) return nothing();
      memcpy(joined, s->text, s->len);
      memcpy(joined + s->len, t->text, t->len);
      char *text = arena_strndup(a->arena, joined, s->len + t->len);
      if (!text) a->nomem = true;
      p.strings[p.n++] = (struct literal){text, s->len + t->len, s->cased && t->cased};
    }
  return p;
}

/* ---- candidates ---- */

static bool same_text(const struct literal *x, const struct literal *y, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (keyword_fold((unsigned char)x->text[i]) != keyword_fold((unsigned char)y->text[i])) return false;
  return true;
}

/* The strings as a set that must stand in a match. One that begins with another is left out: where it stands, the
 * shorter stands too, at the same place. */
static struct literal_set as_set(struct analyst *a, const struct literal *strings, size_t n) {
  struct literal_set set = {.items = new_strings(a, n), .rarity = INFINITY};
  for (size_t i = 0; set.items && i < n; i++) {
    bool needed = strings[i].len > 0;
    if (!needed) return (struct literal_set){0};
    for (size_t j = 0; needed && j < n; j++) {
      const struct literal *s = &strings[i], *t = &strings[j];
      bool begins = j != i && t->len <= s->len && same_text(s, t, t->len) && (!t->cased || s->cased);
      if (begins && t->cased) begins = memcmp(s->text, t->text, t->len) == 0;
      if (begins && (t->len < s->len || !t->cased || j < i) && !(t->len == s->len && !s->cased && j > i))
        needed = false;
    }
    if (!needed) continue;
    double bits = rarity(&strings[i]);
    if (bits < set.rarity) set.rarity = bits;
    set.items[set.n++] = strings[i];
  }
  return set;
}

/* Where the first of the keywords asked about begins in the literal; NODE_UNBOUNDED: it holds none. */
static size_t keyword_in(const struct analyst *a, const struct literal *l) {
  for (size_t at = 0; at < l->len; at++)
    for (size_t k = 0; k < a->question->n_keywords; k++) {
      const struct literal *w = &a->question->keywords[k];
      const struct literal rest = {l->text + at, l->len - at, l->cased};
      if (w->len > rest.len || !same_text(&rest, w, w->len)) continue;
      if (!w->cased || (l->cased && memcmp(rest.text, w->text, w->len) == 0)) return at;
    }
  return NODE_UNBOUNDED;
}

static void look_for_keywords(const struct analyst *a, struct literal_set *set) {
  set->implied = a->question->n_keywords > 0 && set->n > 0;
  set->offset = 0;
  for (size_t i = 0; i < set->n && set->implied; i++) {
    size_t at = keyword_in(a, &set->items[i]);
    set->implied = at != NODE_UNBOUNDED;
    if (set->implied && at > set->offset) set->offset = at;
  }
}

static bool better(const struct literal_set *x, const struct literal_set *y) {
  if (!y->n) return x->n > 0;
  if (!x->n) return false;
  if (x->implied != y->implied) return x->implied;
  size_t x_before = add_sat(x->ahead, x->inside ? x->offset : 0),
         y_before = add_sat(y->ahead, y->inside ? y->offset : 0);
  if (x->implied && x_before != y_before) return x_before < y_before;
  bool x_rare = x->rarity >= RARE_ENOUGH, y_rare = y->rarity >= RARE_ENOUGH;
  if (x_rare != y_rare) return x_rare;
  if (x->ahead != y->ahead) return x->ahead < y->ahead;
  if (x->inside != y->inside) return !x->inside;
  return x->rarity > y->rarity;
}

static void offer(const struct analyst *a, struct literal_set *best, struct literal_set candidate) {
  look_for_keywords(a, &candidate);
  if (better(&candidate, best)) *best = candidate;
}

static struct part examine(struct analyst *a, const struct node *n, bool inside);

/* Children in a row. Exact ones are joined as long as that stays small. */
static struct part examine_cat(struct analyst *a, const struct node *n, bool inside) {
  struct part joined = empty_string(a), whole = {0};
  size_t before = 0, joined_ahead = 0, lead = 0, joined_lead = 0, min = 0, max = 0;
  bool joined_inside = false, broken = false;
  for (const struct node *c = n->child; c && !a->nomem; c = c->next) {
    struct part p = examine(a, c, inside), more = p.exact ? product(a, &joined, &p) : nothing();
    pattern_lengths(c, &min, &max);
    if (more.exact) {
      joined = more;
      joined_inside |= p.protected_max > 0;
    } else {
      struct literal_set done = as_set(a, joined.strings, joined.n);
      done.ahead = joined_ahead;
      done.lead = joined_lead;
      done.inside = joined_inside;
      offer(a, &whole.best, done);
      p.best.ahead = add_sat(p.best.ahead, before);
      p.best.lead = add_sat(p.best.lead, lead);
      offer(a, &whole.best, p.best);
      joined = p.exact ? p : empty_string(a);
      joined_ahead = p.exact ? before : add_sat(before, p.protected_max);
      joined_lead = p.exact ? lead : add_sat(lead, max);
      joined_inside = p.exact && p.protected_max > 0;
      broken = true;
    }
    before = add_sat(before, p.protected_max);
    lead = add_sat(lead, max);
  }
  whole.protected_max = before;
  if (!broken) {
    whole.exact = true;
    whole.strings = joined.strings;
    whole.n = joined.n;
    return whole;
  }
  struct literal_set rest = as_set(a, joined.strings, joined.n);
  rest.ahead = joined_ahead;
  rest.lead = joined_lead;
  rest.inside = joined_inside;
  offer(a, &whole.best, rest);
  return whole;
}

static struct literal_set set_of_part(struct analyst *a, const struct part *p) {
  if (!p->exact) return p->best;
  struct literal_set set = as_set(a, p->strings, p->n);
  set.inside = p->protected_max > 0;
  look_for_keywords(a, &set);
  return set;
}

static struct part examine_alt(struct analyst *a, const struct node *n, bool inside) {
  struct part whole = {.exact = true};
  struct literal_set all = {.rarity = INFINITY};
  struct literal *strings = new_strings(a, STRINGS_MAX), *items = new_strings(a, STRINGS_MAX);
  bool every = true;
  for (const struct node *c = n->child; c && !a->nomem; c = c->next) {
    struct part p = examine(a, c, inside);
    if (p.protected_max > whole.protected_max) whole.protected_max = p.protected_max;
    whole.exact &= p.exact && whole.n + p.n <= STRINGS_MAX;
    if (whole.exact) memcpy(strings + whole.n, p.strings, p.n * sizeof *strings);
    if (whole.exact) whole.n += p.n;
    struct literal_set set = set_of_part(a, &p);
    every &= set.n > 0 && all.n + set.n <= STRINGS_MAX;
    if (!every) continue;
    memcpy(items + all.n, set.items, set.n * sizeof *items);
    all.n += set.n;
    all.inside |= set.inside;
    if (set.ahead > all.ahead) all.ahead = set.ahead;
    if (set.lead > all.lead) all.lead = set.lead;
    if (set.rarity < all.rarity) all.rarity = set.rarity;
  }
  whole.strings = strings;
  if (!whole.exact && every && all.n) {
    struct literal_set set = as_set(a, items, all.n);
    set.ahead = all.ahead;
    set.lead = all.lead;
    set.inside = all.inside;
    look_for_keywords(a, &set);
    whole.best = set;
  }
  return whole;
}

static bool has_unbounded(const struct node *n) {
  if (n->kind == NODE_REPEAT && n->max == NODE_UNBOUNDED) return true;
  for (const struct node *c = n->child; c; c = c->next)
    if (has_unbounded(c)) return true;
  return false;
}

static bool holds_group(const struct node *n, uint32_t group) {
  if (n->kind == NODE_GROUP && n->group == group) return true;
  for (const struct node *c = n->child; c; c = c->next)
    if (holds_group(c, group)) return true;
  return false;
}

static struct part examine_repeat(struct analyst *a, const struct node *n, bool inside) {
  struct part one = examine(a, n->child, inside), whole = {0};
  if (n->max == NODE_UNBOUNDED && has_unbounded(n->child)) a->shape->nested_repeats = true;
  if (n->max > 1 && a->protect[0] && holds_group(n->child, a->protect[0])) a->shape->group_repeated = true;
  whole.protected_max = one.protected_max ? mul_sat(one.protected_max, n->max) : 0;
  if (one.exact && n->min == n->max && n->max <= TIMES_MAX) {
    struct part times = empty_string(a);
    for (size_t i = 0; times.exact && i < n->max; i++) times = product(a, &times, &one);
    times.protected_max = whole.protected_max;
    if (times.exact) return times;
  }
  if (one.exact && n->min == 0 && n->max == 1 && one.n < STRINGS_MAX) { /* the empty string too */
    whole.exact = true;
    whole.strings = new_strings(a, one.n + 1);
    if (!whole.strings) return whole;
    memcpy(whole.strings, one.strings, one.n * sizeof *one.strings);
    whole.n = one.n + 1;
    whole.strings[one.n] = (struct literal){.text = "", .cased = true};
    return whole;
  }
  if (n->min > 0) whole.best = set_of_part(a, &one);
  return whole;
}

static bool is_protected(const struct analyst *a, uint32_t group) {
  for (size_t i = 0; a->protect[i]; i++)
    if (a->protect[i] == group) return true;
  return false;
}

static struct part examine(struct analyst *a, const struct node *n, bool inside) {
  size_t min = 0, max = 0;
  struct part p = nothing();
  switch (n->kind) {
  case NODE_SET:
    p = strings_of_set(a, n);
    p.protected_max = inside ? n->bytes_max : 0;
    break;
  case NODE_CAT:
    p = examine_cat(a, n, inside);
    break;
  case NODE_ALT:
    p = examine_alt(a, n, inside);
    break;
  case NODE_REPEAT:
    p = examine_repeat(a, n, inside);
    break;
  case NODE_GROUP:
    inside |= is_protected(a, n->group);
    p = examine(a, n->child, inside);
    pattern_lengths(n, &min, &max);
    if (inside) p.protected_max = max;
    break;
  case NODE_ASSERT:
    p = empty_string(a);
    break;
  case NODE_UNKNOWN:
    p.protected_max = inside ? n->max : 0;
    break;
  }
  return p;
}

/* ---- the beginning ---- */

/* Which bytes can begin the node: true when it can also be empty. */
static bool first_word_bytes_only(const struct node *n, bool *only) {
  bool empty = n->kind == NODE_CAT || n->kind == NODE_ASSERT;
  if (n->kind == NODE_SET) {
    for (unsigned c = 0; c < 128; c++) {
      bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
      if (node_has(n, c) && !word) *only = false;
    }
    if (n->beyond) *only = false;
    return false;
  }
  if (n->kind == NODE_UNKNOWN) return *only = false, true;
  for (const struct node *c = n->child; c; c = c->next) {
    bool c_empty = first_word_bytes_only(c, only);
    if (n->kind == NODE_CAT && !c_empty) return false;
    if (n->kind != NODE_CAT) empty |= c_empty;
  }
  return empty || (n->kind == NODE_REPEAT && n->min == 0);
}

/* Every way into the node goes through \b and then a word byte. */
static bool begins_word(const struct node *n, const struct node *follows) {
  if (n->kind == NODE_ALT) {
    for (const struct node *c = n->child; c; c = c->next)
      if (!begins_word(c, follows)) return false;
    return true;
  }
  if (n->kind == NODE_GROUP) return begins_word(n->child, follows);
  if (n->kind != NODE_CAT) return false;
  const struct node *c = n->child;
  while (c && c->kind == NODE_CAT && !c->child) c = c->next;
  if (!c) return false;
  if (c->kind != NODE_ASSERT || c->assertion != ASSERT_WORD_BOUNDARY) return begins_word(c, c->next);
  bool only = true, empty = true;
  for (c = c->next; c && empty; c = c->next) empty = first_word_bytes_only(c, &only);
  return only && !empty;
}

static bool mandatory(const struct node *n, uint32_t group) {
  size_t min = 0, max = 0;
  pattern_lengths(n, &min, &max);
  if (n->kind == NODE_GROUP && n->group == group) return min > 0;
  if (n->kind == NODE_ALT || (n->kind == NODE_REPEAT && n->min == 0)) return false;
  for (const struct node *c = n->child; c; c = c->next)
    if (mandatory(c, group)) return true;
  return false;
}

bool pattern_gates(const struct literal_set *set) {
  return set->n > 0 && set->rarity >= RARE_ENOUGH;
}

sluice_status pattern_shape_read(struct arena *arena, const struct pattern_question *q, struct pattern_shape *out,
                                 struct sluice_error *err) {
  struct node *root = NULL;
  struct analyst a = {.arena = arena, .question = q, .protect = q->protect, .shape = out};
  *out = (struct pattern_shape){0};
  sluice_status st = pattern_tree_read(arena, q->pattern, q->flags, q->ascii, &root, &out->unknown, err);
  if (st || !root) return st;
  out->known = true;
  pattern_lengths(root, &out->min, &out->max);
  struct part whole = examine(&a, root, q->protect[0] == 0);
  out->literals = set_of_part(&a, &whole);
  out->word_start = begins_word(root, NULL);
  out->groups_seen = true;
  for (const uint32_t *g = q->protect; *g; g++) out->groups_seen &= holds_group(root, *g);
  out->group_mandatory = q->protect[0] && mandatory(root, q->protect[0]);
  return a.nomem ? sluice_fail(err, SLUICE_NOMEM, "no memory to examine a pattern of %zu bytes", q->pattern.len)
                 : SLUICE_OK;
}
