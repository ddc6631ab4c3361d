/* sluice score: numbers for what a ledger recorded, without generating anything. */
#include "cli/verbs.h"

#include "runner/runner.h"

#include <stdlib.h>

static const struct verb_help help = {.verb = "score",
                                      .summary = "score a ledger's recorded outputs; may be repeated",
                                      .usage = "sluice score LEDGER [options]",
                                      .examples = "  sluice score demo.db\n"
                                                  "  sluice score demo.db --run latest --json\n",
                                      .notes = "A scorer is its name, version and configuration; what it has scored "
                                               "already stays. Beside every score stand the\n"
                                               "trivial answers (chance, longest choice, counting ...) on the same "
                                               "turns, seeing no more text than the cell's\n"
                                               "cache budget holds.\n"};

int verb_score(int argc, char **argv) {
  const char *run = NULL;
  bool json = false, helped = false;
  const struct option_spec options[] = {
      {"run", 0, OPTION_STRING, &run, "RUN",
       "a run's id or its beginning, a baseline's name, or latest (default: all runs)"},
      {"json", 0, OPTION_FLAG, &json, NULL, "a summary as one JSON object on stdout"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  struct ledger *ledger = NULL;
  struct score_summary sum = {0};
  char id[LEDGER_RUN_ID] = "";
  signal_catch_interrupts();
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped) {
    if (words.n != 1) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
    if (!st) st = ledger_open(words.items[0], LEDGER_EDIT, NULL, &ledger, &err);
    if (!st && run) st = ledger_find_run(ledger, run, id, &err);
    if (!st) st = runner_score(ledger, run ? id : NULL, &sum, &err);
    struct sluice_error late;
    sluice_status closed = ledger_close(ledger, st ? &late : &err);
    if (!st) st = closed;
    if (!st && json)
      printf("{\"turns\":%lld,\"scored\":%lld,\"unscored\":%lld,\"trivial\":%lld}\n", (long long)sum.turns,
             (long long)sum.scored, (long long)sum.unscored, (long long)sum.trivial);
    if (!st && !json)
      fprintf(stderr, "%lld turns: %lld scored, %lld unscored; %lld trivial scores beside them\n", (long long)sum.turns,
              (long long)sum.scored, (long long)sum.unscored, (long long)sum.trivial);
  }
  if (st) log_line(LOG_ERROR, "score: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : 0;
}
