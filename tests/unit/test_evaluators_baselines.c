/* Trivial baselines on small dialogues whose right answers are worked out by hand. */
#include "evaluators/evaluators.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const struct turn_choice letters[] = {{"A", "A"}, {"B", "B"}, {"C", "C"}, {"D", "D"}};

static struct turn feed(enum turn_role role, const char *text) {
  return (struct turn){.role = role, .task = TASK_FEED, .text = text, .answer = -1, .tie = -1};
}

static double value_of(const char *name, const struct dialogue *d, size_t turn, size_t bytes) {
  struct baseline_budget budget = {bytes, 0};
  struct baseline_score s;
  struct sluice_error err;
  const struct trivial_baseline *b = trivial_baseline_find(name);
  assert_non_null(b);
  assert_int_equal(b->score(d, turn, &budget, &s, &err), SLUICE_OK);
  return s.defined ? s.value : NAN;
}

static void mentions_ignore_the_question(void **state) {
  (void)state;
  struct turn turns[] = {
      feed(TURN_USER, "Please buy salt. Salt! And tea, and one brown rice."),
      feed(TURN_BOT, "Noted: tea."),
      feed(TURN_USER, "Which did I ask for? (A) milk (B) salt (C) tea (D) brown rice\nAnswer:"),
      {.role = TURN_BOT, .task = TASK_CHOOSE, .text = "(", .choices = letters, .n_choices = 4, .answer = 1, .tie = -1},
  };
  struct dialogue d = {.id = "t/1", .cluster = "t/1", .turns = turns, .n_turns = 4};
  assert_true(value_of("chance", &d, 3, 0) == 0.25);
  assert_true(value_of("first", &d, 3, 0) == 1);       /* salt */
  assert_true(value_of("recency", &d, 3, 0) == 0);     /* tea */
  assert_true(value_of("frequency", &d, 3, 0) == 0.5); /* salt and tea, twice each */
  assert_true(value_of("longest", &d, 3, 0) == 0);     /* brown rice, not the letter */
  turns[3].answer = 3;
  assert_true(value_of("longest", &d, 3, 0) == 1);
  turns[3].answer = 2;
  assert_true(value_of("recency", &d, 3, 0) == 1);
  /* At a budget that holds the question alone, mention-based baselines know nothing: chance. */
  size_t question = strlen(turns[2].text) + 1;
  assert_true(value_of("first", &d, 3, question) == 0.25);
  assert_true(value_of("recency", &d, 3, question + 6) == 1); /* " tea." comes into sight */
}

static void own_text_choices_and_overlap(void **state) {
  (void)state;
  const struct turn_choice said[] = {
      {NULL, " Sure, the train leaves at nine."}, {NULL, " No."}, {NULL, " The cat sleeps on my old sofa."}};
  struct turn turns[] = {
      feed(TURN_USER, "When does the train leave? At nine, or later?"),
      {.role = TURN_BOT, .task = TASK_CHOOSE, .text = "", .choices = said, .n_choices = 3, .answer = 0, .tie = -1},
  };
  struct dialogue d = {.id = "t/2", .cluster = "t/2", .turns = turns, .n_turns = 2};
  assert_true(value_of("overlap", &d, 1, 0) == 1);
  assert_true(value_of("longest", &d, 1, 0) == 1);
  assert_true(isnan(value_of("counting", &d, 1, 0)));
  turns[1].task = TASK_GENERATE;
  assert_true(isnan(value_of("chance", &d, 1, 0)));
}

/* rock beats scissors beats paper beats rock; the other side plays the moves of `plays`. */
static void rps_turns(struct turn *turns, const char *plays, const struct turn_choice *moves) {
  for (size_t i = 0; plays[i]; i++) {
    int move = plays[i] == 'r' ? 0 : plays[i] == 'p' ? 1 : 2;
    turns[2 * i] = feed(TURN_USER, "Next round. You choose:");
    turns[2 * i + 1] = (struct turn){.role = TURN_BOT,
                                     .task = TASK_CHOOSE,
                                     .text = "",
                                     .metric = "rps",
                                     .choices = moves,
                                     .n_choices = 3,
                                     .answer = (move + 1) % 3,
                                     .tie = move};
  }
}

static void counting_beats_the_habit(void **state) {
  (void)state;
  const struct turn_choice moves[] = {{"A", " rock"}, {"B", " paper"}, {"C", " scissors"}};
  struct turn turns[14];
  rps_turns(turns, "rrsrpss", moves);
  struct dialogue d = {.id = "rps/1", .cluster = "rps/1", .turns = turns, .n_turns = 14};
  const struct trivial_baseline *b = trivial_baseline_find("counting");
  struct baseline_score s;
  struct sluice_error err;
  struct baseline_budget all = {0, 0}, last2 = {0, 2};
  assert_int_equal(b->score(&d, 1, &all, &s, &err), SLUICE_OK); /* no history: chance */
  assert_true(fabs(s.value - 1.0 / 3) < 1e-15 && fabs(s.tie - 1.0 / 3) < 1e-15);
  assert_int_equal(b->score(&d, 3, &all, &s, &err), SLUICE_OK); /* seen r, plays paper against r */
  assert_true(s.value == 1 && s.tie == 0);
  assert_int_equal(b->score(&d, 5, &all, &s, &err), SLUICE_OK); /* seen rr, plays paper against s: loses */
  assert_true(s.value == 0 && s.tie == 0);
  assert_int_equal(b->score(&d, 9, &all, &s, &err), SLUICE_OK); /* seen rrsr, plays paper against p: tie */
  assert_true(s.value == 0 && s.tie == 1);
  assert_int_equal(b->score(&d, 13, &all, &s, &err), SLUICE_OK); /* r3 s2 p1 s: paper against s */
  assert_true(s.value == 0);
  assert_int_equal(b->score(&d, 13, &last2, &s, &err), SLUICE_OK); /* the last two, p and s: rock or scissors */
  assert_true(s.value == 0.5);
  struct baseline_budget tiny = {5, 0};
  assert_int_equal(b->score(&d, 13, &tiny, &s, &err), SLUICE_OK); /* no earlier round is in sight */
  assert_true(fabs(s.value - 1.0 / 3) < 1e-15);
}

static void hostile_dialogues_are_harmless(void **state) {
  (void)state;
  struct turn_choice many[40], empty[] = {{NULL, ""}, {NULL, " "}};
  for (int i = 0; i < 40; i++) many[i] = (struct turn_choice){NULL, "x"};
  struct turn turns[] = {
      {.role = TURN_BOT, .task = TASK_CHOOSE, .text = "", .choices = many, .n_choices = 40, .answer = 0, .tie = -1},
      {.role = TURN_BOT, .task = TASK_CHOOSE, .text = "", .choices = empty, .n_choices = 2, .answer = 1, .tie = -1},
      {.role = TURN_BOT, .task = TASK_CHOOSE, .text = "", .choices = NULL, .n_choices = 0, .answer = 0, .tie = -1},
  };
  struct dialogue d = {.id = "x", .cluster = "x", .turns = turns, .n_turns = 3};
  for (const struct trivial_baseline *b = trivial_baseline_table(); b->name; b++)
    for (size_t t = 0; t < 3; t++) {
      double v = value_of(b->name, &d, t, 7);
      assert_true(isnan(v) || (v >= 0 && v <= 1));
    }
  assert_null(trivial_baseline_find("oracle"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mentions_ignore_the_question),
      cmocka_unit_test(own_text_choices_and_overlap),
      cmocka_unit_test(counting_beats_the_habit),
      cmocka_unit_test(hostile_dialogues_are_harmless),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
