/* Private to wire/: work that would hold up an event loop, on a thread beside it. */
#ifndef SLUICE_WIRE_JOBS_H
#define SLUICE_WIRE_JOBS_H

#include "base/base.h"

struct event_base;
struct job {
  void (*run)(struct job *j);  /* on the thread beside the loop, one job at a time, in order */
  void (*done)(struct job *j); /* then in the loop. Also of jobs that never ran because all ends */
  struct job *next;            /* jobs.c's */
};
struct jobs;
sluice_status jobs_open(struct event_base *loop, struct jobs **out, struct sluice_error *err);
void jobs_close(struct jobs *j); /* waits for the job that runs */
/* The thread starts with the first one. */
sluice_status jobs_add(struct jobs *j, struct job *job, struct sluice_error *err);

#endif
