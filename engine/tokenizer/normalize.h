/* engine/tokenizer/normalize: Unicode normalization form C, by ICU. */
#ifndef SLUICE_ENGINE_TOKENIZER_NORMALIZE_H
#define SLUICE_ENGINE_TOKENIZER_NORMALIZE_H

#include "base/base.h"

/* Appends text in NFC to out. Bytes that are not valid UTF-8 stay as they are, and cut the text around them. */
sluice_status normalize_nfc(struct slice text, struct buffer *out, struct sluice_error *err);

#endif
