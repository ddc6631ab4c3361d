/* Every code point's fold, held against what ICU says of it directly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/uspoof.h>
#include <unicode/ustring.h>

#include "monitor/fold_table.h"

static const UNormalizer2 *nfkd, *nfkc;
static USpoofChecker *spoof;

static int open_icu(void **state) {
  (void)state;
  UErrorCode e = U_ZERO_ERROR;
  nfkd = unorm2_getNFKDInstance(&e);
  nfkc = unorm2_getNFKCInstance(&e);
  spoof = uspoof_open(&e);
  return U_FAILURE(e);
}

static int close_icu(void **state) {
  (void)state;
  uspoof_close(spoof);
  return 0;
}

static bool is_assigned(UChar32 c) {
  return u_isdefined(c) && !U_IS_SURROGATE(c) && u_charType(c) != U_PRIVATE_USE_CHAR;
}

static bool is_typographic(UChar32 c) {
  return c == 0x2013 || c == 0x2014 || c == 0x2018 || c == 0x2019 || c == 0x201C || c == 0x201D || c == 0x2022 ||
         c == 0x2026;
}

static bool should_vanish(UChar32 c) {
  UErrorCode e = U_ZERO_ERROR;
  int8_t type = u_charType(c);
  bool mark = type == U_NON_SPACING_MARK || type == U_ENCLOSING_MARK;
  UScriptCode script = uscript_getScript(c, &e);
  return u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT) || u_hasBinaryProperty(c, UCHAR_BIDI_CONTROL) ||
         (c >= 0xFFF9 && c <= 0xFFFB) || (mark && (script == USCRIPT_INHERITED || script == USCRIPT_COMMON));
}

/* The fold of a whole UTF-16 text, as UTF-8. */
static size_t fold_text(const UChar *text, int32_t len, char *out) {
  size_t n = 0;
  for (int32_t i = 0; i < len;) {
    UChar32 c;
    struct slice to = {0};
    U16_NEXT(text, i, len, c);
    if (!fold_code_point((uint32_t)c, &to)) to = (struct slice){out + n, (size_t)utf8_encode((uint32_t)c, out + n)};
    memmove(out + n, to.ptr, to.len);
    n += to.len;
  }
  return n;
}

static size_t fold_one(UChar32 c, char *out) {
  UChar text[2];
  int32_t len = 0;
  U16_APPEND_UNSAFE(text, len, c);
  return fold_text(text, len, out);
}

static void ascii_and_unassigned_stay(void **state) {
  (void)state;
  struct slice to;
  for (uint32_t c = 0; c < 0x110000; c++)
    if (c < 0x80 || U_IS_SURROGATE((UChar32)c) || u_charType((UChar32)c) == U_PRIVATE_USE_CHAR)
      assert_false(fold_code_point(c, &to));
}

static void what_is_invisible_vanishes_and_nothing_else(void **state) {
  (void)state;
  for (uint32_t c = 0x80; c < 0x110000; c++) {
    struct slice to = {"", 1};
    bool vanishes = fold_code_point(c, &to) && to.len == 0;
    if (vanishes != (!U_IS_SURROGATE((UChar32)c) && should_vanish((UChar32)c))) fail_msg("U+%04X", c);
  }
}

/* Composed or not, compatible or not: one fold. */
static void normal_forms_fold_alike(void **state) {
  (void)state;
  int checked = 0;
  for (UChar32 c = 0x80; c < 0x110000; c++) {
    UChar text[2], form[64];
    char own[256], other[256];
    int32_t len = 0;
    UErrorCode e = U_ZERO_ERROR;
    if (!is_assigned(c) || is_typographic(c) || (c >= 0xAC00 && c <= 0xD7A3)) continue;
    U16_APPEND_UNSAFE(text, len, c);
    int32_t n = unorm2_normalize(nfkd, text, len, form, 64, &e);
    size_t n_own = fold_text(text, len, own);
    if (n == 3 && form[0] == '(') continue; /* (a) is a */
    if (n_own > 0 && n <= 12 && u_charDigitValue(c) < 0) {
      size_t n_other = fold_text(form, n, other);
      if (n_other == 0) continue; /* a mark by itself stays */
      if (n_own != n_other || memcmp(own, other, n_own) != 0)
        fail_msg("U+%04X: %.*s, NFKD %.*s", c, (int)n_own, own, (int)n_other, other);
      checked++;
    }
    n = unorm2_normalize(nfkc, text, len, form, 64, &e);
    if (n == 1 && form[0] < 0x80) assert_true(n_own == 1 && own[0] == (char)form[0]);
  }
  assert_true(checked > 100000 / 2);
}

/* Case and what UTS #39 cannot tell apart set aside, a character that looks like ASCII folds to what it looks like. */
static void squash(char *s, size_t *n) {
  size_t k = 0;
  for (size_t i = 0; i < *n; i++) {
    char c = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
    if (c == '1' || c == 'i' || c == '|') c = 'l';
    if (c == '0') c = 'o';
    if (c == 'm') s[k++] = 'r', c = 'n';
    s[k++] = c;
  }
  *n = k;
}

static void look_alikes_fold_to_ascii(void **state) {
  (void)state;
  int checked = 0, differ = 0;
  for (UChar32 c = 0x80; c < 0x110000; c++) {
    UChar text[2], skeleton[64];
    char own[256], want[256];
    int32_t len = 0;
    size_t n_want = 0;
    bool ascii = true;
    UErrorCode e = U_ZERO_ERROR;
    if (!is_assigned(c) || is_typographic(c) || should_vanish(c) || (c >= 0xAC00 && c <= 0xD7A3)) continue;
    U16_APPEND_UNSAFE(text, len, c);
    int32_t n = uspoof_getSkeleton(spoof, 0, text, len, skeleton, 64, &e);
    for (int32_t i = 0; i < n;) {
      UChar32 s;
      U16_NEXT(skeleton, i, n, s);
      if (should_vanish(s)) continue;
      ascii &= s < 0x80 && n_want < 100;
      if (ascii) want[n_want++] = (char)s;
    }
    if (!ascii || n_want != 1 || !((want[0] | 32) >= 'a' && (want[0] | 32) <= 'z')) continue;
    size_t n_own = fold_one(c, own);
    squash(own, &n_own);
    squash(want, &n_want);
    checked++;
    differ += n_own != n_want || memcmp(own, want, n_own) != 0;
  }
  print_message("%d look-alikes of letters, %d fold to something else (digits to their value, compatibility first)\n",
                checked, differ);
  assert_true(checked > 1200);
  assert_true(differ * 20 < checked);
}

static void folding_again_changes_nothing(void **state) {
  (void)state;
  for (UChar32 c = 0x80; c < 0x110000; c++) {
    char once[256], twice[256];
    UChar text[128];
    int32_t len = 0;
    UErrorCode e = U_ZERO_ERROR;
    if (!is_assigned(c)) continue;
    size_t n = fold_one(c, once);
    u_strFromUTF8(text, 128, &len, once, (int32_t)n, &e);
    size_t m = fold_text(text, len, twice);
    if (U_FAILURE(e) || n != m || memcmp(once, twice, n) != 0)
      fail_msg("U+%04X: %.*s, then %.*s", c, (int)n, once, (int)m, twice);
  }
}

static void known_look_alikes(void **state) {
  (void)state;
  static const struct {
    uint32_t c;
    const char *to;
  } known[] = {{0x430, "a"},
               {0x435, "e"},
               {0x440, "p"},
               {0x441, "c"},
               {0x445, "x"},
               {0x456, "i"},
               {0x43C, "m"},
               {0x442, "t"},
               {0x42F, "R"},
               {0x406, "I"},
               {0x3B1, "a"},
               {0x3BF, "o"},
               {0x3C1, "p"},
               {0x3BD, "v"},
               {0x3C4, "t"},
               {0x391, "A"},
               {0xFF21, "A"},
               {0xFF41, "a"},
               {0x1D41A, "a"},
               {0x1D4EA, "a"},
               {0x1D538, "A"},
               {0x1D7D8, "0"},
               {0x24D0, "a"},
               {0x249C, "a"},
               {0x1F130, "A"},
               {0x1F170, "A"},
               {0x1F1E6, "A"},
               {0x1D00, "a"},
               {0x299, "b"},
               {0x1D1B, "t"},
               {0x131, "i"},
               {0xDF, "b"},
               {0xE9, "e"},
               {0xF8, "o"},
               {0x142, "l"},
               {0xFB01, "fi"},
               {0xBD, "1/2"},
               {0x2122, "TM"},
               {0x661, "1"},
               {0x966, "0"},
               {0xFF0D, "-"},
               {0xA0, " "},
               {0x3000, " "},
               {0x2800, " "},
               {0x2010, "-"},
               {0x212A, "K"},
               {0x17F, "s"},
               {0x200B, ""},
               {0x202E, ""},
               {0x2066, ""},
               {0xAD, ""},
               {0xFE0F, ""},
               {0xE0061, ""},
               {0x301, ""},
               {0x336, ""},
               {0x20DD, ""},
               {0x3164, ""},
               {0xFEFF, ""},
               {0x2064, ""},
               {0x180E, ""},
               {0x4E2D, "\xE4\xB8\xAD"},
               {0x2019, "\xE2\x80\x99"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    char out[64];
    size_t n = fold_one((UChar32)known[i].c, out);
    if (n != strlen(known[i].to) || memcmp(out, known[i].to, n) != 0)
      fail_msg("U+%04X folds to %.*s, not %s", known[i].c, (int)n, out, known[i].to);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ascii_and_unassigned_stay),     cmocka_unit_test(what_is_invisible_vanishes_and_nothing_else),
      cmocka_unit_test(normal_forms_fold_alike),       cmocka_unit_test(look_alikes_fold_to_ascii),
      cmocka_unit_test(folding_again_changes_nothing), cmocka_unit_test(known_look_alikes),
  };
  return cmocka_run_group_tests(tests, open_icu, close_icu);
}
