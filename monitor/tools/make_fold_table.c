/* Build tool: writes the fold table as C, on stdout. The program itself needs no ICU and its start costs nothing:
 * asking ICU for all code points when a policy is loaded took 28 ms.
 *
 * fold(c), for each code point c by itself:
 *   removed    default-ignorable code points (zero-width, bidi controls, soft hyphen, variation selectors, tags,
 *              fillers), interlinear annotation, and combining marks that belong to no script of their own;
 *   digits     every decimal digit is its ASCII digit;
 *   otherwise  NFKD(c), each of its characters replaced where an ASCII look-alike exists: UTS #39's skeleton, or the
 *              letter that its Unicode name gives it (small capitals, letters with strokes and hooks, enclosed ones).
 * What has no ASCII outcome stays as it is, and so do quotes, dashes and the ellipsis that typeset English is full of.
 * Case is kept: a rule says itself whether case matters. Since marks are dropped, their order and composition cannot
 * matter, so that no sequence of characters has to be gathered before it can be folded. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/uspoof.h>
#include <unicode/ustring.h>
#include <unicode/uversion.h>

enum { CODE_POINTS = 0x110000, BLOCK = 256, OUT_MAX = 40 /* UTF-8 bytes a code point may fold to */ };
enum { POOL_MAX = 65000, BLOCKS_MAX = 1024, SAME = 0, REMOVED = 1 };

static const UNormalizer2 *nfkd;
static USpoofChecker *spoof;
static char pool[POOL_MAX]; /* a length byte, then UTF-8 */
static size_t pool_len = 2; /* 0 and 1 say SAME and REMOVED */
static uint16_t blocks[BLOCKS_MAX][BLOCK], stage1[CODE_POINTS / BLOCK];
static size_t n_blocks;

static const char *failure; /* the first one; what was printed then is of no use */

static void fail(const char *what) {
  if (!failure) failure = what;
}

static bool is_kept(UChar32 c) {
  static const UChar32 kept[] = {0x2013, 0x2014, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2026};
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (kept[i] == c) return true;
  return c < 0x80;
}

/* Letters drawn like Latin ones that UTS #39 keeps apart, and one sign. */
static char own_look_alike(UChar32 c) {
  static const struct {
    UChar32 c;
    char letter;
  } own[] = {{0x432, 'b'}, {0x433, 'r'}, {0x438, 'n'}, {0x43A, 'k'}, {0x43C, 'm'}, {0x43D, 'h'}, {0x442, 't'},
             {0x44F, 'r'}, {0x42F, 'R'}, {0x418, 'N'}, {0x3B2, 'b'}, {0x3B5, 'e'}, {0x3BA, 'k'}, {0x3BC, 'u'},
             {0x3C4, 't'}, {0x3C0, 'n'}, {0x3C9, 'w'}, {0x39B, 'A'}, {0x3A3, 'E'}, {0xDF, 'b'},  {0x20AC, 'e'}};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (own[i].c == c) return own[i].letter;
  return '\0';
}

static bool is_removed(UChar32 c) {
  UErrorCode e = U_ZERO_ERROR;
  if (c < 0x80) return false;
  if (u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT) || (c >= 0xFFF9 && c <= 0xFFFB)) return true;
  int8_t type = u_charType(c);
  if (type != U_NON_SPACING_MARK && type != U_ENCLOSING_MARK) return false;
  UScriptCode script = uscript_getScript(c, &e);
  return script == USCRIPT_INHERITED || script == USCRIPT_COMMON;
}

/* "LATIN SMALL LETTER D WITH TAIL", "LATIN LETTER SMALL CAPITAL T", "REGIONAL INDICATOR SYMBOL LETTER A": the letter.
 */
static char letter_of_name(UChar32 c) {
  static const char *const passed[] = {"SMALL",   "CAPITAL",   "TURNED",   "REVERSED",  "SCRIPT",      "OPEN",
                                       "CLOSED",  "DOTLESS",   "INVERTED", "SIDEWAYS",  "INSULAR",     "BARRED",
                                       "LONG",    "STRETCHED", "BROKEN",   "FLATTENED", "BLACKLETTER", "HALF",
                                       "ROUNDED", "LENIS",     "DOUBLE"};
  char name[128], *next = NULL;
  UErrorCode e = U_ZERO_ERROR;
  u_charName(c, U_UNICODE_CHAR_NAME, name, sizeof name, &e);
  if (U_FAILURE(e) || (!strstr(name, "LATIN") && !strstr(name, "REGIONAL INDICATOR"))) return '\0';
  char *word = strstr(name, "LETTER ");
  bool small = strstr(name, "SMALL") != NULL;
  for (word = word ? word + 7 : NULL; word; word = next) {
    next = strchr(word, ' ');
    size_t n = next ? (size_t)(next - word) : strlen(word);
    if (next) next++;
    if (n == 1 && word[0] >= 'A' && word[0] <= 'Z') return small ? (char)(word[0] + 32) : word[0];
    bool pass = false;
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
      pass |= strlen(passed[i]) == n && memcmp(passed[i], word, n) == 0;
    if (!pass) return '\0';
  }
  return '\0';
}

/* The skeleton of one character without its marks; true when it is ASCII. *single: its only character, else 0. */
static bool ascii_skeleton(UChar32 c, char *out, size_t *n, UChar32 *single) {
  UChar text[2], skeleton[64];
  int32_t len = 0;
  UErrorCode e = U_ZERO_ERROR;
  U16_APPEND_UNSAFE(text, len, c);
  int32_t got = uspoof_getSkeleton(spoof, 0, text, len, skeleton, 64, &e);
  if (U_FAILURE(e)) fail("ICU gave no skeleton");
  bool ascii = true;
  int count = 0;
  *n = 0;
  *single = 0;
  for (int32_t i = 0; i < got;) {
    UChar32 s;
    U16_NEXT(skeleton, i, got, s);
    if (is_removed(s)) continue;
    *single = count++ == 0 ? s : 0;
    ascii &= s < 0x80 && *n < 8;
    if (ascii) out[(*n)++] = (char)s;
  }
  return ascii && *n > 0;
}

/* UTS #39 has one prototype for l, I, 1 and |, and spells m as rn. */
static void prefer(UChar32 c, char *out, size_t *n) {
  if (*n == 2 && out[0] == 'r' && out[1] == 'n') {
    out[0] = u_isUUppercase(c) ? 'M' : 'm';
    *n = 1;
  } else if (*n == 1 && out[0] == 'l' && u_isUUppercase(c)) {
    out[0] = 'I';
  } else if (*n == 1 && out[0] == 'O' && u_isULowercase(c)) {
    out[0] = 'o';
  }
}

/* One character of an NFKD text. Returns its bytes in out. */
static size_t look_alike(UChar32 c, char *out) {
  size_t n = 0;
  UChar32 single = 0;
  if (is_kept(c)) {
    U8_APPEND_UNSAFE(out, n, c);
    return n;
  }
  int32_t digit = u_charDigitValue(c);
  if (u_charType(c) == U_DECIMAL_DIGIT_NUMBER && digit >= 0) {
    out[0] = (char)('0' + digit);
    return 1;
  }
  if (c == 0x2800) { /* a Braille cell without dots looks like a space */
    out[0] = ' ';
    return 1;
  }
  if (own_look_alike(c)) {
    out[0] = own_look_alike(c);
    return 1;
  }
  if (ascii_skeleton(c, out, &n, &single)) {
    prefer(c, out, &n);
    return n;
  }
  char letter = letter_of_name(c);
  if (!letter && single) letter = single == 0x138 ? 'k' : letter_of_name(single);
  if (letter) {
    out[0] = letter;
    return 1;
  }
  n = 0;
  U8_APPEND_UNSAFE(out, n, c);
  return n;
}

/* Returns the number of bytes in out; c itself when it stays. */
static size_t fold(UChar32 c, char *out) {
  UChar text[2], decomposed[32];
  int32_t len = 0;
  size_t n = 0;
  UErrorCode e = U_ZERO_ERROR;
  if (is_removed(c)) return 0;
  U16_APPEND_UNSAFE(text, len, c);
  int32_t got = is_kept(c) ? -1 : unorm2_normalize(nfkd, text, len, decomposed, 32, &e);
  /* (a) in one character is a, not a in brackets */
  bool bracketed = got == 3 && decomposed[0] == '(' && decomposed[2] == ')';
  for (int32_t i = bracketed ? 1 : 0, end = bracketed ? 2 : got; i < end;) {
    UChar32 d;
    U16_NEXT(decomposed, i, got, d);
    if (is_removed(d)) continue;
    char one[16];
    size_t k = look_alike(d, one);
    if (n + k > OUT_MAX) got = -1;
    if (got < 0) break;
    memcpy(out + n, one, k);
    n += k;
  }
  if (got < 0 || U_FAILURE(e) || n == 0) {
    n = 0;
    U8_APPEND_UNSAFE(out, n, c);
  }
  return n;
}

static uint16_t in_pool(const char *bytes, size_t n) {
  for (size_t at = 2; at < pool_len; at += 1 + (unsigned char)pool[at])
    if ((unsigned char)pool[at] == n && memcmp(pool + at + 1, bytes, n) == 0) return (uint16_t)at;
  if (pool_len + 1 + n > POOL_MAX) {
    fail("the pool is full");
    return SAME;
  }
  uint16_t at = (uint16_t)pool_len;
  pool[pool_len] = (char)n;
  memcpy(pool + pool_len + 1, bytes, n);
  pool_len += 1 + n;
  return at;
}

static uint16_t entry_of(UChar32 c) {
  char out[OUT_MAX + 16], own[4];
  size_t n_own = 0;
  if (c < 0x80 || U_IS_SURROGATE(c)) return SAME;
  bool hangul = c >= 0xAC00 && c <= 0xD7A3; /* syllables, and jamo beside them, have no look-alikes */
  if (hangul || (!u_isdefined(c) && !u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT))) return SAME;
  size_t n = fold(c, out);
  if (n == 0) return REMOVED;
  U8_APPEND_UNSAFE(own, n_own, c);
  return n == n_own && memcmp(out, own, n) == 0 ? SAME : in_pool(out, n);
}

static void add_block(size_t number) {
  uint16_t block[BLOCK];
  for (size_t i = 0; i < BLOCK; i++) block[i] = entry_of((UChar32)(number * BLOCK + i));
  size_t at = 0;
  while (at < n_blocks && memcmp(blocks[at], block, sizeof block) != 0) at++;
  if (at == BLOCKS_MAX) {
    fail("too many blocks");
    return;
  }
  if (at == n_blocks) memcpy(blocks[n_blocks++], block, sizeof block);
  stage1[number] = (uint16_t)at;
}

static void print_numbers(const char *name, const uint16_t *numbers, size_t n) {
  printf("const uint16_t %s[] = {", name);
  for (size_t i = 0; i < n; i++) printf("%s%u,", i % 24 ? "" : "\n", numbers[i]);
  printf("\n};\n");
}

int main(void) {
  UErrorCode e = U_ZERO_ERROR;
  char unicode[U_MAX_VERSION_STRING_LENGTH];
  UVersionInfo version;
  nfkd = unorm2_getNFKDInstance(&e);
  spoof = uspoof_open(&e);
  if (U_FAILURE(e)) {
    fprintf(stderr, "make_fold_table: ICU: %s\n", u_errorName(e));
    return 1;
  }
  for (size_t i = 0; i < CODE_POINTS / BLOCK; i++) add_block(i);
  u_getUnicodeVersion(version);
  u_versionToString(version, unicode);
  printf("/* Made by monitor/tools/make_fold_table.c. */\n#include \"monitor/fold_table.h\"\n");
  printf("const char fold_source[] = \"Unicode %s (ICU %s)\";\n", unicode, U_ICU_VERSION);
  print_numbers("fold_stage1", stage1, CODE_POINTS / BLOCK);
  print_numbers("fold_blocks", &blocks[0][0], n_blocks * BLOCK);
  printf("const unsigned char fold_pool[] = {");
  for (size_t i = 0; i < pool_len; i++) printf("%s%u,", i % 32 ? "" : "\n", (unsigned char)pool[i]);
  printf("\n};\n");
  uspoof_close(spoof);
  if (failure) fprintf(stderr, "make_fold_table: %s\n", failure);
  return failure || fflush(stdout) || ferror(stdout);
}
