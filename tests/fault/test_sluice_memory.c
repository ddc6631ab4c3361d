/* libsluice and memory: in the steady state a push allocates nothing, with masks, tokens and events; and whichever
 * allocation fails before, the call says so, nothing leaks and nothing leaves that should not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "sluice/sluice.h"

#include "tests/failing_allocator.h"

static const char policy_text[] =
    "{\"rules\":["
    "{\"id\":\"a\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"key=(\\\\w+);\",\"protect\":1},"
    "{\"id\":\"b\",\"category\":\"m\",\"action\":\"mask\",\"words\":[\"one two\",\"three\"]},"
    "{\"id\":\"c\",\"category\":\"m\",\"action\":\"mask\",\"hold\":\"word\",\"keywords\":[\"@\"],\"pattern\":\"\\\\w+@"
    "\\\\w+\"},"
    "{\"id\":\"d\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}";
static const char *const pieces[] = {"my key=a", "b; one", " two ", "bob@ex", " caf\xc3", "\xa9 three. ", "and on"};
enum { PIECES = sizeof pieces / sizeof *pieces, WARM = 2000, STEADY = 100000 };

static uint64_t heard;
static void hear(void *context, const struct sluice_event *event) {
  (void)context, (void)event;
  heard++;
}

static void steady_state(const char *json, size_t size, bool own) {
  if (!CAN_INJECT) skip();
  struct sluice_policy *p = NULL;
  struct sluice_stream *s = NULL;
  struct sluice_failure why = {0};
  const struct sluice_verdict *v = NULL;
  struct sluice_stream_options o = SLUICE_STREAM_OPTIONS_INIT;
  o.on_event = hear;
  int st = own ? sluice_policy_parse("test", NULL, json, size, &p, &why)
               : sluice_policy_open("fixtures/policies/default.json", &p, &why);
  if (!st) st = sluice_stream_open(p, &o, &s, &why);
  if (st) fail_msg("%s", why.message);
  long before = 0;
  uint64_t shown = 0, masked = 0, tokens = 0;
  heard = 0;
  for (long i = 0; i < WARM + STEADY; i++) {
    if (i == WARM) before = allocations, shown = masked = tokens = heard = 0;
    const char *piece = own ? pieces[i % PIECES] : i % 50 == 49 ? " ann@example.org " : pieces[3 + i % 4] + 1;
    if (sluice_stream_push_token(s, piece, strlen(piece), i, -1.0, &v, &why)) fail_msg("%s", why.message);
    shown += v->text_size;
    masked += v->n_spans;
    tokens += v->n_tokens;
  }
  print_message("%d pieces: %ld allocations, %llu bytes shown, %llu masks, %llu events\n", STEADY, allocations - before,
                (unsigned long long)shown, (unsigned long long)masked, (unsigned long long)heard);
  assert_int_equal(allocations, before);
  assert_true(shown > 4 * STEADY / 2 && masked > STEADY / 100 && heard > STEADY / 100 && tokens > STEADY - 100);
  sluice_stream_close(s);
  sluice_policy_unref(p);
}

static void a_push_allocates_nothing(void **state) {
  (void)state;
  steady_state(policy_text, sizeof policy_text - 1, true);
}

static void nor_does_it_with_the_shipped_policy(void **state) {
  (void)state;
  steady_state(NULL, 0, false);
}

/* One stream from policy to end; *shown: what left. */
static int use(struct sluice_failure *why, char shown[512]) {
  struct sluice_policy *p = NULL;
  struct sluice_stream *s = NULL;
  const struct sluice_verdict *v = NULL;
  size_t n = 0;
  int st = sluice_policy_parse("test", NULL, policy_text, sizeof policy_text - 1, &p, why);
  if (!st) st = sluice_stream_open(p, NULL, &s, why);
  for (int i = 0; !st && i <= PIECES; i++) {
    st = i < PIECES ? sluice_stream_push_token(s, pieces[i], strlen(pieces[i]), i, 0, &v, why)
                    : sluice_stream_finish(s, &v, why);
    if (st || n + v->text_size >= 512) break;
    memcpy(shown + n, v->text, v->text_size);
    n += v->text_size;
  }
  shown[n] = '\0';
  if (s && st && sluice_stream_push(s, "late", 4, &v, NULL) != SLUICE_ERROR_STATE) fail_msg("a failed stream went on");
  sluice_stream_close(s);
  sluice_policy_unref(p);
  return st;
}

static void every_lost_allocation_is_told(void **state) {
  (void)state;
  if (!CAN_INJECT) skip();
  struct sluice_failure why = {0};
  char whole[512], shown[512];
  long failures = 0;
  assert_int_equal(use(&why, whole), 0);
  assert_null(strstr(whole, "bob"));
  for (long n = 0; n < 5000; n++) {
    long before = alive;
    memset(&why, 0, sizeof why);
    countdown = n;
    int st = use(&why, shown);
    bool reached = countdown < 0;
    countdown = -1;
    if (alive != before) fail_msg("allocation %ld: %ld not freed", n, alive - before);
    if (!reached) break;
    if (st) {
      assert_int_equal(st, SLUICE_ERROR_MEMORY);
      assert_int_equal(why.code, SLUICE_ERROR_MEMORY);
      assert_true(why.message[0]);
      assert_memory_equal(shown, whole, strlen(shown)); /* what left is where the whole begins */
    } else {
      assert_string_equal(shown, whole);
    }
    failures += st != 0;
  }
  print_message("%ld allocations failed in turn\n", failures);
  assert_true(failures > 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_push_allocates_nothing),
      cmocka_unit_test(nor_does_it_with_the_shipped_policy),
      cmocka_unit_test(every_lost_allocation_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
