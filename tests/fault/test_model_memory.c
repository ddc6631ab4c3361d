/* Tokenizers and weights when memory runs out: whichever allocation fails, the call says so, leaks nothing, and the
 * next try succeeds. */
#include "tests/sample_data.h"

#include "engine/model/safetensors.h"

#include "tests/failing_allocator.h"

static char *dir, *corpus, *tokenizer_path;

enum { VOCAB = 280, D = 8, N_TENSORS = 11 };

static sluice_status write_weights(struct sluice_error *err) {
  static const float numbers[VOCAB * D];
#define LAYER(name) "model.layers.0." name ".weight"
  static const struct tensor_source tensors[N_TENSORS] = {
      {"model.embed_tokens.weight", DTYPE_F32, 2, {VOCAB, D}, numbers},
      {LAYER("input_layernorm"), DTYPE_F32, 1, {D}, numbers},
      {LAYER("self_attn.q_proj"), DTYPE_F32, 2, {D, D}, numbers},
      {LAYER("self_attn.k_proj"), DTYPE_F32, 2, {D, D}, numbers},
      {LAYER("self_attn.v_proj"), DTYPE_F32, 2, {D, D}, numbers},
      {LAYER("self_attn.o_proj"), DTYPE_F32, 2, {D, D}, numbers},
      {LAYER("post_attention_layernorm"), DTYPE_F32, 1, {D}, numbers},
      {LAYER("mlp.gate_proj"), DTYPE_F32, 2, {D, D}, numbers},
      {LAYER("mlp.up_proj"), DTYPE_F32, 2, {D, D}, numbers},
      {LAYER("mlp.down_proj"), DTYPE_F32, 2, {D, D}, numbers},
      {"model.norm.weight", DTYPE_F32, 1, {D}, numbers}};
  char *path = sluice_format("%s/model.safetensors", dir);
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "no memory for a path");
  sluice_status st = safetensors_write(path, tensors, N_TENSORS, err);
  free(path);
  return st;
}

static sluice_status train(struct sluice_error *err) {
  struct train_tokenizer_options o = {.data = corpus, .out = tokenizer_path, .vocab = VOCAB};
  return train_tokenizer(&o, err);
}

static sluice_status use_model(struct sluice_error *err) {
  struct model *m;
  int32_t *ids = NULL;
  size_t n = 0;
  static char text[300]; /* with a word that is too long for the stack */
  memset(text, 'a', sizeof text);
  memcpy(text, "the cat <|end|> 12 \xff ", 20);
  sluice_status st = model_open(dir, &m, err);
  if (st) return st;
  if (!model_tokenizer(m)) st = sluice_fail(err, SLUICE_INTERNAL, "the tokenizer was forgotten");
  if (!st)
    st = tokenizer_encode(model_tokenizer(m), (struct slice){text, sizeof text}, TOKENIZE_SPECIALS, &ids, &n, err);
  float *whole = st ? NULL : weight_to_float(&m->embedding);
  free(whole);
  free(ids);
  model_close(m);
  return st;
}

/* Fails the first, the second, ... allocation until the call gets through without one that fails. */
static void every_allocation(const char *name, sluice_status (*fn)(struct sluice_error *)) {
  struct sluice_error err = {0};
  if (!CAN_INJECT) skip();
  if (fn(&err)) fail_msg("%s: %s", name, err.message); /* also fills what libraries keep for good */
  long failed = 0;
  for (long at = 0; at < 100000; at++) {
    long before = alive;
    countdown = at;
    sluice_status st = fn(&err);
    bool unused = countdown >= 0;
    countdown = -1;
    if (alive != before) fail_msg("%s: %ld blocks leak when allocation %ld fails", name, alive - before, at);
    if (st && st != SLUICE_NOMEM) fail_msg("%s: allocation %ld: %s: %s", name, at, sluice_status_name(st), err.message);
    failed += st != SLUICE_OK;
    if (unused) {
      assert_int_equal(st, SLUICE_OK);
      assert_true(failed > 10); /* libraries may do without a few */
      return;
    }
  }
  fail_msg("%s never gets through", name);
}

static void a_folder_opens_and_encodes(void **state) {
  (void)state;
  every_allocation("model_open", use_model);
}

static void weights_are_written(void **state) {
  (void)state;
  every_allocation("safetensors_write", write_weights);
}

static void a_tokenizer_is_trained(void **state) {
  (void)state;
  every_allocation("train_tokenizer", train);
}

static int begin(void **state) {
  (void)state;
  struct sluice_error err;
  static const char text[] =
      "{\"text\":\"the cat sat on the mat, and the other cat saw that the first cat sat there\"}\n";
  static const char config[] =
      "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,"
      "\"num_attention_heads\":2,\"vocab_size\":280,\"tie_word_embeddings\":true}";
  dir = scratch_path("memory");
  corpus = sluice_format("%s/corpus.jsonl", dir);
  tokenizer_path = sluice_format("%s/tokenizer.json", dir);
  char *path = sluice_format("%s/config.json", dir);
  bool ok = file_make_dirs(dir, &err) == SLUICE_OK &&
            file_write_atomic(corpus, text, strlen(text), &err) == SLUICE_OK &&
            file_write_atomic(path, config, strlen(config), &err) == SLUICE_OK && write_weights(&err) == SLUICE_OK &&
            train(&err) == SLUICE_OK;
  if (!ok) print_message("%s\n", err.message);
  free(path);
  return ok ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  static const char *const files[] = {"corpus.jsonl", "tokenizer.json", "config.json", "model.safetensors"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char *path = sluice_format("%s/%s", dir, files[i]);
    unlink(path);
    free(path);
  }
  rmdir(dir);
  free(dir);
  free(corpus);
  free(tokenizer_path);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_folder_opens_and_encodes),
      cmocka_unit_test(weights_are_written),
      cmocka_unit_test(a_tokenizer_is_trained),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
