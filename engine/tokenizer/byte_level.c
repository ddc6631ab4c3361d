/* GPT-2's byte-to-unicode table: printable Latin-1 bytes stand for themselves, the other 68 are U+0100 and following in
 * byte order. Published in "Language Models are Unsupervised Multitask Learners" (Radford et al. 2019), encoder.py. */
#include "engine/tokenizer/tokenizer.h"

static bool stands_for_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* The bytes that do not stand for themselves are 0-32, 127-160 and 173, in that order from U+0100. */
uint32_t byte_level_codepoint(unsigned char byte) {
  if (stands_for_itself(byte)) return byte;
  if (byte <= 0x20) return 0x100u + byte;
  if (byte <= 0xa0) return 0x100u + 33u + (byte - 0x7fu);
  return 0x100u + 67u;
}

/* -1: the character stands for no byte. */
static int byte_of(uint32_t codepoint) {
  if (codepoint < 0x100) return stands_for_itself(codepoint) ? (int)codepoint : -1;
  uint32_t i = codepoint - 0x100u;
  if (i <= 0x20) return (int)i;
  if (i < 67) return (int)(i - 33u + 0x7fu);
  return i == 67 ? 0xad : -1;
}

sluice_status byte_level_encode(const char *raw, size_t len, struct buffer *out, struct sluice_error *err) {
  for (size_t i = 0; i < len; i++) {
    char utf8[4];
    int n = utf8_encode(byte_level_codepoint((unsigned char)raw[i]), utf8);
    sluice_status st = buffer_append(out, utf8, (size_t)n, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

sluice_status byte_level_decode(const char *text, size_t len, struct buffer *out, bool *mapped,
                                struct sluice_error *err) {
  size_t before = out->len;
  *mapped = true;
  for (size_t i = 0; i < len;) {
    uint32_t codepoint = 0;
    int n = utf8_decode(text + i, len - i, &codepoint);
    int byte = n > 0 ? byte_of(codepoint) : -1;
    if (byte < 0) {
      *mapped = false;
      out->len = before;
      return SLUICE_OK;
    }
    char raw = (char)byte;
    sluice_status st = buffer_append(out, &raw, 1, err);
    if (st) return st;
    i += (size_t)n;
  }
  return SLUICE_OK;
}
