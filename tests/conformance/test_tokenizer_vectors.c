/* Published token ids of 47 strings a vocabulary, made by the tokenizers of others: 46 that a marker line ends, and the
 * empty one after the last marker, whose line of ids is empty too. */
#include "tests/sample_data.h"
#include "tests/gguf_vocab.h"

#include "engine/engine.h"

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

/* pre_tokenizer NULL: the GGUF file itself, with what it says of its pattern. */
static int run_vectors(const char *vocabulary, const char *pre_tokenizer, bool arrays, int *total) {
  char name[128];
  struct sluice_error err;
  char *paths[3], *inputs, *outputs;
  static const char *const ends[] = {"", ".inp", ".out"};
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "tokenizer_vectors/ggml-vocab-%s.gguf%s", vocabulary, ends[i]);
    paths[i] = sample_path(name);
  }
  struct tokenizer *t = NULL;
  if (pre_tokenizer)
    t = open_vocabulary(paths[0], pre_tokenizer, arrays);
  else if (tokenizer_open(paths[0], &t, &err))
    fail_msg("%s", err.message);
  if (file_read(paths[1], 0, &inputs, NULL, &err) || file_read(paths[2], 0, &outputs, NULL, &err))
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
  free(inputs);
  free(outputs);
  for (int i = 0; i < 3; i++) free(paths[i]);
  tokenizer_close(t);
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
      cmocka_unit_test(gguf_files_give_the_published_ids), cmocka_unit_test(gpt_neox_opens_and_comes_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
