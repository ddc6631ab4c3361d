#include "cli/show.h"

#include <string.h>
#include <unistd.h>

#define DIM "\033[2m"
#define ALERT "\033[1;97;41m"
#define PLAIN "\033[0m"

static sluice_status on_text(void *ctx, const struct wire_key *key, struct slice text, struct sluice_error *err) {
  struct show *s = ctx;
  sluice_status st = SLUICE_OK;
  if (!text.len) return SLUICE_OK;
  if (key->channel != s->channel || key->choice != s->choice) {
    if (s->channel >= 0 && !s->line_end) st = buffer_append_str(&s->out, "\n", err);
    if (!st && s->colour) st = buffer_append_str(&s->out, key->channel == WIRE_CONTENT ? PLAIN : DIM, err);
    s->channel = key->channel;
    s->choice = key->choice;
  }
  s->line_end = text.ptr[text.len - 1] == '\n';
  return st ? st : buffer_append(&s->out, text.ptr, text.len, err);
}

static sluice_status flush_out(struct show *s, struct sluice_error *err) {
  sluice_status st = s->out.len ? fd_write_all(STDOUT_FILENO, s->out.ptr, s->out.len, err) : SLUICE_OK;
  buffer_clear(&s->out);
  return st;
}

static sluice_status read_json(struct show *s, struct slice json, struct sluice_error *err) {
  bool known = false;
  struct sluice_error ignored = {0};
  (void)err;
  wire_read_texts(json, s->text_key, on_text, s, &known, &ignored); /* [DONE] and the like have no text */
  return SLUICE_OK;
}

static sluice_status on_event(void *ctx, const struct sse_event *e, struct sluice_error *err) {
  return e->has_data ? read_json(ctx, e->data, err) : SLUICE_OK;
}

void show_open(struct show *s, enum wire_format format, const char *text_key) {
  *s = (struct show){.colour = term_colour(stdout), .channel = -1, .format = format, .text_key = text_key};
  sse_open(&s->sse, 0, on_event, s);
  buffer_init(&s->line, 0);
  buffer_init(&s->out, 0);
}

void show_close(struct show *s) {
  sse_close(&s->sse);
  buffer_free(&s->line);
  buffer_free(&s->out);
}

sluice_status show_frames(struct show *s, struct slice bytes, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  if (s->format == WIRE_SSE) {
    st = sse_push(&s->sse, bytes, err);
    return st ? st : flush_out(s, err);
  }
  st = buffer_append(&s->line, bytes.ptr, bytes.len, err);
  for (const char *nl; !st && s->line.len && (nl = memchr(s->line.ptr, '\n', s->line.len));) {
    size_t n = (size_t)(nl - s->line.ptr) + 1;
    st = read_json(s, (struct slice){s->line.ptr, n - 1}, err);
    buffer_consume(&s->line, n);
  }
  return st ? st : flush_out(s, err);
}

sluice_status show_text(struct show *s, struct slice text, struct sluice_error *err) {
  if (text.len) s->line_end = text.ptr[text.len - 1] == '\n';
  return fd_write_all(STDOUT_FILENO, text.ptr, text.len, err);
}

sluice_status show_stop(struct show *s, const char *rule, const char *category, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  if (rule)
    st = buffer_printf(&s->out, err, "%s\n%s[stopped by sluice: %s, rule %s]%s\n", s->colour ? PLAIN : "",
                       s->colour ? ALERT : "", category, rule, s->colour ? PLAIN : "");
  else
    st = buffer_printf(&s->out, err, "%s%s", s->colour ? PLAIN : "", s->line_end ? "" : "\n");
  return st ? st : flush_out(s, err);
}
