/* engine/tokenizer: BPE over bytes, and over characters as SentencePiece has it. Private to engine/; the public face is
 * tokenizer_* in engine/engine.h. */
#ifndef SLUICE_ENGINE_TOKENIZER_H
#define SLUICE_ENGINE_TOKENIZER_H

#include "engine/engine.h"
#include "engine/tokenizer/merge.h"
#include "engine/tokenizer/split.h"

enum {
  TOKENIZER_MAX_FILE = 64 << 20,  /* bytes of tokenizer.json; the largest published ones have 33 MB */
  TOKENIZER_MAX_IDS = 1 << 21,    /* largest id + 1; the largest published vocabularies have 262,144 */
  TOKENIZER_MAX_PIECE = 64 << 20, /* bytes of one piece between two cuts of the splitting pattern */
  TOKENIZER_MAX_SPLITS = 16       /* steps of a pre_tokenizer Sequence */
};

/* ---- GPT-2's byte-to-unicode table (byte_level.c): every byte has a printable character ------------------------ */
uint32_t byte_level_codepoint(unsigned char byte);
/* Appends the printable form of raw bytes, and back. byte_level_decode returns false, leaving out as it was, when the
 * text holds a character that stands for no byte (an added token's own text). */
sluice_status byte_level_encode(const char *raw, size_t len, struct buffer *out, struct sluice_error *err);
sluice_status byte_level_decode(const char *text, size_t len, struct buffer *out, bool *mapped,
                                struct sluice_error *err);

/* ---- maps (token_map.c): open addressing, a power of two of slots, at most half full ---------------------------- */
struct merge {
  uint64_t pair; /* left id << 32 | right id */
  int32_t rank, id;
};
struct merge_map {
  struct merge *slots; /* rank -1: empty */
  size_t mask, used;
};
sluice_status merge_map_init(struct merge_map *m, size_t expected, struct sluice_error *err);
void merge_map_put(struct merge_map *m, int32_t left, int32_t right, int32_t rank, int32_t id); /* the last one wins */
const struct merge *merge_map_get(const struct merge_map *m, int32_t left, int32_t right); /* NULL: no such merge */

struct bytes_map {
  int32_t *slots; /* ids; -1: empty */
  size_t mask;
};

struct token_text {
  uint32_t start, len; /* in tokenizer.pool; len 0: no such id */
};

struct added_token {
  int32_t id;
  struct token_text pattern; /* what is looked for; normalized, if the token is */
  bool special;
  bool normalized;     /* looked for after the text's normalization, among what the others leave */
  bool lstrip, rstrip; /* takes the white space before it, behind it */
  bool single_word;    /* only where no letter, digit or _ stands next to it */
};

/* What a piece begins as, before anything merges. */
enum vocabulary_kind {
  VOCABULARY_BYTE_LEVEL, /* bytes, each spelled as a printable character (GPT-2) */
  VOCABULARY_MERGES,     /* characters, spaces spelled U+2581; what is not in the vocabulary falls back to bytes */
  VOCABULARY_SCORES      /* the same, and the pair whose token scores highest merges (SentencePiece's own rule) */
};
/* SentencePiece puts a space before a text, so that its first word is spelled like any other. */
enum dummy_space {
  DUMMY_NONE,
  DUMMY_FIRST /* at the beginning of the text */,
  DUMMY_EVERY /* behind special tokens too */
};

struct tokenizer {
  enum vocabulary_kind kind;
  enum dummy_space dummy;
  bool dummy_unless_space; /* not where the text begins with one */
  bool spelled_early;      /* spaces are the normalizer's work: normalized added tokens are looked for behind it */
  const char *form;        /* "NFC" and its like: text is normalized first; NULL: it is not */
  struct nfc *nfc;         /* NULL without a form */
  bool byte_fallback;      /* <0x41> stands for a byte */
  bool fuse_unknown;       /* unknown characters in a row are one unknown token */
  float *scores;           /* [size], VOCABULARY_SCORES */
  struct buffer pool;      /* the raw bytes of all tokens */
  struct token_text *texts;
  bool *special;
  int size;                        /* largest id + 1 */
  struct bytes_map by_bytes;       /* model.vocab */
  struct bytes_map added_by_bytes; /* added_tokens: "é" may be one, while its two bytes are another token's */
  struct merge_map merges;
  int32_t byte_id[256]; /* -1: the vocabulary does not have this byte; else its own byte, or the fallback <0x41> */
  int32_t unknown;      /* model.unk_token; -1: none */
  bool wants_bos;       /* tokenizer_wants_bos */
  bool ignore_merges;   /* a whole piece that is in the vocabulary is one token */
  struct splitter splits[TOKENIZER_MAX_SPLITS];
  size_t n_splits;
  struct added_token *added; /* by first byte, then longest first */
  size_t n_added;
  uint32_t added_from[257]; /* those that start with byte b are added[added_from[b] .. added_from[b+1]) */
  char hash[2 * SHA256_BYTES + 1];
};

sluice_status bytes_map_init(struct bytes_map *m, size_t expected, struct sluice_error *err);
void bytes_map_put(const struct tokenizer *t, struct bytes_map *m, int32_t id); /* the first of equal texts stays */
int32_t bytes_map_get(const struct tokenizer *t, const struct bytes_map *m, const char *bytes, size_t len); /* -1 */

/* ---- vocabulary.c: what all files fill ------------------------------------------------------------------------- */
sluice_status vocabulary_begin(struct tokenizer *t, const char *where, int size, size_t n_added,
                               struct sluice_error *err);
/* Appends the raw bytes that a spelling of the vocabulary means. *mapped: false when it holds what no spelling has, and
 * nothing was appended. */
sluice_status vocabulary_decode(const struct tokenizer *t, const char *spelling, size_t len, struct buffer *out,
                                bool *mapped, struct sluice_error *err);
/* "<0x41>" -> 0x41; -1: another spelling. */
int vocabulary_byte(const char *spelling, size_t len);
/* One merge of a file's list, by its spellings. `list` names the list in messages. */
sluice_status vocabulary_merge(struct tokenizer *t, const char *where, const char *list, struct slice left,
                               struct slice right, int32_t rank, struct buffer *raw, struct sluice_error *err);
/* Fills byte_id after the vocabulary; a byte may not be a special token. */
sluice_status vocabulary_bytes(struct tokenizer *t, const char *where, struct sluice_error *err);
/* Puts an added token into the list, to be looked for as texts[token.id] has it (normalized, if it is);
 * vocabulary_sort_added when all are there. */
sluice_status vocabulary_add(struct tokenizer *t, struct added_token token, struct sluice_error *err);
sluice_status vocabulary_sort_added(struct tokenizer *t, const char *where, struct sluice_error *err);

/* ---- added tokens inside a text (added.c) ---------------------------------------------------------------------- */
struct added_match {
  const struct added_token *token;
  size_t start, end; /* with the white space that the token takes */
  size_t resume;     /* where the next one is looked for */
};
/* The next token that is looked for before or after normalization, from `from` on, taking no white space before
 * `floor`. False: there is none. */
bool added_next(const struct tokenizer *t, struct slice text, size_t from, size_t floor, bool specials, bool normalized,
                struct added_match *m);
/* Appends text with a space for each U+2581, and one more in front with `dummy`. */
sluice_status spell_spaces(struct slice text, bool dummy, struct buffer *out, struct sluice_error *err);

/* ---- loading (load.c, normalizer.c, pre_tokenizer.c, load_gguf.c) ----------------------------------------------- */
struct cJSON;
sluice_status tokenizer_load(struct tokenizer *t, const char *path, const struct cJSON *root, struct sluice_error *err);
sluice_status normalizer_load(struct tokenizer *t, const char *path, const struct cJSON *root,
                              struct sluice_error *err);
sluice_status pre_tokenizer_load(struct tokenizer *t, const char *path, const struct cJSON *root,
                                 struct sluice_error *err);
sluice_status pre_tokenizer_add(struct tokenizer *t, const char *path, const char *key, const char *pattern,
                                bool literal, struct sluice_error *err);
/* A token that stands beside the vocabulary's own file: tokenizer_config.json's added_tokens_decoder,
 * added_tokens.json. */
struct extra_token {
  int32_t id;
  const char *content;
  bool special, normalized, lstrip, rstrip, single_word;
};
/* The bytes of a tokenizer.model; path for messages. */
sluice_status sentencepiece_load(struct tokenizer *t, const char *path, struct slice bytes,
                                 const struct extra_token *extras, size_t n_extras, struct sluice_error *err);
/* A Hugging Face folder's (folder.c): tokenizer.json, tokenizer.model, vocab.json with merges.txt, or tekken.json, with
 * the tokens that tokenizer_config.json adds. *out is NULL when the folder has none of them. */
sluice_status tokenizer_open_folder(const char *dir, struct tokenizer **out, struct sluice_error *err);
struct gguf;
/* *out is NULL when the file says that it has no vocabulary. */
sluice_status tokenizer_from_gguf(const struct gguf *g, struct tokenizer **out, struct sluice_error *err);

enum { PRE_NFC = 1, PRE_WHOLE_PIECES = 2 /* ignore_merges */, PRE_BOS = 4 };
struct pre_tokenizer_name {
  const char *name;
  const char *patterns[6]; /* one after the other; NULL after the last */
  unsigned flags;
};
const struct pre_tokenizer_name *pre_tokenizer_named(struct slice name); /* NULL: unknown */

/* ---- merging (bpe.c) ----------------------------------------------------------------------------------------- */
struct id_list {
  int32_t *ids;
  size_t n, cap;
};
sluice_status id_list_push(struct id_list *list, int32_t id, struct sluice_error *err);

/* Appends the ids that stand for bytes without a token of their own: their fallbacks, else the unknown token. */
sluice_status bpe_fall_back(const struct tokenizer *t, const char *bytes, size_t len, struct id_list *out,
                            struct sluice_error *err);
/* Length of the character at the front, 1 for an invalid byte. */
size_t bpe_character(const char *text, size_t len);
/* VOCABULARY_SCORES, scores.c: the pair whose token scores highest merges first, of equal scores the leftmost. */
sluice_status score_encode(const struct tokenizer *t, const char *piece, size_t len, struct merge_list *scratch,
                           struct id_list *out, struct sluice_error *err);
/* Appends the ids of one piece: the lowest rank merges first, of equal ranks the leftmost. */
sluice_status bpe_encode(const struct tokenizer *t, const char *piece, size_t len, struct merge_list *scratch,
                         struct id_list *out, struct sluice_error *err);

#endif
