/* JSON for configuration: strict, with comments where allowed, errors with line and column. cJSON builds the tree; the
 * scanner judges the text first, because cJSON accepts more than JSON and says nothing about why it refuses. */
#include "base/base.h"
#include "base/json_scan.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JSON_BYTES_MAX ((size_t)64 << 20)
#define EXACT_MAX 9007199254740992.0 /* 2^53: cJSON keeps numbers as doubles */

static sluice_status fail_at(struct sluice_error *err, const char *name, const char *text, size_t offset,
                             const char *why) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < offset; i++) {
    if (text[i] == '\n') {
      line++;
      column = 1;
    } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
      column++;
    }
  }
  return sluice_fail(err, SLUICE_INPUT, "%s:%zu:%zu: %s", name, line, column, why);
}

/* Overwrites comments with spaces and keeps newlines, so that every later offset still names the same place.
 * Returns the offset of a comment that never ends, or len. */
static size_t blank_comments(char *text, size_t len) {
  bool string = false;
  for (size_t i = 0; i < len; i++) {
    if (string) {
      if (text[i] == '\\')
        i++;
      else if (text[i] == '"' || text[i] == '\n')
        string = false;
      continue;
    }
    if (text[i] == '"') string = true;
    if (text[i] != '/' || i + 1 >= len) continue;
    size_t start = i;
    if (text[i + 1] == '/') {
      for (; i < len && text[i] != '\n'; i++) text[i] = ' ';
    } else if (text[i + 1] == '*') {
      text[i] = text[i + 1] = ' ';
      for (i += 2; i + 1 < len && !(text[i] == '*' && text[i + 1] == '/'); i++)
        if (text[i] != '\n') text[i] = ' ';
      if (i + 1 >= len) return start;
      text[i] = text[i + 1] = ' ';
      i++;
    }
  }
  return len;
}

static int compare_names(const void *a, const void *b) {
  return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

/* Sorting keeps this fast for vocabularies of a hundred thousand keys. */
static sluice_status check_object(const char *name, const cJSON *object, struct sluice_error *err) {
  size_t n = 0, i = 0;
  for (const cJSON *m = object->child; m; m = m->next) n++;
  if (n < 2) return SLUICE_OK;
  const cJSON **members = malloc(n * sizeof(const cJSON *));
  if (!members) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", name);
  for (const cJSON *m = object->child; m; m = m->next) members[i++] = m;
  qsort(members, n, sizeof *members, compare_names);
  sluice_status st = SLUICE_OK;
  for (i = 1; i < n && !st; i++)
    if (strcmp(members[i - 1]->string, members[i]->string) == 0)
      st = sluice_fail(err, SLUICE_INPUT, "%s: the key \"%.80s\" occurs twice in one object%s%.80s%s", name,
                       members[i]->string, object->string ? " (\"" : "", object->string ? object->string : "",
                       object->string ? "\")" : "");
  free(members);
  return st;
}

/* Recursion is bounded by JSON_DEPTH_MAX. */
static sluice_status check_duplicates(const char *name, const cJSON *item, struct sluice_error *err) {
  sluice_status st = cJSON_IsObject(item) ? check_object(name, item, err) : SLUICE_OK;
  for (const cJSON *m = item->child; m && !st; m = m->next) st = check_duplicates(name, m, err);
  return st;
}

/* cJSON cuts a string at U+0000, silently. */
static const char *find_nul_escape(const char *text, size_t len) {
  for (size_t i = 0; i + 5 < len; i++) {
    if (text[i] != '\\') continue;
    if (memcmp(text + i, "\\u0000", 6) == 0) return text + i;
    i++;
  }
  return NULL;
}

/* Makes `text`, a copy of `original`, what cJSON may read, or says where in the original it is wrong. */
static sluice_status check_text(const char *name, const char *original, char *text, size_t len, bool comments,
                                struct sluice_error *err) {
  size_t bad, offset, valid = utf8_valid_prefix(text, len, &bad);
  const char *why;
  struct json_span root;
  if (valid < len) return fail_at(err, name, original, valid, "not UTF-8");
  if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) memset(text, ' ', 3); /* a byte order mark */
  if (comments) {
    size_t open = blank_comments(text, len);
    if (open < len) return fail_at(err, name, original, open, "this comment never ends");
  }
  if (!json_scan((struct slice){text, len}, &root, &offset, &why)) return fail_at(err, name, original, offset, why);
  const char *nul = find_nul_escape(text, len);
  if (nul) return fail_at(err, name, original, (size_t)(nul - text), "\\u0000 is not allowed in configuration");
  return SLUICE_OK;
}

sluice_status json_parse(const char *name, const char *text, size_t len, bool comments, struct cJSON **out,
                         struct sluice_error *err) {
  if (len > JSON_BYTES_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "%s: %zu bytes of JSON, more than %zu", name, len, JSON_BYTES_MAX);
  char *copy = sluice_strndup(text, len);
  if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", name);
  cJSON *tree = NULL;
  sluice_status st = check_text(name, text, copy, len, comments, err);
  if (!st) {
    tree = cJSON_ParseWithLengthOpts(copy, len + 1, NULL, 1);
    if (!tree) st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", name); /* the text itself was accepted above */
  }
  if (!st) st = check_duplicates(name, tree, err);
  free(copy);
  if (st)
    cJSON_Delete(tree);
  else
    *out = tree;
  return st;
}

sluice_status json_read_file(const char *path, bool comments, struct cJSON **out, struct sluice_error *err) {
  char *bytes;
  size_t len;
  sluice_status st = file_read(path, JSON_BYTES_MAX, &bytes, &len, err);
  if (st) return st;
  st = json_parse(path, bytes, len, comments, out, err);
  free(bytes);
  return st;
}

static const char *kind_of(const cJSON *item) {
  if (cJSON_IsObject(item)) return "an object";
  if (cJSON_IsArray(item)) return "an array";
  if (cJSON_IsString(item)) return "a string";
  if (cJSON_IsNumber(item)) return "a number";
  if (cJSON_IsBool(item)) return "true or false";
  return "null";
}

sluice_status json_check_keys(const struct cJSON *obj, const char *where, const char *const *known,
                              struct sluice_error *err) {
  if (!cJSON_IsObject(obj))
    return sluice_fail(err, SLUICE_USAGE, "%s: expected an object, found %s", where, kind_of(obj));
  for (const cJSON *m = obj->child; m; m = m->next) {
    const char *const *k = known;
    while (*k && strcmp(*k, m->string) != 0) k++;
    if (*k) continue;
    const char *near = suggest(m->string, known);
    if (near)
      return sluice_fail(err, SLUICE_USAGE, "%s: unknown key \"%.80s\"; did you mean \"%s\"?", where, m->string, near);
    char list[384] = "";
    for (k = known; *k; k++) {
      size_t used = strlen(list);
      snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *k);
    }
    return sluice_fail(err, SLUICE_USAGE, "%s: unknown key \"%.80s\"; known: %s", where, m->string, list);
  }
  return SLUICE_OK;
}

/* *item is NULL when the member is absent and need not be there. */
static sluice_status member(const cJSON *obj, const char *where, const char *key, bool required, const char *wanted,
                            const cJSON **item, struct sluice_error *err) {
  *item = cJSON_GetObjectItemCaseSensitive(obj, key);
  if (!*item && required) return sluice_fail(err, SLUICE_USAGE, "%s.%s is missing: expected %s", where, key, wanted);
  return SLUICE_OK;
}

static sluice_status wrong_kind(const cJSON *item, const char *where, const char *key, const char *wanted,
                                struct sluice_error *err) {
  return sluice_fail(err, SLUICE_USAGE, "%s.%s: expected %s, found %s", where, key, wanted, kind_of(item));
}

sluice_status json_string(const struct cJSON *obj, const char *where, const char *key, bool required,
                          const char *fallback, const char **out, struct sluice_error *err) {
  const cJSON *item;
  sluice_status st = member(obj, where, key, required, "a string", &item, err);
  if (st) return st;
  if (item && !cJSON_IsString(item)) return wrong_kind(item, where, key, "a string", err);
  *out = item ? item->valuestring : fallback;
  return SLUICE_OK;
}

sluice_status json_int(const struct cJSON *obj, const char *where, const char *key, bool required, int64_t fallback,
                       int64_t min, int64_t max, int64_t *out, struct sluice_error *err) {
  const cJSON *item;
  sluice_status st = member(obj, where, key, required, "a whole number", &item, err);
  if (st) return st;
  if (!item) {
    *out = fallback;
    return SLUICE_OK;
  }
  if (!cJSON_IsNumber(item)) return wrong_kind(item, where, key, "a whole number", err);
  double value = item->valuedouble;
  if (fabs(value) > EXACT_MAX || value != floor(value))
    return sluice_fail(err, SLUICE_USAGE, "%s.%s: expected a whole number of at most 2^53, found %.17g", where, key,
                       value);
  int64_t whole = (int64_t)value;
  if (whole < min || whole > max)
    return sluice_fail(err, SLUICE_USAGE, "%s.%s: expected %lld to %lld, found %lld", where, key, (long long)min,
                       (long long)max, (long long)whole);
  *out = whole;
  return SLUICE_OK;
}

sluice_status json_double(const struct cJSON *obj, const char *where, const char *key, bool required, double fallback,
                          double *out, struct sluice_error *err) {
  const cJSON *item;
  sluice_status st = member(obj, where, key, required, "a number", &item, err);
  if (st) return st;
  if (item && (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)))
    return wrong_kind(item, where, key, "a finite number", err);
  *out = item ? item->valuedouble : fallback;
  return SLUICE_OK;
}

sluice_status json_bool(const struct cJSON *obj, const char *where, const char *key, bool fallback, bool *out,
                        struct sluice_error *err) {
  const cJSON *item;
  sluice_status st = member(obj, where, key, false, "true or false", &item, err);
  if (st) return st;
  if (item && !cJSON_IsBool(item)) return wrong_kind(item, where, key, "true or false", err);
  *out = item ? cJSON_IsTrue(item) != 0 : fallback;
  return SLUICE_OK;
}

/* How one character is written inside a JSON string that may also stand inside an HTML script. Returns 0 when it stands
 * for itself. */
static int escape_of(uint32_t c, char out[8]) {
  static const char letters[] = "\"\\\b\f\n\r\t", short_forms[] = "\"\\bfnrt";
  const char *found = c && c < 0x80 ? strchr(letters, (int)c) : NULL;
  if (found) return snprintf(out, 8, "\\%c", short_forms[found - letters]);
  bool plain = c >= 0x20 && c != '<' && c != '>' && c != '&' && c != 0x2028 && c != 0x2029;
  return plain ? 0 : snprintf(out, 8, "\\u%04x", (unsigned)c);
}

/* Bytes of the ill-formed sequence at s: the longest beginning of a character, at least one (Unicode 15, "maximal
 * subpart"). */
static size_t ill_formed_length(const char *s, size_t len) {
  uint32_t ignored;
  for (size_t n = len < 3 ? len : 3; n > 1; n--)
    if (utf8_decode(s, n, &ignored) == 0) return n;
  return 1;
}

sluice_status json_quote(struct buffer *out, const char *s, size_t len, struct sluice_error *err) {
  size_t at = 0, flushed = 0;
  sluice_status st = buffer_append(out, "\"", 1, err);
  while (at < len && !st) {
    uint32_t c;
    char escape[8];
    int n = utf8_decode(s + at, len - at, &c);
    size_t width = n > 0 ? (size_t)n : ill_formed_length(s + at, len - at);
    int escaped = n > 0 ? escape_of(c, escape) : snprintf(escape, sizeof escape, "\\ufffd");
    if (escaped) {
      st = buffer_append(out, s + flushed, at - flushed, err);
      if (!st) st = buffer_append(out, escape, (size_t)escaped, err);
      flushed = at + width;
    }
    at += width;
  }
  if (!st && flushed < len) st = buffer_append(out, s + flushed, len - flushed, err);
  if (!st) st = buffer_append(out, "\"", 1, err);
  return st;
}
