/* The prefilter over long texts changes nothing: the shipped policy with and without it, over long texts of many kinds
 * in which what it names stands here and there, whole and in pieces: the same output, the same events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/monitor_cuts.h"

enum { TEXT_BYTES = 60000, TEXTS = 6 };

static const char *const pieces[] = {
    "The harbour was quiet when the last boat came in. ",
    "{\"ts\":\"2026-03-01T10:20:30.123456Z\",\"peer\":\"10.20.30.40:5060\",\"id\":123456789012}\n",
    "48151,62342.05,7,199.99,2024,31.12,0.5\n",
    "call me on +49 30 1234567 or 030-12 34 56 78, card 4111 1111 1111 1111, ",
    "Anna.Nowak+x@example.org and 7bob@mail.example.com ",
    "ip 203.0.113.77 and 2001:db8::1:2, ssn 219-09-9999; DE89 3704 0044 0532 0130 00 ",
    "checksum = \"3f786850e387550fdab836ed7e6dc881de23001b\"\n",
    "SSN ２１９-０９-９９９９ and 4１11 1111 1111 1111 ", /* full-width digits: the folded view */
    "c3NuIDIxOS0wOS05OTk5IGFuZCBubyBtb3JlIG9mIGl0IGhlcmU= ",
    "key AKIAIOSFODNN7EXAMQQE and ghp_0123456789abcdefghijABCDEFGHIJ012345 ",
    "0011111111111111111111111111111111111111111111111111111111111111111111111 ",
    "港には誰もいなかった。 Гавань была тиха. \xe2\x80\x8b \xc2\xad ",
    "if (n->s1ze < 0x7f) return fa1l(\"b0mb\", 1234-5678-90);\n",
    "\x80\xff\xc3(",
};

static void make_text(struct rng *rng, struct buffer *out) {
  struct sluice_error err;
  buffer_clear(out);
  while (out->len < TEXT_BYTES) {
    const char *piece = pieces[rng_below(rng, sizeof pieces / sizeof *pieces)];
    for (unsigned n = 1 + rng_below(rng, 3); n; n--) buffer_append_str(out, piece, &err);
  }
}

static void write_event(void *ctx, const struct monitor_event *e) {
  struct sluice_error err;
  buffer_printf(ctx, &err, "%s %d %s %llu-%llu %s\n", e->rule, (int)e->kind, e->view, (unsigned long long)e->start,
                (unsigned long long)e->end, monitor_action_name(e->action));
}

/* Output and events; piece: bytes of one push. */
static void judge(const struct monitor_policy *p, struct slice text, size_t piece, struct buffer *out) {
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct monitor_tap *tap = NULL;
  struct buffer shown;
  bool stop = false;
  buffer_clear(out);
  buffer_init(&shown, 0);
  assert_int_equal(monitor_open(p, write_event, out, &m, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_open(m, collect, &shown, &tap, &err), SLUICE_OK);
  for (size_t at = 0; at < text.len && !stop; at += piece)
    assert_int_equal(monitor_tap_push(tap, 0, 0,
                                      (struct slice){text.ptr + at, text.len - at < piece ? text.len - at : piece},
                                      &stop, &err),
                     SLUICE_OK);
  assert_int_equal(monitor_tap_end(tap, &stop, &err), SLUICE_OK);
  buffer_append(out, shown.ptr, shown.len, &err);
  monitor_tap_close(tap);
  monitor_close(m);
  buffer_free(&shown);
}

static struct monitor_policy *load(void) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  if (monitor_policy_load("fixtures/policies/default.json", &p, &err)) fail_msg("%s", err.message);
  return p;
}

static void test_same_outcome(void **state) {
  (void)state;
  struct monitor_policy *without = load(), *with = load(), *always = load();
  struct buffer text, want, got;
  struct rng rng;
  rng_seed(&rng, 11);
  buffer_init(&text, 0);
  buffer_init(&want, 0);
  buffer_init(&got, 0);
  if (!monitor_policy_compile_prefilter(with)) skip();
  assert_true(monitor_policy_prefiltered(with) >= 6);
  without->prefilter_min = SIZE_MAX;
  cuts_prefilter = true;
  cuts_prefilter_policy(always);
  for (int i = 0; i < TEXTS; i++) {
    make_text(&rng, &text);
    const struct slice all = {text.ptr, text.len};
    const size_t sizes[] = {1 << 20, 5000, 1500, 512, 1 + rng_below(&rng, 40)};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
      judge(without, all, sizes[k], &want);
      assert_true(want.len > text.len / 2);
      const struct monitor_policy *prefiltered[] = {with, always};
      for (int g = 0; g < 2; g++) {
        judge(prefiltered[g], all, sizes[k], &got);
        if (got.len != want.len || memcmp(got.ptr, want.ptr, got.len))
          fail_msg("text %d in pieces of %zu bytes differs", i, sizes[k]);
      }
    }
  }
  buffer_free(&text);
  buffer_free(&want);
  buffer_free(&got);
  monitor_policy_free(without);
  monitor_policy_free(with);
  monitor_policy_free(always);
}

/* Compiling begins by itself; the policy may go meanwhile. */
static void test_begins_by_itself(void **state) {
  (void)state;
  struct monitor_policy *p = load();
  struct buffer text, out;
  struct rng rng;
  rng_seed(&rng, 12);
  buffer_init(&text, 0);
  buffer_init(&out, 0);
  make_text(&rng, &text);
  for (int i = 0; i < 3; i++) judge(p, (struct slice){text.ptr, text.len}, text.len, &out);
  monitor_policy_free(p);
  buffer_free(&text);
  buffer_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_begins_by_itself), cmocka_unit_test(test_same_outcome)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
