/* Published token ids of 47 strings a vocabulary, made by the tokenizers of others: 46 that a marker line ends, and the
 * empty one after the last marker, whose line of ids is empty too. */
#include "tests/sample_data.h"
#include "tests/gguf_vocab.h"

#include "engine/engine.h"
#include "engine/model/gguf.h"

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define MARKER "\n__ggml_vocab_test__\n"

static struct tokenizer *open_vocabulary(const char *gguf, const char *pre_tokenizer, bool arrays) {
  struct sluice_error err;
  char *bytes, *json = scratch_path("vocab.json");
  size_t len;
  struct gguf_vocab v;
  struct buffer out;
  struct tokenizer *t = NULL;
  buffer_init(&out, 0);
  if (file_read(gguf, 0, &bytes, &len, &err)) fail_msg("%s", err.message);
  assert_true(gguf_vocab_read(bytes, len, &v));
  if (gguf_vocab_to_json(&v, pre_tokenizer, arrays, &out, &err)) fail_msg("%s", err.message);
  if (file_write_atomic(json, out.ptr, out.len, &err)) fail_msg("%s", err.message);
  int64_t from = clock_mono_ns();
  if (tokenizer_open(json, &t, &err)) fail_msg("%s", err.message);
  print_message("%d ids opened in %.0f ms\n", tokenizer_size(t), (double)(clock_mono_ns() - from) / 1e6);
  assert_int_equal(tokenizer_size(t), v.n_tokens);
  unlink(json);
  free(json);
  gguf_vocab_free(&v);
  buffer_free(&out);
  free(bytes);
  return t;
}

static char *at_end(char *text) {
  return text + strlen(text);
}

/* One line of ids. Returns how many there are. */
static size_t read_ids(char **line, int32_t *ids, size_t cap) {
  size_t n = 0;
  char *end = strchr(*line, '\n');
  if (end) *end = '\0';
  for (char *at = *line, *next; n < cap; at = next) {
    long id = strtol(at, &next, 10);
    if (next == at) break;
    ids[n++] = (int32_t)id;
  }
  *line = end ? end + 1 : at_end(*line);
  return n;
}

static bool check_one(const struct tokenizer *t, struct slice text, const int32_t *want, size_t n_want) {
  struct sluice_error err;
  int32_t *ids = NULL;
  size_t n = 0, at = 0, spaces = text.len && tokenizer_puts_space(t) ? 1 : 0; /* SentencePiece's own, in front */
  if (tokenizer_encode(t, text, TOKENIZE_PLAIN, &ids, &n, &err)) fail_msg("%s", err.message);
  bool same = n == n_want && (n == 0 || memcmp(ids, want, n * sizeof *ids) == 0);
  for (size_t i = 0; i < n; i++) { /* and back, byte for byte */
    struct slice piece = tokenizer_bytes(t, ids[i]);
    if (i == 0 && spaces) {
      assert_true(piece.len > 0 && piece.ptr[0] == ' ');
      piece.ptr++, piece.len--;
    }
    assert_true(at + piece.len <= text.len && memcmp(text.ptr + at, piece.ptr, piece.len) == 0);
    at += piece.len;
  }
  assert_int_equal(at, text.len);
  if (!same) print_message("differs: \"%.*s\"\n", (int)text.len, text.ptr);
  free(ids);
  return same;
}

/* The vectors that are published for a vocabulary. */
static int run_lines(const char *vocabulary, const struct tokenizer *t, int *total) {
  struct sluice_error err;
  char name[128], *paths[2], *inputs, *outputs;
  static const char *const ends[] = {".inp", ".out"};
  for (int i = 0; i < 2; i++) {
    snprintf(name, sizeof name, "tokenizer_vectors/ggml-vocab-%s.gguf%s", vocabulary, ends[i]);
    paths[i] = sample_path(name);
  }
  if (file_read(paths[0], 0, &inputs, NULL, &err) || file_read(paths[1], 0, &outputs, NULL, &err))
    fail_msg("%s", err.message);
  int passed = 0;
  char *line = outputs;
  *total = 0;
  for (const char *at = inputs; at;) {
    const char *end = strstr(at, MARKER);
    struct slice text = {at, end ? (size_t)(end - at) : strlen(at)};
    int32_t want[512];
    size_t n = read_ids(&line, want, 512);
    passed += check_one(t, text, want, n);
    ++*total;
    at = end ? end + strlen(MARKER) : NULL;
  }
  print_message("%s: %d of %d\n", vocabulary, passed, *total);
  free(inputs), free(outputs);
  free(paths[0]), free(paths[1]);
  return passed;
}

/* pre_tokenizer NULL: the GGUF file itself, with what it says of its pattern. */
static int run_vectors(const char *vocabulary, const char *pre_tokenizer, bool arrays, int *total) {
  struct sluice_error err;
  char name[128];
  snprintf(name, sizeof name, "tokenizer_vectors/ggml-vocab-%s.gguf", vocabulary);
  char *path = sample_path(name);
  struct tokenizer *t = NULL;
  if (pre_tokenizer)
    t = open_vocabulary(path, pre_tokenizer, arrays);
  else if (tokenizer_open(path, &t, &err))
    fail_msg("%s", err.message);
  const int passed = run_lines(vocabulary, t, total);
  tokenizer_close(t);
  free(path);
  return passed;
}

static void gpt_2_gives_the_published_ids(void **state) {
  (void)state;
  int total, passed = run_vectors("gpt-2", BYTE_LEVEL, false, &total);
  assert_int_equal(total, 47);
  assert_int_equal(passed, 47);
}

#define SPLIT(regex)                                                                                                   \
  "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false},"

/* A sequence of splits, digits one by one, and another vocabulary. Letters with case, punctuation, spaces at the end
 * and Chinese, Japanese and Korean text are cut from each other. */
static void deepseek_llm_gives_the_published_ids(void **state) {
  (void)state;
  static const char sequence[] = "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT("[\\r\\n]")
      SPLIT("\\\\s?[\\\\p{Lu}\\\\p{Ll}\\\\p{Lt}]+") SPLIT("\\\\s?[!-/:-~！-／：-～‘-‟　-。]+") SPLIT("\\\\s+$")
          SPLIT("[一-龥ࠀ-一가-퟿]+") "{\"type\":\"Digits\",\"individual_digits\":true},"
                                            "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}";
  int total, passed = run_vectors("deepseek-llm", sequence, false, &total);
  assert_int_equal(total, 47);
  assert_int_equal(passed, 47);
}

/* Any bytes come back: random ones, and random cuts of text in many scripts. */
static void random_bytes_survive_gpt_2(void **state) {
  (void)state;
  struct sluice_error err;
  struct rng rng;
  char *gguf = sample_path("tokenizer_vectors/ggml-vocab-gpt-2.gguf"),
       *text_path = sample_path("tokenizer_vectors/ggml-vocab-gpt-2.gguf.inp");
  char *text, bytes[400];
  size_t len;
  if (file_read(text_path, 0, &text, &len, &err)) fail_msg("%s", err.message);
  struct tokenizer *t = open_vocabulary(gguf, BYTE_LEVEL, false);
  rng_seed(&rng, 5);
  for (int i = 0; i < 2000; i++) {
    size_t n = rng_below(&rng, sizeof bytes), from = rng_below(&rng, (uint32_t)(len - sizeof bytes));
    for (size_t k = 0; k < n; k++) bytes[k] = i % 2 ? text[from + k] : (char)rng_below(&rng, 256);
    int32_t *ids = NULL;
    size_t n_ids = 0, at = 0;
    if (tokenizer_encode(t, (struct slice){bytes, n}, TOKENIZE_SPECIALS, &ids, &n_ids, &err))
      fail_msg("%s", err.message);
    for (size_t k = 0; k < n_ids; k++) {
      struct slice piece = tokenizer_bytes(t, ids[k]);
      assert_true(at + piece.len <= n && memcmp(bytes + at, piece.ptr, piece.len) == 0);
      at += piece.len;
    }
    assert_int_equal(at, n);
    free(ids);
  }
  tokenizer_close(t);
  free(text);
  free(gguf);
  free(text_path);
}

static void merges_as_arrays_give_the_same_ids(void **state) {
  (void)state;
  int total, passed = run_vectors("gpt-2", BYTE_LEVEL, true, &total);
  assert_int_equal(total, 47);
  assert_int_equal(passed, 47);
}

static void gguf_files_give_the_published_ids(void **state) {
  (void)state;
  static const char *const vocabularies[] = {"gpt-2", "deepseek-llm", "llama-spm", "phi-3"};
  for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
    int total, passed = run_vectors(vocabularies[i], NULL, false, &total);
    assert_int_equal(total, 47);
    assert_int_equal(passed, 47);
  }
}

/* ---- SentencePiece's vocabulary as Hugging Face's converter writes it: every way to cut a token in two is a merge,
 * ranked by the token's score ---- */
struct cut {
  double score;
  struct slice left, right;
};

static int by_score(const void *a, const void *b) {
  const struct cut *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x->left.ptr < y->left.ptr ? -1 : x->left.ptr > y->left.ptr; /* as they were found */
}

static bool knows(const struct tokenizer *t, struct slice spelling) {
  char text[256];
  size_t n = 0;
  for (size_t i = 0; i < spelling.len && n + 1 < sizeof text; n++) {
    const bool mark = spelling.len - i >= 3 && memcmp(spelling.ptr + i, "\xe2\x96\x81", 3) == 0;
    text[n] = mark ? ' ' : spelling.ptr[i];
    i += mark ? 3 : 1;
  }
  text[n] = '\0';
  const int32_t id = tokenizer_find(t, text);
  return id >= 0 && !tokenizer_is_special(t, id);
}

static size_t cuts_of(const struct tokenizer *t, struct slice spelling, double score, struct cut *out) {
  size_t n = 0;
  for (size_t i = 1; i < spelling.len; i++) {
    const struct slice left = {spelling.ptr, i}, right = {spelling.ptr + i, spelling.len - i};
    if (((unsigned char)right.ptr[0] & 0xc0) == 0x80) continue; /* inside a character */
    if (knows(t, left) && knows(t, right)) out[n++] = (struct cut){score, left, right};
  }
  return n;
}

static void write_converted(const struct gguf *g, const struct tokenizer *t, const char *path) {
  struct sluice_error err;
  struct gguf_array tokens, scores, types;
  struct buffer b;
  size_t n = 0, cap = 1 << 20;
  struct cut *cuts = malloc(cap * sizeof *cuts);
  buffer_init(&b, 0);
  assert_int_equal(gguf_array(g, "tokenizer.ggml.tokens", GGUF_STRINGS, &tokens, &err), 0);
  assert_int_equal(gguf_array(g, "tokenizer.ggml.scores", GGUF_REALS, &scores, &err), 0);
  assert_int_equal(gguf_array(g, "tokenizer.ggml.token_type", GGUF_WHOLES, &types, &err), 0);
  buffer_append_str(
      &b,
      "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"}"
      ",{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},\"model\":{\"type\":"
      "\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"vocab\":{",
      &err);
  for (int id = 0; tokens.n > 0; id++) {
    const struct slice spelling = gguf_next_string(&tokens);
    const double score = gguf_next_real(&scores);
    if (id > 0) buffer_append_str(&b, ",", &err);
    json_quote(&b, spelling.ptr, spelling.len, &err);
    buffer_printf(&b, &err, ":%d", id);
    if (gguf_next_whole(&types) == 1 && n + 64 < cap && spelling.len < 64) n += cuts_of(t, spelling, score, cuts + n);
  }
  buffer_append_str(&b, "},\"merges\":[", &err);
  qsort(cuts, n, sizeof *cuts, by_score);
  for (size_t i = 0; i < n; i++) {
    buffer_append_str(&b, i ? ",[" : "[", &err);
    json_quote(&b, cuts[i].left.ptr, cuts[i].left.len, &err);
    buffer_append_str(&b, ",", &err);
    json_quote(&b, cuts[i].right.ptr, cuts[i].right.len, &err);
    buffer_append_str(&b, "]", &err);
  }
  buffer_append_str(&b, "]}}", &err);
  if (file_write_atomic(path, b.ptr, b.len, &err)) fail_msg("%s", err.message);
  print_message("%zu merges\n", n);
  buffer_free(&b);
  free(cuts);
}

static void merges_of_characters_give_the_published_ids(void **state) {
  (void)state;
  struct sluice_error err;
  struct gguf *g;
  struct tokenizer *t;
  char *from = sample_path("tokenizer_vectors/ggml-vocab-llama-spm.gguf"), *to = scratch_path("converted.json");
  if (gguf_open(from, &g, &err) || tokenizer_open(from, &t, &err)) fail_msg("%s", err.message);
  write_converted(g, t, to);
  tokenizer_close(t);
  gguf_close(g);
  if (tokenizer_open(to, &t, &err)) fail_msg("%s", err.message);
  int total, passed = run_lines("llama-spm", t, &total);
  assert_int_equal(total, 47);
  assert_int_equal(passed, 47);
  tokenizer_close(t);
  unlink(to);
  free(from), free(to);
}

/* The fifth file comes without vectors: what it encodes must come back, and its many spaces are tokens of their own. */
static void gpt_neox_opens_and_comes_back(void **state) {
  (void)state;
  struct sluice_error err;
  struct tokenizer *t = NULL;
  char *path = sample_path("tokenizer_vectors/ggml-vocab-gpt-neox.gguf");
  static const char text[] = "Hello world, 2024:\n\n        return x  # \xc3\xa9t\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd";
  if (tokenizer_open(path, &t, &err)) fail_msg("%s", err.message);
  assert_int_equal(tokenizer_size(t), 50432);
  int32_t *ids = NULL;
  size_t n = 0, at = 0;
  assert_int_equal(tokenizer_encode(t, slice_of(text), TOKENIZE_PLAIN, &ids, &n, &err), 0);
  for (size_t i = 0; i < n; i++) {
    struct slice piece = tokenizer_bytes(t, ids[i]);
    assert_memory_equal(text + at, piece.ptr, piece.len);
    at += piece.len;
  }
  assert_int_equal(at, strlen(text));
  assert_int_equal(ids[0], tokenizer_find(t, "Hello"));
  free(ids);
  free(path);
  tokenizer_close(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpt_2_gives_the_published_ids),     cmocka_unit_test(deepseek_llm_gives_the_published_ids),
      cmocka_unit_test(random_bytes_survive_gpt_2),        cmocka_unit_test(merges_as_arrays_give_the_same_ids),
      cmocka_unit_test(merges_of_characters_give_the_published_ids),
      cmocka_unit_test(gguf_files_give_the_published_ids),
      cmocka_unit_test(gpt_neox_opens_and_comes_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
