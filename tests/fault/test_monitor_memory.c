/* The monitor and the wire when memory runs out: whichever allocation fails, the call says so and nothing leaks; and in
 * the steady state there is no allocation at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gate.c" /* the program's own joint between the rooms; it is not part of the library */

#include "tests/failing_allocator.h"

static const char policy_text[] =
    "{\"rules\":["
    "{\"id\":\"a\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"key=(\\\\w+);\",\"protect\":1},"
    "{\"id\":\"b\",\"category\":\"m\",\"action\":\"mask\",\"words\":[\"one two\",\"three\"]},"
    "{\"id\":\"c\",\"category\":\"m\",\"action\":\"mask\",\"hold\":\"word\",\"keywords\":[\"@\"],\"pattern\":\"\\\\w+@"
    "\\\\w+\"},"
    "{\"id\":\"d\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}";
static const char *const pieces[] = {"my key=a", "b; one", " two ", "bob@ex", " caf\xc3", "\xa9 three. ",
                                     "and so on and on ", "until the ", "text is long enough to have moved once. ",
                                     /* a word list's in look-alikes, in leet, in base64, in base64 of base64 */
                                     "on\xEF\xBD\x85 t\xD0\xB5wo ", "thr33 ", "b25lIHR3byBhbmQgdGhyZWUgb25lIHR3bw== ",
                                     "YjI1bElIUjNieUJoYm1RZ2RHaHlaV1VnYjI1bElIUjNidz09 "};
enum { PIECES = sizeof pieces / sizeof *pieces };

static size_t swallowed;
static sluice_status swallow(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)ctx, (void)choice, (void)channel, (void)err;
  swallowed += text.len;
  return SLUICE_OK;
}

static sluice_status use_monitor(struct sluice_error *err) {
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  struct monitor_tap *t = NULL;
  bool stop = false;
  sluice_status st = monitor_policy_parse("test", NULL, slice_of(policy_text), &p, err);
  if (!st) st = monitor_open(p, NULL, NULL, &m, err);
  if (!st) st = monitor_tap_open(m, swallow, NULL, &t, err);
  for (int i = 0; !st && i < PIECES; i++) st = monitor_tap_push(t, 0, 0, slice_of(pieces[i]), &stop, err);
  if (!st) st = monitor_tap_end(t, &stop, err);
  monitor_tap_close(t);
  monitor_close(m);
  monitor_policy_free(p);
  return st;
}

static sluice_status sink(void *ctx, struct slice bytes, struct sluice_error *err) {
  (void)ctx, (void)err;
  swallowed += bytes.len;
  return SLUICE_OK;
}

static sluice_status use_wire(struct sluice_error *err) {
  static const char stream[] =
      "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"my key=ab\"}}]}\n\n"
      "data: {\"id\":\"x\",\ndata: \"choices\":[{\"index\":0,\"delta\":{\"content\":\"c; BOM\"}}]}\n\n: ping\n\n"
      "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"one two\"}}]}\n\n"
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"B\"}}]}\n\n"
      "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  struct gate g = {0};
  struct wire_filter *f = NULL;
  struct wire_filter_options o = {.format = WIRE_SSE};
  sluice_status st = monitor_policy_parse("test", NULL, slice_of(policy_text), &p, err);
  if (!st) st = monitor_open(p, NULL, NULL, &m, err);
  gate_open(&g, m);
  struct wire_gate gate = gate_for_wire(&g);
  if (!st) st = wire_filter_open(&o, &gate, sink, NULL, &f, err);
  for (size_t at = 0; !st && at < sizeof stream - 1; at += 16)
    st = wire_filter_push(f, (struct slice){stream + at, sizeof stream - 1 - at < 16 ? sizeof stream - 1 - at : 16},
                          err);
  if (!st) st = wire_filter_end(f, err);
  wire_filter_close(f);
  gate_close(&g);
  monitor_close(m);
  monitor_policy_free(p);
  return st;
}

static void fail_each(sluice_status (*use)(struct sluice_error *)) {
  if (!CAN_INJECT) skip();
  struct sluice_error err = {0};
  assert_int_equal(use(&err), SLUICE_OK);
  size_t whole = swallowed;
  long failures = 0;
  for (long n = 0; n < 5000; n++) {
    long before = alive;
    swallowed = 0;
    err.message[0] = '\0';
    countdown = n;
    sluice_status st = use(&err);
    bool reached = countdown < 0;
    countdown = -1;
    if (alive != before) fail_msg("allocation %ld: %ld not freed", n, alive - before);
    if (!reached) {
      assert_int_equal(st, SLUICE_OK);
      break;
    }
    /* machine code, the probe and frames to use again may be gone without: then the output is the same all the same */
    if (st) assert_true(err.message[0]);
    if (st)
      assert_int_equal(st, SLUICE_NOMEM);
    else
      assert_int_equal(swallowed, whole);
    failures += st != SLUICE_OK;
  }
  print_message("%ld allocations failed in turn\n", failures);
  assert_true(failures > 20);
}

static void monitor_reports_lost_memory(void **state) {
  (void)state;
  swallowed = 0;
  fail_each(use_monitor);
}

static void wire_reports_lost_memory(void **state) {
  (void)state;
  swallowed = 0;
  fail_each(use_wire);
}

static void steady_state_allocates_nothing(void **state) {
  (void)state;
  if (!CAN_INJECT) skip();
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  struct monitor_stream *s = NULL;
  struct monitor_verdict v;
  assert_int_equal(monitor_policy_parse("test", NULL, slice_of(policy_text), &p, &err), SLUICE_OK);
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  assert_int_equal(monitor_stream_open(m, 0, 0, 0, &s, &err), SLUICE_OK);
  long before = 0;
  for (int round = 0; round < 4000; round++) {
    if (round == 1000) before = allocations; /* buffers have grown by now */
    for (int i = 0; i < PIECES; i++) {
      assert_int_equal(monitor_push(s, slice_of(pieces[i]), &v, &err), SLUICE_OK);
      monitor_forget(s, v.released);
    }
  }
  assert_int_equal(allocations, before);
  monitor_stream_close(s);
  monitor_close(m);
  monitor_policy_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(monitor_reports_lost_memory),
      cmocka_unit_test(wire_reports_lost_memory),
      cmocka_unit_test(steady_state_allocates_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
