/* The published files, read as they are, and files that are not what they should be. */
#include "base/base.h"
#include "datasets/datasets.h"
#include "sample_data.h"

#include <stdio.h>

static struct dataset *open_set(const char *spec) {
  struct sluice_error err = {0};
  struct dataset *set = NULL;
  if (dataset_open(spec, &set, &err)) fail_msg("%s: %s", spec, err.message);
  return set;
}

/* "NAME:file=PATH,REST" for a file of the shared data; skips the test when it is not there. */
static struct dataset *open_sample(const char *name, const char *file, const char *rest) {
  char *path = sample_path(file);
  char *spec = sluice_format("%s:file=%s%s", name, path, rest);
  struct dataset *set = open_set(spec);
  free(spec);
  free(path);
  return set;
}

static struct dialogue make(const struct dataset *set, size_t i) {
  struct sluice_error err = {0};
  struct dialogue d;
  if (dataset_dialogue(set, i, &d, &err)) fail_msg("%s", err.message);
  return d;
}

static void grocery_as_published(void **state) {
  struct dataset *set = open_sample("sirllm_grocery", "sirllm/grocery_keys/keys.jsonl", "");
  size_t quizzes = 0, recalls = 0;
  (void)state;
  assert_int_equal(dataset_size(set), 548);
  for (size_t i = 0; i < 548; i++) {
    struct dialogue d = make(set, i);
    assert_int_equal(d.n_turns, 44); /* 22 rows: key, 20 questions, recall */
    for (size_t k = 0; k < d.n_turns; k++) {
      quizzes += d.turns[k].task == TASK_CHOOSE && strcmp(d.turns[k].metric, "acc_c") == 0;
      recalls += d.turns[k].task == TASK_CHOOSE && strcmp(d.turns[k].metric, "acc_g") == 0;
    }
    const struct turn *t = &d.turns[43];
    assert_int_equal(t->evidence_turn, 0);
    assert_int_equal(t->distance, 21);
    assert_int_equal(t->n_choices, 4);
    assert_string_equal(t->evidence, d.turns[0].text);
    assert_string_equal(d.turns[1].text, "OK");
    dialogue_free(&d);
  }
  assert_int_equal(quizzes, 10960);
  assert_int_equal(recalls, 548);
  struct dialogue d = make(set, 0);
  assert_string_equal(d.turns[0].text, "I want you to buy the GROCERY: [chocolate]. ");
  assert_string_equal(d.turns[42].text,
                      "Which one is the GROCERY that I want you to buy earlier? Choices:  (A) vanilla "
                      "extract (B) tea (C) chocolate (D) eggs");
  assert_int_equal(d.turns[43].answer, 2);
  assert_string_equal(d.turns[43].choices[2].text, "C");
  dialogue_free(&d);
  dataset_close(set);
}

static void choices_can_be_scored_by_their_text(void **state) {
  struct dataset *set = open_sample("sirllm_grocery", "sirllm/grocery_keys/keys.jsonl", ",score=text");
  struct dialogue d = make(set, 0);
  (void)state;
  assert_string_equal(d.turns[43].choices[2].text, "chocolate");
  assert_string_equal(d.turns[43].choices[2].label, "C");
  dialogue_free(&d);
  dataset_close(set);
}

static void dailydialog_as_published(void **state) {
  struct dataset *set = open_sample("sirllm_dailydialog", "sirllm/dailydialog/dailydialog.jsonl", "");
  size_t items = 0;
  (void)state;
  assert_int_equal(dataset_size(set), 1000);
  for (size_t i = 0; i < 1000; i++) {
    struct dialogue d = make(set, i);
    items += d.n_turns / 2;
    for (size_t k = 1; k < d.n_turns; k += 2) assert_in_range(d.turns[k].answer, 0, 3);
    dialogue_free(&d);
  }
  assert_int_equal(items, 3700);
  struct dialogue d = make(set, 0);
  assert_int_equal(d.n_turns, 12);
  assert_memory_equal(d.turns[0].text, "Choose the best response for the input: Hey man , you wanna buy some weed ? ",
                      76);
  assert_non_null(strstr(d.turns[0].text, " Choices:  (A) "));
  dialogue_free(&d);
  dataset_close(set);
  set = open_sample("sirllm_dailydialog", "sirllm/dailydialog/dailydialog.jsonl", ",items=2000");
  assert_int_equal(dataset_size(set), 519); /* dialogues among the first 2,000 rows, as the published code counts */
  dataset_close(set);
}

/* Beating the most frequent move so far wins what the project's reference notes measured on the same files. */
static void players_as_published(void **state) {
  static const char *const names[] = {"rock", "paper", "scissors"};
  static const int wins[] = {
      4955, 5015, 5200}; /* of 10,000: counting over the first 2,000 rounds; what breaks ties is not on record */
  (void)state;
  for (int p = 0; p < 3; p++) {
    char file[128];
    snprintf(file, sizeof file, "sirllm/rock_paper_scissors/rock_paper_scissors_dominant_%s.jsonl", names[p]);
    struct dataset *set = open_sample("sirllm_rps", file, "");
    assert_int_equal(dataset_size(set), 1);
    struct dialogue d = make(set, 0);
    assert_int_equal(d.n_turns, 6000);
    int seen[3] = {0}, won = 0;
    for (size_t k = 1; k < d.n_turns; k += 2) {
      const struct turn *t = &d.turns[k];
      assert_int_equal(t->answer, (t->tie + 1) % 3);
      int most = 0;
      for (int m = 1; m < 3; m++)
        if (seen[m] > seen[most]) most = m;
      if (k < 4000) won += (most + 1) % 3 == t->answer;
      seen[t->tie]++;
    }
    print_message("%s: counting wins %.2f %% of 2,000\n", names[p], won / 20.0);
    assert_in_range(won * 5, wins[p] - 10, wins[p] + 10);
    assert_memory_equal(d.turns[0].text, "Please play a game of Rock-Paper-Scissors. Choices: (A) rock", 60);
    char told[64];
    snprintf(told, sizeof told, "I chose [%s]. Analyze my preferences", names[d.turns[1].tie]);
    assert_memory_equal(d.turns[2].text, told, strlen(told));
    dialogue_free(&d);
    dataset_close(set);
  }
}

static void longeval_lines_as_published(void **state) {
  static const int lines[] = {200, 300, 400, 500, 600, 680, 700, 800, 900, 1000, 1100, 1200, 1350};
  (void)state;
  for (size_t f = 0; f < sizeof lines / sizeof *lines; f++) {
    char file[128];
    snprintf(file, sizeof file, "longeval/lines/testcases/%d_lines.jsonl", lines[f]);
    struct dataset *set = open_sample("longeval_lines", file, "");
    assert_int_equal(dataset_size(set), 50);
    for (size_t i = 0; i < 50; i++) {
      struct dialogue d = make(set, i);
      const struct turn *t = &d.turns[1];
      assert_int_equal(d.n_turns, 2);
      assert_int_equal(t->task, TASK_GENERATE);
      assert_non_null(strstr(t->evidence, t->expected));
      assert_non_null(strstr(d.turns[0].text, t->evidence));
      assert_in_range(t->distance, 0, lines[f] - 1);
      dialogue_free(&d);
    }
    dataset_close(set);
  }
}

/* ---- broken input, made here ------------------------------------------------------------------------------------ */

#define GOOD                                                                                                           \
  "{\"id\": \"key_0\", \"question\": {\"stem\": \"s\", \"choices\": [{\"text\": \"OK\", \"label\": \"A\"}]}, "         \
  "\"answerKey\": \"A\"}\n"

/* Opens `name` on a file with these bytes: the error's status, with the message in text. */
static sluice_status open_bytes(const char *name, const char *bytes, size_t len, char text[768]) {
  struct sluice_error err = {0};
  struct dataset *set = NULL;
  char *path = scratch_path("rows.jsonl");
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, len, f), len);
  fclose(f);
  char *spec = sluice_format("%s:file=%s", name, path);
  sluice_status st = dataset_open(spec, &set, &err);
  if (!st) { /* what opens must also be readable to the end */
    for (size_t i = 0; i < dataset_size(set); i++) {
      struct dialogue d;
      assert_int_equal(dataset_dialogue(set, i, &d, &err), SLUICE_OK);
      dialogue_free(&d);
    }
    dataset_close(set);
  }
  snprintf(text, 768, "%s", err.message);
  remove(path);
  free(spec);
  free(path);
  return st;
}

struct broken {
  const char *name, *bytes, *want, *place;
};

static void broken_rows_name_file_and_line(void **state) {
  static const struct broken cases[] = {
      {"sirllm_grocery", "", "no rows", ""},
      {"sirllm_grocery", "\n \r\n\t\n", "no rows", ""},
      {"sirllm_grocery", GOOD "{\"id\": 3", "", ":2: "},
      {"sirllm_grocery", GOOD "\n\n[1]\n", "expected a JSON object", ":4: "},
      {"sirllm_grocery", GOOD "\"text\"\n", "expected a JSON object", ":2: "},
      {"sirllm_grocery", "{\"id\": 1}\n", "\"question.stem\" is missing", ":1: "},
      {"sirllm_grocery", "{\"id\": {}, \"question\": 1}\n", "\"id\" is an object; expected a string", ":1: "},
      {"sirllm_grocery", "{\"id\": \"a\", \"question\": {\"stem\": \"s\", \"choices\": {}}, \"answerKey\": \"A\"}\n",
       "expected an array", ":1: "},
      {"sirllm_grocery", "{\"id\": \"a\", \"question\": {\"stem\": \"s\", \"choices\": []}, \"answerKey\": \"A\"}\n",
       "0 choices", ":1: "},
      {"sirllm_grocery",
       "{\"id\": \"a\", \"question\": {\"stem\": \"s\", \"choices\": [{\"label\": \"A\"}]}, \"answerKey\": \"A\"}\n",
       "question.choices.0.text", ":1: "},
      {"sirllm_grocery",
       GOOD GOOD "{\"id\": \"a\", \"question\": {\"stem\": \"s\", \"choices\": [{\"text\": \"x\", \"label\": \"A\"}]}, "
                 "\"answerKey\": \"Z\"}",
       "\"Z\", which is no label", ":3: "},
      {"sirllm_grocery",
       "{\"id\": \"a\", \"question\": {\"stem\": \"a\\u0000b\", \"choices\": [{\"text\": \"x\", \"label\": \"A\"}]}, "
       "\"answerKey\": "
       "\"A\"}",
       "U+0000", ":1: "},
      {"sirllm_grocery", GOOD "{\"id\": \"\xff\"}\n", "UTF-8 at byte 8", ":2: "},
      {"sirllm_grocery", GOOD "{\"id\": \"\xc3", "UTF-8", ":2: "}, /* cut inside a character */
      {"sirllm_rps", GOOD, "\"user_choice\" is missing", ":1: "},
      {"longeval_lines", GOOD, "\"prompt\" is missing", ":1: "},
      {"longeval_lines", "{\"prompt\": \"line a\", \"expected_number\": 1.5, \"correct_line\": \"line a\"}",
       "whole number", ":1: "},
      {"longeval_lines", "{\"prompt\": \"line a\", \"expected_number\": 1e99, \"correct_line\": \"line a\"}",
       "whole number", ":1: "},
      {"longeval_lines",
       "{\"prompt\": \"line a\", \"expected_number\": 99999999999999999999999, \"correct_line\": \"line a\"}",
       "whole number", ":1: "},
      {"longeval_lines", "{\"prompt\": \"line a\", \"expected_number\": 7, \"correct_line\": \"line b\"}",
       "does not stand in", ":1: "},
      {"longeval_lines", "{\"prompt\": \"line a\", \"expected_number\": 7, \"correct_line\": \"\\n\"}",
       "does not stand in", ":1: "},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[768];
    assert_int_equal(open_bytes(cases[i].name, cases[i].bytes, strlen(cases[i].bytes), text), SLUICE_INPUT);
    if (!strstr(text, "rows.jsonl") || !strstr(text, cases[i].want) || !strstr(text, cases[i].place))
      fail_msg("case %zu: %s", i, text);
  }
}

static void zero_bytes_and_deep_nesting_are_refused(void **state) {
  char text[768], zero[] = GOOD "{\"id\": \"\0\"}\n", deep[4000];
  (void)state;
  assert_int_equal(open_bytes("sirllm_grocery", zero, sizeof zero - 1, text), SLUICE_INPUT);
  assert_non_null(strstr(text, ":2: "));
  memset(deep, '[', sizeof deep);
  memcpy(deep, "{\"a\":", 5);
  assert_int_equal(open_bytes("sirllm_grocery", deep, sizeof deep, text), SLUICE_INPUT);
  assert_non_null(strstr(text, ":1: "));
}

/* A file cut anywhere gives an error that names its last line, or is whole up to there; never a crash. */
static void truncation_anywhere_is_an_error(void **state) {
  static const char row[] = GOOD;
  size_t len = sizeof row - 1;
  (void)state;
  for (size_t cut = 1; cut < len; cut++) {
    char text[768];
    sluice_status st = open_bytes("sirllm_grocery", row, cut, text);
    if (cut == len - 1)
      assert_int_equal(st, SLUICE_OK); /* only the newline is gone */
    else
      assert_int_equal(st, SLUICE_INPUT);
  }
}

/* Bytes changed at random: an error or a dataset, never a crash (the sanitizers watch). */
static void damaged_bytes_never_crash(void **state) {
  static const char *const names[] = {"sirllm_grocery", "sirllm_rps", "sirllm_dailydialog", "longeval_lines"};
  static const char rows[] =
      GOOD "{\"id\": 3, \"question\": {\"stem\": \"a \\u00e9\", \"choices\": [{\"text\": \"x\", \"label\": \"A\"}]}, "
           "\"user_choice\": \"A\", \"answerKey\": \"A\"}\n"
           "{\"prompt\": \"line a: 7\", \"expected_number\": 7, \"correct_line\": \"line a: 7\\n\"}\n";
  static const char nasty[] = "\"\\{}[]:,\0\n\xff\xc3u0e-9. tn";
  struct rng r;
  char *path = scratch_path("damaged.jsonl");
  (void)state;
  rng_seed(&r, 11);
  for (int round = 0; round < 1500; round++) {
    char bytes[sizeof rows];
    memcpy(bytes, rows, sizeof rows);
    for (uint32_t k = 0, n = 1 + rng_below(&r, 4); k < n; k++)
      bytes[rng_below(&r, sizeof rows - 1)] = nasty[rng_below(&r, sizeof nasty - 1)];
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(bytes, 1, sizeof rows - 1 - rng_below(&r, 40), f);
    fclose(f);
    char *spec = sluice_format("%s:file=%s", names[round % 4], path);
    struct sluice_error err = {0};
    struct dataset *set;
    struct dialogue d;
    if (dataset_open(spec, &set, &err) == SLUICE_OK) {
      if (dataset_dialogue(set, 0, &d, &err) == SLUICE_OK) dialogue_free(&d);
      dataset_close(set);
    } else {
      assert_non_null(strstr(err.message, "damaged.jsonl"));
    }
    free(spec);
  }
  remove(path);
  free(path);
}

static void byte_order_mark_and_carriage_returns_are_read(void **state) {
  static const char bytes[] = "\xef\xbb\xbf" GOOD "\r\n" GOOD "\r\n";
  char text[768];
  (void)state;
  assert_int_equal(open_bytes("sirllm_grocery", bytes, sizeof bytes - 1, text), SLUICE_OK);
}

static void rows_group_by_the_published_rule(void **state) {
  struct sluice_error err = {0};
  static const char row[] = "{\"id\": \"%s\", \"question\": {\"stem\": \"s\", \"choices\": [{\"text\": \"x\", "
                            "\"label\": \"A\"}]}, \"answerKey\": \"A\"}\n";
  static const char *const ids[] = {"0_1", "0_3", "1_1", "10_1", "1_1"};
  char bytes[2048] = "", *path = scratch_path("groups,of.jsonl"); /* a comma has to be escaped in a spec */
  char *spec, *escaped = scratch_path("groups\\,of.jsonl");
  struct dataset *set;
  (void)state;
  for (size_t i = 0; i < 5; i++) snprintf(bytes + strlen(bytes), sizeof bytes - strlen(bytes), row, ids[i]);
  assert_int_equal(file_write_atomic(path, bytes, strlen(bytes), &err), SLUICE_OK);
  spec = sluice_format("sirllm_dailydialog:file=%s", escaped);
  set = open_set(spec);
  assert_int_equal(dataset_size(set), 4); /* a run of rows is a dialogue; the same prefix later is another one */
  struct dataset *again = open_set(dataset_canonical(set));
  assert_string_equal(dataset_canonical(again), dataset_canonical(set));
  dataset_close(again);
  dataset_close(set);
  remove(path);
  free(spec);
  free(path);
  free(escaped);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(grocery_as_published),
      cmocka_unit_test(choices_can_be_scored_by_their_text),
      cmocka_unit_test(dailydialog_as_published),
      cmocka_unit_test(players_as_published),
      cmocka_unit_test(longeval_lines_as_published),
      cmocka_unit_test(broken_rows_name_file_and_line),
      cmocka_unit_test(zero_bytes_and_deep_nesting_are_refused),
      cmocka_unit_test(truncation_anywhere_is_an_error),
      cmocka_unit_test(damaged_bytes_never_crash),
      cmocka_unit_test(byte_order_mark_and_carriage_returns_are_read),
      cmocka_unit_test(rows_group_by_the_published_rule),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
