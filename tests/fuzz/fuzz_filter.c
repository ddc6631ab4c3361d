/* libFuzzer target: streams through the filter. The first byte chooses the format (t, s, l, j: text, SSE, JSON lines, a
 * body); however the rest is cut, the same bytes leave with the same verdict, and none of the text that leaves holds
 * what the policy masks or stops at. */
#include "cli/gate.c" /* the program's own joint between the rooms; it is not part of the library */
#include "fuzz.h"

static const char policy_text[] =
    "{\"limits\":{\"max_match\":40},\"rules\":["
    "{\"id\":\"a\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"SECRET\",\"mask\":\"-\"},"
    "{\"id\":\"b\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"k=(\\\\w+);\",\"protect\":1,\"mask\":\"-\"},"
    "{\"id\":\"c\",\"category\":\"m\",\"action\":\"mask\",\"hold\":\"word\",\"keywords\":[\"@\"],\"pattern\":\"\\\\w+@"
    "\\\\w+\",\"mask\":\"-\"},"
    "{\"id\":\"d\",\"category\":\"m\",\"action\":\"mask\",\"words\":[\"one two\",\"\\u00e9t\\u00e9\"],\"mask\":\"-\"},"
    "{\"id\":\"e\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"B[A-Z]MB\"}]}";

struct run {
  struct buffer out;
  struct wire_filter *wire;
  struct monitor_tap *tap;
  sluice_status st;
  bool stopped;
};

static sluice_status sink(void *ctx, struct slice bytes, struct sluice_error *err) {
  return buffer_append(ctx, bytes.ptr, bytes.len, err);
}

static sluice_status sink_text(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static void run(struct monitor *m, char format, struct slice in, struct cuts cuts, struct run *r) {
  struct sluice_error err;
  struct gate g;
  struct wire_filter_options o = {.format = format == 's'   ? WIRE_SSE
                                            : format == 'j' ? WIRE_JSON
                                                            : WIRE_JSONL,
                                  .each_line = format == 'e'};
  gate_open(&g, m);
  struct wire_gate gate = gate_for_wire(&g);
  if (format == 't' ? monitor_tap_open(m, sink_text, &r->out, &r->tap, &err)
                    : wire_filter_open(&o, &gate, sink, &r->out, &r->wire, &err))
    abort();
  bool stop = false;
  while (in.len && !r->st && !stop) {
    struct slice part = next_piece(&cuts, &in);
    r->st = r->tap ? monitor_tap_push(r->tap, 0, 0, part, &stop, &err) : wire_filter_push(r->wire, part, &err);
  }
  if (!r->st) r->st = r->tap ? monitor_tap_end(r->tap, &r->stopped, &err) : wire_filter_end(r->wire, &err);
  if (r->wire) r->stopped = wire_filter_stopped(r->wire);
  monitor_tap_close(r->tap);
  wire_filter_close(r->wire);
  gate_close(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct monitor_policy *p;
  static struct monitor *m;
  struct sluice_error err;
  struct run whole = {0}, cut = {0};
  if (!p &&
      (monitor_policy_parse("fuzz", NULL, slice_of(policy_text), &p, &err) || monitor_open(p, NULL, NULL, &m, &err)))
    abort();
  if (size < 2) return 0;
  struct slice in = {(const char *)data + 1, size - 1};
  run(m, (char)data[0], in, (struct cuts){.whole = true}, &whole);
  run(m, (char)data[0], in, (struct cuts){.data = data, .size = size}, &cut);
  if (whole.st != cut.st || whole.stopped != cut.stopped || whole.out.len != cut.out.len) abort();
  if (cut.out.len && memcmp(whole.out.ptr, cut.out.ptr, cut.out.len)) abort();
  if (data[0] == 't' && cut.out.len &&
      (memmem(cut.out.ptr, cut.out.len, "SECRET", 6) || memmem(cut.out.ptr, cut.out.len, "BOMB", 4)))
    abort();
  buffer_free(&whole.out);
  buffer_free(&cut.out);
  return 0;
}
