/* Private to wire/: what a dialect finds in one JSON frame. A dialect is one file and one line in dialects.c. */
#ifndef SLUICE_WIRE_DIALECT_H
#define SLUICE_WIRE_DIALECT_H

#include "wire/wire.h"

struct sketch_text {
  struct wire_key key;
  /* A string, quotes included. Inside structured tool arguments also a number (rewritten, it becomes a string) and, as
   * JSON_OBJECT, the bytes between two of them: judged for what they say together, never rewritten. */
  struct json_span value;
  size_t group;   /* not 0: of the group-th text that is whole in this frame (a repeat of what was streamed, say): it is
                     judged apart from every other text and decided at once; its key's index is the filter's to choose */
  bool aside;     /* beside the texts that a dialect knows: readers of text leave it out */
  size_t spelled; /* not 0: a token of the spelled-th list of log-probabilities; readers of text leave it out */
  struct json_span bytes, others; /* spelled: where its bytes stand as numbers, and the tokens that it was chosen among;
                                     both are emptied when it changes. start == end: absent */
};
struct sketch_logprobs { /* a list of log-probabilities, whose tokens spell a text out */
  int64_t choice;
  struct json_span whole;
  const char *emptied; /* the JSON that stands for all of it when its tokens cannot be held against their text */
};
struct sketch_choice {
  int64_t choice;
  bool finish;        /* its finish_reason is set: the choice is complete */
  bool last;          /* with it the stream says that it is over */
  bool wide;          /* concerns the whole choice (role, no text at all): keeps its place among all its texts */
  bool whole;         /* a complete message, not a piece: on a stop its finish_reason is rewritten in place */
  bool atomic;        /* leaves in one piece: a stop that would cut it drops it */
  bool opens, closes; /* a block that an ending has to close; on its close the block's texts are decided */
  int64_t block;      /* as index of its texts' keys */
  int64_t sequence;   /* the frame's sequence_number */
  bool bare;          /* carries no ids: an ending takes them from an earlier frame */
  bool has_reason, has_details;
  struct json_span reason, details;
  const char *stopped, *stopped_details; /* whole: the JSON that stands for reason and details after a stop */
};
struct sketch { /* arrays are reused from frame to frame */
  struct sketch_text *texts;
  size_t n_texts, cap_texts, max_texts; /* max 0: 65,536 */
  struct sketch_choice *choices;
  size_t n_choices, cap_choices;
  struct sketch_logprobs *logprobs;
  size_t n_logprobs, cap_logprobs;
  size_t groups;
  bool repeats; /* some object of the frame has a key twice */
};
void sketch_free(struct sketch *s);
sluice_status sketch_add_text(struct sketch *s, struct sketch_text t, struct sluice_error *err);
sluice_status sketch_add_choice(struct sketch *s, struct sketch_choice c, struct sluice_error *err);
sluice_status sketch_add_logprobs(struct sketch *s, struct sketch_logprobs l, struct sluice_error *err);
/* members.c: what dialects ask of an object. */
bool member_of(struct slice json, struct json_span o, const char *key, enum json_type type, struct json_span *out);
bool member_is(struct slice json, struct json_span o, const char *key, const char *word);
int64_t whole_number(struct slice json, struct json_span o, const char *key, int64_t fallback);
sluice_status add_string(struct slice json, struct json_span o, const char *key, struct wire_key k, struct sketch *s,
                         struct sluice_error *err);
/* Arguments that are an object and not a string of JSON: one text, as it would have been streamed. */
sluice_status add_structure(struct slice json, struct json_span v, struct wire_key k, struct sketch *s,
                            struct sluice_error *err);
/* Every string value inside v but ids and ciphertext: each a whole text of its own, or, when joined, all pieces of k.
 */
sluice_status add_values(struct slice json, struct json_span v, struct wire_key k, bool joined, struct sketch *s,
                         struct sluice_error *err);
extern const char *const choice_words[]; /* members of an OpenAI choice that are no text of the model */
struct member {
  struct json_span key, value;
  int64_t again; /* how often the same key comes once more behind it, in frames whose sketch says `repeats` */
};
/* The member behind *m, or the first one when that is {0}. */
bool next_member(struct slice json, struct json_span o, const struct sketch *s, struct member *m);
bool member_named(struct slice json, const struct member *m, const char *name);
bool member_among(struct slice json, const struct member *m, const char *const *names); /* NULL ends them */
/* A member that is a string, as a piece of k. Where its key stands twice each place has a text of its own. */
sluice_status add_member_text(const struct member *m, struct wire_key k, struct sketch *s, struct sluice_error *err);
/* A member that no dialect knows: its strings are judged all the same, but for ids and ciphertext. goes_on: of a
 * stream's piece; a string, and what a key like "thinking" holds, may then go on in the next. */
sluice_status add_rest(struct slice json, const struct member *m, struct wire_key k, bool goes_on, struct sketch *s,
                       struct sluice_error *err);
/* repeats.c: SLUICE_INPUT when a key that dialects read stands twice, so that two readers would see two texts; keys of
 * texts themselves may, as each of their places is judged. Sets s->repeats. */
sluice_status repeats_check(struct slice json, struct json_span root, struct sketch *s, struct sluice_error *err);
/* logprobs.c: the tokens of a list of log-probabilities as one text of their own, k. whole: streamed nowhere else. */
sluice_status add_logprobs(struct slice json, struct json_span list, struct sketch_logprobs l, struct wire_key k,
                           bool whole, struct sketch *s, struct sluice_error *err);
/* A token's bytes, from its list of numbers; false: it is no such list. */
sluice_status logprob_bytes(struct slice json, struct json_span numbers, struct buffer *out, bool *good,
                            struct sluice_error *err);

/* rewrite.c: a JSON string as it should stand on the wire: what came as it came, lone surrogates as escapes. */
sluice_status wire_quote(struct buffer *out, const char *s, size_t len, struct sluice_error *err);

struct ending {      /* what an ending is made from */
  struct slice like; /* an earlier frame of the stream, whose ids it carries */
  int64_t choice;
  const char *text_key;
  const int64_t *open; /* blocks that the reader has seen open, in order */
  size_t n_open;
  int64_t sequence; /* of the last frame that left */
};

struct dialect {
  const char *name;
  /* Fills s from a validated object. *known stays false when the frame is not of this dialect. */
  sluice_status (*read)(struct slice json, struct json_span root, const char *text_key, struct sketch *s, bool *known,
                        struct sluice_error *err);
  /* Appends the JSON of the frames that end a choice as filtered; a NUL stands between two. */
  sluice_status (*ending)(const struct ending *e, struct buffer *out, struct sluice_error *err);
  const char *closing; /* what an SSE stream ends with after the last choice: data of a last event; NULL: nothing */
  bool named;          /* SSE events are named by their JSON's type */
  bool grows;          /* frames of unknown type belong to it: in its streams their strings are judged, and they pass */
};
extern const struct dialect dialect_anthropic, dialect_openai_chat, dialect_openai_completions,
    dialect_openai_responses, dialect_server_error, dialect_text_lines;
const struct dialect *dialect_named(const char *name); /* openai_chat for what is none, and NULL */
/* OpenAI's two older interfaces end alike; entry: the choice's own members of an ending. */
sluice_status openai_ending(const struct ending *e, const char *entry, struct buffer *out, struct sluice_error *err);

/* What compatible servers say to a reader outside of choices: an error, where a text was found. */
sluice_status openai_read_root(struct slice json, struct json_span root, struct sketch *s, struct sluice_error *err);

/* The dialect that reads this object, with its sketch filled; NULL in *out when there is none. last: of the frame
 * before; NULL: not known. */
sluice_status dialect_read(struct slice json, struct json_span root, const char *text_key, const struct dialect *last,
                           struct sketch *s, const struct dialect **out, struct sluice_error *err);

#endif
