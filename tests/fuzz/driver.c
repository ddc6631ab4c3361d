/* Runs a fuzz target over files, without libFuzzer: each file as it is, then some variations of it, the same every
 * time. build/tests/fuzz/fuzz_sse FILE... $FUZZ_VARIATIONS: how many of each file (default 100). A crash is the
 * target's abort or a signal; the last line on stderr then names the file, and $FUZZ_KEEP (a path) gets the input. */
#include "fuzz.h"

enum { INPUT_MAX = 1 << 16, VARIATIONS = 100 };

static void run(const char *path, int variation, const uint8_t *bytes, size_t n) {
  const char *keep = getenv("FUZZ_KEEP");
  struct sluice_error err;
  if (keep && file_write_atomic(keep, bytes, n, &err)) fprintf(stderr, "%s\n", err.message);
  /* A copy of its exact size: a sanitizer or valgrind sees a read past its end. */
  uint8_t *copy = malloc(n ? n : 1);
  if (!copy) exit(1);
  memcpy(copy, bytes, n);
  fprintf(stderr, "%s, variation %d\n", path, variation);
  LLVMFuzzerTestOneInput(copy, n);
  free(copy);
}

/* One to four small changes: a byte, a bit, a cut, a doubled stretch. */
static size_t vary(struct rng *r, uint8_t *bytes, size_t n) {
  for (uint32_t i = 1 + rng_below(r, 4); i > 0 && n > 1; i--) {
    size_t at = rng_below(r, (uint32_t)n), len = 1 + rng_below(r, (uint32_t)(n - at < 64 ? n - at : 64));
    switch (rng_below(r, 5)) {
    case 0:
      bytes[at] = (uint8_t)rng_u64(r);
      break;
    case 1:
      bytes[at] ^= (uint8_t)(1u << rng_below(r, 8));
      break;
    case 2:
      memmove(bytes + at, bytes + at + len, n - at - len);
      n -= len;
      break;
    case 3:
      if (n + len > INPUT_MAX) break;
      memmove(bytes + at + len, bytes + at, n - at);
      n += len;
      break;
    default:
      bytes[at] = (uint8_t) "\"\\{}[]:,\n\r\0\xff"[rng_below(r, 12)];
    }
  }
  return n;
}

int main(int argc, char **argv) {
  static uint8_t bytes[INPUT_MAX];
  const char *more = getenv("FUZZ_VARIATIONS");
  long variations = VARIATIONS;
  if (more) {
    char *end;
    variations = strtol(more, &end, 10);
    if (*end || end == more || variations < 0) {
      fprintf(stderr, "FUZZ_VARIATIONS: \"%s\" is no number\n", more);
      return 2;
    }
  }
  for (int i = 1; i < argc; i++) {
    struct sluice_error err;
    struct rng r;
    char *text = NULL;
    size_t len = 0;
    if (file_read(argv[i], INPUT_MAX, &text, &len, &err)) {
      fprintf(stderr, "%s\n", err.message);
      return 2;
    }
    rng_seed_named(&r, 1, strrchr(argv[i], '/') ? strrchr(argv[i], '/') : argv[i]);
    for (int v = 0; v <= variations; v++) {
      memcpy(bytes, text, len);
      run(argv[i], v, bytes, v ? vary(&r, bytes, len) : len);
    }
    free(text);
  }
  return 0;
}
