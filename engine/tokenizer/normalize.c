#include "engine/tokenizer/normalize.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/unorm2.h>
#include <unicode/uset.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

/* The library's tables are those of Unicode 9 (its crate unicode-normalization-alignments): a mark that came later
 * neither moves nor composes, and what models were trained on is what counts. */
#define KNOWN "[:age=9.0:]"

struct nfc {
  USet *known;
  UNormalizer2 *form;
  unsigned char inert; /* no character whose bytes are all below is changed by the form */
  int longest;         /* UTF-16 units that one may become (UAX 15, table 5) */
};

static const struct form {
  const char *name;
  const UNormalizer2 *(*instance)(UErrorCode *code);
  unsigned char inert;
  int longest;
} forms[] = {{"NFC", unorm2_getNFCInstance, 0xcc, 3}, /* the first that composes or decomposes is U+0300 */
             {"NFD", unorm2_getNFDInstance, 0x80, 4},
             {"NFKC", unorm2_getNFKCInstance, 0x80, 18},
             {"NFKD", unorm2_getNFKDInstance, 0x80, 18}};

static sluice_status failed(UErrorCode code, struct sluice_error *err) {
  if (code == U_MEMORY_ALLOCATION_ERROR) return sluice_fail(err, SLUICE_NOMEM, "out of memory to normalize text");
  return sluice_fail(err, SLUICE_INTERNAL, "ICU does not normalize a text: %s", u_errorName(code));
}

sluice_status nfc_open(const char *name, struct nfc **out, struct sluice_error *err) {
  const struct form *form = forms;
  while (strcmp(form->name, name) != 0 && form < forms + sizeof forms / sizeof *forms - 1) form++;
  struct nfc *n = calloc(1, sizeof *n);
  UErrorCode code = U_ZERO_ERROR;
  UChar pattern[sizeof KNOWN];
  if (!n) return sluice_fail(err, SLUICE_NOMEM, "out of memory to normalize text");
  n->inert = form->inert;
  n->longest = form->longest;
  u_charsToUChars(KNOWN, pattern, sizeof KNOWN);
  n->known = uset_openPattern(pattern, -1, &code);
  if (U_SUCCESS(code)) uset_freeze(n->known);
  const UNormalizer2 *all = form->instance(&code);
  if (U_SUCCESS(code)) n->form = unorm2_openFiltered(all, n->known, &code);
  if (U_FAILURE(code)) {
    nfc_close(n);
    return failed(code, err);
  }
  *out = n;
  return SLUICE_OK;
}

void nfc_close(struct nfc *n) {
  if (!n) return;
  unorm2_close(n->form);
  uset_close(n->known);
  free(n);
}

static bool is_inert(const struct nfc *n, struct slice text) {
  for (size_t i = 0; i < text.len; i++)
    if ((unsigned char)text.ptr[i] >= n->inert) return false;
  return true;
}

/* ---- marks in a row -----------------------------------------------------------------------------------------------
 * ICU puts each mark into its place among those before it, which takes the square of their number. Marks that stand in
 * order of their class beforehand stay where they are. */

enum { FEW_MARKS = 32 }; /* ICU's own way is as fast below */

/* Well-formed UTF-16, so a high half has its low half behind it. */
static UChar32 next_character(const UChar *text, int32_t *i) {
  const UChar c = text[(*i)++];
  return U16_IS_LEAD(c) ? (UChar32)U16_GET_SUPPLEMENTARY(c, text[(*i)++]) : c;
}

/* The marks of text[0..units) in order of their class, those of one class as they came. room: of `units` numbers. */
static void sort_marks(const struct nfc *n, UChar *text, int32_t units, UChar32 *room) {
  int32_t starts[257] = {0}, count = 0;
  for (int32_t i = 0; i < units; count++) starts[unorm2_getCombiningClass(n->form, next_character(text, &i)) + 1]++;
  for (int k = 1; k < 257; k++) starts[k] += starts[k - 1];
  for (int32_t i = 0; i < units;) {
    const UChar32 c = next_character(text, &i);
    room[starts[unorm2_getCombiningClass(n->form, c)]++] = c;
  }
  for (int32_t i = 0, at = 0; i < count; i++) U16_APPEND_UNSAFE(text, at, room[i]);
}

static void sort_long_rows(const struct nfc *n, UChar *text, int32_t units, UChar32 *room) {
  for (int32_t i = 0, begun = 0, marks = 0; i <= units;) {
    const int32_t at = i;
    const UChar32 c = i < units ? next_character(text, &i) : 0;
    if (at < units && c >= 0x300 && unorm2_getCombiningClass(n->form, c) > 0) {
      if (marks++ == 0) begun = at;
      continue;
    }
    if (marks > FEW_MARKS) sort_marks(n, text + begun, at - begun, room);
    marks = 0;
    if (at == units) break;
  }
}

/* Valid UTF-8. */
static sluice_status normalize_valid(const struct nfc *n, struct slice text, struct buffer *out,
                                     struct sluice_error *err) {
  UErrorCode code = U_ZERO_ERROR;
  int32_t wide = 0, units = 0, bytes = 0;
  if (text.len > (size_t)INT_MAX / 9 / (size_t)n->longest)
    return sluice_fail(err, SLUICE_LIMIT, "a text of %zu bytes is too long to normalize", text.len);
  const size_t room = text.len + 1;
  const size_t most = (size_t)n->longest * room; /* units; each becomes three bytes at most */
  UChar *from = malloc(room * sizeof *from), *to = malloc(most * sizeof *to);
  char *utf8 = malloc(3 * most);
  if (!from || !to || !utf8) code = U_MEMORY_ALLOCATION_ERROR;
  if (U_SUCCESS(code)) u_strFromUTF8(from, (int32_t)room, &wide, text.ptr, (int32_t)text.len, &code);
  if (U_SUCCESS(code)) {
    sort_long_rows(n, from, wide, (UChar32 *)(void *)utf8);
    units = unorm2_normalize(n->form, from, wide, to, (int32_t)most, &code);
  }
  if (U_SUCCESS(code)) u_strToUTF8(utf8, (int32_t)(3 * most), &bytes, to, units, &code);
  sluice_status st = U_SUCCESS(code) ? buffer_append(out, utf8, (size_t)bytes, err) : failed(code, err);
  free(from), free(to), free(utf8);
  return st;
}

sluice_status nfc_append(const struct nfc *n, struct slice text, struct buffer *out, struct sluice_error *err) {
  if (is_inert(n, text)) return buffer_append(out, text.ptr, text.len, err);
  sluice_status st = SLUICE_OK;
  while (!st && text.len > 0) {
    size_t bad, valid = utf8_valid_prefix(text.ptr, text.len, &bad);
    if (valid > 0) st = normalize_valid(n, (struct slice){text.ptr, valid}, out, err);
    const size_t skip = valid < text.len ? 1 : 0;
    if (!st && skip) st = buffer_append(out, text.ptr + valid, 1, err);
    text.ptr += valid + skip;
    text.len -= valid + skip;
  }
  return st;
}
