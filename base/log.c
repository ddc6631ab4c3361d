/* Log lines on stderr, as text or as JSON lines. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Set once at start-up by the command line. */
static enum log_level log_threshold = LOG_INFO;
static bool log_json;

void log_set(enum log_level level, bool json) {
  log_threshold = level;
  log_json = json;
}

bool term_colour(FILE *stream) {
  const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
  if (no_colour && *no_colour) return false;
  if (!term || strcmp(term, "dumb") == 0) return false;
  return isatty(fileno(stream)) == 1;
}

static const char *level_name(enum log_level level) {
  static const char *const names[] = {"error", "warning", "info", "debug"};
  return level >= LOG_ERROR && level <= LOG_DEBUG ? names[level] : "info";
}

/* A progress bar may stand on the terminal's line: it is wiped first and drawn again at its next update. */
static sluice_status text_line(struct buffer *line, enum log_level level, const char *message,
                               struct sluice_error *err) {
  static const char *const colours[] = {"\033[31m", "\033[33m", "", "\033[2m"};
  bool terminal = isatty(STDERR_FILENO) == 1, colour = term_colour(stderr);
  const char *on = colour ? colours[level] : "", *off = *on ? "\033[0m" : "";
  const char *wipe = !terminal ? "" : colour ? "\r\033[K" : "\r";
  if (level == LOG_INFO) return buffer_printf(line, err, "%ssluice: %s\n", wipe, message);
  return buffer_printf(line, err, "%ssluice: %s%s:%s %s\n", wipe, on, level_name(level), off, message);
}

static sluice_status json_line(struct buffer *line, enum log_level level, const char *message,
                               struct sluice_error *err) {
  char now[32];
  clock_iso8601(clock_wall_ns(), now);
  sluice_status st = buffer_printf(line, err, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", now, level_name(level));
  if (!st) st = json_quote(line, message, strlen(message), err);
  if (!st) st = buffer_append_str(line, "}\n", err);
  return st;
}

void log_line(enum log_level level, const char *fmt, ...) {
  if (level > log_threshold) return;
  char message[2048];
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  struct buffer line;
  struct sluice_error err;
  buffer_init(&line, 1 << 16);
  sluice_status st = log_json ? json_line(&line, level, message, &err) : text_line(&line, level, message, &err);
  if (!st) fd_write_all(STDERR_FILENO, line.ptr, line.len, &err); /* one write, so that threads do not mix lines */
  buffer_free(&line);
}
