/* Findings of sluice doctor: a line each for people, or one JSON object. */
#include "cli/doctor.h"

#include <math.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 16)

static const char *const level_names[] = {"ok", "note", "fail"};

void doctor_begin(struct doctor *d, bool json) {
  *d = (struct doctor){.json = json};
  buffer_init(&d->text, TEXT_MAX);
  buffer_init(&d->remedy, TEXT_MAX);
  buffer_init(&d->values, TEXT_MAX);
  buffer_init(&d->done, (size_t)1 << 20);
}

static void add(struct doctor *d, struct buffer *b, const char *text) {
  if (!d->st) d->st = buffer_append_str(b, text, &d->err);
}

static void add_quoted(struct doctor *d, struct buffer *b, const char *text) {
  if (!d->st) d->st = json_quote(b, text, strlen(text), &d->err);
}

static void add_format(struct doctor *d, struct buffer *b, const char *fmt, va_list args) {
  char line[2048];
  vsnprintf(line, sizeof line, fmt, args);
  add(d, b, line);
}

static void print_finding(struct doctor *d) {
  bool colour = term_colour(stdout);
  static const char *const paint[] = {"\033[32m", "\033[33m", "\033[1;31m"};
  printf("%s%-5s%s %-10s %s\n", colour ? paint[d->level] : "", d->level == DOCTOR_FAIL ? "FAIL" : level_names[d->level],
         colour ? "\033[0m" : "", d->check, d->text.ptr ? d->text.ptr : "");
  if (d->remedy.len) printf("%-16s -> %s\n", "", d->remedy.ptr);
}

static void keep_finding(struct doctor *d) {
  add(d, &d->done, d->done.len ? ",\n  {\"check\":" : "  {\"check\":");
  add_quoted(d, &d->done, d->check);
  add(d, &d->done, ",\"level\":\"");
  add(d, &d->done, level_names[d->level]);
  add(d, &d->done, "\",\"text\":");
  add_quoted(d, &d->done, d->text.ptr ? d->text.ptr : "");
  add(d, &d->done, ",\"remedy\":");
  if (d->remedy.len)
    add_quoted(d, &d->done, d->remedy.ptr);
  else
    add(d, &d->done, "null");
  add(d, &d->done, ",\"values\":{");
  add(d, &d->done, d->values.ptr ? d->values.ptr : "");
  add(d, &d->done, "}}");
}

static void finish_finding(struct doctor *d) {
  if (!d->check) return;
  if (d->level == DOCTOR_FAIL) d->fails++;
  if (d->json)
    keep_finding(d);
  else
    print_finding(d);
  d->check = NULL;
  d->level = DOCTOR_OK;
  buffer_clear(&d->text);
  buffer_clear(&d->remedy);
  buffer_clear(&d->values);
}

void doctor_check(struct doctor *d, const char *name) {
  finish_finding(d);
  d->check = name;
}

sluice_status doctor_end(struct doctor *d, struct sluice_error *err) {
  finish_finding(d);
  if (d->st) sluice_fail(err, d->st, "%s", d->err.message);
  if (d->json && !d->st) printf("{\"ok\":%s,\"checks\":[\n%s\n]}\n", d->fails ? "false" : "true", d->done.ptr);
  buffer_free(&d->text);
  buffer_free(&d->remedy);
  buffer_free(&d->values);
  buffer_free(&d->done);
  return d->st;
}

void doctor_say(struct doctor *d, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  add_format(d, &d->text, fmt, args);
  va_end(args);
}

void doctor_remedy(struct doctor *d, enum doctor_level level, const char *fmt, ...) {
  va_list args;
  if (level > d->level) d->level = level;
  if (d->remedy.len) add(d, &d->remedy, "; ");
  va_start(args, fmt);
  add_format(d, &d->remedy, fmt, args);
  va_end(args);
}

static void add_key(struct doctor *d, const char *key) {
  if (d->values.len) add(d, &d->values, ",");
  add_quoted(d, &d->values, key);
  add(d, &d->values, ":");
}

void doctor_number(struct doctor *d, const char *key, double value) {
  char text[32] = "null";
  if (isfinite(value)) snprintf(text, sizeof text, "%.15g", value);
  add_key(d, key);
  add(d, &d->values, text);
}

void doctor_flag(struct doctor *d, const char *key, bool value) {
  add_key(d, key);
  add(d, &d->values, value ? "true" : "false");
}

void doctor_string(struct doctor *d, const char *key, const char *value) {
  add_key(d, key);
  if (value)
    add_quoted(d, &d->values, value);
  else
    add(d, &d->values, "null");
}
