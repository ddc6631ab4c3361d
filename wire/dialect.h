/* Private to wire/: what a dialect finds in one JSON frame. A dialect is one file and one line in dialects.c. */
#ifndef SLUICE_WIRE_DIALECT_H
#define SLUICE_WIRE_DIALECT_H

#include "wire/wire.h"

struct sketch_text {
  struct wire_key key;
  struct json_span value; /* the string, quotes included */
};
struct sketch_choice {
  int64_t choice;
  bool finish; /* its finish_reason is set: the choice is complete */
  bool wide;   /* concerns the whole choice (role, no text at all): keeps its place among all its texts */
  bool whole;  /* a complete message, not a piece: on a stop its finish_reason is rewritten in place */
  bool has_reason, has_logprobs;
  struct json_span reason, logprobs;
};
struct sketch { /* arrays are reused from frame to frame */
  struct sketch_text *texts;
  size_t n_texts, cap_texts;
  struct sketch_choice *choices;
  size_t n_choices, cap_choices;
};
void sketch_free(struct sketch *s);
sluice_status sketch_add_text(struct sketch *s, struct sketch_text t, struct sluice_error *err);
sluice_status sketch_add_choice(struct sketch *s, struct sketch_choice c, struct sluice_error *err);

struct dialect {
  const char *name;
  /* Fills s from a validated object. *known stays false when the frame is not of this dialect. */
  sluice_status (*read)(struct slice json, struct json_span root, const char *text_key, struct sketch *s, bool *known,
                        struct sluice_error *err);
  /* Appends the JSON of a frame that ends a choice as filtered. like: an earlier frame of the stream, whose ids it
   * carries. */
  sluice_status (*ending)(struct slice like, int64_t choice, const char *text_key, struct buffer *out,
                          struct sluice_error *err);
  const char *closing; /* what an SSE stream ends with after the last choice: data of a last event; NULL: nothing */
};
extern const struct dialect dialect_openai_chat, dialect_text_lines;

/* The dialect that reads this object, with its sketch filled; NULL in *out when there is none. */
sluice_status dialect_read(struct slice json, struct json_span root, const char *text_key, struct sketch *s,
                           const struct dialect **out, struct sluice_error *err);

#endif
