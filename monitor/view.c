/* The raw view: the text itself with every invalid byte as U+001A, so that PCRE2 always gets valid UTF-8 of the same
 * length. */
#include "monitor/stream.h"

#include <stdlib.h>
#include <string.h>

enum { SUBSTITUTE = 0x1A };

static void drop_front(struct view *v, uint64_t keep_from) {
  if (keep_from <= v->base) return;
  size_t n = (size_t)(keep_from - v->base);
  if (n > v->ready) n = v->ready;
  memmove(v->bytes, v->bytes + n, v->len - n);
  v->base += n;
  v->len -= n;
  v->ready -= n;
}

/* Memory moves or grows only when the slice does not fit: once the buffer has the policy's size, a copy every few
 * kilobytes. */
static sluice_status make_room(struct view *v, size_t need, uint64_t keep_from, struct sluice_error *err) {
  if (v->len + need <= v->cap) return SLUICE_OK;
  drop_front(v, keep_from);
  if (v->len + need <= v->cap / 2) return SLUICE_OK;
  size_t cap = v->cap ? v->cap : 512;
  while (cap / 2 < v->len + need) cap *= 2;
  char *grown = realloc(v->bytes, cap);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu bytes of held text", cap);
  v->bytes = grown;
  v->cap = cap;
  return SLUICE_OK;
}

/* What a byte may mean to other readings of the text: SEEN_NOT_ASCII, SEEN_SIGN, and the runs it may belong to. */
enum { RUN = SEEN_RUN, HEX = SEEN_HEX_RUN, MIN_RUN = 24 /* decode.h */ };
static const unsigned char classes[256] = {
    ['0' ... '9'] = SEEN_SIGN | RUN | HEX,
    ['A' ... 'F'] = RUN | HEX,
    ['G' ... 'Z'] = RUN,
    ['a' ... 'f'] = RUN | HEX,
    ['g' ... 'w'] = RUN,
    ['x'] = RUN | HEX,
    ['y' ... 'z'] = RUN,
    ['@'] = SEEN_SIGN | RUN,
    ['$'] = SEEN_SIGN | RUN,
    ['!'] = SEEN_SIGN | RUN,
    ['|'] = SEEN_SIGN,
    [' '] = HEX,
    ['\n'] = HEX,
    ['\\'] = HEX,
    [':'] = RUN | HEX,
    ['-'] = RUN | HEX,
    [','] = RUN | HEX,
    ['%'] = RUN,
    ['.'] = RUN,
    ['_'] = RUN,
    ['~'] = RUN,
    ['+'] = RUN,
    ['&'] = RUN,
    ['='] = RUN,
    ['/'] = RUN,
    ['?'] = RUN,
    [';'] = RUN,
    ['\''] = RUN,
    ['('] = RUN,
    [')'] = RUN,
    ['*'] = RUN,
    ['#'] = RUN,
    [0x80 ... 0xFF] = SEEN_NOT_ASCII,
};

static void settle_characters(struct view *v) {
  char *bytes = v->bytes;
  size_t at = v->ready, len = v->len, run = v->run, hex = v->hex_run, longest = 0, longest_hex = 0;
  unsigned seen = v->seen;
  while (at < len) {
    uint32_t ignored;
    unsigned char c = (unsigned char)bytes[at];
    unsigned class = classes[c];
    seen |= class & (SEEN_NOT_ASCII | SEEN_SIGN);
    run = class & RUN ? run + 1 : 0;
    hex = class & HEX ? hex + 1 : 0;
    longest = run > longest ? run : longest;
    longest_hex = hex > longest_hex ? hex : longest_hex;
    if (c < 0x80) {
      at++;
      continue;
    }
    int n = utf8_decode(bytes + at, len - at, &ignored);
    if (n == 0) break;
    if (n < 0) {
      bytes[at] = SUBSTITUTE;
      n = 1;
    }
    at += (size_t)n;
  }
  v->ready = at;
  v->run = run;
  v->hex_run = hex;
  v->seen = seen | (longest >= MIN_RUN ? SEEN_RUN : 0u) | (longest_hex >= MIN_RUN ? SEEN_HEX_RUN : 0u);
}

/* What follows a short run of signs at the text's end says whether it is letters: scanned now, it would have to be
 * scanned again. */
static void defer_signs(struct view *v, size_t floor) {
  size_t n = 0;
  while (n <= v->defer && n < v->ready && (classes[(unsigned char)v->bytes[v->ready - 1 - n]] & SEEN_SIGN)) n++;
  if (n > v->defer) return;
  if (v->ready - floor < n) n = v->ready - floor;
  v->ready -= n;
  v->run = v->run > n ? v->run - n : 0;
  v->hex_run = v->hex_run > n ? v->hex_run - n : 0;
}

sluice_status view_append(struct view *v, struct slice raw, uint64_t keep_from, struct sluice_error *err) {
  sluice_status st = make_room(v, raw.len, keep_from, err);
  if (st) return st;
  memcpy(v->bytes + v->len, raw.ptr, raw.len);
  v->len += raw.len;
  v->seen = 0;
  size_t before = v->ready;
  settle_characters(v);
  if (v->defer && (v->seen & SEEN_SIGN) && v->ready == v->len) defer_signs(v, before);
  return SLUICE_OK;
}

sluice_status view_put(struct view *v, struct slice valid, uint64_t keep_from, struct sluice_error *err) {
  sluice_status st = make_room(v, valid.len, keep_from, err);
  if (st) return st;
  if (valid.len) memcpy(v->bytes + v->len, valid.ptr, valid.len);
  v->len += valid.len;
  v->ready = v->len;
  return SLUICE_OK;
}

void view_reset(struct view *v) {
  *v = (struct view){.bytes = v->bytes, .cap = v->cap, .defer = v->defer};
}

void view_end(struct view *v) {
  settle_characters(v);
  while (v->ready < v->len) {
    v->bytes[v->ready++] = SUBSTITUTE;
    settle_characters(v);
  }
}

uint64_t view_round_up(const struct view *v, uint64_t offset) {
  while (!view_is_boundary(v, offset)) offset++;
  return offset;
}

uint64_t view_round_down(const struct view *v, uint64_t offset) {
  while (offset > v->base && !view_is_boundary(v, offset)) offset--;
  return offset;
}
