/* sluice doctor: what this machine and this build offer, and whether a ledger is sound. */
#include "cli/verbs.h"

#include "engine/engine.h"
#include "ledger/ledger.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const struct verb_help help = {
    .verb = "doctor",
    .summary = "check this machine, the embedded model and, if given, a ledger",
    .usage = "sluice doctor [LEDGER]",
    .examples = "  sluice doctor\n"
                "  sluice doctor demo.db\n",
    .notes = "Exit codes: 0 all is well, 1 something is not (the line says what and what to do).\n"};

static void line(bool good, const char *what, const char *text, int *bad) {
  if (!good) ++*bad;
  printf("%-5s %-9s %s\n", good ? "ok" : "FAIL", what, text);
}

static void check_machine(int *bad) {
  struct utsname os;
  char text[256];
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (uname(&os)) memset(&os, 0, sizeof os);
  snprintf(text, sizeof text, "%s %s %s, %d processors, %lld MiB", os.sysname, os.release, os.machine,
           threads_available(), (long long)pages * page / (1 << 20));
  line(true, "machine", text, bad);
  int64_t before = clock_mono_ns(), wall = clock_wall_ns();
  snprintf(text, sizeof text, "monotonic %s, year %s", clock_mono_ns() >= before ? "does not run back" : "runs back",
           wall > 1700000000000000000 ? "is plausible" : "is wrong: set the clock, or ledgers will sort wrongly");
  line(clock_mono_ns() >= before && wall > 1700000000000000000, "clock", text, bad);
}

static void check_kernels(const struct model *m, int *bad) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  char text[256] = "", best[64] = "";
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct session *s;
    struct sluice_error ignored;
    struct session_options o = {.kernel = names[i]};
    if (session_open(m, &o, &s, &ignored)) continue;
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : "", names[i]);
    session_close(s);
  }
  struct session *s;
  struct sluice_error err;
  struct session_options o = {0};
  if (!session_open(m, &o, &s, &err)) {
    snprintf(best, sizeof best, "; %s is used", session_kernel(s));
    session_close(s);
  }
  size_t n = strlen(text);
  snprintf(text + n, sizeof text - n, "%s", best);
  line(best[0], "kernels", text, bad);
}

static void check_model(int *bad) {
  struct sluice_error err;
  struct model *m = NULL;
  char *dir = NULL, *text = NULL;
  sluice_status st = model_default_dir(&dir, &err);
  if (!st) st = model_open(dir, &m, &err);
  if (!st) {
    const struct model_config *c = model_configuration(m);
    text = sluice_format("%s: %.1f M parameters, %d layers, vocabulary %d, context %d", dir,
                         (double)model_parameters(m) / 1e6, c->n_layers, c->vocab, c->max_context);
  }
  line(!st, "model", st ? err.message : text ? text : dir, bad);
  if (!st) check_kernels(m, bad);
  free(text);
  free(dir);
  if (m) model_close(m);
}

static void check_ledger(const char *path, int *bad) {
  struct sluice_error err;
  struct ledger *l = NULL;
  char text[800];
  int64_t runs = 0, planned = 0, finished = 0, errors = 0, flying = 0;
  sluice_status st = ledger_open(path, LEDGER_READ, NULL, &l, &err);
  if (!st) st = ledger_check(l, &err);
  if (!st) st = ledger_query_int(l, "SELECT count(*) FROM run", LEDGER_NO_VALUES, 0, &runs, &err);
  if (!st) st = ledger_query_int(l, "SELECT sum(planned) FROM v_run", LEDGER_NO_VALUES, 0, &planned, &err);
  if (!st) st = ledger_query_int(l, "SELECT sum(finished) FROM v_run", LEDGER_NO_VALUES, 0, &finished, &err);
  if (!st) st = ledger_query_int(l, "SELECT sum(errors) FROM v_run", LEDGER_NO_VALUES, 0, &errors, &err);
  if (!st) st = ledger_query_int(l, "SELECT count(*) FROM checkpoint", LEDGER_NO_VALUES, 0, &flying, &err);
  if (!st)
    snprintf(text, sizeof text, "%s: sound; %lld runs, %lld of %lld dialogues, %lld in error, %lld in flight", path,
             (long long)runs, (long long)finished, (long long)planned, (long long)errors, (long long)flying);
  line(!st, "ledger", st ? err.message : text, bad);
  ledger_close(l, &err);
}

int verb_doctor(int argc, char **argv) {
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  int bad = 0;
  sluice_status st = options_parse(&help, NULL, 0, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n > 1) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
  if (!st && !helped) {
    line(true, "sluice", SLUICE_VERSION, &bad);
    check_machine(&bad);
    check_model(&bad);
    if (words.n) check_ledger(words.items[0], &bad);
  }
  if (st) log_line(LOG_ERROR, "doctor: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : bad ? 1 : 0;
}
