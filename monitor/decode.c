/* A run that is long enough is decoded into a layer of its own, where all rules with the view "decoded" run. It is not
 * held back before it is long enough, so its beginning may have left when a match is found: that is counted as
 * exposure. A match speaks of the whole run: what has not left of it is masked to its end, or the text stops. */
#include "monitor/layer.h"

#include <string.h>

enum { OUT_BYTES = 256 };
enum feed { FEED_GOES_ON, FEED_ENDS, FEED_AGAIN /* from behind d->end */ };

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  char lower = (char)(c | 32);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Both alphabets of RFC 4648. */
static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static bool is_url_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && strchr("%-._~+&=/?:;,@!$'()*#", c) != NULL);
}

static bool is_hex_separator(char c) {
  return c == ' ' || c == ':' || c == '-' || c == ',' || c == '\\' || c == 'x' || c == '\n';
}

/* Characters that a run may be made of, as far as one can tell before it is long enough. */
static bool may_belong(enum decode_kind kind, char c) {
  if (kind == DECODE_BASE64) return base64_digit(c) >= 0;
  if (kind == DECODE_HEX) return hex_digit(c) >= 0 || is_hex_separator(c);
  if (kind == DECODE_HIDDEN)
    return (unsigned char)c == 0xEF || (unsigned char)c == 0xF3 || ((unsigned char)c & 0xC0) == 0x80;
  return is_url_character(c);
}

void decoder_init(struct decoder *d, enum decode_kind kind, struct layer *of) {
  *d = (struct decoder){.kind = kind, .of = of};
}

void decoder_reset(struct decoder *d) {
  struct fold_map map = {.marks = d->map.marks, .cap = d->map.cap};
  *d = (struct decoder){.kind = d->kind, .of = d->of, .inner = d->inner, .map = map};
}

void decoder_free(struct decoder *d) {
  layer_free(d->inner);
  fold_map_free(&d->map);
}

/* ---- one run ---- */

struct output {
  char bytes[OUT_BYTES];
  size_t n;
};

static sluice_status flush(struct decoder *d, struct output *o, struct sluice_error *err) {
  sluice_status st = o->n ? layer_append(d->inner, (struct slice){o->bytes, o->n}, err) : SLUICE_OK;
  o->n = 0;
  return st;
}

/* A decoded byte that stands for the text's [from, end). */
static sluice_status emit(struct decoder *d, struct output *o, char byte, uint64_t from, uint64_t end, bool changed,
                          struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  if (changed) st = fold_map_add(&d->map, &(struct fold_mark){d->decoded, from, 1, (uint16_t)(end - from)}, err);
  d->decoded++;
  o->bytes[o->n++] = byte;
  return st || o->n < OUT_BYTES ? st : flush(d, o, err);
}

/* White space inside base64: whether the run may go on behind it. */
static enum feed feed_space(struct decoder *d, char c) {
  bool between = d->wanted && d->line == 0; /* \r\n, or a line's indentation */
  if (d->padded || (!between && d->line < DECODE_LINE_MIN)) return FEED_ENDS;
  if (!between) d->wanted = c == ' ' ? DECODE_NEXT_WORD : DECODE_NEXT_LINE;
  d->line = 0;
  return FEED_GOES_ON;
}

static enum feed feed_base64(struct decoder *d, char c, uint64_t at, int *byte) {
  if (d->escaped) { /* in JSON: \n, \r, \/ */
    d->escaped = false;
    if (c == 'n' || c == 'r')
      c = '\n';
    else if (c != '/')
      return FEED_ENDS;
  } else if (c == '\\') {
    d->escaped = true;
    return FEED_GOES_ON;
  }
  if (c == '\n' || c == '\r' || c == ' ') return feed_space(d, c);
  int digit = base64_digit(c);
  bool padding = c == '=' && d->n_bits;
  if (!padding && (digit < 0 || d->padded)) return FEED_ENDS;
  if (d->wanted) { /* decoded once it is no word */
    bool enough = ++d->line >= d->wanted || padding;
    if (enough) d->wanted = d->line = 0;
    return enough ? FEED_AGAIN : FEED_GOES_ON;
  }
  d->end = at + 1;
  d->padded = padding;
  if (padding) return FEED_GOES_ON;
  d->line++;
  if (d->n_bits == 0) d->bits_from = at;
  d->bits = d->bits << 6 | (uint32_t)digit;
  d->n_bits += 6;
  if (d->n_bits < 8) return FEED_GOES_ON;
  d->n_bits -= 8;
  *byte = (int)(d->bits >> d->n_bits & 255);
  d->bits &= (1u << d->n_bits) - 1;
  return FEED_GOES_ON;
}

static enum feed feed_hex(struct decoder *d, char c, uint64_t at, int *byte) {
  int digit = hex_digit(c);
  /* 0x70: the 0 is no half of a byte */
  if (c == 'x' && d->n_bits == 4 && d->bits == 0) d->n_bits = 0;
  if (digit < 0) return is_hex_separator(c) && d->n_bits == 0 ? FEED_GOES_ON : FEED_ENDS;
  if (d->n_bits == 0) d->bits_from = at;
  d->bits = d->bits << 4 | (uint32_t)digit;
  d->n_bits += 4;
  if (d->n_bits < 8) return FEED_GOES_ON;
  d->end = at + 1;
  *byte = (int)(d->bits & 255);
  d->n_bits = 0;
  d->bits = 0;
  return FEED_GOES_ON;
}

/* n_bits: 8 behind a %, 4 behind its first digit. */
static enum feed feed_percent(struct decoder *d, char c, uint64_t at, int *byte) {
  if (!is_url_character(c)) return FEED_ENDS;
  d->end = at + 1;
  int digit = hex_digit(c);
  if (c == '%' || (d->n_bits && digit < 0)) { /* an escape that is none is dropped */
    d->n_bits = c == '%' ? 8 : 0;
    d->bits = 0;
    d->bits_from = at;
    if (c == '%') return FEED_GOES_ON;
  }
  if (d->n_bits == 0) {
    d->bits_from = at;
    *byte = c == '+' ? ' ' : (unsigned char)c;
    return FEED_GOES_ON;
  }
  d->bits = d->bits << 4 | (uint32_t)digit;
  d->n_bits -= 4;
  if (d->n_bits == 0) *byte = (int)(d->bits & 255);
  return FEED_GOES_ON;
}

/* Tag characters spell ASCII, variation selectors bytes. bits: the code point so far; n_bits: bytes that are to come.
 */
static enum feed feed_hidden(struct decoder *d, char c, uint64_t at, int *byte) {
  unsigned char b = (unsigned char)c;
  if (d->n_bits == 0) {
    if (b != 0xEF && b != 0xF3) return FEED_ENDS;
    d->bits = b == 0xEF ? 15 : 3;
    d->n_bits = b == 0xEF ? 2 : 3;
    d->bits_from = at;
    return FEED_GOES_ON;
  }
  d->bits = d->bits << 6 | (b & 63u);
  if (--d->n_bits) return FEED_GOES_ON;
  uint32_t code = d->bits;
  if (code >= 0xFE00 && code <= 0xFE0F)
    *byte = (int)(code - 0xFE00);
  else if (code >= 0xE0100 && code <= 0xE01EF)
    *byte = (int)(code - 0xE0100 + 16);
  else if (code >= 0xE0020 && code <= 0xE007E)
    *byte = (int)(code - 0xE0000);
  else if (code != 0xE0001 && code != 0xE007F)
    return FEED_ENDS;
  d->end = at + 1;
  return FEED_GOES_ON;
}

static enum feed feed(struct decoder *d, char c, uint64_t at, int *byte) {
  *byte = -1;
  if (d->kind == DECODE_BASE64) return feed_base64(d, c, at, byte);
  if (d->kind == DECODE_HEX) return feed_hex(d, c, at, byte);
  return d->kind == DECODE_PERCENT ? feed_percent(d, c, at, byte) : feed_hidden(d, c, at, byte);
}

/* To the first character behind white space, escaped as in JSON or not. */
static uint64_t skip_space(const struct view *v, uint64_t at) {
  for (;;) {
    char c = *view_at(v, at);
    if (c == '\\' && *view_at(v, at + 1) != '/')
      at += 2;
    else if (c == '\n' || c == '\r' || c == ' ')
      at++;
    else
      return at;
  }
}

static sluice_status feed_text(struct decoder *d, uint64_t from, uint64_t to, bool *ended, struct sluice_error *err) {
  const struct view *v = &d->of->raw.view;
  struct output out = {.n = 0};
  sluice_status st = SLUICE_OK;
  *ended = false;
  for (uint64_t at = from; !st && !*ended && at < to; at++) {
    int byte;
    char c = *view_at(v, at);
    enum feed how = feed(d, c, at, &byte);
    if (how == FEED_AGAIN) {
      at = skip_space(v, d->end) - 1;
      continue;
    }
    *ended = how == FEED_ENDS;
    d->fed = !*ended ? at + 1 : d->end > d->start ? d->end : d->start + 1;
    if (byte < 0) continue;
    bool same = d->kind == DECODE_PERCENT && c == byte && fold_raw_start(&d->map, d->decoded) == at;
    st = emit(d, &out, (char)byte, d->bits_from, at + 1, !same, err);
    d->bits_from = at; /* of base64's next byte */
  }
  return st ? st : flush(d, &out, err);
}

/* ---- runs in a text ---- */

static sluice_status begin(struct decoder *d, struct sluice_error *err) {
  uint64_t start = d->start;
  sluice_status st = SLUICE_OK;
  if (!d->inner) st = layer_new(d, &d->inner, err);
  if (st) return st;
  layer_reset(d->inner);
  decoder_reset(d);
  d->start = d->end = d->fed = d->map.shift = start;
  d->active = true;
  return SLUICE_OK;
}

/* Hex digits come in pairs and a run begins with one, or with a backslash or 0 before x. line: digits since a
 * separator.
 */
static bool pairs_up(struct decoder *d, char c) {
  if (hex_digit(c) >= 0) {
    d->line++;
    return true;
  }
  bool prefix = c == 'x' && d->line == 1 && *view_at(&d->of->raw.view, d->fed - 1) == '0';
  if (d->line % 2 && !prefix) return false;
  d->line = 0;
  return d->fed > d->start || c == '\\';
}

/* Through what is no run yet, to where one has become long enough. */
static bool find(struct decoder *d, uint64_t ready) {
  const struct view *v = &d->of->raw.view;
  for (; d->fed < ready; d->fed++) {
    char c = *view_at(v, d->fed);
    if (!may_belong(d->kind, c) || (d->kind == DECODE_HEX && !pairs_up(d, c))) {
      d->start = d->fed + 1;
      d->escapes = d->line = 0;
      continue;
    }
    if (d->kind == DECODE_HIDDEN && d->fed == d->start && ((unsigned char)c & 0xC0) == 0x80) {
      d->start = d->fed + 1;
      continue;
    }
    if (d->kind == DECODE_PERCENT) {
      d->escapes += d->fed - d->start >= 2 && *view_at(v, d->fed - 2) == '%' && hex_digit(c) >= 0 &&
                    hex_digit(*view_at(v, d->fed - 1)) >= 0;
      if (d->fed - d->start >= DECODE_LOOK_BACK) d->start = d->fed + 1 - DECODE_LOOK_BACK;
      if (d->escapes == 0) continue;
    }
    if (d->fed + 1 - d->start >= DECODE_RUN_MIN) return true;
  }
  return false;
}

/* What is masked of a run goes on with it. */
static sluice_status taint_rest(struct decoder *d, struct sluice_error *err) {
  struct found f = d->taint;
  if (!d->tainted || d->taint.end >= d->end) return SLUICE_OK;
  f.start = f.match_start = d->taint.end;
  f.end = f.match_end = d->taint.end = d->end;
  f.quiet = true;
  return layer_report(d->of, &f, err);
}

static sluice_status scan_run(struct decoder *d, bool final, uint64_t *hold, struct sluice_error *err) {
  uint64_t inner = 0;
  if (final) view_end(&d->inner->raw.view);
  sluice_status st = layer_scan(d->inner, final, &inner, err);
  if (!st) st = taint_rest(d, err);
  if (st || final) return st;
  uint64_t pending = d->n_bits && d->bits_from < d->end ? d->bits_from : d->end;
  uint64_t raw = inner < d->decoded ? fold_raw_start(&d->map, inner) : pending;
  if (raw < *hold) *hold = raw;
  layer_keep(d->inner, inner);
  fold_map_drop(&d->map, d->inner->raw.view.base);
  return SLUICE_OK;
}

sluice_status decoder_scan(struct decoder *d, bool any, bool final, uint64_t *hold, struct sluice_error *err) {
  const struct view *v = &d->of->raw.view;
  uint64_t ready = view_ready_end(v), scanned = d->of->raw.scanned;
  uint64_t back = d->kind == DECODE_PERCENT ? DECODE_LOOK_BACK : DECODE_RUN_MIN;
  uint64_t floor = scanned > v->base + back ? scanned - back : v->base;
  if (!d->active && !any) return SLUICE_OK;
  if (!d->active && d->fed < floor) {
    d->fed = d->start = floor;
    d->escapes = d->line = 0;
  }
  while (d->fed < ready || d->active) { /* also where nothing is new: what is open is held again */
    bool ended = false;
    sluice_status st = SLUICE_OK;
    if (!d->active) {
      if (!find(d, ready)) break;
      st = begin(d, err);
    }
    if (!st) st = feed_text(d, d->fed, ready, &ended, err);
    if (!st) st = scan_run(d, ended || final, hold, err);
    if (st) return st;
    if (!ended && !final) break;
    d->active = d->tainted = false;
    d->start = d->fed;
    d->escapes = d->line = 0;
  }
  return SLUICE_OK;
}

bool decoder_map(struct decoder *d, struct found *f) {
  if (d->kind == DECODE_PERCENT && f->match_end > f->match_start &&
      !fold_covers_change(&d->map, f->match_start, f->match_end))
    return false;
  f->start = f->match_start = d->start;
  f->end = f->match_end = d->end;
  if (f->kind == MONITOR_MATCH && f->action == MONITOR_MASK && !d->tainted) {
    d->tainted = true;
    d->taint = *f;
  }
  return true;
}
