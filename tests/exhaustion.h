/* Fails one allocation after the other under a piece of work: each time the work must either say that memory ran out,
 * or come to the same result as without trouble; and leave nothing behind. One translation unit a program: this header
 * replaces malloc (tests/failing_allocator.h). */
#ifndef SLUICE_TESTS_EXHAUSTION_H
#define SLUICE_TESTS_EXHAUSTION_H

#include "base/base.h"
#include "tests/failing_allocator.h"

/* The work appends what it came to; a status that is not SLUICE_OK must be SLUICE_NOMEM. */
typedef sluice_status (*exhausted_fn)(void *ctx, struct buffer *result, struct sluice_error *err);

/* Every allocation up to `dense`, then ever fewer: each step is 1/16 of the way so far, so that work with many
 * thousands of allocations is tried at all its stages in bounded time. at_least: failures that must have been told. */
static void exhaust(const char *what, exhausted_fn work, void *ctx, long dense, long at_least) {
  struct sluice_error err = {0};
  struct buffer whole, seen;
  if (!CAN_INJECT) skip();
  buffer_init(&whole, 0);
  buffer_init(&seen, 0);
  for (int i = 0; i < 2; i++) { /* what libraries keep for themselves is taken now */
    buffer_clear(&whole);
    if (work(ctx, &whole, &err)) fail_msg("%s: %s", what, err.message);
  }
  buffer_append(&seen, whole.ptr, whole.len, &err); /* room, so that the work's own result allocates nothing */
  long told = 0, tried = 0;
  for (long n = 0;; n += n < dense ? 1 : 1 + n / 16, tried++) {
    long before = alive;
    buffer_clear(&seen);
    err.message[0] = '\0';
    countdown = n;
    sluice_status st = work(ctx, &seen, &err);
    bool reached = countdown < 0;
    countdown = -1;
    if (alive != before) fail_msg("%s, allocation %ld: %ld blocks not freed", what, n, alive - before);
    if (!reached) break;
    if (st && st != SLUICE_NOMEM) fail_msg("%s, allocation %ld: %s: %s", what, n, sluice_status_name(st), err.message);
    if (st && !err.message[0]) fail_msg("%s, allocation %ld: no message", what, n);
    if (!st) {
      size_t at = 0;
      while (at < whole.len && at < seen.len && whole.ptr[at] == seen.ptr[at]) at++;
      size_t from = at > 60 ? at - 60 : 0;
      if (at < whole.len || at < seen.len)
        fail_msg("%s, allocation %ld: done, but at byte %zu \"%.120s\" instead of \"%.120s\"", what, n, at,
                 seen.ptr + from, whole.ptr + from);
    }
    told += st != SLUICE_OK;
  }
  print_message("%s: %ld allocations failed, %ld times told, else the same result\n", what, tried, told);
  assert_true(told >= at_least);
  buffer_free(&whole);
  buffer_free(&seen);
}
#endif
