/* Grocery must ask for memory and nothing else: no cheap reading of the dialogue may find the key. */
#include "base/base.h"
#include "datasets/datasets.h"
#include "dialogue_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { DIALOGUES = 600 };

struct tally {
  double recency, first, frequency;
  int position[4], n;
};

/* Credit of a rule that picks the choices with the greatest merit: 1, shared among those that tie. */
static double credit(const long merit[4], int answer) {
  int ties = 0;
  for (int c = 0; c < 4; c++) {
    if (merit[c] > merit[answer]) return 0;
    ties += merit[c] == merit[answer];
  }
  return 1.0 / ties;
}

static void read_dialogue(const struct dialogue *d, struct tally *sum) {
  const struct turn *t = &d->turns[d->n_turns - 1];
  struct buffer text;
  buffer_init(&text, 0);
  assert_string_equal(t->metric, "acc_g");
  assert_int_equal(t->n_choices, 4);
  /* the question lists the options: what counts is what was said before it */
  text_before(d, d->n_turns - 2, true, &text);
  long count[4], late[4], early[4];
  for (int c = 0; c < 4; c++) {
    char word[64];
    long first, last;
    count[c] = mentions(text.ptr, bare_choice(t->choices[c].text, word), &first, &last);
    late[c] = last;
    early[c] = -first;
    assert_true(count[c] >= 2);
    assert_int_equal(count[c], count[0]);
  }
  sum->recency += credit(late, t->answer);
  sum->first += credit(early, t->answer);
  sum->frequency += credit(count, t->answer);
  sum->position[t->answer]++;
  sum->n++;
  buffer_free(&text);
}

static void check_no_giveaway(const char *spec) {
  struct sluice_error err = {0};
  struct dataset *set;
  struct tally sum = {0};
  assert_int_equal(dataset_open(spec, &set, &err), SLUICE_OK);
  assert_true(dataset_size(set) >= 500);
  for (size_t i = 0; i < dataset_size(set); i++) {
    struct dialogue d;
    assert_int_equal(dataset_dialogue(set, i, &d, &err), SLUICE_OK);
    read_dialogue(&d, &sum);
    dialogue_free(&d);
  }
  double n = sum.n;
  print_message("%s: recency %.1f %%, first mention %.1f %%, frequency %.1f %%\n", spec, 100 * sum.recency / n,
                100 * sum.first / n, 100 * sum.frequency / n);
  assert_true(sum.recency / n <= 0.30);
  assert_true(sum.first / n <= 0.30);
  assert_true(sum.frequency / n <= 0.30);
  for (int c = 0; c < 4; c++) assert_in_range(sum.position[c], sum.n * 18 / 100, sum.n * 32 / 100);
  dataset_close(set);
}

static void no_giveaway_at_random_depth(void **state) {
  (void)state;
  check_no_giveaway("grocery:depth=random,dialogues=600");
  check_no_giveaway("grocery:depth=random,dialogues=600,mentions=1,turns=5,seed=2");
}

static void no_giveaway_at_start(void **state) {
  (void)state;
  check_no_giveaway("grocery:depth=start,dialogues=600");
  check_no_giveaway("grocery:depth=start,dialogues=600,form=letter,seed=3");
}

/* The request stands where the turn says, and only there; at depth=random it comes at all depths. */
static void evidence_is_where_it_says(void **state) {
  struct sluice_error err = {0};
  struct dataset *set;
  int early = 0, late = 0;
  (void)state;
  assert_int_equal(dataset_open("grocery:dialogues=600", &set, &err), SLUICE_OK);
  for (size_t i = 0; i < DIALOGUES; i++) {
    struct dialogue d;
    char key[64];
    assert_int_equal(dataset_dialogue(set, i, &d, &err), SLUICE_OK);
    const struct turn *t = &d.turns[d.n_turns - 1];
    assert_in_range(t->evidence_turn, 0, d.n_turns - 3);
    assert_non_null(strstr(d.turns[t->evidence_turn].text, t->evidence));
    assert_non_null(strstr(t->evidence, "buy"));
    assert_non_null(strstr(t->evidence, bare_choice(t->choices[t->answer].text, key)));
    assert_int_equal(t->distance, ((int)d.n_turns - 2 - t->evidence_turn) / 2);
    for (size_t k = 0; k + 2 < d.n_turns; k++)
      if (d.turns[k].role == TURN_USER && (int)k != t->evidence_turn) assert_null(strstr(d.turns[k].text, " buy "));
    early += t->evidence_turn < (int)d.n_turns / 3;
    late += t->evidence_turn > 2 * (int)d.n_turns / 3;
    dialogue_free(&d);
  }
  assert_true(early > DIALOGUES / 5 && late > DIALOGUES / 5);
  dataset_close(set);
}

static void depth_start_puts_the_request_second(void **state) {
  struct sluice_error err = {0};
  struct dataset *set;
  struct dialogue d;
  (void)state;
  assert_int_equal(dataset_open("grocery:depth=start,turns=3", &set, &err), SLUICE_OK);
  assert_int_equal(dataset_dialogue(set, 7, &d, &err), SLUICE_OK);
  /* the list, the request, 3 quizzes and 7 mentions, the recall: two turns each */
  assert_int_equal(d.n_turns, 2 * (1 + 1 + 3 + 7 + 1));
  assert_int_equal(d.turns[d.n_turns - 1].evidence_turn, 2);
  dialogue_free(&d);
  dataset_close(set);
}

/* The quiz has one member of the category asked for. */
static void quizzes_have_one_right_answer(void **state) {
  struct sluice_error err = {0};
  struct dataset *set;
  int quizzes = 0, right_at[4] = {0};
  (void)state;
  assert_int_equal(dataset_open("grocery:turns=20,answer=gold", &set, &err), SLUICE_OK);
  for (size_t i = 0; i < 50; i++) {
    struct dialogue d;
    assert_int_equal(dataset_dialogue(set, i, &d, &err), SLUICE_OK);
    for (size_t k = 0; k < d.n_turns; k++) {
      const struct turn *t = &d.turns[k];
      if (t->task != TASK_CHOOSE || strcmp(t->metric, "acc_c")) continue;
      quizzes++;
      right_at[t->answer]++;
      assert_true(t->gold_in_context);
      for (size_t c = 0; c < t->n_choices; c++)
        for (size_t e = 0; e < c; e++) assert_string_not_equal(t->choices[c].text, t->choices[e].text);
    }
    dialogue_free(&d);
  }
  assert_int_equal(quizzes, 1000);
  for (int c = 0; c < 4; c++) assert_in_range(right_at[c], 200, 300);
  dataset_close(set);
}

static void open_form_expects_the_word(void **state) {
  struct sluice_error err = {0};
  struct dataset *set;
  struct dialogue d;
  (void)state;
  assert_int_equal(dataset_open("grocery:form=open", &set, &err), SLUICE_OK);
  assert_int_equal(dataset_dialogue(set, 0, &d, &err), SLUICE_OK);
  const struct turn *t = &d.turns[d.n_turns - 1];
  assert_int_equal(t->task, TASK_GENERATE);
  assert_non_null(strstr(t->evidence, t->expected));
  dialogue_free(&d);
  dataset_close(set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_giveaway_at_random_depth),   cmocka_unit_test(no_giveaway_at_start),
      cmocka_unit_test(evidence_is_where_it_says),     cmocka_unit_test(depth_start_puts_the_request_second),
      cmocka_unit_test(quizzes_have_one_right_answer), cmocka_unit_test(open_form_expects_the_word),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
