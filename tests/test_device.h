/* Where tests of sessions run: on the CPU, or where SLUICE_TEST_DEVICE says. On a GPU sums have other orders for one
 * token and for many, so what is the same bits on the CPU is close there: within 1e-4 of the largest logit. */
#ifndef SLUICE_TESTS_TEST_DEVICE_H
#define SLUICE_TESTS_TEST_DEVICE_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline const char *test_device(void) {
  const char *d = getenv("SLUICE_TEST_DEVICE");
  return d && *d ? d : NULL;
}
static inline bool test_on_cpu(void) {
  return !test_device() || strcmp(test_device(), "cpu") == 0;
}

/* Whether rows that the CPU would give bit for bit agree. */
static inline bool test_rows_agree(const float *a, const float *b, size_t n) {
  if (test_on_cpu()) return memcmp(a, b, n * sizeof *a) == 0;
  float largest = 1, off = 0;
  for (size_t i = 0; i < n; i++) {
    if (isnan(a[i]) || isnan(b[i])) return false;
    largest = fmaxf(largest, fabsf(a[i]));
    off = fmaxf(off, fabsf(a[i] - b[i]));
  }
  return off <= 1e-4f * largest;
}

#endif
