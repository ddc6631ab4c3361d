/* Tokens per second of the CUDA back end on random weights of known shapes, beside other engines:
 *
 *   bench_cuda [-f] [-d DIR] [-p NAME=LLAMA_BENCH]... [SHAPE | PART]...
 *
 * -f: F16 weights, not BF16. Shapes are 0.5B, 1.2B and 6.7B; parts decode, contexts, sampled, prefill, batch and int8.
 * Of what is not named, all. One line a shape and measurement, with the share of the reading bandwidth that this card
 * has just shown. Decoding draws greedily on the device and feeds what it drew, as `sluice generate --device cuda`
 * does; each figure is the median of several runs. A peer measures an F16 file of the same shape in DIR (build/bench)
 * behind ours (make_gguf makes them); a file that is not there leaves it out. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/session.h"
#include "tests/bench/llama_bench.h"
#include "tests/device_model.h"

enum { DECODED = 64, PROMPT = 4096, REPEATS = 5, BATCH = 32, PEERS_MAX = 4 };

static const struct shape {
  const char *name, *file; /* file: as make_gguf names it */
  struct model_config c;
} SHAPES[] = {
    {"0.5B",
     "qwen2.5-0.5b",
     {.n_layers = 24,
      .d_model = 896,
      .n_heads = 14,
      .n_kv_heads = 2,
      .head_dim = 64,
      .d_ff = 4864,
      .vocab = 151936,
      .tied = true,
      .qkv_bias = true}},
    {"1.2B",
     "llama3.2-1b",
     {.n_layers = 16,
      .d_model = 2048,
      .n_heads = 32,
      .n_kv_heads = 8,
      .head_dim = 64,
      .d_ff = 8192,
      .vocab = 128256,
      .tied = true}},
    {"6.7B",
     "llama2-7b",
     {.n_layers = 32,
      .d_model = 4096,
      .n_heads = 32,
      .n_kv_heads = 32,
      .head_dim = 128,
      .d_ff = 11008,
      .vocab = 32000}},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

static double bandwidth; /* bytes a second; 0: not known */
static const char *type_name = "bf16", *folder = "build/bench";
static struct peer peers[PEERS_MAX];
static int n_peers;
static struct rates ours; /* of the shape at hand; 0: not measured */

static void die(const struct sluice_error *err) {
  fprintf(stderr, "%s\n", err->message);
  exit(1);
}

static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, by_size);
  return v[n / 2];
}

/* Bytes that one token must read: every matrix once, of the embedding one row. */
static double bytes_of(const struct model_config *c, bool int8) {
  const double attention = (2.0 * c->n_heads + 2.0 * c->n_kv_heads) * c->head_dim * c->d_model,
               ffn = 3.0 * c->d_model * c->d_ff;
  const double all = c->n_layers * (attention + ffn) + (double)c->vocab * c->d_model;
  return all * (int8 ? 1 + 2.0 / 32 : 2);
}

static struct session *open_session(const struct device_model *m, const char *weights) {
  struct sluice_error err = {0};
  struct session *s = NULL;
  const struct session_options o = {.device = "cuda", .weights = weights};
  if (session_open(&m->model, &o, &s, &err)) die(&err);
  return s;
}

static void feed(struct session *s, const struct device_model *m, size_t n) {
  struct sluice_error err = {0};
  int32_t *ids = malloc(n * sizeof *ids);
  for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(i * 7919 % (size_t)m->model.config.vocab);
  if (session_append(s, ids, n, NULL, 0, &err)) die(&err);
  free(ids);
}

static void decode(const struct shape *shape, const struct device_model *m, const char *weights, int context,
                   float temperature) {
  struct sluice_error err = {0};
  double rate[REPEATS];
  struct session *s = open_session(m, weights);
  if (context) feed(s, m, (size_t)context);
  struct drawn d = {.id = 1};
  const struct draw how = {.temperature = temperature, .top_p = 0.95f, .top_k = 40, .uniform = 0.3};
  for (int r = -1; r < REPEATS; r++) { /* the first warms up and is not counted */
    const int64_t start = clock_mono_ns();
    for (int i = 0; i < DECODED; i++)
      if (session_draw(s, d.id, &how, &d, &err)) die(&err);
    if (r >= 0) rate[r] = DECODED * 1e9 / (double)(clock_mono_ns() - start);
  }
  const double mid = median(rate, REPEATS);
  if (!weights && !context && !(temperature > 0)) ours.decode = mid;
  printf("%-5s %-5s decode %s at %5d tokens: %8.1f tok/s (%.1f .. %.1f)", shape->name, weights ? weights : type_name,
         temperature > 0 ? "sampled" : "greedy ", context, mid, rate[0], rate[REPEATS - 1]);
  if (bandwidth > 0)
    printf(", %4.1f %% of bandwidth", 100 * mid * bytes_of(&m->model.config, weights != NULL) / bandwidth);
  printf("\n");
  fflush(stdout);
  session_close(s);
}

static void prefill(const struct shape *shape, const struct device_model *m, const char *weights, int tokens) {
  double rate[REPEATS];
  struct session *keep = open_session(m, weights); /* holds the weights and the warm libraries */
  for (int r = -1; r < REPEATS; r++) {
    struct session *s = NULL;
    struct sluice_error err = {0};
    if (session_twin(keep, &s, &err)) die(&err);
    const int64_t start = clock_mono_ns();
    feed(s, m, (size_t)tokens);
    if (r >= 0) rate[r] = tokens * 1e9 / (double)(clock_mono_ns() - start);
    session_close(s);
  }
  const double mid = median(rate, REPEATS);
  if (!weights) ours.prefill = mid;
  printf("%-5s %-5s prefill of %5d tokens: %10.0f tok/s (%.0f .. %.0f)\n", shape->name, weights ? weights : type_name,
         tokens, mid, rate[0], rate[REPEATS - 1]);
  fflush(stdout);
  session_close(keep);
}

static void batch(const struct shape *shape, const struct device_model *m, int context) {
  struct sluice_error err = {0};
  struct session *s[BATCH] = {open_session(m, NULL)};
  double rate[REPEATS];
  int32_t ids[BATCH] = {0};
  struct draw how[BATCH] = {{0}};
  struct drawn drawn[BATCH];
  for (int i = 0; i < BATCH; i++) {
    if (i && session_open_beside(s[0], "full", 0, &s[i], &err)) die(&err);
    feed(s[i], m, (size_t)context);
    ids[i] = i;
  }
  for (int r = -1; r < REPEATS; r++) {
    const int64_t start = clock_mono_ns();
    for (int i = 0; i < DECODED / 4; i++) {
      if (session_draw_many(s, ids, how, drawn, BATCH, &err)) die(&err);
      for (int k = 0; k < BATCH; k++) ids[k] = drawn[k].id;
    }
    if (r >= 0) rate[r] = DECODED / 4 * BATCH * 1e9 / (double)(clock_mono_ns() - start);
  }
  printf("%-5s %-5s decode of %d sequences at %d tokens: %.0f tok/s in all\n", shape->name, type_name, BATCH, context,
         median(rate, REPEATS));
  fflush(stdout);
  for (int i = BATCH - 1; i >= 0; i--) session_close(s[i]);
}

/* ---- what can be measured ---- */

static void short_decode(const struct shape *shape, const struct device_model *m) {
  decode(shape, m, NULL, 0, 0);
}

static void long_decode(const struct shape *shape, const struct device_model *m) {
  decode(shape, m, NULL, 1024, 0);
  decode(shape, m, NULL, 4096, 0);
}

static void sampled(const struct shape *shape, const struct device_model *m) {
  decode(shape, m, NULL, 0, 0.7f);
}

static void prefills(const struct shape *shape, const struct device_model *m) {
  prefill(shape, m, NULL, 512);
  prefill(shape, m, NULL, PROMPT);
}

static void batches(const struct shape *shape, const struct device_model *m) {
  batch(shape, m, 1024);
}

static void int8(const struct shape *shape, const struct device_model *m) {
  decode(shape, m, "int8", 0, 0);
  prefill(shape, m, "int8", PROMPT);
}

static const struct part {
  const char *name;
  void (*measure)(const struct shape *shape, const struct device_model *m);
} PARTS[] = {{"decode", short_decode}, {"contexts", long_decode}, {"sampled", sampled},
             {"prefill", prefills},    {"batch", batches},        {"int8", int8}};
enum { N_PARTS = sizeof PARTS / sizeof *PARTS };

static bool named(char *const *names, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

/* Names of shapes and parts, in any order; of what has no name here, all. */
static int check_names(char *const *names, int n, int *shapes, int *parts) {
  for (int i = 0; i < n; i++) {
    int known = 0;
    for (int k = 0; k < N_SHAPES; k++) known += strcmp(names[i], SHAPES[k].name) == 0;
    *shapes += known;
    for (int k = 0; k < N_PARTS; k++)
      if (strcmp(names[i], PARTS[k].name) == 0) known++, ++*parts;
    if (!known) return fprintf(stderr, "bench_cuda: '%s' is no shape and no part\n", names[i]), 2;
  }
  return 0;
}

static void beside(const struct shape *shape) {
  struct sluice_error err = {0};
  char path[512];
  snprintf(path, sizeof path, "%s/%s-F16.gguf", folder, shape->file);
  if (n_peers && access(path, R_OK)) fprintf(stderr, "%s is not there: no peers for %s\n", path, shape->name);
  for (int i = 0; i < n_peers && !access(path, R_OK); i++) {
    struct rates r;
    if (peer_run(&peers[i], path, "-ngl 99 -r 3", PROMPT, DECODED, &r, &err)) {
      fprintf(stderr, "%s\n", err.message);
      continue;
    }
    printf("%-5s %s: decode %.1f tok/s", shape->name, peers[i].name, r.decode);
    if (ours.decode > 0) printf(" (ours %.2f x)", ours.decode / r.decode);
    printf(", prefill of %d tokens %.0f tok/s", PROMPT, r.prefill);
    if (ours.prefill > 0) printf(" (ours %.2f x)", ours.prefill / r.prefill);
    printf("\n");
    fflush(stdout);
  }
}

static void run(const struct shape *shape, enum dtype type, char *const *names, int n, bool all_parts) {
  struct device_model m;
  struct model_config c = shape->c;
  ours = (struct rates){0, 0};
  c.max_context = 8192, c.norm_eps = 1e-5f, c.rope_theta = 10000, c.bos = c.eos = -1;
  device_model_make(&m, &c, type, 1, 3);
  for (int i = 0; i < N_PARTS; i++)
    if (all_parts || named(names, n, PARTS[i].name)) PARTS[i].measure(shape, &m);
  device_model_free(&m);
  beside(shape);
}

static bool read_options(int argc, char **argv, enum dtype *type) {
  for (int option; (option = getopt(argc, argv, "fd:p:")) != -1;) {
    if (option == 'f') *type = DTYPE_F16, type_name = "f16";
    if (option == 'd') folder = optarg;
    if (option == 'p' && (n_peers == PEERS_MAX || !peer_of(optarg, &peers[n_peers++]))) return false;
    if (option == '?') return false;
  }
  return true;
}

int main(int argc, char **argv) {
  struct sluice_error err = {0};
  char name[256] = "";
  const void *found = NULL;
  enum dtype type = DTYPE_BF16;
  int shapes = 0, parts = 0;
  if (!read_options(argc, argv, &type))
    return fputs("usage: bench_cuda [-f] [-d DIR] [-p NAME=LLAMA_BENCH]... [SHAPE | PART]...\n", stderr), 2;
  char *const *names = argv + optind;
  const int n = argc - optind;
  if (check_names(names, n, &shapes, &parts)) return 2;
  if (cuda_symbol("cuda_measure", &found, &err)) return printf("no GPU table: %s\n", err.message), 0;
  sluice_status (*measure)(char *, size_t, double *, struct sluice_error *);
  memcpy(&measure, &found, sizeof measure);
  if (measure(name, sizeof name, &bandwidth, &err)) return printf("no GPU table: %s\n", err.message), 0;
  printf("%s, reads %.2f TB/s\n", name, bandwidth / 1e12);
  for (int i = 0; i < N_SHAPES; i++)
    if (!shapes || named(names, n, SHAPES[i].name)) run(&SHAPES[i], type, names, n, !parts);
  return 0;
}
