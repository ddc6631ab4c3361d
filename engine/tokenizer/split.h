/* engine/tokenizer/split: cutting text into pieces with a PCRE2 pattern, before byte-pair merging. */
#ifndef SLUICE_ENGINE_TOKENIZER_SPLIT_H
#define SLUICE_ENGINE_TOKENIZER_SPLIT_H

#include "base/base.h"

/* GPT-2's own pattern: what a ByteLevel pre-tokenizer with use_regex means. */
#define SPLIT_PATTERN_GPT2 "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* The house's: GPT-2's with numbers cut into at most two digits, so that a small vocabulary can learn them. */
#define SPLIT_PATTERN_HOUSE "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}{1,2}| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

struct splitter {
  void *code; /* pcre2_code; read-only after opening, so threads may share it */
};
/* `where` names the file and key in the error. literal: the pattern is plain text; else it is one of Oniguruma's. */
sluice_status splitter_open(struct splitter *s, const char *where, const char *pattern, bool literal,
                            struct sluice_error *err);
void splitter_close(struct splitter *s);

/* Appends to out, with a 0 behind it, what PCRE2 reads as Oniguruma reads the pattern (pattern.c). */
sluice_status pattern_translate(const char *where, const char *pattern, struct buffer *out, struct sluice_error *err);

typedef sluice_status (*split_fn)(void *ctx, const char *piece, size_t len, struct sluice_error *err);
/* Cuts text by the first splitter, each piece by the second, and so on; calls fn on every piece, in order. Each match
 * and each gap between matches is a piece of its own, so the pieces joined are the text. Bytes that are not valid UTF-8
 * match nothing: a run of them is one piece. Stops at the first error. */
sluice_status split_text(const struct splitter *splits, size_t n, struct slice text, split_fn fn, void *ctx,
                         struct sluice_error *err);

#endif
