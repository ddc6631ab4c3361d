/* For fuzz targets. A target is fuzz_NAME.c with LLVMFuzzerTestOneInput and a folder corpus/NAME; `make fuzz` links it
 * with libFuzzer, `make unit` with driver.c. A broken promise ends the process by abort(). */
#ifndef SLUICE_TESTS_FUZZ_H
#define SLUICE_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(what)                                                                                                  \
  do {                                                                                                                 \
    if (!(what)) {                                                                                                     \
      fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #what);                                               \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

/* Where to cut an input into pieces: its own bytes say so, from the last one backwards, so that a small change of the
 * input moves one cut and not all. */
struct cuts {
  const uint8_t *data;
  size_t size, at;
  bool whole; /* one piece */
};
static inline struct slice next_piece(struct cuts *c, struct slice *rest) {
  size_t n = rest->len;
  if (!c->whole && c->size) {
    uint8_t byte = c->data[c->size - 1 - c->at++ % c->size];
    size_t want = byte & 1 ? 1 : 1 + byte / 4;
    if (want < n) n = want;
  }
  struct slice piece = {rest->ptr, n};
  rest->ptr += n;
  rest->len -= n;
  return piece;
}

/* A file that holds these bytes until the next call, by its path. */
static inline const char *file_of(const void *bytes, size_t size) {
  static char path[64];
  static int fd = -1;
  struct sluice_error err;
  if (fd >= 0) close(fd);
  fd = memfd_create("input", MFD_CLOEXEC);
  PROMISE(fd >= 0 && fd_write_all(fd, bytes, size, &err) == SLUICE_OK);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return path;
}

static inline bool same_bytes(const struct buffer *a, const struct buffer *b) {
  return slice_equal((struct slice){a->ptr, a->len}, (struct slice){b->ptr, b->len});
}
#endif
