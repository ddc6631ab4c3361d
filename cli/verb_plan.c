/* sluice plan: what a suite would do, without doing it. */
#include "cli/run_tap.h"
#include "cli/verbs.h"

#include <stdlib.h>

static const struct verb_help help = {
    .verb = "plan",
    .summary = "print a suite's cells, dialogues, tokens and an estimate, without running",
    .usage = "sluice plan SUITE [options]",
    .examples = "  sluice plan fixtures/suites/demo.json\n"
                "  sluice plan fixtures/suites/demo.json --cells '*/streaming*/*' --json\n",
    .notes = "The suite is checked as strictly as `sluice run` checks it: an unknown key, policy, dataset or monitor "
             "is exit 2.\n"
             "The estimate times each engine and policy on some 250 tokens; an API's speed is unknown.\n"};

int verb_plan(int argc, char **argv) {
  struct plan_options o = {.probe = true};
  bool json = false, no_probe = false, helped = false;
  const struct option_spec options[] = {
      {"json", 0, OPTION_FLAG, &json, NULL, "one JSON object on stdout, with every cell's canonical spec"},
      {"limit", 0, OPTION_INT, &o.limit, "N", "at most N dialogues a cell"},
      {"cells", 0, OPTION_LIST, &o.cells, "PATTERN", "only cells like ENGINE/POLICY/MONITOR/BENCHMARK/SEED"},
      {"no-probe", 0, OPTION_FLAG, &no_probe, NULL, "do not time the engines"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  struct suite *suite = NULL;
  struct plan *plan = NULL;
  struct run_taps *taps = NULL;
  struct tap_maker maker;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && helped) goto out;
  if (!st && words.n != 1) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
  if (!st && o.limit < 0) st = sluice_fail(&err, SLUICE_USAGE, "--limit is not negative");
  if (!st) st = suite_read(words.items[0], &suite, &err);
  if (!st) st = run_taps_open(&taps, &maker, &err);
  o.taps = &maker;
  o.probe = !no_probe;
  if (!st) st = plan_make(suite, &o, &plan, &err);
  if (!st) st = plan_print(plan, json, stdout, &err);
  if (st) log_line(LOG_ERROR, "plan: %s", err.message);
out:
  plan_free(plan);
  run_taps_close(taps);
  suite_free(suite);
  free(words.items);
  free(o.cells.items);
  return st ? sluice_exit_code(st) : 0;
}
