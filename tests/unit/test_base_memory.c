/* base: status, slices, buffers, arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static void fail_formats_and_returns_its_code(void **state) {
  (void)state;
  struct sluice_error err = {0};
  assert_int_equal(sluice_fail(&err, SLUICE_INPUT, "%s: key %d", "a.json", 7), SLUICE_INPUT);
  assert_int_equal(err.code, SLUICE_INPUT);
  assert_string_equal(err.message, "a.json: key 7");
  assert_int_equal(sluice_fail(&err, SLUICE_USAGE, "again: %s", err.message), SLUICE_USAGE);
  assert_string_equal(err.message, "again: a.json: key 7");
  assert_int_equal(sluice_fail_in(&err, "suite %s", "x"), SLUICE_USAGE);
  assert_string_equal(err.message, "suite x: again: a.json: key 7");
}

static void long_messages_are_cut_at_a_character(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char text[3000];
  for (size_t i = 0; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA9", 3);
  for (int shift = 0; shift < 2; shift++) {
    sluice_fail(&err, SLUICE_INPUT, "%s%s", shift ? "x" : "", text);
    size_t len = strlen(err.message), bad;
    assert_true(len < sizeof err.message);
    assert_int_equal(utf8_valid_prefix(err.message, len, &bad), len);
    assert_string_equal(err.message + len - 3, "...");
    sluice_fail_in(&err, "context");
    len = strlen(err.message);
    assert_int_equal(utf8_valid_prefix(err.message, len, &bad), len);
    assert_memory_equal(err.message, "context: ", 9);
  }
}

static void exit_codes_follow_the_design(void **state) {
  (void)state;
  assert_int_equal(sluice_exit_code(SLUICE_OK), 0);
  assert_int_equal(sluice_exit_code(SLUICE_INTERNAL), 1);
  assert_int_equal(sluice_exit_code(SLUICE_USAGE), 2);
  assert_int_equal(sluice_exit_code(SLUICE_FULL), 4);
  assert_int_equal(sluice_exit_code(SLUICE_INTERRUPTED), 130);
  for (int i = SLUICE_OK; i <= SLUICE_INTERNAL; i++) {
    assert_string_not_equal(sluice_status_name((sluice_status)i), "unknown");
    for (int j = 0; j < i; j++)
      assert_string_not_equal(sluice_status_name((sluice_status)i), sluice_status_name((sluice_status)j));
  }
}

static void slices_compare_bytes(void **state) {
  (void)state;
  assert_true(slice_is(slice_of("abc"), "abc"));
  assert_false(slice_is(slice_of("abc"), "abcd"));
  assert_false(slice_is(slice_of("abc"), "abd"));
  assert_true(slice_equal((struct slice){NULL, 0}, slice_of("")));
  assert_true(slice_equal((struct slice){"a\0b", 3}, (struct slice){"a\0b", 3}));
  assert_false(slice_equal((struct slice){"a\0b", 3}, (struct slice){"a\0c", 3}));
}

static void buffer_grows_and_stays_terminated(void **state) {
  (void)state;
  struct buffer b;
  struct sluice_error err;
  buffer_init(&b, 0);
  for (int i = 0; i < 1000; i++) assert_int_equal(buffer_printf(&b, &err, "%03d,", i), SLUICE_OK);
  assert_int_equal(b.len, 4000);
  assert_int_equal(b.ptr[4000], 0);
  assert_memory_equal(b.ptr + 3996, "999,", 4);
  assert_int_equal(buffer_append(&b, "\0x", 2, &err), SLUICE_OK);
  assert_int_equal(b.len, 4002);
  buffer_consume(&b, 3996);
  assert_memory_equal(b.ptr, "999,\0x", 7);
  buffer_consume(&b, 100);
  assert_int_equal(b.len, 0);
  assert_string_equal(b.ptr, "");
  buffer_free(&b);
  assert_null(b.ptr);
  buffer_consume(&b, 1); /* an empty buffer */
}

static void buffer_keeps_its_limit(void **state) {
  (void)state;
  struct buffer b;
  struct sluice_error err;
  buffer_init(&b, 10);
  assert_int_equal(buffer_append_str(&b, "0123456789", &err), SLUICE_OK);
  assert_int_equal(buffer_append(&b, "x", 1, &err), SLUICE_LIMIT);
  assert_non_null(strstr(err.message, "10 bytes"));
  assert_int_equal(buffer_printf(&b, &err, "%d", 5), SLUICE_LIMIT);
  assert_int_equal(buffer_append(&b, "x", SIZE_MAX, &err), SLUICE_LIMIT);
  assert_string_equal(b.ptr, "0123456789"); /* a refused append leaves it as it was */
  assert_int_equal(b.len, 10);
  buffer_free(&b);
  assert_int_equal(b.limit, 10);
}

static void buffer_take_hands_memory_over(void **state) {
  (void)state;
  struct buffer b;
  struct sluice_error err;
  size_t len = 9;
  buffer_init(&b, 0);
  char *empty = buffer_take(&b, &len);
  assert_string_equal(empty, "");
  assert_int_equal(len, 0);
  free(empty);
  buffer_append_str(&b, "kept", &err);
  char *text = buffer_take(&b, NULL);
  assert_string_equal(text, "kept");
  assert_null(b.ptr);
  free(text);
}

static void copies(void **state) {
  (void)state;
  assert_null(sluice_strdup(NULL));
  char *a = sluice_strdup("text"), *b = sluice_strndup("a\0b", 3), *c = sluice_format("%s-%d", "n", 3);
  assert_string_equal(a, "text");
  assert_memory_equal(b, "a\0b", 4);
  assert_string_equal(c, "n-3");
  free(a);
  free(b);
  free(c);
}

static void arena_pieces_are_aligned_zeroed_and_apart(void **state) {
  (void)state;
  struct arena a = {0};
  struct rng r;
  unsigned char *pieces[2000];
  size_t sizes[2000];
  rng_seed(&r, 3);
  for (int i = 0; i < 2000; i++) {
    sizes[i] = i % 100 == 7 ? 100000 + rng_below(&r, 1000) : rng_below(&r, 300);
    pieces[i] = arena_alloc(&a, sizes[i]);
    assert_non_null(pieces[i]);
    assert_int_equal((uintptr_t)pieces[i] % 16, 0);
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(pieces[i][k], 0);
    memset(pieces[i], i & 255, sizes[i]);
  }
  for (int i = 0; i < 2000; i++)
    for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(pieces[i][k], i & 255);
  assert_string_equal(arena_strndup(&a, "hello", 4), "hell");
  assert_null(arena_alloc(&a, SIZE_MAX));
  assert_null(arena_strndup(&a, "x", SIZE_MAX));
  arena_free(&a);
  assert_null(a.head);
}

static void aligned_memory(void **state) {
  (void)state;
  for (size_t size = 0; size < 300; size += 37) {
    unsigned char *p = sluice_alloc_aligned(size);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (size_t k = 0; k < size; k++) assert_int_equal(p[k], 0);
    free(p);
  }
  assert_null(sluice_alloc_aligned(SIZE_MAX));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fail_formats_and_returns_its_code),
      cmocka_unit_test(long_messages_are_cut_at_a_character),
      cmocka_unit_test(exit_codes_follow_the_design),
      cmocka_unit_test(slices_compare_bytes),
      cmocka_unit_test(buffer_grows_and_stays_terminated),
      cmocka_unit_test(buffer_keeps_its_limit),
      cmocka_unit_test(buffer_take_hands_memory_over),
      cmocka_unit_test(copies),
      cmocka_unit_test(arena_pieces_are_aligned_zeroed_and_apart),
      cmocka_unit_test(aligned_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
