/* What a tokenizer.json says beside its merges: patterns, normal forms, added tokens, SentencePiece's spaces. */
#include "tests/tokenizer_text.h"

/* A pattern means what Oniguruma takes it for: U+180E is no space, marks belong to words, \h is a hexadecimal digit,
 * and a class in a class is a part of it. */
static void patterns_are_oniguruma_s(void **state) {
  (void)state;
#define ONLY(pattern) "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(pattern) "," BYTE_LEVEL "]}"
#define BYTES                                                                                                          \
  "\"a\":0,\"g\":1,\"\xc4\xa0\":2,\"\xc3\xa1\":3,\"\xc5\x82\":4,\"\xc4\xb0\":5,\"\xc3\x8c\":6,\"\xc4\xa3\":7,\"[\":8,"
#define SPACED "\"\xc4\xa0\xc4\xa0\":9,\"\xc4\xa0\xc3\xa1\":10,\"a\xc3\x8c\":11,\"ag\":12,\"aa\":13,\"[a\":14,\"ga\":15"
#define JOINS "\"\xc4\xa0 \xc4\xa0\",\"\xc4\xa0 \xc3\xa1\",\"a \xc3\x8c\",\"a g\",\"a a\",\"[ a\",\"g a\""
#define MONGOLIAN "\xe1\xa0\x8e"
  const struct {
    const char *pre, *text;
    int32_t ids[6], n;
  } cases[] = {
      {ONLY("\\\\s+"), "  " MONGOLIAN, {9, 3, 4, 5}, 4},
      {ONLY("[\\\\s]+"), "  " MONGOLIAN, {9, 3, 4, 5}, 4},
      {ONLY("\\\\S+"), " " MONGOLIAN, {2, 3, 4, 5}, 4},
      {ONLY("[^a\\\\S]+"), " " MONGOLIAN, {2, 3, 4, 5}, 4},
      {ONLY("\\\\w+"), "a\xcc\x81", {11, 7}, 2},
      {ONLY("\\\\W"), "a\xcc\x81", {11, 7}, 2},
      {ONLY("\\\\h"), "ag", {0, 1}, 2},
      {ONLY("\\\\H"), "ag", {0, 1}, 2},
      {ONLY("[g[a]]"), "aag[a", {0, 0, 1, 8, 0}, 5},
      {ONLY("a$"), "ga", {1, 0}, 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct tokenizer *t = open_text(file_text("", cases[i].pre, "", BYTES SPACED, JOINS));
    expect_ids(t, cases[i].text, strlen(cases[i].text), 0, cases[i].ids, (size_t)cases[i].n);
    tokenizer_close(t);
  }
  static const char *const not_done[] = {ONLY("[a[^b]]"), ONLY("[a&&b]"), ONLY("a{1,3}+"), ONLY("[\\\\W]")};
  for (size_t i = 0; i < sizeof not_done / sizeof *not_done; i++)
    refused(file_text("", not_done[i], "", BYTES SPACED, JOINS), "is not done here");
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

/* The longest is found first and, where it may not stand, passed over with all that is in it. White space is Unicode's.
 */
static void added_tokens_are_passed_over_whole(void **state) {
  (void)state;
  struct tokenizer *t = open_text(file_text(
      ADDED(5, "bb", "\"single_word\":true") "," ADDED(6, "b", "\"x\":0") "," ADDED(7, "<r>", "\"rstrip\":true"),
      BYTE_LEVEL, "", "\"a\":0,\"c\":1,\"\xc3\xa2\":2,\"\xc4\xa2\":3,\"\xc2\xa6\":4,\"B\":8,\"\xc2\xae\":9", ""));
  struct sluice_error err;
  int32_t *ids = NULL;
  size_t n = 0;
  EXPECT(t, "bb", TOKENIZE_SPECIALS, 5);
  EXPECT(t,
         "\xe2\x80\xa6"
         "bb",
         TOKENIZE_SPECIALS, 2, 3, 4, 5); /* U+2026 is no letter */
  EXPECT(t,
         "<r>\xc2\xa0\xe3\x80\x80"
         "a",
         TOKENIZE_SPECIALS, 7, 0);
  assert_int_equal(tokenizer_encode(t, slice_of("abb"), TOKENIZE_SPECIALS, &ids, &n, &err), SLUICE_INPUT); /* no "b" */
  free(ids);
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

/* The library's tables end with Unicode 9: U+08D3 came later and stays behind U+0301, U+1E94A goes before it. A
 * megabyte of marks takes no time. */
static void nfc_is_that_of_unicode_9(void **state) {
  (void)state;
  struct sluice_error err;
  struct tokenizer *t = open_bytes(GPT2 ",\"normalizer\":{\"type\":\"NFC\"}");
  EXPECT(t, "x\xcc\x81\xe0\xa3\x93", 0, 'x', 0xcc, 0x81, 0xe0, 0xa3, 0x93);
  EXPECT(t, "x\xcc\x81\xf0\x9e\xa5\x8a", 0, 'x', 0xf0, 0x9e, 0xa5, 0x8a, 0xcc, 0x81);
  enum { PAIRS = 1 << 18 };
  char *text = malloc(1 + 4 * PAIRS);
  int32_t *ids = NULL;
  size_t n = 0;
  assert_non_null(text);
  text[0] = 'x';
  for (size_t i = 0; i < PAIRS; i++) memcpy(text + 1 + 4 * i, "\xcc\x81\xcc\xa3", 4);
  if (tokenizer_encode(t, (struct slice){text, 1 + 4 * PAIRS}, 0, &ids, &n, &err)) fail_msg("%s", err.message);
  assert_int_equal(n, 1 + 4 * PAIRS);
  for (size_t i = 0; i < 2 * PAIRS; i++) assert_int_equal(ids[2 + 2 * i], i < PAIRS ? 0xa3 : 0x81);
  free(ids);
  free(text);
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

/* Llama 1's: <s> is looked for as the normalizer would write it, so only behind a space or at the beginning, and what
 * follows it gets no space. */
static void normalized_tokens_are_spelled_too(void **state) {
  (void)state;
  struct tokenizer *t =
      open_text(file_text(ADDED(11, "<s>", "\"normalized\":true"), SENTENCE_PIECE,
                          "\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"fuse_unk\":true,", PIECES, PIECE_MERGES));
  EXPECT(t, "<s>ab", TOKENIZE_SPECIALS, 11, 8);
  EXPECT(t, "ab <s> ab", TOKENIZE_SPECIALS, 9, 11, 9);
  EXPECT(t, "ab<s>", TOKENIZE_SPECIALS, 9, 0);
  EXPECT(t, "<s><s>", TOKENIZE_SPECIALS, 11, 0);
  tokenizer_close(t);
}

/* Without byte_fallback <0xC3> is a token like any other. */
static void bytes_are_fallen_back_to_on_request(void **state) {
  (void)state;
  struct tokenizer *t =
      open_text(file_text("", SENTENCE_PIECE, "\"unk_token\":\"<unk>\",\"fuse_unk\":true,", PIECES, PIECE_MERGES));
  EXPECT(t, "b\xc3\xa9", TOKENIZE_PLAIN, 4, 6, 0);
  assert_true(slice_is(tokenizer_bytes(t, 1), "<0xC3>"));
  tokenizer_close(t);
}

static void metaspace_puts_one_space(void **state) {
  (void)state;
#define METASPACE(scheme)                                                                                              \
  "{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"" scheme "\",\"split\":false}"
  struct tokenizer *t = open_text(file_text(ADDED(11, "<s>", "\"x\":0"), METASPACE("first"), "", PIECES, PIECE_MERGES));
  EXPECT(t, "ab", TOKENIZE_PLAIN, 9);
  EXPECT(t, " ab", TOKENIZE_PLAIN, 9); /* it has one */
  EXPECT(t, MARK "ab", TOKENIZE_PLAIN, 9);
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

/* Gemma's: a run of U+2581 is an added token that is looked for as it is spelled, and a word of the vocabulary too: it
 * stands for spaces, which are merged into it. */
static void a_run_of_spaces_may_be_an_added_token(void **state) {
  (void)state;
  struct tokenizer *t = open_text(
      file_text("{\"id\":11,\"content\":\"" MARK MARK "\",\"special\":false}",
                "null,\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}",
                "", PIECES ",\"" MARK MARK "\":11,\"" MARK MARK MARK MARK "\":12",
                PIECE_MERGES ",\"" MARK " " MARK "\",\"" MARK MARK " " MARK MARK "\""));
  EXPECT(t, "  b", TOKENIZE_PLAIN, 11, 6);
  EXPECT(t, "    b", TOKENIZE_PLAIN, 12, 6);
  EXPECT(t, MARK MARK MARK "b", TOKENIZE_PLAIN, 11, 4, 6); /* found before anything merges */
  assert_true(slice_is(tokenizer_bytes(t, 11), "  "));
  tokenizer_close(t);
}

/* The compatibility forms change what NFC leaves, characters below U+0300 too; two forms in a row are not done. */
static void the_other_forms_are_done(void **state) {
  (void)state;
  struct tokenizer *t = open_bytes(GPT2 ",\"normalizer\":{\"type\":\"NFKC\"}");
  EXPECT(t, "\xc2\xbd\xef\xac\x81", 0, '1', 0xe2, 0x81, 0x84, '2', 'f', 'i'); /* a half, a ligature */
  EXPECT(t, "e\xcc\x81", 0, 256);
  int32_t *ids = NULL;
  size_t n = 0;
  struct sluice_error err;
  assert_int_equal(tokenizer_encode(t, slice_of("\xef\xb7\xba"), 0, &ids, &n, &err), 0); /* U+FDFA: 18 letters */
  assert_int_equal(n, 33);
  free(ids);
  tokenizer_close(t);
  t = open_bytes(GPT2 ",\"normalizer\":{\"type\":\"NFD\"}");
  EXPECT(t, "\xc3\xa9", 0, 'e', 0xcc, 0x81);
  EXPECT(t, "\xc2\xbd", 0, 0xc2, 0xbd);
  tokenizer_close(t);
  t = open_bytes(GPT2 ",\"normalizer\":{\"type\":\"NFKD\"}");
  EXPECT(t, "\xc3\xa9\xef\xac\x81", 0, 'e', 0xcc, 0x81, 'f', 'i');
  tokenizer_close(t);
  refused(file_text("",
                    GPT2
                    ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"NFC\"}]}",
                    "", ABC, MERGES),
          "NFC behind NFD");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(patterns_are_oniguruma_s),
      cmocka_unit_test(added_tokens_strip_and_keep_their_distance),
      cmocka_unit_test(added_tokens_are_passed_over_whole),
      cmocka_unit_test(nfc_comes_before_the_pieces),
      cmocka_unit_test(nfc_is_that_of_unicode_9),
      cmocka_unit_test(sentence_piece_falls_back_to_bytes),
      cmocka_unit_test(normalized_tokens_are_spelled_too),
      cmocka_unit_test(bytes_are_fallen_back_to_on_request),
      cmocka_unit_test(metaspace_puts_one_space),
      cmocka_unit_test(a_run_of_spaces_may_be_an_added_token),
      cmocka_unit_test(the_other_forms_are_done),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
