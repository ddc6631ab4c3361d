/* UTF-8 as Unicode 15 chapter 3, table 3-7 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "base/base.h"

/* The bounds of the second byte depend on the first one; the later bytes are always 80..BF. */
static int lead_byte(unsigned char c, unsigned char *low, unsigned char *high) {
  *low = 0x80;
  *high = 0xBF;
  if (c < 0x80) return 1;
  if (c < 0xC2) return 0;
  if (c < 0xE0) return 2;
  if (c < 0xF0) {
    if (c == 0xE0) *low = 0xA0;
    if (c == 0xED) *high = 0x9F;
    return 3;
  }
  if (c > 0xF4) return 0;
  if (c == 0xF0) *low = 0x90;
  if (c == 0xF4) *high = 0x8F;
  return 4;
}

int utf8_decode(const char *s, size_t len, uint32_t *codepoint) {
  unsigned char low, high, first = (unsigned char)s[0];
  int n = lead_byte(first, &low, &high);
  if (n == 0) return -1;
  if (n == 1) {
    *codepoint = first;
    return 1;
  }
  uint32_t value = first & (0x7Fu >> n);
  for (int i = 1; i < n; i++) {
    if ((size_t)i >= len) return 0;
    unsigned char c = (unsigned char)s[i];
    if (c < low || c > high) return -1;
    value = value << 6 | (c & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  *codepoint = value;
  return n;
}

size_t utf8_valid_prefix(const char *s, size_t len, size_t *bad) {
  size_t at = 0;
  uint32_t ignored;
  while (at < len) {
    int n = (unsigned char)s[at] < 0x80 ? 1 : utf8_decode(s + at, len - at, &ignored);
    if (n <= 0) {
      *bad = n < 0 ? at : len;
      return at;
    }
    at += (size_t)n;
  }
  *bad = len;
  return at;
}

int utf8_encode(uint32_t codepoint, char out[4]) {
  if (codepoint < 0x80) {
    out[0] = (char)codepoint;
    return 1;
  }
  if (codepoint < 0x800) {
    out[0] = (char)(0xC0 | codepoint >> 6);
    out[1] = (char)(0x80 | (codepoint & 0x3F));
    return 2;
  }
  if (codepoint < 0x10000) {
    if (codepoint >= 0xD800 && codepoint <= 0xDFFF) return 0;
    out[0] = (char)(0xE0 | codepoint >> 12);
    out[1] = (char)(0x80 | (codepoint >> 6 & 0x3F));
    out[2] = (char)(0x80 | (codepoint & 0x3F));
    return 3;
  }
  if (codepoint > 0x10FFFF) return 0;
  out[0] = (char)(0xF0 | codepoint >> 18);
  out[1] = (char)(0x80 | (codepoint >> 12 & 0x3F));
  out[2] = (char)(0x80 | (codepoint >> 6 & 0x3F));
  out[3] = (char)(0x80 | (codepoint & 0x3F));
  return 4;
}
