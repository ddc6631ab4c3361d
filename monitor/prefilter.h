/* Private to monitor/: Hyperscan (or Vectorscan) says which rules can match at all in a long text, and where; only
 * there PCRE2 is asked. Without the library, on a processor that it does not support, and until its patterns are
 * compiled, every rule runs as it would on short pieces: the outcome is the same, byte for byte. */
#ifndef SLUICE_MONITOR_PREFILTER_H
#define SLUICE_MONITOR_PREFILTER_H

#include "monitor/monitor.h"

enum { PREFILTER_BYTES_MIN = 1024 /* less new text than this is not worth a look of its own, while more may come */ };
struct prefilter; /* of a policy; shared by its threads, and by the one that compiles */
struct prefilter_marks;

sluice_status prefilter_new(struct prefilter **out, struct sluice_error *err);
void prefilter_release(struct prefilter *f); /* NULL is fine */
/* That so many bytes of long text have come. Once it pays, compiling begins on a thread of its own. */
void prefilter_offer(const struct monitor_policy *p, size_t bytes);
bool prefilter_is_ready(const struct prefilter *f);

/* A workspace's own part. */
void prefilter_marks_free(struct prefilter_marks *marks);
/* Looks through [from, from + text.len), of which bytes before `scanned` had been looked at already. Until
 * prefilter_clear, prefilter_next answers for the policy's rules. Where it cannot, that answers for none. */
struct monitor;
size_t prefilter_look_back(
    const struct prefilter *f); /* bytes before the new ones that a look must hold, where they are there */
void prefilter_look(struct monitor *m, struct slice text, uint64_t from);
void prefilter_clear(struct monitor *m);
/* The first place at or after `from` where a match of the rule can begin, and in *last the last one of that stretch
 * (UINT64_MAX: to the text's end). final: as if the text ended there; else what follows may decide, near its end. */
uint64_t prefilter_next(const struct monitor *m, uint32_t rule, uint64_t from, bool final, uint64_t *last);

#endif
