/* engine/tokenizer: byte-level BPE. Private to engine/; the public face is tokenizer_* in engine/engine.h. */
#ifndef SLUICE_ENGINE_TOKENIZER_H
#define SLUICE_ENGINE_TOKENIZER_H

#include "engine/engine.h"
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
  bool special;
};

struct tokenizer {
  struct buffer pool; /* the raw bytes of all tokens */
  struct token_text *texts;
  bool *special;
  int size;                        /* largest id + 1 */
  struct bytes_map by_bytes;       /* model.vocab */
  struct bytes_map added_by_bytes; /* added_tokens: "é" may be one, while its two bytes are another token's */
  struct merge_map merges;
  int32_t byte_id[256]; /* -1: the vocabulary does not have this byte */
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

/* ---- loading (load.c, pre_tokenizer.c) ----------------------------------------------------------------------- */
struct cJSON;
sluice_status tokenizer_load(struct tokenizer *t, const char *path, const struct cJSON *root, struct sluice_error *err);
sluice_status pre_tokenizer_load(struct tokenizer *t, const char *path, const struct cJSON *root,
                                 struct sluice_error *err);

/* ---- merging (bpe.c) ----------------------------------------------------------------------------------------- */
struct id_list {
  int32_t *ids;
  size_t n, cap;
};
sluice_status id_list_push(struct id_list *list, int32_t id, struct sluice_error *err);

/* Memory that one call of tokenizer_encode reuses from piece to piece. */
struct bpe_scratch {
  struct bpe_node *nodes;
  struct bpe_candidate *heap;
  size_t n_nodes, n_heap;
};
void bpe_scratch_free(struct bpe_scratch *s);
/* Appends the ids of one piece: the lowest rank merges first, of equal ranks the leftmost. */
sluice_status bpe_encode(const struct tokenizer *t, const char *piece, size_t len, struct bpe_scratch *scratch,
                         struct id_list *out, struct sluice_error *err);

#endif
