/* For tests: files of third parties, which the tree does not hold. They lie in $SLUICE_DATA, else in build/data. */
#ifndef SLUICE_TESTS_SAMPLE_DATA_H
#define SLUICE_TESTS_SAMPLE_DATA_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

/* The path of a file of a set. Absent: the test is skipped for a user, and fails where CI=true. Caller frees. */
static inline char *sample_path(const char *name) {
  const char *dir = getenv("SLUICE_DATA"), *ci = getenv("CI");
  char *path = sluice_format("%s/%s", dir && dir[0] ? dir : "build/data", name);
  assert_non_null(path);
  if (file_exists(path)) return path;
  if (ci && strcmp(ci, "true") == 0) fail_msg("%s: not there; unpack the data sets and set SLUICE_DATA", path);
  print_message("skipped: %s is not there; unpack the data sets and set SLUICE_DATA\n", path);
  free(path);
  skip();
  return NULL;
}

/* A file of the test's own, deleted by the caller. */
static inline char *scratch_path(const char *name) {
  const char *dir = getenv("TMPDIR");
  return sluice_format("%s/sluice-test-%ld-%s", dir && dir[0] ? dir : "/tmp", (long)getpid(), name);
}

#endif
