#include <cjson/cJSON.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

sluice_status tokenizer_open(const char *path, struct tokenizer **out, struct sluice_error *err) {
  char *bytes = NULL;
  size_t len = 0;
  sluice_status st = file_read(path, TOKENIZER_MAX_FILE, &bytes, &len, err);
  if (st) return st;
  struct tokenizer *t = calloc(1, sizeof *t);
  struct cJSON *root = NULL;
  if (!t) {
    st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  } else {
    unsigned char digest[SHA256_BYTES];
    sha256(bytes, len, digest);
    hex_of(digest, sizeof digest, t->hash);
    st = json_parse(path, bytes, len, false, &root, err);
  }
  free(bytes);
  if (!st) st = tokenizer_load(t, path, root, err);
  cJSON_Delete(root);
  if (st) {
    tokenizer_close(t);
    return st;
  }
  *out = t;
  return SLUICE_OK;
}

void tokenizer_close(struct tokenizer *t) {
  if (!t) return;
  for (size_t i = 0; i < t->n_splits; i++) splitter_close(&t->splits[i]);
  buffer_free(&t->pool);
  free(t->texts);
  free(t->special);
  free(t->by_bytes.slots);
  free(t->added_by_bytes.slots);
  free(t->merges.slots);
  free(t->added);
  free(t);
}

/* One call of tokenizer_encode. */
struct encoding {
  const struct tokenizer *t;
  struct bpe_scratch scratch;
  struct id_list out;
};

static sluice_status encode_piece(void *ctx, const char *piece, size_t len, struct sluice_error *err) {
  struct encoding *e = ctx;
  return bpe_encode(e->t, piece, len, &e->scratch, &e->out, err);
}

/* The longest added token at the front of text; -1 when there is none. Special ones only count when the caller asks. */
static int32_t added_at(const struct tokenizer *t, const char *text, size_t len, bool specials) {
  unsigned char first = (unsigned char)text[0];
  for (uint32_t i = t->added_from[first]; i < t->added_from[first + 1]; i++) {
    if (t->added[i].special && !specials) continue;
    struct token_text token = t->texts[t->added[i].id];
    if (token.len <= len && memcmp(t->pool.ptr + token.start, text, token.len) == 0) return t->added[i].id;
  }
  return -1;
}

static sluice_status encode_text(struct encoding *e, struct slice text, bool specials, struct sluice_error *err) {
  const struct tokenizer *t = e->t;
  size_t plain = 0; /* where the text since the last added token starts */
  for (size_t i = 0; i < text.len && t->n_added > 0;) {
    int32_t id = added_at(t, text.ptr + i, text.len - i, specials);
    if (id < 0) {
      i++;
      continue;
    }
    struct slice before = {text.ptr + plain, i - plain};
    sluice_status st = split_text(t->splits, t->n_splits, before, encode_piece, e, err);
    if (!st) st = id_list_push(&e->out, id, err);
    if (st) return st;
    i += t->texts[id].len;
    plain = i;
  }
  struct slice rest = {text.ptr + plain, text.len - plain};
  return split_text(t->splits, t->n_splits, rest, encode_piece, e, err);
}

sluice_status tokenizer_encode(const struct tokenizer *t, struct slice text, unsigned flags, int32_t **ids, size_t *n,
                               struct sluice_error *err) {
  struct encoding e = {.t = t, .out = {*ids, *n, *n}};
  sluice_status st = encode_text(&e, text, (flags & TOKENIZE_SPECIALS) != 0, err);
  bpe_scratch_free(&e.scratch);
  *ids = e.out.ids; /* also on failure: the old block may have moved */
  if (!st) *n = e.out.n;
  return st;
}

struct slice tokenizer_bytes(const struct tokenizer *t, int32_t id) {
  if (id < 0 || id >= t->size || t->texts[id].len == 0) return (struct slice){"", 0};
  return (struct slice){t->pool.ptr + t->texts[id].start, t->texts[id].len};
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id) {
  return id >= 0 && id < t->size && t->special[id];
}

int32_t tokenizer_find(const struct tokenizer *t, const char *token) {
  int32_t id = bytes_map_get(t, &t->added_by_bytes, token, strlen(token));
  return id >= 0 ? id : bytes_map_get(t, &t->by_bytes, token, strlen(token));
}

int tokenizer_size(const struct tokenizer *t) {
  return t->size;
}

bool tokenizer_wants_bos(const struct tokenizer *t) {
  return t->wants_bos;
}

const char *tokenizer_hash(const struct tokenizer *t) {
  return t->hash;
}
