/* base when memory runs out: every allocation of every operation fails once, and each failure is an ordinary error that
 * leaks nothing. The allocator is replaced by one that counts; a sanitizer has its own, so there these tests are
 * skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTING 1
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static long until_failure = -1; /* allocations that still succeed; -1: all */
static long alive;

static bool refused(void) {
  if (until_failure < 0) return false;
  if (until_failure == 0) return true;
  until_failure--;
  return false;
}

void *malloc(size_t size) {
  void *p = refused() ? NULL : __libc_malloc(size);
  alive += p != NULL;
  return p;
}
void *calloc(size_t n, size_t size) {
  void *p = refused() ? NULL : __libc_calloc(n, size);
  alive += p != NULL;
  return p;
}
void *realloc(void *old, size_t size) {
  void *p = refused() ? NULL : __libc_realloc(old, size);
  alive += p != NULL && !old;
  return p;
}
void free(void *p) {
  alive -= p != NULL;
  __libc_free(p);
}
#else
#define COUNTING 0
static long until_failure, alive;
#endif

/* Skips where allocations cannot be refused. */
static void want_counting_allocator(void) {
  if (COUNTING) return;
  print_message("the sanitizer has its own allocator\n");
  skip();
}

static char path[256];

/* Runs fn with the first, then the second, ... allocation and all later ones refused, until it succeeds. */
static void every_allocation(const char *name, sluice_status (*fn)(struct sluice_error *err)) {
  want_counting_allocator();
  for (long allowed = 0; allowed < 10000; allowed++) {
    struct sluice_error err = {0};
    long before = alive;
    until_failure = allowed;
    sluice_status st = fn(&err);
    until_failure = -1;
    if (alive != before) fail_msg("%s: %ld allocations leak when number %ld fails", name, alive - before, allowed);
    if (st == SLUICE_OK) {
      assert_true(allowed > 0); /* something was allocated, so something was tried */
      return;
    }
    if (st != SLUICE_NOMEM)
      fail_msg("%s: status %s instead of no memory: %s", name, sluice_status_name(st), err.message);
    assert_int_equal(err.code, SLUICE_NOMEM);
  }
  fail_msg("%s never succeeds", name);
}

static sluice_status buffers(struct sluice_error *err) {
  struct buffer b;
  buffer_init(&b, 0);
  sluice_status st = SLUICE_OK;
  for (int i = 0; i < 50 && !st; i++) {
    st = buffer_printf(&b, err, "%d,", i);
    if (!st) st = json_quote(&b, "<\x01>", 3, err);
  }
  buffer_free(&b);
  return st;
}

static sluice_status configuration(struct sluice_error *err) {
  static const char text[] = "{ /* c */ \"a\": [1, \"two\", {\"b\": null, \"c\": true}], \"d\": \"x\\n\" }";
  cJSON *tree = NULL;
  sluice_status st = json_parse("suite.json", text, sizeof text - 1, true, &tree, err);
  cJSON_Delete(tree);
  return st;
}

static sluice_status specs(struct sluice_error *err) {
  struct spec s;
  sluice_status st = spec_parse("sirllm:mode=paper,decay=0.7", &s, err);
  if (!st) spec_free(&s);
  return st;
}

static sluice_status options(struct sluice_error *err) {
  char words[4][8] = {"verb", "one", "--rule", "x"};
  char *argv[] = {words[0], words[1], words[2], words[3], NULL};
  struct string_list rules = {0}, positional = {0};
  const struct verb_help help = {.verb = "verb"};
  const struct option_spec table[] = {{"rule", 0, OPTION_LIST, &rules, "ID", "rules"}};
  bool helped;
  sluice_status st = options_parse(&help, table, 1, 4, argv, &positional, &helped, err);
  free(rules.items);
  free(positional.items);
  return st;
}

static sluice_status files(struct sluice_error *err) {
  char *bytes = NULL;
  size_t len;
  sluice_status st = file_write_atomic(path, "bytes", 5, err);
  if (!st) st = file_make_dirs("build", err);
  if (!st) st = file_read(path, 0, &bytes, &len, err);
  free(bytes);
  return st;
}

static void in_buffers(void **state) {
  (void)state, every_allocation("buffers", buffers);
}
static void in_configuration(void **state) {
  (void)state, every_allocation("configuration", configuration);
}
static void in_specs(void **state) {
  (void)state, every_allocation("specs", specs);
}
static void in_options(void **state) {
  (void)state, every_allocation("options", options);
}
static void in_files(void **state) {
  (void)state, every_allocation("files", files);
}

static void in_teams_and_arenas(void **state) {
  (void)state;
  want_counting_allocator();
  struct sluice_error err = {0};
  struct team *team = NULL;
  struct arena a = {0};
  struct buffer b = {0};
  until_failure = 0;
  sluice_status st = team_start(2, &team, &err);
  void *piece = arena_alloc(&a, 10);
  char *copy = sluice_strdup("x"), *text = sluice_format("%d", 3), *taken = buffer_take(&b, NULL);
  struct sha256_stream *hash = sha256_begin();
  log_line(LOG_DEBUG, "not shown, and no memory either");
  until_failure = -1;
  assert_int_equal(st, SLUICE_NOMEM);
  assert_null(team);
  assert_null(piece);
  assert_null(copy);
  assert_null(text);
  assert_null(taken);
  assert_null(hash);
  arena_free(&a);
}

int main(void) {
  const char *folder = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/sluice-nomem-%d", folder && *folder ? folder : P_tmpdir, (int)getpid());
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(in_buffers), cmocka_unit_test(in_configuration), cmocka_unit_test(in_specs),
      cmocka_unit_test(in_options), cmocka_unit_test(in_files),         cmocka_unit_test(in_teams_and_arenas),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  unlink(path);
  return failed;
}
