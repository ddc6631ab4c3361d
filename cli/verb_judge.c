/* sluice judge: a second pass over recorded outputs. Nothing is generated again; verdict, raw text, prompt hash and
 * parser version of every judgement go into the ledger. */
#include "cli/judge_pass.h"
#include "cli/verbs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct verb_help help = {
    .verb = "judge",
    .summary = "let a judge read a ledger's recorded answers; may be repeated and continued",
    .usage = "sluice judge LEDGER --judge SPEC [options]",
    .examples = "  sluice judge demo.db --judge rules:policy=fixtures/policies/default.json\n"
                "  sluice judge demo.db --judge "
                "api:url=http://127.0.0.1:8000/v1,model=NAME,rubric=fixtures/judges/correct.json\n"
                "  sluice judge demo.db --judge model:rubric=fixtures/judges/yes-no.json,dir=DIR --metric recall\n"
                "  sluice judge demo.db --judge api:url=URL,model=NAME,rubric=fixtures/judges/better.json \\\n"
                "      --policy full --against-policy streaming    # pairs inside one run, both orders\n",
    .notes =
        "A judge that cannot be read leaves a turn unscored; one that cannot be reached leaves an error, and the same "
        "command asks again.\n"
        "Kinds of judges: rules (policy), model (rubric, dir, template, threads), api (url, model, key_env, rubric, "
        "timeout_ms, retries).\n"
        "Exit codes: 0 all judged; 2 usage; 4 some judgements failed, run the same command again; 130/143 "
        "interrupted.\n"};

struct judge_words {
  const char *judge, *run, *against, *metric, *policy, *against_policy;
  int64_t limit, context, seed;
  bool json;
};

static sluice_status check_words(const struct judge_words *w, const struct string_list *positional,
                                 struct sluice_error *err) {
  if (positional->n != 1 || w->judge == NULL) return sluice_fail(err, SLUICE_USAGE, "expected %s", help.usage);
  if (w->limit < 0 || w->context < 1 || w->context > 100000) {
    return sluice_fail(err, SLUICE_USAGE, "--limit is not negative, --context is 1 to 100000");
  }
  if ((w->policy != NULL) != (w->against_policy != NULL)) {
    return sluice_fail(err, SLUICE_USAGE,
                       "--policy and --against-policy go together: they name the two sides of a pair");
  }
  return SLUICE_OK;
}

static sluice_status find_runs(const struct judge_words *w, struct judge_pass *p, struct sluice_error *err) {
  bool pair = w->against != NULL || w->against_policy != NULL;
  if (judge_is_pairwise(p->judge) && !pair) {
    return sluice_fail(err, SLUICE_USAGE,
                       "this rubric compares two answers: name the other side with --against RUN, or with "
                       "--policy P --against-policy Q");
  }
  if (!judge_is_pairwise(p->judge) && pair) {
    return sluice_fail(err, SLUICE_USAGE, "this rubric judges one answer: --against goes with a pairwise one");
  }
  sluice_status st = ledger_find_run(p->ledger, w->run, p->run_a, err);
  if (st == SLUICE_OK && w->against != NULL) st = ledger_find_run(p->ledger, w->against, p->run_b, err);
  if (st == SLUICE_OK && pair && w->against == NULL) memcpy(p->run_b, p->run_a, sizeof p->run_b);
  return st;
}

/* A number as JSON, or null. */
static void print_number(const char *key, double v) {
  if (isfinite(v))
    printf(",\"%s\":%.6f", key, v);
  else
    printf(",\"%s\":null", key);
}

static void print_json(const struct judge_pass *p, const struct judge_counts *c) {
  size_t n = 0;
  const char *const *menu = judge_menu(p->judge, &n);
  bool pair = judge_is_pairwise(p->judge);
  printf(
      "{\"judge\":%s,\"scorer\":%lld,\"run\":\"%s\",\"turns\":%llu,\"already\":%llu,\"scored\":%llu,\"unscored\":%llu,"
      "\"refused\":%llu,\"errors\":%llu",
      judge_identity(p->judge), (long long)p->scorer_id, p->run_a, (unsigned long long)c->turns,
      (unsigned long long)c->already, (unsigned long long)c->scored, (unsigned long long)c->unscored,
      (unsigned long long)c->refused, (unsigned long long)c->errors);
  print_number("mean", c->scored > 0 ? c->value / (double)c->scored : NAN);
  if (pair) {
    printf(",\"against\":\"%s\",\"wins\":%llu,\"ties\":%llu,\"losses\":%llu,\"inconsistent\":%llu", p->run_b,
           (unsigned long long)c->wins, (unsigned long long)c->ties, (unsigned long long)c->losses,
           (unsigned long long)c->inconsistent);
  } else {
    printf(",\"verdicts\":{");
    for (size_t i = 0; i < n; i++)
      printf("%s\"%s\":%llu", i > 0 ? "," : "", menu[i], (unsigned long long)c->verdicts[i]);
    printf("},\"agreement\":{\"n\":%zu", c->agreement.n);
    print_number("raw", c->agreement.raw);
    print_number("kappa", c->agreement.kappa);
    print_number("lo", c->agreement.lo);
    print_number("hi", c->agreement.hi);
    printf("}");
  }
  printf("}\n");
}

static void print_table(const struct judge_pass *p, const struct judge_counts *c) {
  size_t n = 0;
  const char *const *menu = judge_menu(p->judge, &n);
  const struct agreement *g = &c->agreement;
  printf("judge %s, run %s: %llu turns, %llu judged before\n", judge_name(p->judge), p->run_a,
         (unsigned long long)c->turns, (unsigned long long)c->already);
  if (judge_is_pairwise(p->judge)) {
    printf("  %-10s %8llu\n  %-10s %8llu  (%llu because the orders disagree)\n  %-10s %8llu\n", "win",
           (unsigned long long)c->wins, "tie", (unsigned long long)c->ties, (unsigned long long)c->inconsistent, "loss",
           (unsigned long long)c->losses);
  }
  for (size_t i = 0; i < n && !judge_is_pairwise(p->judge); i++)
    printf("  %-10s %8llu\n", menu[i], (unsigned long long)c->verdicts[i]);
  printf("  %-10s %8llu\n  %-10s %8llu\n  %-10s %8llu\n", "unscored", (unsigned long long)c->unscored, "refused",
         (unsigned long long)c->refused, "error", (unsigned long long)c->errors);
  if (c->scored > 0)
    printf("mean value %.4f over %llu scored\n", c->value / (double)c->scored, (unsigned long long)c->scored);
  if (g->n > 0) {
    printf("agreement with the metric's right and wrong, n = %zu: raw %.3f, kappa %.3f [%.3f, %.3f]\n", g->n, g->raw,
           g->kappa, g->lo, g->hi);
  }
}

static sluice_status judge_ledger(const char *path, const struct judge_words *w, struct judge_counts *counts,
                                  struct sluice_error *err) {
  struct judge_pass p = {.metric = w->metric,
                         .policy_a = w->policy,
                         .policy_b = w->against_policy,
                         .limit = w->limit,
                         .context = w->context};
  sluice_status st = judge_open(w->judge, &judge_monitor_scanner, (uint64_t)w->seed, &p.judge, err);
  if (st == SLUICE_OK) st = ledger_open(path, LEDGER_EDIT, NULL, &p.ledger, err);
  if (st == SLUICE_OK) st = find_runs(w, &p, err);
  if (st == SLUICE_OK) st = ledger_begin(p.ledger, err);
  if (st == SLUICE_OK) {
    st = ledger_put_scorer(p.ledger, judge_name(p.judge), JUDGE_PARSER_VERSION, judge_identity(p.judge), "judge",
                           &p.scorer_id, err);
    if (st == SLUICE_OK)
      st = ledger_commit(p.ledger, err);
    else
      ledger_rollback(p.ledger);
  }
  if (st == SLUICE_OK) st = judge_pass_run(&p, counts, err);
  if (st == SLUICE_OK && w->json) print_json(&p, counts);
  if (st == SLUICE_OK && !w->json) print_table(&p, counts);
  struct sluice_error late;
  sluice_status closed = ledger_close(p.ledger, st == SLUICE_OK ? err : &late);
  judge_close(p.judge);
  return st != SLUICE_OK ? st : closed;
}

int verb_judge(int argc, char **argv) {
  struct judge_words w = {.context = 6};
  const struct option_spec options[] = {
      {"judge", 'j', OPTION_STRING, &w.judge, "SPEC", "rules:..., model:... or api:... (see below)"},
      {"run", 0, OPTION_STRING, &w.run, "RUN", "id, its beginning, a baseline's name or latest (default: latest)"},
      {"against", 0, OPTION_STRING, &w.against, "RUN", "pairwise: the other run, cell by cell"},
      {"policy", 0, OPTION_STRING, &w.policy, "P", "pairwise: cells with this policy, as the suite writes it"},
      {"against-policy", 0, OPTION_STRING, &w.against_policy, "Q", "pairwise: against the cells with this one"},
      {"metric", 0, OPTION_STRING, &w.metric, "NAME", "only turns that this metric scores"},
      {"limit", 0, OPTION_INT, &w.limit, "N", "at most N turns"},
      {"context", 0, OPTION_INT, &w.context, "N", "messages before the answer that the judge is shown (default: 6)"},
      {"seed", 0, OPTION_INT, &w.seed, "S", "of the markers around judged texts (default: 0)"},
      {"json", 0, OPTION_FLAG, &w.json, NULL, "a summary as one JSON object on stdout"}};
  struct string_list positional = {0};
  struct sluice_error err = {0};
  struct judge_counts counts = {0};
  bool helped = false;
  sluice_status st =
      options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &positional, &helped, &err);
  if (st == SLUICE_OK && !helped) {
    signal_catch_interrupts();
    st = check_words(&w, &positional, &err);
    if (st == SLUICE_OK) st = judge_ledger(positional.items[0], &w, &counts, &err);
  }
  free(positional.items);
  if (st == SLUICE_OK) return counts.errors > 0 ? 4 : 0;
  fprintf(stderr, "sluice: %s\n", err.message);
  return sluice_exit_code(st);
}
