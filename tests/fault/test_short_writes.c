/* A system that takes a few bytes at a time and is interrupted between them: what is written is whole all the same, and
 * a write that fails in its middle is told, with the old file left as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitor/monitor.h"

static bool troubled;
static long writes, fails_at = -1;
static int failure;

/* In place of the C library's. */
ssize_t write(int fd, const void *bytes, size_t n) {
  if (troubled) {
    writes++;
    if (writes % 3 == 0) {
      errno = EINTR;
      return -1;
    }
    if (fails_at >= 0 && writes > fails_at) {
      errno = failure;
      return -1;
    }
    if (n > 5) n = 5;
  }
  return syscall(SYS_write, fd, bytes, n);
}

static char folder[] = "/dev/shm/sluice-writes-XXXXXX", path[64];
static const char text[] = "forty bytes of text that must all arrive";

static void assert_file(const char *want) {
  struct sluice_error err = {0};
  char *bytes = NULL;
  size_t len = 0;
  if (file_read(path, 0, &bytes, &len, &err)) fail_msg("%s", err.message);
  assert_string_equal(bytes, want);
  free(bytes);
}

static void a_file_is_written_whole_or_not_at_all(void **state) {
  (void)state;
  struct sluice_error err = {0};
  writes = 0;
  troubled = true;
  assert_int_equal(file_write_atomic(path, text, sizeof text - 1, &err), SLUICE_OK);
  troubled = false;
  assert_true(writes > 8);
  assert_file(text);
  const struct {
    int failure;
    sluice_status st;
  } ends[] = {{ENOSPC, SLUICE_FULL}, {EIO, SLUICE_IO}, {EDQUOT, SLUICE_FULL}};
  for (size_t i = 0; i < 3; i++) {
    writes = 0;
    fails_at = 4;
    failure = ends[i].failure;
    troubled = true;
    sluice_status st = file_write_atomic(path, "something else, which does not fit", 34, &err);
    troubled = false;
    fails_at = -1;
    if (st != ends[i].st) fail_msg("%s: %s: %s", strerror(ends[i].failure), sluice_status_name(st), err.message);
    assert_non_null(strstr(err.message, strerror(ends[i].failure)));
    assert_file(text);
    char left[80];
    snprintf(left, sizeof left, "%s.tmp", path);
    assert_int_equal(access(left, F_OK), -1); /* nothing is left lying about */
  }
}

static void use_audit(sluice_status *pushed, sluice_status *closed, struct sluice_error *err) {
  static const char policy[] =
      "{\"rules\":[{\"id\":\"a\",\"category\":\"m\",\"action\":\"flag\",\"pattern\":\"boat\"}]}";
  struct monitor_policy *p = NULL;
  struct monitor_audit *audit = NULL;
  struct monitor *m = NULL;
  struct monitor_stream *s = NULL;
  struct monitor_verdict v;
  struct monitor_audit_options o = {.path = path, .text = true, .policy = "p", .policy_hash = "h"};
  assert_int_equal(monitor_policy_parse("test", NULL, slice_of(policy), &p, err), SLUICE_OK);
  assert_int_equal(monitor_audit_open(&o, &audit, err), SLUICE_OK);
  assert_int_equal(monitor_open(p, monitor_audit_event, audit, &m, err), SLUICE_OK);
  assert_int_equal(monitor_stream_open(m, 0, 0, 0, &s, err), SLUICE_OK);
  writes = 0;
  troubled = true;
  *pushed = monitor_push(s, slice_of("a boat, a boat and a boat"), &v, err);
  *closed = monitor_audit_close(audit, monitor_stream_counts(s), false, err);
  troubled = false;
  monitor_stream_close(s);
  monitor_close(m);
  monitor_policy_free(p);
}

static void audit_lines_are_whole(void **state) {
  (void)state;
  struct sluice_error err = {0};
  sluice_status pushed, closed;
  char *bytes = NULL;
  size_t len = 0, lines = 0;
  snprintf(path, sizeof path, "%s/a.jsonl", folder);
  use_audit(&pushed, &closed, &err);
  assert_int_equal(pushed, SLUICE_OK);
  assert_int_equal(closed, SLUICE_OK);
  assert_int_equal(file_read(path, 0, &bytes, &len, &err), SLUICE_OK);
  for (char *at = bytes; *at;) {
    char *end = strchr(at, '\n');
    struct json_span root;
    assert_non_null(end);
    assert_int_equal(json_span_root((struct slice){at, (size_t)(end - at)}, &root, &err), SLUICE_OK);
    at = end + 1;
    lines++;
  }
  assert_int_equal(lines, 3);
  free(bytes);
  fails_at = 20; /* in the first line: the stream goes on, and the end says what was lost */
  failure = ENOSPC;
  use_audit(&pushed, &closed, &err);
  fails_at = -1;
  assert_int_equal(pushed, SLUICE_OK);
  assert_int_equal(closed, SLUICE_FULL);
  unlink(path);
}

static int setup(void **state) {
  (void)state;
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/file", folder);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  snprintf(path, sizeof path, "%s/file", folder);
  unlink(path);
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_is_written_whole_or_not_at_all),
      cmocka_unit_test(audit_lines_are_whole),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
