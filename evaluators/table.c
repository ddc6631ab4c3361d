/* The table of evaluators: a new metric family is one file and one line here. */
#include "evaluators/evaluators.h"
#include "evaluators/families.h"

#include <string.h>

static const char *const choice_metrics[] = {"acc_c", "acc_g", "next", "recall", NULL};
static const char *const contest_metrics[] = {"rps", NULL};
static const char *const exact_metrics[] = {"exact", NULL};

static const struct evaluator table[] = {
    {"choice", 1, "the right one of several choices", choice_metrics, choice_score},
    {"contest", 1, "win, tie or lose against the other's move", contest_metrics, contest_score},
    {"exact", 1, "the expected integer or words in free text", exact_metrics, exact_score},
    {NULL, 0, NULL, NULL, NULL},
};

const struct evaluator *evaluator_table(void) {
  return table;
}

const struct evaluator *evaluator_for(const struct turn *t) {
  if (t->task != TASK_CHOOSE && t->task != TASK_GENERATE) return NULL;
  for (const struct evaluator *e = table; e->name; e++) {
    for (size_t i = 0; t->metric && e->metrics[i]; i++) {
      if (strcmp(e->metrics[i], t->metric) != 0) continue;
      /* "recall" asked as an open question has no choices to pick from. */
      if (t->task == TASK_GENERATE && e->score != exact_score) return &table[2];
      return e;
    }
  }
  return t->task == TASK_CHOOSE ? &table[0] : &table[2];
}

const char *metric_title(const char *metric) {
  static const char *const titles[][2] = {
      {"acc_c", "questions on the way"},
      {"acc_g", "item recalled at the end"},
      {"next", "next utterance chosen"},
      {"recall", "fact recalled"},
      {"rps", "rounds won"},
      {"exact", "exact answer"},
      {"perplexity", "perplexity of text"},
  };
  for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
    if (strcmp(metric, titles[i][0]) == 0) return titles[i][1];
  return metric;
}

const char *score_label_name(enum score_label label) {
  static const char *const names[] = {"right", "wrong", "win", "tie", "lose", "unscored"};
  return names[label];
}
