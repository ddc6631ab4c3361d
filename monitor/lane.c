/* One reading of a text through the detectors of a policy. */
#include "monitor/stream.h"
#include "monitor/detectors/detectors.h"

#include <stdlib.h>

sluice_status lane_open(struct lane *l, struct monitor_stream *s, const char *name, struct sluice_error *err) {
  *l = (struct lane){.monitor = s->monitor, .stream = s, .name = name, .counts = &s->counts};
  l->states = calloc(n_detectors, sizeof *l->states);
  sluice_status st = l->states ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  for (size_t i = 0; !st && i < n_detectors; i++) st = detectors[i]->open(l->monitor->policy, &l->states[i], err);
  if (st) lane_close(l);
  return st;
}

void lane_close(struct lane *l) {
  for (size_t i = 0; l->states && i < n_detectors; i++) detectors[i]->close(l->states[i]);
  free(l->states);
  free(l->view.bytes);
  *l = (struct lane){0};
}

sluice_status lane_scan(struct lane *l, bool final, uint64_t *hold, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  l->monitor = l->stream->monitor; /* monitor_stream_use may have changed it */
  *hold = view_ready_end(&l->view);
  for (size_t i = 0; !st && i < n_detectors; i++) st = detectors[i]->scan(l, l->states[i], final, hold, err);
  l->scanned = view_ready_end(&l->view);
  if (final) *hold = l->scanned;
  return st;
}

sluice_status lane_report(struct lane *l, const struct found *f, struct sluice_error *err) {
  l->reports++;
  return verdict_report(l->stream, f, err);
}
