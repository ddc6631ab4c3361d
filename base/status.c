/* Errors as values. */
#include "base/base.h"

#include <string.h>

/* Cuts a truncated message at a character boundary and says that it was cut. */
static void end_message(char *text, size_t room) {
  size_t len = strlen(text);
  if (len + 1 < room) return;
  size_t bad = 0;
  size_t keep = utf8_valid_prefix(text, len - 3, &bad);
  if (keep + 8 < len) keep = len - 3; /* the text was not UTF-8 anyway */
  memcpy(text + keep, "...", 4);
}

/* Formats aside first: callers may pass err->message itself as an argument. */
sluice_status sluice_fail(struct sluice_error *err, sluice_status code, const char *fmt, ...) {
  char text[sizeof err->message];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (n < 0) text[0] = '\0';
  if (n >= (int)sizeof text) end_message(text, sizeof text);
  err->code = code;
  memcpy(err->message, text, strlen(text) + 1);
  return code;
}

sluice_status sluice_fail_in(struct sluice_error *err, const char *fmt, ...) {
  char text[sizeof err->message];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (n < 0) text[0] = '\0';
  size_t used = strlen(text);
  n = snprintf(text + used, sizeof text - used, ": %s", err->message);
  if (n >= (int)(sizeof text - used)) end_message(text, sizeof text);
  memcpy(err->message, text, strlen(text) + 1);
  return err->code;
}

const char *sluice_status_name(sluice_status code) {
  switch (code) {
  case SLUICE_OK:
    return "ok";
  case SLUICE_NOMEM:
    return "out of memory";
  case SLUICE_IO:
    return "input/output";
  case SLUICE_FULL:
    return "disk full";
  case SLUICE_INPUT:
    return "malformed input";
  case SLUICE_USAGE:
    return "usage";
  case SLUICE_LIMIT:
    return "limit";
  case SLUICE_UNSUPPORTED:
    return "unsupported";
  case SLUICE_NETWORK:
    return "network";
  case SLUICE_INTERRUPTED:
    return "interrupted";
  case SLUICE_INTERNAL:
    return "internal";
  }
  return "unknown";
}

int sluice_exit_code(sluice_status code) {
  switch (code) {
  case SLUICE_OK:
    return 0;
  case SLUICE_USAGE:
  case SLUICE_INPUT: /* what the caller handed over is at fault, as with a wrong option */
  case SLUICE_LIMIT:
  case SLUICE_UNSUPPORTED:
    return 2;
  case SLUICE_FULL:
  case SLUICE_NETWORK:
    return 4; /* the same command later continues */
  case SLUICE_INTERRUPTED: {
    int number = signal_interrupted();
    return 128 + (number ? number : 2);
  }
  case SLUICE_NOMEM:
  case SLUICE_IO:
  case SLUICE_INTERNAL:
    return 1;
  }
  return 1;
}
