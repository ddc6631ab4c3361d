/* base: files and descriptors. Everything happens in a fresh folder under $TMPDIR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

static char folder[256];

static const char *in_folder(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static int make_folder(void **state) {
  (void)state;
  const char *base = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/sluice-file-XXXXXX", base && *base ? base : P_tmpdir);
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  char command[512];
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command);
}

static void written_bytes_come_back(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char *bytes;
  size_t len;
  char path[512];
  snprintf(path, sizeof path, "%s", in_folder("data"));
  assert_int_equal(file_write_atomic(path, "a\0b\n", 4, &err), SLUICE_OK);
  assert_int_equal(file_read(path, 0, &bytes, &len, &err), SLUICE_OK);
  assert_int_equal(len, 4);
  assert_memory_equal(bytes, "a\0b\n", 5);
  free(bytes);
  assert_int_equal(file_write_atomic(path, "", 0, &err), SLUICE_OK);
  assert_int_equal(file_read(path, 0, &bytes, &len, &err), SLUICE_OK);
  assert_int_equal(len, 0);
  assert_string_equal(bytes, "");
  free(bytes);
  assert_false(file_exists(in_folder("data.tmp")));
}

static void the_limit_is_exact(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char *bytes, path[512];
  size_t len;
  snprintf(path, sizeof path, "%s", in_folder("ten"));
  assert_int_equal(file_write_atomic(path, "0123456789", 10, &err), SLUICE_OK);
  assert_int_equal(file_read(path, 10, &bytes, &len, &err), SLUICE_OK);
  free(bytes);
  assert_int_equal(file_read(path, 9, &bytes, &len, &err), SLUICE_LIMIT);
  assert_non_null(strstr(err.message, path));
  assert_non_null(strstr(err.message, "9 bytes"));
}

static void a_pipe_is_bounded_too(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char *bytes;
  size_t len;
  int ends[2], saved = dup(STDIN_FILENO);
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(fd_write_all(ends[1], "from a pipe", 11, &err), SLUICE_OK);
  close(ends[1]);
  dup2(ends[0], STDIN_FILENO);
  assert_int_equal(file_read("-", 11, &bytes, &len, &err), SLUICE_OK);
  assert_string_equal(bytes, "from a pipe");
  free(bytes);
  assert_int_equal(pipe(ends), 0);
  fd_write_all(ends[1], "from a pipe", 11, &err);
  close(ends[1]);
  dup2(ends[0], STDIN_FILENO);
  assert_int_equal(file_read("-", 10, &bytes, &len, &err), SLUICE_LIMIT);
  assert_non_null(strstr(err.message, "standard input"));
  dup2(saved, STDIN_FILENO);
  close(saved);
  close(ends[0]);
}

static void what_cannot_be_read_is_named(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char *bytes, hex[65];
  const unsigned char *mapped;
  size_t len;
  assert_int_equal(file_read(in_folder("absent"), 0, &bytes, &len, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "absent: cannot open: No such file"));
  assert_int_equal(file_read(folder, 0, &bytes, &len, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "Is a directory"));
  assert_int_equal(file_map(folder, &mapped, &len, &err), SLUICE_USAGE);
  assert_int_equal(file_map("/dev/null", &mapped, &len, &err), SLUICE_INPUT);
  assert_int_equal(sha256_file_hex(in_folder("absent"), hex, &err), SLUICE_USAGE);
  assert_int_equal(sha256_file_hex(folder, hex, &err), SLUICE_USAGE);
}

static void a_failed_write_keeps_the_old_file(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char *bytes;
  size_t len;
  assert_int_equal(file_write_atomic(in_folder("no/such/dir"), "x", 1, &err), SLUICE_IO);
  assert_non_null(strstr(err.message, "no/such/dir"));
  assert_int_equal(file_make_dirs(in_folder("taken/child"), &err), SLUICE_OK);
  assert_int_equal(file_write_atomic(in_folder("taken"), "x", 1, &err), SLUICE_IO); /* rename over a full folder */
  assert_false(file_exists(in_folder("taken.tmp")));
  char path[512];
  snprintf(path, sizeof path, "%s", in_folder("kept"));
  assert_int_equal(file_write_atomic(path, "old", 3, &err), SLUICE_OK);
  assert_int_equal(mkdir(in_folder("kept.tmp"), 0777), 0);
  assert_int_equal(file_write_atomic(path, "new", 3, &err), SLUICE_IO);
  assert_int_equal(file_read(path, 0, &bytes, &len, &err), SLUICE_OK);
  assert_string_equal(bytes, "old");
  free(bytes);
}

static void a_full_disk_is_resumable(void **state) {
  (void)state;
  struct sluice_error err = {0};
  int fd = open("/dev/full", O_WRONLY);
  if (fd < 0) skip();
  assert_int_equal(fd_write_all(fd, "x", 1, &err), SLUICE_FULL);
  assert_int_equal(sluice_exit_code(err.code), 4);
  close(fd);
  assert_int_equal(fd_write_all(-1, "x", 1, &err), SLUICE_IO);
  assert_int_equal(fd_write_all(-1, "x", 0, &err), SLUICE_OK);
}

/* A pipe takes 64 KiB at a time, so a long write needs several calls while the child reads. */
static void write_long(int flags) {
  struct sluice_error err = {0};
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(fcntl(ends[1], F_SETFL, flags), 0);
  pid_t child = fork();
  if (child == 0) {
    char chunk[999];
    size_t total = 0;
    ssize_t n;
    close(ends[1]);
    while ((n = read(ends[0], chunk, sizeof chunk)) > 0) total += (size_t)n;
    _exit(total == 1000000 ? 0 : 1);
  }
  close(ends[0]);
  char *bytes = calloc(1, 1000000);
  assert_int_equal(fd_write_all(ends[1], bytes, 1000000, &err), SLUICE_OK);
  free(bytes);
  close(ends[1]);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

static void long_writes_to_a_pipe_are_complete(void **state) {
  (void)state;
  write_long(0);
  write_long(O_NONBLOCK);
}

static void maps(void **state) {
  (void)state;
  struct sluice_error err = {0};
  const unsigned char *bytes;
  size_t len;
  assert_int_equal(file_write_atomic(in_folder("map"), "mapped", 6, &err), SLUICE_OK);
  assert_int_equal(file_map(in_folder("map"), &bytes, &len, &err), SLUICE_OK);
  assert_int_equal(len, 6);
  assert_memory_equal(bytes, "mapped", 6);
  file_unmap(bytes, len);
  assert_int_equal(file_write_atomic(in_folder("empty"), "", 0, &err), SLUICE_OK);
  assert_int_equal(file_map(in_folder("empty"), &bytes, &len, &err), SLUICE_OK);
  assert_int_equal(len, 0);
  assert_non_null(bytes);
  file_unmap(bytes, len);
}

static void folders_are_made_with_their_parents(void **state) {
  (void)state;
  struct sluice_error err = {0};
  assert_int_equal(file_make_dirs(in_folder("a/b//c/"), &err), SLUICE_OK);
  assert_true(file_exists(in_folder("a/b/c")));
  assert_int_equal(file_make_dirs(in_folder("a/b/c"), &err), SLUICE_OK);
  assert_int_equal(file_write_atomic(in_folder("a/file"), "x", 1, &err), SLUICE_OK);
  assert_int_equal(file_make_dirs(in_folder("a/file/d"), &err), SLUICE_IO);
  assert_non_null(strstr(err.message, "a/file/d"));
  assert_int_equal(file_make_dirs(in_folder("a/file"), &err), SLUICE_IO);
  assert_int_equal(file_make_dirs("", &err), SLUICE_IO);
}

static void a_file_hash_is_the_hash_of_its_bytes(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char hex[65];
  assert_int_equal(file_write_atomic(in_folder("abc"), "abc", 3, &err), SLUICE_OK);
  assert_int_equal(sha256_file_hex(in_folder("abc"), hex, &err), SLUICE_OK);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void finds_what_lies_above_the_program(void **state) {
  (void)state;
  struct sluice_error err;
  char *path;
  assert_int_equal(file_above_program("no/such/file/anywhere", 8, &path, &err), SLUICE_OK);
  assert_null(path);
  char self[4096];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  assert_true(n > 0);
  self[n] = '\0';
  assert_int_equal(file_above_program(strrchr(self, '/') + 1, 0, &path, &err), SLUICE_OK);
  assert_string_equal(path, self);
  free(path);
  *strrchr(self, '/') = '\0'; /* its folder, seen from one level up, and not from the folder itself */
  assert_int_equal(file_above_program(strrchr(self, '/') + 1, 1, &path, &err), SLUICE_OK);
  assert_string_equal(path, self);
  free(path);
  assert_int_equal(file_above_program(strrchr(self, '/') + 1, 0, &path, &err), SLUICE_OK);
  assert_null(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_what_lies_above_the_program),
      cmocka_unit_test(written_bytes_come_back),
      cmocka_unit_test(the_limit_is_exact),
      cmocka_unit_test(a_pipe_is_bounded_too),
      cmocka_unit_test(what_cannot_be_read_is_named),
      cmocka_unit_test(a_failed_write_keeps_the_old_file),
      cmocka_unit_test(a_full_disk_is_resumable),
      cmocka_unit_test(long_writes_to_a_pipe_are_complete),
      cmocka_unit_test(maps),
      cmocka_unit_test(folders_are_made_with_their_parents),
      cmocka_unit_test(a_file_hash_is_the_hash_of_its_bytes),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
