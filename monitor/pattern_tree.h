/* Private to monitor/: a pattern as a tree, read for what can be known of it before text comes (pattern_tree.c), and
 * what that is (pattern_shape.c). PCRE2 stays the only one that matches: a construct that the reader does not know
 * makes it say less, never something wrong. */
#ifndef SLUICE_MONITOR_PATTERN_TREE_H
#define SLUICE_MONITOR_PATTERN_TREE_H

#include "monitor/policy.h"

enum node_kind {
  NODE_SET,     /* one character */
  NODE_CAT,     /* children in a row; none: the empty string */
  NODE_ALT,     /* one of the children */
  NODE_REPEAT,  /* one child, min to max times */
  NODE_GROUP,   /* a capturing group */
  NODE_ASSERT,  /* of no length */
  NODE_UNKNOWN, /* back-reference, recursion, \X: min to max bytes of anything */
};
enum assert_kind { ASSERT_WORD_BOUNDARY, ASSERT_START, ASSERT_END, ASSERT_OTHER };
#define NODE_UNBOUNDED SIZE_MAX

struct node {
  enum node_kind kind;
  struct node *child, *next, *look; /* look: what a look-around asks for, else NULL */
  uint64_t ascii[2];                /* NODE_SET: which of U+0000..U+007F */
  uint64_t unsure[2];               /* NODE_SET: those of them that may not be in it after all */
  bool beyond;                      /* NODE_SET: characters past ASCII too */
  uint8_t bytes_max;                /* NODE_SET: of its longest character in UTF-8 */
  size_t min, max;                  /* NODE_REPEAT: times; NODE_UNKNOWN: bytes */
  uint32_t group;                   /* NODE_GROUP */
  enum assert_kind assertion;
  bool lazy;             /* NODE_REPEAT: as few times as will do */
  bool negative, behind; /* of a look-around */
};
static inline bool node_has(const struct node *set, unsigned c) {
  return c < 128 && ((set->ascii[c / 64] >> (c % 64)) & 1);
}

/* NULL in *out, and what is in the way in *unknown, for a pattern outside what the reader knows. flags: as PCRE2's
 * compile options; ascii: without PCRE2_UCP. */
sluice_status pattern_tree_read(struct arena *a, struct slice pattern, uint32_t flags, bool ascii, struct node **out,
                                const char **unknown, struct sluice_error *err);

/* ---- shape ---- */
struct literal {
  char *text;
  size_t len;
  bool cased; /* in this case only */
};
/* Every match holds one of these. */
struct literal_set {
  struct literal *items;
  size_t n;
  size_t ahead;  /* bytes of the protected span that can stand before it */
  size_t lead;   /* bytes of the match that can */
  bool inside;   /* a part of it is protected */
  double rarity; /* bits of surprise in English text, of the least surprising one */
  bool implied;  /* each holds one of the keywords asked about */
  size_t offset; /* bytes of a literal before its keyword, at most */
};
struct pattern_shape {
  bool known;
  const char *unknown;         /* why not */
  size_t min, max;             /* bytes of a match */
  struct literal_set literals; /* n 0: none is mandatory */
  bool word_start;             /* no match begins right after an ASCII word byte */
  bool nested_repeats;         /* a repetition without bound inside another: can backtrack without end */
  bool group_mandatory;        /* the first protect group takes part in every match, and not empty */
  bool groups_seen;            /* all protect groups stand outside look-around */
  bool group_repeated;         /* it stands inside a repetition, so that only the last turn is caught */
};
struct pattern_question {
  struct slice pattern;
  uint32_t flags; /* PCRE2's */
  bool ascii;
  const uint32_t *protect;        /* group numbers, 0-terminated; {0}: the whole match is protected */
  const struct literal *keywords; /* a set of literals that holds them is preferred */
  size_t n_keywords;
  bool every_case; /* literals hold U+017F and U+212A where a letter without case matches them */
};
sluice_status pattern_shape_read(struct arena *a, const struct pattern_question *q, struct pattern_shape *out,
                                 struct sluice_error *err);
/* Whether PCRE2 may sleep until one of the literals has come: they say more than the pattern's first byte does. */
bool pattern_gates(const struct literal_set *set);
void pattern_lengths(const struct node *n, size_t *min, size_t *max); /* bytes */

/* ---- prefilter (pattern_prefilter.c) ---- */
enum { PREFILTER_SLACK = 8 /* bytes: one character more, and one */, PREFILTER_REACH_MAX = 1024 };
struct pattern_prefilter_question {
  struct slice pattern;
  uint32_t flags; /* PCRE2's */
  bool ascii;
  size_t max_match;
  uint32_t match_limit;
};
struct pattern_prefilter {
  size_t reach; /* bytes that decide an attempt, from its start; 0: no other engine may answer */
  bool capped;  /* an attempt can ask for more than max_match bytes; then it ends in a long run */
  struct buffer *expression, *long_run; /* appended to, in Hyperscan's syntax, without flags, over bytes */
};
sluice_status pattern_prefilter_read(const struct pattern_prefilter_question *q, struct pattern_prefilter *out,
                                     struct sluice_error *err);
/* Steps that matching the pattern against any one text of `most` bytes can take, at most: what the match limit counts.
 */
size_t pattern_steps(const struct node *root, size_t most);
/* Share of the bytes of English text that are c; at a word's first byte, with word_start. */
double english_share(unsigned char c, bool word_start);

#endif
