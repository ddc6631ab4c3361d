#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/tokenizer.h"

void tokenizer_close(struct tokenizer *t) {
  if (!t) return;
  for (size_t i = 0; i < t->n_splits; i++) splitter_close(&t->splits[i]);
  buffer_free(&t->pool);
  nfc_close(t->nfc);
  free(t->texts);
  free(t->special);
  free(t->scores);
  free(t->by_bytes.slots);
  free(t->added_by_bytes.slots);
  free(t->merges.slots);
  free(t->added);
  free(t);
}

/* One call of tokenizer_encode. */
struct encoding {
  const struct tokenizer *t;
  unsigned flags;
  bool begun; /* something of this text has become tokens */
  struct merge_list scratch;
  struct id_list out;
};

static sluice_status encode_piece(void *ctx, const char *piece, size_t len, struct sluice_error *err) {
  struct encoding *e = ctx;
  if (e->t->kind == VOCABULARY_SCORES) return score_encode(e->t, piece, len, &e->scratch, &e->out, err);
  return bpe_encode(e->t, piece, len, &e->scratch, &e->out, err);
}

/* ---- text between added tokens ----------------------------------------------------------------------------------- */

#define SPACE_MARK "\xe2\x96\x81" /* U+2581: in these vocabularies it is a space */

/* Whether a space is put before this stretch of text. */
static bool wants_dummy(const struct encoding *e, struct slice text) {
  const struct tokenizer *t = e->t;
  const bool begins = text.len > 0 && (text.ptr[0] == ' ' || (text.len >= 3 && memcmp(text.ptr, SPACE_MARK, 3) == 0));
  if (text.len == 0 || (t->dummy_unless_space && begins)) return false;
  if (e->begun) return t->dummy == DUMMY_EVERY; /* what came before it in this call is an added token */
  if (e->flags & TOKENIZE_CONTINUES) return false;
  return t->dummy == DUMMY_EVERY || (t->dummy == DUMMY_FIRST && !(e->flags & TOKENIZE_AFTER_SPECIAL));
}

sluice_status spell_spaces(struct slice text, bool dummy, struct buffer *out, struct sluice_error *err) {
  sluice_status st = dummy ? buffer_append(out, " ", 1, err) : SLUICE_OK;
  for (const char *mark; !st && (mark = memmem(text.ptr, text.len, SPACE_MARK, 3));) {
    const size_t before = (size_t)(mark - text.ptr);
    st = buffer_append(out, text.ptr, before, err);
    if (!st) st = buffer_append(out, " ", 1, err);
    text.ptr += before + 3;
    text.len -= before + 3;
  }
  return st ? st : buffer_append(out, text.ptr, text.len, err);
}

/* Text as the vocabulary spells it. */
static sluice_status encode_spelled(struct encoding *e, struct slice text, struct sluice_error *err) {
  const struct tokenizer *t = e->t;
  if (text.len == 0) return SLUICE_OK;
  if (t->n_splits > 0 || t->kind == VOCABULARY_BYTE_LEVEL)
    return split_text(t->splits, t->n_splits, text, encode_piece, e, err);
  return encode_piece(e, text.ptr, text.len, err);
}

static sluice_status encode_stretch(struct encoding *e, struct slice text, struct sluice_error *err) {
  struct buffer spelled;
  if (text.len == 0 || e->t->kind == VOCABULARY_BYTE_LEVEL) return encode_spelled(e, text, err);
  buffer_init(&spelled, 0);
  sluice_status st = spell_spaces(text, wants_dummy(e, text), &spelled, err);
  if (!st) st = encode_spelled(e, (struct slice){spelled.ptr, spelled.len}, err);
  buffer_free(&spelled);
  return st;
}

/* ---- added tokens ------------------------------------------------------------------------------------------------ */

typedef sluice_status (*rest_fn)(struct encoding *e, struct slice text, struct sluice_error *err);

/* Text cut at added tokens, with `rest` for what lies between them. */
static sluice_status encode_cut(struct encoding *e, struct slice text, bool normalized, rest_fn rest,
                                struct sluice_error *err) {
  const bool specials = (e->flags & TOKENIZE_SPECIALS) != 0;
  size_t plain = 0; /* where the text since the last added token starts */
  struct added_match m = {0};
  while (added_next(e->t, text, m.resume, plain, specials, normalized, &m)) {
    sluice_status st = SLUICE_OK;
    if (m.start > plain) st = rest(e, (struct slice){text.ptr + plain, m.start - plain}, err);
    if (!st) st = id_list_push(&e->out, m.token->id, err);
    if (st) return st;
    e->begun = true;
    plain = m.end;
  }
  return plain < text.len ? rest(e, (struct slice){text.ptr + plain, text.len - plain}, err) : SLUICE_OK;
}

/* First at tokens that stand in the text as it is, then, normalized, at the others. */
static sluice_status encode_normalized(struct encoding *e, struct slice text, struct sluice_error *err) {
  const struct tokenizer *t = e->t;
  struct buffer done;
  if (!t->nfc && !t->spelled_early) return encode_cut(e, text, true, encode_stretch, err);
  buffer_init(&done, 0);
  sluice_status st =
      t->nfc ? nfc_append(t->nfc, text, &done, err) : spell_spaces(text, wants_dummy(e, text), &done, err);
  if (!st) st = encode_cut(e, (struct slice){done.ptr, done.len}, true, t->nfc ? encode_stretch : encode_spelled, err);
  buffer_free(&done);
  return st;
}

sluice_status tokenizer_encode(const struct tokenizer *t, struct slice text, unsigned flags, int32_t **ids, size_t *n,
                               struct sluice_error *err) {
  struct encoding e = {.t = t, .flags = flags, .out = {*ids, *n, *n}};
  sluice_status st = encode_cut(&e, text, false, encode_normalized, err);
  merge_list_free(&e.scratch);
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

bool tokenizer_puts_space(const struct tokenizer *t) {
  return t->dummy != DUMMY_NONE;
}

bool tokenizer_wants_bos(const struct tokenizer *t) {
  return t->wants_bos;
}

const char *tokenizer_hash(const struct tokenizer *t) {
  return t->hash;
}
