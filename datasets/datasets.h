/* datasets: names -> dialogues. Stands on base alone. A dataset is named by one string, "name:key=value,...": a generator
 * ("grocery:depth=random,turns=20", seeded, the same bytes everywhere) or a reader ("sirllm_grocery:file=PATH"). */
#ifndef SLUICE_DATASETS_H
#define SLUICE_DATASETS_H

#include "base/base.h"

enum turn_role { TURN_SYSTEM, TURN_USER, TURN_BOT };
enum turn_task {
  TASK_FEED,     /* context only */
  TASK_CHOOSE,   /* a scored bot turn with choices: exactly one is right */
  TASK_GENERATE, /* a scored bot turn, free text, compared with `expected` */
  TASK_TEXT      /* raw text for perplexity (no template) */
};
struct turn_choice {
  const char *label; /* "A", or NULL when choices are not lettered */
  const char *text;  /* the continuation that is scored and committed */
};
struct turn {
  enum turn_role role;
  enum turn_task task;
  const char *text;      /* FEED/TEXT: the text. CHOOSE/GENERATE: the answer's prefix, may be "" */
  const char *metric;    /* scored turns: "acc_c", "acc_g", "recall", "next", "rps", "exact"; groups scores */
  const struct turn_choice *choices;
  size_t n_choices;
  int answer;            /* index of the right choice, -1 when none is (RPS: see rps) */
  int tie;               /* RPS: index that ties; -1 elsewhere */
  const char *expected;  /* GENERATE: gold text that must occur; CHOOSE: NULL */
  int evidence_turn;     /* index of the turn that holds the evidence; -1: unknown */
  const char *evidence;  /* the words that hold it, inside that turn's text; NULL: unknown */
  int distance;          /* in the dataset's own unit (turns or lines) back to the evidence; -1: none */
  bool gold_in_context;  /* after scoring, the right answer (true) or the model's own (false) stays in context */
};
struct dialogue {
  const char *id;        /* stable: "grocery/7/000012" */
  const char *cluster;   /* unit of inference for statistics: the dialogue's own id unless samples share one */
  const struct turn *turns;
  size_t n_turns;
  struct arena memory;   /* owns everything above */
};
void dialogue_free(struct dialogue *d);
/* SHA-256 over the canonical JSON of a dialogue. */
sluice_status dialogue_hash(const struct dialogue *d, unsigned char out[SHA256_BYTES], struct sluice_error *err);
/* Canonical JSON, one line without the newline, appended to out. `sluice data make` prints it. */
sluice_status dialogue_json(const struct dialogue *d, struct buffer *out, struct sluice_error *err);

struct dataset;
struct dataset_info {
  const char *name, *summary, *keys; /* for -h and docs */
  const char *baseline;              /* trivial baselines that make sense: "chance,longest" ... */
  const char *license;
};
/* Parses the string, opens files; unknown names and keys are SLUICE_USAGE with a suggestion. */
sluice_status dataset_open(const char *spec, struct dataset **out, struct sluice_error *err);
void dataset_close(struct dataset *d);
const char *dataset_canonical(const struct dataset *d); /* all defaults spelled out */
size_t dataset_size(const struct dataset *d);           /* dialogues */
/* Dialogue i, made or read anew; the same i gives the same bytes. Free with dialogue_free. */
sluice_status dataset_dialogue(const struct dataset *d, size_t i, struct dialogue *out, struct sluice_error *err);
const struct dataset_info *dataset_information(const struct dataset *d);
const struct dataset_info *dataset_table(void); /* ends with a NULL name */

/* Training text (datasets/generators/train_mix.c): line i of the corpus for `stage` ("256", "512", ...): the tagged text of one
 * dialogue of about `words` words, and the byte spans of its answers. Train and test never share items, names or numbers. */
struct train_line {
  char *text;
  size_t len;
  size_t (*spans)[2];
  size_t n_spans;
};
sluice_status train_mix_line(uint64_t seed, const char *stage, uint64_t i, size_t words, struct train_line *out,
                             struct sluice_error *err);
void train_line_free(struct train_line *line);

#endif
