#include "engine/tokenizer/normalize.h"

#include <limits.h>
#include <stdlib.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

/* No character below U+0300, whose first byte is 0xcc, composes with anything or decomposes in NFC. */
static bool is_inert(struct slice text) {
  for (size_t i = 0; i < text.len; i++)
    if ((unsigned char)text.ptr[i] >= 0xcc) return false;
  return true;
}

static sluice_status failed(UErrorCode code, struct sluice_error *err) {
  if (code == U_MEMORY_ALLOCATION_ERROR) return sluice_fail(err, SLUICE_NOMEM, "out of memory to normalize text");
  return sluice_fail(err, SLUICE_INTERNAL, "ICU does not normalize a text: %s", u_errorName(code));
}

/* Valid UTF-8. Composing never lengthens UTF-16 beyond three units for one (UAX 15, table 5). */
static sluice_status normalize_valid(struct slice text, struct buffer *out, struct sluice_error *err) {
  UErrorCode code = U_ZERO_ERROR;
  int32_t wide = 0, n = 0, bytes = 0;
  if (text.len > INT_MAX / 9)
    return sluice_fail(err, SLUICE_LIMIT, "a text of %zu bytes is too long to normalize", text.len);
  const size_t room = text.len + 1;
  UChar *from = malloc(room * sizeof *from), *to = malloc(3 * room * sizeof *to);
  char *utf8 = malloc(9 * room);
  if (!from || !to || !utf8) code = U_MEMORY_ALLOCATION_ERROR;
  const UNormalizer2 *nfc = unorm2_getNFCInstance(&code);
  if (U_SUCCESS(code)) u_strFromUTF8(from, (int32_t)room, &wide, text.ptr, (int32_t)text.len, &code);
  if (U_SUCCESS(code)) n = unorm2_normalize(nfc, from, wide, to, (int32_t)(3 * room), &code);
  if (U_SUCCESS(code)) u_strToUTF8(utf8, (int32_t)(9 * room), &bytes, to, n, &code);
  sluice_status st = U_SUCCESS(code) ? buffer_append(out, utf8, (size_t)bytes, err) : failed(code, err);
  free(from), free(to), free(utf8);
  return st;
}

sluice_status normalize_nfc(struct slice text, struct buffer *out, struct sluice_error *err) {
  if (is_inert(text)) return buffer_append(out, text.ptr, text.len, err);
  sluice_status st = SLUICE_OK;
  while (!st && text.len > 0) {
    size_t bad, valid = utf8_valid_prefix(text.ptr, text.len, &bad);
    if (valid > 0) st = normalize_valid((struct slice){text.ptr, valid}, out, err);
    const size_t skip = valid < text.len ? 1 : 0;
    if (!st && skip) st = buffer_append(out, text.ptr + valid, 1, err);
    text.ptr += valid + skip;
    text.len -= valid + skip;
  }
  return st;
}
