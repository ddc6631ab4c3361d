/* libFuzzer target: any bytes as a GGUF file, as a model, and as a vocabulary. Whatever opens must lie inside the file.
 */

#include "engine/model/gguf.h"
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct sluice_error err;
  struct gguf *g;
  struct model *m;
  struct tokenizer *t;
  const char *path = file_of(data, size);
  if (gguf_open(path, &g, &err) == SLUICE_OK) {
    const struct tensor_file *f = (const struct tensor_file *)g;
    for (size_t i = 0; i < f->n; i++) {
      const struct tensor *tensor = &f->tensors[i];
      if (tensor->data < f->bytes || tensor->data + tensor->bytes > f->bytes + f->len) abort();
    }
    gguf_close(g);
  }
  if (size < 4 || memcmp(data, "GGUF", 4) != 0) return 0;
  if (model_open(path, &m, &err) == SLUICE_OK) model_close(m);
  if (tokenizer_open(path, &t, &err) == SLUICE_OK) {
    int32_t *ids = NULL;
    size_t n = 0;
    (void)tokenizer_encode(t, slice_of("a <s>\xc3\xa9 12"), TOKENIZE_SPECIALS, &ids, &n, &err);
    for (size_t i = 0; i < n; i++) (void)tokenizer_bytes(t, ids[i]);
    free(ids);
    tokenizer_close(t);
  }
  return 0;
}
