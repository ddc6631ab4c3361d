/* A server's own error: it carries no model text. {"error":{...}}, and at the top in older vLLM:
 * {"object":"error","message":...}. Asked after the dialects whose frames may hold text beside an error. */
#include "wire/dialect.h"

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  struct json_span v;
  (void)text_key, (void)s, (void)err;
  *known = member_is(json, root, "object", "error") || member_of(json, root, "error", JSON_OBJECT, &v);
  return SLUICE_OK;
}

static sluice_status make_ending(const struct ending *e, struct buffer *out, struct sluice_error *err) {
  (void)e, (void)out, (void)err;
  return SLUICE_OK; /* there is no text of its own to stop in */
}

const struct dialect dialect_server_error = {"server_error", read_frame, make_ending, NULL, false, false};
