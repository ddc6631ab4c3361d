/* For tests: one folder of a test program's own, emptied between tests. */
#ifndef SLUICE_TESTS_SCRATCH_FOLDER_H
#define SLUICE_TESTS_SCRATCH_FOLDER_H

#include "tests/sample_data.h"

#include <dirent.h>

static char *scratch_dir;

/* A group's setup: the name tells programs apart. */
static inline int scratch_begin(const char *name) {
  struct sluice_error err;
  scratch_dir = scratch_path(name);
  return scratch_dir && file_make_dirs(scratch_dir, &err) == SLUICE_OK ? 0 : -1;
}

static inline void scratch_write(const char *name, const void *bytes, size_t len) {
  struct sluice_error err;
  char *path = sluice_format("%s/%s", scratch_dir, name);
  if (file_write_atomic(path, bytes, len, &err)) fail_msg("%s", err.message);
  free(path);
}

static inline void scratch_text(const char *name, const char *text) {
  scratch_write(name, text, strlen(text));
}

static inline void scratch_remove(const char *name) {
  char *path = sluice_format("%s/%s", scratch_dir, name);
  unlink(path);
  free(path);
}

/* Every file; a test's setup or teardown. */
static inline int scratch_clean(void **state) {
  (void)state;
  DIR *d = opendir(scratch_dir);
  for (struct dirent *e; d && (e = readdir(d));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) scratch_remove(e->d_name);
  if (d) closedir(d);
  return 0;
}

static inline int scratch_end(void **state) {
  scratch_clean(state);
  rmdir(scratch_dir);
  free(scratch_dir);
  return 0;
}

#endif
