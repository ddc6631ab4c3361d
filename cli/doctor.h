/* sluice doctor's findings: what was looked at, how it stands, and what to do about it. */
#ifndef SLUICE_CLI_DOCTOR_H
#define SLUICE_CLI_DOCTOR_H

#include "base/base.h"

enum doctor_level { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_FAIL }; /* a note stops nothing */

/* One finding is built at a time: doctor_check, then any of the others, until the next doctor_check or doctor_end. */
struct doctor {
  bool json;
  int fails;
  const char *check; /* of the finding being built; NULL: none */
  enum doctor_level level;
  struct buffer text, remedy, values; /* values: JSON members */
  struct buffer done;                 /* JSON: the findings so far */
  sluice_status st;                   /* of our own: out of memory */
  struct sluice_error err;
};
void doctor_begin(struct doctor *d, bool json);
/* Prints what is left, and with `json` the whole object; frees. */
sluice_status doctor_end(struct doctor *d, struct sluice_error *err);

void doctor_check(struct doctor *d, const char *name);
void doctor_say(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Raises the finding to `level` and says what to do. */
void doctor_remedy(struct doctor *d, enum doctor_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void doctor_number(struct doctor *d, const char *key, double value); /* null when not finite */
void doctor_flag(struct doctor *d, const char *key, bool value);
void doctor_string(struct doctor *d, const char *key, const char *value); /* NULL: null */

/* The machine (cli/doctor_machine.c). */
void doctor_system(struct doctor *d);
void doctor_processor(struct doctor *d);
void doctor_memory(struct doctor *d);
void doctor_terminal(struct doctor *d);
/* The program and what it finds (cli/doctor_program.c). */
void doctor_build(struct doctor *d);
void doctor_model(struct doctor *d);
void doctor_cuda(struct doctor *d);
void doctor_data(struct doctor *d);
void doctor_ledger(struct doctor *d, const char *path); /* NULL: only the current folder's file system */

#endif
