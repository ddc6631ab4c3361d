/* Every stream of tests/streams and fixtures/streams, cut at every byte and in random ways: the same bytes leave, and
 * none of the text that leaves holds what the policy masks or stops at. */
#include "tests/wire_cuts.h"

#include <glob.h>

enum { STRIDE = 97 }; /* bytes between two cuts of a run: STRIDE runs have cut at every byte */

/* The texts of all frames that left, each lane's joined: no secret may stand in one. */
struct lanes {
  struct wire_key key[64];
  struct buffer text[64];
  size_t n;
};

static sluice_status join(void *ctx, const struct wire_key *key, struct slice text, struct sluice_error *err) {
  struct lanes *l = ctx;
  size_t i = 0;
  while (i < l->n && memcmp(&l->key[i], key, sizeof *key)) i++;
  if (i == l->n) {
    assert_true(l->n < 64);
    memcpy(&l->key[l->n++], key, sizeof *key);
  }
  return buffer_append(&l->text[i], text.ptr, text.len, err);
}

static sluice_status read_event(void *ctx, const struct sse_event *e, struct sluice_error *err) {
  bool known = false;
  if (!e->has_data || slice_is(e->data, "[DONE]")) return SLUICE_OK;
  sluice_status st = wire_read_texts(e->data, NULL, join, ctx, &known, err);
  if (!st && !known) fail_msg("no dialect reads %.*s", (int)e->data.len, e->data.ptr);
  return st;
}

static bool holds(struct slice s, const char *word) {
  return s.len && memmem(s.ptr, s.len, word, strlen(word)) != NULL;
}

static void check_texts(const char *path, struct slice out) {
  struct lanes l = {0};
  struct sse_parser p;
  struct sluice_error err = {0};
  sse_open(&p, 0, read_event, &l);
  if (sse_push(&p, out, &err) || sse_end(&p, &err)) fail_msg("%s: what left cannot be read: %s", path, err.message);
  for (size_t i = 0; i < l.n; i++) {
    struct slice text = {l.text[i].ptr, l.text[i].len};
    if (holds(text, "SECRET") || holds(text, "BOMB")) fail_msg("%s: %.*s", path, (int)text.len, text.ptr);
    buffer_free(&l.text[i]);
  }
  sse_close(&p);
}

/* After a stop the last event is the dialect's own last one. */
static void check_end(const char *path, struct slice out) {
  static const struct {
    const char *of, *end;
  } ends[] = {{"/chat_", "data: [DONE]\n\n"},
              {"/completions_", "data: [DONE]\n\n"},
              {"/messages_", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
              {"/responses_", "\"output\":[],\"usage\":null}}\n\n"}};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    size_t n = strlen(ends[i].end);
    if (strstr(path, ends[i].of) && (out.len < n || memcmp(out.ptr + out.len - n, ends[i].end, n)))
      fail_msg("%s ends in %.*s", path, out.len < 200 ? (int)out.len : 200,
               out.ptr + (out.len < 200 ? 0 : out.len - 200));
  }
}

static void check_file(const char *path) {
  struct sluice_error err = {0};
  struct wire_filter_options o = SSE;
  struct result whole = {0}, cut = {0};
  char *text = NULL;
  size_t len = 0;
  struct rng rng;
  if (file_read(path, 1 << 20, &text, &len, &err)) fail_msg("%s", err.message);
  unsigned char *cuts = calloc(len + 1, 1);
  rng_seed(&rng, len);
  run_cut(&o, (struct slice){text, len}, cuts, &whole);
  if (whole.st) fail_msg("%s: %s", path, whole.err.message);
  if (strstr(path, "clean")) {
    assert_int_equal(whole.out.len, len);
    assert_memory_equal(whole.out.ptr, text, len);
  }
  check_texts(path, (struct slice){whole.out.ptr, whole.out.len});
  if (strstr(path, "_stopped")) assert_true(whole.stopped);
  if (whole.stopped) check_end(path, (struct slice){whole.out.ptr, whole.out.len});
  for (size_t round = 0; round < STRIDE + 30; round++) {
    unsigned mean = round < STRIDE + 4 ? 1 + (unsigned)(round - STRIDE) : 1 + rng_below(&rng, 90);
    for (size_t i = 0; i < len; i++) cuts[i] = round < STRIDE ? i % STRIDE == round : rng_below(&rng, mean) == 0;
    run_cut(&o, (struct slice){text, len}, cuts, &cut);
    if (cut.st) fail_msg("%s: %s", path, cut.err.message);
    if (cut.out.len != whole.out.len || memcmp(cut.out.ptr, whole.out.ptr, cut.out.len) || cut.stopped != whole.stopped)
      fail_msg("%s, cut %zu: got\n%.*s\nwanted\n%.*s", path, round, (int)cut.out.len, cut.out.ptr, (int)whole.out.len,
               whole.out.ptr);
  }
  free(cuts);
  free(text);
  buffer_free(&whole.out);
  buffer_free(&cut.out);
}

static void check_folder(const char *pattern, size_t at_least) {
  glob_t g;
  assert_int_equal(glob(pattern, 0, NULL, &g), 0);
  assert_true(g.gl_pathc >= at_least);
  for (size_t i = 0; i < g.gl_pathc; i++) check_file(g.gl_pathv[i]);
  globfree(&g);
}

static void test_chat(void **state) {
  (void)state;
  check_folder("tests/streams/chat_*.sse", 10);
}
static void test_completions(void **state) {
  (void)state;
  check_folder("tests/streams/completions_*.sse", 5);
}
static void test_messages(void **state) {
  (void)state;
  check_folder("tests/streams/messages_*.sse", 6);
}
static void test_responses(void **state) {
  (void)state;
  check_folder("tests/streams/responses_*.sse", 7);
}
static void test_shipped(void **state) {
  (void)state;
  check_folder("fixtures/streams/*.sse", 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chat),      cmocka_unit_test(test_completions), cmocka_unit_test(test_messages),
      cmocka_unit_test(test_responses), cmocka_unit_test(test_shipped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
