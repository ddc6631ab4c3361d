/* Named checks on a matched span, for what a pattern cannot say. */
#include "monitor/policy.h"

#include <string.h>

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* ISO/IEC 7812-1 annex B: every second digit from the right doubled, digits summed, divisible by ten. Separators are
 * skipped. */
static bool luhn(const char *text, size_t len) {
  unsigned sum = 0, digits = 0;
  bool varied = false;
  char last = 0;
  for (size_t i = len; i-- > 0;) {
    if (!is_digit(text[i])) continue;
    unsigned d = (unsigned)(text[i] - '0');
    if (digits % 2 == 1) d = d > 4 ? 2 * d - 9 : 2 * d;
    sum += d;
    varied |= digits > 0 && text[i] != last;
    last = text[i];
    digits++;
  }
  return digits >= 12 && digits <= 19 && varied && sum % 10 == 0;
}

/* ISO 13616: the first four characters moved to the end, letters as 10..35, the number modulo 97 is 1. */
static bool iban(const char *text, size_t len) {
  char compact[40];
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    if (text[i] == ' ' || text[i] == '-') continue;
    if (n == sizeof compact) return false;
    compact[n++] = text[i];
  }
  if (n < 15 || n > 34) return false;
  unsigned rest = 0;
  for (size_t i = 0; i < n; i++) {
    char c = compact[(i + 4) % n];
    if (is_digit(c))
      rest = (rest * 10 + (unsigned)(c - '0')) % 97;
    else if (c >= 'A' && c <= 'Z')
      rest = (rest * 100 + (unsigned)(c - 'A') + 10) % 97;
    else if (c >= 'a' && c <= 'z')
      rest = (rest * 100 + (unsigned)(c - 'a') + 10) % 97;
    else
      return false;
  }
  return rest == 1;
}

/* A secret drawn at random mixes kinds of characters: at least a digit and a letter, and 8 different bytes. */
static bool mixed(const char *text, size_t len) {
  bool seen[256] = {false}, digit = false, letter = false;
  int different = 0;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    digit |= is_digit(text[i]);
    letter |= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!seen[c]) different++;
    seen[c] = true;
  }
  return digit && letter && different >= 8;
}

/* 9 to 15 digits (ITU-T E.164), before an extension, and no date in front: 2026-11-23 and 23.11.2026 are none. Brackets
 * or a + say what the number is: 7 digits will do. */
static bool phone(const char *text, size_t len) {
  int digits = 0;
  bool marked = len > 0 && (text[0] == '+' || text[0] == '(');
  for (size_t i = 0; i < len && text[i] != 'x' && text[i] != 'e'; i++) digits += is_digit(text[i]);
  if (digits < (marked ? 7 : 9) || digits > 15) return false;
  if (len < 10) return true;
  bool year_first = (text[0] == '1' || text[0] == '2') && text[4] == '-' && text[7] == '-';
  bool year_last = text[2] == text[5] && !is_digit(text[2]) && (text[6] == '1' || text[6] == '2') &&
                   (text[7] == '9' || text[7] == '0') && (len == 10 || !is_digit(text[10]));
  return !year_first && !year_last;
}

static const struct {
  const char *name;
  check_fn fn;
} checks[] = {{"luhn", luhn}, {"iban", iban}, {"mixed", mixed}, {"phone", phone}};

check_fn check_find(const char *name) {
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (strcmp(name, checks[i].name) == 0) return checks[i].fn;
  return NULL;
}

const char *const *check_names(void) {
  static const char *const names[] = {"luhn", "iban", "mixed", "phone", NULL};
  return names;
}
