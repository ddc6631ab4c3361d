/* sluice VERB ...: finds the verb in the table and hands over. A new verb is one file and one line here. */
#include "base/base.h"
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb verbs[] = {
    {"filter", verb_filter, "judge a stream on its way: stop, mask or flag what the policy names"},
    {"proxy", verb_proxy, "judge every answer of an OpenAI-compatible server on its way to the client"},
    {"serve", verb_serve, "local weights behind OpenAI's interface, many answers at once"},
    {"policy", verb_policy, "say what a policy's rules ask; turn gitleaks files and word lists into policies"},
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
    {"report", verb_report, "write a run as one HTML file, or as text, Markdown, CSV or JUnit"},
    {"merge", verb_merge, "join the shards of one run into one ledger"},
    {"export", verb_export, "print a ledger's rows as JSON lines or CSV"},
    {"train", verb_train, "train a tokenizer or a language model"},
    {"doctor", verb_doctor, "check this machine, this program, the embedded model and where a ledger goes"},
    {"completion", verb_completion, "print a completion script for a shell"},
    {"version", verb_version, "print the version, and what this program is made of"},
    {NULL, NULL, NULL},
};
enum { VERBS = sizeof verbs / sizeof *verbs - 1 };

const struct verb *verb_table(void) {
  return verbs;
}

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
  const char *names[VERBS + 1] = {0};
  char version[] = "version", dash_h[] = "-h", *asked[] = {argv[1], dash_h, NULL}, **words = argv + 1;
  int n_words = argc - 1;
  if (!strcmp(*words, "-h") || !strcmp(*words, "--help") || !strcmp(*words, "help")) {
    if (argc == 2) {
      print_verbs(stdout);
      return 0;
    }
    asked[0] = argv[2]; /* `sluice help run` is `sluice run -h` */
    words = asked;
    n_words = 2;
  }
  if (!strcmp(*words, "--version")) *words = version;
  for (size_t i = 0; i < VERBS; i++) {
    names[i] = verbs[i].name;
    if (!strcmp(*words, verbs[i].name)) return verbs[i].fn(n_words, words);
  }
  const char *near = suggest(*words, names);
  fprintf(stderr, "sluice: no verb \"%s\"%s%s%s; `sluice help` lists them\n", *words, near ? ", did you mean \"" : "",
          near ? near : "", near ? "\"?" : "");
  return sluice_exit_code(SLUICE_USAGE);
}
