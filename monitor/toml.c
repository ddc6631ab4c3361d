#include "monitor/toml.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 16, KEY_MAX = 128 };

struct toml {
  const char *name, *s;
  size_t n, at, line;
  struct sluice_error *err;
  struct buffer text; /* the string being read */
};

static sluice_status fail(struct toml *t, const char *what) {
  return sluice_fail(t->err, SLUICE_INPUT, "%s:%zu: %s", t->name, t->line, what);
}
static sluice_status no_memory(struct toml *t) {
  return sluice_fail(t->err, SLUICE_NOMEM, "%s:%zu: no memory", t->name, t->line);
}

static char here(const struct toml *t) {
  return t->at < t->n ? t->s[t->at] : '\0';
}

static bool take(struct toml *t, const char *with) {
  size_t len = strlen(with);
  if (t->n - t->at < len || memcmp(t->s + t->at, with, len) != 0) return false;
  t->at += len;
  return true;
}

static void skip_blanks(struct toml *t) {
  while (here(t) == ' ' || here(t) == '\t') t->at++;
}

static bool skip_newline(struct toml *t) {
  if (!take(t, "\n") && !take(t, "\r\n")) return false;
  t->line++;
  return true;
}

/* Blanks, comments and empty lines. */
static void skip_empty(struct toml *t) {
  for (;;) {
    skip_blanks(t);
    if (here(t) == '#')
      while (t->at < t->n && t->s[t->at] != '\n') t->at++;
    if (!skip_newline(t)) return;
  }
}

static sluice_status end_of_line(struct toml *t) {
  skip_blanks(t);
  if (here(t) == '#')
    while (t->at < t->n && t->s[t->at] != '\n') t->at++;
  return t->at == t->n || skip_newline(t) ? SLUICE_OK : fail(t, "more stands on this line than one value");
}

/* ---- strings ---- */

static sluice_status read_escape(struct toml *t) {
  static const char from[] = "btnfre\"\\", to[] = "\b\t\n\f\r\033\"\\";
  char c = here(t), utf8[4];
  const char *known = c ? strchr(from, c) : NULL;
  t->at++;
  if (known) return buffer_append(&t->text, &to[known - from], 1, t->err);
  if (c != 'u' && c != 'U')
    return fail(t, "an escape in a string is none of \\b \\t \\n \\f \\r \\e \\\" \\\\ \\u \\U");
  uint32_t code = 0;
  for (int i = 0; i < (c == 'u' ? 4 : 8); i++, t->at++) {
    char h = here(t);
    int d = h >= '0' && h <= '9' ? h - '0' : (h | 32) >= 'a' && (h | 32) <= 'f' ? (h | 32) - 'a' + 10 : -1;
    if (d < 0 || code > 0x10FFFF) return fail(t, "\\u wants 4 hex digits, \\U 8");
    code = code * 16 + (uint32_t)d;
  }
  int len = utf8_encode(code, utf8);
  return len ? buffer_append(&t->text, utf8, (size_t)len, t->err) : fail(t, "an escape is no Unicode character");
}

/* At the opening quotes; the text goes into t->text. */
static sluice_status read_string(struct toml *t) {
  char quote = here(t), triple[4] = {quote, quote, quote, '\0'};
  bool multi = take(t, triple), basic = quote == '"';
  sluice_status st = SLUICE_OK;
  buffer_clear(&t->text);
  if (!multi) t->at++;
  if (multi) skip_newline(t); /* right behind the quotes it is no part of the string */
  while (!st) {
    if (t->at >= t->n) return fail(t, "a string has no end");
    char c = here(t);
    if (multi && take(t, triple)) {
      for (int extra = 0; extra < 2 && !st && here(t) == quote; extra++, t->at++) /* """"a"""" ends in one quote */
        st = buffer_append(&t->text, &quote, 1, t->err);
      return st;
    }
    if (!multi && c == quote) return t->at++, SLUICE_OK;
    if (c == '\n' && !multi) return fail(t, "a string ends at its line's end; wants its closing quote");
    if ((unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r') return fail(t, "a control byte in a string");
    if (c == '\n') t->line++;
    t->at++;
    if (basic && c == '\\') {
      if (multi && (here(t) == '\n' || here(t) == ' ' || here(t) == '\r' || here(t) == '\t'))
        while (here(t) == ' ' || here(t) == '\t' || here(t) == '\r' || here(t) == '\n')
          t->line += here(t) == '\n', t->at++;
      else
        st = read_escape(t);
    } else {
      st = buffer_append(&t->text, &c, 1, t->err);
    }
  }
  return st;
}

/* ---- values ---- */

static sluice_status read_value(struct toml *t, int depth, cJSON **out);

static sluice_status read_array(struct toml *t, int depth, cJSON **out) {
  cJSON *array = cJSON_CreateArray();
  sluice_status st = array ? SLUICE_OK : no_memory(t);
  t->at++;
  while (!st) {
    skip_empty(t);
    if (take(t, "]")) break;
    cJSON *item = NULL;
    st = read_value(t, depth + 1, &item);
    if (st) break;
    cJSON_AddItemToArray(array, item);
    skip_empty(t);
    if (take(t, "]")) break;
    if (!take(t, ",")) st = fail(t, "an array wants \",\" or \"]\" here");
  }
  if (st)
    cJSON_Delete(array);
  else
    *out = array;
  return st;
}

static sluice_status read_number(struct toml *t, cJSON **out) {
  char digits[64];
  size_t n = 0, start = t->at;
  while (strchr("+-0123456789._eE", here(t)) && here(t) && t->at - start < sizeof digits - 1) {
    if (here(t) != '_') digits[n++] = here(t);
    t->at++;
  }
  digits[n] = '\0';
  char *end = NULL;
  double value = strtod(digits, &end);
  if (n == 0 || *end || !isfinite(value))
    return fail(t, "a value is none of string, number, true, false, array (dates and inline tables are not read)");
  *out = cJSON_CreateNumber(value);
  return *out ? SLUICE_OK : no_memory(t);
}

static sluice_status read_value(struct toml *t, int depth, cJSON **out) {
  if (depth > DEPTH_MAX) return fail(t, "arrays nested too deep");
  if (here(t) == '"' || here(t) == '\'') {
    sluice_status st = read_string(t);
    if (st) return st;
    if (memchr(t->text.ptr ? t->text.ptr : "", 0, t->text.len)) return fail(t, "U+0000 in a string");
    *out = cJSON_CreateString(t->text.ptr ? t->text.ptr : "");
    return *out ? SLUICE_OK : no_memory(t);
  }
  if (here(t) == '[') return read_array(t, depth, out);
  if (take(t, "true")) return (*out = cJSON_CreateTrue()) ? SLUICE_OK : no_memory(t);
  if (take(t, "false")) return (*out = cJSON_CreateFalse()) ? SLUICE_OK : no_memory(t);
  return read_number(t, out);
}

/* ---- keys and tables ---- */

static bool is_bare(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static sluice_status read_key(struct toml *t, char key[KEY_MAX]) {
  size_t n = 0;
  if (here(t) == '"' || here(t) == '\'') {
    sluice_status st = read_string(t);
    if (st) return st;
    if (t->text.len >= KEY_MAX) return fail(t, "a key is too long");
    memcpy(key, t->text.ptr ? t->text.ptr : "", t->text.len);
    key[t->text.len] = '\0';
    return SLUICE_OK;
  }
  while (is_bare(here(t)) && n < KEY_MAX - 1) key[n++] = t->s[t->at++];
  key[n] = '\0';
  return n ? SLUICE_OK : fail(t, "a key is missing");
}

/* The table `key` of `parent`: of an array of tables its last one; made when `make`. */
static sluice_status enter(struct toml *t, cJSON **parent, const char *key, bool is_last, bool array) {
  cJSON *found = cJSON_GetObjectItemCaseSensitive(*parent, key);
  if (is_last && array) {
    if (!found) found = cJSON_AddArrayToObject(*parent, key);
    if (!found) return no_memory(t);
    if (!cJSON_IsArray(found) || (found->child && !cJSON_IsObject(found->child)))
      return fail(t, "a table stands where an array of tables was begun, or the other way round");
    cJSON *item = cJSON_CreateObject();
    if (!item) return no_memory(t);
    cJSON_AddItemToArray(found, item);
    *parent = item;
    return SLUICE_OK;
  }
  if (is_last && found) return fail(t, "this table was begun before");
  if (!found) found = cJSON_AddObjectToObject(*parent, key);
  if (!found) return no_memory(t);
  if (cJSON_IsArray(found))
    found = found->child ? found->child->prev : found; /* cJSON: the first one's prev is the last */
  if (!cJSON_IsObject(found)) return fail(t, "a table's name is a value's");
  *parent = found;
  return SLUICE_OK;
}

static sluice_status read_header(struct toml *t, cJSON *root, cJSON **table) {
  char key[KEY_MAX];
  t->at++;
  bool array = take(t, "["), last = false;
  *table = root;
  while (!last) {
    skip_blanks(t);
    sluice_status st = read_key(t, key);
    if (st) return st;
    skip_blanks(t);
    last = !take(t, ".");
    st = enter(t, table, key, last, array);
    if (st) return st;
  }
  if (!take(t, array ? "]]" : "]")) return fail(t, "a table's name wants its closing bracket");
  return end_of_line(t);
}

static sluice_status read_pair(struct toml *t, cJSON *table) {
  char key[KEY_MAX];
  cJSON *value = NULL;
  sluice_status st = read_key(t, key);
  if (st) return st;
  skip_blanks(t);
  if (here(t) == '.') return fail(t, "dotted keys are not read; write a [table]");
  if (!take(t, "=")) return fail(t, "a key wants \"=\" behind it");
  skip_blanks(t);
  if (cJSON_GetObjectItemCaseSensitive(table, key)) return fail(t, "this key stands twice");
  st = read_value(t, 0, &value);
  if (st) return st;
  if (!cJSON_AddItemToObject(table, key, value)) {
    cJSON_Delete(value);
    return no_memory(t);
  }
  return end_of_line(t);
}

sluice_status toml_parse(const char *name, struct slice text, struct cJSON **out, struct sluice_error *err) {
  struct toml t = {.name = name, .s = text.ptr, .n = text.len, .line = 1, .err = err};
  cJSON *root = cJSON_CreateObject(), *table = root;
  size_t bad = 0;
  sluice_status st = root ? SLUICE_OK : no_memory(&t);
  buffer_init(&t.text, 0);
  if (!st && utf8_valid_prefix(text.ptr, text.len, &bad) != text.len)
    st = sluice_fail(err, SLUICE_INPUT, "%s: byte %zu is no UTF-8", name, bad);
  for (skip_empty(&t); !st && t.at < t.n; skip_empty(&t))
    st = here(&t) == '[' ? read_header(&t, root, &table) : read_pair(&t, table);
  buffer_free(&t.text);
  if (st)
    cJSON_Delete(root);
  else
    *out = root;
  return st;
}
