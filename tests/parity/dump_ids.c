/* dump_ids TOKENIZER TEXTS [plain]: the ids of many texts, for comparison with other programs (tokenizers.mjs, beside this
 * file). TEXTS holds for each text its length in bytes, four bytes in the machine's order, and its bytes. Prints a line for
 * each: its ids in decimal, a tab, and in hexadecimal the bytes that the ids stand for. `plain`: special tokens inside a
 * text are text. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

static sluice_status print_one(const struct tokenizer *t, struct slice text, unsigned flags, struct sluice_error *err) {
  int32_t *ids = NULL;
  size_t n = 0;
  sluice_status st = tokenizer_encode(t, text, flags, &ids, &n, err);
  for (size_t i = 0; !st && i < n; i++) printf("%s%d", i ? " " : "", ids[i]);
  if (!st) putchar('\t');
  for (size_t i = 0; !st && i < n; i++) {
    const struct slice bytes = tokenizer_bytes(t, ids[i]);
    for (size_t k = 0; k < bytes.len; k++) printf("%02x", (unsigned)(unsigned char)bytes.ptr[k]);
  }
  putchar('\n');
  free(ids);
  return st;
}

static sluice_status print_all(const struct tokenizer *t, struct slice all, unsigned flags, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (uint32_t len; !st && all.len > 0; all.ptr += len, all.len -= len) {
    if (all.len < sizeof len) return sluice_fail(err, SLUICE_INPUT, "the texts are cut short");
    memcpy(&len, all.ptr, sizeof len);
    all.ptr += sizeof len, all.len -= sizeof len;
    if (len > all.len) return sluice_fail(err, SLUICE_INPUT, "a text of %u bytes is cut short", len);
    st = print_one(t, (struct slice){all.ptr, len}, flags, err);
  }
  return st;
}

int main(int argc, char **argv) {
  struct sluice_error err = {0};
  struct tokenizer *t = NULL;
  char *texts = NULL;
  size_t len = 0;
  if (argc < 3 || argc > 4) {
    fprintf(stderr, "usage: dump_ids TOKENIZER TEXTS [plain]\n");
    return 2;
  }
  const unsigned flags = argc == 4 ? TOKENIZE_PLAIN : TOKENIZE_SPECIALS;
  sluice_status st = tokenizer_open(argv[1], &t, &err);
  if (!st) st = file_read(argv[2], 0, &texts, &len, &err);
  if (!st) st = print_all(t, (struct slice){texts, len}, flags, &err);
  if (st) fprintf(stderr, "%s\n", err.message);
  free(texts);
  tokenizer_close(t);
  return sluice_exit_code(st);
}
