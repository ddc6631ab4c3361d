/* For tests: a stream of frames through the monitor for many cuts of its bytes, held against the output wanted. */
#ifndef SLUICE_TESTS_WIRE_CUTS_H
#define SLUICE_TESTS_WIRE_CUTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gate.c" /* the program's own joint between the rooms; it is not part of the library */

static const char policy_text[] = "{\"rules\":["
                                  "{\"id\":\"mask\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"SECRET\"},"
                                  "{\"id\":\"mail\",\"category\":\"m\",\"action\":\"mask\",\"hold\":\"word\","
                                  "\"keywords\":[\"@\"],\"pattern\":\"\\\\w+@\\\\w+\"},"
                                  "{\"id\":\"stop\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}";

struct result {
  struct buffer out;
  sluice_status st;
  struct sluice_error err;
  bool stopped, ended;
};

static inline sluice_status collect(void *ctx, struct slice bytes, struct sluice_error *err) {
  return buffer_append(ctx, bytes.ptr, bytes.len, err);
}

static inline void run_cut(const struct wire_filter_options *o, struct slice in, const unsigned char *cuts,
                           struct result *r) {
  static struct monitor_policy *p; /* one for all runs: compiling it costs more than most streams */
  static struct monitor *m;
  struct gate g;
  struct wire_filter *f = NULL;
  buffer_clear(&r->out);
  r->st = SLUICE_OK;
  if (!p && monitor_policy_parse("test", NULL, slice_of(policy_text), &p, &r->err)) fail_msg("%s", r->err.message);
  if (!m) assert_int_equal(monitor_open(p, NULL, NULL, &m, &r->err), SLUICE_OK);
  gate_open(&g, m);
  struct wire_gate gate = gate_for_wire(&g);
  assert_int_equal(wire_filter_open(o, &gate, collect, &r->out, &f, &r->err), SLUICE_OK);
  for (size_t at = 0; at < in.len && !r->st;) {
    size_t end = at + 1;
    while (end < in.len && !cuts[end]) end++;
    char *copy = malloc(end - at);
    memcpy(copy, in.ptr + at, end - at);
    r->st = wire_filter_push(f, (struct slice){copy, end - at}, &r->err);
    free(copy);
    at = end;
  }
  if (!r->st) r->st = wire_filter_end(f, &r->err);
  r->stopped = wire_filter_stopped(f);
  r->ended = wire_filter_ended(f);
  wire_filter_close(f);
  gate_close(&g);
}

static inline void check_bytes(struct wire_filter_options o, struct slice in, struct slice want, bool stopped) {
  struct result r = {0};
  struct rng rng;
  unsigned char *cuts = calloc(in.len + 1, 1);
  rng_seed(&rng, in.len);
  for (int round = 0; round < 12; round++) {
    unsigned mean = round == 0 ? 1 : round == 1 ? 1000000 : 1 + rng_below(&rng, 40);
    for (size_t i = 0; i < in.len; i++) cuts[i] = rng_below(&rng, mean) == 0;
    run_cut(&o, in, cuts, &r);
    if (r.st) fail_msg("%s", r.err.message);
    assert_int_equal(r.stopped, stopped);
    if (r.out.len != want.len || memcmp(r.out.ptr ? r.out.ptr : "", want.ptr, want.len))
      fail_msg("got:\n%.*s\nwanted:\n%.*s", (int)r.out.len, r.out.ptr, (int)want.len, want.ptr);
  }
  buffer_free(&r.out);
  free(cuts);
}
#define SSE ((struct wire_filter_options){.format = WIRE_SSE})
#define LINES ((struct wire_filter_options){.format = WIRE_JSONL})
#define CHECK(o, in, want, stopped)                                                                                    \
  check_bytes(o, (struct slice){in, sizeof(in) - 1}, (struct slice){want, sizeof(want) - 1}, stopped)
#define SAME(o, in) CHECK(o, in, in, false)

#endif
