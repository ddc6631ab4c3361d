/* Vocabularies that come without a tokenizer.json: vocab.json with merges.txt, and tekken.json. */
#include "tests/folder_tokenizer.h"

static int begin(void **state) {
  (void)state;
  return scratch_begin("tokenizer-compose");
}

/* ---- vocab.json and merges.txt ---- */

#define VOCAB                                                                                                          \
  "{\"a\":0,\"b\":1,\"1\":2,\"2\":3,\"12\":4,\"ab\":5,\"\xc4\xa0\":6,\"\xc4\xa0"                                       \
  "ab\":7,\"e\":8,\"\xc3\x8c\":9,\"\xc4\xa3\":10,\"\xc3\x83\":11,\"\xc2\xa9\":12,\"<|endoftext|>\":13,\"<pad>\":14,"   \
  "\"<\":15,\"|\":16,\"<t>\":17}"
#define MERGES "#version: 0.2\na b\n1 2\n\xc4\xa0 ab\n"

static void gpt2_is_composed(void **state) {
  (void)state;
  scratch_text("vocab.json", VOCAB);
  scratch_text("merges.txt", MERGES);
  scratch_text("tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\",\"pad_token\":{\"content\":\"<pad>\"},"
                                        "\"unk_token\":\"<no such word>\",\"additional_special_tokens\":[\"<t>\"]}");
  struct tokenizer *t = opened();
  EXPECT(t, "ab ab12", TOKENIZE_PLAIN, 5, 7, 4);
  EXPECT(t, "e\xcc\x81", TOKENIZE_PLAIN, 8, 9, 10); /* no normal form */
  EXPECT(t, "a<|endoftext|><pad>", TOKENIZE_SPECIALS, 0, 13, 14);
  EXPECT(t, "<|", TOKENIZE_PLAIN, 15, 16);
  assert_true(tokenizer_is_special(t, 17));
  assert_false(tokenizer_is_special(t, 0));
  assert_false(tokenizer_wants_bos(t));
  char hash[65];
  snprintf(hash, sizeof hash, "%s", tokenizer_hash(t));
  tokenizer_close(t);
  scratch_text("tokenizer_config.json", "{\"tokenizer_class\":\"GPT2TokenizerFast\",\"add_bos_token\":true}");
  scratch_text("special_tokens_map.json", "{\"eos_token\":\"<pad>\"}");
  scratch_text("merges.txt", "a b\r\n\r\n1 2\r\n\xc4\xa0 ab"); /* no version, line ends of another system */
  t = opened();
  EXPECT(t, "ab ab12", TOKENIZE_PLAIN, 5, 7, 4);
  assert_true(tokenizer_is_special(t, 14));
  assert_true(tokenizer_wants_bos(t));
  assert_string_not_equal(tokenizer_hash(t), hash);
  tokenizer_close(t);
}

static void qwen2_is_composed(void **state) {
  (void)state;
  scratch_text("vocab.json", VOCAB);
  scratch_text("merges.txt", MERGES);
  scratch_text("config.json", "{\"model_type\":\"qwen2\"}"); /* no class is named */
  scratch_text("added_tokens.json", "{\"<|im_start|>\":20}");
  struct tokenizer *t = opened();
  EXPECT(t, "ab12", TOKENIZE_PLAIN, 5, 2, 3); /* digits one by one */
  EXPECT(t, "e\xcc\x81", TOKENIZE_PLAIN, 11, 12);
  EXPECT(t, "<|im_start|>a", TOKENIZE_SPECIALS, 20, 0);
  assert_int_equal(tokenizer_size(t), 21);
  tokenizer_close(t);
}

static void wrong_words_and_merges_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *vocab, *merges, *config, *part;
  } cases[] = {
      {VOCAB, NULL, "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "merges.txt"},
      {VOCAB, MERGES, "{\"tokenizer_class\":\"BertTokenizer\"}", "tokenizer_class: \"BertTokenizer\""},
      {VOCAB, MERGES, "{}", "config.json: model_type"},
      {VOCAB, MERGES, "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_prefix_space\":true}", "add_prefix_space"},
      {VOCAB, "#version: 0.2\na b\n1 2 3\n", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "merges.txt: line 3"},
      {VOCAB, "a b\n12", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "merges.txt: line 2"},
      {VOCAB, "a b\n 2\n", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "merges.txt: line 2"},
      {VOCAB, "a 1\n", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "merges.txt: model.merges[0]"},
      {"[]", MERGES, "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "vocab.json"},
      {"{\"a\":-1}", MERGES, "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "\"a\""},
      {"{\"a\":99999999}", MERGES, "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "99999999"},
      {"{\"a\":0", MERGES, "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "vocab.json"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scratch_clean(NULL);
    scratch_text("vocab.json", cases[i].vocab);
    if (cases[i].merges) scratch_text("merges.txt", cases[i].merges);
    scratch_text("tokenizer_config.json", cases[i].config);
    refused(cases[i].part);
  }
}

static void cut_words_are_survived(void **state) {
  (void)state;
  scratch_text("tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\"}");
  for (size_t len = 0; len < strlen(VOCAB); len++) {
    struct tokenizer *t = NULL;
    scratch_write("vocab.json", VOCAB, len);
    scratch_text("merges.txt", MERGES);
    if (tokenizer_open_folder(scratch_dir, &t, &err) == SLUICE_OK) fail_msg("accepted %zu bytes", len);
    if (len > strlen(MERGES)) continue;
    scratch_text("vocab.json", VOCAB);
    scratch_write("merges.txt", MERGES, len);
    if (tokenizer_open_folder(scratch_dir, &t, &err) == SLUICE_OK) tokenizer_close(t); /* fewer merges */
  }
}

/* ---- tekken.json ---- */

enum { WORDS = 400, SPECIALS = 30 };

struct words {
  char text[WORDS][16];
  size_t len[WORDS];
  int n;
};

static void put_base64(struct buffer *b, const char *bytes, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < n; i += 3) {
    uint32_t bits = 0;
    char out[4] = "====";
    for (size_t k = 0; k < 3; k++) bits = bits << 8 | (i + k < n ? (unsigned char)bytes[i + k] : 0);
    for (size_t k = 0; k < 4 && i * 4 + k * 3 < n * 4 + 0 && i + k <= n; k++)
      out[k] = digits[bits >> (18 - 6 * k) & 63];
    assert_int_equal(buffer_append(b, out, 4, &err), SLUICE_OK);
  }
}

/* All bytes, then words over three letters, each the join of two earlier ones. */
static void make_words(struct words *w) {
  struct rng r;
  rng_seed(&r, 21);
  for (w->n = 0; w->n < 256; w->n++) w->text[w->n][0] = (char)w->n, w->len[w->n] = 1;
  while (w->n < WORDS) {
    const int first = w->n < 300 ? 'a' + (int)rng_below(&r, 3) : 256 + (int)rng_below(&r, (uint32_t)w->n - 256),
              second = 'a' + (int)rng_below(&r, 3), other = 256 + (int)rng_below(&r, (uint32_t)(w->n - 255));
    const int right = w->n > 256 && other < w->n && rng_below(&r, 2) ? other : second;
    const size_t len = w->len[first] + w->len[right];
    bool fresh = len < sizeof w->text[0];
    if (!fresh) continue;
    memcpy(w->text[w->n], w->text[first], w->len[first]);
    memcpy(w->text[w->n] + w->len[first], w->text[right], w->len[right]);
    for (int i = 0; fresh && i < w->n; i++) fresh = w->len[i] != len || memcmp(w->text[i], w->text[w->n], len) != 0;
    w->len[w->n] = len;
    w->n += fresh;
  }
}

static void write_tekken(const struct words *w, const char *specials, int size, int n_special) {
  struct buffer b;
  buffer_init(&b, 0);
  buffer_printf(&b, &err,
                "{\"config\":{\"pattern\":\"[^\\\\s]+|\\\\s\",\"num_vocab_tokens\":%d,\"default_vocab_size\":%d,"
                "\"default_num_special_tokens\":%d,\"version\":\"v3\"},%s\"vocab\":[",
                w->n, size, n_special, specials);
  for (int i = 0; i < w->n; i++) {
    buffer_printf(&b, &err, "%s{\"rank\":%d,\"token_bytes\":\"", i ? "," : "", i);
    put_base64(&b, w->text[i], w->len[i]);
    buffer_append_str(&b, "\",\"token_str\":null}", &err);
  }
  buffer_append_str(&b, "]}", &err);
  scratch_write("tekken.json", b.ptr, b.len);
  buffer_free(&b);
}

static int find_word(const struct words *w, const char *text, size_t len) {
  for (int i = 0; i < w->n; i++)
    if (w->len[i] == len && memcmp(w->text[i], text, len) == 0) return i;
  return -1;
}

/* What tiktoken does: a whole word at once, else of all neighbours that together are a word those with the lowest rank
 * merge, the leftmost first. */
static size_t reference(const struct words *w, const char *text, size_t len, int32_t *ids) {
  size_t at[64], n = len;
  const int whole = find_word(w, text, len);
  for (size_t i = 0; i <= len; i++) at[i] = i;
  for (;;) {
    int best = -1;
    size_t where = 0;
    for (size_t i = 0; i + 1 < n && whole < 0; i++) {
      const int rank = find_word(w, text + at[i], at[i + 2] - at[i]);
      if (rank >= 0 && (best < 0 || rank < best)) best = rank, where = i;
    }
    if (best < 0) break;
    memmove(&at[where + 1], &at[where + 2], (n - where - 1) * sizeof *at);
    n--;
  }
  if (whole >= 0) n = 1, at[1] = len;
  for (size_t i = 0; i < n; i++) ids[i] = find_word(w, text + at[i], at[i + 1] - at[i]) + SPECIALS;
  return n;
}

static void tekken_merges_by_rank(void **state) {
  (void)state;
  static struct words w;
  struct rng r;
  make_words(&w);
  write_tekken(&w, "", WORDS + SPECIALS - 7, SPECIALS); /* the last seven words are none of the model's */
  w.n -= 7;
  struct tokenizer *t = opened();
  assert_int_equal(tokenizer_size(t), WORDS + SPECIALS - 7);
  rng_seed(&r, 4);
  for (int i = 0; i < 3000; i++) {
    char text[41] = {0};
    int32_t ids[64];
    const size_t len = 1 + rng_below(&r, 40);
    for (size_t k = 0; k < len; k++) text[k] = (char)('a' + rng_below(&r, 3));
    expect(t, text, TOKENIZE_PLAIN, ids, reference(&w, text, len, ids));
  }
  EXPECT(t, "b c\xff", TOKENIZE_PLAIN, 'b' + SPECIALS, ' ' + SPECIALS, 'c' + SPECIALS, 0xff + SPECIALS);
  EXPECT(t, "<s>[INST]b[/INST]</s>[TOOL_CONTENT]<SPECIAL_29>", TOKENIZE_SPECIALS, 1, 3, 'b' + SPECIALS, 4, 2, 19, 29);
  assert_true(tokenizer_wants_bos(t));
  tokenizer_close(t);
}

static void tekken_names_its_specials(void **state) {
  (void)state;
  static struct words w;
  make_words(&w);
  write_tekken(&w,
               "\"special_tokens\":[{\"rank\":0,\"token_str\":\"<unk>\",\"is_control\":true},{\"rank\":1,\"token_str\":"
               "\"[THINK]\",\"is_control\":true}],",
               WORDS + SPECIALS, SPECIALS);
  struct tokenizer *t = opened();
  EXPECT(t, "[THINK]<SPECIAL_2>", TOKENIZE_SPECIALS, 1, 2);
  assert_int_equal(tokenizer_find(t, "[INST]"), -1);
  tokenizer_close(t);
}

static void wrong_tekken_is_refused(void **state) {
  (void)state;
  static struct words w;
  static const struct {
    const char *text, *part;
  } cases[] = {
      {"[]", "not a JSON object"},
      {"{\"vocab\":[]}", "config"},
      {"{\"config\":{\"default_vocab_size\":2}}", "pattern"},
      {"{\"config\":{\"pattern\":\"x\",\"default_vocab_size\":99999999}}", "default_vocab_size"},
      {"{\"config\":{\"pattern\":\"x\",\"default_vocab_size\":2,\"default_num_special_tokens\":3}}",
       "default_num_special_tokens"},
#define SIZES "{\"config\":{\"pattern\":\"x\",\"default_vocab_size\":2,\"default_num_special_tokens\":1}"
      {SIZES "}", "vocab"},
      {SIZES ",\"vocab\":[]}", "cut short"},
      {SIZES ",\"vocab\":[{\"rank\":1,\"token_bytes\":\"YQ==\"}]}", "vocab[0].rank"},
      {SIZES ",\"vocab\":[{\"rank\":0,\"token_bytes\":\"YQ=\"}]}", "vocab[0].token_bytes"},
      {SIZES ",\"vocab\":[{\"rank\":0,\"token_bytes\":\"Y===\"}]}", "vocab[0].token_bytes"},
      {SIZES ",\"vocab\":[{\"rank\":0,\"token_bytes\":\"\"}]}", "vocab[0].token_bytes"},
      {SIZES ",\"vocab\":[{\"rank\":0,\"token_bytes\":7}]}", "vocab[0].token_bytes"},
      {SIZES ",\"special_tokens\":[{\"rank\":1,\"token_str\":\"x\"}],\"vocab\":[]}", "special_tokens[0]"},
      {SIZES ",\"special_tokens\":[{\"rank\":0,\"token_str\":\"x\"},{\"rank\":1,\"token_str\":\"y\"}],\"vocab\":[]}",
       "special_tokens[1]"},
      {"{\"config\":{\"pattern\":\"(\",\"default_vocab_size\":1,\"default_num_special_tokens\":0},\"vocab\":[{\"rank\":"
       "0,\"token_bytes\":\"YQ==\"}]}",
       "pre_tokenizer"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scratch_text("tekken.json", cases[i].text);
    refused(cases[i].part);
  }
  make_words(&w);
  w.n = 40;
  write_tekken(&w, "", 40 + 1, 1);
  char *path = sluice_format("%s/tekken.json", scratch_dir), *bytes;
  size_t len;
  assert_int_equal(file_read(path, 0, &bytes, &len, &err), SLUICE_OK);
  for (size_t cut = 0; cut < len; cut += 3) {
    struct tokenizer *t = NULL;
    scratch_write("tekken.json", bytes, cut);
    if (tokenizer_open_folder(scratch_dir, &t, &err) == SLUICE_OK) fail_msg("accepted %zu bytes", cut);
  }
  free(bytes), free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(gpt2_is_composed, scratch_clean),
      cmocka_unit_test_setup(qwen2_is_composed, scratch_clean),
      cmocka_unit_test_setup(wrong_words_and_merges_are_refused, scratch_clean),
      cmocka_unit_test_setup(cut_words_are_survived, scratch_clean),
      cmocka_unit_test_setup(tekken_merges_by_rank, scratch_clean),
      cmocka_unit_test_setup(tekken_names_its_specials, scratch_clean),
      cmocka_unit_test_setup(wrong_tekken_is_refused, scratch_clean),
  };
  return cmocka_run_group_tests(tests, begin, scratch_end);
}
