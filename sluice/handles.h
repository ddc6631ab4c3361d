/* Private to sluice/: what the handles of the C API hold. */
#ifndef SLUICE_HANDLES_H
#define SLUICE_HANDLES_H

#include <stdatomic.h>
#include <pthread.h>

#include "monitor/monitor.h"
#include "sluice/sluice.h"

enum { WORKSPACES_MAX = 256 }; /* threads inside the library at once, a policy; more wait */

/* A monitor's scratch memory is one thread's at a time. Streams would be dear if each had its own, and bound to a
 * thread if they shared one, so a policy keeps a pool: as many as ever pushed at once. A call takes one, which is an
 * exchange on a line of memory that no other thread writes unless it found its own taken. */
struct workspace {
  _Alignas(64) atomic_flag taken;
  struct monitor *monitor;
  struct sluice_stream *stream; /* whose call runs: its callback hears the events */
};

struct sluice_policy {
  atomic_size_t references;
  struct monitor_policy *policy;
  const char **notes; /* NULL-terminated */
  struct sluice_policy_info info;
  pthread_mutex_t grow;
  atomic_uint n_spaces;
  struct workspace spaces[WORKSPACES_MAX];
};

/* Reports an error of the rooms below, or one of the API's own. Both return failure's code. */
int failure_from(struct sluice_failure *failure, const struct sluice_error *err);
int failure_set(struct sluice_failure *failure, enum sluice_error_code code, const char *message);

/* *hint: where this stream was last; begins at 0. Give it back with workspace_return. */
sluice_status workspace_take(struct sluice_policy *p, struct sluice_stream *s, unsigned *hint, struct workspace **out,
                             struct sluice_error *err);
void workspace_return(struct workspace *w);
/* stream.c: a monitor's events, with a workspace as ctx. */
void workspace_event(void *workspace, const struct monitor_event *event);

#endif
