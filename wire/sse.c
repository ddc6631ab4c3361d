/* Server-sent events, parsed as bytes come and kept as they came. */
#include "wire/wire.h"

#include <string.h>

void sse_open(struct sse_parser *p, size_t max_event, sse_event_fn fn, void *ctx) {
  *p = (struct sse_parser){.max = max_event ? max_event : WIRE_FRAME_MAX, .eol = "\n", .fn = fn, .ctx = ctx};
  buffer_init(&p->raw, 0);
  buffer_init(&p->joined, 0);
}

void sse_close(struct sse_parser *p) {
  buffer_free(&p->raw);
  buffer_free(&p->joined);
}

/* Where the first LF or CR stands; bytes.len: nowhere. */
static size_t line_end(struct slice bytes) {
  const char *lf = memchr(bytes.ptr, '\n', bytes.len);
  size_t n = lf ? (size_t)(lf - bytes.ptr) : bytes.len;
  const char *cr = memchr(bytes.ptr, '\r', n);
  return cr ? (size_t)(cr - bytes.ptr) : n;
}

/* The next line of raw from *at, without its end; *at moves past the end. */
static struct slice next_line(struct slice raw, size_t *at) {
  size_t from = *at, end = from + line_end((struct slice){raw.ptr + from, raw.len - from});
  *at = end;
  if (*at < raw.len && raw.ptr[*at] == '\r') (*at)++;
  if (*at < raw.len && raw.ptr[*at] == '\n' && (*at == end || raw.ptr[*at - 1] == '\r')) (*at)++;
  return (struct slice){raw.ptr + from, end - from};
}

static struct slice field_value(struct slice line, size_t name_len) {
  struct slice v = {line.ptr + name_len, line.len - name_len};
  if (v.len && v.ptr[0] == ':') v.ptr++, v.len--;
  if (v.len && v.ptr[0] == ' ') v.ptr++, v.len--;
  return v;
}

static bool is_field(struct slice line, const char *name) {
  size_t n = strlen(name);
  return line.len >= n && memcmp(line.ptr, name, n) == 0 && (line.len == n || line.ptr[n] == ':');
}

/* Neither a comment nor a field, whatever its name: JSON, words, or bytes that are no text at all. */
static bool is_stray(struct slice line) {
  size_t n = 0;
  if (!line.len || line.ptr[0] == ':') return false;
  while (n < line.len && line.ptr[n] != ':') {
    unsigned char c = (unsigned char)line.ptr[n++];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!plain) return true;
  }
  return n > 64;
}

static sluice_status read_fields(struct sse_parser *p, struct sse_event *e, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  size_t at = 0, lines = 0;
  while (!st && at < e->raw.len) {
    struct slice line = next_line(e->raw, &at);
    if (p->offset == 0 && line.ptr == e->raw.ptr && line.len >= 3 && memcmp(line.ptr, "\xEF\xBB\xBF", 3) == 0)
      line.ptr += 3, line.len -= 3; /* one byte order mark may lead the stream */
    e->stray |= is_stray(line);
    if (is_field(line, "event")) e->name = field_value(line, 5);
    if (!is_field(line, "data")) continue;
    struct slice value = field_value(line, 4);
    if (lines == 1) {
      buffer_clear(&p->joined);
      st = buffer_append(&p->joined, e->data.ptr, e->data.len, err);
    }
    if (lines == 0) e->data = value;
    if (!st && lines) st = buffer_append(&p->joined, "\n", 1, err);
    if (!st && lines) st = buffer_append(&p->joined, value.ptr, value.len, err);
    lines++;
  }
  e->has_data = lines > 0;
  e->one_line = lines == 1;
  if (lines > 1) e->data = (struct slice){p->joined.ptr, p->joined.len};
  return st;
}

static sluice_status dispatch(struct sse_parser *p, bool ended, struct sluice_error *err) {
  struct sse_event e = {
      .raw = {p->raw.ptr, p->raw.len}, .data = {"", 0}, .name = {"", 0}, .ended = ended, .offset = p->offset};
  sluice_status st = read_fields(p, &e, err);
  if (!st) st = p->fn(p->ctx, &e, err);
  p->offset += p->raw.len;
  buffer_clear(&p->raw);
  p->line = 0;
  return st;
}

/* Takes the bytes up to and with the next LF or CR, or all of them. An LF behind a CR is always taken by itself, so
 * that it makes no difference whether it came in the same piece. */
static size_t take_line(struct sse_parser *p, struct slice bytes, bool *blank) {
  size_t n = line_end(bytes);
  *blank = false;
  if (n == bytes.len) return n;
  *blank = n == 0 && p->line == p->raw.len;
  p->after_cr = bytes.ptr[n] == '\r';
  n++;
  p->line = p->raw.len + n;
  return n;
}

/* A CR came last: whether an LF belongs to it shows now. In a stream that ends lines with a bare CR nothing waited: the
 * LF then stands before the next event, which has its own blank line all the same. */
static sluice_status after_cr(struct sse_parser *p, struct slice *bytes, struct sluice_error *err) {
  bool lf = bytes->ptr[0] == '\n', waited = p->blank_waits;
  sluice_status st = SLUICE_OK;
  p->after_cr = p->blank_waits = false;
  p->eol = lf ? "\r\n" : "\r";
  if (lf) {
    st = buffer_append(&p->raw, bytes->ptr, 1, err);
    p->line = p->raw.len;
    bytes->ptr++;
    bytes->len--;
  }
  return st || !waited ? st : dispatch(p, true, err);
}

sluice_status sse_push(struct sse_parser *p, struct slice bytes, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!st && bytes.len) {
    bool blank = false;
    if (p->after_cr) {
      st = after_cr(p, &bytes, err);
      continue;
    }
    size_t n = take_line(p, bytes, &blank);
    if (p->raw.len + n > p->max)
      return sluice_fail(err, SLUICE_LIMIT, "byte %llu: an event of more than %zu bytes", (unsigned long long)p->offset,
                         p->max);
    st = buffer_append(&p->raw, bytes.ptr, n, err);
    bytes.ptr += n;
    bytes.len -= n;
    if (st || !blank) continue;
    if (p->after_cr && strcmp(p->eol, "\r") != 0)
      p->blank_waits = true;
    else
      st = dispatch(p, true, err);
  }
  return st;
}

sluice_status sse_end(struct sse_parser *p, struct sluice_error *err) {
  return p->raw.len ? dispatch(p, p->blank_waits, err) : SLUICE_OK;
}
