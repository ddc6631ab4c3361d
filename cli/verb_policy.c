/* sluice policy check|import: what a policy's rules ask, and the rule files of others. */
#include "base/base.h"
#include "cli/verbs.h"
#include "monitor/monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 16 << 20 };

struct policy_options {
  bool json;
  const char *format, *category, *action, *id, *out;
};

static const struct verb_help help = {
    .verb = "policy",
    .summary = "say what a policy's rules ask before text comes; turn gitleaks files and word lists into policies",
    .usage = "sluice policy check FILE [--json] | import FILE [--format F] [--category C] [--action A] [--out FILE]",
    .examples = "  sluice policy check fixtures/policies/default.json\n"
                "  sluice policy import gitleaks.toml --out secrets.json && sluice policy check secrets.json --json\n"
                "  sluice policy import words.txt --category profanity --action flag --out words.json\n",
    .notes =
        "check prints, rule by rule: accepted or refused and why; what it is tried after; from where on it holds text\n"
        "back, and how many secret bytes can stand before that; whether a match is capped or can backtrack without\n"
        "end. It exits with 2 when a rule is refused. import writes the policy to stdout or --out, and on stderr a\n"
        "line for each thing that could not be carried over as it was.\n"};

static sluice_status check(const char *path, const struct policy_options *o, struct sluice_error *err) {
  struct buffer out;
  size_t accepted = 0, refused = 0;
  buffer_init(&out, 0);
  sluice_status st = monitor_policy_inspect(path, o->json, &out, &accepted, &refused, err);
  if (!st) st = fd_write_all(STDOUT_FILENO, out.ptr, out.len, err);
  buffer_free(&out);
  if (!st && refused)
    st = sluice_fail(err, SLUICE_USAGE, "%s: %zu of %zu rules are refused", path, refused, accepted + refused);
  return st;
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), m = strlen(end);
  return n >= m && strcmp(s + n - m, end) == 0;
}

static sluice_status read_options(const struct policy_options *o, const char *path, bool *words,
                                  struct monitor_import_options *to, struct sluice_error *err) {
  static const char *const actions[] = {"flag", "mask", "stop", NULL}, *const formats[] = {"gitleaks", "words", NULL};
  int at = 0;
  *words = o->format ? strcmp(o->format, "words") == 0 : !ends_with(path, ".toml");
  if (o->format && !*words && strcmp(o->format, "gitleaks") != 0) {
    const char *near = suggest(o->format, formats);
    return sluice_fail(err, SLUICE_USAGE, "--format: \"%s\" is none of gitleaks, words%s%s", o->format,
                       near ? "; did you mean " : "", near ? near : "");
  }
  const char *action = o->action ? o->action : *words ? "flag" : "mask";
  while (actions[at] && strcmp(actions[at], action)) at++;
  if (!actions[at]) return sluice_fail(err, SLUICE_USAGE, "--action: \"%s\" is none of flag, mask, stop", action);
  *to = (struct monitor_import_options){.id = o->id ? o->id : "words",
                                        .category = o->category ? o->category
                                                    : *words    ? "words"
                                                                : "secrets",
                                        .action = (enum monitor_action)at};
  return SLUICE_OK;
}

static sluice_status import(const char *path, const struct policy_options *o, struct sluice_error *err) {
  struct monitor_import_options options;
  struct buffer out, remarks;
  char *text = NULL;
  size_t len = 0;
  bool words = false;
  buffer_init(&out, 0);
  buffer_init(&remarks, 0);
  sluice_status st = read_options(o, path, &words, &options, err);
  if (!st) st = file_read(path, FILE_BYTES_MAX, &text, &len, err);
  if (!st && words)
    st = monitor_import_words(path, (struct slice){text, len}, &options, &out, &remarks, err);
  else if (!st)
    st = monitor_import_gitleaks(path, (struct slice){text, len}, &options, &out, &remarks, err);
  if (!st) st = fd_write_all(STDERR_FILENO, remarks.ptr, remarks.len, err);
  if (!st && o->out && strcmp(o->out, "-"))
    st = file_write_atomic(o->out, out.ptr, out.len, err);
  else if (!st)
    st = fd_write_all(STDOUT_FILENO, out.ptr, out.len, err);
  buffer_free(&out);
  buffer_free(&remarks);
  free(text);
  return st;
}

static sluice_status dispatch(const struct string_list *words, const struct policy_options *o,
                              struct sluice_error *err) {
  static const char *const actions[] = {"check", "import", NULL};
  const char *action = words->n ? words->items[0] : "";
  if (!strcmp(action, "check") && words->n == 2) return check(words->items[1], o, err);
  if (!strcmp(action, "import") && words->n == 2) return import(words->items[1], o, err);
  const char *near = *action ? suggest(action, actions) : NULL;
  if (near && strcmp(near, action))
    return sluice_fail(err, SLUICE_USAGE, "\"%s\": did you mean `sluice policy %s`?", action, near);
  return sluice_fail(err, SLUICE_USAGE, "expected %s", help.usage);
}

int verb_policy(int argc, char **argv) {
  struct policy_options o = {0};
  const struct option_spec options[] = {
      {"json", 0, OPTION_FLAG, &o.json, NULL, "check: print one JSON object"},
      {"format", 'f', OPTION_STRING, &o.format, "F", "import: gitleaks or words (default: by the name's end, .toml)"},
      {"category", 'c', OPTION_STRING, &o.category, "C", "import: of every rule (default: secrets, words)"},
      {"action", 'a', OPTION_STRING, &o.action, "A", "import: flag, mask or stop (default: mask; of words flag)"},
      {"id", 0, OPTION_STRING, &o.id, "ID", "import: of a word list's rule (default: words)"},
      {"out", 'o', OPTION_STRING, &o.out, "FILE", "import: write there, whole or not at all (default: stdout)"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped) st = dispatch(&words, &o, &err);
  free(words.items);
  if (st) log_line(LOG_ERROR, "policy: %s", err.message);
  return st ? sluice_exit_code(st) : 0;
}
