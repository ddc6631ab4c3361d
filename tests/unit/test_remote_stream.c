/* Reading a streamed answer, without a network: every cut of the bytes gives the same answer, and damaged bytes give a
 * fault or an answer, never a crash, and never text that the tap did not see. */
#include "engine/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sluice_error err;

static const char stream[] =
    ": ping\r\n\r\n"
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"another choice\"}}]}\n\n"
    "event: message\ndata: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"caf\xc3\xa9 \\u20ac "
    "\\ud83d\\ude00\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" end\"},\"finish_reason\":null}],\"usage\":null}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":5,\"total_tokens\":16}}\n\n"
    "data: [DONE]\n\n";
#define TEXT "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 end"

struct seen {
  struct buffer content, other;
};
static bool tap(void *ctx, const struct piece *p) {
  struct seen *s = ctx;
  struct buffer *b = p->channel == CHANNEL_CONTENT ? &s->content : &s->other;
  assert_int_equal(buffer_append(b, p->bytes.ptr, p->bytes.len, &err), SLUICE_OK);
  return true;
}

struct reading {
  struct seen seen;
  struct buffer text;
  struct remote_fault fault;
  struct remote_stream_result result;
};

/* Pushes bytes in pieces of the lengths that `cut` gives. */
static void read_stream(struct reading *r, const char *bytes, size_t len, size_t (*cut)(void *ctx), void *ctx) {
  struct remote_stream *s = NULL;
  bool on = true;
  memset(r, 0, sizeof *r);
  buffer_init(&r->text, 1 << 20);
  assert_int_equal(remote_stream_open(tap, &r->seen, &r->text, &s, &err), SLUICE_OK);
  for (size_t at = 0; at < len && on;) {
    size_t n = cut(ctx);
    if (n > len - at) n = len - at;
    char *copy = malloc(n + 1); /* of its own, so that a reader past the end is seen by the sanitizer */
    memcpy(copy, bytes + at, n);
    on = remote_stream_push(s, copy, n, &r->fault);
    free(copy);
    at += n;
  }
  if (on) remote_stream_end(s, &r->fault);
  r->result = *remote_stream_result(s);
  remote_stream_close(s);
}

static void free_reading(struct reading *r) {
  buffer_free(&r->text);
  buffer_free(&r->seen.content);
  buffer_free(&r->seen.other);
}

static size_t fixed(void *ctx) {
  return *(size_t *)ctx;
}
static size_t drawn(void *ctx) {
  return 1 + rng_below(ctx, 40);
}

static void every_cut_gives_the_same_answer(void **state) {
  (void)state;
  for (size_t n = 1; n < sizeof stream; n++) {
    struct reading r;
    read_stream(&r, stream, sizeof stream - 1, fixed, &n);
    if (r.fault.class != REMOTE_OK) fail_msg("cut every %zu: %s", n, r.fault.message);
    assert_int_equal(r.text.len, strlen(TEXT));
    assert_memory_equal(r.text.ptr, TEXT, r.text.len);
    assert_memory_equal(r.seen.content.ptr, TEXT, r.text.len);
    assert_int_equal(r.seen.other.len, 2);
    assert_true(r.result.finished && r.result.emitted && !r.result.stopped);
    assert_int_equal(r.result.outcome, OUTCOME_DONE);
    assert_int_equal(r.result.prompt_tokens, 11);
    assert_int_equal(r.result.output_tokens, 5);
    assert_int_equal(r.result.total_tokens, 16);
    free_reading(&r);
  }
}

static void every_beginning_alone_is_no_answer(void **state) {
  (void)state;
  size_t whole = 1 << 20, finish = (size_t)(strstr(stream, "\"stop\"}]}") + 9 - stream);
  for (size_t len = 0; len < sizeof stream; len++) {
    struct reading r;
    read_stream(&r, stream, len, fixed, &whole);
    assert_true(r.result.finished == (len >= finish && r.fault.class == REMOTE_OK) || r.fault.class != REMOTE_OK);
    if (len < finish) assert_int_not_equal(r.fault.class, REMOTE_OK);
    free_reading(&r);
  }
}

static void damaged_bytes_do_no_harm(void **state) {
  (void)state;
  static const char spice[] = "\"\\{}[]:,\n\r\0\xff dataeu0123-.";
  struct rng r;
  int answers = 0, faults = 0;
  rng_seed(&r, 20);
  for (int i = 0; i < 4000; i++) {
    char bytes[sizeof stream];
    struct reading reading;
    memcpy(bytes, stream, sizeof stream);
    size_t len = sizeof stream - 1;
    for (uint32_t hits = 1 + rng_below(&r, 6); hits > 0; hits--) {
      bytes[rng_below(&r, (uint32_t)len)] =
          rng_below(&r, 2) ? spice[rng_below(&r, sizeof spice)] : (char)rng_below(&r, 256);
    }
    if (rng_below(&r, 4) == 0) len = rng_below(&r, (uint32_t)len + 1);
    read_stream(&reading, bytes, len, drawn, &r);
    assert_int_equal(reading.text.len, reading.seen.content.len);
    if (reading.text.len > 0) assert_memory_equal(reading.text.ptr, reading.seen.content.ptr, reading.text.len);
    if (reading.fault.class == REMOTE_OK) {
      assert_true(reading.result.finished && reading.result.outcome != OUTCOME_ERROR);
      answers++;
    } else {
      assert_true(reading.fault.message[0] != '\0');
      faults++;
    }
    free_reading(&reading);
  }
  assert_true(answers > 100 && faults > 100); /* both ways were taken */
}

static void one_thought_under_two_names_is_passed_once(void **state) {
  (void)state;
  static const char twice[] =
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\",\"reasoning\":\"hm\"},"
      "\"finish_reason\":\"stop\"}]}\n\n";
  struct reading r;
  size_t whole = 1 << 20;
  read_stream(&r, twice, sizeof twice - 1, fixed, &whole);
  assert_int_equal(r.fault.class, REMOTE_OK);
  assert_int_equal(r.seen.other.len, 2);
  free_reading(&r);
}

static void finish_reasons_are_told_apart(void **state) {
  (void)state;
  static const struct {
    const char *why;
    enum outcome outcome;
    enum remote_class class;
  } known[] = {{"stop", OUTCOME_DONE, REMOTE_OK},
               {"eos", OUTCOME_DONE, REMOTE_OK},
               {"tool_calls", OUTCOME_DONE, REMOTE_OK},
               {"length", OUTCOME_TRUNCATED, REMOTE_OK},
               {"max_tokens", OUTCOME_TRUNCATED, REMOTE_OK},
               {"content_filter", OUTCOME_REFUSED, REMOTE_OK},
               {"abort", OUTCOME_ERROR, REMOTE_SERVER},
               {"error", OUTCOME_ERROR, REMOTE_SERVER}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    char bytes[256];
    struct reading r;
    size_t whole = 1 << 20;
    int n = snprintf(bytes, sizeof bytes,
                     "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"%s\"}]}\n\n",
                     known[i].why);
    read_stream(&r, bytes, (size_t)n, fixed, &whole);
    assert_int_equal(r.fault.class, known[i].class);
    assert_int_equal(r.result.outcome, known[i].outcome);
    free_reading(&r);
  }
}

static void errors_are_cut_to_one_short_line(void **state) {
  (void)state;
  static const struct {
    const char *body, *message, *code;
  } known[] = {{"{\"error\":{\"message\":\"no\\nmore\",\"code\":\"quota\"}}", "no more", "quota"},
               {"{\"error\":{\"message\":\"x\",\"type\":\"t\",\"code\":null}}", "x", "t"},
               {"{\"message\":\"flat\"}", "flat", ""},
               {"{\"error\":\"just text\"}", "{\"error\":\"just text\"}", ""},
               {"<html>\x01", "<html> ", ""},
               {"", "(no text)", ""}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    char message[64], code[8];
    remote_error_text(slice_of(known[i].body), message, sizeof message, code, sizeof code);
    assert_string_equal(message, known[i].message);
    assert_string_equal(code, known[i].code);
  }
  char small[8], code[4];
  remote_error_text(slice_of("{\"error\":{\"message\":\"a long one\",\"code\":\"abcdefgh\"}}"), small, sizeof small,
                    code, sizeof code);
  assert_string_equal(small, "a long ");
  assert_string_equal(code, "abc");
  remote_error_text(slice_of("{\"error\":{\"message\":\"abcde\xe2\x82\xac\"}}"), small, sizeof small, code,
                    sizeof code);
  assert_string_equal(small, "abcde"); /* not a part of a character */
  remote_error_text(slice_of("\xff\xfe."), small, sizeof small, code, sizeof code);
  assert_string_equal(small, "??.");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_cut_gives_the_same_answer), cmocka_unit_test(every_beginning_alone_is_no_answer),
      cmocka_unit_test(damaged_bytes_do_no_harm),        cmocka_unit_test(one_thought_under_two_names_is_passed_once),
      cmocka_unit_test(finish_reasons_are_told_apart),   cmocka_unit_test(errors_are_cut_to_one_short_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
