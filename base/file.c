/* Files: bounded reads, atomic writes, mappings. Every error names the path and the system's reason. */
#include "base/base.h"
#include "base/file_errors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_LIMIT ((size_t)1 << 30)

sluice_status file_fail(struct sluice_error *err, int number, const char *path, const char *doing) {
  sluice_status code = SLUICE_IO;
  if (number == ENOSPC || number == EDQUOT) code = SLUICE_FULL;
  if (number == ENOMEM) code = SLUICE_NOMEM;
  return sluice_fail(err, code, "%s: cannot %s: %s", path, doing, strerror(number));
}

sluice_status file_fail_read(struct sluice_error *err, int number, const char *path, const char *doing) {
  static const int wrong_path[] = {ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ELOOP, ENAMETOOLONG, ENXIO};
  for (size_t i = 0; i < sizeof wrong_path / sizeof *wrong_path; i++)
    if (number == wrong_path[i])
      return sluice_fail(err, SLUICE_USAGE, "%s: cannot %s: %s", path, doing, strerror(number));
  return file_fail(err, number, path, doing);
}

static sluice_status open_to_read(const char *path, int *fd, struct stat *info, struct sluice_error *err) {
  do *fd = open(path, O_RDONLY | O_CLOEXEC);
  while (*fd < 0 && errno == EINTR);
  if (*fd < 0) return file_fail_read(err, errno, path, "open");
  int number = fstat(*fd, info) ? errno : S_ISDIR(info->st_mode) ? EISDIR : 0;
  if (!number) return SLUICE_OK;
  close(*fd);
  return file_fail_read(err, number, path, "read");
}

/* Reads to the end of fd; one byte past the limit tells "too big" from "just fits". */
static sluice_status read_to_end(int fd, const char *name, size_t limit, struct buffer *b, struct sluice_error *err) {
  char chunk[1 << 16];
  for (;;) {
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) {
      if (signal_interrupted()) return sluice_fail(err, SLUICE_INTERRUPTED, "%s: interrupted while reading", name);
      continue;
    }
    if (n < 0) return file_fail_read(err, errno, name, "read");
    if (n == 0) break;
    if ((size_t)n > limit - b->len)
      return sluice_fail(err, SLUICE_LIMIT, "%s: longer than the limit of %zu bytes", name, limit);
    sluice_status st = buffer_append(b, chunk, (size_t)n, err);
    if (st) return st;
  }
  return buffer_append(b, "", 0, err);
}

sluice_status file_read(const char *path, size_t limit, char **bytes, size_t *len, struct sluice_error *err) {
  if (!limit) limit = DEFAULT_LIMIT;
  bool standard = strcmp(path, "-") == 0;
  const char *name = standard ? "standard input" : path;
  int fd = STDIN_FILENO;
  struct stat info = {0};
  if (!standard) {
    sluice_status st = open_to_read(path, &fd, &info, err);
    if (st) return st;
  }
  struct buffer b;
  buffer_init(&b, limit);
  sluice_status st = SLUICE_OK;
  if (S_ISREG(info.st_mode) && (uint64_t)info.st_size > limit)
    st = sluice_fail(err, SLUICE_LIMIT, "%s: %lld bytes, longer than the limit of %zu bytes", name,
                     (long long)info.st_size, limit);
  if (!st) st = read_to_end(fd, name, limit, &b, err);
  if (!standard) close(fd);
  if (st) {
    buffer_free(&b);
    return st;
  }
  *bytes = buffer_take(&b, len);
  return SLUICE_OK;
}

sluice_status fd_write_all(int fd, const void *bytes, size_t len, struct sluice_error *err) {
  const char *at = bytes;
  while (len) {
    ssize_t n = write(fd, at, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) { /* whoever opened the pipe or terminal before us may have made it non-blocking */
      poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
      continue;
    }
    if (n < 0) return file_fail(err, errno, fd == STDOUT_FILENO ? "standard output" : "output", "write");
    at += n;
    len -= (size_t)n;
  }
  return SLUICE_OK;
}

/* A rename is durable only when its directory has been synced too. Filesystems that cannot sync one are let be. */
static void sync_directory_of(const char *path) {
  char *dir = sluice_strdup(path);
  if (!dir) return;
  char *slash = strrchr(dir, '/');
  if (slash) slash[slash == dir ? 1 : 0] = '\0';
  int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
  free(dir);
}

static sluice_status write_and_sync(const char *tmp, const void *bytes, size_t len, struct sluice_error *err) {
  int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return file_fail(err, errno, tmp, "create");
  sluice_status st = fd_write_all(fd, bytes, len, err);
  if (st) sluice_fail_in(err, "%s", tmp);
  if (!st && fsync(fd)) st = file_fail(err, errno, tmp, "write");
  if (close(fd) && !st) st = file_fail(err, errno, tmp, "write");
  return st;
}

sluice_status file_write_atomic(const char *path, const void *bytes, size_t len, struct sluice_error *err) {
  char *tmp = sluice_format("%s.tmp", path);
  if (!tmp) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  sluice_status st = write_and_sync(tmp, bytes, len, err);
  if (!st && rename(tmp, path)) st = file_fail(err, errno, path, "replace");
  if (st)
    unlink(tmp);
  else
    sync_directory_of(path);
  free(tmp);
  return st;
}

sluice_status file_map(const char *path, const unsigned char **bytes, size_t *len, struct sluice_error *err) {
  int fd;
  struct stat info;
  sluice_status st = open_to_read(path, &fd, &info, err);
  if (st) return st;
  *bytes = (const unsigned char *)"";
  *len = 0;
  if (!S_ISREG(info.st_mode)) {
    st = sluice_fail(err, SLUICE_INPUT, "%s: not a regular file, so it cannot be mapped", path);
  } else if (info.st_size > 0) { /* an empty mapping is an error to mmap, not to us */
    void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED) {
      st = file_fail(err, errno, path, "map");
    } else {
      *bytes = at;
      *len = (size_t)info.st_size;
    }
  }
  close(fd);
  return st;
}

void file_unmap(const unsigned char *bytes, size_t len) {
  if (len) munmap((void *)(uintptr_t)bytes, len);
}

bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

sluice_status file_above_program(const char *relative, int levels, char **path, struct sluice_error *err) {
  char folder[4096];
  *path = NULL;
  const ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
  if (n <= 0) return SLUICE_OK; /* not Linux, or no /proc: nothing is known to be near */
  folder[n] = '\0';
  for (int up = 0; up <= levels; up++) {
    char *slash = strrchr(folder, '/');
    if (!slash) return SLUICE_OK;
    *slash = '\0';
    char *here = sluice_format("%s/%s", folder, relative);
    if (!here) return sluice_fail(err, SLUICE_NOMEM, "no memory for the path of %s", relative);
    if (file_exists(here)) {
      *path = here;
      return SLUICE_OK;
    }
    free(here);
  }
  return SLUICE_OK;
}

static int make_dir(const char *path) {
  struct stat info;
  if (mkdir(path, 0777) == 0) return 0;
  int number = errno;
  if (number == EEXIST && stat(path, &info) == 0) return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
  return number;
}

sluice_status file_make_dirs(const char *path, struct sluice_error *err) {
  char *copy = sluice_strdup(path);
  if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  int number = *copy ? 0 : ENOENT;
  for (char *at = copy; *at && !number; at++) {
    if (*at != '/' || at == copy) continue;
    *at = '\0';
    number = make_dir(copy);
    *at = '/';
  }
  if (!number) number = make_dir(copy);
  free(copy);
  return number ? file_fail(err, number, path, "make the directory") : SLUICE_OK;
}
