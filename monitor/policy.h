/* Private to monitor/: what a loaded policy holds. */
#ifndef SLUICE_MONITOR_POLICY_H
#define SLUICE_MONITOR_POLICY_H

#include "monitor/monitor.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum hold_mode { HOLD_MATCH, HOLD_WORD, HOLD_AFTER };

struct keyword {
  char *text; /* ASCII folded to lower case */
  size_t len;
  uint32_t rule;
};

/* Aho-Corasick over the keywords of all rules, as a full transition table on folded bytes (monitor/keywords.c). */
struct keyword_automaton {
  uint32_t (*next)[256];
  uint32_t *fail;
  uint16_t *depth;
  uint32_t *first_output, *n_outputs; /* into outputs: keywords that end here, the suffixes' too */
  uint32_t *outputs;                  /* keyword index */
  uint8_t *pending;                   /* PENDING_*: some rule must hold from the start of this prefix */
  size_t n_states, n_outputs_total;
};
enum { PENDING_ANY = 1, PENDING_WORD_START = 2 };

struct rule {
  char *id, *category, *description;
  enum monitor_action action;
  pcre2_code *code,
      *anchored;     /* code runs partially only; anchored decides one attempt, at a window's or the text's end */
  pcre2_code *probe; /* where the protected group could begin; NULL: holds from the match's start */
  bool jit, probe_jit;
  uint32_t protect; /* group number; 0: the whole match */
  uint32_t groups;
  size_t max_match, look_behind; /* bytes */
  bool fail_open;
  enum hold_mode hold;
  bool keyworded, word_start; /* word_start: no match begins right after an ASCII word byte */
  size_t keyword_longest;
  char *mask;
  bool mask_each; /* the mask text once a character */
  bool (*check)(const char *text, size_t len);
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
  size_t n_open_words;  /* 64-bit words a bit set of rules takes */
  uint64_t *first_byte; /* [256][n_open_words]: rules without keywords that may begin with this byte */
  bool any_first_byte, any_hold_word;
  size_t max_match, look_behind, max_groups; /* greatest of all rules */
  uint32_t match_limit;
  char **notes;
  size_t n_notes;
};

/* pattern.c */
struct pattern_source {
  const char *where; /* "policy.json: rule secrets.key" */
  const char *text;
  size_t len;
  uint32_t flags;      /* PCRE2_CASELESS and friends */
  const char *protect; /* group name or number as text; NULL: none */
};
sluice_status pattern_compile(const struct pattern_source *src, struct rule *r, struct sluice_error *err);
void pattern_free(struct rule *r);
/* Sets bit b of set[] for each byte that can begin a match of r. */
void pattern_first_bytes(const struct rule *r, unsigned char set[256]);
bool pattern_holds_words(const struct rule *r); /* ordinary words leave a match open */

/* keywords.c */
sluice_status keywords_build(struct monitor_policy *p, struct sluice_error *err);
void keywords_free(struct keyword_automaton *a);
unsigned char keyword_fold(unsigned char c);

/* checks.c */
typedef bool (*check_fn)(const char *text, size_t len);
check_fn check_find(const char *name);
const char *const *check_names(void);

#endif
