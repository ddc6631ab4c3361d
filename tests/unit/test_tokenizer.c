/* The tokenizer: files that are wrong, bytes that are not text, and merging against a slow, obvious reference. */
#include "tests/tokenizer_text.h"

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
