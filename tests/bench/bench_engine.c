/* Tokens per second of the CPU engine on one model folder: `bench_engine DIR [TOKENS] [THREADS] [KERNEL] [POLICY]...`.
 * Prefill is text fed without logits, decode one token at a time with them. Tokens are drawn at random: the engine's
 * speed does not depend on which they are. With TOKENS above 100,000 the cost per token is printed at powers of ten on
 * the way, which shows whether a policy's cost is flat. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/session.h"

struct bench {
  struct model *model;
  struct session *s;
  struct rng rng;
  float *logits;
};

static int32_t draw(struct bench *b) {
  return (int32_t)rng_below(&b->rng, (uint32_t)model_configuration(b->model)->vocab);
}

struct cost {
  double wall, processor; /* seconds */
};

static double processor_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static sluice_status prefill(struct bench *b, uint64_t tokens, struct cost *cost, struct sluice_error *err) {
  const int64_t start = clock_mono_ns();
  const double processor = processor_seconds();
  int32_t ids[512];
  for (uint64_t done = 0; done < tokens;) {
    const size_t n = tokens - done < 512 ? (size_t)(tokens - done) : 512;
    for (size_t i = 0; i < n; i++) ids[i] = draw(b);
    sluice_status st = session_append(b->s, ids, n, NULL, 0, err);
    if (!st) st = session_end_turn(b->s, err);
    if (st) return st;
    done += n;
  }
  *cost = (struct cost){(double)(clock_mono_ns() - start) * 1e-9, processor_seconds() - processor};
  return SLUICE_OK;
}

static sluice_status decode(struct bench *b, int tokens, struct cost *cost, struct sluice_error *err) {
  const int64_t start = clock_mono_ns();
  const double processor = processor_seconds();
  for (int i = 0; i < tokens; i++) {
    const int32_t id = draw(b);
    sluice_status st = session_append(b->s, &id, 1, b->logits, 1, err);
    if (st) return st;
  }
  *cost = (struct cost){(double)(clock_mono_ns() - start) * 1e-9, processor_seconds() - processor};
  return SLUICE_OK;
}

static int run(struct bench *b, const char *policy, uint64_t tokens, int threads, const char *kernel) {
  enum { DECODED = 300 };
  struct sluice_error err = {0};
  const struct session_options o = {.policy = policy, .threads = threads, .kernel = kernel};
  sluice_status st = session_open(b->model, &o, &b->s, &err);
  if (st) return fprintf(stderr, "%s\n", err.message), 1;
  printf("%s, kernel %s, %d thread(s)\n", session_policy(b->s), session_kernel(b->s), threads);
  for (uint64_t done = 0, next = tokens > 100000 ? 1000 : tokens; !st && done < tokens;) {
    struct cost pre, one;
    st = prefill(b, next - done, &pre, &err);
    if (!st) st = decode(b, DECODED, &one, &err);
    if (st) break;
    printf(
        "  %9llu tokens: prefill %8.0f tok/s (%6.1f us), decode %7.0f tok/s (%6.1f us); %zu KV bytes, %zu allocated\n",
        (unsigned long long)next, (double)(next - done) / pre.wall, pre.processor * 1e6 / (double)(next - done),
        DECODED / one.wall, one.processor * 1e6 / DECODED, session_bytes(b->s), session_allocated(b->s));
    fflush(stdout);
    done = next;
    next = next * 10 < tokens ? next * 10 : tokens;
  }
  session_close(b->s);
  return st ? fprintf(stderr, "%s\n", err.message), 1 : 0;
}

int main(int argc, char **argv) {
  static const char *const defaults[] = {"full",
                                         "window:budget=256",
                                         "streaming:budget=256",
                                         "sirllm:budget=256",
                                         "random:budget=256",
                                         "interval:budget=256",
                                         "streaming",
                                         "sirllm"};
  struct sluice_error err = {0};
  struct bench b = {0};
  if (argc < 2) return fprintf(stderr, "usage: bench_engine DIR [TOKENS] [THREADS] [KERNEL] [POLICY]...\n"), 2;
  if (model_open(argv[1], &b.model, &err)) return fprintf(stderr, "%s\n", err.message), 1;
  const uint64_t tokens = argc > 2 ? strtoull(argv[2], NULL, 10) : 4000;
  const int threads = argc > 3 ? atoi(argv[3]) : 1;
  const char *kernel = argc > 4 && strcmp(argv[4], "best") != 0 ? argv[4] : NULL;
  b.logits = malloc(sizeof *b.logits * (size_t)model_configuration(b.model)->vocab);
  rng_seed(&b.rng, 1);
  int rc = b.logits ? 0 : 1;
  if (argc > 5)
    for (int i = 5; i < argc && !rc; i++) rc = run(&b, argv[i], tokens, threads, kernel);
  else
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults && !rc; i++)
      rc = run(&b, defaults[i], tokens, threads, kernel);
  free(b.logits);
  model_close(b.model);
  return rc;
}
