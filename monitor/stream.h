/* Private to monitor/: a text as its detectors see it, and what they hand back. */
#ifndef SLUICE_MONITOR_STREAM_H
#define SLUICE_MONITOR_STREAM_H

#include "monitor/policy.h"

enum { VIEW_SLICE = 4096 /* bytes scanned at a time, so that the view's memory has a bound */ };

/* The bytes that detectors read: valid UTF-8, as long as the raw text, invalid bytes replaced. Offsets are raw offsets.
 */
struct view {
  char *bytes;
  size_t cap, len, ready; /* ready: whole characters only, decided signs only */
  uint64_t base;          /* raw offset of bytes[0] */
  size_t defer;           /* so many signs at the end wait for what follows (leet.h); 0: none do */
  size_t run, hex_run;    /* length of the runs at the end */
  unsigned seen;          /* SEEN_*: kinds of bytes among those appended last that other views may read differently */
};
enum {
  SEEN_NOT_ASCII = 1,
  SEEN_SIGN = 2,    /* leet.h */
  SEEN_RUN = 4,     /* decode.h: enough characters without white space */
  SEEN_HEX_RUN = 8, /* enough hex digits and what stands between them */
  SEEN_ANY = 15
};
sluice_status view_append(struct view *v, struct slice raw, uint64_t keep_from, struct sluice_error *err);
void view_reset(struct view *v); /* the text begins anew; memory is kept */
void view_end(struct view *v);   /* an unfinished last character is invalid after all */
static inline uint64_t view_ready_end(const struct view *v) {
  return v->base + v->ready;
}
static inline const char *view_at(const struct view *v, uint64_t offset) {
  return v->bytes + (offset - v->base);
}
static inline bool view_is_boundary(const struct view *v, uint64_t offset) {
  return offset >= v->base + v->ready || ((unsigned char)*view_at(v, offset) & 0xC0) != 0x80;
}
/* Appends whole valid characters as they are. */
sluice_status view_put(struct view *v, struct slice valid, uint64_t keep_from, struct sluice_error *err);
uint64_t view_round_up(const struct view *v, uint64_t offset);   /* to the next character's start */
uint64_t view_round_down(const struct view *v, uint64_t offset); /* to this character's start */

struct found {
  uint64_t start, end, match_start, match_end;
  uint32_t rule;
  enum monitor_event_kind kind;
  enum monitor_action action;
  enum lane_kind lane;
  const char *view; /* the lane's name */
  bool quiet;       /* more of what has been told: masked, not told again */
};

struct monitor {
  const struct monitor_policy *policy;
  monitor_event_fn fn;
  void *ctx;
  pcre2_match_data *match;
  pcre2_match_context *match_context;
  pcre2_jit_stack *jit_stack;
  struct prefilter_marks *marks; /* prefilter.h; NULL until the first long text */
  bool probing;
  size_t probe_min; /* what the probe's callout saw, an offset in its subject */
};

/* One reading of a text, with the detectors' state over it. Offsets that detectors see and report count its own bytes.
 */
struct folder;
struct layer;
struct leet;
struct lane {
  struct monitor *monitor;
  struct monitor_stream *stream;
  struct layer *layer; /* whose reading it is */
  enum lane_kind kind;
  const char *name;        /* as events call it: "raw" */
  const uint64_t *enabled; /* bit set of the rules that run over it */
  struct folder *folder;   /* how its text came from the raw one; NULL: offsets are raw offsets */
  struct leet *leet;       /* which of its bytes became letters; NULL: none */
  struct view view;
  uint64_t scanned;   /* up to here the detectors have seen it */
  uint64_t consumed;  /* end of the last match that used text up */
  uint64_t keep_from; /* a derived lane's text before it is not asked for any more */
  uint64_t reports;   /* what they have reported so far */
  struct monitor_counts *counts;
  void **states; /* one a detector */
};
sluice_status lane_open(struct lane *l, struct monitor_stream *s, enum lane_kind kind, const char *name,
                        struct sluice_error *err);
void lane_close(struct lane *l);
/* Lets every detector see what is new; *hold becomes the earliest offset that one of them may still protect. */
sluice_status lane_scan(struct lane *l, bool final, uint64_t *hold, struct sluice_error *err);
/* For detectors: what they found, in the lane's own offsets. */
sluice_status lane_report(struct lane *l, const struct found *f, struct sluice_error *err);

struct monitor_stream {
  struct monitor *monitor;
  int choice, channel, index;
  struct layer *text; /* what was pushed, and its readings */
  uint64_t received, released, settled;
  bool stopped;
  uint32_t stop_rule;
  struct found *pending; /* ascending by start; not yet passed by the release */
  size_t n_pending, cap_pending;
  struct monitor_span *spans;
  size_t n_spans, cap_spans;
  struct monitor_counts counts;
};

/* stream.c: for texts under a guard */
uint64_t monitor_stream_known(const struct monitor_stream *s); /* first protected byte that was found and still waits */
/* What stands for masked bytes; first: they begin their span. */
sluice_status rule_mask(const struct rule *r, struct slice raw, bool first, struct buffer *out,
                        struct sluice_error *err);

/* verdict.c */
sluice_status verdict_report(struct monitor_stream *s, const struct found *f, struct sluice_error *err);
/* Moves the release up to hold, acting on what was found before it. */
sluice_status verdict_advance(struct monitor_stream *s, uint64_t hold, struct sluice_error *err);

#endif
