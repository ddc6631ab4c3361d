/* sluice doctor: what this machine and this program offer, and what to do where something is missing. */
#include "cli/verbs.h"

#include "cli/doctor.h"

#include <stdlib.h>

static const struct verb_help help = {
    .verb = "doctor",
    .summary = "check this machine, this program, the embedded model and where a ledger goes",
    .usage = "sluice doctor [LEDGER] [options]",
    .examples = "  sluice doctor\n"
                "  sluice doctor demo.db                  # is the file sound, and its file system fit?\n"
                "  sluice doctor --json | jq '.checks[] | select(.level != \"ok\")'\n",
    .notes =
        "A line a finding: ok, note (works, but look) or FAIL, and behind -> what to do. LEDGER need not exist yet.\n"
        "Memory is read for a moment to estimate its bandwidth, which bounds the speed of generation.\n"
        "Exit codes: 0 the embedded model runs and the ledger is fit; 1 something is not.\n"};

int verb_doctor(int argc, char **argv) {
  struct string_list words = {0};
  struct sluice_error err = {0};
  struct doctor d;
  bool helped = false, json = false;
  const struct option_spec options[] = {{"json", 0, OPTION_FLAG, &json, NULL, "one JSON object on stdout"}};
  sluice_status st = options_parse(&help, options, 1, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n > 1) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
  if (!st && !helped) {
    doctor_begin(&d, json);
    doctor_build(&d);
    doctor_system(&d);
    doctor_processor(&d);
    doctor_memory(&d);
    doctor_model(&d);
    doctor_cuda(&d);
    doctor_data(&d);
    doctor_ledger(&d, words.n ? words.items[0] : NULL);
    doctor_terminal(&d);
    st = doctor_end(&d, &err);
  }
  if (st) log_line(LOG_ERROR, "doctor: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : !helped && d.fails ? 1 : 0;
}
