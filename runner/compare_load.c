/* What compare reads from a ledger. */
#include "runner/compare.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "no memory for a comparison");
}

static const char *keep(struct arena *memory, const char *text) {
  return arena_strndup(memory, text, strlen(text));
}

/* Room for one more of elements of `size` bytes. */
static bool grow(void **array, size_t n, size_t *cap, size_t size) {
  if (n < *cap) return true;
  size_t want = *cap ? 2 * *cap : 64;
  void *grown = realloc(*array, want * size);
  if (!grown) return false;
  *array = grown;
  *cap = want;
  return true;
}

static bool passes(const char *filter, const char *value) {
  return !filter || !strcmp(filter, value) || !fnmatch(filter, value, 0);
}

static sluice_status read_cell(struct ledger_rows *q, struct arena *memory, struct compare_cell *c,
                               struct sluice_error *err) {
  *c = (struct compare_cell){.id = ledger_int(q, 0),
                             .engine = keep(memory, ledger_text(q, 1)),
                             .policy = keep(memory, ledger_text(q, 2)),
                             .monitor = keep(memory, ledger_text(q, 3)),
                             .benchmark = keep(memory, ledger_text(q, 4)),
                             .seed = ledger_int(q, 5),
                             .planned = ledger_int(q, 6),
                             .finished = ledger_int(q, 7),
                             .errors = ledger_int(q, 8)};
  if (!c->engine || !c->policy || !c->monitor || !c->benchmark) return no_memory(err);
  char *label = sluice_format("%s/%s/%s/%s/%lld", c->engine, c->policy, c->monitor, c->benchmark, (long long)c->seed);
  c->label = label ? keep(memory, label) : NULL;
  free(label);
  return c->label ? SLUICE_OK : no_memory(err);
}

sluice_status compare_load_cells(const struct compare_side *side, struct arena *memory, struct compare_cell **out,
                                 size_t *n, struct sluice_error *err) {
  struct ledger_rows *q;
  size_t cap = 0;
  bool row = true;
  sluice_status status = ledger_query(side->ledger,
                                      "SELECT c.id, c.engine, c.policy, c.monitor, c.benchmark, c.seed, c.n_planned,"
                                      " (SELECT count(*) FROM v_final f WHERE f.cell_id = c.id),"
                                      " (SELECT count(*) FROM v_final f WHERE f.cell_id = c.id AND f.state = 'error')"
                                      " FROM cell c WHERE c.run_id = ?1 ORDER BY c.ordinal",
                                      LEDGER_VALUES(lv_text(side->run_id)), &q, err);
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    if (!passes(side->engine, ledger_text(q, 1)) || !passes(side->policy, ledger_text(q, 2)) ||
        !passes(side->monitor, ledger_text(q, 3)))
      continue;
    void *array = *out;
    bool room = grow(&array, *n, &cap, sizeof **out);
    *out = array;
    status = room ? read_cell(q, memory, &(*out)[*n], err) : no_memory(err);
    if (!status) ++*n;
  }
  ledger_rows_end(q);
  return status;
}

int compare_order(const struct compare_value *a, const struct compare_value *b) {
  int order = strcmp(a->metric, b->metric);
  if (!order) order = strcmp(a->scorer, b->scorer);
  if (!order) order = strcmp(a->sample, b->sample);
  if (!order) order = (a->turn_no > b->turn_no) - (a->turn_no < b->turn_no);
  return order;
}

static int by_order(const void *a, const void *b) {
  return compare_order(a, b);
}

sluice_status compare_load_values(struct ledger *l, int64_t cell_id, struct arena *memory, struct compare_values *out,
                                  struct sluice_error *err) {
  struct ledger_rows *q;
  size_t cap = 0;
  bool row = true;
  *out = (struct compare_values){0};
  sluice_status status = ledger_query(
      l,
      "SELECT p.metric, r.name || ' ' || r.version || ' ' || r.config, hex(f.sample_uid), s.ext_id, s.cluster, "
      "p.turn_no,"
      " p.value, coalesce(o.body, json_extract(st.choices, '$[' || t.chosen || '].text'), '')"
      " FROM v_final f JOIN score p ON p.attempt_id = f.attempt_id JOIN scorer r ON r.id = p.scorer_id"
      " JOIN sample s ON s.uid = f.sample_uid JOIN sample_turn st ON st.sample_uid = f.sample_uid AND st.turn_no = "
      "p.turn_no"
      " JOIN turn t ON t.attempt_id = f.attempt_id AND t.turn_no = p.turn_no LEFT JOIN blob o ON o.sha256 = t.output"
      " WHERE f.cell_id = ?1 AND f.state <> 'error'",
      LEDGER_VALUES(lv_int(cell_id)), &q, err);
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    void *array = out->at;
    bool room = grow(&array, out->n, &cap, sizeof *out->at);
    out->at = array;
    if (!room) {
      status = no_memory(err);
      break;
    }
    const char *cluster = ledger_text(q, 4);
    struct compare_value *v = &out->at[out->n++];
    *v = (struct compare_value){.metric = keep(memory, ledger_text(q, 0)),
                                .scorer = keep(memory, ledger_text(q, 1)),
                                .sample = keep(memory, ledger_text(q, 2)),
                                .name = keep(memory, ledger_text(q, 3)),
                                .cluster = hash64(cluster, strlen(cluster)),
                                .turn_no = ledger_int(q, 5),
                                .value = ledger_real(q, 6),
                                .answer = keep(memory, ledger_text(q, 7))};
    if (!v->metric || !v->scorer || !v->sample || !v->name || !v->answer) status = no_memory(err);
  }
  ledger_rows_end(q);
  if (!status && out->n) qsort(out->at, out->n, sizeof *out->at, by_order);
  return status;
}

struct outcome_hash {
  unsigned char sample[SHA256_BYTES], out[SHA256_BYTES];
};

static sluice_status load_hashes(struct ledger *l, int64_t cell_id, struct outcome_hash **out, size_t *n,
                                 struct sluice_error *err) {
  struct ledger_rows *q;
  size_t cap = 0;
  bool row = true;
  sluice_status status = ledger_query(
      l, "SELECT sample_uid, out_hash FROM v_final WHERE cell_id = ?1 AND state <> 'error' ORDER BY sample_uid",
      LEDGER_VALUES(lv_int(cell_id)), &q, err);
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    void *array = *out;
    bool room = grow(&array, *n, &cap, sizeof **out);
    *out = array;
    struct slice sample = ledger_bytes(q, 0), hash;
    if (!room) status = no_memory(err);
    if (status || sample.len != SHA256_BYTES) continue;
    memcpy((*out)[*n].sample, sample.ptr, SHA256_BYTES);
    hash = ledger_bytes(q, 1);
    if (hash.len == SHA256_BYTES) memcpy((*out)[(*n)++].out, hash.ptr, SHA256_BYTES);
  }
  ledger_rows_end(q);
  return status;
}

sluice_status compare_identical(struct ledger *a, int64_t cell_a, struct ledger *b, int64_t cell_b, bool *same,
                                struct sluice_error *err) {
  struct outcome_hash *x = NULL, *y = NULL;
  size_t n = 0, m = 0;
  *same = false;
  sluice_status status = load_hashes(a, cell_a, &x, &n, err);
  if (!status) status = load_hashes(b, cell_b, &y, &m, err);
  if (!status) *same = n > 0 && n == m && !memcmp(x, y, n * sizeof *x);
  free(x);
  free(y);
  return status;
}
