/* Private to wire/: frames that wait, the texts they carry, and how one leaves. */
#ifndef SLUICE_WIRE_FRAMES_H
#define SLUICE_WIRE_FRAMES_H

#include "wire/dialect.h"
#include "wire/shape.h"

#define BLANKED (UINT64_MAX / 2) /* the offset of text that came after its choice's stop */

enum { LANE_TAIL = 64 }; /* bytes of a spelled text that alternatives to its next token are judged behind */
struct lane {            /* one text */
  struct wire_key key;
  uint64_t received, released;
  bool once;    /* whole in one frame: over when that has left */
  bool over;    /* to be used again for another text */
  bool settled; /* nothing came since it was last settled */
  unsigned char n_tail;
  char tail[LANE_TAIL]; /* spelled texts: the last bytes that came */
  unsigned passed;      /* frames of the choice's other ordered texts that came while this one held something */
};
struct choice_state {
  int64_t choice;
  bool finished, stopped;
};
struct frame_text {
  size_t lane;
  struct json_span value;
  uint64_t offset; /* in the lane's text */
  size_t at, len;  /* decoded bytes in frame.text */
  size_t spelled;  /* as in sketch_text, with what is emptied beside it */
  struct json_span bytes, others;
  bool named; /* one of the others would be masked or stopped */
};
struct frame {
  struct buffer raw;  /* what came, line ends and all */
  struct buffer json; /* its JSON where that is not one piece of raw */
  size_t json_at, json_len;
  bool in_raw;        /* JSON is raw[json_at, +json_len) */
  struct buffer text; /* decoded texts, one after another */
  struct frame_text *texts;
  size_t n_texts, cap_texts;
  struct sketch_choice *choices;
  size_t n_choices, cap_choices;
  struct sketch_logprobs *logprobs;
  size_t n_logprobs, cap_logprobs;
  bool global;     /* of no choice: keeps its place among all */
  bool after_stop; /* an ending made here: always leaves */
};

struct wire_filter {
  struct wire_filter_options o;
  struct wire_gate gate;
  wire_sink_fn sink;
  void *sink_ctx;
  struct sse_parser sse;
  struct buffer line; /* JSON lines and bodies: bytes of the unfinished line */
  uint64_t line_offset;
  struct sketch sketch;
  struct shape shape;
  struct lane *lanes;
  size_t n_lanes;
  struct choice_state *choices;
  size_t n_choices;
  struct frame **queue, **spare; /* frames in order; frames to use again */
  size_t n_queue, n_spare, cap_queue, cap_spare;
  size_t waiting;                /* bytes of raw in the queue */
  const struct dialect *dialect; /* of the last frame with choices */
  struct buffer like;            /* that frame's JSON, or an earlier one's with more ids: endings carry them */
  size_t group;                  /* of the frame being judged */
  int64_t n_groups;              /* texts so far that were whole in their frame */
  int64_t *open;                 /* blocks that have left open */
  size_t n_open, cap_open;
  int64_t sequence; /* of the last frame that left */
  struct buffer out, json_out, quoted, other;
  uint64_t emptied; /* lists of alternatives */
  bool ended, stopped, saw_closing, saw_error;
  bool unended; /* the last event lacks its blank line: an ending must bring it */
};

/* frames.c */
struct frame *frame_take(struct wire_filter *f, struct sluice_error *err); /* an empty one; NULL: no memory */
void frame_drop(struct wire_filter *f, struct frame *frame);
void frame_free(struct frame *frame);
static inline struct slice frame_json(const struct frame *f) {
  return f->in_raw ? (struct slice){f->raw.ptr + f->json_at, f->json_len} : (struct slice){f->json.ptr, f->json.len};
}
sluice_status frames_push(struct wire_filter *f, struct frame *frame, struct sluice_error *err);
/* Sends every frame that may leave, in order. */
sluice_status frames_drain(struct wire_filter *f, struct sluice_error *err);
struct choice_state *choice_find(struct wire_filter *f, int64_t choice); /* NULL: not seen */

/* alternatives.c: a token of log-probabilities has come in its lane: the tokens it was chosen among are judged. */
sluice_status alternatives_judge(struct wire_filter *f, const struct frame *frame, struct frame_text *t,
                                 struct sluice_error *err);

/* rewrite.c */
struct edit {
  size_t start, end; /* of the JSON */
  size_t at, len;    /* replacement in filter.quoted */
};
/* A frame's bytes with its texts as the gate shows them; *drop when nothing of it is left. Bytes point into raw or
 * f->out. */
sluice_status frame_render(struct wire_filter *f, struct frame *frame, struct slice *bytes, bool *drop,
                           struct sluice_error *err);
/* Wraps JSON as this format's frame: appends to out. event: its name; NULL: none. */
sluice_status frame_wrap(const struct wire_filter *f, const char *event, struct slice json, struct buffer *out,
                         struct sluice_error *err);

#endif
