/* sluice merge: the shards of one run into one ledger. */
#include "cli/verbs.h"

#include "ledger/ledger.h"

#include <stdlib.h>

static const struct verb_help help = {.verb = "merge",
                                      .summary = "join the shards of one run into one ledger",
                                      .usage = "sluice merge OUT.db SHARD.db... [options]",
                                      .examples = "  sluice run big.json --ledger shard0.db --shard 0/2 & sluice run "
                                                  "big.json --ledger shard1.db --shard 1/2; wait\n"
                                                  "  sluice merge all.db shard0.db shard1.db\n",
                                      .notes = "The shards must be of one plan, disjoint and together complete. OUT.db "
                                               "is made; a merge that fails leaves what was\n"
                                               "there, and the shards are never changed.\n"};

int verb_merge(int argc, char **argv) {
  bool partial = false, helped = false;
  const struct option_spec options[] = {
      {"allow-partial", 0, OPTION_FLAG, &partial, NULL, "shards may be missing or unfinished"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  struct ledger *into = NULL;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped) {
    if (words.n < 2) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
    if (!st) st = ledger_open(words.items[0], LEDGER_CREATE, NULL, &into, &err);
    if (!st) st = ledger_merge(into, (const char *const *)words.items + 1, words.n - 1, partial, &err);
    struct sluice_error late;
    sluice_status closed = ledger_close(into, st ? &late : &err);
    if (!st) st = closed;
    if (!st) fprintf(stderr, "%zu shards merged into %s\n", words.n - 1, words.items[0]);
  }
  if (st) log_line(LOG_ERROR, "merge: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : 0;
}
