/* Names to datasets: spec strings, canonical forms, canonical JSON, and the same bytes everywhere. */
#include "base/base.h"
#include "datasets/datasets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void every_row_of_the_table_is_complete(void **state) {
  int n = 0;
  (void)state;
  for (const struct dataset_info *info = dataset_table(); info->name; info++, n++) {
    assert_true(*info->name && *info->summary && *info->keys && *info->license);
    assert_non_null(info->baseline);
  }
  assert_int_equal(n, 9);
}

static void canonical_strings_spell_out_defaults(void **state) {
  static const char *const cases[][2] = {
      {"grocery", "grocery:depth=random,turns=18,mentions=2,form=lettered,answer=own,seed=1,dialogues=500"},
      {"grocery:turns=3,depth=start",
       "grocery:depth=start,turns=3,mentions=2,form=lettered,answer=own,seed=1,dialogues=500"},
      {"rps:seed=9", "rps:player=all,rounds=30,answer=own,seed=9,dialogues=500"},
      {"streameval", "streameval:every=10,back=20,lines=60,queries=0,answer=gold,seed=1,dialogues=500"},
      {"dialogue", "dialogue:topics=5,people=4,chat=6,answer=own,seed=1,dialogues=500"},
      {"story:dialogues=2", "story:words=380,seed=1,dialogues=2"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct sluice_error err = {0};
    struct dataset *a, *b;
    assert_int_equal(dataset_open(cases[i][0], &a, &err), SLUICE_OK);
    assert_string_equal(dataset_canonical(a), cases[i][1]);
    assert_int_equal(dataset_open(dataset_canonical(a), &b, &err), SLUICE_OK); /* a canonical string opens itself */
    assert_string_equal(dataset_canonical(b), dataset_canonical(a));
    assert_int_equal(dataset_size(a), dataset_size(b));
    dataset_close(a);
    dataset_close(b);
  }
}

static void wrong_words_are_named_with_a_suggestion(void **state) {
  static const char *const cases[][2] = {
      {"grocry", "grocery"},
      {"", "name"},
      {"grocery:deph=start", "depth"},
      {"grocery:depth=strat", "start"},
      {"grocery:depth=", "expected one of"},
      {"grocery:turns=1001", "1000"},
      {"grocery:turns=-1", "turns"},
      {"grocery:turns=2x", "turns"},
      {"grocery:turns=99999999999999999999", "turns"},
      {"rps:player=spock", "rock"},
      {"streameval:every=0", "every"},
      {"dialogue:people=3", "people"},
      {"story:words=1", "words"},
      {"sirllm_grocery", "file=PATH"},
      {"longeval_lines:file=", "file=PATH"},
      {"sirllm_rps:file=/nonexistent/rows.jsonl", "/nonexistent/rows.jsonl"},
      {"grocery:seed", "key=value"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct sluice_error err = {0};
    struct dataset *set = NULL;
    sluice_status st = dataset_open(cases[i][0], &set, &err);
    assert_true(st == SLUICE_USAGE || st == SLUICE_IO);
    if (!strstr(err.message, cases[i][1])) fail_msg("%s: %s", cases[i][0], err.message);
    assert_null(set);
  }
}

static void a_number_past_the_end_is_an_error(void **state) {
  struct sluice_error err = {0};
  struct dataset *set;
  struct dialogue d;
  (void)state;
  assert_int_equal(dataset_open("story:dialogues=3,words=50", &set, &err), SLUICE_OK);
  assert_int_equal(dataset_dialogue(set, 2, &d, &err), SLUICE_OK);
  dialogue_free(&d);
  assert_int_equal(dataset_dialogue(set, 3, &d, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "3 dialogues"));
  dataset_close(set);
}

/* Valid JSON whose values say what the turns hold. */
static void json_is_valid_and_complete(void **state) {
  static const char *const specs[] = {"grocery", "rps:rounds=3", "streameval", "dialogue", "story:words=50"};
  (void)state;
  for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
    struct sluice_error err = {0};
    struct dataset *set;
    struct dialogue d;
    struct buffer json;
    struct json_span root, turns, id;
    buffer_init(&json, 0);
    assert_int_equal(dataset_open(specs[k], &set, &err), SLUICE_OK);
    assert_int_equal(dataset_dialogue(set, 4, &d, &err), SLUICE_OK);
    assert_int_equal(dialogue_json(&d, &json, &err), SLUICE_OK);
    struct slice text = {json.ptr, json.len};
    assert_null(memchr(json.ptr, '\n', json.len));
    assert_int_equal(json_span_root(text, &root, &err), SLUICE_OK);
    assert_true(json_span_member(text, root, "turns", &turns));
    assert_int_equal(json_span_count(text, turns), d.n_turns);
    assert_true(json_span_member(text, root, "id", &id));
    assert_memory_equal(json.ptr + id.start + 1, d.id, strlen(d.id));
    assert_string_equal(d.cluster, d.id);
    buffer_free(&json);
    dialogue_free(&d);
    dataset_close(set);
  }
}

/* A byte of any field changes the hash. */
static void the_hash_covers_every_field(void **state) {
  struct turn_choice choices[2] = {{"A", "yes"}, {"B", "no"}};
  const struct turn plain = {.role = TURN_BOT,
                             .task = TASK_CHOOSE,
                             .text = "p",
                             .metric = "acc_c",
                             .choices = choices,
                             .n_choices = 2,
                             .answer = 0,
                             .tie = -1,
                             .evidence_turn = 1,
                             .evidence = "e",
                             .distance = 2};
  struct turn variants[10];
  unsigned char sums[10][SHA256_BYTES];
  (void)state;
  for (int i = 0; i < 10; i++) variants[i] = plain;
  variants[1].text = "q";
  variants[2].metric = "acc_g";
  variants[3].n_choices = 1;
  variants[4].answer = 1;
  variants[5].tie = 1;
  variants[6].evidence_turn = 0;
  variants[7].evidence = NULL;
  variants[8].distance = -1;
  variants[9].gold_in_context = true;
  for (int i = 0; i < 10; i++) {
    struct sluice_error err = {0};
    struct dialogue d = {.id = "x", .cluster = "x", .turns = &variants[i], .n_turns = 1};
    assert_int_equal(dialogue_hash(&d, sums[i], &err), SLUICE_OK);
    for (int j = 0; j < i; j++) assert_memory_not_equal(sums[i], sums[j], SHA256_BYTES);
  }
}

static void the_same_number_gives_the_same_dialogue(void **state) {
  struct sluice_error err = {0};
  struct dataset *a, *b;
  unsigned char one[SHA256_BYTES], two[SHA256_BYTES], other[SHA256_BYTES];
  struct dialogue d;
  (void)state;
  assert_int_equal(dataset_open("dialogue:seed=4", &a, &err), SLUICE_OK);
  assert_int_equal(dataset_open("dialogue:seed=5", &b, &err), SLUICE_OK);
  dataset_dialogue(a, 499, &d, &err);
  dialogue_hash(&d, one, &err);
  dialogue_free(&d);
  dataset_dialogue(a, 3, &d, &err); /* order of reading does not matter */
  dialogue_free(&d);
  dataset_dialogue(a, 499, &d, &err);
  dialogue_hash(&d, two, &err);
  dialogue_free(&d);
  dataset_dialogue(b, 499, &d, &err);
  dialogue_hash(&d, other, &err);
  dialogue_free(&d);
  assert_memory_equal(one, two, SHA256_BYTES);
  assert_memory_not_equal(one, other, SHA256_BYTES);
  dataset_close(a);
  dataset_close(b);
}

/* Scores in ledgers are of these dialogues: a change of their bytes is a change of the benchmark. */
static void same_bytes_everywhere(void **state) {
  static const char *const golden[][2] = {
      {"grocery:depth=random", "e5cb3b2438969d1cb19013bed2c4c1d55f7e5c7f4b66c972b61c6930c176f553"},
      {"grocery:depth=start,form=letter", "aef23b7e00682834e1668399456b6a4b0492b9e1993577d2e1a0fa179e8c4f15"},
      {"grocery:form=open,seed=7", "8b792271c1c8aa58ad26d496bf52329fdc74730ecbf6d667e0bd52e5d7450492"},
      {"rps", "1a7af08895a53243215ec5bcc0a1a5efc0490930e716fe96bb35016ae81ca8be"},
      {"streameval", "2f956b4d78d365e5c14593a5ed64704b6c2dc8b7c2daf26f025356540bbbd3db"},
      {"dialogue", "f3099b90b20d90fbff0027fc835e29f7aad12733e5c7413ab39baa51a65e5d4d"},
      {"story", "dddf33c541daaad00f684c27f0c2f1ebd9ee558267c832eaf0f828eb417b7562"},
  };
  bool same = true;
  (void)state;
  for (size_t g = 0; g < sizeof golden / sizeof *golden; g++) {
    struct sluice_error err = {0};
    struct dataset *set;
    struct sha256_stream *sum = sha256_begin();
    unsigned char bytes[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    assert_int_equal(dataset_open(golden[g][0], &set, &err), SLUICE_OK);
    for (size_t i = 0; i < 20; i++) {
      struct dialogue d;
      assert_int_equal(dataset_dialogue(set, i, &d, &err), SLUICE_OK);
      assert_int_equal(dialogue_hash(&d, bytes, &err), SLUICE_OK);
      sha256_add(sum, bytes, sizeof bytes);
      dialogue_free(&d);
    }
    sha256_end(sum, bytes);
    hex_of(bytes, sizeof bytes, hex);
    if (strcmp(hex, golden[g][1])) print_message("%s: %s\n", golden[g][0], hex);
    same = same && strcmp(hex, golden[g][1]) == 0;
    dataset_close(set);
  }
  assert_true(same);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_row_of_the_table_is_complete),
      cmocka_unit_test(canonical_strings_spell_out_defaults),
      cmocka_unit_test(wrong_words_are_named_with_a_suggestion),
      cmocka_unit_test(a_number_past_the_end_is_an_error),
      cmocka_unit_test(json_is_valid_and_complete),
      cmocka_unit_test(the_hash_covers_every_field),
      cmocka_unit_test(the_same_number_gives_the_same_dialogue),
      cmocka_unit_test(same_bytes_everywhere),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
