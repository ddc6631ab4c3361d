/* Private to the runner: a dialogue's rows. Every call is one transaction; the caller holds the ledger's lock. */
#ifndef SLUICE_RUNNER_RECORD_H
#define SLUICE_RUNNER_RECORD_H

#include "runner/play.h"

/* Where one dialogue of one cell stands in the ledger. */
struct record {
  int64_t cell_id, ordinal, invocation_id;
  int64_t attempt_id; /* 0: not begun */
  int64_t attempt_no;
  int64_t resumed;
  size_t written; /* turns below this are in the ledger */
  bool has_tip;
  unsigned char tip[SHA256_BYTES]; /* message of turn written - 1 */
  int64_t depth;
  /* read by record_find for the resume */
  unsigned char *snapshot; /* owned; NULL: replay */
  size_t snapshot_len;
};

/* An unfinished attempt, or the number of the next one. */
sluice_status record_find(struct ledger *l, struct record *r, struct sluice_error *err);
void record_free(struct record *r);
/* The recorded turn; turn_no -1 when there is none. */
sluice_status record_turn(struct ledger *l, int64_t attempt_id, size_t turn_no, const struct turn *t,
                          struct played_turn *out, struct sluice_error *err);

struct record_end {
  const char *state, *error_class, *error;
  uint64_t tokens;
  size_t kv_held, kv_peak;
};
/* Writes turns written..upto-1 of the dialogue (played: the scored ones among them, in order), then either the end of
 * the attempt or a checkpoint with snapshot (NULL: resume by replay). r is unchanged when it fails. */
sluice_status record_write(struct ledger *l, struct record *r, const struct dialogue *d, size_t upto,
                           const struct played_turn *played, size_t n_played, const struct record_end *end,
                           const unsigned char *snapshot, size_t snapshot_len, struct sluice_error *err);

/* turn_rows.c */
sluice_status turn_write(struct ledger *l, int64_t attempt_id, const struct played_turn *t,
                         const unsigned char *message, struct sluice_error *err);
sluice_status turn_out_hash(struct ledger *l, int64_t attempt_id, unsigned char out[SHA256_BYTES],
                            struct sluice_error *err);
sluice_status sample_write(struct ledger *l, const struct dialogue *d, unsigned char uid[SHA256_BYTES],
                           struct sluice_error *err);

#endif
