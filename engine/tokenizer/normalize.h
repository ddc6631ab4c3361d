/* engine/tokenizer/normalize: Unicode's normalization forms, by ICU, as the Hugging Face tokenizers library has them.
 */
#ifndef SLUICE_ENGINE_TOKENIZER_NORMALIZE_H
#define SLUICE_ENGINE_TOKENIZER_NORMALIZE_H

#include "base/base.h"

/* Read-only after opening, so threads may share it. */
struct nfc;
/* name: "NFC", "NFD", "NFKC" or "NFKD". */
sluice_status nfc_open(const char *name, struct nfc **out, struct sluice_error *err);
void nfc_close(struct nfc *n); /* NULL is taken */
/* Appends text in the form to out. Bytes that are not valid UTF-8 stay as they are, and cut the text around them. */
sluice_status nfc_append(const struct nfc *n, struct slice text, struct buffer *out, struct sluice_error *err);

#endif
