/* Statistics against closed forms, published tables and brute force. */
#include "evaluators/evaluators.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define NEAR(a, b, tolerance)                                                                                          \
  do {                                                                                                                 \
    double near_a = (a), near_b = (b);                                                                                 \
    if (!(fabs(near_a - near_b) <= (tolerance))) fail_msg("%s = %.17g, expected %.17g", #a, near_a, near_b);           \
  } while (0)

static void quantiles_match_tables(void **state) {
  (void)state;
  NEAR(normal_quantile(0.975), 1.959963984540054, 1e-13);
  NEAR(normal_quantile(1e-10), -6.361340902404056, 1e-10);
  NEAR(normal_cdf(-1.959963984540054), 0.025, 1e-15);
  /* Student's table, two-sided 5 % and 0.1 %. */
  NEAR(t_quantile(0.975, 1), 12.706204736432095, 1e-9);
  NEAR(t_quantile(0.975, 5), 2.5705818356363143, 1e-11);
  double angle = atan(2.2621571627982 / 3), c = cos(angle); /* df = 9: Abramowitz and Stegun 26.7.3 */
  NEAR(2 / M_PI * (angle + sin(angle) * (c + c * c * c * (2.0 / 3 + c * c * (8.0 / 15 + c * c * 16 / 35)))), 0.95,
       1e-13);
  NEAR(t_quantile(0.975, 9), 2.2621571627982, 1e-11);
  NEAR(t_quantile(0.975, 30), 2.0422724563012373, 1e-11);
  NEAR(t_quantile(0.9995, 4), 8.610301581379, 1e-8);
  assert_true(t_quantile(0.5, 7) == 0);
  /* df = 1 is Cauchy, df = 2 has a closed form: any p. */
  for (double p = 0.001; p < 1; p += 0.0371) {
    NEAR(t_quantile(p, 1), tan(M_PI * (p - 0.5)), 1e-8 * fabs(tan(M_PI * (p - 0.5))) + 1e-12);
    NEAR(t_quantile(p, 2), (2 * p - 1) * sqrt(2 / (4 * p * (1 - p))), 1e-9);
    NEAR(t_cdf(t_quantile(p, 3.7), 3.7), p, 1e-12);
  }
  assert_true(isnan(t_quantile(0.9, 0)) && isnan(t_quantile(NAN, 3)) && isinf(t_quantile(1, 3)));
  NEAR(t_quantile(0.975, 1e9), 1.959963984540054, 1e-8);
}

static void incomplete_beta_matches_binomial_sums(void **state) {
  (void)state;
  NEAR(beta_incomplete(2, 3, 0.4), 0.5248, 1e-14);
  NEAR(beta_incomplete(0.5, 0.5, 0.1), 2 / M_PI * asin(sqrt(0.1)), 1e-14);
  NEAR(beta_incomplete(500, 500, 0.5), 0.5, 1e-12);
  for (int n = 1; n <= 40; n += 3)
    for (int k = 1; k <= n; k += 2) { /* I_x(k, n-k+1) = P(Binomial(n, x) >= k) */
      double x = 0.37, sum = 0, term = pow(1 - x, n);
      for (int j = 0; j <= n; j++) {
        if (j >= k) sum += term;
        term *= (double)(n - j) / (j + 1) * x / (1 - x);
      }
      NEAR(beta_incomplete(k, n - k + 1, x), sum, 1e-12);
    }
}

static void percentiles_are_type_7(void **state) {
  (void)state;
  const double x[] = {1, 2, 3, 4, 10}; /* numpy.percentile, "linear" */
  NEAR(percentile7(x, 5, 0.5), 3, 0);
  NEAR(percentile7(x, 5, 0.9), 7.6, 1e-12);
  NEAR(percentile7(x, 5, 0.1), 1.4, 1e-12);
  assert_true(percentile7(x, 5, 0) == 1 && percentile7(x, 5, 1) == 10 && percentile7(x, 1, 0.3) == 1);
  assert_true(isnan(percentile7(x, 0, 0.5)));
}

static void wilson_matches_published_intervals(void **state) {
  (void)state;
  struct estimate e = stat_wilson(15, 50, 0.95); /* R: prop.test(15, 50, correct = FALSE) */
  NEAR(e.lo, 0.1910, 5e-5);
  NEAR(e.hi, 0.4375, 5e-5);
  e = stat_wilson(0, 20, 0.95);
  double z2 = 1.959963984540054 * 1.959963984540054;
  NEAR(e.hi, z2 / (20 + z2), 1e-12);
  assert_true(e.lo == 0 && e.hi > 0);
  e = stat_wilson(20, 20, 0.95);
  assert_true(e.hi == 1 && e.lo < 1);
  assert_true(isnan(stat_wilson(0, 0, 0.95).value));
}

static void rate_widens_with_clusters(void **state) {
  (void)state;
  struct sluice_error err;
  double values[200];
  uint64_t cluster[200], own[200];
  for (int i = 0; i < 200; i++) {
    values[i] = (i / 20) % 2; /* ten dialogues that are right or wrong as a whole */
    cluster[i] = (uint64_t)(i / 20) * 7919;
    own[i] = (uint64_t)i;
  }
  struct estimate alone, together, plain = stat_wilson(100, 200, 0.95);
  assert_int_equal(stat_rate(values, own, 200, 0.95, &alone, &err), SLUICE_OK);
  NEAR(alone.lo, plain.lo, 1e-12);
  NEAR(alone.hi, plain.hi, 1e-12);
  assert_int_equal(stat_rate(values, cluster, 200, 0.95, &together, &err), SLUICE_OK);
  assert_int_equal(together.clusters, 10);
  assert_true(together.hi - together.lo > 3 * (alone.hi - alone.lo));
  for (int i = 0; i < 200; i++) values[i] = 1;
  assert_int_equal(stat_rate(values, cluster, 200, 0.95, &together, &err), SLUICE_OK);
  assert_true(together.lo < 0.8 && together.hi == 1); /* ten agreeing dialogues are not two hundred */
  assert_int_equal(stat_rate(values, cluster, 20, 0.95, &together, &err), SLUICE_OK);
  assert_true(together.clusters == 1 && together.lo < 0.25);
  assert_int_equal(stat_rate(values, NULL, 0, 0.95, &together, &err), SLUICE_OK);
  assert_true(isnan(together.value));
}

static void clustered_error_follows_its_formula(void **state) {
  (void)state;
  struct sluice_error err;
  const double x[] = {1, 0, -1, 0.5, 0.25, 0.75, 0};
  const uint64_t c[] = {9, 4, 9, 4, 1, 1, 4};
  double mean = 1.5 / 7;
  double a = 0 - 2 * mean, b = 0.5 - 3 * mean, d = 1.0 - 2 * mean; /* clusters 9, 4, 1 */
  double se = sqrt(3.0 / 2 * (a * a + b * b + d * d)) / 7;
  struct estimate e;
  assert_int_equal(stat_clustered_mean(x, c, 7, 1, 0.95, &e, &err), SLUICE_OK);
  NEAR(e.value, mean, 1e-15);
  NEAR(e.se, se, 1e-15);
  NEAR(e.hi, fmin(1, mean + t_quantile(0.975, 2) * se), 1e-12);
  assert_int_equal(e.clusters, 3);
  /* Unclustered it is the textbook standard error of a mean. */
  double squares = 0;
  for (int i = 0; i < 7; i++) squares += (x[i] - mean) * (x[i] - mean);
  assert_int_equal(stat_clustered_mean(x, NULL, 7, 0, 0.95, &e, &err), SLUICE_OK);
  NEAR(e.se, sqrt(squares / 6 / 7), 1e-15);
}

/* A 95 % interval must hold the truth in about 95 % of simulated nights, with correlated dialogues. */
static void clustered_interval_covers(void **state) {
  (void)state;
  struct sluice_error err;
  struct rng r;
  rng_seed(&r, 11);
  int covered = 0, naive = 0;
  for (int night = 0; night < 1500; night++) {
    double x[120];
    uint64_t c[120];
    for (int i = 0; i < 120; i++) {
      static double shared;
      if (i % 10 == 0) shared = rng_normal(&r);
      x[i] = shared + rng_normal(&r);
      c[i] = (uint64_t)(i / 10);
    }
    struct estimate e;
    assert_int_equal(stat_clustered_mean(x, c, 120, 0, 0.95, &e, &err), SLUICE_OK);
    covered += e.lo <= 0 && e.hi >= 0;
    assert_int_equal(stat_clustered_mean(x, NULL, 120, 0, 0.95, &e, &err), SLUICE_OK);
    naive += e.lo <= 0 && e.hi >= 0;
  }
  assert_in_range(covered, 1500 * 0.93, 1500 * 0.97);
  assert_true(naive < 1500 * 0.75); /* what ignoring the dialogues would claim */
}

static void mcnemar_is_the_binomial_test(void **state) {
  (void)state;
  NEAR(stat_mcnemar(3, 17), 2.0 * 1351 / 1048576, 1e-12);
  NEAR(stat_mcnemar(17, 3), stat_mcnemar(3, 17), 1e-15);
  assert_true(stat_mcnemar(0, 0) == 1 && stat_mcnemar(5, 5) == 1);
  NEAR(stat_mcnemar(0, 6), 2.0 / 64, 1e-15);
}

static void sign_flip_is_exact(void **state) {
  (void)state;
  double same[10];
  for (int i = 0; i < 10; i++) same[i] = 0.1 * (i + 1);
  NEAR(stat_sign_flip(same, 10), 0.001953125, 0); /* ten dialogues: the smallest p there is */
  NEAR(stat_sign_flip(same, 5), 0.0625, 0);       /* five can never fail a 5 % gate */
  const double mixed[] = {3, -1, 2};              /* |total| 4: +-(3-1+2), +-(3+1+2) of 8 */
  NEAR(stat_sign_flip(mixed, 3), 4.0 / 8, 0);
  const double none[] = {0, 0, 0};
  NEAR(stat_sign_flip(none, 3), 1, 0);
  assert_true(isnan(stat_sign_flip(same, 0)) && isnan(stat_sign_flip(same, 21)));
}

static void paired_picks_its_test(void **state) {
  (void)state;
  struct sluice_error err;
  double d[100];
  uint64_t c[100];
  for (int i = 0; i < 100; i++) {
    d[i] = i < 12 ? -1 : i < 15 ? 1 : 0;
    c[i] = (uint64_t)i / 10;
  }
  struct paired p;
  assert_int_equal(stat_paired(d, NULL, 100, 1, 0.95, &p, &err), SLUICE_OK);
  assert_string_equal(p.p_method, "mcnemar");
  NEAR(p.p, stat_mcnemar(3, 12), 1e-15);
  assert_true(p.down == 12 && p.up == 3 && p.equal == 85);
  NEAR(p.delta.value, -0.09, 1e-15);
  assert_int_equal(stat_paired(d, c, 100, 1, 0.95, &p, &err), SLUICE_OK);
  assert_string_equal(p.p_method, "sign-flip");
  d[0] = -0.5;
  assert_int_equal(stat_paired(d, NULL, 100, 1, 0.95, &p, &err), SLUICE_OK);
  assert_string_equal(p.p_method, "t");
}

static void detectable_effect_matches_the_published_table(void **state) {
  (void)state;
  /* Paired binary samples with 10 % discordant: 200 -> 6.3 points, 500 -> 4.0, 1986 -> 2.0. */
  const double want[][2] = {{200, 6.3}, {500, 4.0}, {1986, 2.0}};
  for (int i = 0; i < 3; i++) {
    double n = want[i][0];
    NEAR(100 * stat_mde(sqrt(0.1 / n), n - 1, 0.05, 0.8), want[i][1], 0.05);
  }
}

static void nothing_passes_on_a_zero_width_interval(void **state) {
  (void)state;
  struct sluice_error err;
  double zero[60] = {0}, same[60];
  struct paired p;
  assert_int_equal(stat_paired(zero, NULL, 60, 1, 0.95, &p, &err), SLUICE_OK);
  assert_true(p.delta.lo < 0 && p.delta.hi > 0 && p.p == 1);
  NEAR(p.delta.hi, 1 - pow(0.025, 1 / 60.0), 1e-15); /* 60 agreeing dialogues leave 6 points open */
  assert_int_equal(stat_verdict(&p.delta, p.p, 0.02, 0.01, 0.05), GATE_INCONCLUSIVE);
  assert_int_equal(stat_verdict(&p.delta, p.p, 0.10, 0.01, 0.05), GATE_PASS);
  assert_int_equal(stat_paired(zero, NULL, 1, 1, 0.95, &p, &err), SLUICE_OK);
  assert_int_equal(stat_verdict(&p.delta, p.p, 0.5, 0.01, 0.05), GATE_INCONCLUSIVE);
  assert_int_equal(stat_paired(zero, NULL, 60, 0, 0.95, &p, &err), SLUICE_OK); /* unknown range */
  assert_true(isinf(p.delta.hi));
  assert_int_equal(stat_verdict(&p.delta, p.p, 0.5, 0.01, 0.05), GATE_INCONCLUSIVE);
  for (int i = 0; i < 60; i++) same[i] = -0.1;
  assert_int_equal(stat_paired(same, NULL, 60, 1, 0.95, &p, &err), SLUICE_OK);
  assert_true(p.delta.lo < p.delta.hi && p.p < 1e-15);
  struct estimate flat = {0, 0, 0, 0, 9, 9, "forged"};
  assert_int_equal(stat_verdict(&flat, 1, 0.5, 0.01, 0.05), GATE_INCONCLUSIVE);
}

static void verdict_has_three_answers(void **state) {
  (void)state;
  struct estimate e = {-0.10, -0.14, -0.06, 0.02, 500, 500, "t"};
  assert_int_equal(stat_verdict(&e, 0.001, 0.05, 0.02, 0.05), GATE_REGRESSED);
  assert_int_equal(stat_verdict(&e, 0.2, 0.05, 0.02, 0.05), GATE_INCONCLUSIVE);  /* after Holm it is not */
  assert_int_equal(stat_verdict(&e, 0.001, 0.05, 0.2, 0.05), GATE_INCONCLUSIVE); /* below min_effect */
  struct estimate wide = {0.01, -0.2, 0.22, 0.1, 20, 20, "t"};
  assert_int_equal(stat_verdict(&wide, 0.9, 0.05, 0.02, 0.05), GATE_INCONCLUSIVE); /* non-significant is not parity */
  struct estimate good = {0.00, -0.01, 0.01, 0.005, 900, 900, "t"};
  assert_int_equal(stat_verdict(&good, 0.9, 0.02, 0.02, 0.05), GATE_PASS);
  struct estimate none = {NAN, NAN, NAN, NAN, 0, 0, "none"};
  assert_int_equal(stat_verdict(&none, NAN, 1, 0, 0.05), GATE_INCONCLUSIVE);
}

static void many_questions_are_adjusted(void **state) {
  (void)state;
  struct sluice_error err;
  /* Holm 1979 and R's p.adjust on the same numbers; a NAN asks no question. */
  const double p[] = {0.01, 0.04, NAN, 0.03, 0.005};
  double a[5];
  assert_int_equal(stat_holm(p, 5, a, &err), SLUICE_OK);
  NEAR(a[0], 0.03, 1e-15);
  NEAR(a[1], 0.06, 1e-15);
  assert_true(isnan(a[2]));
  NEAR(a[3], 0.06, 1e-15);
  NEAR(a[4], 0.02, 1e-15);
  assert_int_equal(stat_benjamini_hochberg(p, 5, a, &err), SLUICE_OK);
  NEAR(a[0], 0.02, 1e-15);
  NEAR(a[1], 0.04, 1e-15);
  NEAR(a[3], 0.04, 1e-15);
  NEAR(a[4], 0.02, 1e-15);
}

static void bootstrap_repeats_itself(void **state) {
  (void)state;
  struct sluice_error err;
  double x[80];
  uint64_t c[80];
  struct rng r;
  rng_seed(&r, 3);
  for (int i = 0; i < 80; i++) x[i] = rng_normal(&r), c[i] = (uint64_t)i / 2;
  struct estimate a, b, t;
  assert_int_equal(stat_bootstrap(x, c, 80, 4000, 1, 0.95, &a, &err), SLUICE_OK);
  assert_int_equal(stat_bootstrap(x, c, 80, 4000, 1, 0.95, &b, &err), SLUICE_OK);
  assert_true(a.lo == b.lo && a.hi == b.hi);
  assert_int_equal(stat_clustered_mean(x, c, 80, 0, 0.95, &t, &err), SLUICE_OK);
  NEAR(a.lo, t.lo, 0.05);
  NEAR(a.hi, t.hi, 0.05);
  double flat[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  assert_int_equal(stat_bootstrap(flat, NULL, 8, 200, 1, 0.95, &a, &err), SLUICE_OK);
  assert_true(isinf(a.lo));
  assert_int_equal(stat_bootstrap(x, c, 80, 3, 1, 0.95, &a, &err), SLUICE_USAGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantiles_match_tables),
      cmocka_unit_test(incomplete_beta_matches_binomial_sums),
      cmocka_unit_test(percentiles_are_type_7),
      cmocka_unit_test(wilson_matches_published_intervals),
      cmocka_unit_test(rate_widens_with_clusters),
      cmocka_unit_test(clustered_error_follows_its_formula),
      cmocka_unit_test(clustered_interval_covers),
      cmocka_unit_test(mcnemar_is_the_binomial_test),
      cmocka_unit_test(sign_flip_is_exact),
      cmocka_unit_test(paired_picks_its_test),
      cmocka_unit_test(detectable_effect_matches_the_published_table),
      cmocka_unit_test(nothing_passes_on_a_zero_width_interval),
      cmocka_unit_test(verdict_has_three_answers),
      cmocka_unit_test(many_questions_are_adjusted),
      cmocka_unit_test(bootstrap_repeats_itself),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
