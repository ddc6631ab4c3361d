/* A vocabulary as a list of pieces with types and scores, which is how SentencePiece's files and GGUF's have it. */
#include "engine/tokenizer/pieces.h"

#include <stdlib.h>
#include <string.h>

sluice_status pieces_room(struct pieces *p, int size, struct sluice_error *err) {
  p->spellings = calloc((size_t)size, sizeof *p->spellings);
  p->types = calloc((size_t)size, sizeof *p->types);
  if (!p->spellings || !p->types)
    return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %d tokens", p->path, size);
  memset(p->types, PIECE_NORMAL, (size_t)size);
  p->t->size = size;
  return SLUICE_OK;
}

void pieces_free(struct pieces *p) {
  free(p->spellings);
  free(p->types);
}

bool piece_is_added(unsigned char type) {
  return type == PIECE_UNKNOWN || type == PIECE_CONTROL || type == PIECE_USER;
}

static sluice_status put_added(struct pieces *p, int id, struct sluice_error *err) {
  struct tokenizer *t = p->t;
  const struct slice text = p->spellings[id];
  struct added_token token = {.id = id, .special = p->types[id] != PIECE_USER};
  if (text.len == 0) return SLUICE_OK;
  token.rstrip = p->strips && !slice_is(text, "<unk>") && !slice_is(text, "<s>") && !slice_is(text, "<|endoftext|>");
  t->texts[id] = (struct token_text){(uint32_t)t->pool.len, (uint32_t)text.len};
  t->special[id] = token.special;
  sluice_status st = buffer_append(&t->pool, text.ptr, text.len, err);
  if (st) return st;
  if (bytes_map_get(t, &t->added_by_bytes, text.ptr, text.len) >= 0) return SLUICE_OK;
  bytes_map_put(t, &t->added_by_bytes, id);
  return vocabulary_add(t, token, err);
}

static sluice_status put_token(struct pieces *p, int id, struct sluice_error *err) {
  struct tokenizer *t = p->t;
  const struct slice text = p->spellings[id];
  const size_t start = t->pool.len;
  const int byte = t->kind == VOCABULARY_SCORES ? vocabulary_byte(text.ptr, text.len) : -1;
  bool mapped = true;
  sluice_status st = SLUICE_OK;
  if (p->types[id] == PIECE_BYTE && byte >= 0) {
    const char raw = (char)byte;
    t->byte_id[byte] = id;
    st = buffer_append(&t->pool, &raw, 1, err);
  } else {
    st = vocabulary_decode(t, text.ptr, text.len, &t->pool, &mapped, err);
    if (!st && !mapped) st = buffer_append(&t->pool, text.ptr, text.len, err);
  }
  if (st || t->pool.len == start) return st;
  t->texts[id] = (struct token_text){(uint32_t)start, (uint32_t)(t->pool.len - start)};
  if (p->types[id] != PIECE_BYTE && p->types[id] != PIECE_UNUSED) bytes_map_put(t, &t->by_bytes, id);
  return SLUICE_OK;
}

sluice_status pieces_put(struct pieces *p, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (int i = 0; !st && i < p->t->size; i++)
    st = piece_is_added(p->types[i]) ? put_added(p, i, err) : put_token(p, i, err);
  if (!st) st = vocabulary_sort_added(p->t, p->path, err);
  return st ? st : vocabulary_bytes(p->t, p->path, err);
}
