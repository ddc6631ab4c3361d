/* The GGUF reader: what it reads, how it refuses what lies, and models that give the same bits as their folders. */
#include "tests/sample_data.h"

#include <math.h>

#include "engine/model/gguf.h"
#include "engine/session.h"
#include "tests/generated_model.h"
#include "tests/gguf_writer.h"
#include "tests/quantised_blocks.h"

static char *folder, *path;

static int begin(void **state) {
  (void)state;
  struct sluice_error err;
  folder = scratch_path("gguf");
  path = sluice_format("%s/model.gguf", folder);
  return folder && path && file_make_dirs(folder, &err) == SLUICE_OK ? 0 : -1;
}

static void drop(const char *name) {
  char *file = sluice_format("%s/%s", folder, name);
  unlink(file);
  free(file);
}

static int end(void **state) {
  (void)state;
  static const char *const files[] = {"model.gguf", "config.json", "model.safetensors", "m-00001-of-00002.gguf",
                                      "m-00002-of-00002.gguf"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) drop(files[i]);
  rmdir(folder);
  free(folder), free(path);
  return 0;
}

/* Without the fsync of file_write_atomic: thousands of files are written here. */
static void write_bytes(const char *to, const void *bytes, size_t len) {
  FILE *f = fopen(to, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, len, f), len);
  assert_int_equal(fclose(f), 0);
}

/* ---- the reader ---------------------------------------------------------------------------------------------------
 */

static char *small_file(size_t *len) {
  struct gguf_writer w;
  static const float numbers[64] = {1, 2, 3};
  gguf_begin(&w);
  gguf_put_string(&w, "general.architecture", "llama");
  gguf_put_u32(&w, "count", 7);
  gguf_put_f32(&w, "real", 0.5f);
  gguf_put_bool(&w, "flag", true);
  gguf_put_array(&w, "words", W_STRING, 2);
  gguf_words(&w, &w.pairs, slice_of("one"));
  gguf_words(&w, &w.pairs, slice_of(""));
  gguf_put_array(&w, "wholes", W_I32, 2);
  gguf_number(&w, &w.pairs, (uint32_t)-5, 4);
  gguf_number(&w, &w.pairs, 9, 4);
  gguf_put_tensor(&w, "matrix", 0, 2, 16, numbers, 128);
  gguf_put_tensor(&w, "vector", 0, 5, 0, numbers, 20);
  return gguf_finish(&w, len);
}

static void a_file_is_read(void **state) {
  (void)state;
  size_t len;
  char *bytes = small_file(&len);
  struct sluice_error err;
  struct gguf *g;
  struct slice text;
  struct gguf_array a;
  int64_t whole;
  double real;
  bool flag;
  write_bytes(path, bytes, len);
  assert_true(gguf_is(path));
  if (gguf_open(path, &g, &err)) fail_msg("%s", err.message);
  assert_int_equal(gguf_whole(g, "count", true, 0, 0, 9, &whole, &err), 0);
  assert_int_equal(whole, 7);
  assert_int_equal(gguf_whole(g, "count", true, 0, 8, 9, &whole, &err), SLUICE_INPUT);
  assert_int_equal(gguf_whole(g, "absent", false, 3, 0, 9, &whole, &err), 0);
  assert_int_equal(whole, 3);
  assert_int_equal(gguf_whole(g, "absent", true, 3, 0, 9, &whole, &err), SLUICE_INPUT);
  assert_int_equal(gguf_whole(g, "real", true, 3, 0, 9, &whole, &err), SLUICE_INPUT);
  assert_int_equal(gguf_real(g, "real", true, 0, &real, &err), 0);
  assert_true(real == 0.5);
  assert_int_equal(gguf_flag(g, "flag", false, &flag, &err), 0);
  assert_true(flag);
  assert_int_equal(gguf_flag(g, "count", false, &flag, &err), SLUICE_INPUT);
  assert_int_equal(gguf_string(g, "general.architecture", &text, &err), 0);
  assert_true(slice_is(text, "llama"));
  assert_int_equal(gguf_array(g, "words", GGUF_STRINGS, &a, &err), 0);
  assert_int_equal(a.n, 2);
  assert_true(slice_is(gguf_next_string(&a), "one"));
  assert_true(slice_is(gguf_next_string(&a), ""));
  assert_int_equal(gguf_array(g, "words", GGUF_WHOLES, &a, &err), SLUICE_INPUT);
  assert_int_equal(gguf_array(g, "wholes", GGUF_WHOLES, &a, &err), 0);
  assert_int_equal(gguf_next_whole(&a), -5);
  assert_int_equal(gguf_next_whole(&a), 9);
  const struct tensor *t = tensors_find((struct tensor_file *)g, "matrix");
  assert_int_equal(t->n_dims, 2);
  assert_int_equal(t->shape[0], 2);
  assert_int_equal(t->shape[1], 16);
  assert_true(dtype_to_float(t->data, DTYPE_F32, 1) == 2);
  assert_null(tensors_find((struct tensor_file *)g, "nothing"));
  gguf_close(g);
  free(bytes);
}

/* Any prefix is refused and says which file; any flipped byte is either read or refused. */
static void every_cut_and_every_lie_is_survived(void **state) {
  (void)state;
  size_t len;
  char *bytes = small_file(&len);
  struct sluice_error err;
  struct gguf *g;
  for (size_t i = 0; i < len; i++) {
    write_bytes(path, bytes, i);
    if (i == 0) continue; /* nothing can be mapped */
    if (gguf_open(path, &g, &err) == SLUICE_OK) fail_msg("accepted %zu of %zu bytes", i, len);
    if (!strstr(err.message, "model.gguf")) fail_msg("\"%s\" does not name the file", err.message);
  }
  struct rng r;
  rng_seed(&r, 1);
  for (int i = 0; i < 600; i++) {
    char *copy = malloc(len);
    memcpy(copy, bytes, len);
    for (int k = 0; k < 1 + i % 3; k++) copy[rng_below(&r, (uint32_t)len)] = (char)rng_u64(&r);
    write_bytes(path, copy, len);
    if (gguf_open(path, &g, &err) == SLUICE_OK) gguf_close(g);
    free(copy);
  }
  free(bytes);
}

static void refused_file(struct gguf_writer *w, const char *part) {
  size_t len;
  struct sluice_error err = {0};
  struct gguf *g;
  char *bytes = gguf_finish(w, &len);
  write_bytes(path, bytes, len);
  free(bytes);
  if (gguf_open(path, &g, &err) == SLUICE_OK) fail_msg("accepted, in spite of %s", part);
  if (!strstr(err.message, part) || !strstr(err.message, path))
    fail_msg("\"%s\" does not say \"%s\" and name the file", err.message, part);
}

static void what_lies_is_refused_by_name(void **state) {
  (void)state;
  static const char zeros[512];
  struct gguf_writer w;
  gguf_begin(&w);
  w.version = 1;
  refused_file(&w, "version 1");
  gguf_begin(&w);
  w.version = 0x03000000;
  refused_file(&w, "big-endian");
  gguf_begin(&w);
  w.n_tensors = UINT64_MAX;
  refused_file(&w, "at most");
  gguf_begin(&w);
  w.n_tensors = 1000;
  refused_file(&w, "list of tensors");
  gguf_begin(&w);
  gguf_put_u32(&w, "a", 1), gguf_put_u32(&w, "a", 2);
  refused_file(&w, "key a comes twice");
  gguf_begin(&w);
  gguf_put_array(&w, "nested", W_ARRAY, 1);
  refused_file(&w, "key nested");
  gguf_begin(&w);
  gguf_put_array(&w, "long", W_I32, UINT64_MAX / 4 + 2);
  refused_file(&w, "key long");
  gguf_begin(&w);
  gguf_put_array(&w, "long", W_STRING, UINT64_MAX);
  refused_file(&w, "key long");
  gguf_begin(&w);
  gguf_key(&w, "odd", 77);
  refused_file(&w, "unknown type 77");
  gguf_begin(&w);
  gguf_put_u32(&w, "general.alignment", 24);
  refused_file(&w, "power of two");
  gguf_begin(&w);
  gguf_put_tensor(&w, "q5", 99, 1, 32, zeros, 24);
  refused_file(&w, "type 99");
  gguf_begin(&w);
  gguf_put_tensor(&w, "ragged", 2, 1, 33, zeros, 36);
  refused_file(&w, "whole blocks of 32");
  gguf_begin(&w);
  gguf_put_tensor(&w, "huge", 0, INT32_MAX, INT32_MAX, zeros, 16);
  refused_file(&w, "\"huge\"");
  gguf_begin(&w);
  gguf_put_tensor(&w, "same", 0, 4, 0, zeros, 16), gguf_put_tensor(&w, "same", 0, 4, 0, zeros, 16);
  refused_file(&w, "comes twice");
  gguf_begin(&w);
  gguf_put_tensor(&w, "long", 0, 16, 0, zeros, 32), gguf_put_tensor(&w, "next", 0, 8, 0, zeros, 32);
  refused_file(&w, "overlaps");
}

/* ---- models -------------------------------------------------------------------------------------------------------
 */

static void make_folder(const char *golden, struct generated_model *g) {
  struct sluice_error err;
  char *from = sluice_format("tests/parity/golden/%s.json", golden), *config = sluice_format("%s/config.json", folder),
       *weights = sluice_format("%s/model.safetensors", folder), *text;
  size_t len;
  if (file_read(from, 0, &text, &len, &err)) fail_msg("%s", err.message);
  write_bytes(config, text, len);
  if (generated_make(g, config, &err)) fail_msg("%s", err.message);
  if (safetensors_write(weights, g->tensors, g->n, &err)) fail_msg("%s", err.message);
  free(text), free(from), free(config), free(weights);
}

static void run_model(const char *where, float *logits, size_t n, size_t vocab) {
  struct sluice_error err;
  struct model *m;
  struct session *s;
  int32_t ids[32];
  for (size_t i = 0; i < n; i++) ids[i] = (int32_t)((7 * i * i + 3 * i + 1) % vocab);
  if (model_open(where, &m, &err) || session_open(m, NULL, &s, &err)) fail_msg("%s", err.message);
  if (session_append(s, ids, n, logits, n, &err)) fail_msg("%s", err.message);
  session_close(s);
  model_close(m);
}

static char *model_file(const struct generated_model *g, size_t *len) {
  struct gguf_writer w;
  gguf_begin(&w);
  gguf_put_config(&w, &g->config, g->family->gguf);
  for (size_t i = 0; i < g->n; i++) gguf_put_float_tensor(&w, &g->config, g->family, &g->tensors[i]);
  if (g->config.rope_scaling.type == ROPE_LLAMA3) { /* what llama.cpp's converter computes, for the golden's numbers */
    float divisors[64];
    for (int i = 0; i < g->config.rotary_dims / 2; i++) {
      const struct rope_scaling *r = &g->config.rope_scaling;
      const double frequency = pow(g->config.rope_theta, -2.0 * i / g->config.rotary_dims);
      const double waves = r->original_context * frequency / (2 * acos(-1.0));
      const double ramp = (waves - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
      divisors[i] = (float)(waves < r->low_freq_factor    ? r->factor
                            : waves > r->high_freq_factor ? 1
                                                          : 1 / ((1 - ramp) / r->factor + ramp));
    }
    gguf_put_tensor(&w, "rope_freqs.weight", 0, g->config.rotary_dims / 2, 0, divisors,
                    (size_t)g->config.rotary_dims / 2 * sizeof *divisors);
  }
  return gguf_finish(&w, len);
}

/* The same weights from a folder and from a file, whose rows lie in another order. */
static void files_compute_what_folders_do(void **state) {
  (void)state;
  static const char *const cases[] = {"llama", "llama3", "llama-bias", "qwen2", "qwen3", "gpt_neox", "gpt_neox-serial"};
  enum { N = 24 };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct generated_model g;
    size_t len;
    make_folder(cases[i], &g);
    const size_t vocab = (size_t)g.config.vocab;
    float *want = malloc(N * vocab * sizeof *want), *got = malloc(N * vocab * sizeof *got);
    char *bytes = model_file(&g, &len);
    write_bytes(path, bytes, len);
    run_model(folder, want, N, vocab);
    run_model(path, got, N, vocab);
    for (size_t k = 0; k < N * vocab; k++)
      if (!(fabs((double)got[k] - (double)want[k]) < 2e-4)) /* sums of a head run in another order */
        fail_msg("%s: logit %zu: %g, from the folder %g", cases[i], k, (double)got[k], (double)want[k]);
    free(bytes), free(want), free(got);
    generated_free(&g);
  }
  drop("config.json"); /* a folder with nothing but one GGUF file is that file */
  struct sluice_error err;
  struct model *m;
  if (model_open(folder, &m, &err)) fail_msg("%s", err.message);
  assert_string_equal(model_directory(m), path);
  assert_string_equal(model_configuration(m)->family, "gpt_neox");
  model_close(m);
}

static void refused_model(struct gguf_writer *w, const char *part) {
  size_t len;
  struct sluice_error err = {0};
  struct model *m = NULL;
  char *bytes = gguf_finish(w, &len);
  write_bytes(path, bytes, len);
  free(bytes);
  if (model_open(path, &m, &err) == SLUICE_OK) fail_msg("accepted, in spite of %s", part);
  if (!strstr(err.message, part) || !strstr(err.message, path))
    fail_msg("\"%s\" does not say \"%s\" and name the file", err.message, part);
}

static void wrong_models_are_refused_by_key_and_tensor(void **state) {
  (void)state;
  struct generated_model g;
  struct gguf_writer w;
  static const float zeros[64];
  make_folder("llama", &g);
  for (size_t skip = 0; skip + 1 < g.n; skip += 5) { /* a tensor less; without the last, the head, it would be tied */
    char name[96];
    gguf_begin(&w);
    gguf_put_config(&w, &g.config, "llama");
    for (size_t i = 0; i < g.n; i++)
      if (i != skip) gguf_put_float_tensor(&w, &g.config, g.family, &g.tensors[i]);
    gguf_model_name(g.family, g.tensors[skip].name, name, sizeof name);
    refused_model(&w, name);
  }
  const struct {
    const char *key;
    uint32_t value;
    const char *part;
  } extra[] = {{"llama.expert_count", 8, "expert_count"},
               {"llama.attention.sliding_window", UINT32_MAX, "sliding_window"},
               {"tokenizer.ggml.bos_token_id", 64, "bos_token_id"}};
  for (size_t k = 0; k < sizeof extra / sizeof *extra; k++) {
    gguf_begin(&w);
    gguf_put_config(&w, &g.config, "llama");
    gguf_put_u32(&w, extra[k].key, extra[k].value);
    for (size_t i = 0; i < g.n; i++) gguf_put_float_tensor(&w, &g.config, g.family, &g.tensors[i]);
    refused_model(&w, extra[k].part);
  }
  gguf_begin(&w);
  gguf_put_config(&w, &g.config, "rwkv");
  refused_model(&w, "general.architecture");
  gguf_begin(&w);
  gguf_put_config(&w, &g.config, "llama");
  refused_model(&w, "token_embd.weight");
  gguf_begin(&w);
  gguf_put_config(&w, &g.config, "llama");
  for (size_t i = 0; i < g.n; i++) gguf_put_float_tensor(&w, &g.config, g.family, &g.tensors[i]);
  gguf_put_tensor(&w, "blk.0.attn_sinks.weight", 0, 4, 0, zeros, 16);
  refused_model(&w, "blk.0.attn_sinks.weight");
  generated_free(&g);
}

/* One file in two parts: metadata and half of the tensors, the other half. */
/* The header and tensors of a small Llama, with yarn's keys. */
static void begin_yarn(struct gguf_writer *w, const struct generated_model *g, float slow, float by_author) {
  gguf_begin(w);
  gguf_put_config(w, &g->config, "llama");
  gguf_put_string(w, "llama.rope.scaling.type", "yarn");
  gguf_put_f32(w, "llama.rope.scaling.factor", 4);
  gguf_put_u32(w, "llama.rope.scaling.original_context_length", 64);
  gguf_put_f32(w, "llama.rope.scaling.yarn_beta_slow", slow);
  gguf_put_f32(w, "llama.rope.scaling.attn_factor", by_author);
  for (size_t i = 0; i < g->n; i++) gguf_put_float_tensor(w, &g->config, g->family, &g->tensors[i]);
}

static void yarn_is_read(void **state) {
  (void)state;
  struct generated_model g;
  struct gguf_writer w;
  struct sluice_error err;
  struct model *m;
  size_t len;
  make_folder("llama", &g);
  begin_yarn(&w, &g, 2, 0.5f);
  char *bytes = gguf_finish(&w, &len);
  write_bytes(path, bytes, len);
  if (model_open(path, &m, &err)) fail_msg("%s", err.message);
  const struct model_config *c = model_configuration(m);
  const struct rope_scaling *s = &c->rope_scaling;
  assert_true(s->type == ROPE_YARN && s->factor == 4 && s->original_context == 64 && s->whole_ramp);
  assert_true(s->beta_fast == 32 && s->beta_slow == 2);
  assert_true(fabs(s->attention - 0.5 * 1.1386294361119891) < 1e-15);
  assert_int_equal(c->max_context, 256);
  model_close(m);
  begin_yarn(&w, &g, 32, 1);
  refused_model(&w, "yarn_beta_slow");
  begin_yarn(&w, &g, 1, 0);
  refused_model(&w, "attn_factor");
  gguf_begin(&w);
  gguf_put_config(&w, &g.config, "llama");
  gguf_put_string(&w, "llama.rope.scaling.type", "other");
  for (size_t i = 0; i < g.n; i++) gguf_put_float_tensor(&w, &g.config, g.family, &g.tensors[i]);
  refused_model(&w, "rope.scaling.type");
  free(bytes);
  generated_free(&g);
}

static const struct tensor_source *generated_named(const struct generated_model *g, int layer, const char *part) {
  char name[96];
  snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, part);
  for (size_t i = 0; i < g->n; i++)
    if (strcmp(g->tensors[i].name, name) == 0) return &g->tensors[i];
  fail_msg("no %s", name);
  return NULL;
}

static void put_joined(struct gguf_writer *w, const struct generated_model *g, int layer, const char *name,
                       const char *const *parts) {
  float joined[1 << 14];
  char full[96];
  size_t n = 0;
  for (; *parts; parts++) {
    const struct tensor_source *t = generated_named(g, layer, *parts);
    const size_t more = (size_t)(t->shape[0] * t->shape[1]);
    assert_true(n + more <= sizeof joined / sizeof *joined);
    memcpy(joined + n, t->data, more * sizeof *joined);
    n += more;
  }
  snprintf(full, sizeof full, "blk.%d.%s.weight", layer, name);
  gguf_put_tensor(w, full, 0, (int)n / g->config.d_model, g->config.d_model, joined, n * sizeof *joined);
}

/* Phi-3's files hold a Llama's numbers in fewer tensors, rows of heads as they are. */
static void phi3_is_a_llama_in_fewer_tensors(void **state) {
  (void)state;
  static const char *const qkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", NULL},
                           *const up[] = {"mlp.gate_proj", "mlp.up_proj", NULL};
  enum { N = 9 };
  static const float ones[64] = {1, 1, 1, 1};
  struct generated_model g;
  struct gguf_writer w;
  struct sluice_error err;
  size_t len;
  make_folder("llama", &g);
  const size_t vocab = (size_t)g.config.vocab;
  float *want = malloc(N * vocab * sizeof *want), *got = malloc(N * vocab * sizeof *got);
  for (int factors = 0; factors < 2; factors++) {
    gguf_begin(&w);
    gguf_put_config(&w, &g.config, "phi3");
    if (factors) gguf_put_f32(&w, "phi3.rope.scaling.attn_factor", 1.5f);
    for (size_t i = 0; i < g.n; i++)
      if (!strstr(g.tensors[i].name, "q_proj") && !strstr(g.tensors[i].name, "k_proj") &&
          !strstr(g.tensors[i].name, "v_proj") && !strstr(g.tensors[i].name, "gate_proj") &&
          !strstr(g.tensors[i].name, "up_proj"))
        gguf_put_float_tensor(&w, &g.config, g.family, &g.tensors[i]);
    for (int l = 0; l < g.config.n_layers; l++)
      put_joined(&w, &g, l, "attn_qkv", qkv), put_joined(&w, &g, l, "ffn_up", up);
    if (factors) {
      const int n = g.config.rotary_dims / 2;
      gguf_put_tensor(&w, "rope_factors_short.weight", 0, n, 0, ones, (size_t)n * sizeof *ones);
      gguf_put_tensor(&w, "rope_factors_long.weight", 0, n, 0, ones, (size_t)n * sizeof *ones);
    }
    char *bytes = gguf_finish(&w, &len);
    write_bytes(path, bytes, len);
    free(bytes);
    struct model *m;
    if (factors) break;
    run_model(folder, want, N, vocab);
    run_model(path, got, N, vocab);
    assert_memory_equal(want, got, N * vocab * sizeof *want);
    if (model_open(path, &m, &err)) fail_msg("%s", err.message);
    assert_string_equal(model_configuration(m)->family, "phi3");
    model_close(m);
  }
  struct model *m;
  if (model_open(path, &m, &err)) fail_msg("%s", err.message);
  assert_int_equal(model_configuration(m)->rope_scaling.type, ROPE_LONG);
  assert_true(model_configuration(m)->rope_scaling.attention == 1.5);
  assert_non_null(model_configuration(m)->rope_divisors);
  model_close(m);
  free(want), free(got);
  generated_free(&g);
}

static void parts_open_as_one(void **state) {
  (void)state;
  struct generated_model g;
  struct gguf_writer w[2];
  struct sluice_error err = {0};
  struct model *m;
  make_folder("qwen2", &g);
  char *parts[2] = {sluice_format("%s/m-00001-of-00002.gguf", folder),
                    sluice_format("%s/m-00002-of-00002.gguf", folder)};
  gguf_begin(&w[0]), gguf_begin(&w[1]);
  gguf_put_config(&w[0], &g.config, "qwen2");
  gguf_put_u32(&w[0], "split.count", 2), gguf_put_u32(&w[1], "split.count", 2);
  for (size_t i = 0; i < g.n; i++) gguf_put_float_tensor(&w[i % 2], &g.config, g.family, &g.tensors[i]);
  for (int i = 0; i < 2; i++) {
    size_t len;
    char *bytes = gguf_finish(&w[i], &len);
    write_bytes(parts[i], bytes, len);
    free(bytes);
  }
  if (model_open(parts[0], &m, &err)) fail_msg("%s", err.message);
  assert_int_equal(m->n_files, 2);
  model_close(m);
  assert_int_equal(model_open(parts[1], &m, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "-00001-of-00002.gguf"));
  unlink(parts[1]);
  assert_int_not_equal(model_open(parts[0], &m, &err), SLUICE_OK);
  assert_non_null(strstr(err.message, "m-00002-of-00002.gguf"));
  free(parts[0]), free(parts[1]);
  generated_free(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_is_read),
      cmocka_unit_test(every_cut_and_every_lie_is_survived),
      cmocka_unit_test(what_lies_is_refused_by_name),
      cmocka_unit_test(files_compute_what_folders_do),
      cmocka_unit_test(wrong_models_are_refused_by_key_and_tensor),
      cmocka_unit_test(phi3_is_a_llama_in_fewer_tensors),
      cmocka_unit_test(parts_open_as_one),
      cmocka_unit_test(yarn_is_read),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
