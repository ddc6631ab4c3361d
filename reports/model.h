/* Private to reports: what a format renders. Indices, not pointers, tie the tables together. Everything here lives in
 * report.memory or in the arrays that report_free frees. */
#ifndef SLUICE_REPORTS_MODEL_H
#define SLUICE_REPORTS_MODEL_H

#include "evaluators/evaluators.h"
#include "reports/reports.h"

enum { RUN_SHOWN, RUN_BASELINE, REPORT_RUNS }; /* the run of the report, and the one it is held against, if any */
enum { REPORT_MAX_ROWS = 4000000, REPORT_MAX_NAMES = 1 << 20, REPORT_MAX_AXIS = 256 };

struct names { /* strings in order of first sight, each once */
  const char **text;
  size_t n, cap;
  uint32_t *slots;
  size_t n_slots;
};

enum row_label { LABEL_NONE, LABEL_RIGHT, LABEL_WRONG, LABEL_WIN, LABEL_TIE, LABEL_LOSE, LABEL_UNSCORED, ROW_LABELS };
enum row_outcome { ROW_DONE, ROW_FAILED, ROW_ERROR, ROW_TRUNCATED, ROW_REFUSED, ROW_UNSCORED };

struct report_row { /* one scored turn of a final attempt under one scorer */
  uint32_t score;   /* index into report.scores */
  uint32_t sample;  /* index into report.samples */
  uint64_t cluster; /* hash of the cluster's name */
  int64_t seed, attempt;
  int32_t turn_no, distance, version;
  uint8_t label, outcome;
  int8_t flip;          /* against the same turn of the reference: -1 worse, 1 better */
  double value, weight; /* NAN: unscored */
};

struct report_column { /* one benchmark's metric */
  uint32_t benchmark;
  const char *metric, *title, *scorer;
  bool judge, perplexity; /* perplexity: value is nats a token, weight is tokens, lower is better */
  bool bounded;           /* every value lies in [0,1] */
};

struct report_bucket { /* accuracy at a distance */
  int low, high;
  struct estimate estimate;
};

struct report_trivial {
  const char *name;
  double value;
  int64_t n;
  /* over the turns that the score has a value for too: both means, and score - trivial answer with its interval */
  bool paired;
  double score, same;
  struct paired pair;
};
#define MAX_TRIVIAL 12

struct report_score { /* one policy's column */
  bool present;
  size_t first, n_rows;     /* in report.rows, sorted by sample, seed, turn */
  struct estimate estimate; /* perplexity columns: of nats a token */
  size_t unscored, labels[ROW_LABELS];
  struct report_trivial trivial[MAX_TRIVIAL];
  size_t n_trivial;
  int best_trivial; /* index, chance left out; -1: none */
  struct report_bucket *distances;
  size_t n_distances;
  /* against the reference; delta is turned so that more is better, in the column's unit (perplexity: nats a token) */
  bool paired;
  struct paired pair;
  double p_adjusted;
  enum gate_verdict verdict;
  size_t unpaired; /* rows without a partner on either side */
};

struct report_position {
  uint64_t start, end, tokens;
  double nats;
};

struct report_group { /* one policy over one benchmark: the cells of all seeds */
  bool present;
  size_t n_cells;
  int64_t planned, finished, errors, missing;
  int64_t turns, done, failed, turn_errors, truncated, refused, unscored;
  struct kv_bytes_summary kv;
  struct latency_summary latency;
  double tokens_per_second; /* tokens fed and generated / wall seconds, over dialogues that were not interrupted; NAN:
                               none */
  struct report_position *positions;
  size_t n_positions;
  const char *policy_full;
};

struct report_policy {
  const char *name;  /* as the suite writes it */
  const char *label; /* short: keys that all policies of this name share are left out */
};
struct report_benchmark {
  const char *name, *spec, *license;
};
struct report_facet { /* what a matrix is drawn for */
  const char *engine, *monitor;
};
struct report_error {
  const char *error_class, *first, *example;
  int64_t n;
};
struct report_fact { /* provenance: a name and what it was */
  const char *group, *name, *value;
};

struct report_attempt { /* who answered a dialogue */
  uint32_t policy;
  int64_t id;
  size_t right, scored;
  size_t worse, better; /* turns that differ from the reference policy's */
  bool error, truncated;
};
struct report_sample {             /* one dialogue in one facet */
  uint32_t facet, benchmark, name; /* name: into report.samples */
  int64_t seed;
  struct report_attempt *attempts;
  size_t n_attempts;
  size_t worse, better, errors;
};

struct report {
  struct arena memory;
  struct report_options options;
  char run_id[REPORT_RUNS][LEDGER_RUN_ID]; /* "": none */
  const char *suite, *tool_version, *plan_hash, *started, *reference_name;
  bool limited, explicit_reference;
  int reference_policy; /* -1: a run */
  int64_t n_shards;

  struct report_facet *facets;
  struct report_policy *policies;
  struct report_benchmark *benchmarks;
  struct report_column *columns;
  size_t n_facets, n_policies, n_benchmarks, n_columns;
  struct report_group *groups; /* [run][facet][policy][benchmark] */
  struct report_score *scores; /* [run][facet][policy][column] */
  struct names samples;        /* uid in hex -> ext_id in sample_ids */
  const char **sample_ids;
  struct report_row *rows;
  size_t n_rows;
  struct report_error *errors;
  size_t n_errors;
  struct report_fact *facts;
  size_t n_facts, cap_facts;
  const char **commands;
  size_t n_commands;
  struct report_sample *dialogues; /* flips first */
  size_t n_dialogues;

  int64_t planned, finished, missing, error_dialogues, scored_turns;
  size_t regressed, passed, inconclusive, incomparable;
  const char *verdict;         /* PASS, REGRESSED, ...; COMPLETE where nothing is judged */
  const char *claim, *covered; /* one sentence each: what differs; what was finished */
  const char *headline;        /* verdict, claim and coverage in one line */
  int exit_code;
};

/* names.c */
sluice_status names_add(struct names *n, struct arena *memory, const char *text, uint32_t *index,
                        struct sluice_error *err);
bool names_find(const struct names *n, const char *text, uint32_t *index);
void names_free(struct names *n);

/* load.c: rows and tables out of the ledger; samples.c: dialogues, flips first; build.c: estimates; pair.c: differences
 */
sluice_status report_load_axes(struct ledger *l, struct report *r, struct sluice_error *err);
sluice_status report_load_rows(struct ledger *l, struct report *r, struct sluice_error *err);
sluice_status report_load_groups(struct ledger *l, struct report *r, struct sluice_error *err);
sluice_status report_load_facts(struct ledger *l, struct report *r, struct sluice_error *err);
sluice_status report_estimate(struct report *r, struct sluice_error *err);
sluice_status report_pair(struct report *r, struct sluice_error *err);
sluice_status report_pair_trivial(struct ledger *l, struct report *r, struct sluice_error *err);
sluice_status report_arrange_dialogues(struct report *r, struct sluice_error *err);
sluice_status report_conclude(struct report *r, struct sluice_error *err);

static inline size_t group_index(const struct report *r, size_t run, size_t facet, size_t policy, size_t benchmark) {
  return ((run * r->n_facets + facet) * r->n_policies + policy) * r->n_benchmarks + benchmark;
}
static inline size_t score_index(const struct report *r, size_t run, size_t facet, size_t policy, size_t column) {
  return ((run * r->n_facets + facet) * r->n_policies + policy) * r->n_columns + column;
}
static inline const struct report_group *group_at(const struct report *r, size_t facet, size_t policy,
                                                  size_t benchmark) {
  return &r->groups[group_index(r, RUN_SHOWN, facet, policy, benchmark)];
}
static inline const struct report_score *score_at(const struct report *r, size_t facet, size_t policy, size_t column) {
  return &r->scores[score_index(r, RUN_SHOWN, facet, policy, column)];
}

/* trivial.c: the answers that stand beside a score in tables: the best one, and `counting` where there is one. Writes
 * at most 2, best first; an answer without a turn in common with the score is none. */
size_t report_trivial_shown(const struct report_score *s, const struct report_trivial *shown[2]);
/* The highest over a column's policies, whose budgets differ: of chance, or of their best trivial answers; NULL: none.
 */
const struct report_trivial *report_trivial_highest(const struct report *r, size_t facet, size_t column, bool chance);
/* Chance on the turns that it has in common with the score, NAN where it has none. */
double report_trivial_chance(const struct report_score *s);

#endif
