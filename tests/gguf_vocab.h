/* For tests: the vocabulary of a GGUF file as a tokenizer.json, so that published conformance vectors can be run. */
#ifndef SLUICE_TESTS_GGUF_VOCAB_H
#define SLUICE_TESTS_GGUF_VOCAB_H

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* What of the file matters here; pointers lead into the bytes. */
struct gguf_vocab {
  struct slice *tokens, *merges;
  int32_t *types; /* 1 normal, 3 control, 4 user-defined, 6 byte */
  uint64_t n_tokens, n_merges, n_types;
};

struct gguf_reader {
  const unsigned char *at, *end;
  bool bad;
};

static uint64_t gguf_uint(struct gguf_reader *r, int bytes) {
  uint64_t v = 0;
  if (r->end - r->at < bytes) {
    r->bad = true;
    return 0;
  }
  for (int i = bytes - 1; i >= 0; i--) v = v << 8 | r->at[i];
  r->at += bytes;
  return v;
}

static struct slice gguf_text(struct gguf_reader *r) {
  uint64_t n = gguf_uint(r, 8);
  if (n > (uint64_t)(r->end - r->at)) {
    r->bad = true;
    n = 0;
  }
  struct slice s = {(const char *)r->at, (size_t)n};
  r->at += n;
  return s;
}

enum { GGUF_INT32 = 5, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static void gguf_skip(struct gguf_reader *r, uint32_t type) {
  static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  if (type == GGUF_STRING)
    gguf_text(r);
  else if (type < 13 && sizes[type])
    gguf_uint(r, sizes[type]);
  else
    r->bad = true;
}

static void gguf_vocab_array(struct gguf_reader *r, struct slice key, struct gguf_vocab *v) {
  uint32_t type = (uint32_t)gguf_uint(r, 4);
  uint64_t n = gguf_uint(r, 8);
  if (n > (uint64_t)(r->end - r->at)) r->bad = true;
  if (r->bad) return;
  bool tokens = slice_is(key, "tokenizer.ggml.tokens"), merges = slice_is(key, "tokenizer.ggml.merges");
  if ((tokens || merges) && type == GGUF_STRING) {
    struct slice *list = calloc(n + 1, sizeof *list);
    for (uint64_t i = 0; list && i < n; i++) list[i] = gguf_text(r);
    if (tokens) v->tokens = list, v->n_tokens = n;
    if (merges) v->merges = list, v->n_merges = n;
  } else if (slice_is(key, "tokenizer.ggml.token_type") && type == GGUF_INT32) {
    v->types = calloc(n + 1, sizeof *v->types);
    v->n_types = n;
    for (uint64_t i = 0; v->types && i < n; i++) v->types[i] = (int32_t)gguf_uint(r, 4);
  } else {
    for (uint64_t i = 0; !r->bad && i < n; i++) gguf_skip(r, type);
  }
}

static inline bool gguf_vocab_read(const char *bytes, size_t len, struct gguf_vocab *v) {
  struct gguf_reader r = {(const unsigned char *)bytes, (const unsigned char *)bytes + len, false};
  *v = (struct gguf_vocab){0};
  if (len < 24 || memcmp(bytes, "GGUF", 4) != 0) return false;
  r.at += 4 + 4 + 8; /* magic, version, tensors: a vocabulary has none */
  uint64_t pairs = gguf_uint(&r, 8);
  for (uint64_t i = 0; !r.bad && i < pairs; i++) {
    struct slice key = gguf_text(&r);
    uint32_t type = (uint32_t)gguf_uint(&r, 4);
    if (type == GGUF_ARRAY)
      gguf_vocab_array(&r, key, v);
    else
      gguf_skip(&r, type);
  }
  return !r.bad && v->tokens && v->merges && v->types && v->n_types == v->n_tokens;
}

static inline void gguf_vocab_free(struct gguf_vocab *v) {
  free(v->tokens);
  free(v->merges);
  free(v->types);
}

/* pre_tokenizer is JSON: GGUF only names it. arrays: merges as ["a", "b"] instead of "a b". */
static inline sluice_status gguf_vocab_to_json(const struct gguf_vocab *v, const char *pre_tokenizer, bool arrays,
                                               struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{\"added_tokens\":[", err);
  bool first = true;
  for (uint64_t i = 0; !st && i < v->n_tokens; i++) {
    if (v->types[i] != 3 && v->types[i] != 4) continue;
    st = buffer_printf(out, err, "%s{\"id\":%d,\"special\":%s,\"content\":", first ? "" : ",", (int)i,
                       v->types[i] == 3 ? "true" : "false");
    if (!st) st = json_quote(out, v->tokens[i].ptr, v->tokens[i].len, err);
    if (!st) st = buffer_append_str(out, "}", err);
    first = false;
  }
  if (!st)
    st = buffer_printf(out, err, "],\"pre_tokenizer\":%s,\"model\":{\"type\":\"BPE\",\"vocab\":{", pre_tokenizer);
  for (uint64_t i = 0; !st && i < v->n_tokens; i++) {
    if (i) st = buffer_append_str(out, ",", err);
    if (!st) st = json_quote(out, v->tokens[i].ptr, v->tokens[i].len, err);
    if (!st) st = buffer_printf(out, err, ":%d", (int)i);
  }
  if (!st) st = buffer_append_str(out, "},\"merges\":[", err);
  for (uint64_t i = 0; !st && i < v->n_merges; i++) {
    struct slice m = v->merges[i];
    const char *space = memchr(m.ptr, ' ', m.len);
    size_t cut = space ? (size_t)(space - m.ptr) : m.len;
    st = buffer_append_str(out, i ? "," : "", err);
    if (!st && !arrays) st = json_quote(out, m.ptr, m.len, err);
    if (!st && arrays) st = buffer_append_str(out, "[", err);
    if (!st && arrays) st = json_quote(out, m.ptr, cut, err);
    if (!st && arrays) st = buffer_append_str(out, ",", err);
    if (!st && arrays) st = json_quote(out, m.ptr + cut + 1, m.len - cut - 1, err);
    if (!st && arrays) st = buffer_append_str(out, "]", err);
  }
  return st ? st : buffer_append_str(out, "]}}", err);
}

#endif
