/* monitor: pieces of text -> verdicts. It never sees a wire format and allocates nothing per piece once its buffers
 * have grown to the policy's bounds.
 *
 * What a rule means is defined on the whole text of one stream, so that no cut into pieces can change a byte of output:
 *
 *   attempt(s)   is PCRE2's match anchored at byte s on the window [s - look_behind, s + max_match)
 *                (whole characters, at least one). Where the text goes on
 *                past the window, `$` does not match at its end.
 *   a match      is the attempt with the smallest s not before the end of the rule's previous match, nor before the end
 * of its first context word (if the rule has any). It counts only when it is not empty, holds one of the rule's
 * keywords (if the rule has any; ASCII case ignored unless keyword_case says otherwise), and passes the rule's check,
 * entropy and allow lists; otherwise the next s is tried. protected    is the first `protect` group that took part
 * (when none did or it is empty, the match is an exception that protects nothing), else the whole match. A rule with
 * keywords protects nothing before the first keyword of its match; with hold=word nothing before the word (bytes
 * without ASCII white space, at most MONITOR_WORD_MAX) that the keyword stands in. output       masks replace the union
 * of protected spans (overlapping or touching ones unite; the one that starts first, then the earlier rule, gives the
 * mask text). The stream ends before the first protected byte of a stop rule. held back    is every byte from the
 * earliest one that an undecided attempt could still protect, and an unfinished UTF-8 character. An attempt stays
 * undecided for at most max_match bytes.
 *
 * Invalid bytes are matched as U+001A SUBSTITUTE, one for one, and leave unchanged.
 *
 * A rule means the same over what the text looks like ("folded", "leet"): matches there count when they cover what the
 * view changed, and are mapped back to whole raw characters. Runs of base64, hex, percent escapes and hidden characters
 * are decoded into texts of their own; a match speaks of the whole run, whose beginning may have left. */
#ifndef SLUICE_MONITOR_H
#define SLUICE_MONITOR_H

#include "base/base.h"

enum { MONITOR_WORD_MAX = 128, MONITOR_RULES_MAX = 4096, MONITOR_MATCH_MAX = 65536 };

/* ---- policy (monitor/policy.c) ----------------------------------------------------------------------------------
 * Immutable once loaded; shared by any number of threads. */
struct monitor_policy;
/* A JSON file with comments (docs/monitor.md). Keys are checked strictly; errors name file, rule and key. */
sluice_status monitor_policy_load(const char *path, struct monitor_policy **out, struct sluice_error *err);
/* The same from memory; name stands in errors, dir (may be NULL: ".") is where words_file is looked for. */
sluice_status monitor_policy_parse(const char *name, const char *dir, struct slice json, struct monitor_policy **out,
                                   struct sluice_error *err);
/* All rules' machine code now (about 0.5 ms a rule), for those who serve: else a rule's is made when it is first tried,
 * while streams wait. */
void monitor_policy_prepare(const struct monitor_policy *p);
/* Every rule masks with this text, `each`: once a character. Before the policy is shared. */
sluice_status monitor_policy_set_mask(struct monitor_policy *p, const char *mask, bool each, struct sluice_error *err);
void monitor_policy_free(struct monitor_policy *p);
const char *monitor_policy_name(const struct monitor_policy *p);
const char *monitor_policy_hash(const struct monitor_policy *p); /* SHA-256 of the policy's bytes, hex */
size_t monitor_policy_rules(const struct monitor_policy *p);
const char *monitor_rule_id(const struct monitor_policy *p, size_t rule);
const char *monitor_rule_category(const struct monitor_policy *p, size_t rule);
/* Remarks of loading (a rule that holds every word, one that can stay open without bound): the i-th, or NULL. */
const char *monitor_policy_note(const struct monitor_policy *p, size_t i);
/* What is known of each rule of a policy file before text comes, one that does not load included (monitor/inspect.c):
 * appended to out as text, or as one JSON object. */
sluice_status monitor_policy_inspect(const char *path, bool json, struct buffer *out, size_t *accepted, size_t *refused,
                                     struct sluice_error *err);
/* The folder's default: $SLUICE_POLICY, else fixtures/policies/default.json beside the program's tree or installed. */
sluice_status monitor_policy_default_path(char **path, struct sluice_error *err); /* caller frees */

/* ---- rule files of others (monitor/import_*.c) ---------------------------------------------------------------------
 * Appends a policy in our JSON to out, and to remarks a line for each thing that could not be carried over as it was.
 */
enum monitor_action { MONITOR_FLAG, MONITOR_MASK, MONITOR_STOP };
struct monitor_import_options {
  const char *id, *category; /* id: of a word list's one rule */
  enum monitor_action action;
};
sluice_status monitor_import_gitleaks(const char *name, struct slice toml, const struct monitor_import_options *options,
                                      struct buffer *out, struct buffer *remarks, struct sluice_error *err);
/* One word or phrase a line; empty lines and lines that begin with # are left out. */
sluice_status monitor_import_words(const char *name, struct slice text, const struct monitor_import_options *options,
                                   struct buffer *out, struct buffer *remarks, struct sluice_error *err);
/* What look-alikes are folded by: "Unicode 15.0 (ICU 72.1)"; empty: built without ICU, nothing is folded. */
const char *monitor_fold_source(void);

/* Whether another engine looks through long texts before PCRE2 does: its name and version in `what`
 * ("Hyperscan 5.4.0 2023-03-11"), or why there is none. */
bool monitor_prefilter_there(char *what, size_t size);
/* Compiles a policy's patterns for it now, not when long texts have come and on a thread of its own. false: not there.
 */
bool monitor_policy_compile_prefilter(const struct monitor_policy *p);
size_t monitor_policy_prefiltered(const struct monitor_policy *p); /* for how many rules it answers */

/* ---- events ------------------------------------------------------------------------------------------------------ */
enum monitor_channel {
  MONITOR_CONTENT,
  MONITOR_REASONING,
  MONITOR_TOOL,
  MONITOR_REFUSAL,
  MONITOR_PROMPT, /* of a request, not of an answer */
  MONITOR_CHANNELS
};
const char *monitor_channel_name(int channel);
const char *monitor_action_name(enum monitor_action a);
enum monitor_event_kind {
  MONITOR_MATCH,       /* a rule matched */
  MONITOR_NOT_SCANNED, /* the match limit was hit: nothing is known of this place. Never the same as clean. */
  MONITOR_CAPPED       /* an attempt wanted more than max_match bytes; decided on its window, which did not match */
};
const char *monitor_event_name(enum monitor_event_kind k);
struct monitor_event {
  enum monitor_event_kind kind;
  enum monitor_action action;         /* what was done: FLAG for a record only */
  const char *rule, *category, *view; /* view: "raw", "folded", "base64+leet", ... */
  int choice, channel, index;         /* index: which tool call */
  uint64_t start, end;                /* protected span, raw byte offsets in the stream */
  uint64_t match_start, match_end;
  uint64_t exposed;  /* protected bytes that had left before (strict: only after monitor_settle) */
  struct slice text; /* the protected bytes as matched, valid during the call; may be empty */
  int64_t unix_ns;
  int mode;          /* enum monitor_mode of the rule: in shadow nothing was done, and exposed is the whole span */
  const char *route; /* NULL: there are none */
  uint64_t request;  /* of the answer that it was met in, where events are handed on by who knows it; 0: not said */
};
typedef void (*monitor_event_fn)(void *ctx, const struct monitor_event *event);

/* ---- streams (monitor/stream.c) ------------------------------------------------------------------------------------
 * struct monitor is one thread's workspace for a policy: scratch memory and the place events go. */
struct monitor;
sluice_status monitor_open(const struct monitor_policy *p, monitor_event_fn fn, void *ctx, struct monitor **out,
                           struct sluice_error *err);
void monitor_close(struct monitor *m); /* after its streams */

struct monitor_span {
  uint64_t start, end; /* raw byte offsets */
  uint32_t rule;       /* whose mask text stands for it */
};
struct monitor_verdict {
  uint64_t released; /* every byte before this offset may leave (masked where a span says so); never falls */
  bool held;         /* bytes past `released` have come and wait */
  bool stop;         /* nothing past `released` may ever leave */
  uint32_t rule;     /* of the stop */
  const struct monitor_span *spans; /* to mask, ascending, united; those not yet forgotten. Valid until the next call */
  size_t n_spans;
};
struct monitor_counts {
  uint64_t pieces, pieces_held;       /* pieces after which something waited */
  uint64_t bytes, held_sum, held_max; /* held_sum / pieces: mean bytes waiting after a piece */
  uint64_t masks, flags, stops, not_scanned, capped, exposed, pattern_runs;
};
/* One text: a choice's channel, and for tool calls one call. Texts are independent. */
struct monitor_stream;
sluice_status monitor_stream_open(struct monitor *m, int choice, int channel, int index, struct monitor_stream **out,
                                  struct sluice_error *err);
void monitor_stream_close(struct monitor_stream *s);
/* The stream's next calls use m's memory and tell m's listener. m is of the same policy. So streams may pass between
 * threads, and many may share a few workspaces. */
void monitor_stream_use(struct monitor_stream *s, struct monitor *m);
/* Bytes may split a UTF-8 character and may be empty. After a stop further bytes are swallowed. */
sluice_status monitor_push(struct monitor_stream *s, struct slice bytes, struct monitor_verdict *v,
                           struct sluice_error *err);
/* Decides everything as if the text ended here. More text may follow all the same; a match across the seam is then
 * found late, what already left is counted as exposed and the rest is treated as the rule says. */
sluice_status monitor_settle(struct monitor_stream *s, struct monitor_verdict *v, struct sluice_error *err);
/* Appends what may be shown of raw bytes [offset, offset + raw.len), all of them released: masks put in, masked bytes
 * left out. *changed is set when that differs from raw, else untouched. Spans stay until forgotten. */
sluice_status monitor_render(const struct monitor_stream *s, uint64_t offset, struct slice raw, struct buffer *out,
                             bool *changed, struct sluice_error *err);
void monitor_forget(struct monitor_stream *s, uint64_t offset); /* drops spans that end at or before offset */
const struct monitor_counts *monitor_stream_counts(const struct monitor_stream *s);
const char *monitor_stream_stop_rule(const struct monitor_stream *s); /* id, NULL unless stopped */
const char *monitor_stream_stop_category(const struct monitor_stream *s);

/* ---- guards (monitor/guard.c, monitor/text.c): a policy with release modes, sides and routes
 * ---------------------------- docs/modes.md. A guard is immutable once loaded and shared by threads; a watch is one
 * thread's workspace for it; a text is one text of one side of one route. Where every rule is strict a text is a
 * monitor_stream and nothing more. */
enum monitor_mode {
  MONITOR_STRICT,     /* nothing undecided leaves */
  MONITOR_BOUNDED,    /* at most so many pieces, or milliseconds of stream, ahead of what is decided */
  MONITOR_OPTIMISTIC, /* everything leaves at once; what is found is acted on from there */
  MONITOR_SHADOW,     /* decided and recorded, nothing is changed */
  MONITOR_MODES
};
const char *monitor_mode_name(enum monitor_mode m);
enum monitor_side { MONITOR_ANSWER, MONITOR_ASKED, MONITOR_SIDES };
struct monitor_guard;
sluice_status monitor_guard_load(const char *path, struct monitor_guard **out, struct sluice_error *err);
sluice_status monitor_guard_parse(const char *name, const char *dir, struct slice json, struct monitor_guard **out,
                                  struct sluice_error *err);
/* The same with one mode for every rule on every route: a mode's name, or bounded:tokens=N,ms=M. NULL: as it says. */
sluice_status monitor_guard_load_as(const char *path, const char *mode, struct monitor_guard **out,
                                    struct sluice_error *err);
void monitor_guard_prepare(const struct monitor_guard *g); /* as monitor_policy_prepare */
void monitor_guard_free(struct monitor_guard *g);
sluice_status monitor_guard_set_mask(struct monitor_guard *g, const char *mask, bool each, struct sluice_error *err);
const struct monitor_policy *monitor_guard_policy(const struct monitor_guard *g); /* all rules: names, hash, notes */
struct monitor_request {                                                          /* what a route is chosen by */
  struct slice path;                                                              /* without the query */
  const char *dialect; /* "openai_chat", "openai_completions", "openai_responses", "anthropic"; NULL: not known */
  struct slice model;
  bool (*header)(const void *ctx, const char *name, struct slice *value);
  const void *ctx;
};
size_t monitor_guard_route(const struct monitor_guard *g, const struct monitor_request *r); /* 0: the default route */
/* By its name; NULL or "default": 0. */
sluice_status monitor_guard_find_route(const struct monitor_guard *g, const char *name, size_t *route,
                                       struct sluice_error *err);
const char *monitor_guard_route_name(const struct monitor_guard *g, size_t route);
/* Whether any rule looks at that side. */
bool monitor_guard_looks_at(const struct monitor_guard *g, size_t route, enum monitor_side side);

struct monitor_watch;
sluice_status monitor_watch_open(const struct monitor_guard *g, monitor_event_fn fn, void *ctx,
                                 struct monitor_watch **out, struct sluice_error *err);
void monitor_watch_close(struct monitor_watch *w); /* after its texts */
struct monitor_text;
sluice_status monitor_text_open(struct monitor_watch *w, size_t route, enum monitor_side side, int choice, int channel,
                                int index, struct monitor_text **out, struct sluice_error *err);
/* The same over one policy without modes. */
sluice_status monitor_text_over(struct monitor *m, int choice, int channel, int index, struct monitor_text **out,
                                struct sluice_error *err);
void monitor_text_close(struct monitor_text *t);
/* The text's next calls use w, of the same guard, as monitor_stream_use does: so texts may pass between threads. */
void monitor_text_use(struct monitor_text *t, struct monitor_watch *w);
/* As the functions of a stream; a verdict's spans are left empty. */
sluice_status monitor_text_push(struct monitor_text *t, struct slice bytes, struct monitor_verdict *v,
                                struct sluice_error *err);
sluice_status monitor_text_settle(struct monitor_text *t, struct monitor_verdict *v, struct sluice_error *err);
sluice_status monitor_text_render(const struct monitor_text *t, uint64_t offset, struct slice raw, struct buffer *out,
                                  bool *changed, struct sluice_error *err);
void monitor_text_forget(struct monitor_text *t, uint64_t offset);
void monitor_text_counts(const struct monitor_text *t,
                         struct monitor_counts *sum);             /* adds; shadow rules' not counted */
const char *monitor_text_stop_rule(const struct monitor_text *t); /* NULL unless stopped */
const char *monitor_text_stop_category(const struct monitor_text *t);

/* ---- tap (monitor/tap.c): text in, text out
 * --------------------------------------------------------------------------- For producers of plain text (generate,
 * run, filter on text). Keeps the bytes that wait. */
typedef sluice_status (*monitor_emit_fn)(void *ctx, int choice, int channel, struct slice text,
                                         struct sluice_error *err);
struct monitor_tap;
sluice_status monitor_tap_open(struct monitor *m, monitor_emit_fn emit, void *ctx, struct monitor_tap **out,
                               struct sluice_error *err);
sluice_status monitor_tap_watch(struct monitor_watch *w, size_t route, monitor_emit_fn emit, void *ctx,
                                struct monitor_tap **out, struct sluice_error *err);
void monitor_tap_close(struct monitor_tap *t);
/* *stop turns true when this choice has been stopped (then push no more of it). */
sluice_status monitor_tap_push(struct monitor_tap *t, int choice, int channel, struct slice bytes, bool *stop,
                               struct sluice_error *err);
sluice_status monitor_tap_end(struct monitor_tap *t, bool *stopped,
                              struct sluice_error *err); /* settles every stream */
bool monitor_tap_stopped(const struct monitor_tap *t, const char **rule, const char **category);
void monitor_counts_add(struct monitor_counts *sum, const struct monitor_counts *c); /* held_max: the greater */
void monitor_tap_counts(const struct monitor_tap *t, struct monitor_counts *sum);    /* adds every stream's */

/* ---- audit (monitor/audit.c): a row an event -----------------------------------------------------------------------
 */
struct monitor_audit;
struct monitor_audit_options {
  const char *path;   /* FILE.db: SQLite; FILE.jsonl or "-" (stderr): JSON lines */
  bool text;          /* keep the matched text; else only its salted SHA-256 */
  const char *policy; /* name and hash of the policy, kept with the session */
  const char *policy_hash;
  const char *source; /* where the stream came from: "stdin", a URL; may be NULL */
};
sluice_status monitor_audit_open(const struct monitor_audit_options *o, struct monitor_audit **out,
                                 struct sluice_error *err);
void monitor_audit_event(void *audit, const struct monitor_event *event); /* a monitor_event_fn; errors show at close */
/* Events that could not be written (a full disk), and *why the first one was not. */
uint64_t monitor_audit_lost(const struct monitor_audit *a, const char **why);
/* Ends the session row with what was seen. Returns the first error that an event met. */
sluice_status monitor_audit_close(struct monitor_audit *a, const struct monitor_counts *counts, bool stopped,
                                  struct sluice_error *err);

#endif
