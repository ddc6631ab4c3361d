/* The trainer of tokenizers: the same merges as counting everything anew at each step, the same file every time. */
#include "tests/sample_data.h"

#include <cjson/cJSON.h>

#include "engine/engine.h"

static char *data, *out;

static int begin(void **state) {
  (void)state;
  data = scratch_path("corpus.jsonl");
  out = scratch_path("trained.json");
  return data && out ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  unlink(data);
  unlink(out);
  free(data);
  free(out);
  return 0;
}

static void write_lines(const char *text, size_t len) {
  struct sluice_error err;
  if (file_write_atomic(data, text, len, &err)) fail_msg("%s", err.message);
}

static sluice_status train(int vocab, const char *pattern, struct sluice_error *err) {
  struct train_tokenizer_options o = {.data = data, .out = out, .vocab = vocab, .pattern = pattern};
  return train_tokenizer(&o, err);
}

/* ---- the obvious form: words as lists of strings, every pair counted anew for every merge
 * ---------------------------- */

enum { MAX_WORDS = 400, MAX_SYMBOLS = 16 };

struct slow_word {
  char symbols[MAX_SYMBOLS][MAX_SYMBOLS + 1];
  int n;
};

struct slow_pair {
  const char *left, *right;
  int count;
};

static struct slow_pair best_pair(struct slow_word *words, int n) {
  static struct slow_pair pairs[MAX_WORDS * MAX_SYMBOLS];
  int n_pairs = 0;
  for (int w = 0; w < n; w++)
    for (int i = 0; i + 1 < words[w].n; i++) {
      int p = 0;
      while (p < n_pairs &&
             (strcmp(pairs[p].left, words[w].symbols[i]) || strcmp(pairs[p].right, words[w].symbols[i + 1])))
        p++;
      if (p == n_pairs) pairs[n_pairs++] = (struct slow_pair){words[w].symbols[i], words[w].symbols[i + 1], 0};
      pairs[p].count++;
    }
  struct slow_pair best = {"", "", 0};
  for (int p = 0; p < n_pairs; p++) {
    int left = strcmp(pairs[p].left, best.left), right = strcmp(pairs[p].right, best.right);
    bool smaller = left < 0 || (left == 0 && right < 0);
    if (pairs[p].count > best.count || (pairs[p].count == best.count && smaller)) best = pairs[p];
  }
  return best;
}

static void merge_everywhere(struct slow_word *words, int n, const char *left, const char *right) {
  for (int w = 0; w < n; w++)
    for (int i = 0; i + 1 < words[w].n; i++) {
      if (strcmp(words[w].symbols[i], left) || strcmp(words[w].symbols[i + 1], right)) continue;
      strcat(words[w].symbols[i], right);
      memmove(words[w].symbols[i + 1], words[w].symbols[i + 2],
              (size_t)(words[w].n - i - 2) * sizeof words[w].symbols[0]);
      words[w].n--;
    }
}

/* One line of random words over a few letters, so that ties and runs of one letter are common. */
static int random_corpus(struct rng *rng, struct slow_word *words) {
  struct buffer line;
  struct sluice_error err;
  buffer_init(&line, 0);
  buffer_append_str(&line, "{\"text\":\"", &err);
  int n = 50 + (int)rng_below(rng, MAX_WORDS - 50);
  for (int w = 0; w < n; w++) {
    words[w] = (struct slow_word){.n = 1 + (int)rng_below(rng, MAX_SYMBOLS)};
    if (w) buffer_append_str(&line, "|", &err);
    for (int i = 0; i < words[w].n; i++) {
      words[w].symbols[i][0] = (char)('a' + rng_below(rng, 3));
      buffer_append(&line, words[w].symbols[i], 1, &err);
    }
  }
  buffer_append_str(&line, "\"}\n", &err);
  write_lines(line.ptr, line.len);
  buffer_free(&line);
  return n;
}

static void merges_are_those_of_the_obvious_form(void **state) {
  (void)state;
  static struct slow_word words[MAX_WORDS];
  struct rng rng;
  struct sluice_error err;
  rng_seed(&rng, 3);
  for (int round = 0; round < 12; round++) {
    int n = random_corpus(&rng, words);
    if (train(261 + 30, "[a-z]+", &err)) fail_msg("%s", err.message);
    cJSON *root;
    if (json_read_file(out, false, &root, &err)) fail_msg("%s", err.message);
    const cJSON *model = cJSON_GetObjectItem(root, "model"), *merges = cJSON_GetObjectItem(model, "merges"), *item;
    int i = 0;
    cJSON_ArrayForEach(item, merges) {
      struct slow_pair best = best_pair(words, n);
      char *want = sluice_format("%s %s", best.left, best.right), *left = sluice_strdup(best.left),
           *right = sluice_strdup(best.right);
      if (strcmp(want, item->valuestring) != 0)
        fail_msg("round %d, merge %d: \"%s\", not \"%s\" (%d times)", round, i, item->valuestring, want, best.count);
      merge_everywhere(words, n, left, right);
      free(want);
      free(left);
      free(right);
      i++;
    }
    assert_true(i >= 30); /* more when two merges make the same bytes */
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(model, "vocab")), 261 + 30);
    cJSON_Delete(root);
  }
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

static const char story[] =
    "{\"text\":\"<|user|>What is in the basket?<|end|><|bot|>There are 12 apples in the basket.<|end|>\"}\n"
    "\r\n"
    "{\"answers\":[[0,1]],\"text\":\"The basket is by the door\\u0000 \\ud83d\\ude80, said the others, 12 12 12 12 12 "
    "of them.\"}";

static void the_file_opens_and_specials_are_ids(void **state) {
  (void)state;
  struct sluice_error err;
  struct tokenizer *t;
  write_lines(story, strlen(story));
  if (train(290, NULL, &err)) fail_msg("%s", err.message);
  if (tokenizer_open(out, &t, &err)) fail_msg("%s", err.message);
  assert_int_equal(tokenizer_size(t), 290);
  static const char *const specials[] = {"<s>", "<|end|>", "<|user|>", "<|bot|>", "<|system|>"};
  for (int i = 0; i < 5; i++) {
    assert_int_equal(tokenizer_find(t, specials[i]), i);
    assert_true(tokenizer_is_special(t, i));
  }
  for (int b = 0; b < 256; b++) {
    struct slice byte = tokenizer_bytes(t, 5 + b);
    assert_int_equal(byte.len, 1);
    assert_int_equal((unsigned char)byte.ptr[0], b);
  }
  for (int id = 261; id < 290; id++) { /* markers were cut out: no merge holds a part of one */
    struct slice token = tokenizer_bytes(t, id);
    assert_null(memchr(token.ptr, '|', token.len));
    assert_null(memchr(token.ptr, '<', token.len));
  }
  int32_t *ids = NULL;
  size_t n = 0;
  assert_int_equal(tokenizer_encode(t, slice_of("<|user|> 12345"), TOKENIZE_SPECIALS, &ids, &n, &err), 0);
  assert_int_equal(ids[0], 2);
  assert_int_equal(n, 1 + 4); /* " 12" is the only number of the text, and numbers are cut by two digits */
  free(ids);
  tokenizer_close(t);
}

/* Whatever the merges, any bytes come back. */
static void random_bytes_survive(void **state) {
  (void)state;
  struct sluice_error err;
  struct tokenizer *t;
  struct rng rng;
  char bytes[300];
  write_lines(story, strlen(story));
  if (train(290, NULL, &err) || tokenizer_open(out, &t, &err)) fail_msg("%s", err.message);
  rng_seed(&rng, 9);
  for (int i = 0; i < 2000; i++) {
    size_t len = rng_below(&rng, sizeof bytes), at = 0, n = 0;
    int32_t *ids = NULL;
    for (size_t k = 0; k < len; k++)
      bytes[k] = i % 2 ? story[rng_below(&rng, sizeof story - 1)] : (char)rng_below(&rng, 256);
    if (i % 4 == 1 && len > 60) memcpy(bytes, story + 9, 60); /* markers and words as they stand */
    if (tokenizer_encode(t, (struct slice){bytes, len}, TOKENIZE_SPECIALS, &ids, &n, &err)) fail_msg("%s", err.message);
    for (size_t k = 0; k < n; k++) {
      struct slice piece = tokenizer_bytes(t, ids[k]);
      assert_true(at + piece.len <= len && memcmp(bytes + at, piece.ptr, piece.len) == 0);
      at += piece.len;
    }
    assert_int_equal(at, len);
    free(ids);
  }
  tokenizer_close(t);
}

static void the_same_text_gives_the_same_bytes(void **state) {
  (void)state;
  struct sluice_error err;
  char *first, *second;
  size_t len[2];
  write_lines(story, strlen(story));
  assert_int_equal(train(290, NULL, &err), 0);
  assert_int_equal(file_read(out, 0, &first, &len[0], &err), 0);
  assert_int_equal(train(290, NULL, &err), 0);
  assert_int_equal(file_read(out, 0, &second, &len[1], &err), 0);
  assert_int_equal(len[0], len[1]);
  assert_memory_equal(first, second, len[0]);
  free(first);
  free(second);
}

static void refused(const char *text, int vocab, const char *pattern, sluice_status status, const char *part) {
  struct sluice_error err;
  unlink(out);
  write_lines(text, strlen(text));
  assert_int_equal(train(vocab, pattern, &err), status);
  if (!strstr(err.message, part)) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
  assert_false(file_exists(out));
}

static void wrong_input_is_refused_by_line(void **state) {
  (void)state;
  struct sluice_error err;
  refused(story, 260, NULL, SLUICE_USAGE, "260");
  refused(story, 1 << 21, NULL, SLUICE_USAGE, "vocab");
  refused(story, 5000, NULL, SLUICE_INPUT, "5000");
  refused(story, 290, "(", SLUICE_INPUT, "--pattern");
  refused("", 290, NULL, SLUICE_INPUT, "corpus.jsonl");
  refused("\n\n", 290, NULL, SLUICE_INPUT, "corpus.jsonl");
  refused("{\"text\":\"a\"}\n{\"text\":", 290, NULL, SLUICE_INPUT, "line 2");
  refused("{\"text\":\"a\"}\n\n{\"text\":3}\n", 290, NULL, SLUICE_INPUT, "line 3");
  refused("[\"text\"]\n", 290, NULL, SLUICE_INPUT, "line 1");
  refused("{\"txt\":\"a\"}\n", 290, NULL, SLUICE_INPUT, "\"text\"");
  unlink(data);
  assert_int_equal(train(290, NULL, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, data));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(merges_are_those_of_the_obvious_form),
      cmocka_unit_test(the_file_opens_and_specials_are_ids),
      cmocka_unit_test(random_bytes_survive),
      cmocka_unit_test(the_same_text_gives_the_same_bytes),
      cmocka_unit_test(wrong_input_is_refused_by_line),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
