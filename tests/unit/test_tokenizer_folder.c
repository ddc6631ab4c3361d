/* The tokenizer of a folder: tokenizer.model as SentencePiece writes it, and tokens that only the files beside have. */
#include "tests/folder_tokenizer.h"

static int begin(void **state) {
  (void)state;
  return scratch_begin("tokenizer-folder");
}

/* ---- a protocol buffer ---- */

static void put(struct buffer *b, const void *bytes, size_t n) {
  assert_int_equal(buffer_append(b, bytes, n, &err), SLUICE_OK);
}

static void put_varint(struct buffer *b, uint64_t v) {
  for (; v > 127; v >>= 7) put(b, &(char){(char)(v | 128)}, 1);
  put(b, &(char){(char)v}, 1);
}

static void put_whole(struct buffer *b, uint64_t field, uint64_t v) {
  put_varint(b, field << 3);
  put_varint(b, v);
}

static void put_bytes(struct buffer *b, uint64_t field, const void *bytes, size_t n) {
  put_varint(b, field << 3 | 2);
  put_varint(b, n);
  put(b, bytes, n);
}

static void put_piece(struct buffer *b, const char *text, float score, int type) {
  struct buffer p;
  buffer_init(&p, 0);
  put_bytes(&p, 1, text, strlen(text));
  put_varint(&p, 2 << 3 | 5);
  put(&p, &score, sizeof score);
  if (type != 1) put_whole(&p, 3, (uint64_t)type);
  put_bytes(b, 1, p.ptr, p.len);
  buffer_free(&p);
}

struct model_settings {
  uint64_t model_type, suffix, dummy, removes, escapes;
  const char *charsmap;
};
static const struct model_settings LLAMA = {2, 0, 1, 0, 1, ""};
#define MARK "\xe2\x96\x81"

/* Twelve pieces: <unk>, <s>, </s>, two bytes, a space, letters, and what they merge into. */
static struct buffer model_file(const struct model_settings *s) {
  struct buffer b, part;
  buffer_init(&b, 0), buffer_init(&part, 0);
  static const struct {
    const char *text;
    float score;
    int type;
  } pieces[] = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}, {"<0xC3>", 0, 6},  {"<0xA9>", 0, 6},   {MARK, -9, 1},
                {"a", -10, 1},   {"b", -11, 1}, {"ab", -2, 1},  {MARK "a", -1, 1}, {MARK "ab", -3, 1}, {"<own>", 0, 4}};
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
    put_piece(&b, pieces[i].text, pieces[i].score, pieces[i].type);
  put_whole(&part, 3, s->model_type);
  put_whole(&part, 24, s->suffix);
  put_bytes(&b, 2, part.ptr, part.len);
  buffer_clear(&part);
  put_bytes(&part, 1, "identity", 8);
  put_bytes(&part, 2, s->charsmap, strlen(s->charsmap));
  put_whole(&part, 3, s->dummy), put_whole(&part, 4, s->removes), put_whole(&part, 5, s->escapes);
  put_bytes(&b, 3, part.ptr, part.len);
  buffer_free(&part);
  return b;
}

static void write_model(const struct model_settings *s) {
  struct buffer b = model_file(s);
  scratch_write("tokenizer.model", b.ptr, b.len);
  buffer_free(&b);
}

static void a_model_file_is_read(void **state) {
  (void)state;
  write_model(&LLAMA);
  struct tokenizer *t = opened();
  assert_int_equal(tokenizer_size(t), 12);
  assert_true(tokenizer_puts_space(t) && tokenizer_wants_bos(t));
  EXPECT(t, "ab", TOKENIZE_PLAIN, 10); /* by scores: a space and a first, then b */
  EXPECT(t, "bab", TOKENIZE_PLAIN, 5, 7, 8);
  EXPECT(t, "\xc3\xa9", TOKENIZE_PLAIN, 5, 3, 4);
  EXPECT(t, "\xe4\xbd\xa0", TOKENIZE_PLAIN, 5, 0);
  EXPECT(t, "a<s>a", TOKENIZE_SPECIALS, 9, 1, 9);
  EXPECT(t, "a<own>a", TOKENIZE_PLAIN, 9, 11, 9);
  assert_true(slice_is(tokenizer_bytes(t, 10), " ab") && slice_is(tokenizer_bytes(t, 3), "\xc3"));
  assert_true(tokenizer_is_special(t, 1) && !tokenizer_is_special(t, 11));
  tokenizer_close(t);
  char *path = sluice_format("%s/tokenizer.model", scratch_dir); /* the file alone */
  assert_int_equal(tokenizer_open(path, &t, &err), SLUICE_OK);
  tokenizer_close(t);
  free(path);
}

/* Of two pairs that share a letter the one that scores higher merges, whatever the signs. */
static void the_higher_score_merges(void **state) {
  (void)state;
  static const float scores[][2] = {{1, 2}, {-2, -1}, {-1, 1}, {0, 1}, {-1, 0}};
  for (size_t i = 0; i < 2 * sizeof scores / sizeof *scores; i++) {
    const float lower = scores[i / 2][0], higher = scores[i / 2][1];
    const bool first = i % 2;
    struct buffer b;
    buffer_init(&b, 0);
    put_piece(&b, "<unk>", 0, 2), put_piece(&b, "<s>", 0, 3), put_piece(&b, "</s>", 0, 3);
    put_piece(&b, "a", -9, 1), put_piece(&b, "b", -9, 1), put_piece(&b, "c", -9, 1);
    put_piece(&b, "ab", first ? higher : lower, 1), put_piece(&b, "bc", first ? lower : higher, 1);
    struct buffer part;
    buffer_init(&part, 0);
    put_whole(&part, 3, 2);
    put_bytes(&b, 2, part.ptr, part.len);
    buffer_clear(&part);
    put_bytes(&part, 1, "identity", 8);
    put_whole(&part, 3, 0), put_whole(&part, 4, 0), put_whole(&part, 5, 1);
    put_bytes(&b, 3, part.ptr, part.len);
    scratch_write("tokenizer.model", b.ptr, b.len);
    buffer_free(&part), buffer_free(&b);
    struct tokenizer *t = opened();
    if (first)
      EXPECT(t, "abc", TOKENIZE_PLAIN, 6, 5);
    else
      EXPECT(t, "abc", TOKENIZE_PLAIN, 3, 7);
    tokenizer_close(t);
  }
}

/* What transformers reads beside it. */
static void files_beside_are_followed(void **state) {
  (void)state;
  char hash[65];
  write_model(&LLAMA);
  struct tokenizer *t = opened();
  snprintf(hash, sizeof hash, "%s", tokenizer_hash(t));
  tokenizer_close(t);
  scratch_text("added_tokens.json", "{\"<|im_end|>\":13}");
  scratch_text(
      "tokenizer_config.json",
      "{\"legacy\":false,\"add_bos_token\":false,\"added_tokens_decoder\":{\"1\":{\"content\":\"<s>\",\"special\":true}"
      ","
      "\"12\":{\"content\":\"<|im_start|>\",\"special\":true},\"14\":{\"content\":\"<tool>\",\"special\":false}}}");
  t = opened();
  assert_int_equal(tokenizer_size(t), 15);
  assert_false(tokenizer_wants_bos(t));
  EXPECT(t, "<|im_start|>ab<|im_end|>", TOKENIZE_SPECIALS, 12, 8, 13); /* no space behind a token: legacy is false */
  EXPECT(t, "a<tool>", TOKENIZE_PLAIN, 9, 14);
  assert_string_not_equal(tokenizer_hash(t), hash);
  tokenizer_close(t);
  scratch_text("tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"<|im_start|>\"}}}");
  refused("added_tokens_decoder.x");
  scratch_text("tokenizer_config.json", "{\"added_tokens_decoder\":{\"9\":{}}}");
  refused("added_tokens_decoder.9");
  scratch_text("tokenizer_config.json", "{}");
  scratch_text("added_tokens.json", "{\"<|im_end|>\":-1}");
  refused("added_tokens.json");
}

static void other_models_are_refused_by_member(void **state) {
  (void)state;
  static const struct {
    struct model_settings s;
    const char *member;
  } cases[] = {{{1, 0, 1, 0, 1, ""}, "model_type: unigram"},
               {{4, 0, 1, 0, 1, ""}, "model_type: char"},
               {{77, 0, 1, 0, 1, ""}, "model_type"},
               {{2, 1, 1, 0, 1, ""}, "treat_whitespace_as_suffix"},
               {{2, 0, 1, 1, 1, ""}, "remove_extra_whitespaces"},
               {{2, 0, 1, 0, 0, ""}, "escape_whitespaces"},
               {{2, 0, 1, 0, 1, "x"}, "precompiled_charsmap"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_model(&cases[i].s);
    refused(cases[i].member);
  }
  scratch_text("tokenizer.model", "IQ== 0\nIg== 1\nIw== 2\n");
  refused("tiktoken");
  scratch_text("tokenizer.model", "");
  refused("no pieces");
  scratch_text("tokenizer.model", "version https://git-lfs.github.com/spec/v1\n");
  refused("git lfs pull");
  scratch_text("tokenizer.model", "\x0a\x7f");
  refused("byte");
}

static void every_cut_is_survived(void **state) {
  (void)state;
  struct buffer b = model_file(&LLAMA);
  for (size_t n = 0; n < b.len; n++) {
    struct tokenizer *t = calloc(1, sizeof *t);
    char *cut = malloc(n ? n : 1); /* exactly: a sanitizer sees a read behind it */
    memcpy(cut, b.ptr, n);
    (void)sentencepiece_load(t, "cut", (struct slice){cut, n}, NULL, 0, &err);
    tokenizer_close(t);
    free(cut);
  }
  buffer_free(&b);
}

/* tokenizer.json lacks tokens that tokenizer_config.json adds: new ones, and words of the vocabulary that become
 * special. What has another's id stays out. */
static void a_json_file_is_completed(void **state) {
  (void)state;
  scratch_text(
      "tokenizer.json",
      "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\","
      "\"add_prefix_space\":false},\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"<w>\":2,\"<\":5,\"w\":6,\">\":7,\"x\":8},"
      "\"merges\":[]}}");
  struct tokenizer *t = opened();
  char hash[65];
  snprintf(hash, sizeof hash, "%s", tokenizer_hash(t));
  EXPECT(t, "<w>", TOKENIZE_SPECIALS, 5, 6, 7);
  tokenizer_close(t);
  scratch_text("tokenizer_config.json", "{\"added_tokens_decoder\":{\"3\":{\"content\":\"<s>\",\"special\":true}}}");
  t = opened();
  assert_string_equal(tokenizer_hash(t), hash); /* nothing was missing */
  tokenizer_close(t);
  scratch_text("tokenizer_config.json",
               "{\"added_tokens_decoder\":{\"9\":{\"content\":\"<w>\",\"special\":true},\"4\":{"
               "\"content\":\"<n>\",\"special\":true},"
               "\"1\":{\"content\":\"<x>\",\"special\":true}}}");
  t = opened();
  EXPECT(t, "a<w><n>b", TOKENIZE_SPECIALS, 0, 2, 4, 1);
  EXPECT(t, "<x>", TOKENIZE_SPECIALS, 5, 8, 7); /* id 1 is b's */
  EXPECT(t, "<w>", TOKENIZE_PLAIN, 5, 6, 7);
  assert_string_not_equal(tokenizer_hash(t), hash);
  tokenizer_close(t);
}

static void a_folder_may_have_none(void **state) {
  (void)state;
  struct tokenizer *t = NULL;
  assert_int_equal(tokenizer_open_folder(scratch_dir, &t, &err), SLUICE_OK);
  assert_null(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(a_model_file_is_read, scratch_clean),
      cmocka_unit_test_teardown(the_higher_score_merges, scratch_clean),
      cmocka_unit_test_teardown(files_beside_are_followed, scratch_clean),
      cmocka_unit_test_teardown(other_models_are_refused_by_member, scratch_clean),
      cmocka_unit_test_teardown(every_cut_is_survived, scratch_clean),
      cmocka_unit_test_teardown(a_json_file_is_completed, scratch_clean),
      cmocka_unit_test_teardown(a_folder_may_have_none, scratch_clean),
  };
  return cmocka_run_group_tests(tests, begin, scratch_end);
}
