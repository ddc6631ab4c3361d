/* A monitor as the wire's gate: one monitored text a text. Only cli joins the two rooms. */
#ifndef SLUICE_CLI_GATE_H
#define SLUICE_CLI_GATE_H

#include "monitor/monitor.h"
#include "wire/wire.h"

#include <limits.h>

enum { GATE_ASIDE = INT_MIN }; /* as an event's index: of an alternative, which is no text of the stream */
struct gate_lane;
struct gate {
  struct monitor *monitor; /* one of these two */
  struct monitor_watch *watch;
  size_t route;
  enum monitor_side side;
  struct gate_lane *lanes;
  size_t n, cap;
  struct monitor_counts closed;  /* of texts that were reset */
  char rule[104], category[104]; /* of the first stop; empty */
};
void gate_open(struct gate *g, struct monitor *m);
void gate_watch(struct gate *g, struct monitor_watch *w, size_t route, enum monitor_side side);
void gate_move(struct gate *g, struct monitor_watch *w); /* its texts go on with another thread's watch */
void gate_close(struct gate *g);
struct wire_gate gate_for_wire(struct gate *g);
/* For listeners of a monitor that is behind a gate. */
static inline bool gate_is_aside(const struct monitor_event *e) {
  return e->index == GATE_ASIDE;
}
void gate_audit(void *audit, const struct monitor_event *e); /* monitor_audit_event for texts of the stream */
void gate_counts(const struct gate *g, struct monitor_counts *sum);

#endif
