/* sluice baseline set|list|show|rm: runs that somebody vouched for. */
#include "cli/verbs.h"

#include "ledger/ledger.h"

#include <stdlib.h>
#include <string.h>

static const struct verb_help help = {
    .verb = "baseline",
    .summary = "name runs that later ones are held against",
    .usage = "sluice baseline set LEDGER NAME [RUN] | list LEDGER | show LEDGER NAME | rm LEDGER NAME",
    .examples = "  sluice baseline set nightly.db good                  # the newest run\n"
                "  sluice baseline set nightly.db v1.2 01J9Z --note 'release 1.2'\n"
                "  sluice baseline list nightly.db\n",
    .notes = "A run that was limited, is unfinished or has errors cannot become a baseline.\n"};

static sluice_status print_rows(struct ledger *l, const char *name, struct sluice_error *err) {
  struct ledger_rows *q;
  bool row = true;
  int n = 0;
  sluice_status st =
      ledger_query(l,
                   "SELECT b.name, b.run_id, r.suite, r.finished, r.tool_version, b.set_ns, b.set_by, b.note,"
                   " hex(x.plan_hash) FROM baseline b JOIN v_run r ON r.run_id = b.run_id JOIN run x ON x.id = b.run_id"
                   " WHERE ?1 IS NULL OR b.name = ?1 ORDER BY b.name",
                   LEDGER_VALUES(lv_text(name)), &q, err);
  while (!st && !(st = ledger_next(q, &row, err)) && row) {
    char when[32];
    int64_t set = ledger_int(q, 5);
    clock_iso8601(set, when);
    n++;
    printf("%s\trun %s\tsuite %s\t%lld dialogues\tsluice %s\tset %s (%lld days ago) by %s%s%s\n", ledger_text(q, 0),
           ledger_text(q, 1), ledger_text(q, 2), (long long)ledger_int(q, 3), ledger_text(q, 4), when,
           (long long)((clock_wall_ns() - set) / 86400000000000), ledger_text(q, 6), *ledger_text(q, 7) ? "\t" : "",
           ledger_text(q, 7));
    if (name) printf("plan %s\n", ledger_text(q, 8));
  }
  ledger_rows_end(q);
  if (!st && name && !n)
    st = sluice_fail(err, SLUICE_USAGE, "%s: no baseline \"%s\"; `sluice baseline list %s` shows them", ledger_path(l),
                     name, ledger_path(l));
  return st;
}

static sluice_status dispatch(struct ledger *l, const struct string_list *words, const char *note,
                              struct sluice_error *err) {
  const char *action = words->items[0];
  if (!strcmp(action, "list")) return print_rows(l, NULL, err);
  if (!strcmp(action, "show")) return print_rows(l, words->items[2], err);
  if (!strcmp(action, "rm")) return ledger_baseline_remove(l, words->items[2], err);
  char id[LEDGER_RUN_ID];
  sluice_status st = ledger_find_run(l, words->n > 3 ? words->items[3] : NULL, id, err);
  if (!st) st = ledger_baseline_set(l, words->items[2], id, note, err);
  if (!st) fprintf(stderr, "baseline %s is run %s\n", words->items[2], id);
  return st;
}

static sluice_status check_words(const struct string_list *words, struct sluice_error *err) {
  static const char *const actions[] = {"set", "list", "show", "rm", NULL};
  const char *action = words->n ? words->items[0] : "";
  size_t least = !strcmp(action, "list") ? 2 : 3, most = !strcmp(action, "set") ? 4 : least;
  for (size_t i = 0; actions[i]; i++)
    if (!strcmp(action, actions[i]) && words->n >= least && words->n <= most) return SLUICE_OK;
  const char *near = *action ? suggest(action, actions) : NULL;
  if (near && strcmp(near, action))
    return sluice_fail(err, SLUICE_USAGE, "\"%s\": did you mean `sluice baseline %s`?", action, near);
  return sluice_fail(err, SLUICE_USAGE, "expected %s", help.usage);
}

int verb_baseline(int argc, char **argv) {
  const char *note = NULL;
  const struct option_spec options[] = {{"note", 0, OPTION_STRING, &note, "TEXT", "why, kept with the name (set)"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  struct ledger *ledger = NULL;
  bool helped = false;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped) {
    st = check_words(&words, &err);
    bool reads = !st && (!strcmp(words.items[0], "list") || !strcmp(words.items[0], "show"));
    if (!st) st = ledger_open(words.items[1], reads ? LEDGER_READ : LEDGER_EDIT, NULL, &ledger, &err);
    if (!st) st = dispatch(ledger, &words, note, &err);
    struct sluice_error late;
    sluice_status closed = ledger_close(ledger, st ? &late : &err);
    if (!st) st = closed;
  }
  if (st) log_line(LOG_ERROR, "baseline: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : 0;
}
