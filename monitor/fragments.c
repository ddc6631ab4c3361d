/* A call that PCRE2 would make at run time is written out when the policy loads: what reads patterns as trees
 * (keywords, hold-back, the prefilter) cannot see into a recursion. */
#include "monitor/fragments.h"

#include <cjson/cJSON.h>
#include <string.h>

struct fragments {
  const cJSON *own, *shared;
};
enum { DEPTH_MAX = 8, NAME_MAX_BYTES = 32, EXPANDED_MAX = 64 << 10 };

static bool is_name(const char *s) {
  size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  return n > 0 && n <= NAME_MAX_BYTES && !s[n] && !(s[0] >= '0' && s[0] <= '9');
}

sluice_status fragments_check(const char *whose, const cJSON *define, struct sluice_error *err) {
  const cJSON *item = NULL;
  if (define && !cJSON_IsObject(define))
    return sluice_fail(err, SLUICE_USAGE, "%s.define: wants an object of names and parts of patterns", whose);
  cJSON_ArrayForEach(item, define) {
    if (!is_name(item->string))
      return sluice_fail(err, SLUICE_USAGE, "%s.define: \"%.64s\" is no name: letters, digits and _, at most %d", whose,
                         item->string, NAME_MAX_BYTES);
    if (!cJSON_IsString(item))
      return sluice_fail(err, SLUICE_USAGE, "%s.define.%s: wants a string", whose, item->string);
  }
  return SLUICE_OK;
}

/* The text that is called at the start of s; *len: bytes of the call. NULL: no call, or not of ours. */
static const char *called(const struct fragments *f, struct slice s, size_t *len) {
  char name[NAME_MAX_BYTES + 1];
  if (s.len < 5 || memcmp(s.ptr, "(?&", 3) != 0) return NULL;
  const char *end = memchr(s.ptr, ')', s.len < sizeof name + 3 ? s.len : sizeof name + 3);
  if (!end) return NULL;
  size_t n = (size_t)(end - s.ptr) - 3;
  memcpy(name, s.ptr + 3, n);
  name[n] = '\0';
  *len = n + 4;
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(f->own, name);
  if (!item) item = cJSON_GetObjectItemCaseSensitive(f->shared, name);
  return cJSON_GetStringValue(item);
}

/* Bytes of what stands for itself at the start of s: an escape, \Q...\E, a class, or one byte. */
static size_t literal_length(struct slice s) {
  size_t at = 1;
  if (s.ptr[0] == '\\' && s.len > 1) {
    if (s.ptr[1] != 'Q') return 2;
    for (at = 2; at + 1 < s.len && !(s.ptr[at] == '\\' && s.ptr[at + 1] == 'E');) at++;
    return at + 1 < s.len ? at + 2 : s.len;
  }
  if (s.ptr[0] != '[') return 1;
  if (at < s.len && s.ptr[at] == '^') at++;
  if (at < s.len && s.ptr[at] == ']') at++;
  while (at < s.len && s.ptr[at] != ']') at += s.ptr[at] == '\\' && at + 1 < s.len ? 2 : 1;
  return at < s.len ? at + 1 : s.len;
}

static sluice_status expand(const char *where, const struct fragments *f, struct slice s, struct buffer *out, int depth,
                            struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!st && s.len) {
    size_t n = 0;
    const char *text = called(f, s, &n);
    if (text && depth == DEPTH_MAX)
      return sluice_fail(err, SLUICE_USAGE, "%s: %.*s is called more than %d deep: does it call itself?", where, (int)n,
                         s.ptr, DEPTH_MAX);
    if (!text) {
      n = literal_length(s);
      st = buffer_append(out, s.ptr, n, err);
    } else {
      st = buffer_append_str(out, "(?:", err);
      if (!st) st = expand(where, f, slice_of(text), out, depth + 1, err);
      if (!st) st = buffer_append_str(out, ")", err);
    }
    if (!st && out->len > EXPANDED_MAX)
      st = sluice_fail(err, SLUICE_LIMIT, "%s: its pattern with all it calls is longer than %d bytes", where,
                       EXPANDED_MAX);
    s = (struct slice){s.ptr + n, s.len - n};
  }
  return st;
}

static sluice_status rewrite(const char *where, const struct fragments *f, cJSON *string, struct sluice_error *err) {
  const char *text = cJSON_GetStringValue(string);
  struct buffer out;
  if (!text || !strstr(text, "(?&")) return SLUICE_OK;
  buffer_init(&out, 0);
  sluice_status st = expand(where, f, slice_of(text), &out, 0, err);
  if (!st) st = buffer_append(&out, "", 1, err);
  if (!st && !cJSON_SetValuestring(string, out.ptr))
    st = sluice_fail(err, SLUICE_NOMEM, "%s: no memory for its pattern", where);
  buffer_free(&out);
  return st;
}

sluice_status fragments_apply(const char *where, cJSON *object, const cJSON *own, const cJSON *shared,
                              struct sluice_error *err) {
  const struct fragments f = {own, shared};
  const cJSON *list = NULL;
  cJSON *pattern = NULL;
  sluice_status st = rewrite(where, &f, cJSON_GetObjectItemCaseSensitive(object, "pattern"), err);
  cJSON_ArrayForEach(list, cJSON_GetObjectItemCaseSensitive(object, "allow")) {
    cJSON_ArrayForEach(pattern, cJSON_GetObjectItemCaseSensitive(list, "patterns")) {
      if (!st) st = rewrite(where, &f, pattern, err);
    }
  }
  return st;
}
