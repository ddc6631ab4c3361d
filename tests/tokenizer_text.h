/* A tokenizer.json of few tokens, written, opened and asked for ids. */
#ifndef SLUICE_TESTS_TOKENIZER_TEXT_H
#define SLUICE_TESTS_TOKENIZER_TEXT_H

#include "tests/sample_data.h"

#include "engine/engine.h"

static char *path;

static int begin(void **state) {
  (void)state;
  path = scratch_path("tokenizer.json");
  return path ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  unlink(path);
  free(path);
  return 0;
}

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define GPT2 "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define SPLIT(regex) "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\"}"
#define ABC "\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4"
#define MERGES "\"a b\",\"ab c\""

static char *file_text(const char *added, const char *pre, const char *model_extra, const char *vocab,
                       const char *merges) {
  char *text = sluice_format("{\"added_tokens\":[%s],\"pre_tokenizer\":%s,\"model\":{\"type\":\"BPE\",%s\"vocab\":{%s},"
                             "\"merges\":[%s]}}",
                             added, pre, model_extra, vocab, merges);
  assert_non_null(text);
  return text;
}

static struct tokenizer *open_text(char *text) {
  struct sluice_error err;
  struct tokenizer *t = NULL;
  assert_int_equal(file_write_atomic(path, text, strlen(text), &err), 0);
  free(text);
  if (tokenizer_open(path, &t, &err)) fail_msg("%s", err.message);
  return t;
}

/* The file is refused, and the message names it and has `part` in it. */
static void refused_text(const char *text, size_t len, const char *part) {
  struct sluice_error err = {0};
  struct tokenizer *t = NULL;
  assert_int_equal(file_write_atomic(path, text, len, &err), 0);
  if (tokenizer_open(path, &t, &err) == SLUICE_OK) fail_msg("accepted: %s", text);
  assert_null(t);
  if (!strstr(err.message, part) || !strstr(err.message, "tokenizer.json"))
    fail_msg("\"%s\" does not say \"%s\" and name the file", err.message, part);
}

static void refused(char *text, const char *part) {
  refused_text(text, strlen(text), part);
  free(text);
}

static void expect_ids(const struct tokenizer *t, const char *text, size_t len, unsigned flags, const int32_t *want,
                       size_t n_want) {
  struct sluice_error err;
  int32_t *ids = NULL;
  size_t n = 0;
  if (tokenizer_encode(t, (struct slice){text, len}, flags, &ids, &n, &err)) fail_msg("%s", err.message);
  assert_int_equal(n, n_want);
  for (size_t i = 0; i < n; i++) assert_int_equal(ids[i], want[i]);
  free(ids);
}
#define EXPECT(t, text, flags, ...)                                                                                    \
  expect_ids(t, text, sizeof(text) - 1, flags, (const int32_t[]){__VA_ARGS__},                                         \
             sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* All 256 bytes, with merges that cross characters' borders. */
static struct tokenizer *open_bytes(const char *pre) {
  struct sluice_error err;
  struct buffer vocab;
  buffer_init(&vocab, 0);
  for (uint32_t b = 0, moved = 0; b < 256; b++) {
    bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    char utf8[4];
    int n = utf8_encode(printable ? b : 256 + moved++, utf8);
    buffer_append_str(&vocab, b ? "," : "", &err);
    json_quote(&vocab, utf8, (size_t)n, &err);
    buffer_printf(&vocab, &err, ":%u", (unsigned)b);
  }
  buffer_append_str(
      &vocab, ",\"\xc3\x83\xc2\xa9\":256,\"th\":257,\"the\":258,\"\xc4\xa0the\":259,\"\xc4\xa0\xc4\xa0\":260", &err);
  struct tokenizer *t = open_text(file_text(
      "", pre, "", vocab.ptr, "\"\xc3\x83 \xc2\xa9\",\"t h\",\"th e\",\"\xc4\xa0 the\",\"\xc4\xa0 \xc4\xa0\""));
  buffer_free(&vocab);
  return t;
}

#endif
