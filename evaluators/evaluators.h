/* evaluators: outputs -> numbers. Stands on base, and on datasets.h for the shape of a turn. One file a metric family
 * and a line in evaluator_table; statistics is what turns per-sample numbers into a claim. Nothing here prints or
 * allocates unless it says so; every score function is pure, so that scoring is a second pass over recorded outputs. */
#ifndef SLUICE_EVALUATORS_H
#define SLUICE_EVALUATORS_H

#include "base/base.h"
#include "datasets/datasets.h"

/* ---- one scored turn -> a score (choice.c, contest.c, number.c) -------------------------------------------------- */
/* How a choice is read off log-probabilities. Published numbers differ by this rule alone, so it is a recorded
 * parameter. */
enum choice_rule {
  CHOICE_BY_SUM,    /* argmax of the summed log p over the choice's tokens */
  CHOICE_BY_MEAN,   /* argmax of the summed log p divided by the choice's tokens (length-normalised) */
  CHOICE_BY_FIRST,  /* argmax of the first token's log p (SirLLM's fall-back; its RPS rule) */
  CHOICE_BY_GREEDY, /* the first choice whose text is the greedy continuation, else CHOICE_BY_FIRST (SirLLM's rule) */
  CHOICE_BY_TEXT    /* read from generated text: a label standing alone, else the only choice whose text occurs */
};
const char *choice_rule_name(enum choice_rule rule); /* "sum", "mean", "first", "greedy", "text" */
sluice_status choice_rule_parse(const char *name, enum choice_rule *out,
                                struct sluice_error *err); /* USAGE + suggestion */

/* Index of the choice that the rule picks, or -1 when it cannot (no finite score; text names none or several). Ties go
 * to the lowest index. Arrays of n; those that the rule does not read may be NULL. `greedy` is the engine's greedy
 * continuation (CHOICE_BY_GREEDY) or its output (CHOICE_BY_TEXT). */
int choice_pick(enum choice_rule rule, const struct turn_choice *choices, size_t n, const double *logprob,
                const double *first_logprob, const int *tokens, struct slice greedy);
/* CHOICE_BY_TEXT alone: index, or -1 for none or several. */
int choice_parse(const struct turn_choice *choices, size_t n, struct slice output);

/* Five outcomes are kept apart elsewhere (done, failed, error, truncated, refused); a label is about a finished turn.
 */
enum score_label { SCORE_RIGHT, SCORE_WRONG, SCORE_WIN, SCORE_TIE, SCORE_LOSE, SCORE_UNSCORED };
const char *score_label_name(enum score_label label); /* "right", "wrong", "win", "tie", "lose", "unscored" */

struct scored_turn {
  const struct turn *turn;
  int chosen;          /* TASK_CHOOSE: index picked by choice_pick; -1: none. Ignored for TASK_GENERATE */
  struct slice output; /* TASK_GENERATE: raw output without the prefix */
};
struct turn_score {
  enum score_label label;
  double value;       /* 1 right or win, 0 wrong, tie or lose; NAN when unscored (it then enters no mean) */
  const char *reason; /* static text: why, for the sample table */
};
struct evaluator {
  const char *name; /* "choice" */
  int version;      /* goes into the ledger; a change starts a new series */
  const char *summary;
  const char *const *metrics; /* turn.metric words that it scores, NULL-terminated */
  void (*score)(const struct scored_turn *in, struct turn_score *out);
};
const struct evaluator *evaluator_table(void); /* ends with a NULL name */
/* The evaluator of a turn's metric; an unknown word falls back on the turn's task: choices -> choice, expected ->
 * exact. NULL for turns that are not scored (FEED, TEXT). */
const struct evaluator *evaluator_for(const struct turn *t);
/* Short sentence for a metric word ("grocery item recalled"), for tables; the word itself when unknown. */
const char *metric_title(const char *metric);

/* The last whole integer in text ("... is 1,024." gives 1024; group commas only between digits in threes). False: none,
 * or beyond int64. LongEval's rule. */
bool number_last(struct slice text, int64_t *out);
/* Does expected occur in text as whole words, ignoring ASCII case and runs of white space? StreamEval's rule. */
bool text_contains(struct slice text, const char *expected);

/* ---- aggregates ----------------------------------------------------------------------------------------------------
 */
/* Score by distance (distance.c): buckets 1, 2, 3-4, 5-8, 9-16 ... in the dataset's own unit; distance < 0 is no
 * bucket. */
#define DISTANCE_BUCKETS 24
int distance_bucket(int distance);                    /* index, or -1 */
void distance_range(int bucket, int *low, int *high); /* inclusive */

/* Perplexity (perplexity.c): exp(nats / tokens), overall and by position. Positions fall into half-octave buckets from
 * 16 on: [0,16) [16,23) [23,32) [32,45) ... so that a run to 4 million tokens has under 40. */
#define POSITION_BUCKETS 64
struct position_bucket {
  uint64_t start, end; /* [start,end) */
  uint64_t tokens;
  double nats; /* summed surprisal */
};
struct perplexity {
  uint64_t tokens;
  double nats;
  struct position_bucket buckets[POSITION_BUCKETS];
};
int position_bucket(uint64_t position); /* index, always valid */
void position_range(int bucket, uint64_t *start, uint64_t *end);
void perplexity_begin(struct perplexity *p);
void perplexity_add(struct perplexity *p, uint64_t position,
                    double nats);                      /* a non-finite surprisal is counted as 1e4 nats */
double perplexity_value(double nats, uint64_t tokens); /* NAN without tokens */

/* Latency (latency.c). From raw stamps; the formulas are part of the report.
 *   TTFT  first chunk with at least one generated token - request start (role-only chunks ignored)
 *   TPOT  (end - first token) / (output tokens - 1); undefined for one token or none
 *   E2E   end - request start
 *   speed output tokens / (end - start), all samples pooled: sum of tokens / sum of seconds
 * Percentiles are type 7; p90 needs 10 values, p99 100, else NAN. Cached answers must not be given. */
struct latency_sample {
  int64_t started_ns, first_token_ns, ended_ns; /* first_token_ns <= 0: no token came */
  int64_t prompt_tokens, output_tokens;
};
struct latency_quantiles {
  size_t n;
  double p50, p90, p99, mean, max; /* milliseconds */
};
struct latency_summary {
  struct latency_quantiles ttft, tpot, e2e;
  double output_tokens_per_second,
      prompt_tokens_per_second; /* NAN: unknown. Prompt speed is prompt tokens / TTFT, pooled */
  size_t ignored;               /* samples whose stamps run backwards */
};
/* Allocates scratch of n doubles. */
sluice_status latency_summarise(const struct latency_sample *samples, size_t n, struct latency_summary *out,
                                struct sluice_error *err);

/* Peak KV bytes over samples (kv_bytes.c). */
struct kv_bytes_summary {
  size_t n;
  uint64_t max;
  double mean, median;
};
sluice_status kv_bytes_summarise(const uint64_t *bytes, size_t n, struct kv_bytes_summary *out,
                                 struct sluice_error *err);
/* The indices of points that no other point beats (score higher at bytes no higher, or equal at fewer): keep[i] is 0
 * or 1. */
void pareto_front(const double *bytes, const double *score, size_t n, unsigned char *keep);

/* ---- trivial baselines (baselines.c): what needs no model
 * ------------------------------------------------------------ */
/* Equal budget: the baseline sees only the last `bytes` bytes of the dialogue's text before the answer (0: all), and
 * only the last `rounds` earlier scored turns (0: all; counting alone reads rounds). */
struct baseline_budget {
  size_t bytes, rounds;
};
struct baseline_score {
  bool defined; /* false: the baseline makes no sense for this turn */
  double value; /* expected score: ties among its best candidates count as a fair draw, so no random number is needed */
  double tie;   /* rps: expected share of ties; 0 elsewhere */
};
struct trivial_baseline {
  const char *name;    /* "chance", "longest", "overlap", "recency", "first", "frequency", "counting" */
  const char *summary; /* one line for the report */
  sluice_status (*score)(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,
                         struct baseline_score *out, struct sluice_error *err);
};
const struct trivial_baseline *trivial_baseline_table(void);            /* ends with a NULL name */
const struct trivial_baseline *trivial_baseline_find(const char *name); /* NULL: unknown */

/* ---- statistics (statistics.c, distributions.c, resampling.c)
 * ---------------------------------------------------------- */
double normal_cdf(double z);
double normal_quantile(double p);
double beta_incomplete(double a, double b, double x); /* regularised I_x(a,b) */
double t_cdf(double t, double df);
double t_quantile(double p, double df);
double percentile7(const double *sorted, size_t n, double p); /* p in [0,1]; NAN when n == 0 */

struct estimate {
  double value, lo, hi; /* NAN value when n == 0 */
  double se;            /* standard error; NAN where the method has none */
  size_t n, clusters;
  const char *method; /* "wilson", "clustered wilson", "clustered t", ... */
};
/* Wilson's score interval for k of n. */
struct estimate stat_wilson(size_t k, size_t n, double confidence);
/* Mean of values in [0,1] whose cluster[i] names the unit of inference (NULL: each its own). One sample a cluster:
 * Wilson. More: Wilson on the effective n (n / design effect, never above n, never below 1) with t quantiles on C-1 df;
 * where every value agrees and no design effect can be seen, the effective n is the number of clusters. Allocates
 * scratch. */
sluice_status stat_rate(const double *values, const uint64_t *cluster, size_t n, double confidence,
                        struct estimate *out, struct sluice_error *err);
/* Clustered mean of any values with a t interval on C-1 df; SE = sqrt(C/(C-1) * sum_c (sum_{i in c} (x_i - mean))^2) /
 * n (Miller 2024 with the finite-cluster correction). `range` bounds |x - mean| where known (1 for differences of
 * scores in [0,1]; 0: unknown): with one cluster, or no spread at all, the interval is never zero wide: it is +-range *
 * (1 - (alpha/2)^(1/C)), what C agreeing clusters cannot exclude, or infinite when range is unknown. */
sluice_status stat_clustered_mean(const double *values, const uint64_t *cluster, size_t n, double range,
                                  double confidence, struct estimate *out, struct sluice_error *err);
/* Two-sided exact McNemar on discordant counts. */
double stat_mcnemar(size_t b, size_t c);
/* Two-sided exact sign-flip test of cluster sums against zero mean; C <= 20 clusters (2^C sums). NAN above. */
double stat_sign_flip(const double *cluster_sums, size_t clusters);
/* Percentile bootstrap of the mean over clusters: `resamples` draws from a fixed seed; the same bytes everywhere. */
sluice_status stat_bootstrap(const double *values, const uint64_t *cluster, size_t n, size_t resamples, uint64_t seed,
                             double confidence, struct estimate *out, struct sluice_error *err);

struct paired {
  struct estimate delta;  /* mean of d_i = b_i - a_i */
  double p;               /* two-sided: sign-flip for C <= 20; else McNemar for unclustered -1/0/1, else t */
  const char *p_method;   /* "sign-flip", "mcnemar", "t" */
  double mde;             /* smallest true |delta| found with 80 % power at alpha = 1 - confidence */
  size_t up, down, equal; /* samples where b is above, below, equal to a */
};
sluice_status stat_paired(const double *d, const uint64_t *cluster, size_t n, double range, double confidence,
                          struct paired *out, struct sluice_error *err);
/* (t_{1-alpha/2} + t_{power}) * se. */
double stat_mde(double se, double df, double alpha, double power);
/* Adjusted p-values in the input's order; NAN stays NAN and is not counted. Allocates scratch. */
sluice_status stat_holm(const double *p, size_t n, double *adjusted, struct sluice_error *err);
sluice_status stat_benjamini_hochberg(const double *p, size_t n, double *adjusted, struct sluice_error *err);

/* Non-inferiority: PASS when lo > -margin and the interval has width; REGRESSED when hi < 0, |delta| >= min_effect and
 * p_adjusted < alpha; else INCONCLUSIVE. Higher is better. */
enum gate_verdict { GATE_PASS, GATE_REGRESSED, GATE_INCONCLUSIVE };
const char *gate_verdict_name(enum gate_verdict v); /* "PASS", "REGRESSED", "INCONCLUSIVE" */
enum gate_verdict stat_verdict(const struct estimate *delta, double p_adjusted, double margin, double min_effect,
                               double alpha);

#endif
