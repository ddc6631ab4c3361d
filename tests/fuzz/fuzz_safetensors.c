/* libFuzzer target: any bytes as a safetensors file. Whatever opens must lie inside the file, without overlaps.
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -I. -D_GNU_SOURCE tests/fuzz/fuzz_safetensors.c \
 *     engine/model/safetensors.c engine/model/dtype.c base/[a-z]*.c \
 *     $(pkg-config --cflags --libs libcjson libcrypto) -pthread -lm -o build/fuzz_safetensors
 *   build/fuzz_safetensors -max_total_time=30 -max_len=4096 build/fuzz-work tests/fuzz/corpus/safetensors
 * (an empty build/fuzz-work first: what is found new goes there). */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct sluice_error err;
  struct safetensors *s;
  char path[64];
  int fd = memfd_create("weights", 0);
  if (fd < 0 || fd_write_all(fd, data, size, &err)) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (safetensors_open(path, &s, &err) == SLUICE_OK) {
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
  close(fd);
  return 0;
}
