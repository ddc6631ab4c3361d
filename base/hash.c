/* SHA-256 through libcrypto, and a 64-bit hash for tables and shards. */
/* The block interface, not EVP: EVP may fail to allocate, and a hash that decides what a resumed run skips must not be
 * able to fail half-way. libcrypto uses the CPU's SHA instructions behind both. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/base.h"
#include "base/file_errors.h"

#include <openssl/sha.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct sha256_stream {
  SHA256_CTX state;
};

void sha256(const void *bytes, size_t len, unsigned char out[SHA256_BYTES]) {
  SHA256_CTX state;
  SHA256_Init(&state);
  SHA256_Update(&state, bytes, len);
  SHA256_Final(out, &state);
}

struct sha256_stream *sha256_begin(void) {
  struct sha256_stream *s = malloc(sizeof *s);
  if (s) SHA256_Init(&s->state);
  return s;
}

void sha256_add(struct sha256_stream *s, const void *bytes, size_t len) {
  SHA256_Update(&s->state, bytes, len);
}

void sha256_end(struct sha256_stream *s, unsigned char out[SHA256_BYTES]) {
  SHA256_Final(out, &s->state);
  free(s);
}

void hex_of(const unsigned char *bytes, size_t len, char *out) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < len; i++) {
    out[2 * i] = digits[bytes[i] >> 4];
    out[2 * i + 1] = digits[bytes[i] & 15];
  }
  out[2 * len] = '\0';
}

sluice_status sha256_file_hex(const char *path, char out[2 * SHA256_BYTES + 1], struct sluice_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return file_fail_read(err, errno, path, "open");
  SHA256_CTX state;
  SHA256_Init(&state);
  unsigned char chunk[1 << 16], digest[SHA256_BYTES];
  ssize_t n;
  while ((n = read(fd, chunk, sizeof chunk)) != 0) {
    if (n > 0) SHA256_Update(&state, chunk, (size_t)n);
    if (n < 0 && errno != EINTR) break;
  }
  int number = n < 0 ? errno : 0;
  close(fd);
  if (number) return file_fail_read(err, number, path, "read");
  SHA256_Final(digest, &state);
  hex_of(digest, sizeof digest, out);
  return SLUICE_OK;
}

/* FNV-1a, then the finalizer of MurmurHash3: FNV alone leaves the high bits of short keys poorly mixed. */
uint64_t hash64(const void *bytes, size_t len) {
  const unsigned char *at = bytes;
  uint64_t h = 0xCBF29CE484222325u;
  for (size_t i = 0; i < len; i++) h = (h ^ at[i]) * 0x100000001B3u;
  h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDu;
  h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53u;
  return h ^ h >> 33;
}
