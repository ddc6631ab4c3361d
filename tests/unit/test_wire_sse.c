/* The event parser: the same events and the same bytes for every cut of the stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

struct seen {
  struct buffer events, raw;
};

static sluice_status note(void *ctx, const struct sse_event *e, struct sluice_error *err) {
  struct seen *s = ctx;
  assert_int_equal(e->offset, s->raw.len);
  buffer_append(&s->raw, e->raw.ptr, e->raw.len, err);
  buffer_printf(&s->events, err, "[%.*s|%s|%.*s%s]", (int)e->name.len, e->name.ptr, e->has_data ? "data" : "-",
                (int)e->data.len, e->data.ptr, e->ended ? "" : "|cut");
  return SLUICE_OK;
}

static void parse(struct slice all, const unsigned char *cuts, struct seen *s) {
  struct sse_parser p;
  struct sluice_error err = {0};
  buffer_clear(&s->events);
  buffer_clear(&s->raw);
  sse_open(&p, 0, note, s);
  for (size_t at = 0; at < all.len;) {
    size_t end = at + 1;
    while (end < all.len && !cuts[end]) end++;
    char *copy = malloc(end - at);
    memcpy(copy, all.ptr + at, end - at);
    assert_int_equal(sse_push(&p, (struct slice){copy, end - at}, &err), SLUICE_OK);
    free(copy);
    at = end;
  }
  assert_int_equal(sse_end(&p, &err), SLUICE_OK);
  sse_close(&p);
}

static void check(const char *text, size_t len, const char *want) {
  struct seen s = {0};
  unsigned char *cuts = calloc(len + 1, 1);
  struct rng rng;
  rng_seed(&rng, len);
  for (size_t round = 0; round < len + 202; round++) {
    memset(cuts, 0, len);
    if (round < len)
      cuts[round] = 1;
    else if (round == len)
      memset(cuts, 1, len);
    else if (round > len + 1)
      for (size_t i = 0; i < len; i++) cuts[i] = rng_below(&rng, 4) == 0;
    parse((struct slice){text, len}, cuts, &s);
    assert_string_equal(s.events.ptr, want);
    assert_int_equal(s.raw.len, len);
    assert_memory_equal(s.raw.ptr, text, len);
  }
  buffer_free(&s.events);
  buffer_free(&s.raw);
  free(cuts);
}
#define CHECK(text, want) check(text, sizeof(text) - 1, want)

static void test_line_ends(void **state) {
  (void)state;
  CHECK("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\n\n", "[|data|a][|data|b][|data|c][|data|d]");
  CHECK("data: a\r\n\ndata: b\n\r\n", "[|data|a][|data|b]");
}

/* Once a line has ended in a bare CR, an event ends at its blank line's CR: whether an LF is to come is not waited for,
 * and where the LF goes must not depend on the cut. */
static void test_mixed_line_ends(void **state) {
  (void)state;
  CHECK("data: a\r\rdata: b\r\n\r\ndata: c\r\r\ndata: d\n\n", "[|data|a][|data|b][|data|c][|data|d]");
  CHECK("data: a\rdata: b\r\n\r\n\r\n: x\r\r\n\n", "[|data|a\nb][|-|][|-|][|-|]");
  CHECK("data: a\r\r\n", "[|data|a][|-||cut]");
  static const char *const parts[] = {"\r", "\n", "\r\n", "data: x", ":c", "\r\r", "event: e"};
  char text[512];
  struct seen s = {0};
  struct rng rng;
  rng_seed(&rng, 7);
  for (int round = 0; round < 60; round++) {
    unsigned char whole[sizeof text] = {1};
    size_t len = 0;
    for (int i = 0; i < 12; i++)
      len += (size_t)snprintf(text + len, sizeof text - len, "%s", parts[rng_below(&rng, 7)]);
    parse((struct slice){text, len}, whole, &s);
    char *want = strdup(s.events.len ? s.events.ptr : "");
    check(text, len, want);
    free(want);
  }
  buffer_free(&s.events);
  buffer_free(&s.raw);
}

static void test_fields(void **state) {
  (void)state;
  CHECK(": keep-alive\n\n", "[|-|]");
  CHECK("event: delta\ndata:no space\nid: 7\nretry: 10\n\n", "[delta|data|no space]");
  CHECK("data: one\ndata: two\ndata:\ndata\n\n", "[|data|one\ntwo\n\n]");
  CHECK("database: x\nda: y\n\n", "[|-|]");
  CHECK("data:  two spaces\n\n", "[|data| two spaces]");
}

static void test_ends(void **state) {
  (void)state;
  CHECK("\xEF\xBB\xBF"
        "data: bom\n\n",
        "[|data|bom]");
  CHECK("data: x\n\ndata: [DONE]", "[|data|x][|data|[DONE]|cut]");
  CHECK("data: x\n\ndata: [DONE]\n", "[|data|x][|data|[DONE]|cut]");
  CHECK("\n\n\n", "[|-|][|-|][|-|]");
}

static void test_event_bound(void **state) {
  (void)state;
  struct sse_parser p;
  struct seen s = {0};
  struct sluice_error err = {0};
  sse_open(&p, 16, note, &s);
  assert_int_equal(sse_push(&p, slice_of("data: a\n\n"), &err), SLUICE_OK);
  assert_int_equal(sse_push(&p, slice_of("data: 0123456789abcdef"), &err), SLUICE_LIMIT);
  assert_non_null(strstr(err.message, "byte 9"));
  sse_close(&p);
  buffer_free(&s.events);
  buffer_free(&s.raw);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_line_ends),
      cmocka_unit_test(test_mixed_line_ends),
      cmocka_unit_test(test_fields),
      cmocka_unit_test(test_ends),
      cmocka_unit_test(test_event_bound),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
