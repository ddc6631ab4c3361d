/* Decoding and prefill of whole models on the CPU, beside what memory allows and beside other engines:
 *
 *   bench_weights [-t THREADS] [-r ROUNDS] [-k KERNEL] [-p NAME=LLAMA_BENCH]... FILE.gguf...
 *
 * In each round every engine runs once, one after the other, so that a machine that grows slower does so for all; what
 * is printed are medians, and the median of the rounds' ratios. A peer is a llama-bench program; it decodes the same
 * number of tokens from an empty cache and prefills as many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/session.h"
#include "tests/bench/llama_bench.h"

enum { PROMPT = 512, DECODED = 48, ROUNDS_MAX = 64, PEERS_MAX = 4 };

struct bench {
  int threads, rounds, n_peers;
  const char *kernel; /* NULL: the best of this CPU */
  struct peer peers[PEERS_MAX];
  const char *path;
  struct model *model;
  double bytes; /* of weights, that one token reads */
  float *logits;
  struct rates ours[ROUNDS_MAX], peer[PEERS_MAX][ROUNDS_MAX];
  double read[ROUNDS_MAX];  /* bytes a second */
  double open_ms, first_ms; /* the first token of a fresh process, its logits included */
};

static double seconds_since(int64_t start) {
  return (double)(clock_mono_ns() - start) * 1e-9;
}

/* ---- what memory gives --------------------------------------------------------------------------------------------
 */

typedef uint64_t line __attribute__((vector_size(64), aligned(1)));

struct reading {
  const char *bytes;
  size_t len;
  int lanes;
  bool ahead; /* ask for lines before they are read */
};

static inline __attribute__((always_inline)) void read_part(const struct reading *r, int lane) {
  const size_t part = r->len / (size_t)r->lanes / 256 * 256;
  const char *at = r->bytes + part * (size_t)lane, *end = at + part;
  line sum[4] = {{0}};
  for (; at < end; at += 256)
    for (int i = 0; i < 4; i++) {
      if (r->ahead) __builtin_prefetch(at + 1024 + 64 * i, 0, 2);
      sum[i] ^= *(const line *)(at + 64 * i);
    }
  const line all = sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
  __asm__ volatile("" ::"r"(all[0] ^ all[1] ^ all[2] ^ all[3] ^ all[4] ^ all[5] ^ all[6] ^ all[7])); /* it is used */
}

#if defined(__x86_64__)
static __attribute__((target("avx512f"))) void read_lane_wide(void *ctx, int lane) {
  read_part(ctx, lane);
}
#endif

static void read_lane(void *ctx, int lane) {
  read_part(ctx, lane);
}

/* Bytes a second of threads that read the file's mapping, each its part from front to back: the best of six. */
static sluice_status measure_reading(const struct bench *b, double *rate, struct sluice_error *err) {
  struct team *team;
  const unsigned char *bytes;
  size_t len;
  void (*fn)(void *ctx, int lane) = read_lane;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) fn = read_lane_wide;
#endif
  *rate = 0;
  sluice_status st = file_map(b->path, &bytes, &len, err);
  if (!st) st = team_start(b->threads, &team, err);
  if (st) return st;
  struct reading r = {(const char *)bytes, len, b->threads, false};
  for (int i = 0; i < 7; i++) { /* the first one fills the page table */
    const int64_t start = clock_mono_ns();
    r.ahead = i % 2;
    team_run(team, fn, &r);
    const double got = (double)len / seconds_since(start);
    if (i && got > *rate) *rate = got;
  }
  team_stop(team);
  file_unmap(bytes, len);
  return SLUICE_OK;
}

/* ---- this engine ---------------------------------------------------------------------------------------------------
 */

static double weight_bytes(const struct weight *w) {
  return w->data ? (double)dtype_row_bytes(w->dtype, w->cols) * w->rows : 0;
}

static double bytes_of_token(const struct model *m) {
  double sum = weight_bytes(&m->lm_head);
  for (int i = 0; i < m->config.n_layers; i++) {
    const struct layer_weights *l = &m->layers[i];
    sum += weight_bytes(&l->wq) + weight_bytes(&l->wk) + weight_bytes(&l->wv) + weight_bytes(&l->wo) +
           weight_bytes(&l->w_gate) + weight_bytes(&l->w_up) + weight_bytes(&l->w_down);
  }
  return sum;
}

static int32_t draw(struct rng *r, const struct model *m) {
  return (int32_t)rng_below(r, (uint32_t)m->config.vocab);
}

static sluice_status run_ours(struct bench *b, struct rates *out, struct sluice_error *err) {
  const struct session_options o = {.policy = "full", .threads = b->threads, .kernel = b->kernel};
  struct session *s;
  struct rng r;
  int32_t ids[PROMPT];
  rng_seed(&r, 7);
  for (int i = 0; i < PROMPT; i++) ids[i] = draw(&r, b->model);
  sluice_status st = session_open(b->model, &o, &s, err);
  if (st) return st;
  st = session_append(s, ids, 1, b->logits, 1, err); /* as the peers do: one for the page table */
  int64_t start = clock_mono_ns();
  for (int i = 0; !st && i < DECODED; i++) st = session_append(s, ids + i, 1, b->logits, 1, err);
  out->decode = DECODED / seconds_since(start);
  if (!st) st = session_append(s, ids, PROMPT, b->logits, 1, err); /* touches the working memory */
  struct session *fresh = NULL;
  if (!st) st = session_open_beside(s, "full", 0, &fresh, err);
  start = clock_mono_ns();
  if (!st) st = session_append(fresh, ids, PROMPT, b->logits, 1, err);
  out->prefill = PROMPT / seconds_since(start);
  session_close(fresh);
  session_close(s);
  return st;
}

static sluice_status open_model(struct bench *b, struct sluice_error *err) {
  const struct session_options o = {.policy = "full", .threads = b->threads, .kernel = b->kernel};
  struct session *s;
  const int32_t id = 1;
  const int64_t start = clock_mono_ns();
  sluice_status st = model_open(b->path, &b->model, err);
  if (!st) st = session_open(b->model, &o, &s, err);
  if (st) return st;
  b->open_ms = seconds_since(start) * 1e3;
  b->logits = malloc(sizeof *b->logits * (size_t)b->model->config.vocab);
  st = b->logits ? session_append(s, &id, 1, b->logits, 1, err) : sluice_fail(err, SLUICE_NOMEM, "out of memory");
  b->first_ms = seconds_since(start) * 1e3;
  b->bytes = bytes_of_token(b->model);
  session_close(s);
  return st;
}

/* ---- the table ------------------------------------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(const double *values, int n) {
  double sorted[ROUNDS_MAX];
  memcpy(sorted, values, sizeof *values * (size_t)n);
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void print_row(const struct bench *b, const char *name, const struct rates *rates) {
  double decode[ROUNDS_MAX], prefill[ROUNDS_MAX], share[ROUNDS_MAX], faster[2][ROUNDS_MAX];
  for (int i = 0; i < b->rounds; i++) {
    decode[i] = rates[i].decode, prefill[i] = rates[i].prefill;
    share[i] = 100 * b->bytes * rates[i].decode / b->read[i];
    double best[2] = {0, 0};
    for (int p = 0; p < b->n_peers; p++) {
      best[0] = b->peer[p][i].decode > best[0] ? b->peer[p][i].decode : best[0];
      best[1] = b->peer[p][i].prefill > best[1] ? b->peer[p][i].prefill : best[1];
    }
    faster[0][i] = decode[i] / best[0], faster[1][i] = prefill[i] / best[1];
  }
  printf("| %s | %s | %.1f (%.0f %%) | %.0f |", strrchr(b->path, '/') ? strrchr(b->path, '/') + 1 : b->path, name,
         median(decode, b->rounds), median(share, b->rounds), median(prefill, b->rounds));
  if (b->n_peers) printf(" %.2f | %.2f |", median(faster[0], b->rounds), median(faster[1], b->rounds));
  putchar('\n');
}

static sluice_status run_file(struct bench *b, struct sluice_error *err) {
  sluice_status st = open_model(b, err);
  char options[32];
  snprintf(options, sizeof options, "-t %d -r 1", b->threads);
  for (int i = 0; !st && i < b->rounds; i++) {
    double before = 0, after = 0;
    st = measure_reading(b, &before, err);
    if (!st) st = run_ours(b, &b->ours[i], err);
    if (!st) st = measure_reading(b, &after, err);
    b->read[i] = (before + after) / 2;
    for (int p = 0; !st && p < b->n_peers; p++)
      st = peer_run(&b->peers[p], b->path, options, PROMPT, DECODED, &b->peer[p][i], err);
  }
  if (!st) {
    print_row(b, "sluice", b->ours);
    for (int p = 0; p < b->n_peers; p++) print_row(b, b->peers[p].name, b->peer[p]);
    fprintf(stderr, "%s: %.0f MB a token; memory gives %.1f GB/s; opened in %.0f ms, first token after %.0f ms\n",
            b->path, b->bytes * 1e-6, median(b->read, b->rounds) * 1e-9, b->open_ms, b->first_ms);
  }
  free(b->logits);
  model_close(b->model);
  b->logits = NULL, b->model = NULL;
  return st;
}

static bool read_options(struct bench *b, int argc, char **argv) {
  for (int option; (option = getopt(argc, argv, "t:r:k:p:")) != -1;) {
    if (option == 't') b->threads = (int)strtol(optarg, NULL, 10);
    if (option == 'r') b->rounds = (int)strtol(optarg, NULL, 10);
    if (option == 'k') b->kernel = optarg;
    if (option == 'p' && (b->n_peers == PEERS_MAX || !peer_of(optarg, &b->peers[b->n_peers++]))) return false;
    if (option == '?') return false;
  }
  return optind < argc && b->threads > 0 && b->rounds > 0 && b->rounds <= ROUNDS_MAX;
}

int main(int argc, char **argv) {
  static struct bench b = {.rounds = 5};
  struct sluice_error err = {0};
  b.threads = threads_available();
  if (!read_options(&b, argc, argv))
    return fputs("usage: bench_weights [-t THREADS] [-r ROUNDS] [-k KERNEL] [-p NAME=LLAMA_BENCH]... FILE.gguf...\n",
                 stderr),
           2;
  printf("%d threads, kernel %s, medians of %d rounds\n\n", b.threads, b.kernel ? b.kernel : session_best_kernel(),
         b.rounds);
  printf("| weights | engine | decode tok/s (of what memory gives) | prefill %d tok/s |%s\n", PROMPT,
         b.n_peers ? " decode, to the better peer | prefill |" : "");
  printf("| --- | --- | --- | --- |%s\n", b.n_peers ? " --- | --- |" : "");
  for (int i = optind; i < argc; i++) {
    b.path = argv[i];
    if (run_file(&b, &err)) return fprintf(stderr, "%s\n", err.message), 1;
    fflush(stdout);
  }
  return 0;
}
