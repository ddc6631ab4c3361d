/* Comparisons: identical outputs pass, planted losses are found, what is missing is never a pass. */
#include "runner_fixture.h"

#include "runner/score.h"

#include <math.h>

static const char many[] =
    "{\"name\":\"c\",\"engines\":{\"e\":{\"model\":\"%s\",\"jobs\":1}},\"policies\":[\"full\",\"window:budget=40\","
    "\"random:budget=40\"],"
    "\"benchmarks\":[{\"name\":\"r\",\"data\":\"rps:rounds=4\",\"n\":24},{\"name\":\"s\",\"data\":\"story:words=40\","
    "\"n\":6}]}";
static const struct suite_gate gate = {.confidence = 0.95, .margin = 0.05, .min_effect = 0.02};

/* Two runs of one plan, scored. The second is there to be spoiled. */
static struct ledger *two_runs(struct runner_fixture *f, struct compare_side *a, struct compare_side *b) {
  struct ledger *l;
  struct run_summary sum;
  struct score_summary scores;
  struct run_options o = {.quiet = true, .fresh = true};
  fixture_remove_ledger(f);
  fixture_plan(f, many, &(struct plan_options){0});
  MUST(ledger_open(f->ledger_path, LEDGER_CREATE, NULL, &l, &fixture_error));
  MUST(ledger_run(l, "PRAGMA synchronous = OFF", LEDGER_NO_VALUES, &fixture_error));
  *a = *b = (struct compare_side){.ledger = l};
  MUST(runner_run(l, f->plan, &o, &sum, &fixture_error));
  memcpy(a->run_id, sum.run_id, sizeof a->run_id);
  MUST(runner_run(l, f->plan, &o, &sum, &fixture_error));
  memcpy(b->run_id, sum.run_id, sizeof b->run_id);
  assert_string_not_equal(a->run_id, b->run_id);
  MUST(runner_score(l, NULL, &scores, &fixture_error));
  return l;
}

static void done(struct runner_fixture *f, struct ledger *l, struct comparison *c) {
  comparison_free(c);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
}

static const struct compare_row *row_of(const struct comparison *c, const char *label, const char *metric) {
  for (size_t i = 0; i < c->n_rows; i++)
    if (strstr(c->rows[i].label_b, label) && !strcmp(c->rows[i].metric, metric)) return &c->rows[i];
  fail_msg("no row %s %s", label, metric);
  return NULL;
}

static void identical_outputs_pass(void **state) {
  struct compare_side a, b;
  struct comparison *c;
  struct ledger *l = two_runs(*state, &a, &b);
  MUST(runner_compare(&a, &b, &gate, &c, &fixture_error));
  assert_string_equal(c->verdict, "PASS");
  assert_int_equal(c->exit_code, 0);
  assert_int_equal(c->n_rows, 6);
  for (size_t i = 0; i < c->n_rows; i++) {
    assert_true(c->rows[i].identical);
    assert_int_equal(c->rows[i].n_flips, 0);
    assert_true(c->rows[i].stat.delta.lo < c->rows[i].stat.delta.hi); /* 24 agreeing dialogues prove no zero */
  }
  done(*state, l, c);
}

/* What a regression looks like in the record: right answers that became wrong in most dialogues of one cell. */
static void a_planted_loss_is_found_and_its_flips_come_first(void **state) {
  struct compare_side a, b;
  struct comparison *c;
  struct ledger *l = two_runs(*state, &a, &b);
  MUST(ledger_run(
      l,
      "UPDATE score SET value = 1, label = 'win' WHERE metric = 'rps' AND attempt_id IN (SELECT a.id FROM attempt a"
      " JOIN cell c ON c.id = a.cell_id WHERE c.run_id = ?1 AND c.policy = 'full')",
      LEDGER_VALUES(lv_text(a.run_id)), &fixture_error));
  MUST(ledger_run(
      l,
      "UPDATE score SET value = turn_no % 4 = 1, label = iif(turn_no % 4 = 1, 'win', 'lose') WHERE metric = 'rps' AND"
      " attempt_id IN (SELECT a.id FROM attempt a JOIN cell c ON c.id = a.cell_id WHERE c.run_id = ?1 AND c.policy ="
      " 'full')",
      LEDGER_VALUES(lv_text(b.run_id)), &fixture_error));
  MUST(ledger_run(
      l,
      "UPDATE attempt_end SET out_hash = zeroblob(32) WHERE attempt_id IN (SELECT a.id FROM attempt a JOIN cell c ON"
      " c.id = a.cell_id WHERE c.run_id = ?1 AND c.policy = 'full')",
      LEDGER_VALUES(lv_text(b.run_id)), &fixture_error));
  MUST(runner_compare(&a, &b, &gate, &c, &fixture_error));
  assert_string_equal(c->verdict, "REGRESSED");
  assert_int_equal(c->exit_code, 3);
  const struct compare_row *row = row_of(c, "full", "rps");
  assert_int_equal(row->verdict, GATE_REGRESSED);
  assert_true(row->stat.delta.value < -0.3);
  assert_true(row->stat.delta.hi < 0);
  assert_int_equal(row->n_flips, row->worse);
  assert_true(row->worse >= 24);
  assert_true(row->flips[0].a == 1 && row->flips[0].b == 0);
  assert_true(row_of(c, "window", "rps")->identical);
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  MUST(comparison_print(c, false, 3, out, &fixture_error));
  fclose(out);
  assert_true(strncmp(text, "REGRESSED", 9) == 0);
  assert_true(strstr(text, "flips:") < strstr(text, "cell (B)"));
  free(text);
  out = open_memstream(&text, &len);
  MUST(comparison_print(c, true, 3, out, &fixture_error));
  fclose(out);
  struct json_span root, verdict;
  MUST(json_span_root((struct slice){text, len}, &root, &fixture_error));
  assert_true(json_span_path((struct slice){text, len}, root, "rows.0.verdict", &verdict));
  free(text);
  MUST(comparison_record(c, l, b.run_id, "good", &fixture_error));
  int64_t n;
  MUST(ledger_query_int(l, "SELECT count(*) FROM gate_result WHERE verdict = 'REGRESSED' AND reference = 'good'",
                        LEDGER_NO_VALUES, 0, &n, &fixture_error));
  assert_int_equal(n, 1);
  done(*state, l, c);
}

static void higher_perplexity_is_worse(void **state) {
  struct compare_side a, b;
  struct comparison *c;
  struct ledger *l = two_runs(*state, &a, &b);
  MUST(ledger_run(
      l,
      "UPDATE score SET value = value + 0.5 + 0.01 * (attempt_id % 3) WHERE metric = 'perplexity' AND attempt_id IN"
      " (SELECT a.id FROM attempt a JOIN cell c ON c.id = a.cell_id WHERE c.run_id = ?1)",
      LEDGER_VALUES(lv_text(b.run_id)), &fixture_error));
  MUST(ledger_run(
      l,
      "UPDATE attempt_end SET out_hash = zeroblob(32) WHERE attempt_id IN (SELECT a.id FROM attempt a JOIN cell c ON"
      " c.id = a.cell_id WHERE c.run_id = ?1 AND c.benchmark = 's')",
      LEDGER_VALUES(lv_text(b.run_id)), &fixture_error));
  MUST(runner_compare(&a, &b, &gate, &c, &fixture_error));
  const struct compare_row *row = row_of(c, "full", "perplexity");
  assert_true(row->lower_is_better);
  assert_true(row->b > row->a);
  assert_true(row->stat.delta.value < -0.45);
  assert_true(row->stat.delta.hi < 0);
  /* Six dialogues: the smallest exact p is 1/32, and Holm's over six rows is above 5 %: said, not hidden. */
  assert_int_equal(c->exit_code, 5);
  done(*state, l, c);
}

static void two_policies_of_one_run_pair_by_the_rest(void **state) {
  struct compare_side a, b;
  struct comparison *c;
  struct ledger *l = two_runs(*state, &a, &b);
  struct compare_side x = {.ledger = l, .policy = "full"}, y = {.ledger = l, .policy = "window*"};
  memcpy(x.run_id, a.run_id, sizeof x.run_id);
  memcpy(y.run_id, a.run_id, sizeof y.run_id);
  MUST(runner_compare(&x, &y, &gate, &c, &fixture_error));
  assert_int_equal(c->n_rows, 2);
  assert_int_equal(row_of(c, "window", "rps")->stat.delta.clusters, 24);
  assert_int_equal(c->unmatched_a + c->unmatched_b, 0);
  comparison_free(c);
  struct sluice_error err; /* a pattern that fits both policies is no pairing */
  y.policy = "*";
  assert_int_equal(runner_compare(&x, &y, &gate, &c, &err), SLUICE_USAGE);
  done(*state, l, NULL);
}

static void what_is_missing_never_passes(void **state) {
  struct compare_side a, b;
  struct comparison *c;
  struct ledger *l = two_runs(*state, &a, &b);
  /* An error takes a dialogue out of B: incomplete. */
  MUST(ledger_run(l,
                  "UPDATE attempt_end SET state = 'error', error_class = 'network' WHERE attempt_id = (SELECT max(id) "
                  "FROM attempt)",
                  LEDGER_NO_VALUES, &fixture_error));
  MUST(runner_compare(&a, &b, &gate, &c, &fixture_error));
  assert_string_equal(c->verdict, "INCOMPLETE");
  assert_int_equal(c->exit_code, 4);
  comparison_free(c);
  /* A cell of A that B does not have: not comparable. */
  MUST(ledger_run(l, "UPDATE attempt_end SET state = 'done', error_class = NULL WHERE state = 'error'",
                  LEDGER_NO_VALUES, &fixture_error));
  MUST(ledger_run(l, "UPDATE cell SET benchmark = 'gone' WHERE run_id = ?1 AND benchmark = 's' AND policy = 'full'",
                  LEDGER_VALUES(lv_text(b.run_id)), &fixture_error));
  MUST(runner_compare(&a, &b, &gate, &c, &fixture_error));
  assert_string_equal(c->verdict, "INCOMPARABLE");
  assert_int_equal(c->exit_code, 6);
  assert_int_equal(c->unmatched_a, 1);
  assert_int_equal(c->unmatched_b, 1);
  comparison_free(c);
  /* Scores of another scorer version are another series. */
  MUST(ledger_run(l, "UPDATE scorer SET version = version + 1", LEDGER_NO_VALUES, &fixture_error));
  MUST(runner_compare(&a, &b, &gate, &c, &fixture_error));
  MUST(ledger_run(l, "DELETE FROM score", LEDGER_NO_VALUES, &fixture_error));
  comparison_free(c);
  MUST(runner_compare(&a, &b, &gate, &c, &fixture_error));
  assert_int_equal(c->exit_code, 6);
  assert_non_null(strstr(c->rows[0].incomparable, "sluice score"));
  done(*state, l, c);
}

static void budgets_are_read_from_canonical_policies(void **state) {
  (void)state;
  assert_int_equal(kept_tokens("full"), 0);
  assert_int_equal(kept_tokens("window:budget=96"), 96);
  assert_int_equal(kept_tokens("streaming:sinks=4,recent=92"), 96);
  assert_int_equal(kept_tokens("sirllm:sinks=4,recent=10,entropy=82,decay=1"), 96);
  assert_int_equal(kept_tokens("server"), 0);
}

/* Trivial answers see no more text than the cell's cache holds. */
static void trivial_scores_stand_beside_every_score(void **state) {
  struct compare_side a, b;
  struct ledger *l = two_runs(*state, &a, &b);
  int64_t n;
  MUST(ledger_query_int(
      l,
      "SELECT count(*) FROM score p WHERE metric = 'rps' AND NOT EXISTS(SELECT 1 FROM trivial_score t JOIN scorer r"
      " ON r.id = t.scorer_id WHERE t.attempt_id = p.attempt_id AND t.turn_no = p.turn_no AND r.name = 'chance')",
      LEDGER_NO_VALUES, -1, &n, &fixture_error));
  assert_int_equal(n, 0);
  MUST(ledger_query_int(l, "SELECT count(*) FROM v_trivial WHERE scorer = 'counting' AND metric = 'rps'",
                        LEDGER_NO_VALUES, -1, &n, &fixture_error));
  assert_int_equal(n, 6);
  done(*state, l, NULL);
}

int main(void) {
  log_set(LOG_ERROR, false);
  const struct CMUnitTest tests[] = {cmocka_unit_test(identical_outputs_pass),
                                     cmocka_unit_test(a_planted_loss_is_found_and_its_flips_come_first),
                                     cmocka_unit_test(higher_perplexity_is_worse),
                                     cmocka_unit_test(two_policies_of_one_run_pair_by_the_rest),
                                     cmocka_unit_test(what_is_missing_never_passes),
                                     cmocka_unit_test(budgets_are_read_from_canonical_policies),
                                     cmocka_unit_test(trivial_scores_stand_beside_every_score)};
  return cmocka_run_group_tests(tests, runner_setup, runner_teardown);
}
