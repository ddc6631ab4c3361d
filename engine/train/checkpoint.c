/* A checkpoint: magic, version, fingerprint, step, tokens, size, then parameters and both moments as float32, then a
 * SHA-256 of all that. Little-endian, as every machine that sluice runs on. */
#include "engine/train/train.h"

#include <stdlib.h>
#include <string.h>

struct header {
  char magic[8]; /* "sluicetr" */
  uint64_t version, fingerprint, step, tokens, size;
};
static const char MAGIC[8] = {'s', 'l', 'u', 'i', 'c', 'e', 't', 'r'};

sluice_status checkpoint_write(const char *path, const struct train_state *s, uint64_t fingerprint,
                               struct sluice_error *err) {
  struct buffer b;
  unsigned char sum[SHA256_BYTES];
  struct header h = {.version = 1,
                     .fingerprint = fingerprint,
                     .step = (uint64_t)s->step,
                     .tokens = (uint64_t)s->tokens,
                     .size = s->size};
  memcpy(h.magic, MAGIC, sizeof MAGIC);
  buffer_init(&b, (size_t)1 << 40);
  const size_t bytes = s->size * sizeof(float);
  sluice_status st = buffer_append(&b, &h, sizeof h, err);
  if (!st) st = buffer_append(&b, s->params, bytes, err);
  if (!st) st = buffer_append(&b, s->m, bytes, err);
  if (!st) st = buffer_append(&b, s->v, bytes, err);
  if (!st) {
    sha256(b.ptr, b.len, sum);
    st = buffer_append(&b, sum, sizeof sum, err);
  }
  if (!st) st = file_write_atomic(path, b.ptr, b.len, err);
  buffer_free(&b);
  return st;
}

static sluice_status check(const char *path, const unsigned char *bytes, size_t len, const struct train_state *s,
                           uint64_t fingerprint, struct header *h, struct sluice_error *err) {
  unsigned char sum[SHA256_BYTES];
  if (len < sizeof *h || memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
    return sluice_fail(err, SLUICE_INPUT, "%s: not a training checkpoint of sluice", path);
  memcpy(h, bytes, sizeof *h);
  if (h->version != 1 || h->size != s->size)
    return sluice_fail(err, SLUICE_INPUT,
                       "%s: holds %llu parameters, config.json asks for %zu; train from scratch without --resume", path,
                       (unsigned long long)h->size, s->size);
  if (len != sizeof *h + 3 * s->size * sizeof(float) + sizeof sum)
    return sluice_fail(err, SLUICE_INPUT, "%s: %zu bytes, cut short; remove it and train from scratch", path, len);
  sha256(bytes, len - sizeof sum, sum);
  if (memcmp(sum, bytes + len - sizeof sum, sizeof sum) != 0)
    return sluice_fail(err, SLUICE_INPUT,
                       "%s: its checksum differs, the file is damaged; remove it and train from scratch", path);
  if (h->fingerprint != fingerprint)
    return sluice_fail(err, SLUICE_USAGE,
                       "%s: was made with other settings (stages, seed, lanes, precision, optimizer, tokenizer); "
                       "repeat those, or train from scratch without --resume",
                       path);
  return SLUICE_OK;
}

sluice_status checkpoint_read(const char *path, struct train_state *s, uint64_t fingerprint, struct sluice_error *err) {
  const unsigned char *bytes;
  size_t len;
  struct header h;
  sluice_status st = file_map(path, &bytes, &len, err);
  if (st) return st;
  st = check(path, bytes, len, s, fingerprint, &h, err);
  if (!st) {
    const size_t each = s->size * sizeof(float);
    memcpy(s->params, bytes + sizeof h, each);
    memcpy(s->m, bytes + sizeof h + each, each);
    memcpy(s->v, bytes + sizeof h + 2 * each, each);
    s->step = (int64_t)h.step;
    s->tokens = (int64_t)h.tokens;
  }
  file_unmap(bytes, len);
  return st;
}
