/* Plain word lists, as many projects ship them, as a policy of one rule. */
#include "monitor/monitor.h"

#include <string.h>

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

static size_t line_of(struct slice text, size_t at) {
  size_t line = 1;
  for (size_t i = 0; i < at; i++) line += text.ptr[i] == '\n';
  return line;
}

sluice_status monitor_import_words(const char *name, struct slice text, const struct monitor_import_options *options,
                                   struct buffer *out, struct buffer *remarks, struct sluice_error *err) {
  size_t bad = 0, n = 0, line_number = 0;
  if (utf8_valid_prefix(text.ptr, text.len, &bad) != text.len)
    return sluice_fail(err, SLUICE_INPUT, "%s:%zu: no UTF-8", name, line_of(text, bad));
  const char *zero = text.len ? memchr(text.ptr, 0, text.len) : NULL;
  if (zero)
    return sluice_fail(err, SLUICE_INPUT, "%s:%zu: U+0000 in a word", name, line_of(text, (size_t)(zero - text.ptr)));
  sluice_status st = buffer_append_str(out, "{\n  \"name\": ", err);
  if (!st) st = json_quote(out, options->id, strlen(options->id), err);
  if (!st) st = buffer_append_str(out, ",\n  \"rules\": [\n    {\"id\": ", err);
  if (!st) st = json_quote(out, options->id, strlen(options->id), err);
  if (!st) st = buffer_append_str(out, ", \"category\": ", err);
  if (!st) st = json_quote(out, options->category, strlen(options->category), err);
  if (!st) st = buffer_printf(out, err, ", \"action\": \"%s\", \"words\": [", monitor_action_name(options->action));
  while (!st && text.len) {
    const char *end = memchr(text.ptr, '\n', text.len);
    struct slice line = {text.ptr, end ? (size_t)(end - text.ptr) : text.len};
    size_t used = line.len + (end != NULL);
    text.ptr += used;
    text.len -= used;
    line_number++;
    while (line.len && is_space(line.ptr[0])) line.ptr++, line.len--;
    while (line.len && is_space(line.ptr[line.len - 1])) line.len--;
    if (!line.len || line.ptr[0] == '#') continue;
    if (line.len > 200) {
      st = buffer_printf(remarks, err, "line %zu: left out: more than 200 bytes\n", line_number);
      continue;
    }
    st = buffer_append_str(out, n++ ? ",\n      " : "\n      ", err);
    if (!st) st = json_quote(out, line.ptr, line.len, err);
  }
  if (!st && !n) st = sluice_fail(err, SLUICE_USAGE, "%s: the word list is empty", name);
  return st ? st : buffer_append_str(out, "\n    ]}\n  ]\n}\n", err);
}
