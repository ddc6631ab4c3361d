/* The folded view: each raw character stands as what it looks like (fold_table.h). Characters are folded one by one, so
 * nothing waits for what follows. */
#include "monitor/fold.h"
#include "monitor/fold_table.h"

#include <stdlib.h>
#include <string.h>

enum { MARKS_MAX = 1 << 20 };

const char *monitor_fold_source(void) {
  return fold_source;
}

/* ---- the map ---- */

/* How many marks lie at or before a folded offset. */
static size_t marks_until(const struct fold_map *m, uint64_t folded) {
  size_t lo = 0, hi = m->n;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (m->marks[mid].folded <= folded)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

uint64_t fold_raw_start(const struct fold_map *m, uint64_t folded) {
  size_t n = marks_until(m, folded);
  if (n == 0) return folded + m->shift;
  const struct fold_mark *k = &m->marks[n - 1];
  if (folded < k->folded + k->n_folded) return k->raw;
  return k->raw + k->n_raw + (folded - k->folded - k->n_folded);
}

uint64_t fold_raw_end(const struct fold_map *m, uint64_t folded) {
  if (folded == 0) return 0;
  size_t n = marks_until(m, folded - 1);
  const struct fold_mark *k = n ? &m->marks[n - 1] : NULL;
  if (k && folded - 1 < k->folded + k->n_folded) return k->raw + k->n_raw;
  return fold_raw_start(m, folded - 1) + 1;
}

bool fold_covers_change(const struct fold_map *m, uint64_t start, uint64_t end) {
  size_t n = marks_until(m, start);
  for (size_t i = n ? n - 1 : 0; i < m->n && m->marks[i].folded < end; i++) {
    const struct fold_mark *k = &m->marks[i];
    if (k->n_folded ? k->folded + k->n_folded > start : k->folded > start) return true;
  }
  return false;
}

void fold_map_drop(struct fold_map *m, uint64_t folded) {
  size_t n = 0;
  while (n < m->n && m->marks[n].folded + m->marks[n].n_folded <= folded) n++;
  if (n == 0) return;
  const struct fold_mark *last = &m->marks[n - 1];
  m->shift = last->raw + last->n_raw - last->folded - last->n_folded;
  memmove(m->marks, m->marks + n, (m->n - n) * sizeof *m->marks);
  m->n -= n;
}

sluice_status fold_map_add(struct fold_map *m, const struct fold_mark *mark, struct sluice_error *err) {
  if (m->n == m->cap) {
    size_t cap = m->cap ? 2 * m->cap : 64;
    if (cap > MARKS_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d folded characters wait", MARKS_MAX);
    struct fold_mark *grown = realloc(m->marks, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu folded characters", cap);
    m->marks = grown;
    m->cap = cap;
  }
  m->marks[m->n++] = *mark;
  return SLUICE_OK;
}

void fold_map_free(struct fold_map *m) {
  free(m->marks);
  *m = (struct fold_map){0};
}

/* ---- characters ---- */

static uint64_t view_end_offset(const struct view *v) {
  return v->base + v->len;
}

static sluice_status put(struct folder *f, struct view *out, struct slice bytes, uint64_t raw, size_t n_raw,
                         bool changed, uint64_t keep_from, struct sluice_error *err) {
  uint64_t at = view_end_offset(out);
  sluice_status st = view_put(out, bytes, keep_from, err);
  if (!st && changed)
    st = fold_map_add(&f->map, &(struct fold_mark){at, raw, (uint16_t)bytes.len, (uint16_t)n_raw}, err);
  f->raw_end = raw + n_raw;
  return st;
}

static sluice_status remove_character(struct folder *f, struct view *out, uint64_t raw, size_t n_raw,
                                      uint64_t keep_from, struct sluice_error *err) {
  bool too_many = ++f->removed_run > FOLD_REMOVED_RUN;
  if (too_many) f->removed_run = 0;
  return put(f, out, too_many ? (struct slice){"\x1A", 1} : (struct slice){"", 0}, raw, n_raw, true, keep_from, err);
}

static sluice_status fold_one(struct folder *f, struct view *out, struct slice raw, uint64_t at, uint64_t keep_from,
                              struct sluice_error *err) {
  uint32_t c = 0;
  struct slice to = raw;
  utf8_decode(raw.ptr, raw.len, &c);
  bool changed = fold_code_point(c, &to);
  if (to.len == 0) return remove_character(f, out, at, raw.len, keep_from, err);
  f->removed_run = 0;
  return put(f, out, to, at, raw.len, changed, keep_from, err);
}

static size_t ascii_run(struct slice raw) {
  size_t n = 0;
  while (n < raw.len && (unsigned char)raw.ptr[n] < 0x80) n++;
  return n;
}

void fold_begin(struct folder *f, uint64_t at) {
  *f = (struct folder){.map = {.marks = f->map.marks, .cap = f->map.cap}, .raw_end = at};
}

void fold_free(struct folder *f) {
  fold_map_free(&f->map);
  *f = (struct folder){0};
}

sluice_status fold_append(struct folder *f, struct view *out, struct slice raw, uint64_t keep_from,
                          struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!st && raw.len) {
    size_t n = ascii_run(raw);
    if (n) {
      f->removed_run = 0;
      st = put(f, out, (struct slice){raw.ptr, n}, f->raw_end, n, false, keep_from, err);
    } else {
      uint32_t ignored;
      n = (size_t)utf8_decode(raw.ptr, raw.len, &ignored);
      st = fold_one(f, out, (struct slice){raw.ptr, n}, f->raw_end, keep_from, err);
    }
    raw.ptr += n;
    raw.len -= n;
  }
  return st;
}

bool fold_is_needed(struct slice raw) {
  for (size_t at = 0; at < raw.len;) {
    uint32_t code = 0;
    struct slice ignored;
    at += ascii_run((struct slice){raw.ptr + at, raw.len - at});
    if (at == raw.len) break;
    int n = utf8_decode(raw.ptr + at, raw.len - at, &code);
    if (fold_code_point(code, &ignored)) return true;
    at += (size_t)n;
  }
  return false;
}
