/* libFuzzer target. Input that begins with '{' is a tokenizer.json: what opens must encode any bytes or say why not.
 * Input that begins with a line break is a tokenizer.model (field 1, a piece), with {"config" a tekken.json, with '#' a
 * merges.txt. Other input is text for a vocabulary of
 * all 256 bytes and a few merges: its ids must give the same bytes back, and text must never become a special token
 * unless asked. */

#include <cjson/cJSON.h>

#include "engine/tokenizer/compose.h"
#include "fuzz.h"

static struct tokenizer *open_bytes(const void *json, size_t len) {
  struct sluice_error err;
  struct tokenizer *t = NULL;
  return tokenizer_open(file_of(json, len), &t, &err) == SLUICE_OK ? t : NULL;
}

static void encode(const struct tokenizer *t, struct slice text, unsigned flags) {
  struct sluice_error err;
  int32_t *ids = NULL;
  size_t n = 0, at = 0;
  sluice_status st = tokenizer_encode(t, text, flags, &ids, &n, &err);
  if (st == SLUICE_OK) {
    for (size_t i = 0; i < n; i++) {
      struct slice piece = tokenizer_bytes(t, ids[i]);
      if (tokenizer_is_special(t, ids[i]) && !(flags & TOKENIZE_SPECIALS) && ids[i] != t->unknown) abort();
      if (t->unknown >= 0) continue; /* an unknown byte may have become any text */
      if (piece.len > text.len - at || memcmp(piece.ptr, text.ptr + at, piece.len) != 0) abort();
      at += piece.len;
    }
    if (t->unknown < 0 && at != text.len) abort();
  }
  free(ids);
}

/* A space is put in front, so the bytes are others. */
static void encode_any(const struct tokenizer *t, struct slice text) {
  struct sluice_error err;
  int32_t *ids = NULL;
  size_t n = 0;
  if (tokenizer_encode(t, text, TOKENIZE_SPECIALS, &ids, &n, &err) == SLUICE_OK)
    for (size_t i = 0; i < n; i++)
      if (ids[i] < 0 || ids[i] >= t->size) abort();
  free(ids);
}

/* The built-in vocabulary: bytes at ids 2 to 257, after two specials. */
static struct tokenizer *open_own(void) {
  struct sluice_error err;
  struct buffer b;
  buffer_init(&b, 0);
  buffer_append_str(
      &b,
      "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true},{\"id\":1,\"content\":\"<|end|>\","
      "\"special\":true},{\"id\":264,\"content\":\"  \"}],\"pre_tokenizer\":{\"type\":\"ByteLevel\","
      "\"add_prefix_space\":false},\"model\":{\"merges\":[\"t h\",\"th e\",\"\xc4\xa0 the\",\"\xc3\x83 \xc2\xa9\","
      "\"a a\",\"aa aa\"],\"vocab\":{\"the\":258,\"th\":259,\"\xc4\xa0the\":260,\"\xc3\x83\xc2\xa9\":261,\"aa\":262,"
      "\"aaaa\":263",
      &err);
  for (int i = 0; i < 256; i++) {
    char utf8[4];
    int n = utf8_encode(byte_level_codepoint((unsigned char)i), utf8);
    buffer_append_str(&b, ",", &err);
    json_quote(&b, utf8, (size_t)n, &err);
    buffer_printf(&b, &err, ":%d", 2 + i);
  }
  buffer_append_str(&b, "}}}", &err);
  struct tokenizer *t = open_bytes(b.ptr, b.len);
  if (!t) abort();
  buffer_free(&b);
  return t;
}

/* Takes root over. */
static void try_composed(cJSON *root, bool ranks) {
  struct sluice_error err;
  struct tokenizer *t = calloc(1, sizeof *t);
  sluice_status st = t ? tokenizer_load(t, "fuzz", root, &err) : SLUICE_NOMEM;
  if (!st && ranks) st = merges_from_ranks(t, &err);
  if (!st) encode_any(t, slice_of("the <s><|end|> abab12 a\xff\xc3\xa9 123\n\n "));
  tokenizer_close(t);
  cJSON_Delete(root);
}

static void try_tekken(struct slice text) {
  struct sluice_error err;
  cJSON *file = NULL, *root = NULL;
  if (json_parse("fuzz", text.ptr, text.len, false, &file, &err) == SLUICE_OK &&
      compose_tekken("fuzz", file, &root, &err) == SLUICE_OK)
    try_composed(root, true);
  cJSON_Delete(file);
}

static void try_merges(struct slice text) {
  static const char words[] = "{\"a\":0,\"b\":1,\"1\":2,\"2\":3,\"12\":4,\"ab\":5,\"abab\":6}";
  struct sluice_error err;
  cJSON *vocab = NULL, *root = NULL;
  if (json_parse("fuzz", words, strlen(words), false, &vocab, &err)) abort();
  const struct pre_tokenizer_name *splits = compose_class(text.len % 2 ? "GPT2Tokenizer" : "Qwen2TokenizerFast");
  if (compose_merges(&vocab, "fuzz", text, splits, false, &root, &err) == SLUICE_OK) try_composed(root, false);
  cJSON_Delete(vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct tokenizer *own;
  if (!own) own = open_own();
  struct slice input = {(const char *)data, size};
  if (size > 9 && memcmp(data, "{\"config\"", 9) == 0) {
    try_tekken(input);
    return 0;
  }
  if (size && data[0] == '#') {
    try_merges(input);
    return 0;
  }
  if (size && data[0] == '{') {
    struct tokenizer *t = open_bytes(data, size);
    if (!t) return 0;
    encode(t, slice_of("the <s><|end|> theaaaaaaaaa \xff\xc3\xa9 123\n\n "), TOKENIZE_PLAIN);
    encode(t, slice_of("the <s><|end|> theaaaaaaaaa \xff\xc3\xa9 123\n\n "), TOKENIZE_SPECIALS);
    encode(t, (struct slice){input.ptr, size < 256 ? size : 256}, TOKENIZE_SPECIALS);
    tokenizer_close(t);
    return 0;
  }
  if (size && data[0] == '\n') {
    struct sluice_error err;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (t && !sentencepiece_load(t, "fuzz", input, NULL, 0, &err)) {
      encode_any(t, slice_of("the <s><|end|> a\xff\xc3\xa9 123\n\n "));
      encode_any(t, (struct slice){input.ptr, size < 256 ? size : 256});
    }
    tokenizer_close(t);
  }
  encode(own, input, TOKENIZE_PLAIN);
  encode(own, input, TOKENIZE_SPECIALS);
  return 0;
}
