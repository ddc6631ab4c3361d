/* Runs: complete, continued, repeated, tapped, over an API; what a crash inside a dialogue leaves, and what a tampered
 * record does. */
#include "runner_fixture.h"

#include "loopback_server.h"

#include <math.h>
#include <sys/file.h>
#include <fcntl.h>
#include <sys/wait.h>

static struct ledger *open_ledger(const struct runner_fixture *f) {
  struct ledger *l;
  MUST(ledger_open(f->ledger_path, LEDGER_CREATE, NULL, &l, &fixture_error));
  /* Processes die here, machines do not: waiting for the disk would be most of the test. */
  MUST(ledger_run(l, "PRAGMA synchronous = OFF", LEDGER_NO_VALUES, &fixture_error));
  return l;
}

static int64_t count(struct ledger *l, const char *sql) {
  int64_t n;
  MUST(ledger_query_int(l, sql, LEDGER_NO_VALUES, -1, &n, &fixture_error));
  return n;
}

static const struct run_options quiet = {.quiet = true};

static void a_run_is_complete_and_then_there_is_nothing_to_do(void **state) {
  struct runner_fixture *f = *state;
  struct run_summary sum;
  struct score_summary scores;
  fixture_remove_ledger(f);
  fixture_plan(f, fixture_suite, &(struct plan_options){0});
  struct ledger *l = open_ledger(f);
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  assert_int_equal(sum.finished, f->plan->dialogues);
  assert_int_equal(sum.played, f->plan->dialogues);
  assert_int_equal(sum.errors, 0);
  MUST(runner_score(l, sum.run_id, &scores, &fixture_error));
  assert_true(scores.scored > 0);
  int64_t rows = count(l, "SELECT count(*) FROM score");
  assert_int_equal(rows, scores.turns);
  assert_int_equal(count(l, "SELECT count(*) FROM turn"), rows);
  MUST(runner_score(l, NULL, &scores, &fixture_error)); /* again: nothing new */
  assert_int_equal(count(l, "SELECT count(*) FROM score"), rows);
  char first[LEDGER_RUN_ID];
  memcpy(first, sum.run_id, sizeof first);
  char *before = fixture_outcome(l);
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  assert_true(sum.nothing_to_do);
  assert_int_equal(sum.played, 0);
  assert_string_equal(sum.run_id, first);
  char *after = fixture_outcome(l);
  assert_string_equal(before, after);
  /* A new run beside it gives the same outputs. */
  struct run_options again = {.quiet = true, .fresh = true, .jobs = 3};
  MUST(runner_run(l, f->plan, &again, &sum, &fixture_error));
  assert_string_not_equal(sum.run_id, first);
  assert_int_equal(
      count(l, "SELECT count(DISTINCT hex(e.out_hash) || a.ordinal || c.ordinal) FROM attempt_end e JOIN attempt a ON"
               " a.id = e.attempt_id JOIN cell c ON c.id = a.cell_id"),
      f->plan->dialogues);
  MUST(ledger_check(l, &fixture_error));
  free(before);
  free(after);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
}

static void the_record_holds_what_happened(void **state) {
  struct runner_fixture *f = *state;
  struct run_summary sum;
  fixture_remove_ledger(f);
  fixture_plan(f, fixture_suite, &(struct plan_options){0});
  struct ledger *l = open_ledger(f);
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  /* A choice turn keeps every log-probability, and its choice is their best by the suite's rule. */
  assert_int_equal(
      count(l,
            "SELECT count(*) FROM turn t JOIN attempt a ON a.id = t.attempt_id JOIN sample_turn s ON s.sample_uid ="
            " a.sample_uid AND s.turn_no = t.turn_no WHERE s.task = 'choose' AND (json_array_length(t.choice_logprob)"
            " <> 3 OR json_extract(t.choice_first_logprob, '$[' || t.chosen || ']') < (SELECT max(value) FROM"
            " json_each(t.choice_first_logprob)))"),
      0);
  assert_true(count(l, "SELECT count(*) FROM turn WHERE chosen IS NOT NULL") > 0);
  /* Text turns: the sum is the sum of the tokens, and of the buckets. */
  assert_int_equal(
      count(l, "SELECT count(*) FROM turn t JOIN turn_nll n USING(attempt_id, turn_no) WHERE length(n.nll) <> 4 *"
               " t.nats_tokens"),
      0);
  assert_int_equal(
      count(l, "SELECT count(*) FROM turn t WHERE t.attempt_id IN (SELECT attempt_id FROM turn_nll) AND abs(t.nats -"
               " (SELECT sum(nats) FROM nll_bucket b WHERE b.attempt_id = t.attempt_id)) > 1e-3"),
      0);
  /* The dialogue in context can be walked from its last message to the first. */
  assert_int_equal(
      count(l, "WITH RECURSIVE up(h, n) AS (SELECT message_hash, 1 FROM attempt_end WHERE attempt_id = 1 UNION ALL"
               " SELECT m.parent, n + 1 FROM up JOIN message m ON m.hash = up.h WHERE m.parent IS NOT NULL)"
               " SELECT max(n) FROM up"),
      count(l, "SELECT s.n_turns FROM attempt a JOIN sample s ON s.uid = a.sample_uid WHERE a.id = 1"));
  assert_int_equal(count(l, "SELECT count(*) FROM checkpoint"), 0);
  assert_int_equal(count(l, "SELECT count(*) FROM invocation_end WHERE exit_code = 0"), 1);
  assert_int_equal(count(l, "SELECT count(*) FROM v_coverage WHERE missing <> 0 OR errors <> 0"), 0);
  assert_true(count(l, "SELECT count(*) FROM token_time") > 0);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
}

/* ---- taps
 * ---------------------------------------------------------------------------------------------------------------- */

struct counting_tap {
  int pieces, opened, closed;
  int stop_after;  /* 0: never */
  bool late;       /* the stop is decided when the text has ended */
  int crash_after; /* pieces over all turns; 0: never. The process ends there, as by kill -9 */
  int all;
};

static sluice_status tap_check(void *ctx, const char *file, struct sluice_error *err) {
  (void)ctx;
  return strstr(file, "monitor.json") ? SLUICE_OK : sluice_fail(err, SLUICE_USAGE, "%s", file);
}
static sluice_status tap_open(void *ctx, const char *file, void **tap, struct sluice_error *err) {
  (void)file, (void)err;
  struct counting_tap *t = ctx;
  t->pieces = 0;
  t->opened++;
  *tap = t;
  return SLUICE_OK;
}
static bool tap_piece(void *tap, const struct piece *piece) {
  (void)piece;
  struct counting_tap *t = tap;
  t->all++;
  if (t->crash_after && t->all >= t->crash_after) _exit(9);
  return ++t->pieces != t->stop_after || t->late;
}
static sluice_status tap_close(void *tap,
                               sluice_status (*event)(void *, const struct tap_event *, struct sluice_error *),
                               void *to, struct sluice_error *err) {
  struct counting_tap *t = tap;
  t->closed++;
  const struct tap_event stop = {.action = "stop",
                                 .rule = "r",
                                 .category = "c",
                                 .score = (double)NAN,
                                 .span_start = 1,
                                 .span_end = 2,
                                 .token_index = 3};
  const struct tap_event scanned = {
      .action = "scanned", .score = 0.5, .span_start = -1, .span_end = -1, .token_index = -1};
  sluice_status st = t->stop_after && t->pieces >= t->stop_after ? event(to, &stop, err) : SLUICE_OK;
  return st ? st : event(to, &scanned, err);
}
static struct tap_maker maker_of(struct counting_tap *t) {
  return (struct tap_maker){tap_check, tap_open, tap_piece, tap_close, t};
}

/* Several queries, so that a crash can fall between them. */
static const char tapped_suite[] =
    "{\"name\":\"t\",\"engines\":{\"e\":{\"model\":\"%s\",\"jobs\":1}},\"monitors\":[\"monitor.json\"],"
    "\"policies\":[\"streaming:budget=64\"],"
    "\"benchmarks\":[{\"data\":\"streameval:lines=60,answer=own\",\"n\":2,\"max_tokens\":6}]}";

static void write_monitor(const struct runner_fixture *f, bool there) {
  char path[400];
  snprintf(path, sizeof path, "%s/monitor.json", f->model.dir);
  if (there)
    MUST(file_write_atomic(path, "{}", 2, &fixture_error));
  else
    unlink(path);
}

static void stops_are_refusals(struct runner_fixture *f, bool late) {
  struct counting_tap t = {.stop_after = 2, .late = late};
  struct tap_maker maker = maker_of(&t);
  struct run_options o = {.quiet = true, .taps = &maker};
  struct run_summary sum;
  fixture_remove_ledger(f);
  write_monitor(f, true);
  fixture_plan(f, tapped_suite, &(struct plan_options){.taps = &maker});
  struct ledger *l = open_ledger(f);
  MUST(runner_run(l, f->plan, &o, &sum, &fixture_error));
  int64_t turns = count(l, "SELECT count(*) FROM turn");
  assert_true(turns > 4);
  assert_int_equal(t.opened, turns);
  assert_int_equal(t.closed, turns);
  assert_int_equal(
      count(l, "SELECT count(*) FROM monitor_event WHERE action = 'scanned' AND score = 0.5 AND span_start IS NULL"),
      turns);
  int64_t stopped = count(
      l, "SELECT count(*) FROM monitor_event WHERE action = 'stop' AND rule = 'r' AND span_end = 2 AND score IS NULL");
  assert_true(stopped > 0);
  assert_int_equal(count(l, "SELECT count(*) FROM turn WHERE state = 'refused' AND finish = 'monitor'"), stopped);
  assert_int_equal(count(l, "SELECT count(*) FROM attempt_end WHERE state = 'refused'"), 2);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
}

static void a_monitor_that_stops_is_a_refusal_with_its_events(void **state) {
  struct runner_fixture *f = *state;
  stops_are_refusals(f, false);
  stops_are_refusals(f, true);
  /* Without a monitor in the program, a suite that wants one is refused, not run unwatched. */
  MUST(suite_read(f->suite_path, &f->suite, &fixture_error));
  struct sluice_error err;
  assert_int_equal(plan_make(f->suite, &(struct plan_options){0}, &f->plan, &err), SLUICE_UNSUPPORTED);
  fixture_unplan(f);
}

/* ---- crashes
 * --------------------------------------------------------------------------------------------------------------- */

/* Runs in a child that ends at the n-th generated piece. */
static void crash_at(struct runner_fixture *f, int n, int64_t snapshot_limit) {
  pid_t child = fork();
  if (!child) {
    struct counting_tap t = {.crash_after = n};
    struct tap_maker maker = maker_of(&t);
    struct run_options o = {.quiet = true, .taps = &maker, .checkpoint_turns = 1, .snapshot_limit = snapshot_limit};
    struct run_summary sum;
    struct ledger *l;
    if (ledger_open(f->ledger_path, LEDGER_CREATE, NULL, &l, &fixture_error)) _exit(1);
    runner_run(l, f->plan, &o, &sum, &fixture_error);
    _exit(2); /* it did not come so far */
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 9);
}

static char *finish_after(struct runner_fixture *f, int64_t snapshot_limit, const char *tamper,
                          struct run_summary *sum) {
  struct counting_tap t = {0};
  struct tap_maker maker = maker_of(&t);
  struct run_options o = {.quiet = true, .taps = &maker, .checkpoint_turns = 1, .snapshot_limit = snapshot_limit};
  struct ledger *l = open_ledger(f);
  if (tamper) {
    assert_int_equal(count(l, "SELECT count(*) FROM checkpoint WHERE next_turn > 0"), 1);
    MUST(ledger_run(l, tamper, LEDGER_NO_VALUES, &fixture_error));
  }
  MUST(runner_run(l, f->plan, &o, sum, &fixture_error));
  char *text = fixture_outcome(l);
  MUST(ledger_check(l, &fixture_error));
  MUST(ledger_close(l, &fixture_error));
  return text;
}

static void a_crash_inside_a_dialogue_changes_nothing(void **state) {
  struct runner_fixture *f = *state;
  struct run_summary sum;
  struct counting_tap t = {0};
  struct tap_maker maker = maker_of(&t);
  write_monitor(f, true);
  fixture_plan(f, tapped_suite, &(struct plan_options){.taps = &maker});
  fixture_remove_ledger(f);
  char *whole = finish_after(f, 0, NULL, &sum);
  for (int way = 0; way < 2; way++)
    for (int n = 1; n <= 21; n += 4) {
      fixture_remove_ledger(f);
      crash_at(f, n, way ? -1 : 0);
      char *text = finish_after(f, way ? -1 : 0, NULL, &sum);
      if (strcmp(text, whole))
        fail_msg("crash at piece %d (%s):\n%sinstead of\n%s", n, way ? "replay" : "snapshot", text, whole);
      free(text);
    }
  free(whole);
  fixture_unplan(f);
}

/* A record that this engine would not have written again is not built upon: the attempt ends as an error, another
 * begins. */
static void a_replay_that_differs_begins_a_new_attempt(void **state) {
  struct runner_fixture *f = *state;
  struct run_summary sum;
  struct counting_tap t = {0};
  struct tap_maker maker = maker_of(&t);
  write_monitor(f, true);
  fixture_plan(f, tapped_suite, &(struct plan_options){.taps = &maker});
  fixture_remove_ledger(f);
  free(finish_after(f, -1, NULL, &sum));
  fixture_remove_ledger(f);
  crash_at(f, 13, -1);
  log_set(LOG_ERROR, false);
  free(finish_after(f, -1, "UPDATE turn SET nats = nats + 1", &sum));
  assert_int_equal(sum.finished, sum.planned);
  assert_int_equal(sum.errors, 0);
  struct ledger *l = open_ledger(f);
  assert_int_equal(count(l, "SELECT count(*) FROM attempt_end WHERE state = 'error' AND error_class = 'replay'"), 1);
  assert_int_equal(count(l, "SELECT count(*) FROM v_final WHERE attempt_no = 2 AND state <> 'error'"), 1);
  MUST(ledger_close(l, &fixture_error));
  /* A snapshot that cannot be read falls back on the replay. */
  fixture_remove_ledger(f);
  crash_at(f, 13, 0);
  free(finish_after(f, 0, "UPDATE checkpoint SET snapshot = x'00ff00ff'", &sum));
  l = open_ledger(f);
  assert_int_equal(count(l, "SELECT count(*) FROM attempt WHERE attempt_no > 1"), 0);
  assert_int_equal(count(l, "SELECT count(*) FROM attempt_end WHERE resumed = 1 AND state <> 'error'"), 1);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
  write_monitor(f, false);
}

static void two_runs_on_one_ledger_are_refused(void **state) {
  struct runner_fixture *f = *state;
  struct run_summary sum;
  struct sluice_error err;
  char path[400];
  fixture_remove_ledger(f);
  fixture_plan(f, fixture_suite, &(struct plan_options){0});
  struct ledger *l = open_ledger(f);
  snprintf(path, sizeof path, "%s.running", f->ledger_path);
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  assert_int_equal(flock(fd, LOCK_EX), 0);
  assert_int_equal(runner_run(l, f->plan, &quiet, &sum, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "another"));
  close(fd); /* as after a kill: the file stays, the lock is gone */
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  assert_int_not_equal(access(path, F_OK), 0);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
}

static void a_spent_budget_leaves_the_rest_for_later(void **state) {
  static const char suite[] =
      "{\"name\":\"t\",\"engines\":{\"e\":{\"model\":\"%s\",\"jobs\":1}},"
      "\"benchmarks\":[{\"data\":\"rps:rounds=5\",\"n\":3}],\"budget\":{\"minutes\":0.0000001}}";
  struct runner_fixture *f = *state;
  struct run_summary sum;
  fixture_remove_ledger(f);
  fixture_plan(f, suite, &(struct plan_options){0});
  struct ledger *l = open_ledger(f);
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  assert_true(sum.out_of_time);
  assert_int_equal(sum.finished, 0);
  f->suite->minutes = 0;
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  assert_int_equal(sum.finished, 3);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
}

/* ---- an API
 * ------------------------------------------------------------------------------------------------------------------ */

struct script {
  const char *const *answers; /* by request; NULL: an error 401 */
  int n;
};

static void answer(struct loopback *l, void *ctx, int n, const char *request) {
  const struct script *s = ctx;
  const char *text = s->answers[n % s->n];
  char chunk[512];
  (void)request;
  if (!text) {
    loopback_status(l, "401 Unauthorized", "", "{\"error\":{\"message\":\"no key\"}}");
    return;
  }
  snprintf(chunk, sizeof chunk,
           "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}]}\n\n"
           "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
           text);
  loopback_event_stream(l);
  loopback_send(l, chunk);
}

static void plan_api(struct runner_fixture *f, int port, const char *data, int n) {
  char text[1024];
  snprintf(text, sizeof text,
           "{\"name\":\"api\",\"engines\":{\"far\":{\"api\":\"http://127.0.0.1:%d/"
           "v1\",\"model\":\"m\",\"retries\":0,\"jobs\":1}},"
           "\"policies\":[\"full\",\"window:budget=9\"],\"benchmarks\":[{\"data\":\"%s\",\"n\":%d}]}",
           port, data, n);
  MUST(file_write_atomic(f->suite_path, text, strlen(text), &fixture_error));
  MUST(suite_read(f->suite_path, &f->suite, &fixture_error));
  MUST(plan_make(f->suite, &(struct plan_options){0}, &f->plan, &fixture_error));
}

static void an_api_is_asked_for_a_letter(void **state) {
  static const char *const answers[] = {"B", "The answer is (C).", "I would rather not say"};
  struct runner_fixture *f = *state;
  struct script script = {answers, 3};
  struct run_summary sum;
  struct score_summary scores;
  struct loopback *server = loopback_start(answer, &script);
  assert_non_null(server);
  fixture_remove_ledger(f);
  plan_api(f, server->port, "rps:rounds=3", 1);
  assert_int_equal(f->plan->n_cells, 1); /* cache policies are the server's own affair */
  struct ledger *l = open_ledger(f);
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  MUST(runner_score(l, NULL, &scores, &fixture_error));
  assert_int_equal(sum.finished, 1);
  assert_int_equal(
      count(l, "SELECT group_concat(coalesce(chosen, 9), '') FROM (SELECT chosen FROM turn ORDER BY turn_no)"), 129);
  assert_int_equal(count(l, "SELECT count(*) FROM score WHERE value IS NULL AND label = 'unscored'"), 1);
  assert_int_equal(count(l, "SELECT count(*) FROM v_result WHERE outcome = 'unscored'"), 1);
  assert_non_null(strstr(server->requests[0], "A. rock"));
  assert_non_null(strstr(server->requests[2], "The answer is (C).")); /* own answers stay in context */
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
  loopback_stop(server);
}

static void an_api_that_fails_is_an_error_and_not_a_wrong_answer(void **state) {
  static const char *const refusals[] = {NULL};
  struct runner_fixture *f = *state;
  struct script script = {refusals, 1};
  struct run_summary sum;
  struct score_summary scores;
  struct loopback *server = loopback_start(answer, &script);
  assert_non_null(server);
  fixture_remove_ledger(f);
  log_set(LOG_ERROR, false);
  plan_api(f, server->port, "rps:rounds=2", 2);
  struct ledger *l = open_ledger(f);
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  MUST(runner_score(l, NULL, &scores, &fixture_error));
  assert_int_equal(sum.errors, 2);
  assert_int_equal(scores.turns, 0);
  assert_int_equal(count(l, "SELECT count(*) FROM v_error WHERE error_class = 'auth' AND error LIKE '%no key%'"), 2);
  assert_int_equal(count(l, "SELECT turn_errors FROM v_coverage"), 4);
  MUST(runner_run(l, f->plan, &quiet, &sum, &fixture_error));
  assert_true(sum.nothing_to_do); /* a wrong key stays wrong */
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
  loopback_stop(server);
}

/* The server falls silent inside the first dialogue; the next run asks only what was not answered. */
static void an_api_dialogue_continues_from_its_last_turn(void **state) {
  static const char *const answers[] = {"A", "B", NULL};
  static const char *const more[] = {"C"};
  struct runner_fixture *f = *state;
  struct script script = {answers, 3}, second = {more, 1};
  struct run_summary sum;
  struct loopback *server = loopback_start(answer, &script);
  assert_non_null(server);
  fixture_remove_ledger(f);
  plan_api(f, server->port, "rps:rounds=5", 1);
  struct ledger *l = open_ledger(f);
  struct run_options o = {.quiet = true, .checkpoint_turns = 1};
  MUST(runner_run(l, f->plan, &o, &sum, &fixture_error));
  assert_int_equal(sum.errors, 1);
  /* As if the process had been killed there instead: the attempt's end and the checkpoint that it removed. */
  MUST(ledger_run(
      l,
      "INSERT INTO checkpoint(attempt_id, next_turn, resumed, message_hash) SELECT e.attempt_id,"
      " (SELECT max(turn_no) + 1 FROM turn), 0, (SELECT message_hash FROM turn ORDER BY turn_no DESC LIMIT 1)"
      " FROM attempt_end e",
      LEDGER_NO_VALUES, &fixture_error));
  MUST(ledger_run(l, "DELETE FROM attempt_end", LEDGER_NO_VALUES, &fixture_error));
  int before = loopback_requests(server);
  server->ctx = &second;
  MUST(runner_run(l, f->plan, &o, &sum, &fixture_error));
  assert_int_equal(sum.errors, 0);
  assert_int_equal(sum.resumed, 1);
  assert_int_equal(loopback_requests(server) - before, 3);
  assert_int_equal(count(l, "SELECT group_concat(chosen, '') FROM (SELECT chosen FROM turn ORDER BY turn_no)"), 1222);
  MUST(ledger_close(l, &fixture_error));
  fixture_unplan(f);
  loopback_stop(server);
}

int main(void) {
  log_set(LOG_ERROR, false);
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_run_is_complete_and_then_there_is_nothing_to_do),
                                     cmocka_unit_test(the_record_holds_what_happened),
                                     cmocka_unit_test(a_monitor_that_stops_is_a_refusal_with_its_events),
                                     cmocka_unit_test(a_crash_inside_a_dialogue_changes_nothing),
                                     cmocka_unit_test(a_replay_that_differs_begins_a_new_attempt),
                                     cmocka_unit_test(two_runs_on_one_ledger_are_refused),
                                     cmocka_unit_test(a_spent_budget_leaves_the_rest_for_later),
                                     cmocka_unit_test(an_api_is_asked_for_a_letter),
                                     cmocka_unit_test(an_api_that_fails_is_an_error_and_not_a_wrong_answer),
                                     cmocka_unit_test(an_api_dialogue_continues_from_its_last_turn)};
  return cmocka_run_group_tests(tests, runner_setup, runner_teardown);
}
