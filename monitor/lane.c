/* One reading of a text through the detectors of a policy. */
#include "monitor/layer.h"
#include "monitor/detectors/detectors.h"

#include <stdlib.h>

const unsigned char lane_views[LANES] = {
    VIEW_RAW, VIEW_FOLDED, VIEW_LEET, VIEW_DECODED, VIEW_DECODED | VIEW_FOLDED, VIEW_DECODED | VIEW_LEET};

sluice_status lane_open(struct lane *l, struct monitor_stream *s, enum lane_kind kind, const char *name,
                        struct sluice_error *err) {
  *l = (struct lane){.monitor = s->monitor, .stream = s, .kind = kind, .name = name, .counts = &s->counts};
  l->enabled = s->monitor->policy->lane_rules[kind];
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

/* Whether the rule wants to hear of this lane, and the match is the lane's own: what was left alone its base has seen
 * too. An event without a match stands for what its rule could have seen. */
static bool is_own(const struct lane *l, const struct found *f) {
  const struct rule *r = &l->monitor->policy->rules[f->rule];
  if ((r->views & lane_views[l->kind]) != lane_views[l->kind]) return false;
  uint64_t start = f->match_start, end = f->kind == MONITOR_MATCH ? f->match_end : start + r->max_match;
  if (l->leet && leet_covers_change(l->leet, start, end)) return true;
  if (l->leet && (r->views & VIEW_FOLDED)) return false;
  return l->kind == LANE_RAW || l->kind == LANE_DECODED ||
         (l->folder && fold_covers_change(&l->folder->map, start, end));
}

sluice_status lane_report(struct lane *l, const struct found *f, struct sluice_error *err) {
  struct found raw = *f;
  l->reports++;
  if (!is_own(l, f)) return SLUICE_OK;
  if (l->folder) {
    const struct fold_map *map = &l->folder->map;
    raw.start = fold_raw_start(map, f->start);
    raw.end = f->end > f->start ? fold_raw_end(map, f->end) : raw.start;
    raw.match_start = fold_raw_start(map, f->match_start);
    raw.match_end = f->match_end > f->match_start ? fold_raw_end(map, f->match_end) : raw.match_start;
  }
  return layer_report(l->layer, &raw, err);
}
