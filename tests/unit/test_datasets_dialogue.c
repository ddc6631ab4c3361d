/* Next utterance among four, rock-paper-scissors, StreamEval and story: what they promise about their turns. */
#include "base/base.h"
#include "datasets/datasets.h"
#include "datasets/generators/game.h"
#include "dialogue_text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct dataset *open_set(const char *spec) {
  struct sluice_error err = {0};
  struct dataset *set = NULL;
  if (dataset_open(spec, &set, &err)) fail_msg("%s: %s", spec, err.message);
  return set;
}

static struct dialogue make(const struct dataset *set, size_t i) {
  struct sluice_error err = {0};
  struct dialogue d;
  if (dataset_dialogue(set, i, &d, &err)) fail_msg("%s", err.message);
  return d;
}

static double share(const long merit[4], int answer) {
  int ties = 0;
  for (int c = 0; c < 4; c++) {
    if (merit[c] > merit[answer]) return 0;
    ties += merit[c] == merit[answer];
  }
  return 1.0 / ties;
}

static long words_of(const char *s) {
  long n = 0;
  for (const char *p = s; *p; p++) n += *p == ' ';
  return n;
}

struct sums {
  double longest, overlap, recency;
  int n, distances[64];
};

static void score_question(const struct dialogue *d, size_t at, struct sums *sum) {
  const struct turn *t = &d->turns[at];
  struct buffer text;
  long length[4], overlap[4], late[4];
  buffer_init(&text, 0);
  text_before(d, at, true, &text);
  assert_int_equal(t->n_choices, 4);
  for (int c = 0; c < 4; c++) {
    char word[64];
    long first;
    length[c] = (long)strlen(t->choices[c].text);
    overlap[c] = mentions(text.ptr, bare_choice(t->choices[c].text, word), &first, &late[c]);
    /* told exactly once, and as many words in each utterance */
    assert_int_equal(overlap[c], 1);
    assert_int_equal(words_of(t->choices[c].text), words_of(t->choices[0].text));
  }
  sum->longest += share(length, t->answer);
  sum->overlap += share(overlap, t->answer);
  sum->recency += share(late, t->answer);
  sum->n++;
  if (t->distance < 64) sum->distances[t->distance]++;
  assert_non_null(strstr(d->turns[t->evidence_turn].text, t->evidence));
  assert_int_equal(t->distance, ((int)at - 1 - t->evidence_turn) / 2);
  buffer_free(&text);
}

static void next_utterance_gives_nothing_away(void **state) {
  struct dataset *set = open_set("dialogue:dialogues=500");
  struct sums sum = {0};
  int kinds = 0;
  (void)state;
  for (size_t i = 0; i < 500; i++) {
    struct dialogue d = make(set, i);
    for (size_t k = 0; k < d.n_turns; k++)
      if (d.turns[k].task == TASK_CHOOSE) score_question(&d, k, &sum);
    dialogue_free(&d);
  }
  print_message("next utterance: longest %.1f %%, overlap %.1f %%, recency %.1f %% of %d\n", 100 * sum.longest / sum.n,
                100 * sum.overlap / sum.n, 100 * sum.recency / sum.n, sum.n);
  assert_int_equal(sum.n, 500 * 5);
  assert_true(sum.longest / sum.n <= 0.35);
  assert_true(sum.overlap / sum.n <= 0.35);
  assert_true(sum.recency / sum.n <= 0.35);
  for (int i = 0; i < 64; i++) kinds += sum.distances[i] > 20;
  assert_true(kinds >= 15); /* many distances, none of them the rule */
  dataset_close(set);
}

/* Two people share no value, and the right answer is the asked person's own. */
static void the_right_answer_was_told_of_the_person_asked_for(void **state) {
  struct dataset *set = open_set("dialogue:people=6,topics=10,chat=3");
  (void)state;
  for (size_t i = 0; i < 100; i++) {
    struct dialogue d = make(set, i);
    for (size_t k = 0; k < d.n_turns; k++) {
      const struct turn *t = &d.turns[k];
      char word[64];
      if (t->task != TASK_CHOOSE) continue;
      assert_non_null(strstr(t->evidence, bare_choice(t->choices[t->answer].text, word)));
      bool named = false; /* a capitalised word of the evidence is the person in the question */
      char evidence[256];
      snprintf(evidence, sizeof evidence, "%s", t->evidence);
      for (char *w = strtok(evidence, " .,"); w; w = strtok(NULL, " .,"))
        named = named || (isupper((unsigned char)*w) && strcmp(w, word) && strstr(d.turns[k - 1].text, w));
      assert_true(named);
    }
    dialogue_free(&d);
  }
  dataset_close(set);
}

static void players_have_their_bias_and_the_answer_beats_their_move(void **state) {
  static const char *const specs[] = {"rps:player=rock,rounds=3000", "rps:player=paper,rounds=3000",
                                      "rps:player=scissors,rounds=3000"};
  (void)state;
  for (int player = 0; player < MOVES; player++) {
    struct dataset *set = open_set(specs[player]);
    struct dialogue d = make(set, 0);
    struct move_counts counts;
    int moves[MOVES] = {0}, wins = 0, shown = -1;
    moves_begin(&counts);
    for (size_t k = 1; k < d.n_turns; k += 2) {
      const struct turn *t = &d.turns[k];
      if (shown >= 0) assert_non_null(strstr(d.turns[k - 1].text, move_names[shown]));
      assert_int_equal(t->answer, (t->tie + 1) % MOVES);
      wins += moves_counting_answer(&counts) == t->answer;
      moves_add(&counts, t->tie);
      moves[t->tie]++;
      shown = t->tie;
    }
    print_message("%s: %d/%d/%d, counting wins %.1f %%\n", specs[player], moves[0], moves[1], moves[2], wins / 30.0);
    assert_in_range(moves[player], 1400, 1600);
    assert_in_range(moves[(player + 1) % MOVES], 800, 1000);
    assert_in_range(wins, 1380, 1600);
    dialogue_free(&d);
    dataset_close(set);
  }
}

static void counting_breaks_ties_by_the_latest(void **state) {
  struct move_counts c;
  (void)state;
  moves_begin(&c);
  assert_int_equal(moves_counting_answer(&c), -1);
  moves_add(&c, 0);
  assert_int_equal(moves_counting_answer(&c), 1); /* paper beats rock */
  moves_add(&c, 2);
  assert_int_equal(moves_counting_answer(&c), 0); /* one each: scissors came last, rock beats it */
  moves_add(&c, 0);
  assert_int_equal(moves_counting_answer(&c), 1);
  moves_add(&c, 1);
  moves_add(&c, 1);
  assert_int_equal(moves_counting_answer(&c), 2); /* rock 2, paper 2: paper came last */
}

static void streameval_asks_every_n_lines_for_one_further_back(void **state) {
  struct dataset *set = open_set("streameval:every=10,back=20,lines=60");
  (void)state;
  for (size_t i = 0; i < 100; i++) {
    struct dialogue d = make(set, i);
    int queries = 0;
    for (size_t k = 0; k < d.n_turns; k++) {
      const struct turn *t = &d.turns[k];
      if (t->task != TASK_GENERATE) continue;
      queries++;
      assert_int_equal(t->distance, 20);
      assert_true(t->gold_in_context);
      assert_int_equal(t->evidence_turn, (int)k - 5); /* ten lines a turn: two user turns before the one that asks */
      assert_non_null(strstr(d.turns[t->evidence_turn].text, t->evidence));
      assert_memory_equal(t->evidence, t->text, strlen(t->text)); /* the answer repeats the line as it stood */
      assert_non_null(strstr(t->evidence, t->expected));
      assert_int_equal(strlen(t->expected), 4);
    }
    assert_int_equal(queries, 4);
    dialogue_free(&d);
  }
  dataset_close(set);
}

static void streameval_limits_queries_and_takes_long_streams(void **state) {
  struct dataset *set = open_set("streameval:every=5,back=5,lines=20000,queries=3,answer=own");
  struct dialogue d = make(set, 0);
  int queries = 0;
  (void)state;
  for (size_t k = 0; k < d.n_turns; k++) {
    queries += d.turns[k].task == TASK_GENERATE;
    if (d.turns[k].task == TASK_GENERATE) assert_false(d.turns[k].gold_in_context);
  }
  assert_int_equal(queries, 3);
  assert_int_equal(d.turns[d.n_turns - 1].task, TASK_GENERATE); /* nothing after the last query */
  dialogue_free(&d);
  dataset_close(set);
  set = open_set("streameval:lines=20000"); /* more lines than there are held-out numbers */
  d = make(set, 1);
  assert_int_equal(d.n_turns, 4000);
  dialogue_free(&d);
  dataset_close(set);
}

static void story_has_its_length_and_paragraphs(void **state) {
  struct dataset *set = open_set("story:words=5000");
  struct dialogue d = make(set, 3);
  (void)state;
  assert_int_equal(d.n_turns, 1);
  assert_int_equal(d.turns[0].task, TASK_TEXT);
  assert_in_range(words_of(d.turns[0].text), 4900, 5200);
  assert_non_null(strstr(d.turns[0].text, "\n\n"));
  assert_null(strstr(d.turns[0].text, "$"));
  assert_null(strstr(d.turns[0].text, "  "));
  dialogue_free(&d);
  dataset_close(set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(next_utterance_gives_nothing_away),
      cmocka_unit_test(the_right_answer_was_told_of_the_person_asked_for),
      cmocka_unit_test(players_have_their_bias_and_the_answer_beats_their_move),
      cmocka_unit_test(counting_breaks_ties_by_the_latest),
      cmocka_unit_test(streameval_asks_every_n_lines_for_one_further_back),
      cmocka_unit_test(streameval_limits_queries_and_takes_long_streams),
      cmocka_unit_test(story_has_its_length_and_paragraphs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
