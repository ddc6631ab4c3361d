#include "datasets/readers/jsonl.h"

#include <stdlib.h>
#include <string.h>

sluice_status jsonl_fail(const struct jsonl *f, const struct jsonl_row *row, struct sluice_error *err, const char *fmt,
                         ...) {
  char what[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  return sluice_fail(err, SLUICE_INPUT, "%s:%zu: %s", f->path, row->line, what);
}

static sluice_status check_row(const struct jsonl *f, struct jsonl_row *row, struct sluice_error *err) {
  size_t bad;
  if (row->text.len > JSONL_ROW_BYTES)
    return sluice_fail(err, SLUICE_LIMIT, "%s:%zu: the line has %zu bytes; at most %d are read", f->path, row->line,
                       row->text.len, JSONL_ROW_BYTES);
  if (utf8_valid_prefix(row->text.ptr, row->text.len, &bad) < row->text.len)
    return jsonl_fail(f, row, err, "not valid UTF-8 at byte %zu of the line", bad);
  struct sluice_error inner = {0};
  if (json_span_root(row->text, &row->root, &inner)) return jsonl_fail(f, row, err, "%s", inner.message);
  if (row->root.type != JSON_OBJECT) return jsonl_fail(f, row, err, "expected a JSON object");
  return SLUICE_OK;
}

static sluice_status add_row(struct jsonl *f, size_t *cap, struct jsonl_row row, struct sluice_error *err) {
  if (f->n == JSONL_ROWS) return sluice_fail(err, SLUICE_LIMIT, "%s: more than %d lines", f->path, JSONL_ROWS);
  if (f->n == *cap) {
    size_t grown_cap = *cap ? 2 * *cap : 256;
    struct jsonl_row *grown = realloc(f->rows, grown_cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for %zu lines", f->path, grown_cap);
    f->rows = grown;
    *cap = grown_cap;
  }
  sluice_status st = check_row(f, &row, err);
  if (!st) f->rows[f->n++] = row;
  return st;
}

static bool is_blank(struct slice s) {
  for (size_t i = 0; i < s.len; i++)
    if (!strchr(" \t\r", s.ptr[i]) || !s.ptr[i]) return false;
  return true;
}

sluice_status jsonl_open(const char *path, struct jsonl *out, struct sluice_error *err) {
  size_t len, cap = 0, at = 0, line = 0;
  *out = (struct jsonl){.path = path};
  sluice_status st = file_read(path, JSONL_FILE_BYTES, &out->bytes, &len, err);
  if (!st && len >= 3 && memcmp(out->bytes, "\xef\xbb\xbf", 3) == 0) at = 3;
  while (!st && at < len) {
    const char *end = memchr(out->bytes + at, '\n', len - at);
    size_t row_len = end ? (size_t)(end - out->bytes) - at : len - at;
    struct jsonl_row row = {.text = {out->bytes + at, row_len}, .line = ++line};
    at += row_len + 1;
    if (!is_blank(row.text)) st = add_row(out, &cap, row, err);
  }
  if (!st && out->n == 0)
    st = sluice_fail(err, SLUICE_INPUT, "%s: holds no rows; expected one JSON object a line", path);
  if (st) jsonl_close(out);
  return st;
}

void jsonl_close(struct jsonl *f) {
  free(f->bytes);
  free(f->rows);
  *f = (struct jsonl){0};
}

sluice_status jsonl_value(const struct jsonl *f, const struct jsonl_row *row, const char *path, enum json_type type,
                          struct json_span *out, struct sluice_error *err) {
  static const char *const names[] = {"null", "true", "false", "a number", "a string", "an array", "an object"};
  if (!json_span_path(row->text, row->root, path, out)) return jsonl_fail(f, row, err, "\"%s\" is missing", path);
  if (out->type != type)
    return jsonl_fail(f, row, err, "\"%s\" is %s; expected %s", path, names[out->type], names[type]);
  return SLUICE_OK;
}

sluice_status jsonl_text(const struct jsonl *f, const struct jsonl_row *row, struct json_span span,
                         struct arena *memory, const char **out, struct sluice_error *err) {
  struct buffer text;
  buffer_init(&text, JSONL_ROW_BYTES);
  sluice_status st = json_span_decode(row->text, span, &text, err);
  if (!st && text.len && memchr(text.ptr, 0, text.len))
    st = jsonl_fail(f, row, err, "a string holds the character U+0000 at byte %zu of the line", span.start);
  if (!st) {
    *out = arena_strndup(memory, text.len ? text.ptr : "", text.len);
    if (!*out) st = sluice_fail(err, SLUICE_NOMEM, "%s:%zu: out of memory", f->path, row->line);
  }
  buffer_free(&text);
  return st;
}

sluice_status jsonl_string(const struct jsonl *f, const struct jsonl_row *row, const char *path, bool or_number,
                           struct arena *memory, const char **out, struct sluice_error *err) {
  struct json_span span;
  if (or_number && json_span_path(row->text, row->root, path, &span) && span.type == JSON_NUMBER) {
    *out = arena_strndup(memory, row->text.ptr + span.start, span.end - span.start);
    return *out ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "%s:%zu: out of memory", f->path, row->line);
  }
  sluice_status st = jsonl_value(f, row, path, JSON_STRING, &span, err);
  return st ? st : jsonl_text(f, row, span, memory, out, err);
}
