/* A server's own error: {"error":{...}}, {"type":"error",...}; at the top in older vLLM:
 * {"object":"error","message":...}; a word alone from TGI ({"error":"...","error_type":...}, {"message":"..."}) and
 * FastAPI ({"detail":...}). Asked after the dialects whose frames may hold text beside an error. Its words are judged,
 * since some servers put what their model wrote there (Groq's failed_generation). */
#include "wire/dialect.h"

static bool is_error(struct slice json, struct json_span root, const char *text_key) {
  static const char *const words[] = {"error", "errors", "message", "detail"};
  struct json_span v;
  if (member_is(json, root, "object", "error") || member_is(json, root, "type", "error") ||
      member_of(json, root, "error", JSON_OBJECT, &v))
    return true;
  if (json_span_member(json, root, text_key, &v)) return false; /* a line of text that has such a word beside it */
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (json_span_member(json, root, words[i], &v) && v.type >= JSON_STRING) return true;
  return false;
}

static sluice_status read_frame(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                                bool *known, struct sluice_error *err) {
  if (root.type != JSON_OBJECT || !is_error(json, root, text_key)) return SLUICE_OK;
  *known = true;
  sluice_status st = add_values(json, root, (struct wire_key){0, WIRE_CONTENT, 0}, false, s, err);
  if (st || s->n_texts == 0) return st;
  return sketch_add_choice(
      s,
      (struct sketch_choice){
          .wide = true, .bare = true, .atomic = true, .sequence = whole_number(json, root, "sequence_number", 0)},
      err);
}

static sluice_status make_ending(const struct ending *e, struct buffer *out, struct sluice_error *err) {
  (void)e, (void)out, (void)err;
  return SLUICE_OK; /* there is no text of its own to stop in */
}

const struct dialect dialect_server_error = {"server_error", read_frame, make_ending, NULL, false, false};
