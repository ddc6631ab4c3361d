/* libFuzzer target: any bytes as a safetensors file. Whatever opens must lie inside the file, without overlaps. */

#include "engine/model/safetensors.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct sluice_error err;
  struct safetensors *s;
  if (safetensors_open(file_of(data, size), &s, &err) == SLUICE_OK) {
    struct slice file = safetensors_bytes(s);
    uint64_t sum = 0;
    for (size_t i = 0; i < safetensors_count(s); i++) {
      const struct tensor *t = safetensors_at(s, i);
      if (t->data < (const unsigned char *)file.ptr || t->data + t->bytes > (const unsigned char *)file.ptr + file.len)
        abort();
      if (safetensors_find(s, t->name) != t) abort();
      if (t->readable && t->bytes) {
        volatile float last = dtype_to_float(t->data, t->dtype, t->bytes / dtype_size(t->dtype) - 1);
        (void)last;
      }
      sum += t->bytes;
    }
    if (sum > file.len) abort();
    safetensors_close(s);
  }
  return 0;
}
