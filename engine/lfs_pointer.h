/* A file that Git LFS has not fetched: in its place a clone has a text of three lines. */
#ifndef SLUICE_ENGINE_LFS_POINTER_H
#define SLUICE_ENGINE_LFS_POINTER_H

#include <string.h>

#include "base/base.h"

#define LFS_POINTER_MESSAGE "%s: a Git LFS pointer in the file's place; fetch the file with `git lfs pull`"

static inline bool lfs_pointer(struct slice bytes) {
  static const char begins[] = "version https://git-lfs.github.com/spec/";
  return bytes.len >= sizeof begins - 1 && memcmp(bytes.ptr, begins, sizeof begins - 1) == 0;
}

#endif
