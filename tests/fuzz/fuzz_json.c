/* JSON: byte ranges of values lie inside their parents, walking and counting agree, a decoded string that is quoted
 * again decodes to the same; and the same bytes as a configuration. */
#include <cjson/cJSON.h>

#include "fuzz.h"

enum { VISITS_MAX = 2000 };

static void visit_string(struct slice text, struct json_span s) {
  struct sluice_error err;
  struct buffer once, quoted, twice;
  buffer_init(&once, 0);
  buffer_init(&quoted, 0);
  buffer_init(&twice, 0);
  PROMISE(json_span_decode(text, s, &once, &err) == SLUICE_OK);
  PROMISE(once.len <= s.end - s.start);
  PROMISE(json_quote(&quoted, once.ptr, once.len, &err) == SLUICE_OK);
  struct slice q = {quoted.ptr, quoted.len};
  struct json_span back;
  size_t bad = 0;
  PROMISE(json_span_root(q, &back, &err) == SLUICE_OK && back.type == JSON_STRING);
  PROMISE(json_span_decode(q, back, &twice, &err) == SLUICE_OK);
  if (utf8_valid_prefix(once.ptr, once.len, &bad) == once.len) PROMISE(same_bytes(&once, &twice));
  buffer_free(&once);
  buffer_free(&quoted);
  buffer_free(&twice);
}

static void visit(struct slice text, struct json_span at, int *left) {
  if (--*left < 0) return;
  PROMISE(at.start < at.end && at.end <= text.len);
  if (at.type == JSON_STRING) visit_string(text, at);
  if (at.type != JSON_ARRAY && at.type != JSON_OBJECT) {
    PROMISE(json_span_count(text, at) == 0);
    return;
  }
  struct json_span found;
  json_span_member(text, at, "a", &found);
  json_span_path(text, at, "a.0.b", &found);
  if (at.type != JSON_ARRAY) return;
  struct json_span item = {0};
  size_t n = 0, count = json_span_count(text, at);
  for (; *left > 0 && json_span_next(text, at, &item); n++) {
    PROMISE(item.start > at.start && item.end < at.end);
    if (n < 8) PROMISE(json_span_element(text, at, n, &found) && found.start == item.start && found.end == item.end);
    visit(text, item, left);
  }
  PROMISE(*left <= 0 || n == count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct slice text = {(const char *)data, size};
  struct sluice_error err;
  struct json_span root;
  struct cJSON *tree = NULL;
  int left = VISITS_MAX;
  err.message[0] = '\0';
  if (json_span_root(text, &root, &err) == SLUICE_OK)
    visit(text, root, &left);
  else
    PROMISE(err.message[0]);
  for (int comments = 0; comments < 2; comments++)
    if (json_parse("input", text.ptr, text.len, comments, &tree, &err) == SLUICE_OK) cJSON_Delete(tree);
  return 0;
}
