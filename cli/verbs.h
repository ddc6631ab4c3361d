/* cli: one file a verb. A verb takes its own argv (argv[0] is the verb) and returns the process's exit code. */
#ifndef SLUICE_CLI_VERBS_H
#define SLUICE_CLI_VERBS_H

struct verb {
  const char *name;
  int (*fn)(int argc, char **argv);
  const char *summary; /* one line */
};
const struct verb *verb_table(void); /* in main.c; ends with a NULL name */

int verb_filter(int argc, char **argv);
int verb_replay(int argc, char **argv);
int verb_data(int argc, char **argv);
int verb_train(int argc, char **argv);
int verb_export(int argc, char **argv);
int verb_generate(int argc, char **argv);
int verb_judge(int argc, char **argv);
int verb_merge(int argc, char **argv);
int verb_plan(int argc, char **argv);
int verb_policy(int argc, char **argv);
int verb_proxy(int argc, char **argv);
int verb_report(int argc, char **argv);
int verb_run(int argc, char **argv);
int verb_serve(int argc, char **argv);
int verb_score(int argc, char **argv);
int verb_baseline(int argc, char **argv);
int verb_compare(int argc, char **argv);
int verb_completion(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_gate(int argc, char **argv);
int verb_version(int argc, char **argv);

#endif
