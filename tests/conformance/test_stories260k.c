/* A model that others trained: its published greedy text, word for word. */
#include "tests/sample_data.h"
#include "tests/tinyllama_convert.h"

#include "engine/engine.h"

enum { STEPS = 256, BOS = 1 };

static char *folder;

static int convert(void **state) {
  (void)state;
  folder = scratch_path("stories260k");
  return folder ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  static const char *const files[] = {"config.json", "model.safetensors"};
  for (int i = 0; i < 2; i++) {
    char *path = sluice_format("%s/%s", folder, files[i]);
    unlink(path);
    free(path);
  }
  rmdir(folder);
  free(folder);
  return 0;
}

static struct model *open_stories(void) {
  struct sluice_error err;
  struct model *m;
  char *checkpoint = sample_path("tinyllama_260k/stories260K.bin");
  if (tinyllama_convert(checkpoint, folder, &err)) fail_msg("%s", err.message);
  if (model_open(folder, &m, &err)) fail_msg("%s", err.message);
  free(checkpoint);
  return m;
}

static void folder_opens_with_its_shape(void **state) {
  (void)state;
  struct model *m = open_stories();
  const struct model_config *c = model_configuration(m);
  assert_int_equal(c->d_model, 64);
  assert_int_equal(c->n_layers, 5);
  assert_int_equal(c->n_heads, 8);
  assert_int_equal(c->n_kv_heads, 4);
  assert_int_equal(c->head_dim, 8);
  assert_int_equal(c->vocab, 512);
  assert_int_equal(c->bos, BOS);
  assert_int_equal(c->eos, 2);
  assert_true(c->tied);
  assert_int_equal(model_parameters(m), 512 * 64 + 5 * (2 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 172 * 64) + 64);
  assert_null(model_tokenizer(m));
  assert_int_equal(strlen(model_hash(m)), 64);
  model_close(m);
}

static int32_t argmax(const float *logits, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

/* The text between the line with the command and the closing fence. */
static struct slice golden_text(const char *page) {
  const char *command = strstr(page, "-t 0.0\n");
  assert_non_null(command);
  const char *from = command + strlen("-t 0.0\n"), *to = strstr(from, "\n```");
  assert_non_null(to);
  return (struct slice){from, (size_t)(to - from)};
}

static void generate(const struct model *m, const char *kernel, struct slice table, struct buffer *text) {
  struct sluice_error err;
  struct session_options options = {.policy = "full", .threads = 1, .kernel = kernel};
  struct session *s;
  float logits[512];
  if (session_open(m, &options, &s, &err)) fail_msg("%s", err.message);
  int32_t token = BOS;
  for (int i = 0; i < STEPS; i++) {
    if (session_append(s, &token, 1, logits, 1, &err)) fail_msg("%s", err.message);
    bool first = token == BOS;
    token = argmax(logits, 512);
    if (token == BOS) break;
    size_t start = text->len;
    if (tinyllama_token_text(table, token, text, &err)) fail_msg("%s", err.message);
    if (first && text->ptr[start] == ' ') { /* SentencePiece puts a space before the first word */
      memmove(text->ptr + start, text->ptr + start + 1, text->len - start - 1);
      text->len--;
    }
  }
  session_close(s);
}

static void greedy_text_is_the_published_one(void **state) {
  (void)state;
  struct sluice_error err;
  char *page_path = sample_path("tinyllama_260k/stories260K.md"),
       *table_path = sample_path("tinyllama_260k/tok512.bin");
  char *page, *table;
  size_t table_len;
  if (file_read(page_path, 0, &page, NULL, &err) || file_read(table_path, 0, &table, &table_len, &err))
    fail_msg("%s", err.message);
  struct slice want = golden_text(page);
  struct model *m = open_stories();
  static const char *const kernels[] = {"portable", NULL /* the best of this machine */};
  for (size_t k = 0; k < 2; k++) {
    struct buffer text;
    buffer_init(&text, 0);
    generate(m, kernels[k], (struct slice){table, table_len}, &text);
    if (!slice_equal((struct slice){text.ptr, text.len}, want))
      fail_msg("kernel %s wrote:\n%.*s", kernels[k] ? kernels[k] : "(default)", (int)text.len, text.ptr);
    buffer_free(&text);
  }
  model_close(m);
  free(page);
  free(table);
  free(page_path);
  free(table_path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(folder_opens_with_its_shape),
      cmocka_unit_test(greedy_text_is_the_published_one),
  };
  return cmocka_run_group_tests(tests, convert, remove_folder);
}
