/* Private to reports: writing pages. Errors stick: after the first one every call is a no-op, and page_end reports it,
 * so that drawing code reads as drawing. */
#ifndef SLUICE_REPORTS_PAGE_H
#define SLUICE_REPORTS_PAGE_H

#include "base/base.h"

struct page {
  struct buffer *out;
  sluice_status status;
  struct sluice_error *err;
};

void put(struct page *p, const char *literal);
/* For numbers and our own words only; whatever came from outside goes through put_text. */
void putf(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum markup {
  MARKUP_HTML,     /* element content: controls and bidi marks become a visible <span class="u"> */
  MARKUP_PLAIN,    /* attribute values, <title>, XML: the same as plain text */
  MARKUP_MARKDOWN, /* a table cell: | and line breaks too */
  MARKUP_TEXT,     /* a terminal: line breaks and tabs become spaces */
  MARKUP_CSV       /* one quoted field; a leading = + - @ gets an apostrophe, so that no spreadsheet runs it */
};
/* Text from outside. Invalid UTF-8, control characters, bidi and invisible characters are shown as \x.. and \u{....}.
 */
void put_slice(struct page *p, enum markup m, struct slice text);
void put_text(struct page *p, const char *text);  /* MARKUP_HTML */
void put_plain(struct page *p, const char *text); /* MARKUP_PLAIN */
/* The same, cut after about `limit` bytes on a character, with the count of bytes left out. */
void put_clipped(struct page *p, enum markup m, struct slice text, size_t limit);

/* Numbers, the same in every format. NAN prints an en dash. */
void put_percent(struct page *p, double share, int decimals); /* 0.962 -> 96.2 */
void put_number(struct page *p, double value, int decimals);  /* thousands grouped with a thin space */
void put_count(struct page *p, int64_t n);
void put_bytes(struct page *p, double bytes);   /* 1.5 MiB */
void put_p_value(struct page *p, double value); /* 0.031, <0.001 */
/* Signed, with a true minus sign. */
void put_points(struct page *p, double share, int decimals); /* -0.12 -> -12.0 */

#endif
