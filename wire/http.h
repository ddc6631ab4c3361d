/* Private to wire/: the client's side of HTTP/1.1 (RFC 9110, RFC 9112). Reads strictly: what two readers could take
 * for two different requests is refused, because the monitor must judge the request that the upstream answers. */
#ifndef SLUICE_WIRE_HTTP_H
#define SLUICE_WIRE_HTTP_H

#include "wire/wire.h"

enum { HTTP_FIELDS_MAX = 128 };
struct http_field {
  struct slice name, value; /* point into the head's bytes */
};
struct http_head {
  struct slice method, target; /* target: origin form, begins with '/' */
  int minor;                   /* of HTTP/1.x */
  struct http_field fields[HTTP_FIELDS_MAX];
  size_t n_fields;
  bool keep_alive, expects_continue, chunked;
  uint64_t length; /* of the body; 0 when chunked */
};
/* Reads one request's head. *used: its bytes with the blank line; 0: more is needed. Returns 0, or the status to refuse
 * with (400, 417, 431, 501, 505). */
int http_head_parse(struct slice bytes, struct http_head *h, size_t *used);
bool slice_is_nocase(struct slice a, const char *word);
/* Is word one of a comma-separated list's elements, ASCII case ignored? */
bool http_list_has(struct slice list, struct slice word);
bool http_field_is_of_hop(struct slice name); /* RFC 9110, 7.6.1: for this connection only */
/* One line of a head, without its CRLF. False when it is no field. */
bool http_field_parse(struct slice line, struct http_field *f);

/* A chunked body. */
struct http_chunks {
  int state;
  uint64_t left;
  size_t line; /* bytes of the current size, extension or trailer line */
  size_t trailer;
};
/* Decodes into body. *used: bytes taken; *done: the body is whole. Returns 0, or the status to refuse with (400; 413
 * when body reaches its limit; 431 for trailers). */
int http_chunks_push(struct http_chunks *c, struct slice bytes, size_t *used, struct buffer *body, bool *done);
const char *http_reason(int status);

/* The path that a server would route by: percent-escapes of unreserved characters, "//", "/./" and "/../" resolved,
 * the query cut off, letters lowered, no '/' at the end. */
sluice_status http_path_plain(struct slice target, struct buffer *out, struct sluice_error *err);

#endif
