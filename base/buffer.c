/* Slices and growing byte buffers with a ceiling. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT ((size_t)1 << 30)

struct slice slice_of(const char *cstr) {
  return (struct slice){cstr, cstr ? strlen(cstr) : 0};
}

bool slice_equal(struct slice a, struct slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool slice_is(struct slice a, const char *cstr) {
  return slice_equal(a, slice_of(cstr));
}

void buffer_init(struct buffer *b, size_t limit) {
  *b = (struct buffer){.limit = limit};
}

void buffer_free(struct buffer *b) {
  free(b->ptr);
  *b = (struct buffer){.limit = b->limit};
}

void buffer_clear(struct buffer *b) {
  b->len = 0;
  if (b->ptr) b->ptr[0] = '\0';
}

/* Room for `more` bytes and the NUL. */
static sluice_status reserve(struct buffer *b, size_t more, struct sluice_error *err) {
  size_t limit = b->limit ? b->limit : DEFAULT_LIMIT;
  if (more > limit || b->len > limit - more)
    return sluice_fail(err, SLUICE_LIMIT, "a buffer would pass its limit of %zu bytes (holds %zu, asked for %zu more)",
                       limit, b->len, more);
  size_t need = b->len + more + 1;
  if (need <= b->cap) return SLUICE_OK;
  size_t cap = b->cap ? b->cap : 64;
  while (cap < need) cap += cap / 2 + 32;
  char *grown = realloc(b->ptr, cap);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "out of memory: a buffer of %zu bytes", cap);
  b->ptr = grown;
  b->cap = cap;
  return SLUICE_OK;
}

sluice_status buffer_append(struct buffer *b, const void *bytes, size_t len, struct sluice_error *err) {
  sluice_status st = reserve(b, len, err);
  if (st) return st;
  if (len) memcpy(b->ptr + b->len, bytes, len);
  b->len += len;
  b->ptr[b->len] = '\0';
  return SLUICE_OK;
}

sluice_status buffer_append_str(struct buffer *b, const char *cstr, struct sluice_error *err) {
  return buffer_append(b, cstr, strlen(cstr), err);
}

sluice_status buffer_printf(struct buffer *b, struct sluice_error *err, const char *fmt, ...) {
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  size_t room = b->cap > b->len ? b->cap - b->len : 0;
  int n = vsnprintf(room ? b->ptr + b->len : NULL, room, fmt, args);
  va_end(args);
  sluice_status st = SLUICE_OK;
  if (n < 0) {
    st = sluice_fail(err, SLUICE_INTERNAL, "the format \"%.40s\" could not be printed", fmt);
  } else {
    st = reserve(b, (size_t)n, err);
    if (!st && (size_t)n >= room) vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
  }
  va_end(again);
  if (!st) b->len += (size_t)n;
  if (b->ptr) b->ptr[b->len] = '\0';
  return st;
}

void buffer_consume(struct buffer *b, size_t n) {
  if (n >= b->len) {
    buffer_clear(b);
    return;
  }
  memmove(b->ptr, b->ptr + n, b->len - n);
  b->len -= n;
  b->ptr[b->len] = '\0';
}

/* An empty buffer gives "", so that NULL means only "no memory". */
char *buffer_take(struct buffer *b, size_t *len) {
  if (len) *len = b->len;
  char *bytes = b->ptr ? b->ptr : calloc(1, 1);
  *b = (struct buffer){.limit = b->limit};
  return bytes;
}

char *sluice_strdup(const char *s) {
  return s ? sluice_strndup(s, strlen(s)) : NULL;
}

/* Copies exactly n bytes, NULs included, and ends them with one more NUL. */
char *sluice_strndup(const char *s, size_t n) {
  if (!s || n == SIZE_MAX) return NULL;
  char *copy = malloc(n + 1);
  if (!copy) return NULL;
  if (n) memcpy(copy, s, n);
  copy[n] = '\0';
  return copy;
}

char *sluice_format(const char *fmt, ...) {
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, args);
  va_end(args);
  char *text = n < 0 ? NULL : malloc((size_t)n + 1);
  if (text) vsnprintf(text, (size_t)n + 1, fmt, again);
  va_end(again);
  return text;
}
