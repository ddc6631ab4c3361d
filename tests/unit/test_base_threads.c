/* base: the team of lanes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"

struct tally {
  _Atomic int total;
  int by_lane[16][16]; /* one cache line a lane */
};

static void count(void *ctx, int lane) {
  struct tally *t = ctx;
  t->by_lane[lane][0]++;
  atomic_fetch_add(&t->total, 1);
}

static void every_lane_runs_every_job_once(void **state) {
  (void)state;
  struct sluice_error err = {0};
  for (int n = 1; n <= 5; n++) {
    struct team *team;
    struct tally tally;
    memset(&tally, 0, sizeof tally);
    assert_int_equal(team_start(n, &team, &err), SLUICE_OK);
    assert_int_equal(team_size(team), n);
    for (int job = 1; job <= 2000; job++) {
      team_run(team, count, &tally);
      assert_int_equal(atomic_load(&tally.total), n * job); /* all have finished when team_run returns */
    }
    for (int lane = 0; lane < n; lane++) assert_int_equal(tally.by_lane[lane][0], 2000);
    team_stop(team);
  }
}

static void slow_lane(void *ctx, int lane) {
  if (lane == 1) clock_sleep_ns(3000000);
  count(ctx, lane);
}

static void a_slow_lane_is_waited_for(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct team *team;
  struct tally tally;
  memset(&tally, 0, sizeof tally);
  assert_int_equal(team_start(3, &team, &err), SLUICE_OK);
  for (int job = 1; job <= 20; job++) {
    team_run(team, slow_lane, &tally);
    assert_int_equal(atomic_load(&tally.total), 3 * job);
    if (job % 5 == 0) clock_sleep_ns(1000000); /* lanes fall asleep and must be woken */
  }
  team_stop(team);
}

static double cpu_seconds(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void an_idle_team_burns_nothing(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct team *team;
  struct tally tally;
  memset(&tally, 0, sizeof tally);
  assert_int_equal(team_start(2, &team, &err), SLUICE_OK);
  team_run(team, count, &tally);
  double before = cpu_seconds();
  clock_sleep_ns(200000000);
  assert_true(cpu_seconds() - before < 0.02);
  team_stop(team);
}

static void a_team_can_stop_before_it_worked(void **state) {
  (void)state;
  struct sluice_error err = {0};
  for (int i = 0; i < 50; i++) {
    struct team *team;
    assert_int_equal(team_start(1 + i % 4, &team, &err), SLUICE_OK);
    team_stop(team);
  }
  team_stop(NULL);
}

static void sizes_are_checked(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct team *team;
  assert_int_equal(team_start(0, &team, &err), SLUICE_USAGE);
  assert_int_equal(team_start(-3, &team, &err), SLUICE_USAGE);
  assert_int_equal(team_start(1000000, &team, &err), SLUICE_USAGE);
  assert_true(threads_available() >= 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_lane_runs_every_job_once),
      cmocka_unit_test(a_slow_lane_is_waited_for),
      cmocka_unit_test(an_idle_team_burns_nothing),
      cmocka_unit_test(a_team_can_stop_before_it_worked),
      cmocka_unit_test(sizes_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
