/* The trainer as a user runs it: it learns, a run that was interrupted and resumed makes the same bytes as one that was
 * not, kernels agree, and bad input is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/train/train.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/sluice-train-XXXXXX";

static char *in_dir(const char *name) {
  char *p = sluice_format("%s/%s", dir, name);
  assert_non_null(p);
  return p;
}

static void write_text(const char *name, const char *text) {
  struct sluice_error err;
  char *path = in_dir(name);
  assert_int_equal(file_write_atomic(path, text, strlen(text), &err), SLUICE_OK);
  free(path);
}

static char *read_all(const char *name, size_t *len) {
  struct sluice_error err;
  char *path = in_dir(name), *bytes;
  if (file_read(path, 0, &bytes, len, &err)) fail_msg("%s", err.message);
  free(path);
  return bytes;
}

static const char CONFIG[] = "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":300,"
                             "\"hidden_size\":32,\"intermediate_size\":48,"
                             "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":"
                             "16,\"max_position_embeddings\":64,"
                             "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"hidden_act\":\"silu\",\"tie_word_"
                             "embeddings\":true,\"bos_token_id\":0,\"eos_token_id\":1}";

static int setup(void **state) {
  (void)state;
  struct sluice_error err;
  struct buffer b;
  assert_non_null(mkdtemp(dir));
  write_text("config.json", CONFIG);
  buffer_init(&b, 0);
  for (int i = 0; i < 64; i++) {
    const char *name = i % 2 ? "Anna" : "Tom", *town = i % 3 ? "Oslo" : "Turin";
    assert_int_equal(
        buffer_printf(
            &b, &err,
            "{\"text\":\"<|user|>%s lives in %s. Where is %s?<|end|><|bot|>in %s<|end|>\",\"answers\":[[%zu,%zu]]}\n",
            name, town, name, town, 42 + 2 * strlen(name) + strlen(town), 45 + 2 * strlen(name) + 2 * strlen(town)),
        SLUICE_OK);
  }
  write_text("corpus.jsonl", b.ptr);
  buffer_free(&b);
  char *data = in_dir("corpus.jsonl"), *out = in_dir("tokenizer.json");
  const struct train_tokenizer_options o = {.data = data, .out = out, .vocab = 285};
  if (train_tokenizer(&o, &err)) fail_msg("%s", err.message);
  free(data), free(out);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  char *command = sluice_format("rm -rf %s", dir);
  const int rc = system(command);
  free(command);
  return rc;
}

struct paths {
  char *config, *tokenizer, *data, *out;
};

static struct paths paths_for(const char *out) {
  return (struct paths){in_dir("config.json"), in_dir("tokenizer.json"), in_dir("corpus.jsonl"), in_dir(out)};
}

static void paths_free(struct paths *p) {
  free(p->config), free(p->tokenizer), free(p->data), free(p->out);
}

static struct train_options options_for(const struct paths *p, const struct train_stage *stage, const char *precision,
                                        bool resume) {
  return (struct train_options){.config = p->config,
                                .tokenizer = p->tokenizer,
                                .out = p->out,
                                .stages = stage,
                                .n_stages = 1,
                                .lr = 1e-2,
                                .lr_end = 1e-3,
                                .warmup_steps = 4,
                                .weight_decay = 0.1,
                                .clip = 1,
                                .beta1 = 0.9,
                                .beta2 = 0.95,
                                .adam_eps = 1e-8,
                                .answer_weight = 3,
                                .seed = 7,
                                .lanes = 2,
                                .precision = precision,
                                .device = "cpu",
                                .resume = resume};
}

static sluice_status train(const char *out, const char *precision, int steps, bool resume, struct sluice_error *err) {
  struct paths p = paths_for(out);
  const struct train_stage stage = {.data = p.data, .length = 24, .batch = 8, .steps = steps};
  const struct train_options o = options_for(&p, &stage, precision, resume);
  const sluice_status st = train_lm(&o, err);
  paths_free(&p);
  return st;
}

static double last_number(const char *log, const char *key) {
  const char *at = NULL;
  for (const char *p = log; (p = strstr(p, key)); p++) at = p;
  assert_non_null(at);
  return strtod(at + strlen(key), NULL);
}

static void test_learns(void **state) {
  (void)state;
  struct sluice_error err;
  size_t len;
  if (train("learns", "f32", 60, false, &err)) fail_msg("%s", err.message);
  char *log = read_all("learns/train.log", &len);
  assert_true(last_number(log, "\"loss\":") < 1.5); /* ln 300 = 5.7 at the start */
  free(log);
}

static void test_interrupted_run_equals_whole_run(void **state) {
  (void)state;
  struct sluice_error err;
  size_t a, b;
  if (train("whole", "bf16", 12, false, &err)) fail_msg("%s", err.message);
  const pid_t child = fork();
  if (child == 0) { /* the signal's flag would stay in this process: stop in a child */
    signal_catch_interrupts();
    raise(SIGTERM);
    _exit(train("parts", "bf16", 12, false, &err) == SLUICE_INTERRUPTED ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  if (train("parts", "bf16", 12, true, &err)) fail_msg("%s", err.message);
  char *whole = read_all("whole/model.safetensors", &a), *parts = read_all("parts/model.safetensors", &b);
  assert_int_equal(a, b);
  assert_memory_equal(whole, parts, a);
  free(whole), free(parts);
}

static void test_resume_refuses_other_settings(void **state) {
  (void)state;
  struct sluice_error err;
  if (train("settings", "bf16", 2, false, &err)) fail_msg("%s", err.message);
  assert_int_equal(train("settings", "bf16", 3, true, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "other settings"));
}

static void test_a_step_is_bounded(void **state) {
  (void)state;
  struct sluice_error err;
  struct paths p = paths_for("bounded");
  const struct train_stage stage = {.data = p.data, .length = 65536, .batch = 65536, .steps = 1};
  const struct train_options o = options_for(&p, &stage, "bf16", false);
  assert_int_equal(train_lm(&o, &err), SLUICE_LIMIT);
  assert_non_null(strstr(err.message, "4294967296 tokens a step"));
  paths_free(&p);
}

static void test_damaged_checkpoint(void **state) {
  (void)state;
  struct sluice_error err;
  size_t len;
  if (train("damaged", "bf16", 2, false, &err)) fail_msg("%s", err.message);
  char *bytes = read_all("damaged/checkpoint", &len), *path = in_dir("damaged/checkpoint");
  bytes[len / 2] = (char)(bytes[len / 2] ^ 1);
  assert_int_equal(file_write_atomic(path, bytes, len, &err), SLUICE_OK);
  assert_int_equal(train("damaged", "bf16", 2, true, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "damaged"));
  assert_int_equal(file_write_atomic(path, bytes, len / 3, &err), SLUICE_OK);
  assert_int_equal(train("damaged", "bf16", 2, true, &err), SLUICE_INPUT);
  assert_non_null(strstr(err.message, "cut short"));
  free(bytes), free(path);
}

static void corpus_fails(const char *line, const char *expected) {
  struct sluice_error err;
  struct corpus *c;
  struct tokenizer *t;
  double sum = 0;
  int32_t tokens[8], targets[8];
  real weights[8];
  write_text("bad.jsonl", line);
  char *bad = in_dir("bad.jsonl"), *tokenizer = in_dir("tokenizer.json");
  assert_int_equal(tokenizer_open(tokenizer, &t, &err), SLUICE_OK);
  sluice_status st = corpus_open(bad, &c, &err);
  if (!st) {
    st = corpus_sequence(c, t, corpus_lines(c) - 1, 8, 2, (struct sequence){tokens, targets, weights}, &sum, &err);
    corpus_close(c);
  }
  assert_int_equal(st, SLUICE_INPUT);
  if (!strstr(err.message, expected) || !strstr(err.message, "bad.jsonl"))
    fail_msg("unexpected message: %s", err.message);
  tokenizer_close(t);
  free(bad), free(tokenizer);
}

static void test_bad_corpora(void **state) {
  (void)state;
  corpus_fails("", "no line");
  corpus_fails("{\"text\":\"a\"}\n[1]", "line 2");
  corpus_fails("{\"txt\":\"a\"}\n", "\"text\"");
  corpus_fails("{\"text\":\"a\",\"answers\":[[0,2]]}\n", "byte offsets inside the text");
  corpus_fails("{\"text\":\"a\",\"answers\":[[-1,1]]}\n", "byte offsets inside the text");
  corpus_fails("{\"text\":\"a\",\"answers\":[[99999999999999999999999,1]]}\n", "byte offsets inside the text");
  corpus_fails("{\"text\":\"cut", "line 1");
}

static void test_answer_weights(void **state) {
  (void)state;
  struct sluice_error err;
  struct corpus *c;
  struct tokenizer *t;
  double sum = 0;
  int32_t tokens[32], targets[32];
  real weights[32];
  write_text("weights.jsonl", "{\"text\":\"<|bot|>Oslo<|end|>\",\"answers\":[[7,11]]}\n");
  char *path = in_dir("weights.jsonl"), *tokenizer = in_dir("tokenizer.json");
  assert_int_equal(tokenizer_open(tokenizer, &t, &err), SLUICE_OK);
  assert_int_equal(corpus_open(path, &c, &err), SLUICE_OK);
  assert_int_equal(corpus_sequence(c, t, 0, 32, 5, (struct sequence){tokens, targets, weights}, &sum, &err), SLUICE_OK);
  assert_int_equal(tokens[0], tokenizer_find(t, "<s>"));
  assert_int_equal(targets[0], tokenizer_find(t, "<|bot|>"));
  assert_true(weights[0] == 1 && weights[1] == 5);
  double again = 0;
  for (int i = 0; i < 32; i++) again += (double)weights[i];
  assert_true(sum == again && weights[31] == 0);
  corpus_close(c), tokenizer_close(t);
  free(path), free(tokenizer);
}

/* Every kernel that this CPU runs: one step's loss in f32 and in bf16 beside the portable one's. */
static void test_kernels_agree(void **state) {
  (void)state;
  struct sluice_error err;
  struct net_shape s;
  const struct model_config c = {.n_layers = 2,
                                 .d_model = 64,
                                 .n_heads = 4,
                                 .n_kv_heads = 2,
                                 .head_dim = 16,
                                 .d_ff = 96,
                                 .vocab = 130,
                                 .norm_eps = 1e-5f,
                                 .rope_theta = 10000,
                                 .tied = true};
  assert_int_equal(net_shape_from_config(&c, &s, &err), SLUICE_OK);
  enum { LENGTH = 130, SEQUENCES = 2, ROWS = LENGTH * SEQUENCES };
  int32_t tokens[ROWS], targets[ROWS];
  float weights[ROWS];
  struct rng r;
  rng_seed(&r, 3);
  for (int i = 0; i < ROWS; i++)
    tokens[i] = (int32_t)rng_below(&r, 130), targets[i] = (int32_t)rng_below(&r, 130), weights[i] = 1;
  float *params = malloc(s.size * sizeof *params), *grad = malloc(s.size * sizeof *grad),
        *expected = malloc(s.size * sizeof *expected);
  for (size_t i = 0; i < s.size; i++) params[i] = (float)(0.1 * rng_normal(&r));
  const struct net_batch batch = {SEQUENCES, LENGTH, tokens, targets, weights, 1.0f / ROWS};
  const char *names[] = {"portable", "avx2", "avx512", "avx512bf16"};
  for (int bf16 = 0; bf16 < 2; bf16++) {
    double loss = 0;
    for (int i = 0; i < 4; i++) {
      const struct net_kernels *k;
      struct net_lane *lane;
      struct net_result result;
      if (network_kernels(names[i], bf16, &k, &err)) continue;
      if (strcmp(names[i], "avx512bf16") == 0 && !bf16) continue; /* it has products in bf16 only */
      assert_int_equal(k->lane_open(&s, ROWS, LENGTH, &lane, &err), SLUICE_OK);
      memset(grad, 0, s.size * sizeof *grad);
      k->step(lane, &s, params, grad, &batch, bf16, &result);
      if (i == 0) loss = result.loss, memcpy(expected, grad, s.size * sizeof *grad);
      assert_true(fabs(result.loss - loss) / loss < (bf16 ? 1e-4 : 1e-6));
      double difference = 0, norm = 0;
      for (size_t q = 0; q < s.size; q++)
        difference += pow((double)grad[q] - (double)expected[q], 2), norm += pow((double)expected[q], 2);
      assert_true(sqrt(difference / norm) < (bf16 ? 1e-2 : 1e-4));
      k->lane_close(lane);
    }
  }
  free(params), free(grad), free(expected);
}

static void test_learning_rate(void **state) {
  (void)state;
  const struct train_options o = {.lr = 1, .lr_end = 0.1, .warmup_steps = 10};
  assert_true(fabs(learning_rate(&o, 0, 110) - 0.1) < 1e-12);
  assert_true(fabs(learning_rate(&o, 10, 110) - 1) < 1e-12);
  assert_true(fabs(learning_rate(&o, 60, 110) - 0.55) < 1e-12);
  assert_true(fabs(learning_rate(&o, 110, 110) - 0.1) < 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_learns),
                                     cmocka_unit_test(test_interrupted_run_equals_whole_run),
                                     cmocka_unit_test(test_resume_refuses_other_settings),
                                     cmocka_unit_test(test_a_step_is_bounded),
                                     cmocka_unit_test(test_damaged_checkpoint),
                                     cmocka_unit_test(test_bad_corpora),
                                     cmocka_unit_test(test_answer_weights),
                                     cmocka_unit_test(test_kernels_agree),
                                     cmocka_unit_test(test_learning_rate)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
