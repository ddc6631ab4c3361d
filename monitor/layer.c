/* The lanes of one text. A derived lane is defined as a scan of the whole derived text; a match counts there when it
 * covers a character that the derivation changed (what it did not change is its base's business). While the derived
 * text is the base's byte for byte, so is every decision about it, and the lane sleeps: it wakes at the first byte that
 * differs, with the base's state, and may sleep again when everything that a rule can still see is the same. */
#include "monitor/layer.h"
#include "monitor/detectors/detectors.h"

#include <stdlib.h>

sluice_status layer_open(struct layer *y, struct monitor_stream *s, struct sluice_error *err) {
  *y = (struct layer){0};
  sluice_status st = lane_open(&y->raw, s, LANE_RAW, "raw", err);
  if (!st && s->monitor->policy->lane_any[LANE_LEET]) y->raw.view.defer = LEET_RUN;
  return st;
}

void layer_close(struct layer *y) {
  lane_close(&y->raw);
  if (y->folded.open) lane_close(&y->folded.lane);
  if (y->leet.open) lane_close(&y->leet.lane);
  fold_free(&y->folder);
  leet_free(&y->letters);
}

/* How far before the text's end a lane's rules can still look. */
static uint64_t reach(const struct lane *l) {
  const struct monitor_policy *p = l->monitor->policy;
  return p->lane_back[l->kind] + p->look_behind + MONITOR_WORD_MAX + 8;
}

static sluice_status open_lane(struct derived_lane *d, const struct lane *base, enum lane_kind kind, const char *name,
                               struct sluice_error *err) {
  sluice_status st = d->open ? SLUICE_OK : lane_open(&d->lane, base->stream, kind, name, err);
  d->open = !st;
  return st;
}

/* The lane takes over its base's text and state as they were before the newest bytes. */
static sluice_status wake(struct derived_lane *d, const struct lane *base, struct sluice_error *err) {
  const struct view *v = &base->view;
  struct lane *l = &d->lane;
  uint64_t at = base->scanned, back = reach(l), from = at > v->base + back ? view_round_up(v, at - back) : v->base;
  l->view.len = l->view.ready = 0;
  l->view.base = l->keep_from = from;
  sluice_status st = view_put(&l->view, (struct slice){view_at(v, from), (size_t)(at - from)}, from, err);
  if (st) return st;
  l->scanned = at;
  l->consumed = base->consumed;
  for (size_t i = 0; i < n_detectors; i++) detectors[i]->copy(l->monitor->policy, l->states[i], base->states[i]);
  d->awake = true;
  return SLUICE_OK;
}

static struct slice new_bytes(const struct lane *l, uint64_t from) {
  return (struct slice){view_at(&l->view, from), (size_t)(view_ready_end(&l->view) - from)};
}

static sluice_status derive_folded(struct layer *y, struct sluice_error *err) {
  struct slice raw = new_bytes(&y->raw, y->raw.scanned);
  struct derived_lane *d = &y->folded;
  sluice_status st = SLUICE_OK;
  if (!d->awake) {
    if (!y->raw.monitor->policy->lane_any[LANE_FOLDED] || !fold_is_needed(raw)) return SLUICE_OK;
    st = open_lane(d, &y->raw, LANE_FOLDED, "folded", err);
    if (!st) st = wake(d, &y->raw, err);
    if (st) return st;
    d->lane.folder = &y->folder;
    fold_begin(&y->folder, y->raw.scanned);
  }
  return fold_append(&y->folder, &d->lane.view, raw, d->lane.keep_from, err);
}

static sluice_status derive_leet(struct layer *y, struct sluice_error *err) {
  const struct lane *base = y->folded.awake ? &y->folded.lane : &y->raw;
  struct derived_lane *d = &y->leet;
  if (!d->awake) {
    if (!y->raw.monitor->policy->lane_any[LANE_LEET] || !leet_is_needed(&base->view, base->scanned)) return SLUICE_OK;
    sluice_status st = open_lane(d, base, LANE_LEET, "leet", err);
    if (!st) st = wake(d, base, err);
    if (st) return st;
    d->lane.leet = &y->letters;
    leet_begin(&y->letters, &d->lane.view);
  }
  d->lane.folder = y->folded.awake ? &y->folder : NULL;
  return leet_append(&y->letters, &d->lane.view, new_bytes(base, base->scanned), d->lane.keep_from, err);
}

/* Whether the lane cannot differ any more from its base in what it decides. changed_end in the lane's own offsets. */
static bool is_same_again(const struct lane *l, const struct lane *base, uint64_t changed_end) {
  const struct monitor_policy *p = l->monitor->policy;
  uint64_t back = p->lane_back[l->kind];
  bool same =
      l->scanned >= changed_end + back && l->scanned >= l->consumed + back && base->scanned >= base->consumed + back;
  for (size_t i = 0; same && i < n_detectors; i++) same = detectors[i]->same(p, l->states[i], base->states[i]);
  return same;
}

static sluice_status scan_derived(struct layer *y, struct derived_lane *d, bool final, uint64_t *hold,
                                  struct sluice_error *err) {
  uint64_t own = 0, raw = 0;
  sluice_status st = lane_scan(&d->lane, final, &own, err);
  if (st) return st;
  if (!d->lane.folder)
    raw = own;
  else if (own == view_ready_end(&y->folded.lane.view))
    raw = y->folder.raw_end;
  else
    raw = fold_raw_start(&y->folder.map, own);
  if (raw < *hold) *hold = raw;
  uint64_t back = reach(&d->lane);
  d->lane.keep_from = own > back ? own - back : 0;
  return SLUICE_OK;
}

static void drop_and_sleep(struct layer *y) {
  if (y->leet.awake) {
    const struct lane *l = &y->leet.lane, *base = y->folded.awake ? &y->folded.lane : &y->raw;
    uint64_t end = y->letters.n ? y->letters.changed[y->letters.n - 1] + 1 : 0;
    if (!y->letters.n_run && (!y->letters.any || is_same_again(l, base, end))) y->leet.awake = false;
    leet_drop(&y->letters, l->view.base);
  }
  if (!y->folded.awake) return;
  const struct lane *l = &y->folded.lane;
  const struct fold_map *m = &y->folder.map;
  uint64_t end = m->n ? m->marks[m->n - 1].folded + m->marks[m->n - 1].n_folded : 0;
  if (!y->leet.awake && is_same_again(l, &y->raw, end)) y->folded.awake = false;
  uint64_t from = y->leet.awake && y->leet.lane.view.base < l->view.base ? y->leet.lane.view.base : l->view.base;
  fold_map_drop(&y->folder.map, from);
}

sluice_status layer_scan(struct layer *y, bool final, uint64_t *hold, struct sluice_error *err) {
  unsigned seen = y->raw.view.seen;
  bool awake = y->folded.awake || y->leet.awake;
  if (!seen && !awake) /* nearly always */
    return lane_scan(&y->raw, final, hold, err);
  sluice_status st = awake || (seen & SEEN_NOT_ASCII) ? derive_folded(y, err) : SLUICE_OK;
  if (!st) st = derive_leet(y, err);
  if (!st && final && y->leet.awake) st = leet_end(&y->letters, &y->leet.lane.view, err);
  if (!st) st = lane_scan(&y->raw, final, hold, err);
  if (!st && y->folded.awake) st = scan_derived(y, &y->folded, final, hold, err);
  if (!st && y->leet.awake) st = scan_derived(y, &y->leet, final, hold, err);
  if (!st) drop_and_sleep(y);
  return st;
}
