/* Files of one JSON object a line. Errors name the file and the line. */
#ifndef SLUICE_DATASETS_READERS_JSONL_H
#define SLUICE_DATASETS_READERS_JSONL_H

#include "base/base.h"

enum { JSONL_FILE_BYTES = 1 << 30, JSONL_ROW_BYTES = 16 << 20, JSONL_ROWS = 10000000 };
struct jsonl_row {
  struct slice text;     /* points into the file's bytes */
  struct json_span root; /* an object */
  size_t line;           /* from 1 */
};
struct jsonl {
  const char *path; /* not owned */
  char *bytes;
  struct jsonl_row *rows;
  size_t n;
};
/* Reads the whole file and checks that every line that is not blank is a JSON object in valid UTF-8. A byte order mark
 * and carriage returns are allowed. SLUICE_LIMIT past the bounds above. */
sluice_status jsonl_open(const char *path, struct jsonl *out, struct sluice_error *err);
void jsonl_close(struct jsonl *f);
/* SLUICE_INPUT "path:line: ...". */
sluice_status jsonl_fail(const struct jsonl *f, const struct jsonl_row *row, struct sluice_error *err, const char *fmt,
                         ...) __attribute__((format(printf, 4, 5)));
/* The value at a dotted path; an error when it is missing or of another type. */
sluice_status jsonl_value(const struct jsonl *f, const struct jsonl_row *row, const char *path, enum json_type type,
                          struct json_span *out, struct sluice_error *err);
/* A string's decoded text in memory; a string that holds U+0000 is refused, since turns are C strings. */
sluice_status jsonl_text(const struct jsonl *f, const struct jsonl_row *row, struct json_span span,
                         struct arena *memory, const char **out, struct sluice_error *err);
/* A string at a path, decoded; with number allowed, also a number, as it is written. */
sluice_status jsonl_string(const struct jsonl *f, const struct jsonl_row *row, const char *path, bool or_number,
                           struct arena *memory, const char **out, struct sluice_error *err);

#endif
