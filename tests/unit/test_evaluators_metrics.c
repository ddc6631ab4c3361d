/* Metrics on hand-made turns, and the hostile ones. */
#include "evaluators/evaluators.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const struct turn_choice lettered[] = {{"A", "A"}, {"B", "B"}, {"C", "C"}};
static const struct turn_choice worded[] = {{NULL, " rice"}, {NULL, " brown rice"}, {NULL, " salt."}};

static void rules_disagree_where_they_should(void **state) {
  (void)state;
  const double sum[] = {-4, -6, -9}, first[] = {-3, -2, -1};
  const int tokens[] = {1, 3, 9};
  struct slice none = {"", 0};
  assert_int_equal(choice_pick(CHOICE_BY_SUM, worded, 3, sum, first, tokens, none), 0);
  assert_int_equal(choice_pick(CHOICE_BY_MEAN, worded, 3, sum, first, tokens, none), 2);
  assert_int_equal(choice_pick(CHOICE_BY_FIRST, worded, 3, sum, first, tokens, none), 2);
  /* SirLLM: the greedy string wins over the first token's log-probability. */
  assert_int_equal(choice_pick(CHOICE_BY_GREEDY, worded, 3, sum, first, tokens, slice_of("brown rice ")), 1);
  assert_int_equal(choice_pick(CHOICE_BY_GREEDY, worded, 3, sum, first, tokens, slice_of("bread")), 2);
  const double ties[] = {-1, -1, -2}, broken[] = {NAN, -INFINITY, NAN};
  assert_int_equal(choice_pick(CHOICE_BY_SUM, worded, 3, ties, NULL, NULL, none), 0);
  assert_int_equal(choice_pick(CHOICE_BY_SUM, worded, 3, broken, NULL, NULL, none), -1);
  assert_int_equal(choice_pick(CHOICE_BY_SUM, worded, 3, NULL, NULL, NULL, none), -1);
  const int zero[] = {0, 0, 0};
  assert_int_equal(choice_pick(CHOICE_BY_MEAN, worded, 3, sum, NULL, zero, none), -1);
}

static void text_is_parsed_or_left_unscored(void **state) {
  (void)state;
  const struct {
    const char *text;
    int want;
  } cases[] = {
      {"B", 1},          {" (B) ", 1},           {"The answer is (C).", 2},
      {"B) rice", 1},    {"Answer: B", 1},       {"A man said so", -1},
      {"", -1},          {"(A) or (B)", -1},     {"Both", -1},
      {"b", -1},         {"**C**", 2},           {"I think so", -1},
      {"A\nbecause", 0}, {"\xff\xfe(B)\x01", 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int got = choice_parse(lettered, 3, slice_of(cases[i].text));
    if (got != cases[i].want) fail_msg("\"%s\": %d, expected %d", cases[i].text, got, cases[i].want);
  }
  assert_int_equal(choice_parse(worded, 3, slice_of("I will buy salt. Thanks")), 2);
  assert_int_equal(choice_parse(worded, 3, slice_of("RICE")), 0);
  assert_int_equal(choice_parse(worded, 3, slice_of("brown rice")), 1);           /* the whole text */
  assert_int_equal(choice_parse(worded, 3, slice_of("some brown rice")), -1);     /* names two of them */
  assert_int_equal(choice_parse(worded, 3, slice_of("riceberry and salty")), -1); /* whole words only */
}

static void rule_names_round_trip(void **state) {
  (void)state;
  struct sluice_error err;
  for (int r = CHOICE_BY_SUM; r <= CHOICE_BY_TEXT; r++) {
    enum choice_rule got;
    assert_int_equal(choice_rule_parse(choice_rule_name((enum choice_rule)r), &got, &err), SLUICE_OK);
    assert_int_equal(got, r);
  }
  enum choice_rule got;
  assert_int_equal(choice_rule_parse("frist", &got, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "first"));
}

static struct turn_score score(const struct turn *t, int chosen, const char *output) {
  struct scored_turn in = {t, chosen, slice_of(output)};
  struct turn_score out;
  const struct evaluator *e = evaluator_for(t);
  assert_non_null(e);
  e->score(&in, &out);
  assert_non_null(out.reason);
  return out;
}

static void labels_keep_their_meaning(void **state) {
  (void)state;
  struct turn t = {.task = TASK_CHOOSE, .metric = "acc_g", .choices = lettered, .n_choices = 3, .answer = 1, .tie = -1};
  assert_int_equal(score(&t, 1, "").label, SCORE_RIGHT);
  assert_int_equal(score(&t, 0, "").label, SCORE_WRONG);
  assert_int_equal(score(&t, -1, "").label, SCORE_UNSCORED); /* never a default */
  assert_true(isnan(score(&t, -1, "").value));
  assert_int_equal(score(&t, 3, "").label, SCORE_UNSCORED);
  t.answer = -1;
  assert_int_equal(score(&t, 1, "").label, SCORE_UNSCORED);
  struct turn rps = {.task = TASK_CHOOSE, .metric = "rps", .choices = lettered, .n_choices = 3, .answer = 1, .tie = 0};
  assert_int_equal(score(&rps, 1, "").label, SCORE_WIN);
  assert_int_equal(score(&rps, 0, "").label, SCORE_TIE);
  assert_int_equal(score(&rps, 2, "").label, SCORE_LOSE);
  assert_true(score(&rps, 0, "").value == 0);
  struct turn feed = {.task = TASK_FEED};
  assert_null(evaluator_for(&feed));
  struct turn open = {.task = TASK_GENERATE, .metric = "recall", .expected = "brown rice"};
  assert_int_equal(score(&open, -1, "It was Brown\n rice.").label, SCORE_RIGHT);
  assert_int_equal(score(&open, -1, "It was brown riceberry").label, SCORE_WRONG);
  assert_int_equal(score(&open, -1, "").label, SCORE_WRONG);
}

static void last_integer_is_found(void **state) {
  (void)state;
  const struct {
    const char *text;
    bool found;
    int64_t want;
  } cases[] = {
      {"line 3 holds <41872>.", true, 41872},
      {"is 1,024.", true, 1024},
      {"1,2,3", true, 3},
      {"12,3456", true, 3456},
      {"10-5", true, 5},
      {"it is -5", true, -5},
      {"none", false, 0},
      {"7 then 99999999999999999999", false, 0}, /* the last one is out of range: no answer, not the one before */
      {"9223372036854775807", true, INT64_MAX},
      {"a1b2", true, 2},
      {"1234,567", true, 567},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t got = 0;
    bool found = number_last(slice_of(cases[i].text), &got);
    if (found != cases[i].found || (found && got != cases[i].want))
      fail_msg("\"%s\": %d %lld", cases[i].text, found, (long long)got);
  }
  struct turn t = {.task = TASK_GENERATE, .metric = "exact", .expected = "41872"};
  assert_int_equal(score(&t, -1, "The number is 41,872").label, SCORE_RIGHT);
  assert_int_equal(score(&t, -1, "41872 or 3").label, SCORE_WRONG);
  struct slice nul = {"x\0"
                      "41872",
                      7};
  int64_t got;
  assert_true(number_last(nul, &got) && got == 41872);
}

static void buckets_cover_everything(void **state) {
  (void)state;
  assert_int_equal(distance_bucket(-1), -1);
  for (int d = 0; d < 5000; d++) {
    int low, high, b = distance_bucket(d);
    distance_range(b, &low, &high);
    assert_true(low <= d && d <= high);
  }
  assert_int_equal(distance_bucket(INT_MAX), DISTANCE_BUCKETS - 1);
  uint64_t end = 0;
  for (int b = 0; b < POSITION_BUCKETS; b++) {
    uint64_t start, next;
    position_range(b, &start, &next);
    assert_true(start == end && next > start);
    assert_int_equal(position_bucket(start), b);
    assert_int_equal(position_bucket(next - 1), b);
    end = next;
  }
  assert_true(end == UINT64_MAX && position_bucket(4000000) < 40);
}

static void perplexity_is_the_exponent_of_the_mean(void **state) {
  (void)state;
  struct perplexity p;
  perplexity_begin(&p);
  for (uint64_t i = 0; i < 1000; i++) perplexity_add(&p, i, log(8));
  assert_true(fabs(perplexity_value(p.nats, p.tokens) - 8) < 1e-9);
  uint64_t tokens = 0;
  for (int b = 0; b < POSITION_BUCKETS; b++) tokens += p.buckets[b].tokens;
  assert_int_equal(tokens, 1000);
  perplexity_add(&p, 5, INFINITY);
  assert_true(isfinite(p.nats) && p.nats > 1e4);
  assert_true(isnan(perplexity_value(0, 0)));
}

static void latency_follows_its_definitions(void **state) {
  (void)state;
  struct sluice_error err;
  struct latency_summary s;
  /* 11 tokens: the first after 100 ms, the last after 1,100 ms: TPOT is 100 ms, not 1100 / 11. */
  struct latency_sample one = {1000, 1000 + 100000000, 1000 + 1100000000, 50, 11};
  assert_int_equal(latency_summarise(&one, 1, &s, &err), SLUICE_OK);
  assert_true(fabs(s.ttft.p50 - 100) < 1e-9 && fabs(s.tpot.p50 - 100) < 1e-9 && fabs(s.e2e.p50 - 1100) < 1e-9);
  assert_true(fabs(s.output_tokens_per_second - 10) < 1e-9 && fabs(s.prompt_tokens_per_second - 500) < 1e-9);
  assert_true(isnan(s.ttft.p90) && isnan(s.ttft.p99));
  struct latency_sample many[100];
  for (int i = 0; i < 100; i++) many[i] = (struct latency_sample){0, (i + 1) * 1000000, (i + 1) * 1000000, 1, 1};
  assert_int_equal(latency_summarise(many, 100, &s, &err), SLUICE_OK);
  assert_true(fabs(s.ttft.p99 - 99.01) < 1e-9 && s.tpot.n == 0 && isnan(s.tpot.p50)); /* one token has no TPOT */
  many[0].ended_ns = -5;                                                              /* a clock that ran backwards */
  many[1].first_token_ns = 0;                                                         /* no token came */
  assert_int_equal(latency_summarise(many, 100, &s, &err), SLUICE_OK);
  assert_true(s.ignored == 1 && s.e2e.n == 99 && s.ttft.n == 98 && isnan(s.ttft.p99));
  assert_int_equal(latency_summarise(many, 0, &s, &err), SLUICE_OK);
  assert_true(isnan(s.e2e.mean) && isnan(s.output_tokens_per_second));
}

static void bytes_and_fronts(void **state) {
  (void)state;
  struct sluice_error err;
  const uint64_t bytes[] = {10, 40, 20};
  struct kv_bytes_summary k;
  assert_int_equal(kv_bytes_summarise(bytes, 3, &k, &err), SLUICE_OK);
  assert_true(k.max == 40 && k.median == 20);
  const double x[] = {1, 2, 2, 3, 4, NAN}, y[] = {.2, .5, .4, .5, .9, 1};
  unsigned char keep[6];
  pareto_front(x, y, 6, keep);
  const unsigned char want[] = {1, 1, 0, 0, 1, 0};
  assert_memory_equal(keep, want, 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rules_disagree_where_they_should),
      cmocka_unit_test(text_is_parsed_or_left_unscored),
      cmocka_unit_test(rule_names_round_trip),
      cmocka_unit_test(labels_keep_their_meaning),
      cmocka_unit_test(last_integer_is_found),
      cmocka_unit_test(buckets_cover_everything),
      cmocka_unit_test(perplexity_is_the_exponent_of_the_mean),
      cmocka_unit_test(latency_follows_its_definitions),
      cmocka_unit_test(bytes_and_fronts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
