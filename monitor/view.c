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

static void settle_characters(struct view *v) {
  while (v->ready < v->len) {
    uint32_t ignored;
    unsigned char c = (unsigned char)v->bytes[v->ready];
    int n = c < 0x80 ? 1 : utf8_decode(v->bytes + v->ready, v->len - v->ready, &ignored);
    if (n == 0) return;
    if (n < 0) {
      v->bytes[v->ready] = SUBSTITUTE;
      n = 1;
    }
    v->ready += (size_t)n;
  }
}

sluice_status view_append(struct view *v, struct slice raw, uint64_t keep_from, struct sluice_error *err) {
  sluice_status st = make_room(v, raw.len, keep_from, err);
  if (st) return st;
  memcpy(v->bytes + v->len, raw.ptr, raw.len);
  v->len += raw.len;
  settle_characters(v);
  return SLUICE_OK;
}

void view_end(struct view *v) {
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
