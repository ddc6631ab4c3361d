/* libFuzzer target: the event parser. However the bytes are cut, the same events come, and their raw bytes are the
 * input's.
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -I. -D_GNU_SOURCE tests/fuzz/fuzz_sse.c wire/[a-z]*.c
 * base/[a-z]*.c \
 *     $(pkg-config --cflags --libs libcjson libcrypto) -pthread -lm -o build/fuzz_sse
 *   build/fuzz_sse -max_total_time=30 -max_len=4096 build/fuzz-work tests/fuzz/corpus/sse */
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
  struct buffer events, raw;
};

static sluice_status note(void *ctx, const struct sse_event *e, struct sluice_error *err) {
  struct seen *s = ctx;
  if (e->offset != s->raw.len) abort();
  buffer_append(&s->raw, e->raw.ptr, e->raw.len, err);
  if (!e->has_data) return SLUICE_OK; /* where a stray LF goes depends on the cut; it carries nothing */
  buffer_printf(&s->events, err, "[%zu %zu ", e->name.len, e->data.len);
  buffer_append(&s->events, e->name.ptr, e->name.len, err);
  return buffer_append(&s->events, e->data.ptr, e->data.len, err);
}

static void parse(struct slice in, uint64_t seed, struct seen *s) {
  struct sse_parser p;
  struct sluice_error err;
  struct rng rng;
  rng_seed(&rng, seed);
  sse_open(&p, 0, note, s);
  while (in.len) {
    size_t n = seed ? 1 + rng_below(&rng, 1 + (uint32_t)(seed % 40)) : in.len;
    if (n > in.len) n = in.len;
    if (sse_push(&p, (struct slice){in.ptr, n}, &err)) abort();
    in.ptr += n;
    in.len -= n;
  }
  if (sse_end(&p, &err)) abort();
  sse_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct slice in = {(const char *)data, size};
  struct seen whole = {0}, cut = {0};
  parse(in, 0, &whole);
  parse(in, 1 + hash64(data, size) % 1000, &cut);
  if (whole.raw.len != size || cut.raw.len != size) abort();
  if (size && (memcmp(whole.raw.ptr, data, size) || memcmp(cut.raw.ptr, data, size))) abort();
  if (whole.events.len != cut.events.len) abort();
  if (whole.events.len && memcmp(whole.events.ptr, cut.events.ptr, cut.events.len)) abort();
  buffer_free(&whole.events);
  buffer_free(&whole.raw);
  buffer_free(&cut.events);
  buffer_free(&cut.raw);
  return 0;
}
