/* Scores against trivial answers on the same turns: the numbers against other SQL and the formula written down once
 * more. */
#include "evaluators/evaluators.h"
#include "report_fixture.h"

/* Per dialogue, from tables alone: sum of (score - trivial answer) and turns of one cell of the first run. */
static const char beside_sql[] =
    "SELECT sum(s.value - t.value), count(*) FROM score s JOIN attempt a ON a.id = s.attempt_id "
    "JOIN cell c ON c.id = a.cell_id JOIN trivial_score t ON t.attempt_id = s.attempt_id AND t.turn_no = s.turn_no "
    "JOIN scorer r ON r.id = t.scorer_id WHERE c.run_id = (SELECT max(id) FROM run) AND c.policy = ?1 "
    "AND c.benchmark = ?2 AND s.metric = ?3 AND r.name = ?4 AND s.value IS NOT NULL GROUP BY a.sample_uid";

/* Mean and half-width of the clustered t interval, written down once more. */
static size_t beside(struct ledger *l, const char *const key[4], double *mean, double *half) {
  double sums[64] = {0}, counts[64] = {0}, total = 0, n = 0, squares = 0;
  size_t clusters = 0;
  struct ledger_rows *q;
  bool row;
  MUST(ledger_query(l, beside_sql, LEDGER_VALUES(lv_text(key[0]), lv_text(key[1]), lv_text(key[2]), lv_text(key[3])),
                    &q, &fixture_error));
  for (;;) {
    MUST(ledger_next(q, &row, &fixture_error));
    if (!row) break;
    assert_true(clusters < 64);
    sums[clusters] = ledger_real(q, 0);
    counts[clusters] = ledger_real(q, 1);
    total += sums[clusters];
    n += counts[clusters++];
  }
  ledger_rows_end(q);
  *mean = total / n;
  for (size_t i = 0; i < clusters; i++) squares += pow(sums[i] - counts[i] * *mean, 2);
  double c = (double)clusters;
  *half = clusters < 2 ? NAN : t_quantile(0.975, c - 1) * sqrt(c / (c - 1) * squares) / n;
  return (size_t)n;
}

/* `at` is the first of four fields: difference, low, high, n. */
static void check_beside(struct ledger *l, const char *line, int at, const char *const key[4]) {
  char field[4][128];
  double mean, half;
  for (int i = 0; i < 4; i++) csv_field(line, at + i, field[i]);
  size_t n = beside(l, key, &mean, &half);
  if (strtoul(field[3], NULL, 10) != n) fail_msg("%s %s %s: n %s, SQL says %zu", key[0], key[2], key[3], field[3], n);
  if (fabs(atof(field[0]) - mean) > 1e-5) fail_msg("%s %s %s: %s, SQL says %g", key[0], key[2], key[3], field[0], mean);
  if (half > 0 &&
      (fabs(atof(field[1]) - fmax(-1, mean - half)) > 1e-5 || fabs(atof(field[2]) - fmin(1, mean + half)) > 1e-5))
    fail_msg("%s %s %s: %s to %s, SQL says %g +- %g", key[0], key[2], key[3], field[1], field[2], mean, half);
}

static void differences_from_trivial_answers_are_what_sql_says(void **state) {
  (void)state;
  const char *const ledgers[] = {whole_path, troubled_path};
  size_t best = 0, counting = 0, none = 0;
  for (int i = 0; i < 2; i++) {
    struct report_options o = plain_options(NULL);
    size_t len;
    char *csv = render(ledgers[i], "csv", &o, &len), policy[128], benchmark[128], metric[128], name[128], n[128];
    struct ledger *l;
    MUST(ledger_open(ledgers[i], LEDGER_READ, NULL, &l, &fixture_error));
    for (char *line = strchr(csv, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
      csv_field(line, 2, policy);
      csv_field(line, 4, benchmark);
      csv_field(line, 5, metric);
      csv_field(line, 22, name);
      csv_field(line, 34, n);
      if (*name) check_beside(l, line, 31, (const char *const[]){policy, benchmark, metric, name}), best++;
      none += !*name && !*n;
      csv_field(line, 38, n);
      if (*n) check_beside(l, line, 35, (const char *const[]){policy, benchmark, metric, "counting"}), counting++;
    }
    MUST(ledger_close(l, &fixture_error));
    free(csv);
  }
  assert_int_equal(best, 2 * FIXTURE_POLICIES * 4); /* acc_c, acc_g, next, rps */
  assert_int_equal(counting, 2 * FIXTURE_POLICIES);
  assert_int_equal(none, 2 * FIXTURE_POLICIES * 2); /* lines and story have none */
}

/* The page has a row a policy and metric; Markdown the reference's, with counting for rock, paper, scissors. */
static void trivial_answers_stand_in_page_and_summary(void **state) {
  (void)state;
  struct report_options o = plain_options(NULL);
  size_t len;
  char *page = render(whole_path, "html", &o, &len), *summary = render(whole_path, "md", &o, &len);
  const char *section = strstr(page, "<section id=\"trivial\""), *end = section ? strstr(section, "</section>") : NULL;
  assert_non_null(end);
  assert_int_equal(occurrences(page, "href=\"#trivial\""), 1);
  size_t counting = 0;
  for (const char *at = strstr(section, "<td>counting</td>"); at && at < end; at = strstr(at + 1, "<td>counting</td>"))
    counting++;
  assert_int_equal(counting, 1 + 2 * FIXTURE_POLICIES); /* the reference, all policies, every answer */
  const char *table = strstr(summary, "Against trivial answers on the same turns, full:");
  assert_non_null(table);
  assert_int_equal(occurrences(table, "| counting | 50.0 |"), 1); /* the fixture's counting wins every other round */
  assert_int_equal(occurrences(table, "| longest |"), 3);
  free(page);
  free(summary);
}

/* A newer version of a trivial answer replaces the older one's word; answers for turns without a score pair with none.
 */
static void newer_and_lonely_trivial_answers(void **state) {
  (void)state;
  struct fixture small = {.dialogues = 3, .runs = 1};
  const char *path = scratch("odd.db");
  const char *edits[] = {
      "INSERT INTO scorer(name, version, config, kind) VALUES('counting', 2, '', 'trivial')",
      "INSERT INTO trivial_score(attempt_id, turn_no, scorer_id, metric, value) SELECT attempt_id, turn_no, "
      "(SELECT id FROM scorer WHERE name = 'counting' AND version = 2), metric, 1 FROM trivial_score t "
      "JOIN scorer r ON r.id = t.scorer_id WHERE r.name = 'counting' AND turn_no > 1",
      "UPDATE score SET value = NULL, label = 'unscored' WHERE metric = 'rps' AND turn_no = 1", NULL};
  size_t len;
  struct report_options o = plain_options(NULL);
  fixture_make(path, &small);
  edit(path, edits);
  char *csv = render(path, "csv", &o, &len), metric[128], value[128], over[128], n[128];
  size_t seen = 0;
  for (char *line = strchr(csv, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
    csv_field(line, 5, metric);
    if (strcmp(metric, "rps") != 0) continue;
    csv_field(line, 7, value);
    csv_field(line, 35, over);
    csv_field(line, 38, n);
    assert_string_equal(n, "33"); /* 12 rounds less the first, in 3 dialogues */
    assert_true(fabs(atof(over) - (atof(value) - 1)) < 1e-5);
    seen++;
  }
  assert_int_equal(seen, FIXTURE_POLICIES);
  free(csv);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(differences_from_trivial_answers_are_what_sql_says),
      cmocka_unit_test(trivial_answers_stand_in_page_and_summary),
      cmocka_unit_test(newer_and_lonely_trivial_answers),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
