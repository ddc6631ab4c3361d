/* The axes of a report: facets (engine x monitor), policies, benchmarks, and each benchmark's metrics, in suite order.
 */
#include "reports/model.h"
#include "reports/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct axes {
  struct names facets, policies, benchmarks, columns;
  struct arena scratch;
};

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its tables");
}

const char *report_keep(struct report *r, const char *text) {
  return arena_strndup(&r->memory, text, strlen(text));
}

/* One name for a pair; U+001F stands in neither. */
const char *report_pair_key(struct arena *a, const char *x, const char *y) {
  size_t nx = strlen(x), ny = strlen(y);
  char *key = arena_alloc(a, nx + ny + 2);
  if (!key) return NULL;
  memcpy(key, x, nx);
  key[nx] = '\x1f';
  memcpy(key + nx + 1, y, ny);
  return key;
}

static sluice_status read_cells(struct ledger *l, struct report *r, struct axes *a, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l,
                                      "SELECT engine, monitor, policy, benchmark, dataset_spec, license FROM v_cell "
                                      "WHERE run_id = ?1 ORDER BY ordinal",
                                      LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  bool row;
  while (!(status = ledger_next(q, &row, err)) && row) {
    uint32_t at;
    const char *facet = report_pair_key(&a->scratch, ledger_text(q, 0), ledger_text(q, 1));
    status = facet ? names_add(&a->facets, &r->memory, facet, &at, err) : no_memory(err);
    if (!status) status = names_add(&a->policies, &r->memory, ledger_text(q, 2), &at, err);
    size_t before = a->benchmarks.n;
    if (!status) status = names_add(&a->benchmarks, &r->memory, ledger_text(q, 3), &at, err);
    if (!status && a->benchmarks.n > REPORT_MAX_AXIS)
      status = sluice_fail(err, SLUICE_LIMIT, "report: more than %d benchmarks in one run", REPORT_MAX_AXIS);
    if (!status && a->benchmarks.n > before) {
      struct report_benchmark *grown = realloc(r->benchmarks, a->benchmarks.n * sizeof *grown);
      if (!grown) status = no_memory(err);
      if (grown) {
        r->benchmarks = grown;
        const char *license = report_keep(r, ledger_text(q, 5)), *spec = report_keep(r, ledger_text(q, 4));
        grown[at] = (struct report_benchmark){a->benchmarks.text[at], spec, license};
        if (!license || !spec) status = no_memory(err);
      }
    }
    if (status) break;
  }
  ledger_rows_end(q);
  if (!status && (a->facets.n > REPORT_MAX_AXIS || a->policies.n > REPORT_MAX_AXIS))
    return sluice_fail(err, SLUICE_LIMIT, "report: more than %d engines or policies in one run", REPORT_MAX_AXIS);
  if (!status && !a->policies.n)
    return sluice_fail(err, SLUICE_USAGE, "report: run %s has no cells", r->run_id[RUN_SHOWN]);
  return status;
}

/* Does any other policy of the same name have this very key=value? All others: then the key says nothing here. */
static bool key_is_shared(const struct names *policies, const char *policy, size_t name_len, const char *key,
                          size_t key_len) {
  for (size_t i = 0; i < policies->n; i++) {
    const char *other = policies->text[i];
    if (strncmp(other, policy, name_len) != 0 || (other[name_len] != ':' && other[name_len] != '\0')) continue;
    bool found = false;
    for (const char *k = other[name_len] ? other + name_len + 1 : ""; *k;) {
      size_t len = strcspn(k, ",");
      found = found || (len == key_len && memcmp(k, key, len) == 0);
      k += len + (k[len] == ',');
    }
    if (!found) return false;
  }
  return true;
}

/* "sirllm:budget=25%,mode=repo" beside "sirllm:budget=25%,mode=paper" is "sirllm mode=repo". Composed policies stay
 * whole. */
static const char *short_label(struct report *r, const struct names *policies, const char *policy) {
  size_t name_len = strcspn(policy, ":"), n = name_len;
  char *label = arena_alloc(&r->memory, strlen(policy) + 2);
  if (!label) return NULL;
  memcpy(label, policy, strchr(policy, '+') ? strlen(policy) : name_len);
  if (strchr(policy, '+')) return label;
  for (const char *k = policy[name_len] ? policy + name_len + 1 : ""; *k;) {
    size_t len = strcspn(k, ",");
    if (!key_is_shared(policies, policy, name_len, k, len)) {
      label[n++] = ' ';
      memcpy(label + n, k, len);
      n += len;
    }
    k += len + (k[len] == ',');
  }
  label[n] = '\0';
  return label;
}

static sluice_status place_axes(struct report *r, struct axes *a, struct sluice_error *err) {
  r->n_facets = a->facets.n;
  r->n_policies = a->policies.n;
  r->n_benchmarks = a->benchmarks.n;
  r->facets = calloc(r->n_facets, sizeof *r->facets);
  r->policies = calloc(r->n_policies, sizeof *r->policies);
  r->groups = calloc(REPORT_RUNS * r->n_facets * r->n_policies * r->n_benchmarks, sizeof *r->groups);
  if (!r->facets || !r->policies || !r->groups) return no_memory(err);
  for (size_t i = 0; i < REPORT_RUNS * r->n_facets * r->n_policies * r->n_benchmarks; i++)
    r->groups[i].tokens_per_second = NAN;
  for (size_t i = 0; i < r->n_facets; i++) {
    char *key = arena_strndup(&r->memory, a->facets.text[i], strlen(a->facets.text[i]));
    if (!key) return no_memory(err);
    char *cut = strchr(key, '\x1f');
    *cut = '\0';
    r->facets[i] = (struct report_facet){key, cut + 1};
  }
  for (size_t i = 0; i < r->n_policies; i++) {
    r->policies[i] = (struct report_policy){a->policies.text[i], short_label(r, &a->policies, a->policies.text[i])};
    if (!r->policies[i].label) return no_memory(err);
  }
  return SLUICE_OK;
}

int report_find_column(const struct report *r, size_t benchmark, const char *metric, const char *judge) {
  for (size_t i = 0; i < r->n_columns; i++) {
    const struct report_column *c = &r->columns[i];
    if (c->benchmark != benchmark || strcmp(c->metric, metric) != 0 || c->judge != (judge != NULL)) continue;
    if (!judge || !strcmp(c->scorer, judge)) return (int)i;
  }
  return -1;
}

int report_find_policy(const struct report *r, const char *name) {
  for (size_t i = 0; i < r->n_policies; i++)
    if (!strcmp(r->policies[i].name, name)) return (int)i;
  return -1;
}

int report_find_benchmark(const struct report *r, const char *name) {
  for (size_t i = 0; i < r->n_benchmarks; i++)
    if (!strcmp(r->benchmarks[i].name, name)) return (int)i;
  return -1;
}

int report_find_facet(const struct report *r, const char *engine, const char *monitor) {
  for (size_t i = 0; i < r->n_facets; i++)
    if (!strcmp(r->facets[i].engine, engine) && !strcmp(r->facets[i].monitor, monitor)) return (int)i;
  return -1;
}

/* Every (benchmark, metric, scorer) that the run's results know, ordered by benchmark, then by name. */
static sluice_status read_columns(struct ledger *l, struct report *r, struct axes *a, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l,
                                      "SELECT benchmark, coalesce(metric, task), coalesce(scorer_kind, 'metric'), "
                                      "max(coalesce(scorer, '')), max(task) FROM v_result WHERE run_id = ?1 "
                                      "GROUP BY benchmark, coalesce(metric, task), coalesce(scorer_kind, 'metric'), "
                                      "CASE scorer_kind WHEN 'judge' THEN scorer END "
                                      "ORDER BY min(cell_id), 3 DESC, 2, 4",
                                      LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  bool row;
  while (!(status = ledger_next(q, &row, err)) && row) {
    if (r->n_columns == REPORT_MAX_AXIS) {
      status = sluice_fail(err, SLUICE_LIMIT, "report: more than %d metrics in one run", REPORT_MAX_AXIS);
      break;
    }
    struct report_column *grown = realloc(r->columns, (r->n_columns + 1) * sizeof *grown);
    if (!grown) {
      status = no_memory(err);
      break;
    }
    r->columns = grown;
    struct report_column c = {.judge = !strcmp(ledger_text(q, 2), "judge")};
    const char *task = ledger_text(q, 4);
    c.perplexity = !c.judge && !strcmp(task, "text"); /* a judge of a text gives a grade, not nats */
    c.metric = report_keep(r, c.perplexity ? "perplexity" : ledger_text(q, 1));
    c.scorer = report_keep(r, ledger_text(q, 3));
    c.bounded = !c.perplexity;
    if (!c.metric || !c.scorer || !names_find(&a->benchmarks, ledger_text(q, 0), &c.benchmark)) {
      status = no_memory(err);
      break;
    }
    c.title = metric_title(c.metric);
    if (report_find_column(r, c.benchmark, c.metric, c.judge ? c.scorer : NULL) < 0) grown[r->n_columns++] = c;
  }
  ledger_rows_end(q);
  return status;
}

sluice_status report_load_axes(struct ledger *l, struct report *r, struct sluice_error *err) {
  struct axes a = {0};
  sluice_status status = read_cells(l, r, &a, err);
  if (!status) status = place_axes(r, &a, err);
  if (!status) status = read_columns(l, r, &a, err);
  if (!status) {
    r->scores =
        calloc(REPORT_RUNS * r->n_facets * r->n_policies * (r->n_columns ? r->n_columns : 1), sizeof *r->scores);
    if (!r->scores) status = no_memory(err);
  }
  names_free(&a.facets);
  names_free(&a.policies);
  names_free(&a.benchmarks);
  names_free(&a.columns);
  arena_free(&a.scratch);
  return status;
}
