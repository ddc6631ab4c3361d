/* sluice compare and sluice gate: two runs, or two policies of one, with an exit code. */
#include "cli/verbs.h"

#include "runner/runner.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const struct verb_help compare_help = {
    .verb = "compare",
    .summary = "paired differences between two runs, or two policies of one run",
    .usage = "sluice compare A [B] [options]",
    .examples = "  sluice compare demo.db --policy-a full --policy-b 'streaming*'\n"
                "  sluice compare monday.db tuesday.db\n"
                "  sluice compare nightly.db --run-a good --run-b latest     # good: a named baseline\n",
    .notes = "A and B are ledgers; one ledger alone is both sides. B - A is taken over the same turns of the same "
             "dialogues, with\n"
             "intervals clustered by dialogue and Holm's correction over all rows.\n"
             "Exit codes: 0 pass, 3 regression, 4 B is incomplete, 5 inconclusive, 6 not comparable or no baseline.\n"};
static const struct verb_help gate_help = {
    .verb = "gate",
    .summary = "compare the newest run with a named baseline, for a nightly's exit code",
    .usage = "sluice gate LEDGER --baseline NAME [options]",
    .examples = "  sluice baseline set nightly.db good\n"
                "  sluice run nightly.json --ledger nightly.db --new-run && sluice gate nightly.db --baseline good\n",
    .notes =
        "As `sluice compare LEDGER --run-a NAME --run-b latest`, and the rows are kept in the ledger (gate_result).\n"
        "Exit codes: 0 pass, 3 regression, 4 the run is incomplete, 5 inconclusive, 6 no such baseline or not "
        "comparable.\n"};

struct compare_words {
  struct compare_side a, b;
  const char *run_a, *run_b, *baseline;
  double confidence, margin, min_effect;
  int64_t flips;
  bool json;
};

/* The suite of B says how strict to be; options say it louder. */
static sluice_status gate_of(struct ledger *l, const char *run_id, const struct compare_words *w,
                             struct suite_gate *gate, struct sluice_error *err) {
  *gate = (struct suite_gate){.confidence = 0.95, .margin = 0.05, .min_effect = 0.02};
  struct ledger_rows *q;
  bool row = false;
  sluice_status st =
      ledger_query(l, "SELECT suite_json FROM run WHERE id = ?1", LEDGER_VALUES(lv_text(run_id)), &q, err);
  if (!st) st = ledger_next(q, &row, err);
  if (!st && row) {
    struct slice text = ledger_bytes(q, 0);
    cJSON *root = NULL;
    struct sluice_error ignored;
    const cJSON *said = json_parse("suite", text.ptr, text.len, true, &root, &ignored)
                            ? NULL
                            : cJSON_GetObjectItemCaseSensitive(root, "gate");
    if (cJSON_IsObject(said)) {
      st = json_double(said, "gate", "confidence", false, gate->confidence, &gate->confidence, err);
      if (!st) st = json_double(said, "gate", "margin", false, gate->margin, &gate->margin, err);
      if (!st) st = json_double(said, "gate", "min_effect", false, gate->min_effect, &gate->min_effect, err);
    }
    cJSON_Delete(root);
  }
  ledger_rows_end(q);
  if (w->confidence >= 0) gate->confidence = w->confidence;
  if (w->margin >= 0) gate->margin = w->margin;
  if (w->min_effect >= 0) gate->min_effect = w->min_effect;
  if (!st && !(gate->confidence >= 0.5 && gate->confidence < 1))
    st = sluice_fail(err, SLUICE_USAGE, "--confidence is 0.5 to below 1, not %g", gate->confidence);
  return st;
}

/* A baseline that is not there is its own exit code: a gate without one must neither pass nor look like a typo. */
static sluice_status find_runs(struct compare_words *w, bool *no_baseline, struct sluice_error *err) {
  sluice_status st = ledger_find_run(w->a.ledger, w->run_a, w->a.run_id, err);
  *no_baseline = st == SLUICE_USAGE;
  if (!st) st = ledger_find_run(w->b.ledger, w->run_b, w->b.run_id, err);
  if (!st && w->a.ledger == w->b.ledger && !strcmp(w->a.run_id, w->b.run_id) && !w->a.policy && !w->a.monitor &&
      !w->a.engine) {
    *no_baseline = true;
    st = sluice_fail(err, SLUICE_USAGE,
                     "both sides are run %s: name two runs (--run-a, --run-b), or two policies "
                     "(--policy-a, --policy-b), monitors or engines",
                     w->a.run_id);
  }
  return st;
}

static sluice_status check_filters(const struct compare_words *w, struct sluice_error *err) {
  if (!w->a.policy == !w->b.policy && !w->a.monitor == !w->b.monitor && !w->a.engine == !w->b.engine) return SLUICE_OK;
  return sluice_fail(err, SLUICE_USAGE,
                     "--policy-a and --policy-b come together; so do --monitor-a/-b and --engine-a/-b");
}

/* Leaves the exit code in *code when the comparison itself worked. */
static sluice_status compare_paths(const char *path_a, const char *path_b, struct compare_words *w, int *code,
                                   struct sluice_error *err) {
  struct ledger *a = NULL, *b = NULL;
  struct comparison *c = NULL;
  struct suite_gate gate;
  bool no_baseline = false, one = !path_b || !strcmp(path_a, path_b);
  sluice_status st = check_filters(w, err);
  if (!st) st = ledger_open(path_a, w->baseline ? LEDGER_EDIT : LEDGER_READ, NULL, &a, err);
  if (!st && !one) st = ledger_open(path_b, LEDGER_READ, NULL, &b, err);
  w->a.ledger = a;
  w->b.ledger = one ? a : b;
  if (!st) st = find_runs(w, &no_baseline, err);
  if (!st) st = gate_of(w->b.ledger, w->b.run_id, w, &gate, err);
  if (!st) st = runner_compare(&w->a, &w->b, &gate, &c, err);
  if (!st) st = comparison_print(c, w->json, w->flips, stdout, err);
  if (!st && w->baseline) st = comparison_record(c, w->b.ledger, w->b.run_id, w->baseline, err);
  *code = !st ? c->exit_code : no_baseline ? 6 : sluice_exit_code(st);
  comparison_free(c);
  struct sluice_error late;
  ledger_close(b, &late);
  sluice_status closed = ledger_close(a, st ? &late : err);
  if (!st && closed) *code = sluice_exit_code(closed);
  return st ? st : closed;
}

static int run_verb(const struct verb_help *help, const struct option_spec *options, size_t n, struct compare_words *w,
                    int argc, char **argv) {
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false, gate = help == &gate_help;
  int code = 0;
  sluice_status st = options_parse(help, options, n, argc, argv, &words, &helped, &err);
  if (!st && !helped) {
    if (words.n < 1 || words.n > (gate ? 1 : 2) || (gate && !w->baseline))
      st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help->usage);
    if (gate) w->run_a = w->baseline;
    if (!st)
      st = compare_paths(words.items[0], words.n > 1 ? words.items[1] : NULL, w, &code, &err);
    else
      code = sluice_exit_code(st);
  } else if (st) {
    code = sluice_exit_code(st);
  }
  if (st) log_line(LOG_ERROR, "%s: %s", help->verb, err.message);
  free(words.items);
  return code;
}

#define STRICTNESS                                                                                                     \
  {"confidence", 0, OPTION_DOUBLE, &w.confidence, "C", "of intervals and tests (default: the suite's, else 0.95)"},    \
      {"margin", 0, OPTION_DOUBLE, &w.margin, "M", "loss that still passes (default: the suite's, else 0.05)"},        \
      {"min-effect",  0,   OPTION_DOUBLE,                                                                              \
       &w.min_effect, "E", "smaller losses are no regression (default: the suite's, else 0.02)"},                      \
      {"flips", 0, OPTION_INT, &w.flips, "N", "show at most N flips each way (default: 10)"}, {                        \
    "json", 0, OPTION_FLAG, &w.json, NULL, "one JSON object on stdout"                                                 \
  }

int verb_compare(int argc, char **argv) {
  struct compare_words w = {.confidence = -1, .margin = -1, .min_effect = -1, .flips = 10};
  const struct option_spec options[] = {
      {"run-a", 0, OPTION_STRING, &w.run_a, "RUN", "side A's run: an id, a baseline's name, latest (default: latest)"},
      {"run-b", 0, OPTION_STRING, &w.run_b, "RUN", "side B's run (default: latest)"},
      {"policy-a", 0, OPTION_STRING, &w.a.policy, "PATTERN", "only A's cells of this policy; pairs with --policy-b"},
      {"policy-b", 0, OPTION_STRING, &w.b.policy, "PATTERN", "only B's cells of this policy"},
      {"monitor-a", 0, OPTION_STRING, &w.a.monitor, "PATTERN",
       "only A's cells of this monitor; pairs with --monitor-b"},
      {"monitor-b", 0, OPTION_STRING, &w.b.monitor, "PATTERN", "only B's cells of this monitor"},
      {"engine-a", 0, OPTION_STRING, &w.a.engine, "PATTERN", "only A's cells of this engine; pairs with --engine-b"},
      {"engine-b", 0, OPTION_STRING, &w.b.engine, "PATTERN", "only B's cells of this engine"},
      STRICTNESS};
  return run_verb(&compare_help, options, sizeof options / sizeof *options, &w, argc, argv);
}

int verb_gate(int argc, char **argv) {
  struct compare_words w = {.confidence = -1, .margin = -1, .min_effect = -1, .flips = 10};
  const struct option_spec options[] = {
      {"baseline", 0, OPTION_STRING, &w.baseline, "NAME", "what the run is held against"},
      {"run", 0, OPTION_STRING, &w.run_b, "RUN", "the run to judge: an id or latest (default: latest)"},
      STRICTNESS};
  return run_verb(&gate_help, options, sizeof options / sizeof *options, &w, argc, argv);
}
