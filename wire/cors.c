/* Pages of other origins. */
#include "wire/cors.h"

#include <string.h>

static struct slice field(const struct http_head *h, const char *name) {
  for (size_t i = 0; i < h->n_fields; i++)
    if (slice_is_nocase(h->fields[i].name, name)) return h->fields[i].value;
  return (struct slice){"", 0};
}

/* An Origin as browsers send it has neither path nor a '/' at its end; one that is written otherwise never matches. */
sluice_status cors_check(const struct cors *c, struct sluice_error *err) {
  for (size_t i = 0; i < c->n; i++) {
    const char *origin = c->origins[i], *host = strstr(origin, "://");
    bool good = host && host > origin && host[3] && !strpbrk(host + 3, "/?#@ \t\r\n,*");
    if (!good && strcmp(origin, "*") != 0)
      return sluice_fail(err, SLUICE_USAGE,
                         "--cors %s: neither an origin (SCHEME://HOST[:PORT], without a path or a / at the end) nor *",
                         origin);
  }
  return SLUICE_OK;
}

/* Who is told that it may read: the page's own origin, "*", or NULL. */
static const char *allowed(const struct cors *c, const struct http_head *h, bool own) {
  struct slice origin = field(h, "origin");
  const char *any = own && c->n == 0 ? "*" : NULL;
  for (size_t i = 0; origin.len && i < c->n; i++) {
    if (slice_is_nocase(origin, c->origins[i])) return c->origins[i];
    if (!strcmp(c->origins[i], "*")) any = "*";
  }
  return origin.len ? any : NULL;
}

/* An origin that is named may also send what identifies its user; with "*" browsers do not allow it. */
sluice_status cors_fields(const struct cors *c, const struct http_head *h, bool own, struct buffer *out,
                          struct sluice_error *err) {
  const char *origin = allowed(c, h, own);
  bool named = false;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; i < c->n; i++) named |= strcmp(c->origins[i], "*") != 0;
  if (named) st = buffer_append_str(out, "Vary: Origin\r\n", err);
  if (st || !origin) return st;
  st = buffer_printf(out, err, "Access-Control-Allow-Origin: %s\r\n", origin);
  if (!st && strcmp(origin, "*") != 0) st = buffer_append_str(out, "Access-Control-Allow-Credentials: true\r\n", err);
  return st;
}

sluice_status cors_expose(const struct cors *c, const struct http_head *h, struct slice names, struct buffer *out,
                          struct sluice_error *err) {
  sluice_status st = cors_fields(c, h, false, out, err);
  if (st || names.len < 2 || !allowed(c, h, false)) return st;
  return buffer_printf(out, err, "Access-Control-Expose-Headers: %.*s\r\n", (int)names.len - 1, names.ptr + 1);
}

bool cors_preflight(const struct cors *c, const struct http_head *h, struct buffer *out) {
  static const struct {
    const char *asked, *answered;
  } parts[] = {{"access-control-request-method", "Access-Control-Allow-Methods"},
               {"access-control-request-headers", "Access-Control-Allow-Headers"},
               {"access-control-request-private-network", "Access-Control-Allow-Private-Network"}};
  struct sluice_error ignored = {0};
  if (!c->n || !slice_is(h->method, "OPTIONS") || !field(h, "origin").len || !field(h, parts[0].asked).len)
    return false;
  sluice_status st = cors_fields(c, h, true, out, &ignored);
  bool may = allowed(c, h, true) != NULL;
  for (size_t i = 0; !st && may && i < sizeof parts / sizeof *parts; i++) {
    struct slice v = field(h, parts[i].asked);
    if (v.len) st = buffer_printf(out, &ignored, "%s: %.*s\r\n", parts[i].answered, (int)v.len, v.ptr);
  }
  if (!st && may) st = buffer_append_str(out, "Access-Control-Max-Age: 600\r\n", &ignored);
  if (st) buffer_clear(out); /* a browser that is told nothing does not ask */
  return true;
}

bool cors_is_field(struct slice name) {
  static const char head[] = "access-control-";
  return name.len >= sizeof head - 1 && slice_is_nocase((struct slice){name.ptr, sizeof head - 1}, head);
}
