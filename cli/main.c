/* sluice VERB ...: finds the verb in the table and hands over. A new verb is one file and one line here. */
#include "base/base.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb verbs[] = {
    {"filter", verb_filter, "judge a stream on its way: stop, mask or flag what the policy names"},
    {"proxy", verb_proxy, "judge every answer of an OpenAI-compatible server on its way to the client"},
    {"replay", verb_replay, "play a recorded stream at reading speed"},
    {"data", verb_data, "list, make and show benchmark dialogues and training text"},
    {"generate", verb_generate, "answer a prompt or chat, under a cache policy and a monitor"},
    {"judge", verb_judge, "let a judge read a ledger's recorded answers; may be repeated and continued"},
    {"plan", verb_plan, "print a suite's cells, dialogues, tokens and an estimate, without running"},
    {"run", verb_run, "play a suite into a ledger; the same command continues after any stop"},
    {"score", verb_score, "score a ledger's recorded outputs; may be repeated"},
    {"compare", verb_compare, "paired differences between two runs, or two policies of one run"},
    {"gate", verb_gate, "compare the newest run with a named baseline, for a nightly's exit code"},
    {"baseline", verb_baseline, "name runs that later ones are held against"},
    {"report", verb_report, "write a run as one HTML file, or as Markdown, CSV or JUnit"},
    {"merge", verb_merge, "join the shards of one run into one ledger"},
    {"export", verb_export, "print a ledger's rows as JSON lines or CSV"},
    {"train", verb_train, "train a tokenizer or a language model"},
    {"doctor", verb_doctor, "check this machine, this program, the embedded model and where a ledger goes"},
    {"completion", verb_completion, "print a completion script for a shell"},
    {"version", verb_version, "print the version, and what this program is made of"},
    {NULL, NULL, NULL},
};
enum { VERBS = sizeof verbs / sizeof *verbs - 1 };

const struct verb *verb_table(void) { return verbs; }

static void print_verbs(FILE *out) {
  fputs("sluice: watch what a language model says while it says it, and measure what a cache policy keeps\n\n"
        "Usage: sluice VERB [options]        sluice VERB -h shows examples\n\n",
        out);
  for (size_t i = 0; i < VERBS; i++) fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].summary);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    print_verbs(stderr);
    return sluice_exit_code(SLUICE_USAGE);
  }
  const char *word = argv[1], *names[VERBS + 1] = {0};
  if (!strcmp(word, "-h") || !strcmp(word, "--help") || !strcmp(word, "help")) {
    print_verbs(stdout);
    return 0;
  }
  if (!strcmp(word, "--version")) word = "version";
  for (size_t i = 0; i < VERBS; i++) {
    names[i] = verbs[i].name;
    if (!strcmp(word, verbs[i].name)) return verbs[i].fn(argc - 1, argv + 1);
  }
  const char *near = suggest(word, names);
  fprintf(stderr, "sluice: no verb \"%s\"%s%s%s; `sluice help` lists them\n", word, near ? ", did you mean \"" : "",
          near ? near : "", near ? "\"?" : "");
  return sluice_exit_code(SLUICE_USAGE);
}
