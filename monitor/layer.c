/* The lanes of one text. A derived lane is defined as a scan of the whole derived text; a match counts there when it
 * covers a character that the derivation changed (what it did not change is its base's business). While the derived
 * text is the base's byte for byte, so is every decision about it, and the lane sleeps: it wakes at the first byte that
 * differs, with the base's state, and may sleep again when everything that a rule can still see is the same. */
#include "monitor/layer.h"
#include "monitor/detectors/detectors.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const decode_names[DECODE_KINDS] = {"base64", "hex", "percent", "hidden"};

/* "raw", "folded", "leet"; of a decoded text "base64", "base64+folded", ... */
static void name_lanes(struct layer *y) {
  static const char *const own[FIRST_LANES] = {"raw", "folded", "leet"};
  const struct layer *of = y->outer ? y->outer->of : NULL;
  for (int i = 0; i < FIRST_LANES; i++) {
    if (!of)
      snprintf(y->names[i], LANE_NAME, "%s", own[i]);
    else
      snprintf(y->names[i], LANE_NAME, "%.20s%s%s%s%s", of->outer ? of->names[0] : "", of->outer ? "+" : "",
               decode_names[y->outer->kind], i ? "+" : "", i ? own[i] : "");
  }
}

static enum lane_kind lane_kind_of(const struct layer *y, enum lane_kind first) {
  return y->outer ? (enum lane_kind)(first + LANE_DECODED) : first;
}

sluice_status layer_open(struct layer *y, struct monitor_stream *s, struct decoder *outer, struct sluice_error *err) {
  *y = (struct layer){.outer = outer, .depth = outer ? outer->of->depth + 1 : 0};
  name_lanes(y);
  for (int k = 0; k < DECODE_KINDS; k++) decoder_init(&y->decoders[k], (enum decode_kind)k, y);
  sluice_status st = lane_open(&y->raw, s, lane_kind_of(y, LANE_RAW), y->names[0], err);
  y->raw.layer = y;
  if (!st && s->monitor->policy->lane_any[lane_kind_of(y, LANE_LEET)]) y->raw.view.defer = LEET_RUN;
  return st;
}

void layer_close(struct layer *y) {
  lane_close(&y->raw);
  if (y->folded.open) lane_close(&y->folded.lane);
  if (y->leet.open) lane_close(&y->leet.lane);
  fold_free(&y->folder);
  leet_free(&y->letters);
  for (int k = 0; k < DECODE_KINDS; k++) decoder_free(&y->decoders[k]);
}

sluice_status layer_new(struct decoder *outer, struct layer **out, struct sluice_error *err) {
  struct layer *y = calloc(1, sizeof *y);
  if (!y) return sluice_fail(err, SLUICE_NOMEM, "no memory for a decoded text");
  sluice_status st = layer_open(y, outer->of->raw.stream, outer, err);
  if (st)
    layer_free(y);
  else
    *out = y;
  return st;
}

void layer_free(struct layer *y) {
  if (!y) return;
  layer_close(y);
  free(y);
}

void layer_reset(struct layer *y) {
  struct lane *l = &y->raw;
  view_reset(&l->view);
  l->scanned = l->consumed = l->keep_from = 0;
  for (size_t i = 0; i < n_detectors; i++) detectors[i]->copy(l->monitor->policy, l->states[i], NULL);
  y->folded.awake = y->leet.awake = false;
  for (int k = 0; k < DECODE_KINDS; k++) decoder_reset(&y->decoders[k]);
}

sluice_status layer_append(struct layer *y, struct slice bytes, struct sluice_error *err) {
  return view_append(&y->raw.view, bytes, y->raw.keep_from, err);
}

/* How far before the text's end a lane's rules can still look. */
static uint64_t reach(const struct lane *l) {
  const struct monitor_policy *p = l->monitor->policy;
  return p->lane_back[l->kind] + p->look_behind + MONITOR_WORD_MAX + 8;
}

void layer_keep(struct layer *y, uint64_t hold) {
  uint64_t back = reach(&y->raw);
  y->raw.keep_from = hold > back ? hold - back : 0;
}

sluice_status layer_report(struct layer *y, const struct found *found, struct sluice_error *err) {
  struct found f = *found;
  for (const struct layer *at = y; at->outer; at = at->outer->of)
    if (!decoder_map(at->outer, &f)) return SLUICE_OK;
  return verdict_report(y->raw.stream, &f, err);
}

static sluice_status open_lane(struct layer *y, struct derived_lane *d, enum lane_kind first,
                               struct sluice_error *err) {
  if (d->open) return SLUICE_OK;
  sluice_status st = lane_open(&d->lane, y->raw.stream, lane_kind_of(y, first), y->names[first], err);
  d->lane.layer = y;
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
    if (!y->raw.monitor->policy->lane_any[lane_kind_of(y, LANE_FOLDED)] || !fold_is_needed(raw)) return SLUICE_OK;
    st = open_lane(y, d, LANE_FOLDED, err);
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
    if (!y->raw.monitor->policy->lane_any[lane_kind_of(y, LANE_LEET)] || !leet_is_needed(&base->view, base->scanned))
      return SLUICE_OK;
    sluice_status st = open_lane(y, d, LANE_LEET, err);
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

/* *hold: the earliest raw byte that a decoded text may still protect. */
static sluice_status scan_decoders(struct layer *y, bool final, uint64_t *hold, struct sluice_error *err) {
  static const unsigned runs[DECODE_KINDS] = {SEEN_RUN, SEEN_HEX_RUN, SEEN_RUN, SEEN_NOT_ASCII};
  sluice_status st = SLUICE_OK;
  if (y->depth >= DECODE_DEPTH_MAX || !y->raw.monitor->policy->lane_any[LANE_DECODED]) return SLUICE_OK;
  for (int k = 0; !st && k < DECODE_KINDS; k++)
    st = decoder_scan(&y->decoders[k], y->raw.view.seen & runs[k], final, hold, err);
  return st;
}

static bool is_decoding(const struct layer *y) {
  bool any = false;
  for (int k = 0; k < DECODE_KINDS; k++) any |= y->decoders[k].active;
  return any;
}

sluice_status layer_scan(struct layer *y, bool final, uint64_t *hold, struct sluice_error *err) {
  unsigned seen = y->raw.view.seen;
  bool awake = y->folded.awake || y->leet.awake;
  uint64_t decoded = UINT64_MAX;
  if (!(seen & SEEN_ANY) && !awake && !is_decoding(y)) /* nearly always */
    return lane_scan(&y->raw, final, hold, err);
  sluice_status st = scan_decoders(y, final, &decoded, err);
  if (!st && (awake || (seen & SEEN_NOT_ASCII))) st = derive_folded(y, err);
  if (!st && (awake || y->folded.awake || (seen & SEEN_SIGN))) st = derive_leet(y, err);
  if (!st && final && y->leet.awake) st = leet_end(&y->letters, &y->leet.lane.view, err);
  if (!st) st = lane_scan(&y->raw, final, hold, err);
  if (!st && y->folded.awake) st = scan_derived(y, &y->folded, final, hold, err);
  if (!st && y->leet.awake) st = scan_derived(y, &y->leet, final, hold, err);
  if (!st && decoded < *hold) *hold = decoded;
  if (!st) drop_and_sleep(y);
  return st;
}
