/* Datasets when memory runs out: whichever allocation fails, the call returns SLUICE_NOMEM, leaks nothing and a second
 * try succeeds. Needs glibc, whose allocator stays reachable under other names; skipped elsewhere and under a
 * sanitizer. */
#include "base/base.h"
#include "datasets/datasets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define CAN_INJECT 1
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static long countdown = -1; /* allocations until one fails; negative: none does */
static long alive;          /* blocks that the code under test holds */
static bool counting;

static bool fails(void) {
  return countdown >= 0 && countdown-- == 0;
}
void *malloc(size_t n) {
  if (counting && fails()) return NULL;
  void *p = __libc_malloc(n);
  if (counting && p) alive++;
  return p;
}
void *calloc(size_t n, size_t size) {
  if (counting && fails()) return NULL;
  void *p = __libc_calloc(n, size);
  if (counting && p) alive++;
  return p;
}
void *realloc(void *old, size_t n) {
  if (counting && fails()) return NULL;
  void *p = __libc_realloc(old, n);
  if (counting && p && !old) alive++;
  return p;
}
extern void __libc_free(void *);
void free(void *p) {
  if (counting && p) alive--;
  __libc_free(p);
}
#endif

static sluice_status use(const char *spec, struct sluice_error *err) {
  struct dataset *set;
  struct dialogue d;
  struct buffer json;
  buffer_init(&json, 0);
  sluice_status st = dataset_open(spec, &set, err);
  if (st) return st;
  st = dataset_dialogue(set, 0, &d, err);
  if (!st) {
    st = dialogue_json(&d, &json, err);
    dialogue_free(&d);
  }
  buffer_free(&json);
  dataset_close(set);
  return st;
}

static sluice_status use_training(const char *stage, struct sluice_error *err) {
  struct train_line line = {0};
  sluice_status st = train_mix_line(1, stage, 3, 0, &line, err);
  train_line_free(&line);
  return st;
}

/* Fails the first, second, third ... allocation until a run needs fewer. */
static void exhaust(sluice_status (*run)(const char *, struct sluice_error *), const char *what) {
#ifdef CAN_INJECT
  struct sluice_error err = {0};
  long n = 0;
  for (sluice_status st = SLUICE_NOMEM; st != SLUICE_OK; n++) {
    assert_true(n < 100000);
    alive = 0;
    countdown = n;
    counting = true;
    st = run(what, &err);
    counting = false;
    countdown = -1;
    if (st && st != SLUICE_NOMEM) fail_msg("%s, allocation %ld: %s", what, n, err.message);
    if (alive) fail_msg("%s, allocation %ld: %ld blocks leaked", what, n, alive);
  }
  assert_true(n > 2);
#else
  (void)run, (void)what;
  skip();
#endif
}

static void generators_run_out_of_memory(void **state) {
  (void)state;
  exhaust(use, "grocery:turns=2");
  exhaust(use, "rps:rounds=3");
  exhaust(use, "streameval:lines=20,every=5,back=5");
  exhaust(use, "dialogue:topics=2,chat=1");
  exhaust(use, "story:words=60");
}

static void training_text_runs_out_of_memory(void **state) {
  (void)state;
  exhaust(use_training, "128");
  exhaust(use_training, "512");
}

static void readers_run_out_of_memory(void **state) {
  static const char row[] =
      "{\"id\": \"key_0\", \"question\": {\"stem\": \"s\", \"choices\": [{\"text\": \"OK\", \"label\": "
      "\"A\"}]}, \"answerKey\": \"A\"}\n";
  const char *dir = getenv("TMPDIR");
  char path[512], spec[640];
  struct sluice_error err = {0};
  (void)state;
  snprintf(path, sizeof path, "%s/sluice-memory-%ld.jsonl", dir && *dir ? dir : "/tmp", (long)clock_mono_ns());
  assert_int_equal(file_write_atomic(path, row, sizeof row - 1, &err), SLUICE_OK);
  snprintf(spec, sizeof spec, "sirllm_grocery:file=%s", path);
  exhaust(use, spec);
  remove(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(generators_run_out_of_memory),
      cmocka_unit_test(training_text_runs_out_of_memory),
      cmocka_unit_test(readers_run_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
