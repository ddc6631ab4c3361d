/* JSON lines whose text stands under one key: {"text": "..."}. */
#include "wire/dialect.h"

#include <string.h>

static sluice_status read_line(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                               bool *known, struct sluice_error *err) {
  struct json_span v;
  if (root.type != JSON_OBJECT || !json_span_member(json, root, text_key, &v) || v.type != JSON_STRING)
    return SLUICE_OK;
  *known = true;
  sluice_status st = sketch_add_text(s, (struct sketch_text){.key = {0, WIRE_CONTENT, 0}, .value = v}, err);
  return st ? st : sketch_add_choice(s, (struct sketch_choice){.choice = 0}, err);
}

static sluice_status make_ending(const struct ending *e, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{", err);
  if (!st) st = json_quote(out, e->text_key, strlen(e->text_key), err);
  return st ? st : buffer_append_str(out, ":\"\",\"finish_reason\":\"content_filter\"}", err);
}

const struct dialect dialect_text_lines = {"text_lines", read_line, make_ending, NULL, false, false};
