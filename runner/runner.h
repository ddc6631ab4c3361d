/* runner: suite -> plan -> run -> score -> compare, through the ledger. A run continues where the last one stopped: the
 * same command after a kill, a full disk or a lost network ends with the rows that an uninterrupted run would have
 * written. */
#ifndef SLUICE_RUNNER_H
#define SLUICE_RUNNER_H

#include "base/base.h"
#include "datasets/datasets.h"
#include "engine/engine.h"
#include "evaluators/evaluators.h"
#include "ledger/ledger.h"

#define RUNNER_VERSION 1 /* part of every cell's spec: a change in how dialogues are played starts new cells */

/* ---- suite (runner/suite.c): docs/harness.md describes the file ------------------------------------------------- */
struct suite_engine {
  const char *name;
  bool local;
  const char *model; /* local: folder, NULL for the embedded default. Remote: the model's name */
  struct string_list urls;
  const char *kernel;        /* local; NULL: best */
  const char *device;        /* local; NULL: cpu */
  const char *weights;       /* local, on a GPU; NULL: as the files have them */
  const char *template_name; /* local; NULL: recognised */
  const char *key_env;       /* remote; NULL: none */
  int64_t threads, jobs;     /* jobs: dialogues at a time; 0: processors / threads, or 4 for an API */
  int64_t timeout_ms, stall_ms, retries;
};
struct suite_benchmark {
  const char *name; /* label in tables; the data's own string unless given */
  const char *data;
  int64_t n; /* dialogues; 0: all */
  enum choice_rule choice;
  int64_t max_tokens;
};
/* A cell matches when every key that a rule names matches it, as a shell pattern. */
struct suite_rule {
  const char *engine, *policy, *monitor, *benchmark; /* NULL: anything */
};
struct suite_gate { /* compare and gate */
  double confidence, margin, min_effect;
};
struct suite {
  const char *name;
  char *path; /* monitors' and models' relative paths start at its folder */
  char *text; /* as read */
  struct suite_engine *engines;
  size_t n_engines;
  const char **policies;
  size_t n_policies;
  const char **monitors; /* "none", or a policy file */
  size_t n_monitors;
  struct suite_benchmark *benchmarks;
  size_t n_benchmarks;
  int64_t *seeds;
  size_t n_seeds;
  struct suite_rule *include, *exclude;
  size_t n_include, n_exclude;
  double temperature, top_p, min_p, repetition_penalty;
  int64_t top_k;
  struct slice *stop; /* texts that end an answer */
  size_t n_stop;
  double minutes; /* stop dispatching after this long; 0: no limit */
  struct suite_gate gate;
  struct arena memory;
};
sluice_status suite_read(const char *path, struct suite **out, struct sluice_error *err);
void suite_free(struct suite *s);

/* ---- monitor: handed in by cli, which joins the rooms --------------------------------------------------------------
 */
struct tap_event {
  const char *action, *rule, *category, *detail; /* rule, category and detail may be NULL */
  double score;                                  /* NAN: none */
  int64_t span_start, span_end;                  /* bytes of the raw output; -1: none */
  int64_t token_index;                           /* -1: none */
};
struct tap_maker {
  /* Checks a policy file before anything runs. */
  sluice_status (*check)(void *ctx, const char *policy_file, struct sluice_error *err);
  /* One generated turn. Thread-safe. */
  sluice_status (*open)(void *ctx, const char *policy_file, void **tap, struct sluice_error *err);
  bool (*piece)(void *tap, const struct piece *piece); /* false: stop generating */
  /* Ends the stream and hands over its events, one "scanned" among them; then frees the tap. */
  sluice_status (*close)(void *tap,
                         sluice_status (*event)(void *to, const struct tap_event *e, struct sluice_error *err),
                         void *to, struct sluice_error *err);
  void *ctx;
};

/* ---- plan (runner/plan.c) ------------------------------------------------------------------------------------------
 */
struct plan_options {
  int64_t limit;                /* dialogues a cell; 0: as the suite says */
  struct string_list cells;     /* shell patterns over "engine/policy/monitor/benchmark/seed"; none: all */
  int64_t shard, n_shards;      /* this ledger's share, by hash of the dialogue's cluster; n_shards 0 or 1: all */
  const struct tap_maker *taps; /* NULL: a suite with monitors is refused */
  bool probe;                   /* measure speed for an estimate */
};
#define PLAN_SAMPLED 16
struct plan_engine {
  struct engine **open; /* one for each URL; one when local */
  size_t n_open;
  char *identity;
  int jobs;
};
struct plan_dataset {
  struct dataset *data;
  double *tokens; /* [engines] mean tokens of a dialogue's text, over the first PLAN_SAMPLED */
  double scored;  /* mean scored turns */
};
struct plan_cell {
  size_t ordinal, engine, benchmark, dataset; /* indices into plan and suite */
  const char *policy, *policy_full, *monitor; /* policy as the suite writes it; monitor "none" or the file's path */
  const char *label;                          /* "engine/policy/monitor/benchmark/seed" */
  int64_t seed, n;                            /* dialogues 0..n-1 of the dataset */
  char *spec;                                 /* canonical JSON of what decides outputs */
  unsigned char spec_hash[SHA256_BYTES];
  double seconds;    /* estimate; NAN: not probed, or remote */
  int64_t n_planned; /* n, less what other shards own */
};
struct plan {
  const struct suite *suite;
  struct plan_engine *engines; /* by suite engine */
  struct plan_dataset *datasets;
  size_t n_datasets;
  struct plan_cell *cells;
  size_t n_cells;
  bool limited;
  int64_t shard, n_shards;
  unsigned char hash[SHA256_BYTES];
  int64_t dialogues;
  double tokens, seconds; /* estimates; seconds NAN when not probed or remote */
  struct arena memory;
};
/* Opens engines and datasets, resolves "budget=25%" against each benchmark's mean dialogue, applies rules. */
sluice_status plan_make(const struct suite *s, const struct plan_options *o, struct plan **out,
                        struct sluice_error *err);
void plan_free(struct plan *p);
/* Tables for people, or one JSON object. */
sluice_status plan_print(const struct plan *p, bool json, FILE *out, struct sluice_error *err);
bool plan_owns(const struct plan *p, const struct dialogue *d); /* this shard's? */

/* ---- run (runner/run.c) --------------------------------------------------------------------------------------------
 */
struct run_options {
  const struct tap_maker *taps;
  const char *argv;          /* recorded */
  int64_t jobs;              /* 0: the suite's */
  bool fresh;                /* the newest run of this plan is complete: begin another */
  int64_t checkpoint_turns;  /* commit inside a dialogue after so many turns; 0: never by count */
  double checkpoint_seconds; /* ... or so long; 0: 5 s */
  int64_t snapshot_limit;    /* bytes; larger states resume by replay; 0: 32 MiB; < 0: always replay */
  bool quiet;
};
struct run_summary {
  char run_id[LEDGER_RUN_ID];
  bool nothing_to_do;
  int64_t planned, finished, errors, played, resumed; /* played: by this process */
  int stopped_by;                                     /* signal, or 0 */
  bool out_of_time;
};
/* SLUICE_INTERRUPTED after a signal, SLUICE_FULL when the disk is: both leave a ledger to continue from. Dialogues in
 * error are counted, not returned. */
sluice_status runner_run(struct ledger *l, const struct plan *p, const struct run_options *o, struct run_summary *out,
                         struct sluice_error *err);

/* ---- score (runner/score.c) ----------------------------------------------------------------------------------------
 */
struct score_summary {
  int64_t turns, scored, unscored, trivial;
};
/* Scores what no scorer of this version has seen: evaluators, perplexity and trivial baselines. run NULL: every run. */
sluice_status runner_score(struct ledger *l, const char *run_id, struct score_summary *out, struct sluice_error *err);

/* ---- compare (runner/compare.c) ------------------------------------------------------------------------------------
 */
struct compare_side { /* a run, or some of its cells */
  struct ledger *ledger;
  char run_id[LEDGER_RUN_ID];
  const char *policy, *monitor,
      *engine; /* NULL: any; given on both sides they may differ, and cells pair by the rest */
};
struct compare_flip {
  const char *dialogue, *answer_a, *answer_b; /* the dialogue's id */
  int64_t turn_no;
  double a, b;
};
struct compare_row { /* one pair of cells, one metric; delta is B - A, turned so that more is better */
  const char *label_a, *label_b, *metric, *scorer;
  int64_t cell_b;
  bool lower_is_better;
  double a, b;
  struct paired stat;
  double p_adjusted;
  enum gate_verdict verdict;
  bool identical;           /* every output is the same to the byte: PASS whatever the interval says */
  const char *incomparable; /* NULL, or why the pair is no pair */
  size_t only_a, only_b;    /* turns scored on one side alone */
  int64_t planned_a, finished_a, planned_b, finished_b; /* dialogues; finished without an error */
  struct compare_flip *flips; /* the worse ones first; none for metrics without right and wrong */
  size_t n_flips, worse, better;
};
struct comparison {
  struct compare_row *rows;
  size_t n_rows;
  size_t cap_rows, unmatched_a, unmatched_b; /* cells without a partner */
  const char *verdict;                       /* PASS, REGRESSED, INCONCLUSIVE, INCOMPLETE, INCOMPARABLE */
  int exit_code;                             /* 0, 3, 5, 4, 6 */
  struct suite_gate gate;
  struct arena memory;
};
sluice_status runner_compare(const struct compare_side *a, const struct compare_side *b, const struct suite_gate *gate,
                             struct comparison **out, struct sluice_error *err);
void comparison_free(struct comparison *c);
sluice_status comparison_print(const struct comparison *c, bool json, int64_t max_flips, FILE *out,
                               struct sluice_error *err);
/* Rows of gate_result for B's run. */
sluice_status comparison_record(const struct comparison *c, struct ledger *l, const char *run_id, const char *reference,
                                struct sluice_error *err);

#endif
