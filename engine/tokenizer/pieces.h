/* engine/tokenizer/pieces: a vocabulary as a list of pieces. Private to engine/tokenizer. */
#ifndef SLUICE_ENGINE_TOKENIZER_PIECES_H
#define SLUICE_ENGINE_TOKENIZER_PIECES_H

#include "engine/tokenizer/tokenizer.h"

/* sentencepiece_model.proto's numbers, which GGUF's tokenizer.ggml.token_type has too. */
enum { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE };

struct pieces {
  struct tokenizer *t;
  const char *path;        /* for messages */
  struct slice *spellings; /* [t->size], in the file's bytes */
  unsigned char *types;    /* [t->size] */
  bool strips;             /* Phi-3's special tokens take the white space behind them, which GGUF has no key for */
};
/* Makes room for `size` pieces, normal ones without a spelling, and says so in t. */
sluice_status pieces_room(struct pieces *p, int size, struct sluice_error *err);
void pieces_free(struct pieces *p);
/* Whether pieces of this type are looked for in a text as they stand. */
bool piece_is_added(unsigned char type);
/* Puts all of them into the tokenizer, which vocabulary_begin has prepared. */
sluice_status pieces_put(struct pieces *p, struct sluice_error *err);

#endif
