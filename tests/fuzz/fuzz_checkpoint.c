/* A training checkpoint: the file as it is, and behind a first byte '+' with its checksum made right. */
#include "engine/train/train.h"
#include "fuzz.h"

enum { PARAMETERS = 3, FINGERPRINT = 7 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  float params[PARAMETERS] = {1}, m[PARAMETERS] = {2}, v[PARAMETERS] = {3};
  struct train_state s = {.step = 5, .params = params, .m = m, .v = v, .size = PARAMETERS};
  struct sluice_error err;
  struct buffer b;
  unsigned char sum[SHA256_BYTES];
  if (!size) return 0;
  buffer_init(&b, 0);
  buffer_append(&b, data + 1, size - 1, &err);
  if (data[0] == '+') {
    sha256(b.ptr, b.len, sum);
    buffer_append(&b, sum, sizeof sum, &err);
  }
  err.message[0] = '\0';
  if (checkpoint_read(file_of(b.ptr, b.len), &s, FINGERPRINT, &err)) {
    PROMISE(err.message[0]);
    PROMISE(s.step == 5 && params[0] == 1 && m[0] == 2 && v[0] == 3); /* nothing was half read */
  }
  PROMISE(s.size == PARAMETERS);
  buffer_free(&b);
  return 0;
}
