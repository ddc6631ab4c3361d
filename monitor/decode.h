/* Private to monitor/: runs of base64, hex, percent escapes and hidden characters inside a text, decoded as they
 * come. */
#ifndef SLUICE_MONITOR_DECODE_H
#define SLUICE_MONITOR_DECODE_H

#include "monitor/fold.h"

struct layer;
enum decode_kind { DECODE_BASE64, DECODE_HEX, DECODE_PERCENT, DECODE_HIDDEN, DECODE_KINDS };
enum {
  DECODE_RUN_MIN = 24,    /* bytes; shorter runs are words, names and numbers */
  DECODE_LOOK_BACK = 128, /* how far before its first escape a percent run may begin */
  DECODE_DEPTH_MAX = 2,   /* what is decoded is looked through again, this deep */
  DECODE_LINE_MIN = 24,   /* base64 goes on behind white space when the line before was at least as long, */
  DECODE_NEXT_LINE = 4,   /* and so many characters come behind a newline, */
  DECODE_NEXT_WORD = 8    /* or so many behind a space */
};

struct decoder {
  enum decode_kind kind;
  struct layer *of;    /* the text that the run stands in */
  struct layer *inner; /* what it decodes to; NULL until first needed */
  bool active;
  uint64_t fed;        /* bytes of the text before it are dealt with */
  uint64_t start, end; /* the run so far; while none is active, start is where one may have begun */
  struct fold_map map; /* decoded -> text */
  uint64_t decoded;    /* bytes so far */
  bool tainted;        /* a hit asked to mask it: the rest of the run is masked as it comes */
  struct found taint;
  uint32_t bits;          /* of the byte that is being put together */
  unsigned n_bits;        /* how many */
  uint64_t bits_from;     /* where its first character stands */
  unsigned line, escapes; /* characters since white space; percent: escapes so far */
  unsigned wanted;        /* base64: until so many characters have come behind white space, they may be a word */
  bool padded, escaped;   /* base64: = has come; a backslash has */
};

void decoder_init(struct decoder *d, enum decode_kind kind, struct layer *of);
void decoder_reset(struct decoder *d); /* the text begins anew */
void decoder_free(struct decoder *d);
/* Looks at the text's new bytes, decodes and scans. Lowers *hold to the earliest byte that an undecided match protects.
 * any: a run long enough may be among them. */
sluice_status decoder_scan(struct decoder *d, bool any, bool final, uint64_t *hold, struct sluice_error *err);
/* What was found in the decoded text becomes a finding about the run, false where decoding had no part in it. */
bool decoder_map(struct decoder *d, struct found *f);

#endif
