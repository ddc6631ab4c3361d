/* Escaping and numbers. A model's answer is hostile text: it may close our script, reverse the line or hide letters;
 * here it becomes characters that a reader can see. */
#include "reports/page.h"

#include <math.h>
#include <string.h>

void put(struct page *p, const char *literal) {
  if (p->status == SLUICE_OK) p->status = buffer_append_str(p->out, literal, p->err);
}

static void put_bytes_raw(struct page *p, const char *bytes, size_t n) {
  if (p->status == SLUICE_OK) p->status = buffer_append(p->out, bytes, n, p->err);
}

void putf(struct page *p, const char *fmt, ...) {
  char text[512];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (n < 0 || (size_t)n >= sizeof text) {
    if (p->status == SLUICE_OK) p->status = sluice_fail(p->err, SLUICE_INTERNAL, "report: line too long: %s", fmt);
    return;
  }
  put_bytes_raw(p, text, (size_t)n);
}

/* Characters that change how their neighbours are shown, or show nothing. Joiners (U+200C, U+200D) stay: Persian, Hindi
 * and emoji need them. */
static bool deceptive(uint32_t c) {
  if (c < 0x20) return c != '\n' && c != '\t';
  if (c >= 0x7f && c <= 0x9f) return true;
  if (c == 0xad || c == 0x61c || c == 0x180e || c == 0xfeff || c == 0x3164 || c == 0xffa0) return true;
  if (c == 0x200b || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e)) return true;
  if (c >= 0x2060 && c <= 0x206f) return true;
  if (c >= 0xfff0 && c <= 0xfffb) return true;
  if (c >= 0xe000 && c <= 0xf8ff) return true; /* private use */
  return (c & 0xfffe) == 0xfffe || (c >= 0xe0000 && c <= 0xe0fff) || c >= 0xf0000;
}

static void put_escape(struct page *p, enum markup m, const char *text) {
  if (m == MARKUP_HTML) put(p, "<span class=\"u\">");
  put(p, m == MARKUP_MARKDOWN ? "\\" : "");
  put(p, text);
  if (m == MARKUP_HTML) put(p, "</span>");
}

static const char *entity(enum markup m, char c) {
  if (m == MARKUP_CSV) return c == '"' ? "\"\"" : NULL;
  if (m == MARKUP_TEXT) return c == '\n' || c == '\t' ? " " : NULL;
  switch (c) {
  case '<':
    return "&lt;";
  case '>':
    return "&gt;";
  case '&':
    return "&amp;";
  case '"':
    return "&quot;";
  case '\'':
    return "&#39;";
  default:
    break;
  }
  if (m != MARKUP_MARKDOWN) return NULL;
  switch (c) {
  case '|':
    return "\\|";
  case '\n':
    return "<br>";
  case '`':
    return "\\`";
  case '*':
    return "\\*";
  case '_':
    return "\\_";
  case '[':
    return "\\[";
  case '\\':
    return "\\\\";
  default:
    return NULL;
  }
}

/* One character, or one bad byte; returns the bytes taken. */
static size_t put_character(struct page *p, enum markup m, const char *s, size_t len) {
  uint32_t c;
  int n = utf8_decode(s, len, &c);
  char shown[16];
  if (n <= 0) {
    snprintf(shown, sizeof shown, "\\x%02X", (unsigned)(unsigned char)s[0]);
    put_escape(p, m, shown);
    return 1;
  }
  const char *safe = n == 1 ? entity(m, s[0]) : NULL;
  if (deceptive(c)) {
    snprintf(shown, sizeof shown, "\\u{%X}", (unsigned)c);
    put_escape(p, m, shown);
  } else if (safe) {
    put(p, safe);
  } else {
    put_bytes_raw(p, s, (size_t)n);
  }
  return (size_t)n;
}

void put_slice(struct page *p, enum markup m, struct slice text) {
  if (m == MARKUP_CSV) {
    put(p, "\"");
    if (text.len && strchr("=+-@\t", text.ptr[0])) put(p, "'");
  }
  for (size_t i = 0; i < text.len && p->status == SLUICE_OK;) {
    size_t plain = i; /* runs of harmless ASCII go in one piece */
    while (plain < text.len &&
           (text.ptr[plain] == ' ' || (text.ptr[plain] >= '0' && text.ptr[plain] <= '9') ||
            (text.ptr[plain] >= 'A' && text.ptr[plain] <= 'Z') || (text.ptr[plain] >= 'a' && text.ptr[plain] <= 'z')))
      plain++;
    if (plain > i) put_bytes_raw(p, text.ptr + i, plain - i);
    i = plain;
    if (i < text.len) i += put_character(p, m, text.ptr + i, text.len - i);
  }
  if (m == MARKUP_CSV) put(p, "\"");
}

void put_text(struct page *p, const char *text) {
  put_slice(p, MARKUP_HTML, slice_of(text));
}
void put_plain(struct page *p, const char *text) {
  put_slice(p, MARKUP_PLAIN, slice_of(text));
}

void put_clipped(struct page *p, enum markup m, struct slice text, size_t limit) {
  if (text.len <= limit + limit / 8) {
    put_slice(p, m, text);
    return;
  }
  size_t cut = limit;
  while (cut > 0 && ((unsigned char)text.ptr[cut] & 0xc0) == 0x80) cut--; /* never inside a character */
  put_slice(p, m, (struct slice){text.ptr, cut});
  put(p, m == MARKUP_HTML ? " <span class=\"more\">… " : " … ");
  put_count(p, (int64_t)(text.len - cut));
  put(p, m == MARKUP_HTML ? " more bytes</span>" : " more bytes");
}

/* Digits in groups of three with U+202F; digits is what printf made of a non-negative number. */
static void put_grouped(struct page *p, const char *digits) {
  size_t whole = strcspn(digits, ".");
  for (size_t i = 0; i < whole; i++) {
    if (i > 0 && (whole - i) % 3 == 0 && whole > 4) put(p, "\xe2\x80\xaf");
    put_bytes_raw(p, digits + i, 1);
  }
  put(p, digits + whole);
}

void put_number(struct page *p, double value, int decimals) {
  char text[400];
  if (isnan(value) || isinf(value)) {
    put(p, isnan(value) ? "–" : value > 0 ? "∞" : "−∞");
    return;
  }
  snprintf(text, sizeof text, "%.*f", decimals, fabs(value));
  if (value < 0 && strspn(text, "0.") != strlen(text)) put(p, "−"); /* no "-0.0" */
  put_grouped(p, text);
}

void put_count(struct page *p, int64_t n) {
  put_number(p, (double)n, 0);
}
void put_percent(struct page *p, double share, int decimals) {
  put_number(p, 100 * share, decimals);
}

void put_points(struct page *p, double share, int decimals) {
  char text[400];
  snprintf(text, sizeof text, "%.*f", decimals, fabs(100 * share));
  if (share > 0 && strspn(text, "0.") != strlen(text)) put(p, "+");
  put_number(p, 100 * share, decimals);
}

void put_bytes(struct page *p, double bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  if (isnan(bytes)) {
    put(p, "–");
    return;
  }
  while (bytes >= 1024 && unit < 4) bytes /= 1024, unit++;
  put_number(p, bytes, unit == 0 || bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2);
  putf(p, "\xc2\xa0%s", units[unit]);
}

void put_p_value(struct page *p, double value) {
  if (isnan(value))
    put(p, "–");
  else if (value < 0.001)
    put(p, "&lt;0.001");
  else
    putf(p, "%.3f", value);
}
