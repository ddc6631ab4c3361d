/* judge: a whole response -> a judgement. Three kinds (judge_table): `rules` asks a monitor policy, `model` lets local
 * weights weigh fixed verdicts by log-probability, `api` asks a language model and reads the verdict that it writes.
 *
 * A judgement is scored only when a verdict of the closed menu was read. Everything else is named: unscored (the judge
 * answered, but no verdict can be read), refused, error (the judge could not be asked). None of them ever becomes a
 * score. Judging is a second pass over recorded outputs; this room writes nothing: the caller puts judgements into the
 * ledger. */
#ifndef SLUICE_JUDGE_H
#define SLUICE_JUDGE_H

#include "base/base.h"
#include "engine/engine.h"

#define JUDGE_PARSER_VERSION 1 /* of what reads verdicts; a change starts a new series */

/* In rising order of what is wrong. */
enum judge_outcome { JUDGE_SCORED, JUDGE_UNSCORED, JUDGE_REFUSED, JUDGE_ERROR };
const char *judge_outcome_name(enum judge_outcome o); /* "scored", "unscored", "refused", "error" */

struct judgement {
  enum judge_outcome outcome;
  const char *verdict; /* a word of the menu, owned by the judge; NULL unless scored */
  double value;        /* the menu's number for it; NAN unless scored */
  char *raw; /* what the judge said: its text, or JSON of findings or log-probabilities; malloc'd, never NULL after a
                call */
  size_t raw_len;
  unsigned char prompt_hash[SHA256_BYTES]; /* of everything that the judge was shown */
  int parser_version;
  char reason[256]; /* why it is not scored; "" when it is */
};
void judgement_free(struct judgement *j);

/* What is judged. Empty slices are absent. */
struct judge_item {
  struct slice question;  /* the dialogue before the answer, as text */
  struct slice answer;    /* pointwise */
  struct slice answer_b;  /* pairwise: the other candidate */
  struct slice reference; /* an expected answer, when there is one */
};

struct judge_kind {
  const char *name, *summary, *keys; /* for -h and docs */
};
const struct judge_kind *judge_table(void); /* ends with a NULL name */

/* Scans a whole text under the policy file that a `rules` judge names: the caller owns the monitor, this room does not
 * know it. Opened once a judge. */
struct judge_scanner {
  sluice_status (*open)(const char *policy, void **scanner, struct sluice_error *err);
  /* *flagged: a rule fired. findings: JSON appended. A detector that did not run is an error, never "clean". */
  sluice_status (*scan)(void *scanner, struct slice text, bool *flagged, struct buffer *findings,
                        struct sluice_error *err);
  void (*close)(void *scanner);
};

struct judge;
/* spec: "rules:policy=FILE", "model:rubric=FILE,dir=DIR", "api:url=URL,model=NAME,key_env=NAME,rubric=FILE". A rubric
 * is a JSON file (fixtures/judges/). scanner: NULL when there is none (then `rules` is SLUICE_UNSUPPORTED). seed: of
 * the per-call delimiters. Unknown kinds and keys are SLUICE_USAGE with a suggestion. */
sluice_status judge_open(const char *spec, const struct judge_scanner *scanner, uint64_t seed, struct judge **out,
                         struct sluice_error *err);
void judge_close(struct judge *j);
/* Canonical JSON of what decides judgements: kind, rubric and its hash, engine, parameters, parser version. */
const char *judge_identity(const struct judge *j);
const char *judge_name(const struct judge *j); /* the rubric's name, or "rules" */
bool judge_is_pairwise(const struct judge *j); /* the rubric compares two candidates */
const char *const *judge_menu(const struct judge *j, size_t *n);

/* Judges item.answer. `call` names the item (a hash or a running number): with the seed it fixes the delimiters, so
 * that the same call makes the same prompt. Fails only on our own errors (memory, an interrupt); a judge that cannot be
 * reached is a judgement with outcome JUDGE_ERROR. out is always to be freed. */
sluice_status judge_pointwise(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement *out,
                              struct sluice_error *err);

/* Both orders. A candidate wins only when both orders name it; if they differ, it is a tie and `consistent` is false.
 * If either order is not scored, the pair is not. */
struct judgement_pair {
  struct judgement order[2]; /* [0] answer first; [1] answer_b first. Verdicts "first", "second", "tie" */
  enum judge_outcome outcome;
  const char *winner; /* "a", "b", "tie"; NULL unless scored */
  double value;       /* 1, 0, 0.5 for a, b, tie; NAN unless scored */
  bool consistent;
};
sluice_status judge_pairwise(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement_pair *out,
                             struct sluice_error *err);
void judgement_pair_free(struct judgement_pair *p);
/* Sets outcome, winner, value and consistent from the two orders, as judge_pairwise does; for recorded verdicts. */
void judgement_pair_settle(struct judgement_pair *p);

/* ---- agreement (judge/agreement.c): labels are 0..k-1, negative is missing ----------------------------------------
 */
struct agreement {
  size_t n;         /* items that both rated */
  double raw;       /* share of equal labels */
  double by_chance; /* what the raters' own base rates give */
  double kappa;     /* Cohen 1960; NAN when by_chance is 1 */
  double lo, hi;    /* 95 % interval of kappa: bootstrap over clusters; NAN when it has no spread to draw from */
};
/* cluster: NULL, or the unit of inference of each item. Allocates scratch. */
sluice_status agreement_of_two(const int *a, const int *b, const uint64_t *cluster, size_t n, int k, uint64_t seed,
                               struct agreement *out, struct sluice_error *err);
enum alpha_level { ALPHA_NOMINAL, ALPHA_ORDINAL, ALPHA_INTERVAL };
/* Krippendorff's alpha (2011, "Computing Krippendorff's Alpha-Reliability"). ratings[rater * items + item], NAN
 * missing. *alpha is NAN when fewer than two ratings can be paired or all are equal. Allocates scratch. */
sluice_status agreement_alpha(const double *ratings, size_t raters, size_t items, enum alpha_level level, double *alpha,
                              struct sluice_error *err);

#endif
