/* Shapes: where a frame is taken for another with other texts in it, what is found is what its dialect would find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/shape.h"

#define CHAT(index, created, member, text, rest)                                                                       \
  "{\"id\":\"c\",\"created\":" created ",\"choices\":[{\"index\":" index ",\"delta\":{\"" member "\":\"" text          \
  "\"},\"logprobs\":null,\"finish_reason\":null}]" rest "}"
#define RESPONSE(number, item, text)                                                                                   \
  "{\"type\":\"response.output_text.delta\",\"sequence_number\":" number ",\"item_id\":\"i\",\"output_index\":" item   \
  ",\"content_index\":0,\"delta\":\"" text "\"}"
#define BLOCK(index, text)                                                                                             \
  "{\"type\":\"content_block_delta\",\"index\":" index ",\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}}"

static const char *const frames[] = {
    CHAT("0", "1", "content", "a", ""),
    CHAT("0", "1", "content", "another text", ""),
    CHAT("0", "1234567", "content", "", ""),
    CHAT("0", "1", "content", "\\u0000 \\\"quoted\\\" \\ud83d\\ude00 \\n", ""),
    CHAT("0", "01", "content", "a", ""),
    CHAT("0", "1.5", "content", "a", ""),
    CHAT("0", "\"1\"", "content", "a", ""),
    CHAT("1", "1", "content", "a", ""),
    CHAT("0", "1", "reasoning", "a", ""),
    CHAT("0", "1", "content", "a\tb", ""),
    CHAT("0", "1", "content", "a\\xb", ""),
    CHAT("0", "1", "content", "a\\", ""),
    CHAT("0", "1", "content", "a\\u12", ""),
    CHAT("0", "1", "content", "a\",\"refusal\":\"b", ""),
    CHAT("0", "1", "content", "a", ",\"obfuscation\":\"xyz\""),
    CHAT("0", "1", "content", "a", ",\"obfuscation\":\"longer\""),
    CHAT("0", "1", "content", "a", ",\"obfuscation\":7"),
    CHAT("0", "1", "content", "a", ",\"choices\":[]"),
    CHAT("0", "1", "content", "a", "") " ",
    CHAT("0", "1", "content", "a", "") "}",
    CHAT("0", "1", "content", "a", "") "{}",
    RESPONSE("1", "0", "a"),
    RESPONSE("20", "0", "bc"),
    RESPONSE("20", "1", "bc"),
    RESPONSE("-1", "0", "bc"),
    RESPONSE("99999999999999999999", "0", "bc"),
    BLOCK("0", "a"),
    BLOCK("0", "bc"),
    BLOCK("1", "bc"),
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\",\"reasoning\":\"b\"},\"logprobs\":{\"content\":[]}}]}",
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"aaa\",\"reasoning\":\"bb\"},\"logprobs\":{\"content\":[{"
    "\"token\":\"aaa\",\"logprob\":0,\"bytes\":[97,97,97]}]}}]}",
    "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
    "{\"text\":\"a\"}",
    "{\"text\":\"\",\"text\":\"b\"}",
    "{\"text\":\"\",\"text\":\"bcd\"}",
    "{\"text\":\"longer\",\"text\":\"bcd\"}",
    "[]",
    "",
};
enum { FRAMES = sizeof frames / sizeof *frames };

static bool spans_equal(struct json_span a, struct json_span b) {
  return a.type == b.type && a.start == b.start && a.end == b.end;
}

static void expect_equal(const struct sketch *a, const struct sketch *b) {
  assert_int_equal(a->n_texts, b->n_texts);
  assert_int_equal(a->n_choices, b->n_choices);
  assert_int_equal(a->n_logprobs, b->n_logprobs);
  for (size_t i = 0; i < a->n_texts; i++) {
    const struct wire_key *x = &a->texts[i].key, *y = &b->texts[i].key; /* not its padding */
    assert_true(x->choice == y->choice && x->channel == y->channel && x->index == y->index);
    assert_true(spans_equal(a->texts[i].value, b->texts[i].value));
  }
  for (size_t i = 0; i < a->n_choices; i++) {
    const struct sketch_choice *x = &a->choices[i], *y = &b->choices[i];
    assert_true(x->choice == y->choice && x->finish == y->finish && x->wide == y->wide && x->block == y->block);
    assert_int_equal(x->sequence, y->sequence);
    assert_true(x->has_reason == y->has_reason && (!x->has_reason || spans_equal(x->reason, y->reason)));
  }
}

/* False when the text is no frame of any dialect. */
static bool read_slowly(struct slice json, const struct dialect *last, struct sketch *s, struct json_span *root,
                        const struct dialect **d) {
  struct sluice_error err = {0};
  return !json_span_root(json, root, &err) && !dialect_read(json, *root, "text", last, s, d, &err) && *d;
}

static void every_pair(void **state) {
  (void)state;
  int matches = 0;
  for (int a = 0; a < FRAMES; a++) {
    struct shape shape = {0};
    struct sketch found = {0};
    struct json_span root;
    const struct dialect *d = NULL;
    struct sluice_error err = {0};
    if (!read_slowly(slice_of(frames[a]), NULL, &found, &root, &d)) continue;
    shape_learn(&shape, slice_of(frames[a]), root, d, &found);
    for (int b = 0; b < FRAMES; b++) {
      struct sketch quick = {0}, slow = {0};
      const struct dialect *other = NULL;
      if (shape_match(&shape, slice_of(frames[b]), d, &quick, &err)) {
        assert_true(read_slowly(slice_of(frames[b]), d, &slow, &root, &other));
        assert_ptr_equal(other, d);
        expect_equal(&quick, &slow);
        matches++;
      }
      sketch_free(&quick);
      sketch_free(&slow);
    }
    sketch_free(&found);
    shape_free(&shape);
  }
  assert_in_range(matches, 40, 100); /* every frame with text is its own shape's, and its neighbours' */
}

static bool matches(struct shape *s, const char *json, const struct dialect *last) {
  struct sketch out = {0};
  struct sluice_error err = {0};
  bool yes = shape_match(s, slice_of(json), last, &out, &err);
  sketch_free(&out);
  return yes;
}

/* A stream whose frames are all of new shapes is soon left alone; one that goes on as it did is learned at once. */
static void learning(void **state) {
  (void)state;
  struct shape shape = {0};
  struct sketch found = {0};
  struct json_span root;
  const struct dialect *d = NULL;
  assert_true(read_slowly(slice_of(frames[0]), NULL, &found, &root, &d));
  shape_learn(&shape, slice_of(frames[0]), root, d, &found);
  assert_true(matches(&shape, frames[1], d));
  assert_false(matches(&shape, frames[1], NULL));
  for (int i = 0; i < 1000; i++) {
    char json[64];
    snprintf(json, sizeof json, "{\"text\":\"a\",\"n%d\":0}", i);
    assert_true(read_slowly(slice_of(json), NULL, &found, &root, &d));
    shape_learn(&shape, slice_of(json), root, d, &found);
  }
  assert_int_equal(shape.penalty, 64);
  sketch_free(&found);
  shape_free(&shape);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_pair), cmocka_unit_test(learning)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
