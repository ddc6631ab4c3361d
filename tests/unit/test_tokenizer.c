/* The tokenizer: files that are wrong, bytes that are not text, and merging against a slow, obvious reference. */
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

static void wrong_files_are_refused_by_name(void **state) {
  (void)state;
  static const char *const texts[][2] = {
      {"", "tokenizer.json"},
      {"[]", "not a JSON object"},
      {"{}", "\"model\""},
      {"{\"model\":{\"type\":\"WordPiece\"}}", "model.type"},
      {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "model.type"},
      {"{\"model\":{\"vocab\":[]}}", "model.vocab"},
      {"{\"model\":{\"vocab\":{}}}", "model.merges"},
      {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "pre_tokenizer"},
      {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":{}}", "added_tokens"},
      {"{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}", "twice"},
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) refused_text(texts[i][0], strlen(texts[i][0]), texts[i][1]);
  refused(file_text("", BYTE_LEVEL, "\"dropout\":0.1,", ABC, MERGES), "model.dropout");
  refused(file_text("", BYTE_LEVEL, "\"continuing_subword_prefix\":\"##\",", ABC, MERGES), "continuing_subword_prefix");
  refused(file_text("", BYTE_LEVEL, "\"end_of_word_suffix\":\"</w>\",", ABC, MERGES), "end_of_word_suffix");
  refused(file_text("", BYTE_LEVEL, "\"unk_token\":\"?\",", ABC, MERGES), "unk_token");
  refused(file_text("",
                    BYTE_LEVEL ","
                               "\"normalizer\":{\"type\":\"Lowercase\"}",
                    "", ABC, MERGES),
          "Lowercase");
}

static void wrong_ids_are_refused(void **state) {
  (void)state;
  refused(file_text("", BYTE_LEVEL, "", "", ""), "empty");
  refused(file_text("", BYTE_LEVEL, "", "\"a\":-1", ""), "model.vocab \"a\"");
  refused(file_text("", BYTE_LEVEL, "", "\"a\":0.5", ""), "whole number");
  refused(file_text("", BYTE_LEVEL, "", "\"a\":\"0\"", ""), "whole number");
  refused(file_text("", BYTE_LEVEL, "", "\"a\":1e18", ""), "whole number");
  refused(file_text("", BYTE_LEVEL, "", "\"a\":2097152", ""), "bound");
  refused(file_text("", BYTE_LEVEL, "", "\"a\":0,\"b\":0", ""), "twice");
  refused(file_text("{\"id\":0,\"content\":\"x\"}", BYTE_LEVEL, "", ABC, MERGES), "id 0");
  refused(file_text("{\"id\":9,\"content\":\"a\"}", BYTE_LEVEL, "", ABC, MERGES), "id 9");
  refused(file_text("{\"id\":9,\"content\":\"x\"},{\"id\":8,\"content\":\"x\"}", BYTE_LEVEL, "", ABC, MERGES), "id 8");
  refused(file_text("{\"id\":9,\"content\":\"x\"},{\"id\":9,\"content\":\"y\"}", BYTE_LEVEL, "", ABC, MERGES), "id 9");
  refused(file_text("{\"id\":9}", BYTE_LEVEL, "", ABC, MERGES), "added_tokens[0].content");
  refused(file_text("{\"id\":9,\"content\":\"\"}", BYTE_LEVEL, "", ABC, MERGES), "added_tokens[0].content");
  refused(file_text("{\"content\":\"x\"}", BYTE_LEVEL, "", ABC, MERGES), "added_tokens");
  refused(file_text("3", BYTE_LEVEL, "", ABC, MERGES), "added_tokens");
  refused(file_text("{\"id\":0,\"content\":\"a\",\"special\":true}", BYTE_LEVEL, "", ABC, MERGES), "byte 0x61");
}

static void wrong_merges_are_refused(void **state) {
  (void)state;
  refused(file_text("", BYTE_LEVEL, "", ABC, "\"a b\",\"a x\""), "merges[1]: \"x\"");
  refused(file_text("", BYTE_LEVEL, "", ABC, "\"b a\""), "merges[0]");
  refused(file_text("", BYTE_LEVEL, "", ABC, "\"ab\""), "merges[0]");
  refused(file_text("", BYTE_LEVEL, "", ABC, "\"a b c\""), "merges[0]");
  refused(file_text("", BYTE_LEVEL, "", ABC, "\"a \""), "merges[0]");
  refused(file_text("", BYTE_LEVEL, "", ABC, "[\"a\"]"), "merges[0]");
  refused(file_text("", BYTE_LEVEL, "", ABC, "[\"a\",1]"), "merges[0]");
  refused(file_text("", BYTE_LEVEL, "", ABC, "[\"a\",\"b\",\"c\"]"), "merges[0]");
  refused(file_text("", BYTE_LEVEL, "", ABC, "7"), "merges[0]");
  refused(file_text("{\"id\":3,\"content\":\"ab\",\"special\":true}", BYTE_LEVEL, "", ABC, MERGES), "special token");
}

static void wrong_pre_tokenizers_are_refused(void **state) {
  (void)state;
  refused(file_text("", "null", "", ABC, MERGES), "neither a ByteLevel step");
  refused(file_text("", "{\"type\":\"Metaspace\"}", "", ABC, MERGES), "replacement");
  refused(file_text("", "{\"type\":\"ByteLevel\"}", "", ABC, MERGES), "add_prefix_space");
  refused(file_text("", "{\"type\":\"Sequence\",\"pretokenizers\":[]}", "", ABC, MERGES), "neither a ByteLevel step");
  refused(file_text("", "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("(") "," BYTE_LEVEL "]}", "", ABC, MERGES),
          "pretokenizers[0]");
  refused(
      file_text("", "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("\\\\C") "," BYTE_LEVEL "]}", "", ABC, MERGES),
      "pretokenizers[0]");
  refused(file_text("", "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL "," SPLIT("a") "]}", "", ABC, MERGES),
          "after ByteLevel");
  refused(file_text("", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"MergedWithNext\"}", "", ABC,
                    MERGES),
          "MergedWithNext");
  refused(file_text("", "{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}", "", ABC, MERGES), "pattern");
}

static void merges_follow_rank_then_place(void **state) {
  (void)state;
  struct tokenizer *t = open_text(file_text("", BYTE_LEVEL, "", ABC, MERGES));
  EXPECT(t, "abc", 0, 4);
  EXPECT(t, "aabcb", 0, 0, 4, 1);
  EXPECT(t, "ababab", 0, 3, 3, 3);
  assert_int_equal(tokenizer_size(t), 5);
  assert_int_equal(tokenizer_find(t, "abc"), 4);
  assert_int_equal(tokenizer_find(t, "bc"), -1);
  assert_int_equal(tokenizer_find(t, ""), -1);
  assert_int_equal(tokenizer_bytes(t, 5).len, 0);
  assert_int_equal(tokenizer_bytes(t, -1).len, 0);
  assert_true(slice_is(tokenizer_bytes(t, 3), "ab"));
  tokenizer_close(t);
}

static void ids_are_appended(void **state) {
  (void)state;
  struct sluice_error err;
  struct tokenizer *t = open_text(file_text("", BYTE_LEVEL, "", ABC, MERGES));
  int32_t *ids = NULL;
  size_t n = 0;
  for (int i = 0; i < 100; i++) assert_int_equal(tokenizer_encode(t, slice_of("abca"), 0, &ids, &n, &err), 0);
  assert_int_equal(n, 200);
  for (size_t i = 0; i < n; i++) assert_int_equal(ids[i], i % 2 ? 0 : 4);
  assert_int_equal(tokenizer_encode(t, slice_of(""), 0, &ids, &n, &err), 0);
  assert_int_equal(n, 200);
  assert_int_equal(tokenizer_encode(t, slice_of("abx"), 0, &ids, &n, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "0x78")); /* this vocabulary has no x */
  assert_int_equal(n, 200);
  free(ids);
  tokenizer_close(t);
}

static void specials_only_on_request(void **state) {
  (void)state;
  struct tokenizer *t =
      open_text(file_text("{\"id\":5,\"content\":\"abc\",\"special\":false},{\"id\":6,\"content\":\"<ab>\","
                          "\"special\":true},{\"id\":7,\"content\":\"<ab><ab>\",\"special\":true},"
                          "{\"id\":12,\"content\":\"\xc3\xa9\",\"special\":true}",
                          BYTE_LEVEL, "",
                          "\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"<\":8,\">\":9,\"\xc3\x83\":10,\"\xc2\xa9\":11,"
                          "\"\xc3\x83\xc2\xa9\":13",
                          "\"a b\",\"\xc3\x83 \xc2\xa9\""));
  EXPECT(t, "<ab>", TOKENIZE_PLAIN, 8, 3, 9);
  EXPECT(t, "<ab>", TOKENIZE_SPECIALS, 6);
  EXPECT(t, "a<ab><ab><ab>b", TOKENIZE_SPECIALS, 0, 7, 6, 1); /* the longest first */
  EXPECT(t, "<<ab>>", TOKENIZE_SPECIALS, 8, 6, 9);
  EXPECT(t, "<ab", TOKENIZE_SPECIALS, 8, 3);
  EXPECT(t, "abcab", TOKENIZE_PLAIN, 5, 3); /* an added token that is not special is always one */
  EXPECT(t, "\xc3\xa9", TOKENIZE_SPECIALS, 12);
  EXPECT(t, "\xc3\xa9", TOKENIZE_PLAIN, 13); /* the same bytes, as text */
  assert_true(tokenizer_is_special(t, 6));
  assert_false(tokenizer_is_special(t, 5));
  assert_false(tokenizer_is_special(t, -1));
  assert_false(tokenizer_is_special(t, 99));
  assert_int_equal(tokenizer_find(t, "<ab>"), 6);
  assert_true(slice_is(tokenizer_bytes(t, 7), "<ab><ab>"));
  tokenizer_close(t);
}

/* ignore_merges looks whole pieces up; a special token must not come out of plain text that way. */
static void whole_pieces_with_ignore_merges(void **state) {
  (void)state;
  struct tokenizer *t =
      open_text(file_text("{\"id\":5,\"content\":\"<s>\",\"special\":true}", BYTE_LEVEL, "\"ignore_merges\":true,",
                          ABC ",\"<s>\":5,\"<\":6,\"s\":7,\">\":8,\"cba\":9", MERGES));
  EXPECT(t, "cba", 0, 9);
  EXPECT(t, "<s>", TOKENIZE_PLAIN, 6, 7, 8);
  EXPECT(t, "<s>", TOKENIZE_SPECIALS, 5);
  tokenizer_close(t);
  t = open_text(file_text("", BYTE_LEVEL, "", ABC ",\"cba\":9", MERGES));
  EXPECT(t, "cba", 0, 2, 1, 0);
  tokenizer_close(t);
}

static void steps_of_a_sequence_cut_one_after_the_other(void **state) {
  (void)state;
  struct tokenizer *t =
      open_text(file_text("",
                          "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(
                              "[ab]+") ",{\"type\":\"Split\",\"pattern\":{\"String\":"
                                       "\"b.\"},\"behavior\":\"Isolated\"},"
                                       "{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL "]}",
                          "\"unk_token\":\"?\",", ABC ",\"?\":5,\"1\":6,\"11\":7", "\"a b\",\"ab c\",\"1 1\""));
  EXPECT(t, "abc", 0, 3, 2);        /* [ab]+ keeps c apart */
  EXPECT(t, "1111", 0, 6, 6, 6, 6); /* digits one by one */
  EXPECT(t, "zz", 0, 5, 5);         /* bytes outside the vocabulary */
  tokenizer_close(t);
}

#define ADDED(id, text, more) "{\"id\":" #id ",\"content\":\"" text "\",\"special\":true," more "}"

/* What an added token takes from around it, and where it must not stand. */
static void added_tokens_strip_and_keep_their_distance(void **state) {
  (void)state;
  struct tokenizer *t =
      open_text(file_text(ADDED(5, "<l>", "\"lstrip\":true") "," ADDED(6, "<r>", "\"rstrip\":true") "," ADDED(
                              7, "b", "\"single_word\":true"),
                          BYTE_LEVEL, "", "\"a\":0,\"\xc4\xa0\":1,\"c\":2,\"\xc4\x8a\":3,\"?\":4", ""));
  EXPECT(t, "a  <l> a", TOKENIZE_SPECIALS, 0, 5, 1, 0);
  EXPECT(t, "a <r> \n a", TOKENIZE_SPECIALS, 0, 1, 6, 0);
  EXPECT(t, "  <l>", TOKENIZE_SPECIALS, 5);
  EXPECT(t, "<r>  <l>", TOKENIZE_SPECIALS, 6, 5);
  EXPECT(t, "b a", TOKENIZE_SPECIALS, 7, 1, 0);
  EXPECT(t, "a?b", TOKENIZE_SPECIALS, 0, 4, 7);
  tokenizer_close(t);
  t = open_text(file_text(ADDED(7, "bb", "\"single_word\":true"), BYTE_LEVEL, "", "\"a\":0,\"b\":1,\"?\":2", ""));
  EXPECT(t, "bb?bb", TOKENIZE_SPECIALS, 7, 2, 7);
  EXPECT(t, "abb", TOKENIZE_SPECIALS, 0, 1, 1); /* a word goes on: letters, not the token */
  EXPECT(t, "bba", TOKENIZE_SPECIALS, 1, 1, 0);
  tokenizer_close(t);
}

/* e + U+0301 becomes U+00E9; an added token that is normalized is found in what became of the text. */
static void nfc_comes_before_the_pieces(void **state) {
  (void)state;
  struct tokenizer *t = open_text(file_text(
      ADDED(5, "\xc3\xa9?", "\"normalized\":true") "," ADDED(6, "e\xcc\x81!", "\"normalized\":false"),
      BYTE_LEVEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}", "",
      "\"\xc3\x83\":0,\"\xc2\xa9\":1,\"e\":2,\"\xc3\x83\xc2\xa9\":3,\"?\":4,\"\xc3\xbf\":7", "\"\xc3\x83 \xc2\xa9\""));
  EXPECT(t, "e\xcc\x81", TOKENIZE_PLAIN, 3);
  EXPECT(t, "\xc3\xa9", TOKENIZE_PLAIN, 3);
  EXPECT(t, "e\xcc\x81?", TOKENIZE_SPECIALS, 5);
  EXPECT(t, "e\xcc\x81!", TOKENIZE_SPECIALS, 6);
  EXPECT(t, "e\xff\xc3\xa9", TOKENIZE_PLAIN, 2, 7, 3); /* invalid bytes stay, and cut */
  tokenizer_close(t);
}

#define MARK "\xe2\x96\x81"
#define SENTENCE_PIECE                                                                                                 \
  "null,\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" MARK              \
  "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}]}"
#define PIECES                                                                                                         \
  "\"<unk>\":0,\"<0xC3>\":1,\"<0xA9>\":2,\"<0x0A>\":3,\"" MARK "\":4,\"a\":5,\"b\":6,\"" MARK "a\":7,\"ab\":8,\"" MARK \
  "ab\":9,\"\xc3\xbc\":10"
#define PIECE_MERGES "\"" MARK " a\",\"a b\",\"" MARK "a b\""

static void sentence_piece_falls_back_to_bytes(void **state) {
  (void)state;
  struct tokenizer *t =
      open_text(file_text(ADDED(11, "<s>", "\"x\":0"), SENTENCE_PIECE,
                          "\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"fuse_unk\":true,", PIECES, PIECE_MERGES));
  assert_true(tokenizer_puts_space(t));
  EXPECT(t, "ab", TOKENIZE_PLAIN, 9);
  EXPECT(t, " ab", TOKENIZE_PLAIN, 4, 9);
  EXPECT(t, "ab", TOKENIZE_CONTINUES, 8);
  EXPECT(t, "ab", TOKENIZE_AFTER_SPECIAL, 9);
  EXPECT(t, "b\xc3\xbc\xc3\xa9\n", TOKENIZE_PLAIN, 4, 6, 10, 1, 2, 3);
  EXPECT(t,
         "\xe4\xbd\xa0\xe5\xa5\xbd"
         "b",
         TOKENIZE_PLAIN, 4, 0, 6); /* unknown ones in a row are one */
  EXPECT(t, "a<s>ab", TOKENIZE_SPECIALS, 7, 11, 9);
  EXPECT(t, "a" MARK "a", TOKENIZE_PLAIN, 7, 7);
  assert_true(slice_is(tokenizer_bytes(t, 9), " ab"));
  assert_true(slice_is(tokenizer_bytes(t, 1), "\xc3"));
  tokenizer_close(t);
}

static void metaspace_puts_one_space(void **state) {
  (void)state;
#define METASPACE(scheme)                                                                                              \
  "{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"" scheme "\",\"split\":false}"
  struct tokenizer *t = open_text(file_text(ADDED(11, "<s>", "\"x\":0"), METASPACE("first"), "", PIECES, PIECE_MERGES));
  EXPECT(t, "ab", TOKENIZE_PLAIN, 9);
  EXPECT(t, " ab", TOKENIZE_PLAIN, 9); /* it has one */
  EXPECT(t, "ab<s>ab", TOKENIZE_SPECIALS, 9, 11, 8);
  EXPECT(t, "ab", TOKENIZE_AFTER_SPECIAL, 8);
  tokenizer_close(t);
  t = open_text(file_text(ADDED(11, "<s>", "\"x\":0"), METASPACE("always"), "", PIECES, PIECE_MERGES));
  EXPECT(t, "ab<s>ab", TOKENIZE_SPECIALS, 9, 11, 9);
  tokenizer_close(t);
  t = open_text(file_text("", METASPACE("never"), "", PIECES, PIECE_MERGES));
  EXPECT(t, "ab", TOKENIZE_PLAIN, 8);
  assert_false(tokenizer_puts_space(t));
  tokenizer_close(t);
}

/* Falcon's sequence: digits are cut in threes behind ByteLevel. */
static void digits_may_be_cut_behind_byte_level(void **state) {
  (void)state;
  struct tokenizer *t = open_text(file_text(
      "",
      "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}," BYTE_LEVEL
      "," SPLIT("[0-9][0-9][0-9]") "]}",
      "", "\"1\":0,\"11\":1,\"111\":2,\"1111\":3,\"!\":4,\"!!\":5,\"!1\":6",
      "\"1 1\",\"11 1\",\"11 11\",\"! !\",\"! 1\""));
  EXPECT(t, "1111", TOKENIZE_PLAIN, 2, 0);
  EXPECT(t, "!!11", TOKENIZE_PLAIN, 5, 1);
  tokenizer_close(t);
}

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

static void round_trip(const struct tokenizer *t, const char *bytes, size_t len) {
  struct sluice_error err;
  int32_t *ids = NULL;
  size_t n = 0, at = 0;
  if (tokenizer_encode(t, (struct slice){bytes, len}, TOKENIZE_SPECIALS, &ids, &n, &err)) fail_msg("%s", err.message);
  for (size_t i = 0; i < n; i++) {
    struct slice piece = tokenizer_bytes(t, ids[i]);
    assert_true(piece.len > 0 && at + piece.len <= len);
    assert_memory_equal(bytes + at, piece.ptr, piece.len);
    at += piece.len;
  }
  assert_int_equal(at, len);
  free(ids);
}

static void every_byte_survives(void **state) {
  (void)state;
  struct tokenizer *t = open_bytes(GPT2);
  static const char *const odd[] = {
      "\xff",         "\xc3",           "the \xc3", "\xc3\xa9\xa9", "\xed\xa0\x80",     "\xf4\x90\x80\x80",
      "\xf0\x9f\x98", "a\xf0\x9f\x98z", "\xc0\x80", " \xe2\x80",    "\xef\xbb\xbf the", "\xe2\x80\xa8\xe2\x80\xa9"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) round_trip(t, odd[i], strlen(odd[i]));
  round_trip(t, "the\0the\0", 8);
  static const int32_t invalid[] = {0xff, 0xc3, 259, 0xc3}; /* a run of invalid bytes is a piece of its own */
  expect_ids(t, "\xff\xc3 the\xc3", 7, 0, invalid, 4);
  struct rng rng;
  char bytes[600];
  rng_seed(&rng, 7);
  for (int i = 0; i < 3000; i++) {
    size_t len = rng_below(&rng, sizeof bytes);
    uint32_t kind = rng_below(&rng, 3);
    for (size_t k = 0; k < len; k++)
      bytes[k] = kind == 0   ? (char)rng_below(&rng, 256)
                 : kind == 1 ? " the\xc3\xa9\xf0\x9f"[rng_below(&rng, 8)]
                             : "th e\n1'"[rng_below(&rng, 7)];
    round_trip(t, bytes, len);
  }
  tokenizer_close(t);
}

/* The obvious form: look through the whole list of merges for the first that applies, merge its leftmost pair, again.
 */
static size_t slow_merge(int32_t *ids, size_t n, const int32_t (*merges)[3], size_t n_merges) {
  for (size_t m = 0; m < n_merges;) {
    size_t i = 0;
    while (i + 1 < n && (ids[i] != merges[m][0] || ids[i + 1] != merges[m][1])) i++;
    if (i + 1 >= n) {
      m++;
      continue;
    }
    ids[i] = merges[m][2];
    memmove(ids + i + 1, ids + i + 2, (n - i - 2) * sizeof *ids);
    n--;
    m = 0;
  }
  return n;
}

enum { RANDOM_MERGES = 40, LETTERS = 3 };

/* Random merges over a, b, c; short pieces and long ones take different roads through the code. */
static void merging_agrees_with_the_obvious_form(void **state) {
  (void)state;
  struct rng rng;
  rng_seed(&rng, 11);
  for (int round = 0; round < 30; round++) {
    char *tokens[LETTERS + RANDOM_MERGES] = {sluice_strdup("a"), sluice_strdup("b"), sluice_strdup("c")};
    int32_t merges[RANDOM_MERGES][3];
    struct buffer vocab, list;
    struct sluice_error err;
    buffer_init(&vocab, 0);
    buffer_init(&list, 0);
    buffer_append_str(&vocab, "\"a\":0,\"b\":1,\"c\":2", &err);
    int32_t n = LETTERS;
    for (int tries = 0; n < LETTERS + RANDOM_MERGES && tries < 1000; tries++) {
      int32_t l = (int32_t)rng_below(&rng, (uint32_t)n), r = (int32_t)rng_below(&rng, (uint32_t)n);
      char *made = sluice_format("%s%s", tokens[l], tokens[r]);
      bool fresh = strlen(made) < 40;
      for (int32_t i = 0; i < n; i++) fresh = fresh && strcmp(tokens[i], made) != 0;
      if (!fresh) {
        free(made);
        continue;
      }
      buffer_printf(&vocab, &err, ",\"%s\":%d", made, n);
      buffer_printf(&list, &err, "%s\"%s %s\"", n > LETTERS ? "," : "", tokens[l], tokens[r]);
      memcpy(merges[n - LETTERS], (int32_t[]){l, r, n}, sizeof merges[0]);
      tokens[n++] = made;
    }
    struct tokenizer *t = open_text(file_text("", BYTE_LEVEL, "", vocab.ptr, list.ptr));
    for (int i = 0; i < 60; i++) {
      char text[200];
      int32_t ids[200];
      size_t len = rng_below(&rng, sizeof text);
      for (size_t k = 0; k < len; k++) text[k] = (char)('a' + (ids[k] = (int32_t)rng_below(&rng, i % 2 ? LETTERS : 2)));
      size_t want = slow_merge(ids, len, (const int32_t(*)[3])merges, (size_t)(n - LETTERS));
      expect_ids(t, text, len, 0, ids, want);
    }
    tokenizer_close(t);
    buffer_free(&vocab);
    buffer_free(&list);
    for (int32_t i = 0; i < n; i++) free(tokens[i]);
  }
}

/* A megabyte without a space is one piece: quadratic merging would take hours. */
/* Quadratic work on these would outlast the runner's limit many times over. */
static void a_megabyte_word_takes_no_time(void **state) {
  (void)state;
  struct tokenizer *t = open_bytes(GPT2);
  size_t len = 1 << 20;
  char *word = malloc(len);
  assert_non_null(word);
  for (int kind = 0; kind < 3; kind++) {
    for (size_t i = 0; i < len; i++) word[i] = kind == 0 ? "the"[i % 3] : kind == 1 ? ' ' : (char)0xff;
    round_trip(t, word, len);
  }
  free(word);
  tokenizer_close(t);
}

/* A pattern that backtracks without end is an error in bounded time, not a hang. */
static void a_runaway_pattern_is_an_error(void **state) {
  (void)state;
  struct sluice_error err;
  struct tokenizer *t =
      open_bytes("{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("(?:a+)+(?:a+)+b") "," BYTE_LEVEL "]}");
  int32_t *ids = NULL;
  size_t n = 0;
  char text[64];
  memset(text, 'a', sizeof text);
  memcpy(text + sizeof text - 2, "xb", 2);
  assert_int_equal(tokenizer_encode(t, (struct slice){text, sizeof text}, 0, &ids, &n, &err), SLUICE_LIMIT);
  assert_non_null(strstr(err.message, "splitting pattern"));
  free(ids);
  tokenizer_close(t);
}

struct shared_encoding {
  const struct tokenizer *t;
  bool same[4];
};

static void encode_in_lane(void *ctx, int lane) {
  struct shared_encoding *s = ctx;
  struct sluice_error err;
  s->same[lane] = true;
  for (int i = 0; i < 300; i++) {
    int32_t *ids = NULL;
    size_t n = 0;
    static const int32_t want[] = {258, ' ', 259, 0xff, ' ', 256, 258, ' ', '1', '2'};
    bool ok = tokenizer_encode(s->t, slice_of("the  the\xff \xc3\xa9the 12"), 0, &ids, &n, &err) == SLUICE_OK;
    s->same[lane] = s->same[lane] && ok && n == 10 && memcmp(ids, want, sizeof want) == 0;
    free(ids);
  }
}

static void threads_share_one_tokenizer(void **state) {
  (void)state;
  struct sluice_error err;
  struct shared_encoding s = {.t = open_bytes(GPT2)};
  struct team *team;
  assert_int_equal(team_start(4, &team, &err), 0);
  team_run(team, encode_in_lane, &s);
  team_stop(team);
  for (int i = 0; i < 4; i++) assert_true(s.same[i]);
  tokenizer_close((struct tokenizer *)(uintptr_t)s.t);
}

/* Llama 3's post_processor adds a BOS, GPT-2's and SmolLM2's none; without one the model's configuration decides. */
static void a_post_processor_tells_whether_a_bos_is_wanted(void **state) {
  (void)state;
  static const char byte_level[] = "{\"type\":\"ByteLevel\",\"trim_offsets\":true}";
  static const char with_bos[] =
      "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
      "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}";
  static const char text_alone[] =
      "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}";
  const struct {
    const char *open, *first, *second, *close;
    bool wanted;
  } cases[] = {
      {"null", "", "", "", true},
      {"", byte_level, "", "", false},
      {"", with_bos, "", "", true},
      {"", text_alone, "", "", false},
      {"{\"type\":\"Sequence\",\"processors\":[", byte_level, with_bos, "]}", true},
      {"{\"type\":\"Sequence\",\"processors\":[", byte_level, text_alone, "]}", false},
      {"{\"type\":\"RobertaProcessing\"}", "", "", "", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *text =
        sluice_format("{\"post_processor\":%s%s%s%s%s,\"pre_tokenizer\":" GPT2
                      ",\"model\":{\"type\":\"BPE\",\"vocab\":{" ABC "},\"merges\":[" MERGES "]}}",
                      cases[i].open, cases[i].first, cases[i].second[0] ? "," : "", cases[i].second, cases[i].close);
    assert_non_null(text);
    struct tokenizer *t = open_text(text);
    if (tokenizer_wants_bos(t) != cases[i].wanted) fail_msg("case %zu", i);
    tokenizer_close(t);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_files_are_refused_by_name),
      cmocka_unit_test(wrong_ids_are_refused),
      cmocka_unit_test(wrong_merges_are_refused),
      cmocka_unit_test(wrong_pre_tokenizers_are_refused),
      cmocka_unit_test(merges_follow_rank_then_place),
      cmocka_unit_test(ids_are_appended),
      cmocka_unit_test(specials_only_on_request),
      cmocka_unit_test(whole_pieces_with_ignore_merges),
      cmocka_unit_test(steps_of_a_sequence_cut_one_after_the_other),
      cmocka_unit_test(added_tokens_strip_and_keep_their_distance),
      cmocka_unit_test(nfc_comes_before_the_pieces),
      cmocka_unit_test(sentence_piece_falls_back_to_bytes),
      cmocka_unit_test(metaspace_puts_one_space),
      cmocka_unit_test(digits_may_be_cut_behind_byte_level),
      cmocka_unit_test(every_byte_survives),
      cmocka_unit_test(merging_agrees_with_the_obvious_form),
      cmocka_unit_test(a_megabyte_word_takes_no_time),
      cmocka_unit_test(a_runaway_pattern_is_an_error),
      cmocka_unit_test(threads_share_one_tokenizer),
      cmocka_unit_test(a_post_processor_tells_whether_a_bos_is_wanted),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
