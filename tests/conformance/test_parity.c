/* The engine against Hugging Face transformers: residual streams layer by layer and logits that tests/parity/compare.py
 * computed in float64, from config.json files as transformers wrote them; and 256 greedy tokens of two trained models.
 */
#include "tests/sample_data.h"

#include <math.h>

#include "engine/session.h"
#include "tests/generated_model.h"
#include "tests/tinyllama_convert.h"

static char *folder;

static int begin(void **state) {
  (void)state;
  struct sluice_error err;
  folder = scratch_path("parity");
  return folder && file_make_dirs(folder, &err) == SLUICE_OK ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  static const char *const files[] = {"config.json", "model.safetensors"};
  for (size_t i = 0; i < 2; i++) {
    char *path = sluice_format("%s/%s", folder, files[i]);
    unlink(path);
    free(path);
  }
  rmdir(folder);
  free(folder);
  return 0;
}

/* tests/parity/golden is found from the root of the tree, where tests run. */
static char *golden(const char *name, const char *ending) {
  return sluice_format("tests/parity/golden/%s.%s", name, ending);
}

static void write_folder(const char *name) {
  struct sluice_error err;
  char *from = golden(name, "json"), *config = sluice_format("%s/config.json", folder),
       *weights = sluice_format("%s/model.safetensors", folder), *text;
  size_t len;
  struct generated_model g;
  if (file_read(from, 0, &text, &len, &err) || file_write_atomic(config, text, len, &err)) fail_msg("%s", err.message);
  if (generated_make(&g, config, &err)) fail_msg("%s", err.message);
  if (safetensors_write(weights, g.tensors, g.n, &err)) fail_msg("%s", err.message);
  generated_free(&g);
  free(text), free(from), free(config), free(weights);
}

struct comparison {
  const float *want; /* [layers + 1][tokens][width] */
  size_t tokens, width, begun, chunk;
  double wrong[64], size[64]; /* sums of squares, by layer */
};

static void compare_layer(void *ctx, int layer, int first, int n, const float *x, size_t stride) {
  struct comparison *c = ctx;
  if (layer < 0) {
    c->begun += c->chunk;
    c->chunk = (size_t)n;
  }
  for (size_t t = 0; t < (size_t)n; t++)
    for (size_t i = 0; i < c->width; i++) {
      const size_t token = c->begun + (size_t)first + t;
      const double want = (double)c->want[((size_t)(layer + 1) * c->tokens + token) * c->width + i];
      const double wrong = (double)x[t * stride + i] - want;
      c->wrong[layer + 1] += wrong * wrong;
      c->size[layer + 1] += want * want;
    }
}

static double compare_logits(const float *got, const float *want, size_t n) {
  double wrong = 0, size = 0;
  for (size_t i = 0; i < n; i++) {
    wrong += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
    size += (double)want[i] * (double)want[i];
  }
  return sqrt(wrong / size);
}

static void run_case(const char *name, const char *kernel) {
  struct sluice_error err;
  struct model *m;
  struct session *s;
  char *path = golden(name, "bin"), *bytes;
  int32_t head[4], ids[64];
  size_t len;
  if (file_read(path, 0, &bytes, &len, &err) || model_open(folder, &m, &err)) fail_msg("%s", err.message);
  memcpy(head, bytes, sizeof head);
  const size_t n = (size_t)head[1], width = (size_t)head[2], vocab = (size_t)head[3];
  const size_t states = ((size_t)head[0] + 1) * n * width;
  assert_int_equal(len, sizeof head + (states + n * vocab) * sizeof(float));
  assert_int_equal(head[0], model_configuration(m)->n_layers);
  float *want = malloc(len), *logits = malloc(n * vocab * sizeof *logits);
  memcpy(want, bytes + sizeof head, len - sizeof head);
  for (size_t i = 0; i < n; i++) ids[i] = (int32_t)((7 * i * i + 3 * i + 1) % vocab);
  if (session_open(m, &(struct session_options){.kernel = kernel}, &s, &err)) fail_msg("%s", err.message);
  struct comparison c = {.want = want, .tokens = n, .width = width};
  s->backend->ops->watch(s->backend, compare_layer, &c);
  if (session_append(s, ids, n, logits, n, &err)) fail_msg("%s", err.message);
  for (int l = 0; l <= head[0]; l++)
    if (!(sqrt(c.wrong[l] / c.size[l]) <= 1e-5))
      fail_msg("%s: layer %d: relative error %.2g", name, l, sqrt(c.wrong[l] / c.size[l]));
  const double wrong = compare_logits(logits, want + states, n * vocab);
  if (!(wrong <= 1e-5)) fail_msg("%s: logits: relative error %.2g", name, wrong);
  session_close(s);
  model_close(m);
  free(want), free(logits), free(bytes), free(path);
}

static void every_family_equals_transformers(void **state) {
  (void)state;
  static const char *const cases[] = {"llama", "llama3",       "llama-linear", "llama-bias", "mistral",
                                      "qwen2", "qwen2-window", "qwen3",        "gpt_neox",   "gpt_neox-serial"};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_folder(cases[i]);
    run_case(cases[i], NULL);
    run_case(cases[i], "portable");
  }
}

/* The file's first line is the beginning, its second what follows. */
static size_t read_line(char **at, int32_t *ids, size_t cap) {
  size_t n = 0;
  char *line_end = strchr(*at, '\n');
  if (line_end) *line_end = '\0';
  for (char *next; n < cap; *at = next) {
    const long id = strtol(*at, &next, 10);
    if (next == *at) break;
    ids[n++] = (int32_t)id;
  }
  *at = line_end ? line_end + 1 : *at;
  return n;
}

static void follow_greedily(const char *name, const char *dir) {
  struct sluice_error err;
  struct model *m;
  struct session *s;
  int32_t start[16], want[512];
  char *path = golden(name, "txt"), *text, *at;
  if (file_read(path, 0, &text, NULL, &err) || model_open(dir, &m, &err)) fail_msg("%s", err.message);
  at = text;
  const size_t n_start = read_line(&at, start, 16), n = read_line(&at, want, 512);
  const int vocab = model_configuration(m)->vocab;
  float *logits = malloc((size_t)vocab * sizeof *logits);
  assert_int_equal(n, 256);
  if (session_open(m, NULL, &s, &err) || session_append(s, start, n_start, logits, 1, &err))
    fail_msg("%s", err.message);
  for (size_t i = 0; i < n; i++) {
    int32_t best = 0;
    for (int v = 1; v < vocab; v++)
      if (logits[v] > logits[best]) best = v;
    if (best != want[i]) fail_msg("%s: token %zu is %d, transformers has %d", name, i, best, want[i]);
    if (session_append(s, &best, 1, logits, 1, &err)) fail_msg("%s", err.message);
  }
  session_close(s);
  model_close(m);
  free(logits), free(text), free(path);
}

static void the_embedded_model_says_the_same(void **state) {
  (void)state;
  follow_greedily("greedy-embedded", "fixtures/model");
}

static void the_story_model_says_the_same(void **state) {
  (void)state;
  struct sluice_error err;
  char *checkpoint = sample_path("tinyllama_260k/stories260K.bin");
  if (tinyllama_convert(checkpoint, folder, &err)) fail_msg("%s", err.message);
  follow_greedily("greedy-stories", folder);
  free(checkpoint);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_family_equals_transformers),
      cmocka_unit_test(the_embedded_model_says_the_same),
      cmocka_unit_test(the_story_model_says_the_same),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
