/* Agreement statistics against values published by others. */
#include "judge/judge.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct sluice_error err;

#define M NAN
/* Krippendorff 2011, the example with 4 observers, 12 units and missing data. */
static const double reliability[4 * 12] = {
    1, 2, 3, 3, 2, 1, 4, 1, 2, M, M, M, /* A */
    1, 2, 3, 3, 2, 2, 4, 1, 2, 5, M, 3, /* B */
    M, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, M, /* C */
    1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, M, /* D */
};

static void alpha_equals_the_published_example(void **state) {
  (void)state;
  const double expected[] = {[ALPHA_NOMINAL] = 0.743, [ALPHA_ORDINAL] = 0.815, [ALPHA_INTERVAL] = 0.849};
  for (int level = ALPHA_NOMINAL; level <= ALPHA_INTERVAL; level++) {
    double alpha = 0;
    assert_int_equal(agreement_alpha(reliability, 4, 12, (enum alpha_level)level, &alpha, &err), SLUICE_OK);
    assert_true(fabs(alpha - expected[level]) < 5e-4);
  }
}

static void alpha_without_pairs_or_spread_is_no_number(void **state) {
  (void)state;
  const double alone[] = {1, M, M, 2}, equal[] = {1, 1, 1, 1};
  double alpha = 0;
  assert_int_equal(agreement_alpha(alone, 2, 2, ALPHA_NOMINAL, &alpha, &err), SLUICE_OK);
  assert_true(isnan(alpha));
  assert_int_equal(agreement_alpha(equal, 2, 2, ALPHA_NOMINAL, &alpha, &err), SLUICE_OK);
  assert_true(isnan(alpha));
  assert_int_equal(agreement_alpha(NULL, 0, 0, ALPHA_INTERVAL, &alpha, &err), SLUICE_OK);
  assert_true(isnan(alpha));
}

/* counts[i][j]: how often a said i and b said j. */
static size_t spread(const int counts[2][2], int *a, int *b) {
  size_t n = 0;
  for (int i = 0; i < 2; i++) {
    for (int j = 0; j < 2; j++) {
      for (int c = 0; c < counts[i][j]; c++, n++) {
        a[n] = i;
        b[n] = j;
      }
    }
  }
  return n;
}

static void kappa_equals_textbook_tables(void **state) {
  (void)state;
  static const struct {
    int counts[2][2];
    double raw, kappa;
  } known[] = {
      {{{20, 5}, {10, 15}}, 0.70, 0.4}, /* the usual grant-reading example */
      {{{45, 15}, {25, 15}}, 0.60, 0.1304},
      {{{25, 35}, {5, 35}}, 0.60, 0.2593},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    int a[100], b[100];
    struct agreement out;
    size_t n = spread(known[i].counts, a, b);
    assert_int_equal(agreement_of_two(a, b, NULL, n, 2, 1, &out, &err), SLUICE_OK);
    assert_true(fabs(out.raw - known[i].raw) < 1e-12);
    assert_true(fabs(out.kappa - known[i].kappa) < 5e-5);
    assert_true(out.lo < out.kappa && out.kappa < out.hi);
  }
}

static void raw_agreement_can_hide_chance(void **state) {
  (void)state;
  int a[100] = {0}, b[100] = {0};
  struct agreement out;
  a[0] = b[1] = 1; /* 98 % raw agreement, none beyond chance */
  assert_int_equal(agreement_of_two(a, b, NULL, 100, 2, 1, &out, &err), SLUICE_OK);
  assert_true(out.raw > 0.97 && out.kappa < 0);
  a[0] = b[1] = 0; /* one label only: kappa is not 1, it is undefined */
  assert_int_equal(agreement_of_two(a, b, NULL, 100, 2, 1, &out, &err), SLUICE_OK);
  assert_true(out.raw == 1 && isnan(out.kappa));
}

static void missing_labels_are_left_out_and_clusters_widen(void **state) {
  (void)state;
  int a[100], b[100], missing_a[] = {0, -1, 1}, missing_b[] = {0, 1, -1};
  uint64_t cluster[100];
  struct agreement apart, together;
  size_t n = spread((const int[2][2]){{20, 5}, {10, 15}}, a, b);
  for (size_t i = 0; i < n; i++) cluster[i] = i / 10;
  assert_int_equal(agreement_of_two(a, b, NULL, n, 2, 7, &apart, &err), SLUICE_OK);
  assert_int_equal(agreement_of_two(a, b, cluster, n, 2, 7, &together, &err), SLUICE_OK);
  assert_true(together.kappa == apart.kappa);
  assert_true(together.hi - together.lo > apart.hi - apart.lo);
  assert_int_equal(agreement_of_two(missing_a, missing_b, NULL, 3, 2, 1, &apart, &err), SLUICE_OK);
  assert_int_equal(apart.n, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(alpha_equals_the_published_example),
      cmocka_unit_test(alpha_without_pairs_or_spread_is_no_number),
      cmocka_unit_test(kappa_equals_textbook_tables),
      cmocka_unit_test(raw_agreement_can_hide_chance),
      cmocka_unit_test(missing_labels_are_left_out_and_clusters_widen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
