/* Spec strings, "name:key=value,key=value": how policies and datasets are named on command lines and in suites. A value
 * may hold a comma or a backslash behind a backslash. */
#include "base/base.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_BYTES_MAX 4096
#define SPEC_KEYS_MAX 64

void spec_free(struct spec *s) {
  for (size_t i = 0; i < s->n; i++) {
    free(s->keys[i]);
    free(s->values[i]);
  }
  free(s->keys);
  free(s->values);
  free(s->name);
  *s = (struct spec){0};
}

/* Copies the value at *at up to an unescaped comma or the end, and moves *at there. NULL: no memory. */
static char *cut_value(const char **at) {
  char *value = malloc(strlen(*at) + 1), *to = value;
  if (!value) return NULL;
  const char *from = *at;
  while (*from && *from != ',') {
    if (*from == '\\' && (from[1] == ',' || from[1] == '\\')) from++;
    *to++ = *from++;
  }
  *to = '\0';
  *at = from;
  return value;
}

static sluice_status add_pair(const char *text, const char **at, struct spec *out, struct sluice_error *err) {
  size_t len = strcspn(*at, "=,");
  if ((*at)[len] != '=' || len == 0)
    return sluice_fail(err, SLUICE_USAGE, "\"%s\": expected key=value at \"%.40s\"", text, *at);
  if (out->n == SPEC_KEYS_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "\"%.80s...\": more than %d keys", text, SPEC_KEYS_MAX);
  char *key = sluice_strndup(*at, len);
  *at += len + 1;
  char *value = key ? cut_value(at) : NULL;
  if (!value) {
    free(key);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  }
  bool twice = spec_get(out, key) != NULL;
  out->keys[out->n] = key;
  out->values[out->n++] = value;
  return twice ? sluice_fail(err, SLUICE_USAGE, "\"%s\": the key %s is given twice", text, key) : SLUICE_OK;
}

sluice_status spec_parse(const char *text, struct spec *out, struct sluice_error *err) {
  *out = (struct spec){0};
  if (strlen(text) > SPEC_BYTES_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "\"%.80s...\": longer than %d bytes", text, SPEC_BYTES_MAX);
  size_t len = strcspn(text, ":");
  if (len == 0) return sluice_fail(err, SLUICE_USAGE, "\"%s\": expected a name, as in name:key=value", text);
  if (strcspn(text, "=,") < len)
    return sluice_fail(err, SLUICE_USAGE, "\"%s\": expected a name and a colon before the first key=value", text);
  out->name = sluice_strndup(text, len);
  out->keys = calloc(SPEC_KEYS_MAX, sizeof *out->keys);
  out->values = calloc(SPEC_KEYS_MAX, sizeof *out->values);
  sluice_status st = SLUICE_OK;
  if (!out->name || !out->keys || !out->values) st = sluice_fail(err, SLUICE_NOMEM, "out of memory");
  const char *at = text + len;
  while (!st && *at) { /* *at is the colon, or the comma before a pair */
    at++;
    st = add_pair(text, &at, out, err);
  }
  if (st) spec_free(out);
  return st;
}

sluice_status spec_check_keys(const struct spec *s, const char *const *known, struct sluice_error *err) {
  for (size_t i = 0; i < s->n; i++) {
    bool found = false;
    for (const char *const *k = known; *k && !found; k++) found = strcmp(s->keys[i], *k) == 0;
    if (found) continue;
    const char *near = suggest(s->keys[i], known);
    if (near)
      return sluice_fail(err, SLUICE_USAGE, "%s: no key \"%s\"; did you mean \"%s\"?", s->name, s->keys[i], near);
    char list[256] = "";
    for (const char *const *k = known; *k; k++) {
      size_t used = strlen(list);
      snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *k);
    }
    return sluice_fail(err, SLUICE_USAGE, "%s: no key \"%s\"; its keys: %s", s->name, s->keys[i],
                       *list ? list : "none");
  }
  return SLUICE_OK;
}

const char *spec_get(const struct spec *s, const char *key) {
  for (size_t i = 0; i < s->n; i++)
    if (strcmp(s->keys[i], key) == 0) return s->values[i];
  return NULL;
}

sluice_status spec_int(const struct spec *s, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
                       struct sluice_error *err) {
  const char *text = spec_get(s, key);
  if (!text) {
    *out = fallback;
    return SLUICE_OK;
  }
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  bool number = (*text == '-' || (*text >= '0' && *text <= '9')) && end != text && !*end;
  if (!number || errno || value < min || value > max)
    return sluice_fail(err, SLUICE_USAGE, "%s: %s=%s: expected a whole number from %lld to %lld", s->name, key, text,
                       (long long)min, (long long)max);
  *out = value;
  return SLUICE_OK;
}

sluice_status spec_double(const struct spec *s, const char *key, double fallback, double min, double max, double *out,
                          struct sluice_error *err) {
  const char *text = spec_get(s, key);
  if (!text) {
    *out = fallback;
    return SLUICE_OK;
  }
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !isfinite(value) || value < min || value > max)
    return sluice_fail(err, SLUICE_USAGE, "%s: %s=%s: expected a number from %g to %g", s->name, key, text, min, max);
  *out = value;
  return SLUICE_OK;
}
