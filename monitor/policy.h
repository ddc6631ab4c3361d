/* Private to monitor/: what a loaded policy holds. */
#ifndef SLUICE_MONITOR_POLICY_H
#define SLUICE_MONITOR_POLICY_H

#include "monitor/monitor.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { RULE_GROUPS_MAX = 16 };
enum hold_mode { HOLD_MATCH, HOLD_WORD, HOLD_AFTER };

/* Readings of a text that a rule can ask for, as bits. */
enum { VIEW_RAW = 1, VIEW_FOLDED = 2, VIEW_LEET = 4, VIEW_DECODED = 8 };
/* The readings as they run. */
enum lane_kind { LANE_RAW, LANE_FOLDED, LANE_LEET, LANE_DECODED, LANE_DECODED_FOLDED, LANE_DECODED_LEET, LANES };

struct keyword {
  char *text; /* ASCII folded to lower case */
  char *exact;
  size_t len;
  uint32_t rule;
  bool cased;   /* only as `exact` */
  bool context; /* wakes the rule, stands in no match */
};

/* Aho-Corasick over folded bytes (monitor/keywords.c). A policy's has the half-seen keywords too. */
#define KEYWORD_ENDS 0x80000000u
enum { HALVES_MAX = 6 };
struct keyword_automaton {
  uint8_t column[256];
  uint32_t *next; /* [n_states][n_columns], | KEYWORD_ENDS where that state has outputs */
  uint32_t *fail;
  uint16_t *depth;
  uint32_t *first_output, *n_outputs; /* into outputs: keywords that end here, the suffixes' too */
  uint32_t *outputs;                  /* keyword index */
  uint32_t *first_half, *halves;      /* keywords that a rule holds from when half seen; UINT32_MAX: in any case */
  size_t n_states;
  unsigned n_columns;
};

/* What a match must not be (monitor/conditions.c). */
enum allow_target { ALLOW_PROTECTED, ALLOW_MATCH, ALLOW_LINE };
struct allow {
  enum allow_target target;
  bool all; /* a pattern and a word, not one of them */
  pcre2_code **patterns;
  size_t n_patterns;
  struct keyword *words;
  size_t n_words;
  struct keyword_automaton automaton;
};
struct allow_list {
  struct allow *items;
  size_t n;
};

struct rule {
  char *id, *category, *description;
  char *pattern; /* as compiled, a word list's too */
  size_t pattern_len;
  uint32_t flags; /* PCRE2's */
  bool ascii;
  enum monitor_action action;
  pcre2_code *code,
      *anchored;     /* code runs partially only; anchored decides one attempt, at a window's or the text's end */
  pcre2_code *probe; /* where the protected group could begin; NULL: holds from the match's start */
  struct machine *machine;
  struct follow_slot *follow;            /* follow.h */
  uint32_t protect[RULE_GROUPS_MAX + 1]; /* group numbers, 0-terminated, the first that took part; none: whole match */
  uint32_t groups;
  size_t max_match, look_behind; /* bytes */
  bool fail_open;
  enum hold_mode hold;
  bool keyworded, contexted;
  bool derived;    /* its keywords were taken from the pattern: they wake it, and change nothing of what it means */
  bool word_start; /* no match begins right after an ASCII word byte */
  size_t keyword_longest;
  size_t lead; /* bytes of a match that can stand before its first keyword, as long as letters have two cases only */
  char *mask;
  bool mask_each; /* the mask text once a character */
  bool (*check)(const char *text, size_t len);
  double entropy; /* bits a byte that the protected text must pass; 0: any */
  struct allow_list allow;
  unsigned views; /* bits of VIEW_*: where its matches count */
};

struct monitor_policy {
  struct arena strings;
  char *name;
  char hash[2 * SHA256_BYTES + 1];
  struct rule *rules;
  size_t n_rules;
  struct keyword *keywords;
  size_t n_keywords;
  struct keyword_automaton words;
  size_t n_open_words;    /* 64-bit words a bit set of rules takes */
  uint64_t *first_byte;   /* [2][256][n_open_words]: rules without keywords that may begin with this byte; 1: behind an
                             ASCII word byte */
  bool first_any[2][256]; /* some rule does */
  struct openings *openings; /* openings.h: the same for more bytes than the first */
  bool any_hold_word;
  struct allow_list allow;                   /* of every rule */
  size_t max_match, look_behind, max_groups; /* greatest of all rules */
  uint64_t *lane_rules[LANES];               /* bit sets: rules that run over such a lane */
  bool lane_any[LANES];
  size_t lane_back[LANES]; /* bytes behind which a rule of the lane sees nothing any more */
  uint32_t match_limit;
  struct prefilter *prefilter; /* prefilter.h; NULL: built without */
  size_t
      prefilter_min;   /* bytes of new text that it is asked about, PREFILTER_BYTES_MIN; tests ask about every piece, */
  bool prefilter_rare; /* and for rules too that are seldom tried */
  char **notes;
  size_t n_notes;
};

/* policy.c */
struct policy_refusal {
  char *id, *reason;
};
struct policy_refusals {
  struct policy_refusal *items;
  size_t n;
};
/* monitor_policy_parse; with refusals a rule that does not load is set aside there. */
sluice_status policy_read(const char *name, const char *dir, struct slice json, struct policy_refusals *refusals,
                          struct monitor_policy **out, struct sluice_error *err);
void policy_refusals_free(struct policy_refusals *refusals);
enum keyword_kind { KEYWORD_ANY_CASE, KEYWORD_CASED, KEYWORD_CONTEXT };
struct pattern_source;
sluice_status policy_add_keyword(struct monitor_policy *p, uint32_t rule, const char *text, size_t len,
                                 enum keyword_kind kind, struct sluice_error *err);
/* A rule without keywords sleeps until a literal that each of its matches holds has come, where that changes nothing.
 */
sluice_status policy_derive_gate(struct monitor_policy *p, uint32_t rule, struct sluice_error *err);
sluice_status policy_measure_lead(struct monitor_policy *p, uint32_t rule, struct sluice_error *err);
sluice_status policy_keep_pattern(struct monitor_policy *p, struct rule *r, const struct pattern_source *src,
                                  struct sluice_error *err);

/* pattern.c */
struct pattern_source {
  const char *where; /* "policy.json: rule secrets.key" */
  const char *text;
  size_t len;
  uint32_t flags; /* PCRE2_CASELESS and friends */
  bool ascii;     /* \\w, \\d, \\s, \\b are ASCII's, as in RE2 and Go */
};
/* r->protect holds the groups' numbers by then, or names follow in pattern_protect. */
sluice_status pattern_compile(const struct pattern_source *src, struct rule *r, struct sluice_error *err);
/* Adds a group, a number or a name, to r->protect; then pattern_probe once. */
sluice_status pattern_protect(const struct pattern_source *src, struct rule *r, const char *group,
                              struct sluice_error *err);
void pattern_probe(const struct pattern_source *src, struct rule *r);
void pattern_free(struct rule *r);
/* Sets bit b of set[] for each byte that can begin a match of r. */
void pattern_first_bytes(const struct rule *r, unsigned char set[256]);
bool pattern_holds_words(const struct rule *r); /* ordinary words leave a match open */

/* machine.c */
sluice_status machine_open(const char *where, struct machine **out, struct sluice_error *err);
void machine_close(struct machine *m);
bool machine_runs(const struct rule *r);           /* code and anchored by now have machine code, for pcre2_jit_match */
bool machine_probes(const struct rule *r);         /* so has the probe */
void machine_allow(const struct allow_list *list); /* at once: for a list that all rules share */
bool machine_there(void);                          /* PCRE2 makes any here */

/* keywords.c */
sluice_status automaton_build(struct keyword_automaton *a, const struct keyword *words, size_t n,
                              struct sluice_error *err);
void automaton_free(struct keyword_automaton *a);
static inline uint32_t automaton_step(const struct keyword_automaton *a, uint32_t q, unsigned char c) {
  return a->next[(size_t)q * a->n_columns + a->column[c]] & ~KEYWORD_ENDS;
}
sluice_status keywords_build(struct monitor_policy *p, struct sluice_error *err); /* p->words */
unsigned char keyword_fold(unsigned char c);
bool keyword_is(const struct keyword *k, const char *text); /* text is it but for the case */

/* conditions.c */
struct cJSON;
sluice_status allow_read(struct monitor_policy *p, const char *where, const struct cJSON *list, struct allow_list *out,
                         struct sluice_error *err);
void allow_free(struct allow_list *list);
struct candidate {
  struct slice protected_text, match, line; /* line: from its start, at most MONITOR_WORD_MAX before the match */
};
bool allow_lets_by(const struct allow_list *list, const struct candidate *c, pcre2_match_data *match,
                   pcre2_match_context *context);
double text_entropy(struct slice text); /* Shannon's, bits a byte */

/* checks.c */
typedef bool (*check_fn)(const char *text, size_t len);
check_fn check_find(const char *name);
const char *const *check_names(void);

#endif
