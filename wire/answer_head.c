/* The fields of an answer: which of them go on to the client, and where they may point. */
#include "wire/proxy.h"

#include <string.h>
#include <strings.h>

/* What stands behind the upstream's own scheme, host and port, and the prefix of --upstream; false: it names another
 * server. A path names none. */
static bool at_upstream(const struct exchange *x, struct slice url, struct slice *path) {
  const struct target *t = &x->loop->whole->targets[x->target];
  size_t n = strlen(t->base), prefix = strlen(t->prefix);
  *path = url;
  if (url.len && url.ptr[0] == '/' && (url.len < 2 || url.ptr[1] != '/')) {
    n = 0;
  } else if (url.len < n || strncasecmp(url.ptr, t->base, n) != 0 || (url.len > n && !strchr("/?#", url.ptr[n]))) {
    return false;
  }
  *path = (struct slice){url.ptr + n, url.len - n};
  if (path->len < prefix || memcmp(path->ptr, t->prefix, prefix) != 0) return n > 0;
  path->ptr += prefix, path->len -= prefix;
  return true;
}

static sluice_status put_field(const struct exchange *x, struct slice line, const struct http_field *f,
                               struct buffer *out, struct sluice_error *err) {
  struct slice path;
  bool place = slice_is_nocase(f->name, "location") || slice_is_nocase(f->name, "content-location");
  sluice_status st = SLUICE_OK;
  if (place && at_upstream(x, f->value, &path)) { /* the client finds it at this proxy */
    st = buffer_append(out, f->name.ptr, f->name.len, err);
    if (!st) st = buffer_append_str(out, path.len && path.ptr[0] == '/' ? ": " : ": /", err);
    if (!st) st = buffer_append(out, path.ptr, path.len, err);
  } else {
    st = buffer_append(out, line.ptr, line.len, err);
  }
  return st ? st : buffer_append_str(out, "\r\n", err);
}

sluice_status answer_fields(const struct exchange *x, bool rewritten, struct buffer *out, struct sluice_error *err) {
  static const char *const of_bytes[] = {"content-encoding", "content-md5",   "digest",
                                         "content-digest",   "repr-digest",   "etag",
                                         "accept-ranges",    "content-range", "last-modified"};
  const struct wire_proxy *p = x->loop->whole;
  struct buffer hop, names;
  sluice_status st = SLUICE_OK;
  buffer_init(&hop, SERVER_HEAD_MAX);
  buffer_init(&names, SERVER_HEAD_MAX);
  for (int pass = 0; !st && pass < 2; pass++) {
    for (size_t at = 0; !st && at < x->head.len;) {
      const char *end = memchr(x->head.ptr + at, '\n', x->head.len - at);
      size_t n = (size_t)(end - x->head.ptr) - at;
      struct http_field f;
      struct slice line = {x->head.ptr + at, n};
      at += n + 1;
      if (!http_field_parse(line, &f)) continue;
      if (pass == 0) { /* what Connection names goes no further either */
        if (!slice_is_nocase(f.name, "connection")) continue;
        st = buffer_append(&hop, f.value.ptr, f.value.len, err);
        if (!st) st = buffer_append_str(&hop, ",", err);
        continue;
      }
      bool drop = http_field_is_of_hop(f.name) || slice_is_nocase(f.name, "content-length") ||
                  slice_is_nocase(f.name, "alt-svc") || /* another way to the upstream, past this one */
                  http_list_has((struct slice){hop.ptr ? hop.ptr : "", hop.len}, f.name);
      for (size_t i = 0; rewritten && !drop && i < sizeof of_bytes / sizeof *of_bytes; i++)
        drop = slice_is_nocase(f.name, of_bytes[i]);
      if (drop || (p->cors.n && cors_is_field(f.name))) continue;
      st = put_field(x, line, &f, out, err);
      if (!st && p->cors.n) st = buffer_printf(&names, err, ",%.*s", (int)f.name.len, f.name.ptr);
    }
  }
  if (!st && p->cors.n)
    st = cors_expose(&p->cors, &x->client->head, (struct slice){names.ptr ? names.ptr : "", names.len}, out, err);
  buffer_free(&names);
  buffer_free(&hop);
  return st;
}

/* A redirection past this proxy. */
bool answer_leads_away(const struct exchange *x) {
  struct slice head = {x->head.ptr, x->head.len}, path;
  struct http_field f;
  bool away = false;
  while (x->status / 100 == 3 && head.len) {
    const char *end = memchr(head.ptr, '\n', head.len);
    struct slice line = {head.ptr, (size_t)(end - head.ptr)};
    head.ptr += line.len + 1, head.len -= line.len + 1;
    if (!http_field_parse(line, &f) || !slice_is_nocase(f.name, "location")) continue;
    bool absolute = memmem(f.value.ptr, f.value.len, "://", 3) || (f.value.len > 1 && !memcmp(f.value.ptr, "//", 2));
    away |= absolute && !at_upstream(x, f.value, &path);
  }
  return away;
}
