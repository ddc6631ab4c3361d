/* libsluice: the monitor in-process. Push what a model says, piece by piece; get back what may be shown.
 *
 *   struct sluice_policy *policy;
 *   struct sluice_stream *stream;
 *   const struct sluice_verdict *v;
 *   struct sluice_failure why;
 *   if (sluice_policy_open("policy.json", &policy, &why)) die(why.message);
 *   if (sluice_stream_open(policy, NULL, &stream, &why)) die(why.message);
 *   while (next_token(&bytes, &n)) {
 *     if (sluice_stream_push(stream, bytes, n, &v, &why)) die(why.message);
 *     show(v->text, v->text_size);
 *     if (v->action == SLUICE_STOP) break;
 *   }
 *   if (sluice_stream_finish(stream, &v, &why)) die(why.message);
 *   show(v->text, v->text_size);
 *   sluice_stream_close(stream);
 *   sluice_policy_unref(policy);
 *
 * This is the whole public interface and needs no other header. docs/libsluice.md has the worked example.
 *
 * Errors. Functions that can fail return 0 or a SLUICE_ERROR_*, and fill *failure, which may be NULL. Nothing prints,
 * aborts, exits or throws. A stream whose push or finish failed gives nothing more out: its later calls return
 * SLUICE_ERROR_STATE.
 *
 * Threads. A policy may be used by any number of threads at once. A stream belongs to one thread at a time, and may
 * pass from one to another between calls; different streams run in parallel. A callback runs inside the call that
 * caused it, on its thread.
 *
 * Memory. A stream allocates while it is opened and while its buffers grow to the policy's bounds; then a push
 * allocates nothing. What the library hands out (verdict, counts, info) is its own memory: see each for how long it
 * holds.
 *
 * Growth. Structures that the caller fills begin with struct_size, which the caller sets to sizeof; those that the
 * library fills begin with struct_size as the library knows it. Fields are only ever added at the end, in place of no
 * other; struct sluice_failure, sluice_span and sluice_token never change. Functions are only ever added while the
 * library's name is libsluice.so.0. */
#ifndef SLUICE_H
#define SLUICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SLUICE_API __attribute__((visibility("default")))
#else
#define SLUICE_API
#endif

/* Raised by one with each release that adds to this header. */
#define SLUICE_API_VERSION 1
SLUICE_API uint32_t sluice_api_version(void); /* of the library at run time */
SLUICE_API const char *sluice_version(void);  /* of the program that it belongs to: "0.1.0" */

/* ---- errors ---- */
enum sluice_error_code {
  SLUICE_ERROR_MEMORY = 1,  /* an allocation failed */
  SLUICE_ERROR_IO,          /* the operating system refused a read */
  SLUICE_ERROR_INPUT,       /* a file that is not what it should be */
  SLUICE_ERROR_USAGE,       /* a wrong argument, or a word of a policy that is not known */
  SLUICE_ERROR_LIMIT,       /* a bound named in the message was passed */
  SLUICE_ERROR_UNSUPPORTED, /* well-formed, but not something this build does */
  SLUICE_ERROR_STATE,       /* a call on a stream that was finished or has failed */
  SLUICE_ERROR_INTERNAL     /* the library's own fault */
};
struct sluice_failure {
  int32_t code;      /* SLUICE_ERROR_* */
  char message[508]; /* names file, rule and key; NUL-terminated */
};

/* ---- policies ----
 * What to look for: a JSON file (docs/monitor.md). A policy is counted: it lives until its last reference and the last
 * of its streams are gone. So a reload is: open the new one, give it to new streams, unref the old one. */
struct sluice_policy;
/* path NULL: the default policy, $SLUICE_POLICY or the installed one. */
SLUICE_API int sluice_policy_open(const char *path, struct sluice_policy **policy, struct sluice_failure *failure);
/* From memory. name stands in messages; folder (NULL: ".") is where files that the policy names are looked for. */
SLUICE_API int sluice_policy_parse(const char *name, const char *folder, const char *json, size_t size,
                                   struct sluice_policy **policy, struct sluice_failure *failure);
SLUICE_API struct sluice_policy *sluice_policy_ref(struct sluice_policy *policy);
SLUICE_API void sluice_policy_unref(struct sluice_policy *policy); /* NULL: nothing */

struct sluice_policy_info {
  uint32_t struct_size, n_rules;
  const char *name;
  const char *sha256;       /* of the policy's bytes, hex */
  const char *const *notes; /* remarks of loading, NULL-terminated: a rule that holds back every word, say */
};
/* Holds as long as the policy. */
SLUICE_API const struct sluice_policy_info *sluice_policy_describe(const struct sluice_policy *policy);

/* ---- streams: one text, that is a choice's content, its reasoning, or one tool call's arguments ---- */
enum sluice_channel { SLUICE_CONTENT, SLUICE_REASONING, SLUICE_TOOL, SLUICE_REFUSAL };
enum sluice_rule_action { SLUICE_RULE_FLAG, SLUICE_RULE_MASK, SLUICE_RULE_STOP };
enum sluice_event_kind {
  SLUICE_EVENT_MATCH,
  SLUICE_EVENT_NOT_SCANNED, /* a rule gave up at this place: nothing is known of it, which is never "clean" */
  SLUICE_EVENT_CAPPED       /* a match wanted more text than its rule may see */
};
struct sluice_event {
  uint32_t struct_size;
  int32_t kind;                   /* SLUICE_EVENT_* */
  int32_t action;                 /* SLUICE_RULE_* */
  int32_t choice, channel, index; /* as the stream was opened */
  const char *rule, *category;
  const char *view;                /* which form of the text matched: "raw", ... */
  uint64_t start, end;             /* the protected bytes, counted from the stream's begin */
  uint64_t match_start, match_end; /* the whole match */
  uint64_t exposed;                /* protected bytes that had left before this was known */
  const char *text;                /* the protected bytes, not NUL-terminated; they are what a log should not hold */
  size_t text_size;
  int64_t unix_ns;
};
/* *event and what it points at hold during the call. The callback must not call a function on this stream. */
typedef void (*sluice_event_fn)(void *context, const struct sluice_event *event);

struct sluice_stream_options {
  uint32_t struct_size;
  int32_t choice;           /* any number: it comes back in events */
  int32_t channel;          /* SLUICE_CONTENT, ... */
  int32_t index;            /* which tool call */
  sluice_event_fn on_event; /* NULL: none */
  void *context;
};
#define SLUICE_STREAM_OPTIONS_INIT                                                                                     \
  { sizeof(struct sluice_stream_options), 0, SLUICE_CONTENT, 0, NULL, NULL }

struct sluice_stream;
/* options NULL: choice 0, content, no callback. The stream holds a reference of the policy. */
SLUICE_API int sluice_stream_open(struct sluice_policy *policy, const struct sluice_stream_options *options,
                                  struct sluice_stream **stream, struct sluice_failure *failure);
SLUICE_API void sluice_stream_close(struct sluice_stream *stream); /* NULL: nothing */

struct sluice_span {   /* masked: text stands in place of these bytes */
  uint64_t start, end; /* counted from the stream's begin; may reach past what has been released */
  const char *rule, *category;
};
struct sluice_token {
  uint64_t number;     /* the how-manieth token of the stream, from 0 */
  uint64_t start, end; /* its bytes */
  int64_t id;          /* -1 when masked: an id spells its text out */
  double logprob;      /* NaN when masked or not known */
  int32_t masked;      /* 1: a mask stands for at least one of its bytes */
  int32_t reserved;
};
enum sluice_verdict_action {
  SLUICE_RELEASE, /* all that was pushed has left */
  SLUICE_HOLD,    /* some bytes wait for what comes next */
  SLUICE_STOP     /* after this text nothing of the stream may ever be shown: end the generation */
};
struct sluice_verdict {
  uint32_t struct_size;
  int32_t action;              /* SLUICE_RELEASE, _HOLD, _STOP */
  uint64_t received, released; /* raw bytes so far; what is between them waits */
  const char *text; /* what may be shown now, masks put in; not NUL-terminated, may end inside a character only
                       where the pushed bytes were no UTF-8 */
  size_t text_size;
  const struct sluice_span *spans; /* masks that touch the bytes this call released, ascending */
  size_t n_spans;
  const struct sluice_token *tokens; /* tokens whose last byte this call released */
  size_t n_tokens;
  const char *rule, *category; /* of the stop, else NULL */
  int32_t masked;              /* 1: text is not the bytes that were pushed */
  int32_t reserved;
};
/* Bytes may split a character or a word anywhere: how they are cut never changes what comes out. *verdict holds until
 * the stream's next call. After a stop further pieces are swallowed. */
SLUICE_API int sluice_stream_push(struct sluice_stream *stream, const char *bytes, size_t size,
                                  const struct sluice_verdict **verdict, struct sluice_failure *failure);
/* The same for one token. id is at least 0; logprob may be NaN. Tokens come back in verdict->tokens as they leave, so
 * that a reply's token list and logprobs follow its text. */
SLUICE_API int sluice_stream_push_token(struct sluice_stream *stream, const char *bytes, size_t size, int64_t id,
                                        double logprob, const struct sluice_verdict **verdict,
                                        struct sluice_failure *failure);
/* The text has ended: decides what waits. The stream takes no more. */
SLUICE_API int sluice_stream_finish(struct sluice_stream *stream, const struct sluice_verdict **verdict,
                                    struct sluice_failure *failure);

struct sluice_counts {
  uint32_t struct_size, reserved;
  uint64_t pieces, pieces_held; /* pushes; those after which something waited */
  uint64_t tokens, bytes;
  uint64_t held_sum, held_max; /* held_sum / pieces: how many bytes wait after a push on average */
  uint64_t masks, flags, stops, not_scanned, capped;
  uint64_t exposed; /* protected bytes that left before they were known to be */
};
/* Holds until the stream's next call. */
SLUICE_API const struct sluice_counts *sluice_stream_counts(struct sluice_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
