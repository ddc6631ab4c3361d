/* Private to wire/: what a browser is told, so that pages of other origins may read an answer
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). */
#ifndef SLUICE_WIRE_CORS_H
#define SLUICE_WIRE_CORS_H

#include "wire/http.h"

struct cors {
  const char **origins; /* whose pages may: SCHEME://HOST[:PORT], or "*"; not owned */
  size_t n;             /* 0: who answers speaks for itself, and only what this server says of itself may be read */
};
sluice_status cors_check(const struct cors *c, struct sluice_error *err);
/* The field lines for an answer to h: none for a page that may not read it. own: it is made here. */
sluice_status cors_fields(const struct cors *c, const struct http_head *h, bool own, struct buffer *out,
                          struct sluice_error *err);
/* The same for the answer of an upstream with these field names, a comma before each: the page may read them all. */
sluice_status cors_expose(const struct cors *c, const struct http_head *h, struct slice names, struct buffer *out,
                          struct sluice_error *err);
/* Whether h asks what a page may ask, and is to be answered here; then out is filled with that answer's fields. */
bool cors_preflight(const struct cors *c, const struct http_head *h, struct buffer *out);
bool cors_is_field(struct slice name); /* an answer's: where origins are named these lines are cors_fields' alone */

#endif
