/* Private to the judge room: what a kind of judge is, rubrics, prompts and the reading of verdicts. */
#ifndef SLUICE_JUDGE_KINDS_H
#define SLUICE_JUDGE_KINDS_H

#include "judge/judge.h"

#define JUDGE_MENU_MAX 26
#define JUDGE_TEXT_MAX ((size_t)4 << 20) /* bytes of one judged text */

struct menu_word {
  const char *word; /* [a-z0-9_-]{1,32} */
  double value;
  const char *meaning; /* for an api judge's instructions; "" */
  const char *say;     /* continuation that a model judge weighs; the word */
};
struct rubric {
  struct cJSON *json;              /* owns the strings */
  char hash[2 * SHA256_BYTES + 1]; /* of the file's bytes */
  const char *name, *instructions, *prompt;
  bool pairwise, needs_reference;
  int max_tokens;
  struct menu_word menu[JUDGE_MENU_MAX];
  size_t n_menu;
};
sluice_status rubric_load(const char *path, struct rubric *out, struct sluice_error *err); /* free in any case */
void rubric_free(struct rubric *r);

struct judge {
  const struct judge_type *type;
  struct rubric rubric;
  const char *menu[JUDGE_MENU_MAX + 1];
  uint64_t seed;
  char *identity;
  struct engine *engine;               /* model, api */
  const struct judge_scanner *scanner; /* rules */
  void *scan;
  char policy_hash[2 * SHA256_BYTES + 1];
};

/* One file a kind, and a line in judge.c's table. */
struct judge_type {
  struct judge_kind about;
  const char *const *keys; /* NULL-terminated */
  sluice_status (*open)(struct judge *j, const struct spec *s, struct sluice_error *err);
  /* One question to the judge; item.answer_b is set when the rubric is pairwise. out is zeroed before. */
  sluice_status (*ask)(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement *out,
                       struct sluice_error *err);
};
extern const struct judge_type judge_rules, judge_model, judge_api;

/* Takes the text over as what the judge said. */
void judgement_raw(struct judgement *j, struct buffer *text);
void judgement_scored(struct judgement *j, const struct menu_word *word);
void judgement_unscored(struct judgement *j, enum judge_outcome outcome, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* NOMEM and INTERRUPTED pass; any other failure of asking becomes a judgement with outcome JUDGE_ERROR. */
sluice_status judgement_of_failure(struct judgement *j, sluice_status st, struct sluice_error *err);

/* prompt.c */
void prompt_nonce(uint64_t seed, uint64_t call, char nonce[17]);
/* Appends text with every look-alike of our markers, verdict lines and chat control tokens made harmless. */
sluice_status prompt_neutralise(struct buffer *out, struct slice text, const char *nonce, struct sluice_error *err);
sluice_status prompt_system(const struct rubric *r, const char *nonce, struct buffer *out, struct sluice_error *err);
sluice_status prompt_user(const struct rubric *r, const struct judge_item *item, const char *nonce, struct buffer *out,
                          struct sluice_error *err);
/* Puts the item's texts in the place of {question}, {answer}, {answer_b} and {reference}; one pass, so that a text that
 * holds such a word is not expanded again. */
sluice_status prompt_fill(const char *template, const struct judge_item *item, struct buffer *out,
                          struct sluice_error *err);

/* verdict.c: index into the menu of the last verdict in text; -1 with *why set. */
bool verdict_is_mark(char c); /* may stand around "VERDICT" and before its colon */
int verdict_read(struct slice text, const struct menu_word *menu, size_t n, const char **why);

#endif
