/* Training text: answers stand where the spans say, they can be known, and nothing of the benchmarks leaks in. */
#include "base/base.h"
#include "datasets/cast.h"
#include "datasets/datasets.h"
#include "datasets/generators/game.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

static struct train_line make(uint64_t seed, const char *stage, uint64_t i, size_t words) {
  struct sluice_error err = {0};
  struct train_line line = {0};
  if (train_mix_line(seed, stage, i, words, &line, &err)) fail_msg("line %d: %s", (int)i, err.message);
  return line;
}

static bool held_out(const char *word) {
  for (int k = 0; k < WORD_KINDS; k++)
    for (const char *const *w = vocabulary((enum word_kind)k)->test; *w; w++)
      if (strcasecmp(word, *w) == 0) return true;
  return false;
}

/* A four-digit number that no "line " precedes: line numbers are keys, not values, and are not split. */
static bool is_value(const char *line, const char *digits) {
  return digits - line < 5 || memcmp(digits - 5, "line ", 5) != 0;
}

static void check_separation(const struct train_line *line) {
  char word[64];
  for (const char *p = line->text; *p;) {
    size_t n = 0;
    while (isalnum((unsigned char)p[n])) n++;
    if (n == 0) {
      p++;
      continue;
    }
    assert_true(n < sizeof word);
    memcpy(word, p, n);
    word[n] = 0;
    if (held_out(word)) fail_msg("\"%s\" is held out, and stands in: %s", word, line->text);
    if (n == 4 && isdigit((unsigned char)*word) && is_value(line->text, p) && number_is_held_out(atoi(word)))
      fail_msg("%s is held out, and stands in: %s", word, line->text);
    p += n;
  }
}

static void no_word_or_number_of_the_benchmarks(void **state) {
  static const char *const stages[] = {"128", "256", "512", "1024"};
  (void)state;
  for (uint64_t i = 0; i < 1200; i++) {
    struct train_line line = make(5, stages[i % 4], i, 0);
    check_separation(&line);
    train_line_free(&line);
  }
}

static void vocabularies_are_disjoint(void **state) {
  (void)state;
  for (int k = 0; k < WORD_KINDS; k++) {
    const struct word_set *set = vocabulary((enum word_kind)k);
    for (const char *const *w = set->train; *w; w++) assert_false(held_out(*w));
    for (const char *const *w = set->test; *w; w++)
      for (const char *const *v = w + 1; *v; v++) assert_string_not_equal(*w, *v);
  }
  assert_true(word_count(vocabulary(WORD_GROCERY)->train) >= 120);
  assert_true(word_count(vocabulary(WORD_GROCERY)->test) >= 40);
  assert_true(word_count(vocabulary(WORD_NAME)->test) >= 60);
  int out = 0;
  for (int n = 1000; n < 10000; n++) out += number_is_held_out(n);
  assert_in_range(out, 1650, 1950); /* one in five of 9,000 */
}

/* Spans are ordered, inside the bot's turns, and hold one answer: a word, a number, a move, or "(B) word". */
static void check_spans(const struct train_line *line) {
  size_t last = 0;
  for (size_t s = 0; s < line->n_spans; s++) {
    size_t from = line->spans[s][0], to = line->spans[s][1];
    assert_true(last <= from && from < to && to < line->len);
    last = to;
    const char *turn = line->text + from;
    while (turn > line->text && memcmp(turn, "<|", 2)) turn--;
    assert_memory_equal(turn, "<|bot|>", 7);
    for (size_t i = from; i < to; i++)
      assert_true(isalnum((unsigned char)line->text[i]) || strchr(" ()", line->text[i]));
    assert_true(line->text[to] == '.' || memcmp(line->text + to, "<|end|>", 7) == 0);
  }
}

static void spans_hold_the_answers(void **state) {
  size_t spans = 0, turns = 0;
  (void)state;
  for (uint64_t i = 0; i < 1000; i++) {
    struct train_line line = make(1, i % 2 ? "256" : "512", i, 0);
    check_spans(&line);
    spans += line.n_spans;
    for (const char *p = line.text; (p = strstr(p, "<|user|>")); p++) turns++;
    assert_int_equal(strlen(line.text), line.len);
    train_line_free(&line);
  }
  print_message("%zu answers in %zu turns\n", spans, turns);
  assert_true(spans * 4 > turns); /* at least a quarter of the turns recall something */
}

/* Every value that is asked for was said before (a quiz is the exception: it can be known without). */
static void answers_were_said_before(void **state) {
  size_t checked = 0;
  (void)state;
  for (uint64_t i = 0; i < 500; i++) {
    struct train_line line = make(2, "256", i, 0);
    for (size_t s = 0; s < line.n_spans; s++) {
      size_t from = line.spans[s][0], n = line.spans[s][1] - from;
      char value[64], before = line.text[from];
      if (before != ' ' || n >= sizeof value) continue; /* moves and letters */
      memcpy(value, line.text + from, n);
      value[n] = 0;
      const char *question = line.text + from; /* back over the answer to the user's turn */
      while (memcmp(question, "<|user|>", 8)) question--;
      if (strncmp(question + 8, "What is the opposite", 20) == 0) continue;
      line.text[from] = 0;
      assert_non_null(strstr(line.text, value));
      line.text[from] = before;
      checked++;
    }
    train_line_free(&line);
  }
  assert_true(checked > 1000);
}

/* In every game the bot's marked moves are those of a player who counts. */
static void rounds_follow_the_count(void **state) {
  size_t rounds = 0;
  (void)state;
  for (uint64_t i = 0; i < 600; i++) {
    struct train_line line = make(3, "512", i, 0);
    struct move_counts counts;
    moves_begin(&counts);
    for (size_t s = 0; s < line.n_spans; s++) {
      const char *move = line.text + line.spans[s][0];
      if (*move == ' ' || *move == '(') continue;
      const char *question = move;
      while (memcmp(question, "<|user|>", 8)) question--;
      int told = -1;
      for (const char *p = question; p < move && told < 0; p++)
        for (int m = 0; m < MOVES; m++)
          if (memcmp(p, move_names[m], strlen(move_names[m])) == 0) told = m;
      assert_true(told >= 0);
      moves_add(&counts, told);
      const char *want = move_names[moves_counting_answer(&counts)];
      assert_memory_equal(move, want, strlen(want));
      rounds++;
    }
    train_line_free(&line);
  }
  assert_true(rounds > 1000);
}

/* The embedded model is remade from these bytes: another machine, another compiler, the same text. */
static void same_bytes_everywhere(void **state) {
  static const char *const golden[][2] = {{"128", "1bdaca131f827d68271f086713916faff92a98b43c2dfaafe58236d08a81e69b"},
                                          {"256", "ec1343bc344ccc6984988ec58c20cd817fa34d10cc23918689c89b3b40ea9a93"},
                                          {"512", "f90a086c1ef4bc45d33538f18d0e48a13d8dbffb381f4a7598930f1390f212ce"},
                                          {"1024", "9941f9d0e5e4ea12c10250da5a5ebea757dbcc49e6ffb2f9f141ab4200c62acb"}};
  (void)state;
  for (size_t g = 0; g < 4; g++) {
    struct sha256_stream *sum = sha256_begin();
    unsigned char bytes[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    for (uint64_t i = 0; i < 50; i++) {
      struct train_line line = make(1, golden[g][0], i, 0);
      sha256_add(sum, line.text, line.len);
      for (size_t s = 0; s < line.n_spans; s++) {
        char span[64];
        snprintf(span, sizeof span, "[%zu,%zu]", line.spans[s][0], line.spans[s][1]);
        sha256_add(sum, span, strlen(span));
      }
      train_line_free(&line);
    }
    sha256_end(sum, bytes);
    hex_of(bytes, sizeof bytes, hex);
    if (strcmp(hex, golden[g][1])) fail_msg("stage %s: %s", golden[g][0], hex);
  }
}

static void length_follows_the_request(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 100; i++) {
    struct train_line a = make(1, "256", i, 60), b = make(1, "256", i, 2000);
    assert_in_range(a.len, 200, 1500);
    assert_true(b.len > 6000);
    train_line_free(&a);
    train_line_free(&b);
  }
}

static void a_wrong_stage_is_named(void **state) {
  static const char *const wrong[] = {"", "long", "256x", "-5", "7", "99999999999999999999"};
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct sluice_error err = {0};
    struct train_line line = {0};
    assert_int_equal(train_mix_line(1, wrong[i], 0, 0, &line, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.message, "stage"));
    assert_null(line.text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_word_or_number_of_the_benchmarks),
      cmocka_unit_test(vocabularies_are_disjoint),
      cmocka_unit_test(spans_hold_the_answers),
      cmocka_unit_test(answers_were_said_before),
      cmocka_unit_test(rounds_follow_the_count),
      cmocka_unit_test(same_bytes_everywhere),
      cmocka_unit_test(length_follows_the_request),
      cmocka_unit_test(a_wrong_stage_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
