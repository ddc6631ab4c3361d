/* A policy's JSON, and text behind a U+0000. Whatever policy loads, the text that leaves does not depend on how the
 * text came, and nothing protected has left before. */
#include "fuzz.h"
#include "monitor/monitor.h"

enum { TEXT_MAX = 400 };

/* What a run decodes to is held from its 24th byte on only, so what of it leaves does depend on the cuts
 * (docs/monitor.md, Views). */
static bool decoded;

static void look(void *ctx, const struct monitor_event *e) {
  (void)ctx;
  decoded |= strncmp(e->view, "raw", 3) && strncmp(e->view, "folded", 6) && strncmp(e->view, "leet", 4);
}

struct run {
  struct buffer out;
  bool stopped;
  struct monitor_counts counts;
};

static sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static void play(struct monitor *m, struct slice text, struct cuts cuts, struct run *r) {
  struct sluice_error err;
  struct monitor_tap *t = NULL;
  bool stop = false;
  PROMISE(monitor_tap_open(m, collect, &r->out, &t, &err) == SLUICE_OK);
  while (text.len && !stop) PROMISE(monitor_tap_push(t, 0, 0, next_piece(&cuts, &text), &stop, &err) == SLUICE_OK);
  PROMISE(monitor_tap_end(t, &r->stopped, &err) == SLUICE_OK);
  monitor_tap_counts(t, &r->counts);
  monitor_tap_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct sluice_error err;
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  const uint8_t *end = memchr(data, 0, size);
  size_t json = end ? (size_t)(end - data) : size, at = end ? json + 1 : size;
  struct slice text = {(const char *)data + at, size - at < TEXT_MAX ? size - at : TEXT_MAX};
  err.message[0] = '\0';
  if (monitor_policy_parse("input", "/nowhere", (struct slice){(const char *)data, json}, &p, &err)) {
    PROMISE(err.message[0]);
    return 0;
  }
  PROMISE(monitor_open(p, look, NULL, &m, &err) == SLUICE_OK);
  struct run whole = {0}, cut = {0};
  decoded = false;
  play(m, text, (struct cuts){.whole = true}, &whole);
  play(m, text, (struct cuts){.data = data, .size = size}, &cut);
  /* Where a rule gave up at its match limit, how much it had seen decides. */
  if (!whole.counts.not_scanned && !cut.counts.not_scanned && !decoded)
    PROMISE(whole.stopped == cut.stopped && same_bytes(&whole.out, &cut.out));
  PROMISE(decoded || (whole.counts.exposed == 0 && cut.counts.exposed == 0));
  buffer_free(&whole.out);
  buffer_free(&cut.out);
  monitor_close(m);
  monitor_policy_free(p);
  return 0;
}
