/* libFuzzer target: the event parser. However the bytes are cut, the same events come, and their raw bytes are the
 * input's. */
#include "fuzz.h"
#include "wire/wire.h"

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

static void parse(struct slice in, struct cuts cuts, struct seen *s) {
  struct sse_parser p;
  struct sluice_error err;
  sse_open(&p, 0, note, s);
  while (in.len) {
    if (sse_push(&p, next_piece(&cuts, &in), &err)) abort();
  }
  if (sse_end(&p, &err)) abort();
  sse_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct slice in = {(const char *)data, size};
  struct seen whole = {0}, cut = {0};
  parse(in, (struct cuts){.whole = true}, &whole);
  parse(in, (struct cuts){.data = data, .size = size}, &cut);
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
