/* The vocabulary of a GGUF file: tokenizer.ggml.model says "gpt2" (byte-level BPE, its splitting pattern only named by
 * tokenizer.ggml.pre) or "llama" (SentencePiece's BPE by scores). */
#include <stdlib.h>
#include <string.h>

#include "engine/model/gguf.h"
#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/pieces.h"

struct vocabulary {
  struct tokenizer *t;
  const struct gguf *g;
  const char *path;
  struct pieces pieces;
};

static sluice_status read_types(struct vocabulary *v, struct sluice_error *err) {
  struct gguf_array a;
  sluice_status st = gguf_array(v->g, "tokenizer.ggml.token_type", GGUF_WHOLES, &a, err);
  if (st) return st;
  if (a.n && a.n != (uint64_t)v->t->size)
    return sluice_fail(err, SLUICE_INPUT, "%s: key tokenizer.ggml.token_type: %llu entries for %d tokens", v->path,
                       (unsigned long long)a.n, v->t->size);
  for (int i = 0; a.n > 0; i++) {
    const int64_t type = gguf_next_whole(&a);
    v->pieces.types[i] = type >= PIECE_NORMAL && type <= PIECE_BYTE ? (unsigned char)type : PIECE_UNUSED;
  }
  return SLUICE_OK;
}

static sluice_status read_scores(struct vocabulary *v, struct sluice_error *err) {
  struct gguf_array a;
  struct tokenizer *t = v->t;
  sluice_status st = gguf_array(v->g, "tokenizer.ggml.scores", GGUF_REALS, &a, err);
  if (st) return st;
  if (a.n != (uint64_t)t->size)
    return sluice_fail(err, SLUICE_INPUT, "%s: key tokenizer.ggml.scores: %llu entries for %d tokens", v->path,
                       (unsigned long long)a.n, t->size);
  t->scores = calloc((size_t)t->size, sizeof *t->scores);
  if (!t->scores) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %d scores", v->path, t->size);
  for (int i = 0; i < t->size; i++) {
    const double score = gguf_next_real(&a);
    if (!(score == score))
      return sluice_fail(err, SLUICE_INPUT, "%s: key tokenizer.ggml.scores[%d] is no number", v->path, i);
    t->scores[i] = (float)score;
  }
  return SLUICE_OK;
}

static sluice_status read_merges(struct vocabulary *v, struct sluice_error *err) {
  struct gguf_array a;
  struct buffer raw;
  sluice_status st = gguf_array(v->g, "tokenizer.ggml.merges", GGUF_STRINGS, &a, err);
  if (!st && (a.n == 0 || a.n > TOKENIZER_MAX_IDS * 4u))
    st =
        sluice_fail(err, SLUICE_INPUT, "%s: key tokenizer.ggml.merges: %llu entries", v->path, (unsigned long long)a.n);
  if (!st) st = merge_map_init(&v->t->merges, (size_t)a.n, err);
  buffer_init(&raw, TOKENIZER_MAX_FILE);
  for (int32_t rank = 0; !st && a.n > 0; rank++) {
    const struct slice m = gguf_next_string(&a);
    const char *space = m.len > 2 ? memchr(m.ptr + 1, ' ', m.len - 1) : NULL;
    if (!space || space == m.ptr + m.len - 1) {
      st = sluice_fail(err, SLUICE_INPUT, "%s: key tokenizer.ggml.merges[%d]: not \"a b\"", v->path, rank);
      break;
    }
    const struct slice left = {m.ptr, (size_t)(space - m.ptr)}, right = {space + 1, m.len - left.len - 1};
    st = vocabulary_merge(v->t, v->path, "tokenizer.ggml.merges", left, right, rank, &raw, err);
  }
  buffer_free(&raw);
  return st;
}

/* A file without a name for its pattern: GPT-NeoX's own is known, for the others llama.cpp's default stands. */
static sluice_status read_pattern(struct vocabulary *v, struct sluice_error *err) {
  static const char key[] = "tokenizer.ggml.pre";
  struct slice name, family;
  sluice_status st = gguf_string(v->g, key, &name, err);
  if (!st) st = gguf_string(v->g, "general.architecture", &family, err);
  if (st) return st;
  if (!name.ptr) name = slice_of(family.ptr && slice_is(family, "gptneox") ? "gpt-neox" : "default");
  const struct pre_tokenizer_name *pre = pre_tokenizer_named(name);
  if (!pre)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: key %s: the pattern \"%.*s\" is not known", v->path, key,
                       (int)(name.len < 80 ? name.len : 80), name.ptr);
  for (size_t i = 0; !st && i < sizeof pre->patterns / sizeof *pre->patterns && pre->patterns[i]; i++)
    st = pre_tokenizer_add(v->t, v->path, key, pre->patterns[i], false, err);
  if (!st && (pre->flags & PRE_NFC)) st = nfc_open("NFC", &v->t->nfc, err);
  v->t->ignore_merges = (pre->flags & PRE_WHOLE_PIECES) != 0;
  v->t->wants_bos = (pre->flags & PRE_BOS) != 0;
  return st;
}

static sluice_status read_model(struct vocabulary *v, bool *none, struct sluice_error *err) {
  struct slice model;
  sluice_status st = gguf_string(v->g, "tokenizer.ggml.model", &model, err);
  if (st) return st;
  *none = !model.ptr || slice_is(model, "none") || slice_is(model, "no_vocab");
  if (*none) return SLUICE_OK;
  v->t->kind = slice_is(model, "llama") ? VOCABULARY_SCORES : VOCABULARY_BYTE_LEVEL;
  if (slice_is(model, "llama") || slice_is(model, "gpt2")) return SLUICE_OK;
  return sluice_fail(err, SLUICE_UNSUPPORTED,
                     "%s: key tokenizer.ggml.model: \"%.*s\" is not done here; gpt2 and llama are", v->path,
                     (int)(model.len < 40 ? model.len : 40), model.ptr);
}

static sluice_status read_spellings(struct vocabulary *v, struct sluice_error *err) {
  struct gguf_array a;
  sluice_status st = gguf_array(v->g, "tokenizer.ggml.tokens", GGUF_STRINGS, &a, err);
  if (st) return st;
  if (a.n == 0 || a.n > TOKENIZER_MAX_IDS)
    return sluice_fail(err, a.n ? SLUICE_LIMIT : SLUICE_INPUT,
                       "%s: key tokenizer.ggml.tokens: %llu tokens; 1 to %d are read", v->path, (unsigned long long)a.n,
                       (int)TOKENIZER_MAX_IDS);
  const int size = (int)a.n;
  if ((st = pieces_room(&v->pieces, size, err))) return st;
  for (int i = 0; i < size; i++) v->pieces.spellings[i] = gguf_next_string(&a);
  st = read_types(v, err);
  size_t added = 0;
  for (int i = 0; i < size; i++) added += piece_is_added(v->pieces.types[i]);
  return st ? st : vocabulary_begin(v->t, v->path, size, added, err);
}

/* Of everything that ids depend on, so that two files with one vocabulary have one hash. */
static sluice_status compute_hash(struct vocabulary *v, struct sluice_error *err) {
  unsigned char digest[SHA256_BYTES];
  struct slice pre;
  struct gguf_array merges;
  sluice_status st = gguf_string(v->g, "tokenizer.ggml.pre", &pre, err);
  if (!st) st = gguf_array(v->g, "tokenizer.ggml.merges", GGUF_STRINGS, &merges, err);
  if (st) return st;
  struct sha256_stream *s = sha256_begin();
  if (!s) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", v->path);
  const int settings[] = {(int)v->t->kind, (int)v->t->dummy, v->t->wants_bos};
  sha256_add(s, settings, sizeof settings);
  if (pre.ptr) sha256_add(s, pre.ptr, pre.len);
  for (int i = 0; i < v->t->size; i++) {
    sha256_add(s, &v->pieces.spellings[i].len, sizeof v->pieces.spellings[i].len);
    sha256_add(s, v->pieces.spellings[i].ptr, v->pieces.spellings[i].len);
  }
  sha256_add(s, v->pieces.types, (size_t)v->t->size);
  if (v->t->scores) sha256_add(s, v->t->scores, (size_t)v->t->size * sizeof *v->t->scores);
  while (merges.n > 0) {
    const struct slice m = gguf_next_string(&merges);
    sha256_add(s, m.ptr, m.len + 0);
    sha256_add(s, "\n", 1);
  }
  sha256_end(s, digest);
  hex_of(digest, sizeof digest, v->t->hash);
  return SLUICE_OK;
}

static sluice_status read_sentence_piece(struct vocabulary *v, struct sluice_error *err) {
  bool prefix = true;
  int64_t unknown = -1;
  sluice_status st = read_scores(v, err);
  if (!st) st = gguf_flag(v->g, "tokenizer.ggml.add_space_prefix", true, &prefix, err);
  if (!st) st = gguf_whole(v->g, "tokenizer.ggml.unknown_token_id", false, 0, 0, v->t->size - 1, &unknown, err);
  v->t->dummy = prefix ? DUMMY_EVERY : DUMMY_NONE;
  v->t->wants_bos = true;
  if (!st) st = pieces_put(&v->pieces, err);
  v->t->unknown = (int32_t)unknown;
  return st;
}

static sluice_status read_all(struct vocabulary *v, struct sluice_error *err) {
  struct slice family;
  sluice_status st = gguf_string(v->g, "general.architecture", &family, err);
  v->pieces.strips = !st && family.ptr && slice_is(family, "phi3");
  if (!st) st = read_spellings(v, err);
  if (st) return st;
  if (v->t->kind == VOCABULARY_SCORES) {
    st = read_sentence_piece(v, err);
  } else {
    st = read_pattern(v, err);
    if (!st) st = pieces_put(&v->pieces, err);
    if (!st) st = read_merges(v, err);
  }
  if (!st) st = gguf_flag(v->g, "tokenizer.ggml.add_bos_token", v->t->wants_bos, &v->t->wants_bos, err);
  return st ? st : compute_hash(v, err);
}

sluice_status tokenizer_from_gguf(const struct gguf *g, struct tokenizer **out, struct sluice_error *err) {
  struct vocabulary v = {.g = g, .path = gguf_path(g), .t = calloc(1, sizeof *v.t)};
  v.pieces = (struct pieces){.t = v.t, .path = v.path};
  bool none = false;
  *out = NULL;
  if (!v.t) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", v.path);
  buffer_init(&v.t->pool, TOKENIZER_MAX_FILE);
  sluice_status st = read_model(&v, &none, err);
  if (!st && !none) st = read_all(&v, err);
  pieces_free(&v.pieces);
  if (st || none) {
    tokenizer_close(v.t);
    return st;
  }
  *out = v.t;
  return SLUICE_OK;
}
