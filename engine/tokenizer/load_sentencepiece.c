/* tokenizer.model as SentencePiece writes it: a protocol buffer of pieces, of how they were trained and of how text is
 * normalized. Source: sentencepiece_model.proto (google/sentencepiece); the wire format: protobuf.dev, "Encoding". What
 * would change ids and is not done here is refused by the name of its member. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/pieces.h"

enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

/* One field of a message: its number, and its value by type. */
struct field {
  uint32_t number, type;
  uint64_t value; /* a varint, or four or eight bytes as they lie */
  struct slice bytes;
};

struct message {
  const char *path, *start; /* of the file, for messages */
  const char *at, *end;
};

static sluice_status cut_short(const struct message *m, struct sluice_error *err) {
  return sluice_fail(err, SLUICE_INPUT,
                     "%s: byte %zu: no SentencePiece model goes on so; the file is cut short or is another's", m->path,
                     (size_t)(m->at - m->start));
}

static sluice_status take_varint(struct message *m, uint64_t *out, struct sluice_error *err) {
  *out = 0;
  for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
    const unsigned char byte = (unsigned char)*m->at++;
    *out |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return SLUICE_OK;
  }
  return cut_short(m, err);
}

static sluice_status take_field(struct message *m, struct field *f, struct sluice_error *err) {
  uint64_t key = 0, n = 0;
  *f = (struct field){0};
  sluice_status st = take_varint(m, &key, err);
  if (st) return st;
  f->number = (uint32_t)(key >> 3);
  f->type = (uint32_t)(key & 7);
  if (f->type == WIRE_VARINT) return take_varint(m, &f->value, err);
  if (f->type == WIRE_BYTES)
    st = take_varint(m, &n, err);
  else
    n = f->type == WIRE_64 ? 8 : f->type == WIRE_32 ? 4 : UINT64_MAX;
  if (st) return st;
  if (n > (uint64_t)(m->end - m->at)) return cut_short(m, err);
  if (f->type == WIRE_BYTES)
    f->bytes = (struct slice){m->at, (size_t)n};
  else
    for (uint64_t i = n; i-- > 0;) f->value = f->value << 8 | (unsigned char)m->at[i];
  m->at += n;
  return SLUICE_OK;
}

static struct message inside(const struct message *m, const struct field *f) {
  return (struct message){m->path, m->start, f->bytes.ptr, f->bytes.ptr + f->bytes.len};
}

/* ---- what the file says -------------------------------------------------------------------------------------------
 */

struct settings {
  uint64_t model_type, suffix_spaces;                              /* TrainerSpec */
  uint64_t dummy_prefix, removes_spaces, escapes_spaces, charsmap; /* NormalizerSpec; charsmap: its bytes */
};

static sluice_status read_trainer(struct message m, struct settings *s, struct sluice_error *err) {
  struct field f;
  while (m.at < m.end) {
    const sluice_status st = take_field(&m, &f, err);
    if (st) return st;
    if (f.number == 3) s->model_type = f.value;
    if (f.number == 24) s->suffix_spaces = f.value;
  }
  return SLUICE_OK;
}

static sluice_status read_normalizer(struct message m, struct settings *s, struct sluice_error *err) {
  struct field f;
  while (m.at < m.end) {
    const sluice_status st = take_field(&m, &f, err);
    if (st) return st;
    if (f.number == 2) s->charsmap = f.bytes.len;
    if (f.number == 3) s->dummy_prefix = f.value;
    if (f.number == 4) s->removes_spaces = f.value;
    if (f.number == 5) s->escapes_spaces = f.value;
  }
  return SLUICE_OK;
}

static sluice_status refuse_unknown_work(const char *path, const struct settings *s, struct sluice_error *err) {
  static const char *const types[] = {"?", "unigram", "bpe", "word", "char"};
  const char *what = s->suffix_spaces     ? "trainer_spec.treat_whitespace_as_suffix"
                     : s->charsmap        ? "normalizer_spec.precompiled_charsmap"
                     : s->removes_spaces  ? "normalizer_spec.remove_extra_whitespaces"
                     : !s->escapes_spaces ? "normalizer_spec.escape_whitespaces, which is false,"
                                          : NULL;
  if (s->model_type != 2)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: trainer_spec.model_type: %s is not done here; bpe is", path,
                       types[s->model_type < 5 ? s->model_type : 0]);
  if (what) return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s is not done here", path, what);
  return SLUICE_OK;
}

/* First pass: settings, and how many pieces there are. */
static sluice_status read_settings(struct message m, struct settings *s, int *n, struct sluice_error *err) {
  struct field f;
  *s = (struct settings){.model_type = 1, .dummy_prefix = 1, .removes_spaces = 1, .escapes_spaces = 1};
  for (*n = 0; m.at < m.end;) {
    sluice_status st = take_field(&m, &f, err);
    if (!st && f.number == 2 && f.type == WIRE_BYTES) st = read_trainer(inside(&m, &f), s, err);
    if (!st && f.number == 3 && f.type == WIRE_BYTES) st = read_normalizer(inside(&m, &f), s, err);
    if (st) return st;
    if (f.number == 1 && f.type == WIRE_BYTES && ++*n == TOKENIZER_MAX_IDS)
      return sluice_fail(err, SLUICE_LIMIT, "%s: more than %d pieces", m.path, (int)TOKENIZER_MAX_IDS - 1);
  }
  if (*n == 0) return sluice_fail(err, SLUICE_INPUT, "%s: no pieces; is it a SentencePiece model?", m.path);
  return refuse_unknown_work(m.path, s, err);
}

static sluice_status read_piece(struct message m, struct pieces *p, int id, struct sluice_error *err) {
  struct field f;
  while (m.at < m.end) {
    const sluice_status st = take_field(&m, &f, err);
    if (st) return st;
    const uint32_t bits = (uint32_t)f.value;
    if (f.number == 1) p->spellings[id] = f.bytes;
    if (f.number == 2 && f.type == WIRE_32) memcpy(&p->t->scores[id], &bits, sizeof bits);
    if (f.number == 3)
      p->types[id] = f.value >= PIECE_NORMAL && f.value <= PIECE_BYTE ? (unsigned char)f.value : PIECE_UNUSED;
  }
  const float score = p->t->scores[id];
  if (!(score == score)) return sluice_fail(err, SLUICE_INPUT, "%s: pieces[%d].score is no number", p->path, id);
  return SLUICE_OK;
}

static sluice_status read_pieces(struct message m, struct pieces *p, struct sluice_error *err) {
  struct field f;
  for (int id = 0; m.at < m.end;) {
    sluice_status st = take_field(&m, &f, err);
    if (!st && f.number == 1 && f.type == WIRE_BYTES) st = read_piece(inside(&m, &f), p, id++, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

/* ---- with what stands beside the file -----------------------------------------------------------------------------
 */

static void put_extras(struct pieces *p, const struct extra_token *extras, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const struct slice there = p->spellings[extras[i].id], text = slice_of(extras[i].content);
    if (there.len > 0 && !slice_equal(there, text)) continue; /* the file's own pieces stand */
    p->spellings[extras[i].id] = text;
    if (p->types[extras[i].id] != PIECE_UNKNOWN)
      p->types[extras[i].id] = extras[i].special ? PIECE_CONTROL : PIECE_USER;
  }
}

sluice_status sentencepiece_load(struct tokenizer *t, const char *path, struct slice bytes,
                                 const struct extra_token *extras, size_t n_extras, struct sluice_error *err) {
  const struct message m = {path, bytes.ptr, bytes.ptr, bytes.ptr + bytes.len};
  struct pieces p = {.t = t, .path = path};
  struct settings s;
  int size = 0;
  size_t added = 0;
  buffer_init(&t->pool, TOKENIZER_MAX_FILE);
  sluice_status st = read_settings(m, &s, &size, err);
  for (size_t i = 0; i < n_extras; i++)
    if (extras[i].id >= size) size = extras[i].id + 1;
  if (!st) st = pieces_room(&p, size, err);
  t->kind = VOCABULARY_SCORES;
  t->dummy = s.dummy_prefix ? DUMMY_EVERY : DUMMY_NONE;
  t->wants_bos = true;
  t->scores = calloc((size_t)(size ? size : 1), sizeof *t->scores);
  if (!st && !t->scores) st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %d scores", path, size);
  if (!st) st = read_pieces(m, &p, err);
  if (!st) put_extras(&p, extras, n_extras);
  for (int i = 0; !st && i < size; i++) added += piece_is_added(p.types[i]);
  if (!st) st = vocabulary_begin(t, path, size, added, err);
  for (int i = size; !st && i-- > 0;)
    if (p.types[i] == PIECE_UNKNOWN) t->unknown = i;
  if (!st) st = pieces_put(&p, err);
  pieces_free(&p);
  return st;
}
