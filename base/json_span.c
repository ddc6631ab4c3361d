/* Byte ranges of values inside one JSON text (RFC 8259). Nothing is built and nothing recurses: what a range does not
 * name stays as it came. The member and element walks expect a text that json_span_root accepted; on any other they
 * stay inside the range. */
#include "base/base.h"
#include "base/json_scan.h"

#include <stdlib.h>
#include <string.h>

struct scan {
  const char *s;
  size_t len, at;
  const char *why;
  bool lenient; /* NaN and Infinity are numbers, as Python writes them */
};

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(const char *s, size_t at, size_t end) {
  while (at < end && is_space(s[at])) at++;
  return at;
}

static bool fail(struct scan *c, const char *why) {
  c->why = c->at >= c->len ? "the text ends too early" : why;
  return false;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool scan_escape(struct scan *c) {
  if (c->at >= c->len) return fail(c, "");
  char kind = c->s[c->at];
  if (kind == '\0' || !strchr("\"\\/bfnrtu", kind)) return fail(c, "no such escape in a string");
  c->at++;
  for (int i = 0; kind == 'u' && i < 4; i++, c->at++)
    if (c->at >= c->len || hex_value(c->s[c->at]) < 0) return fail(c, "\\u wants four hexadecimal digits");
  return true;
}

/* Eight bytes at a time: a byte with its high bit set in the result where v has `"`, `\\` or a byte below 0x20, and
 * perhaps behind such a byte (a borrow); none where v has none. Bytes from 0x80 on are never marked. */
static uint64_t marked(uint64_t v) {
  const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
  uint64_t quote = v ^ (ones * '"'), escape = v ^ (ones * '\\');
  return (((quote - ones) & ~quote) | ((escape - ones) & ~escape) | ((v - ones * 0x20) & ~v)) & highs;
}

/* Past bytes that stand for themselves in a string; stops at or up to seven bytes before the next that does not. */
static size_t skip_plain(const char *s, size_t at, size_t end) {
  uint64_t v;
  while (end - at >= sizeof v) {
    memcpy(&v, s + at, sizeof v);
    v = marked(v);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (v) return at + (size_t)__builtin_ctzll(v) / 8;
#else
    if (v) return at;
#endif
    at += sizeof v;
  }
  return at;
}

static bool scan_string(struct scan *c) {
  c->at++;
  while (c->at < c->len) {
    c->at = skip_plain(c->s, c->at, c->len);
    if (c->at == c->len) break;
    unsigned char b = (unsigned char)c->s[c->at];
    if (b == '"') {
      c->at++;
      return true;
    }
    if (b < 0x20) return fail(c, "a control character inside a string");
    c->at++;
    if (b == '\\' && !scan_escape(c)) return false;
  }
  return fail(c, "");
}

static bool scan_digits(struct scan *c) {
  size_t from = c->at;
  while (c->at < c->len && c->s[c->at] >= '0' && c->s[c->at] <= '9') c->at++;
  return c->at > from || fail(c, "a digit was expected in a number");
}

static bool scan_word(struct scan *c, const char *word) {
  size_t n = strlen(word);
  if (c->len - c->at < n || memcmp(c->s + c->at, word, n) != 0) return fail(c, "a value was expected");
  c->at += n;
  return true;
}

static bool scan_number(struct scan *c) {
  if (c->s[c->at] == '-') c->at++;
  if (c->lenient && c->at < c->len && c->s[c->at] == 'I') return scan_word(c, "Infinity");
  if (c->at < c->len && c->s[c->at] == '0') {
    c->at++;
    if (c->at < c->len && c->s[c->at] >= '0' && c->s[c->at] <= '9') return fail(c, "a number may not begin with 0");
  } else if (!scan_digits(c)) {
    return false;
  }
  if (c->at < c->len && c->s[c->at] == '.') {
    c->at++;
    if (!scan_digits(c)) return false;
  }
  if (c->at < c->len && (c->s[c->at] == 'e' || c->s[c->at] == 'E')) {
    c->at++;
    if (c->at < c->len && (c->s[c->at] == '+' || c->s[c->at] == '-')) c->at++;
    if (!scan_digits(c)) return false;
  }
  return true;
}

static bool scan_scalar(struct scan *c) {
  switch (c->s[c->at]) {
  case '"':
    return scan_string(c);
  case 't':
    return scan_word(c, "true");
  case 'f':
    return scan_word(c, "false");
  case 'n':
    return scan_word(c, "null");
  case '-':
    return scan_number(c);
  case 'N':
    if (c->lenient) return scan_word(c, "NaN");
    break;
  case 'I':
    if (c->lenient) return scan_word(c, "Infinity");
    break;
  default:
    break;
  }
  if (c->s[c->at] >= '0' && c->s[c->at] <= '9') return scan_number(c);
  return fail(c, "a value was expected");
}

static bool scan_key(struct scan *c) {
  c->at = skip_space(c->s, c->at, c->len);
  if (c->at >= c->len || c->s[c->at] != '"') return fail(c, "a key in double quotes was expected");
  if (!scan_string(c)) return false;
  c->at = skip_space(c->s, c->at, c->len);
  if (c->at >= c->len || c->s[c->at] != ':') return fail(c, "':' was expected after a key");
  c->at++;
  return true;
}

/* Opens the container at c->at. *closed: it was empty and is behind us; else the first value comes next. */
static bool scan_open(struct scan *c, char *stack, int *depth, bool *closed) {
  char open = c->s[c->at], close = open == '{' ? '}' : ']';
  if (*depth == JSON_DEPTH_MAX) return fail(c, "nested more than 64 deep");
  c->at = skip_space(c->s, c->at + 1, c->len);
  *closed = c->at < c->len && c->s[c->at] == close;
  if (*closed) {
    c->at++;
    return true;
  }
  stack[(*depth)++] = open;
  return open == '[' || scan_key(c);
}

/* After a value: closes containers, or stands before the next value. */
static bool scan_after_value(struct scan *c, const char *stack, int *depth) {
  while (*depth > 0) {
    bool object = stack[*depth - 1] == '{';
    c->at = skip_space(c->s, c->at, c->len);
    char b = c->at < c->len ? c->s[c->at] : '\0';
    if (b == ',') {
      c->at++;
      return !object || scan_key(c);
    }
    if (b != (object ? '}' : ']'))
      return fail(c, object ? "',' or '}' was expected in an object" : "',' or ']' was expected in an array");
    c->at++;
    (*depth)--;
  }
  return true;
}

static bool scan_value(struct scan *c) {
  char stack[JSON_DEPTH_MAX];
  int depth = 0;
  do {
    c->at = skip_space(c->s, c->at, c->len);
    if (c->at >= c->len) return fail(c, "");
    bool finished = true;
    if (c->s[c->at] == '{' || c->s[c->at] == '[') {
      if (!scan_open(c, stack, &depth, &finished)) return false;
    } else if (!scan_scalar(c)) {
      return false;
    }
    if (finished && !scan_after_value(c, stack, &depth)) return false;
  } while (depth > 0);
  return true;
}

static enum json_type type_at(char first) {
  switch (first) {
  case '{':
    return JSON_OBJECT;
  case '[':
    return JSON_ARRAY;
  case '"':
    return JSON_STRING;
  case 't':
    return JSON_TRUE;
  case 'f':
    return JSON_FALSE;
  case 'n':
    return JSON_NULL;
  default:
    return JSON_NUMBER;
  }
}

static bool scan_all(struct slice text, bool lenient, struct json_span *root, size_t *offset, const char **why) {
  struct scan c = {text.ptr, text.len, 0, NULL, lenient};
  size_t start = skip_space(c.s, 0, c.len);
  bool ok = scan_value(&c);
  size_t end = c.at;
  if (ok) {
    c.at = skip_space(c.s, c.at, c.len);
    if (c.at < c.len) ok = fail(&c, "text after the end of the value");
  }
  *offset = c.at;
  *why = c.why;
  if (ok) *root = (struct json_span){type_at(c.s[start]), start, end};
  return ok;
}

bool json_scan(struct slice text, struct json_span *root, size_t *offset, const char **why) {
  return scan_all(text, false, root, offset, why);
}

static sluice_status find_root(struct slice text, bool lenient, struct json_span *out, struct sluice_error *err) {
  size_t offset;
  const char *why;
  if (scan_all(text, lenient, out, &offset, &why)) return SLUICE_OK;
  return sluice_fail(err, SLUICE_INPUT, "JSON, byte %zu of %zu: %s", offset, text.len, why);
}

sluice_status json_span_root(struct slice text, struct json_span *out, struct sluice_error *err) {
  return find_root(text, false, out, err);
}

sluice_status json_span_root_lenient(struct slice text, struct json_span *out, struct sluice_error *err) {
  return find_root(text, true, out, err);
}

size_t json_span_string_end(struct slice text, size_t at) {
  struct scan c = {text.ptr, text.len, at, NULL, false};
  return at < text.len && text.ptr[at] == '"' && scan_string(&c) ? c.at : 0;
}

/* ---- walking a text that was accepted ---- */

/* One past the closing quote; end when there is none. */
static size_t string_end(const char *s, size_t at, size_t end) {
  for (at++; at < end; at++) {
    at = skip_plain(s, at, end);
    if (at == end) break;
    if (s[at] == '\\')
      at++;
    else if (s[at] == '"')
      return at + 1;
  }
  return end;
}

static size_t value_end(const char *s, size_t at, size_t end) {
  size_t depth = 0;
  while (at < end) {
    char b = s[at];
    if (b == '"') {
      at = string_end(s, at, end);
      if (!depth) return at;
      continue;
    }
    if (depth == 0 && (b == ',' || b == '}' || b == ']' || is_space(b))) return at;
    at++;
    if (b == '{' || b == '[') depth++;
    if ((b == '}' || b == ']') && --depth == 0) return at;
  }
  return end;
}

/* Cursor over the values of a container; key is empty in an array. */
struct walk {
  const char *s;
  size_t at, end; /* end: the closing bracket's place */
  bool object;
  struct json_span key, value;
};

static bool walk_begin(struct walk *w, struct slice text, struct json_span container, enum json_type wanted) {
  if (container.type != wanted || container.end > text.len || container.end < container.start + 2) return false;
  *w = (struct walk){
      .s = text.ptr, .at = container.start + 1, .end = container.end - 1, .object = wanted == JSON_OBJECT};
  return true;
}

static bool walk_next(struct walk *w) {
  w->at = skip_space(w->s, w->at, w->end);
  if (w->at < w->end && w->s[w->at] == ',') w->at = skip_space(w->s, w->at + 1, w->end);
  if (w->at >= w->end) return false;
  if (w->object) {
    if (w->s[w->at] != '"') return false;
    w->key = (struct json_span){JSON_STRING, w->at, string_end(w->s, w->at, w->end)};
    w->at = skip_space(w->s, w->key.end, w->end);
    if (w->at >= w->end || w->s[w->at] != ':') return false;
    w->at = skip_space(w->s, w->at + 1, w->end);
  }
  if (w->at >= w->end) return false;
  size_t end = value_end(w->s, w->at, w->end);
  if (end == w->at) return false;
  w->value = (struct json_span){type_at(w->s[w->at]), w->at, end};
  w->at = end;
  return true;
}

static bool read_hex4(const char *s, size_t at, size_t end, uint32_t *unit) {
  if (end - at < 4) return false;
  *unit = 0;
  for (size_t i = 0; i < 4; i++) {
    int digit = hex_value(s[at + i]);
    if (digit < 0) return false;
    *unit = *unit << 4 | (uint32_t)digit;
  }
  return true;
}

static size_t encode_wtf8(uint32_t codepoint, char out[4]) {
  int n = utf8_encode(codepoint, out);
  if (n) return (size_t)n;
  out[0] = (char)(0xE0 | codepoint >> 12); /* a lone surrogate */
  out[1] = (char)(0x80 | (codepoint >> 6 & 0x3F));
  out[2] = (char)(0x80 | (codepoint & 0x3F));
  return 3;
}

/* Decodes what stands behind a backslash at *at (before `end`) into out; moves *at past it. 0: malformed. */
static size_t decode_escape(const char *s, size_t *at, size_t end, char out[4]) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (*at >= end) return 0;
  char kind = s[(*at)++];
  if (kind != 'u') {
    const char *found = kind ? strchr(from, kind) : NULL;
    if (!found) return 0;
    out[0] = to[found - from];
    return 1;
  }
  uint32_t unit, low;
  if (!read_hex4(s, *at, end, &unit)) return 0;
  *at += 4;
  bool high = unit >= 0xD800 && unit <= 0xDBFF;
  if (high && end - *at >= 6 && s[*at] == '\\' && s[*at + 1] == 'u' && read_hex4(s, *at + 2, end, &low) &&
      low >= 0xDC00 && low <= 0xDFFF) {
    *at += 6;
    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
  }
  return encode_wtf8(unit, out);
}

/* Compares a key's decoded form without allocating. */
static bool key_is(const char *s, struct json_span key, const char *wanted, size_t n) {
  size_t at = key.start + 1, end = key.end - 1, matched = 0;
  if (end - at == n && memcmp(s + at, wanted, n) == 0 && !memchr(wanted, '\\', n)) return true;
  if (end - at < n || !memchr(s + at, '\\', end - at)) return false; /* an escape is longer than what it stands for */
  while (at < end) {
    char decoded[4] = {s[at++]};
    size_t len = 1;
    if (decoded[0] == '\\' && (len = decode_escape(s, &at, end, decoded)) == 0) return false;
    if (n - matched < len || memcmp(wanted + matched, decoded, len) != 0) return false;
    matched += len;
  }
  return matched == n;
}

bool json_span_member(struct slice text, struct json_span object, const char *key, struct json_span *out) {
  struct walk w;
  bool found = false;
  size_t n = strlen(key);
  if (!walk_begin(&w, text, object, JSON_OBJECT)) return false;
  while (walk_next(&w)) {
    if (!key_is(w.s, w.key, key, n)) continue;
    *out = w.value;
    found = true;
  }
  return found;
}

bool json_span_element(struct slice text, struct json_span array, size_t index, struct json_span *out) {
  struct walk w;
  if (!walk_begin(&w, text, array, JSON_ARRAY)) return false;
  for (size_t i = 0; walk_next(&w); i++) {
    if (i != index) continue;
    *out = w.value;
    return true;
  }
  return false;
}

bool json_span_next(struct slice text, struct json_span array, struct json_span *element) {
  struct walk w;
  if (!walk_begin(&w, text, array, JSON_ARRAY)) return false;
  if (element->end) w.at = element->end;
  if (!walk_next(&w)) return false;
  *element = w.value;
  return true;
}

bool json_span_next_member(struct slice text, struct json_span object, struct json_span *key, struct json_span *value) {
  struct walk w;
  if (!walk_begin(&w, text, object, JSON_OBJECT)) return false;
  if (value->end) w.at = value->end;
  if (!walk_next(&w)) return false;
  *key = w.key;
  *value = w.value;
  return true;
}

bool json_span_key_is(struct slice text, struct json_span key, const char *name) {
  return key_is(text.ptr, key, name, strlen(name));
}

size_t json_span_count(struct slice text, struct json_span array) {
  struct walk w;
  size_t n = 0;
  if (!walk_begin(&w, text, array, array.type == JSON_OBJECT ? JSON_OBJECT : JSON_ARRAY)) return 0;
  while (walk_next(&w)) n++;
  return n;
}

static bool path_index(const char *step, size_t len, size_t *index) {
  *index = 0;
  for (size_t i = 0; i < len; i++) {
    if (step[i] < '0' || step[i] > '9' || i >= 9) return false;
    *index = *index * 10 + (size_t)(step[i] - '0');
  }
  return len > 0;
}

bool json_span_path(struct slice text, struct json_span from, const char *path, struct json_span *out) {
  struct json_span at = from;
  while (*path) {
    size_t len = strcspn(path, "."), index;
    char key[128];
    if (len == 0 || len >= sizeof key) return false;
    memcpy(key, path, len);
    key[len] = '\0';
    bool found = at.type == JSON_ARRAY ? path_index(path, len, &index) && json_span_element(text, at, index, &at)
                                       : json_span_member(text, at, key, &at);
    if (!found) return false;
    path += len + (path[len] == '.');
  }
  *out = at;
  return true;
}

sluice_status json_span_decode(struct slice text, struct json_span string, struct buffer *out,
                               struct sluice_error *err) {
  if (string.type != JSON_STRING || string.end > text.len || string.end < string.start + 2)
    return sluice_fail(err, SLUICE_INPUT, "JSON, byte %zu: expected a string", string.start);
  const char *s = text.ptr;
  size_t at = string.start + 1, end = string.end - 1;
  sluice_status st = SLUICE_OK;
  while (at < end && !st) {
    const char *escape = memchr(s + at, '\\', end - at);
    size_t plain = escape ? (size_t)(escape - s) : end;
    st = buffer_append(out, s + at, plain - at, err);
    at = plain;
    if (st || at == end) break;
    char decoded[4];
    at++;
    size_t n = decode_escape(s, &at, end, decoded);
    if (!n) return sluice_fail(err, SLUICE_INPUT, "JSON, byte %zu: a broken escape in a string", plain);
    st = buffer_append(out, decoded, n, err);
  }
  return st;
}

/* ---- keys that stand twice ---- */

static int by_hash(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static uint64_t hash_key(const char *s, struct json_span key) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t at = key.start + 1, end = key.end - 1; at < end;) {
    char decoded[4] = {s[at++]};
    size_t len = decoded[0] == '\\' ? decode_escape(s, &at, end, decoded) : 1;
    for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)decoded[i]) * 0x100000001b3u;
  }
  return h;
}

/* One object's own keys. Few: on the stack. When memory lacks for many, they are taken to repeat: the careful answer.
 */
bool json_span_keys_repeat(struct slice text, struct json_span object) {
  uint64_t few[64], *hashes = few;
  size_t n = json_span_count(text, object), i = 0;
  struct walk w;
  if (n > 64) hashes = malloc(n * sizeof *hashes);
  if (!hashes) return true;
  bool twice = false;
  for (bool more = walk_begin(&w, text, object, JSON_OBJECT); more && i < n && walk_next(&w);)
    hashes[i++] = hash_key(text.ptr, w.key);
  qsort(hashes, i, sizeof *hashes, by_hash);
  for (size_t k = 1; k < i; k++) twice |= hashes[k] == hashes[k - 1];
  if (hashes != few) free(hashes);
  return twice;
}

bool json_span_repeats(struct slice text, struct json_span value, size_t *at) {
  struct walk w;
  *at = value.start;
  if (value.type != JSON_OBJECT && value.type != JSON_ARRAY) return false;
  if (value.type == JSON_OBJECT && json_span_keys_repeat(text, value)) return true;
  if (!walk_begin(&w, text, value, value.type)) return false;
  while (walk_next(&w))
    if (json_span_repeats(text, w.value, at)) return true; /* as deep as the text may be: 64 */
  return false;
}
