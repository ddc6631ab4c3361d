/* sluice run: plays a suite into a ledger, and continues where the last run of it stopped. */
#include "cli/run_tap.h"
#include "cli/verbs.h"

#include <stdlib.h>
#include <string.h>

static const struct verb_help help = {
    .verb = "run",
    .summary = "play a suite into a ledger; the same command continues after any stop",
    .usage = "sluice run SUITE --ledger FILE.db [options]",
    .examples = "  sluice run fixtures/suites/demo.json --ledger demo.db\n"
                "  sluice run demo.json --ledger demo.db --limit 2 --cells '*/full/*'\n"
                "  sluice run nightly.json --ledger nightly.db --new-run     # tonight's run beside last night's\n"
                "  sluice run big.json --ledger shard3.db --shard 3/8        # then: sluice merge all.db shard*.db\n",
    .notes = "Exit codes: 0 complete; 2 the suite is wrong; 4 incomplete, run the same command again (disk full, "
             "network, errors,\n"
             "the suite's budget); 130/143 interrupted after a checkpoint. What was committed is never lost.\n"
             "Scores are written at the end of a complete run; `sluice score` does it at any time.\n"};

struct run_words {
  const char *ledger, *shard;
  struct plan_options plan;
  struct run_options run;
  double checkpoint_seconds;
  bool json, no_score;
};

static sluice_status parse_shard(const char *text, struct plan_options *o, struct sluice_error *err) {
  if (!text) return SLUICE_OK;
  char *end;
  o->shard = strtoll(text, &end, 10);
  if (end == text || *end != '/') return sluice_fail(err, SLUICE_USAGE, "--shard is I/N with I from 0, such as 0/8");
  const char *second = end + 1;
  o->n_shards = strtoll(second, &end, 10);
  if (end == second || *end || o->n_shards < 1 || o->n_shards > 65536 || o->shard < 0 || o->shard >= o->n_shards)
    return sluice_fail(err, SLUICE_USAGE, "--shard %s: I/N with I from 0 to N-1", text);
  return SLUICE_OK;
}

/* The command as it was typed, for the ledger and for the line that says how to go on. */
static char *join_words(int argc, char **argv) {
  struct buffer b;
  struct sluice_error ignored;
  buffer_init(&b, 1 << 20);
  sluice_status st = buffer_append_str(&b, "sluice", &ignored);
  for (int i = 0; i < argc && !st; i++) {
    bool plain =
        argv[i][0] &&
        strspn(argv[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+%") == strlen(argv[i]);
    st = buffer_append_str(&b, plain ? " " : " '", &ignored);
    for (const char *c = argv[i]; *c && !st; c++)
      st = *c == '\'' ? buffer_append_str(&b, "'\\''", &ignored) : buffer_append(&b, c, 1, &ignored);
    if (!st && !plain) st = buffer_append_str(&b, "'", &ignored);
  }
  char *text = st ? NULL : buffer_take(&b, NULL);
  buffer_free(&b);
  return text;
}

static void print_summary(const struct run_summary *s, const struct run_words *w, const char *command,
                          sluice_status st) {
  if (w->json) {
    printf("{\"run\":\"%s\",\"planned\":%lld,\"finished\":%lld,\"errors\":%lld,\"played\":%lld,\"resumed\":%lld,"
           "\"complete\":%s}\n",
           s->run_id, (long long)s->planned, (long long)s->finished, (long long)s->errors, (long long)s->played,
           (long long)s->resumed, s->finished == s->planned ? "true" : "false");
    return;
  }
  if (s->run_id[0])
    fprintf(stderr, "run %s: %lld of %lld dialogues, %lld in error%s%s\n", s->run_id, (long long)s->finished,
            (long long)s->planned, (long long)s->errors, s->nothing_to_do ? "; nothing was left to do" : "",
            s->out_of_time ? "; the suite's time budget is spent" : "");
  if (s->nothing_to_do && s->errors)
    fprintf(stderr, "what is in error ends so again: `sluice export %s errors` says why; --new-run plays all anew\n",
            w->ledger);
  else if (st || s->finished < s->planned || s->errors)
    fprintf(stderr, "to continue: %s\n", command);
}

/* 4: something is missing that the same command can still get. */
static int exit_of(const struct run_summary *s, sluice_status st) {
  if (st == SLUICE_INTERRUPTED) return 128 + (s->stopped_by ? s->stopped_by : 2);
  if (st == SLUICE_FULL || st == SLUICE_IO || st == SLUICE_NETWORK || st == SLUICE_NOMEM) return 4;
  if (st) return sluice_exit_code(st);
  return s->finished < s->planned || s->errors ? 4 : 0;
}

static sluice_status run_suite(const char *path, struct run_words *w, struct run_summary *summary,
                               struct sluice_error *err) {
  struct suite *suite = NULL;
  struct plan *plan = NULL;
  struct run_taps *taps = NULL;
  struct ledger *ledger = NULL;
  struct tap_maker maker;
  sluice_status st = suite_read(path, &suite, err);
  if (!st) st = run_taps_open(&taps, &maker, err);
  w->plan.taps = w->run.taps = &maker;
  if (!st) st = plan_make(suite, &w->plan, &plan, err);
  if (!st) st = ledger_open(w->ledger, LEDGER_CREATE, NULL, &ledger, err);
  if (!st) st = runner_run(ledger, plan, &w->run, summary, err);
  struct score_summary scores;
  if (!st && !w->no_score && summary->run_id[0]) st = runner_score(ledger, summary->run_id, &scores, err);
  struct sluice_error late;
  sluice_status closed = ledger_close(ledger, st ? &late : err);
  plan_free(plan);
  run_taps_close(taps);
  suite_free(suite);
  return st ? st : closed;
}

int verb_run(int argc, char **argv) {
  struct run_words w = {0};
  bool helped = false;
  const struct option_spec options[] = {
      {"ledger", 'l', OPTION_STRING, &w.ledger, "FILE.db", "where everything is recorded; made when it does not exist"},
      {"limit", 0, OPTION_INT, &w.plan.limit, "N", "at most N dialogues a cell; such a run cannot become a baseline"},
      {"cells", 0, OPTION_LIST, &w.plan.cells, "PATTERN", "only cells like ENGINE/POLICY/MONITOR/BENCHMARK/SEED"},
      {"jobs", 'j', OPTION_INT, &w.run.jobs, "N",
       "dialogues at a time (default: the suite's, or processors / threads)"},
      {"new-run", 0, OPTION_FLAG, &w.run.fresh, NULL, "when this plan's newest run is complete, begin another"},
      {"shard", 0, OPTION_STRING, &w.shard, "I/N", "only this share of the dialogues, by hash of their cluster"},
      {"checkpoint-turns", 0, OPTION_INT, &w.run.checkpoint_turns, "N",
       "commit inside a dialogue every N turns (default: by time)"},
      {"checkpoint-seconds", 0, OPTION_DOUBLE, &w.checkpoint_seconds, "S",
       "commit inside a dialogue every S seconds (default: 5)"},
      {"snapshot-limit", 0, OPTION_INT, &w.run.snapshot_limit, "BYTES",
       "keep cache snapshots up to this size; -1: resume by replay (default: 32 MiB)"},
      {"no-score", 0, OPTION_FLAG, &w.no_score, NULL, "leave scoring to `sluice score`"},
      {"quiet", 'q', OPTION_FLAG, &w.run.quiet, NULL, "no progress bar"},
      {"json", 0, OPTION_FLAG, &w.json, NULL, "a summary as one JSON object on stdout"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  struct run_summary summary = {0};
  char *command = join_words(argc, argv);
  signal_catch_interrupts();
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  int code = 0;
  if (!helped) {
    if (!st && (words.n != 1 || !w.ledger)) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
    if (!st && (w.plan.limit < 0 || w.run.jobs < 0 || w.run.checkpoint_turns < 0))
      st = sluice_fail(&err, SLUICE_USAGE, "--limit, --jobs and --checkpoint-turns are not negative");
    if (!st) st = parse_shard(w.shard, &w.plan, &err);
    w.run.argv = command;
    w.run.checkpoint_seconds = w.checkpoint_seconds;
    if (!st) st = run_suite(words.items[0], &w, &summary, &err);
    if (st) log_line(LOG_ERROR, "run: %s", err.message);
    if (summary.run_id[0]) print_summary(&summary, &w, command ? command : "the same command", st);
    code = summary.run_id[0] || st ? exit_of(&summary, st) : 0;
  }
  free(command);
  free(words.items);
  free(w.plan.cells.items);
  return code;
}
