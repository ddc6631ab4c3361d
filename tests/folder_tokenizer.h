/* For tests: the tokenizer of the scratch folder, and what it makes of a text. */
#ifndef SLUICE_TESTS_FOLDER_TOKENIZER_H
#define SLUICE_TESTS_FOLDER_TOKENIZER_H

#include "tests/scratch_folder.h"

#include "engine/tokenizer/tokenizer.h"

static struct sluice_error err;

static struct tokenizer *opened(void) {
  struct tokenizer *t = NULL;
  if (tokenizer_open_folder(scratch_dir, &t, &err)) fail_msg("%s", err.message);
  assert_non_null(t);
  return t;
}

static void refused(const char *part) {
  struct tokenizer *t = NULL;
  err = (struct sluice_error){0};
  if (tokenizer_open_folder(scratch_dir, &t, &err) == SLUICE_OK) fail_msg("accepted, in spite of %s", part);
  assert_null(t);
  if (!strstr(err.message, part) || !strstr(err.message, scratch_dir))
    fail_msg("\"%s\" does not say \"%s\" and name the file", err.message, part);
}

static void expect(const struct tokenizer *t, const char *text, unsigned flags, const int32_t *ids, size_t n) {
  int32_t *got = NULL;
  size_t n_got = 0;
  if (tokenizer_encode(t, slice_of(text), flags, &got, &n_got, &err)) fail_msg("%s: %s", text, err.message);
  bool same = n_got == n && memcmp(got, ids, n * sizeof *ids) == 0;
  for (size_t i = 0; !same && i < n_got; i++) print_message("%d ", got[i]);
  if (!same) fail_msg("\"%s\" has other ids", text);
  free(got);
}
#define EXPECT(t, text, flags, ...)                                                                                    \
  expect(t, text, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

#endif
