/* Frames as a person reads them: the text, and a notice when it was stopped. */
#ifndef SLUICE_CLI_SHOW_H
#define SLUICE_CLI_SHOW_H

#include "wire/wire.h"

struct show {
  bool colour, sse_open, line_end;
  int channel; /* of the text printed last */
  int64_t choice;
  enum wire_format format;
  const char *text_key;
  struct sse_parser sse;
  struct buffer line, out;
};
void show_open(struct show *s, enum wire_format format, const char *text_key);
void show_close(struct show *s);
sluice_status show_frames(struct show *s, struct slice bytes, struct sluice_error *err); /* to stdout */
sluice_status show_text(struct show *s, struct slice text, struct sluice_error *err);
/* The last words: which rule stopped the text and where; to stdout. */
sluice_status show_stop(struct show *s, const char *rule, const char *category, struct sluice_error *err);

#endif
