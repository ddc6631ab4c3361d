/* Quantised blocks read back what was written into them, wherever in a matrix they stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quantised_blocks.h"

static void test_sizes(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int block, bytes;
  } want[] = {
      [DTYPE_F32] = {"F32", 1, 4},       [DTYPE_F16] = {"F16", 1, 2},         [DTYPE_BF16] = {"BF16", 1, 2},
      [DTYPE_Q8_0] = {"Q8_0", 32, 34},   [DTYPE_Q4_0] = {"Q4_0", 32, 18},     [DTYPE_Q4_K] = {"Q4_K", 256, 144},
      [DTYPE_Q6_K] = {"Q6_K", 256, 210}, [DTYPE_Q4_1] = {"Q4_1", 32, 20},     [DTYPE_Q5_0] = {"Q5_0", 32, 22},
      [DTYPE_Q5_1] = {"Q5_1", 32, 24},   [DTYPE_Q3_K] = {"Q3_K", 256, 110},   [DTYPE_Q5_K] = {"Q5_K", 256, 176},
      [DTYPE_Q2_K] = {"Q2_K", 256, 84},  [DTYPE_IQ4_NL] = {"IQ4_NL", 32, 18}, [DTYPE_IQ4_XS] = {"IQ4_XS", 256, 136}};
  assert_int_equal(sizeof want / sizeof *want, DTYPE_COUNT);
  for (int d = 0; d < DTYPE_COUNT; d++) {
    assert_string_equal(dtype_name((enum dtype)d), want[d].name);
    assert_int_equal(dtype_block((enum dtype)d), want[d].block);
    assert_int_equal(dtype_block_bytes((enum dtype)d), want[d].bytes);
    assert_int_equal(dtype_row_bytes((enum dtype)d, 512), 512 / want[d].block * want[d].bytes);
    assert_int_equal(dtype_is_quantised((enum dtype)d), want[d].block > 1);
  }
}

static void test_blocks(void **state) {
  (void)state;
  enum { ROWS = 5, COLS = 768 };
  struct rng r;
  rng_seed(&r, 3);
  double *want = malloc(sizeof *want * ROWS * COLS);
  float *row = malloc(sizeof *row * COLS);
  for (int d = DTYPE_Q8_0; d < DTYPE_COUNT; d++) {
    const int block = dtype_block((enum dtype)d);
    uint8_t *data =
        malloc(dtype_row_bytes((enum dtype)d, COLS) * ROWS); /* exactly: a sanitizer sees a read behind it */
    for (int i = 0; i < ROWS * COLS; i += block)
      block_random(&r, (enum dtype)d, data + (size_t)(i / block) * dtype_block_bytes((enum dtype)d), want + i);
    const struct weight w = {.data = data, .dtype = (enum dtype)d, .rows = ROWS, .cols = COLS};
    float *whole = weight_to_float(&w);
    for (int i = 0; i < ROWS * COLS; i++) assert_true(whole[i] == want[i]);
    weight_row(&w, 3, row);
    assert_memory_equal(row, whole + 3 * COLS, sizeof *row * COLS);
    dtype_to_floats(data, (enum dtype)d, (size_t)block, 256, row);
    assert_memory_equal(row, whole + block, sizeof *row * 256);
    free(whole), free(data);
  }
  free(want), free(row);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_blocks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
