/* Requests as bytes: heads, fields, chunked bodies, paths. */
#include "wire/http.h"

#include <string.h>
#include <strings.h>

enum { CHUNK_LINE_MAX = 256, TRAILER_MAX = 8 << 10, BLANK_LINES_MAX = 4 };

static bool is_token(struct slice s) {
  static const char others[] = "!#$%&'*+-.^_`|~";
  for (size_t i = 0; i < s.len; i++) {
    char c = s.ptr[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && (c == '\0' || !strchr(others, c))) return false;
  }
  return s.len > 0;
}

bool slice_is_nocase(struct slice a, const char *word) {
  return a.len == strlen(word) && strncasecmp(a.ptr, word, a.len) == 0;
}

static struct slice trim(struct slice s) {
  while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s.ptr++, s.len--;
  while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) s.len--;
  return s;
}

bool http_list_has(struct slice list, struct slice word) {
  while (list.len) {
    const char *comma = memchr(list.ptr, ',', list.len);
    size_t n = comma ? (size_t)(comma - list.ptr) : list.len;
    struct slice item = trim((struct slice){list.ptr, n});
    if (item.len == word.len && strncasecmp(item.ptr, word.ptr, word.len) == 0) return true;
    n += comma != NULL;
    list.ptr += n, list.len -= n;
  }
  return false;
}

bool http_field_is_of_hop(struct slice name) {
  static const char *const names[] = {"connection",       "keep-alive",          "te",      "trailer",
                                      "proxy-connection", "proxy-authorization", "upgrade", "transfer-encoding",
                                      "http2-settings",   "proxy-authenticate"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (slice_is_nocase(name, names[i])) return true;
  return false;
}

bool http_field_parse(struct slice line, struct http_field *f) {
  const char *colon = memchr(line.ptr, ':', line.len);
  if (!colon) return false;
  size_t n = (size_t)(colon - line.ptr);
  f->name = (struct slice){line.ptr, n};
  f->value = trim((struct slice){colon + 1, line.len - n - 1});
  for (size_t i = 0; i < f->value.len; i++) {
    unsigned char c = (unsigned char)f->value.ptr[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
  }
  return is_token(f->name);
}

/* ---- heads ---- */

static int parse_target(struct http_head *h, struct slice t) {
  static const char *const schemes[] = {"http://", "https://"};
  for (size_t i = 0; i < t.len; i++)
    if (t.ptr[i] <= ' ' || t.ptr[i] == 0x7f || t.ptr[i] == '#') return 400;
  for (size_t i = 0; i < 2; i++) { /* absolute form: who it names is not asked, as only one upstream is known */
    size_t n = strlen(schemes[i]);
    if (t.len <= n || strncasecmp(t.ptr, schemes[i], n) != 0) continue;
    const char *path = memchr(t.ptr + n, '/', t.len - n);
    if (!path) return 400;
    t.len -= (size_t)(path - t.ptr);
    t.ptr = path;
  }
  h->target = t;
  return t.len && t.ptr[0] == '/' ? 0 : 400;
}

static int parse_request_line(struct http_head *h, struct slice line) {
  const char *first = memchr(line.ptr, ' ', line.len), *last = memrchr(line.ptr, ' ', line.len);
  if (!first || first == last) return 400;
  h->method = (struct slice){line.ptr, (size_t)(first - line.ptr)};
  struct slice version = {last + 1, line.len - (size_t)(last + 1 - line.ptr)};
  if (!is_token(h->method) || version.len != 8 || memcmp(version.ptr, "HTTP/", 5) != 0) return 400;
  if (version.ptr[5] != '1' || version.ptr[6] != '.' || (version.ptr[7] != '0' && version.ptr[7] != '1')) return 505;
  h->minor = version.ptr[7] - '0';
  return parse_target(h, (struct slice){first + 1, (size_t)(last - first - 1)});
}

static bool parse_length(struct slice value, uint64_t *out) {
  uint64_t n = 0;
  if (value.len == 0 || value.len > 18) return false;
  for (size_t i = 0; i < value.len; i++) {
    if (value.ptr[i] < '0' || value.ptr[i] > '9') return false;
    n = 10 * n + (uint64_t)(value.ptr[i] - '0');
  }
  *out = n;
  return true;
}

/* What the fields say of the message itself. */
static int interpret(struct http_head *h) {
  unsigned hosts = 0, lengths = 0;
  bool close = false, keep = false;
  for (size_t i = 0; i < h->n_fields; i++) {
    const struct http_field *f = &h->fields[i];
    uint64_t n = 0;
    if (slice_is_nocase(f->name, "host")) {
      hosts++;
    } else if (slice_is_nocase(f->name, "content-length")) {
      if (!parse_length(f->value, &n) || (lengths++ && n != h->length)) return 400;
      h->length = n;
    } else if (slice_is_nocase(f->name, "transfer-encoding")) {
      if (h->minor == 0 || h->chunked) return 400;
      if (!slice_is_nocase(f->value, "chunked")) return 501;
      h->chunked = true;
    } else if (slice_is_nocase(f->name, "connection")) {
      close |= http_list_has(f->value, slice_of("close"));
      keep |= http_list_has(f->value, slice_of("keep-alive"));
    } else if (slice_is_nocase(f->name, "expect")) {
      if (!slice_is_nocase(f->value, "100-continue")) return 417;
      h->expects_continue = h->minor == 1;
    }
  }
  if (hosts > 1 || (hosts == 0 && h->minor == 1) || (h->chunked && lengths)) return 400;
  h->keep_alive = !close && (h->minor == 1 || keep);
  return 0;
}

int http_head_parse(struct slice bytes, struct http_head *h, size_t *used) {
  size_t at = 0;
  *used = 0;
  while (at < 2 * BLANK_LINES_MAX && bytes.len - at >= 2 && memcmp(bytes.ptr + at, "\r\n", 2) == 0) at += 2;
  const char *end = memmem(bytes.ptr + at, bytes.len - at, "\r\n\r\n", 4);
  if (!end) return 0;
  size_t stop = (size_t)(end - bytes.ptr) + 2;
  *h = (struct http_head){.minor = 1};
  for (bool first = true; at < stop; first = false) {
    const char *nl = memmem(bytes.ptr + at, stop - at, "\r\n", 2);
    struct slice line = {bytes.ptr + at, (size_t)(nl - bytes.ptr) - at};
    int status = 0;
    if (memchr(line.ptr, '\n', line.len) || memchr(line.ptr, '\r', line.len) || memchr(line.ptr, '\0', line.len))
      status = 400;
    else if (first)
      status = parse_request_line(h, line);
    else if (h->n_fields == HTTP_FIELDS_MAX)
      status = 431;
    else if (!http_field_parse(line, &h->fields[h->n_fields++]))
      status = 400;
    if (status) return status;
    at += line.len + 2;
  }
  *used = stop + 2;
  return interpret(h);
}

/* ---- chunked bodies ---- */

enum { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_SIZE_LF, CHUNK_DATA, CHUNK_CR, CHUNK_LF, CHUNK_TRAILER };

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static int chunk_size_byte(struct http_chunks *c, char byte) {
  int digit = hex_value(byte);
  if (digit >= 0 && c->state == CHUNK_SIZE) {
    if (c->line == 0) c->left = 0;
    if (++c->line > 15) return 400;
    c->left = 16 * c->left + (uint64_t)digit;
    return 0;
  }
  if (c->line == 0 || ++c->line > CHUNK_LINE_MAX) return 400;
  if (byte == '\r')
    c->state = CHUNK_SIZE_LF;
  else if (byte == '\n' || byte == '\0' || (c->state == CHUNK_SIZE && byte != ';' && byte != ' ' && byte != '\t'))
    return 400;
  else
    c->state = CHUNK_EXTENSION;
  return 0;
}

/* Trailers are read and dropped. c->line counts the bytes of the line without its CR. */
static int chunk_trailer_byte(struct http_chunks *c, char byte, bool *done) {
  if (++c->trailer > TRAILER_MAX) return 431;
  if (byte == '\r') return 0;
  if (byte != '\n') {
    c->line++;
    return 0;
  }
  *done = c->line == 0;
  c->line = 0;
  return 0;
}

int http_chunks_push(struct http_chunks *c, struct slice bytes, size_t *used, struct buffer *body, bool *done) {
  struct sluice_error ignored = {0};
  size_t i = 0;
  int status = 0;
  *done = false;
  while (i < bytes.len && !*done && !status) {
    char byte = bytes.ptr[i];
    if (c->state == CHUNK_DATA) {
      size_t n = bytes.len - i < c->left ? bytes.len - i : (size_t)c->left;
      if (body->limit && body->len + n > body->limit) return 413;
      if (buffer_append(body, bytes.ptr + i, n, &ignored)) return 503;
      c->left -= n;
      i += n;
      if (c->left == 0) c->state = CHUNK_CR;
      continue;
    }
    i++;
    if (c->state == CHUNK_SIZE || c->state == CHUNK_EXTENSION)
      status = chunk_size_byte(c, byte);
    else if (c->state == CHUNK_TRAILER)
      status = chunk_trailer_byte(c, byte, done);
    else if (byte != (c->state == CHUNK_CR ? '\r' : '\n'))
      status = 400;
    else if (c->state == CHUNK_CR)
      c->state = CHUNK_LF;
    else {
      c->line = 0;
      c->state = c->state == CHUNK_LF ? CHUNK_SIZE : c->left ? CHUNK_DATA : CHUNK_TRAILER;
    }
  }
  *used = i;
  return status;
}

/* ---- paths ---- */

/* Drops the last segment, for "..". */
static void step_up(struct buffer *out) {
  while (out->len && out->ptr[out->len - 1] != '/') out->len--;
  if (out->len) out->len--;
}

/* Ends the segment that begins at `from`: "." and "" vanish, ".." takes the one before with it. */
static void end_segment(struct buffer *out, size_t from) {
  struct slice s = {out->ptr ? out->ptr + from : "", out->len - from};
  if (slice_is(s, "..")) {
    out->len = from - 1;
    step_up(out);
  } else if (s.len == 0 || slice_is(s, ".")) {
    out->len = from - 1;
  }
}

sluice_status http_path_plain(struct slice target, struct buffer *out, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  size_t segment = 0;     /* where it begins */
  bool parameter = false; /* behind a ';', which some servers cut off */
  buffer_clear(out);
  for (size_t i = 0; !st && i < target.len && target.ptr[i] != '?'; i++) {
    char c = target.ptr[i];
    if (c == '%' && i + 2 < target.len && hex_value(target.ptr[i + 1]) >= 0 && hex_value(target.ptr[i + 2]) >= 0) {
      c = (char)(16 * hex_value(target.ptr[i + 1]) + hex_value(target.ptr[i + 2]));
      i += 2;
    }
    if (c == '\\') c = '/';
    parameter = c != '/' && (parameter || c == ';');
    if (parameter) continue;
    if (c == '/') {
      if (segment) end_segment(out, segment);
      st = buffer_append(out, "/", 1, err);
      segment = out->len;
      continue;
    }
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    st = buffer_append(out, &c, 1, err);
  }
  if (!st && segment) end_segment(out, segment);
  return st;
}

const char *http_reason(int status) {
  switch (status) {
  case 200:
    return "OK";
  case 204:
    return "No Content";
  case 400:
    return "Bad Request";
  case 404:
    return "Not Found";
  case 405:
    return "Method Not Allowed";
  case 408:
    return "Request Timeout";
  case 413:
    return "Content Too Large";
  case 417:
    return "Expectation Failed";
  case 431:
    return "Request Header Fields Too Large";
  case 501:
    return "Not Implemented";
  case 502:
    return "Bad Gateway";
  case 503:
    return "Service Unavailable";
  case 504:
    return "Gateway Timeout";
  case 505:
    return "HTTP Version Not Supported";
  default:
    return "Internal Server Error";
  }
}
