/* The matrix: engine x policy x monitor x benchmark x seed, less what the rules leave out, each cell with a canonical
 * spec. */
#include "runner/plan.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_CELLS_MAX 100000

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "no memory for a plan");
}

static bool matches(const char *pattern, const char *value) {
  return !pattern || !fnmatch(pattern, value, 0);
}

static bool rule_matches(const struct suite_rule *r, const char *engine, const char *policy, const char *monitor,
                         const char *benchmark) {
  return matches(r->engine, engine) && matches(r->policy, policy) && matches(r->monitor, monitor) &&
         matches(r->benchmark, benchmark);
}

static bool wanted(const struct plan *p, const struct plan_options *o, const struct plan_cell *c) {
  const struct suite *s = p->suite;
  const char *engine = s->engines[c->engine].name, *benchmark = s->benchmarks[c->benchmark].name;
  bool in = !s->n_include;
  for (size_t i = 0; i < s->n_include && !in; i++)
    in = rule_matches(&s->include[i], engine, c->policy, c->monitor, benchmark);
  for (size_t i = 0; i < s->n_exclude && in; i++)
    in = !rule_matches(&s->exclude[i], engine, c->policy, c->monitor, benchmark);
  if (!in || !o->cells.n) return in;
  for (size_t i = 0; i < o->cells.n; i++)
    if (!fnmatch(o->cells.items[i], c->label, 0)) return true;
  return false;
}

/* Keys that came later are written only where they say something, so that older runs keep their cells. */
static sluice_status write_sampling(const struct suite *s, struct buffer *out, struct sluice_error *err) {
  sluice_status status = SLUICE_OK;
  if (s->min_p > 0) status = buffer_printf(out, err, ",\"min_p\":%.17g", s->min_p);
  if (!status && s->repetition_penalty != 1)
    status = buffer_printf(out, err, ",\"repetition_penalty\":%.17g", s->repetition_penalty);
  if (status || !s->n_stop) return status;
  status = buffer_append_str(out, ",\"stop\":[", err);
  for (size_t i = 0; !status && i < s->n_stop; i++) {
    if (i) status = buffer_append_str(out, ",", err);
    if (!status) status = json_quote(out, s->stop[i].ptr, s->stop[i].len, err);
  }
  return status ? status : buffer_append_str(out, "]", err);
}

/* What decides outputs, keys sorted. The dialogues themselves enter through the dataset's canonical string; their
 * number does not: more dialogues do not change the ones that were played. */
static sluice_status write_spec(struct plan *p, struct plan_cell *c, const char *monitor_hash,
                                struct sluice_error *err) {
  const struct suite *s = p->suite;
  const struct suite_benchmark *b = &s->benchmarks[c->benchmark];
  const char *data = dataset_canonical(p->datasets[c->dataset].data);
  struct buffer out;
  buffer_init(&out, 1 << 20);
  sluice_status status = buffer_printf(&out, err, "{\"choice\":\"%s\",\"data\":", choice_rule_name(b->choice));
  if (!status) status = json_quote(&out, data, strlen(data), err);
  if (!status)
    status = buffer_printf(&out, err, ",\"engine\":%s,\"max_tokens\":%lld,\"monitor\":\"%s\",\"policy\":",
                           p->engines[c->engine].identity, (long long)b->max_tokens, monitor_hash);
  if (!status) status = json_quote(&out, c->policy_full, strlen(c->policy_full), err);
  if (!status)
    status =
        buffer_printf(&out, err, ",\"runner\":%d,\"seed\":%lld,\"temperature\":%.17g,\"top_k\":%lld,\"top_p\":%.17g",
                      RUNNER_VERSION, (long long)c->seed, s->temperature, (long long)s->top_k, s->top_p);
  if (!status) status = write_sampling(s, &out, err);
  if (!status) status = buffer_append_str(&out, "}", err);
  if (!status) {
    sha256(out.ptr, out.len, c->spec_hash);
    if (!(c->spec = arena_strndup(&p->memory, out.ptr, out.len))) status = no_memory(err);
  }
  buffer_free(&out);
  return status;
}

bool plan_owns(const struct plan *p, const struct dialogue *d) {
  return p->n_shards <= 1 || hash64(d->cluster, strlen(d->cluster)) % (uint64_t)p->n_shards == (uint64_t)p->shard;
}

static sluice_status count_own(const struct plan *p, struct plan_cell *c, struct sluice_error *err) {
  c->n_planned = c->n;
  if (p->n_shards <= 1) return SLUICE_OK;
  c->n_planned = 0;
  for (int64_t i = 0; i < c->n; i++) {
    struct dialogue d;
    sluice_status status = dataset_dialogue(p->datasets[c->dataset].data, (size_t)i, &d, err);
    if (status) return status;
    c->n_planned += plan_owns(p, &d);
    dialogue_free(&d);
  }
  return SLUICE_OK;
}

static sluice_status name_cell(struct plan *p, struct plan_cell *c, struct sluice_error *err) {
  const char *slash = strrchr(c->monitor, '/');
  char *label =
      sluice_format("%s/%s/%s/%s/%lld", p->suite->engines[c->engine].name, c->policy, slash ? slash + 1 : c->monitor,
                    p->suite->benchmarks[c->benchmark].name, (long long)c->seed);
  c->label = label ? arena_strndup(&p->memory, label, strlen(label)) : NULL;
  free(label);
  return c->label ? SLUICE_OK : no_memory(err);
}

static sluice_status refuse_twins(const struct plan *p, const struct plan_cell *c, struct sluice_error *err) {
  for (size_t i = 0; i < p->n_cells; i++)
    if (!memcmp(p->cells[i].spec_hash, c->spec_hash, SHA256_BYTES))
      return sluice_fail(err, SLUICE_USAGE, "%s: cells \"%s\" and \"%s\" are the same (policy %s); remove one",
                         p->suite->path, p->cells[i].label, c->label, c->policy_full);
  return SLUICE_OK;
}

/* An API gives no log-probabilities of a text, and no second run would change that: say so before the first. */
static sluice_status refuse_text_by_api(const struct plan *p, const struct plan_cell *c, struct sluice_error *err) {
  struct dialogue d;
  bool text = false;
  if (p->suite->engines[c->engine].local || c->n < 1) return SLUICE_OK;
  sluice_status status = dataset_dialogue(p->datasets[c->dataset].data, 0, &d, err);
  if (status) return status;
  for (size_t i = 0; i < d.n_turns; i++) text = text || d.turns[i].task == TASK_TEXT;
  dialogue_free(&d);
  if (!text) return SLUICE_OK;
  const char *engine = p->suite->engines[c->engine].name, *benchmark = p->suite->benchmarks[c->benchmark].name;
  return sluice_fail(err, SLUICE_USAGE,
                     "%s: benchmark \"%s\" measures perplexity, which engine \"%s\" cannot: it is an API; add "
                     "\"exclude\": [{\"engine\": \"%s\", \"benchmark\": \"%s\"}]",
                     p->suite->path, benchmark, engine, engine, benchmark);
}

/* Fills what the five indices leave open, and appends the cell when the rules want it. */
static sluice_status add_cell(struct plan *p, const struct plan_options *o, struct plan_cell c,
                              const char *monitor_hash, struct sluice_error *err) {
  const struct suite_benchmark *b = &p->suite->benchmarks[c.benchmark];
  bool local = p->suite->engines[c.engine].local;
  sluice_status status = name_cell(p, &c, err);
  if (status || !wanted(p, o, &c)) return status;
  c.policy_full = "server";
  if (local) status = plan_resolve_policy(p, c.engine, c.dataset, c.policy, &c.policy_full, err);
  c.n = b->n ? b->n : (int64_t)dataset_size(p->datasets[c.dataset].data);
  if (o->limit && o->limit < c.n) c.n = o->limit;
  if (!status) status = refuse_text_by_api(p, &c, err);
  if (!status) status = count_own(p, &c, err);
  if (!status) status = write_spec(p, &c, monitor_hash, err);
  if (!status) status = refuse_twins(p, &c, err);
  if (status) return status;
  c.ordinal = p->n_cells;
  p->cells[p->n_cells++] = c;
  p->dialogues += c.n_planned;
  return SLUICE_OK;
}

struct monitor_file {
  const char *path;
  char hash[2 * SHA256_BYTES + 1];
};

static sluice_status check_monitors(struct plan *p, const struct plan_options *o, struct monitor_file *files,
                                    struct sluice_error *err) {
  for (size_t i = 0; i < p->suite->n_monitors; i++) {
    const char *name = p->suite->monitors[i];
    snprintf(files[i].hash, sizeof files[i].hash, "none");
    files[i].path = name;
    if (!strcmp(name, "none")) continue;
    if (!(files[i].path = plan_path(p, name))) return no_memory(err);
    if (!o->taps)
      return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: monitors: this program has no monitor", p->suite->path);
    sluice_status status = sha256_file_hex(files[i].path, files[i].hash, err);
    if (!status) status = o->taps->check(o->taps->ctx, files[i].path, err);
    if (status) return sluice_fail_in(err, "%s: monitors[%zu]", p->suite->path, i);
  }
  return SLUICE_OK;
}

/* Policies vary fastest, so that an interrupted run has whole rows to compare. */
static sluice_status cross(struct plan *p, const struct plan_options *o, const struct monitor_file *monitors,
                           struct sluice_error *err) {
  const struct suite *s = p->suite;
  for (size_t b = 0; b < s->n_benchmarks; b++)
    for (size_t k = 0; k < s->n_seeds; k++) {
      size_t dataset;
      sluice_status status = plan_open_dataset(p, &s->benchmarks[b], s->seeds[k], &dataset, err);
      if (status) return status;
      for (size_t e = 0; e < s->n_engines; e++)
        for (size_t m = 0; m < s->n_monitors; m++)
          for (size_t c = 0; c < (s->engines[e].local ? s->n_policies : 1); c++) {
            struct plan_cell cell = {.engine = e,
                                     .benchmark = b,
                                     .dataset = dataset,
                                     .seed = s->seeds[k],
                                     .monitor = monitors[m].path,
                                     .policy = s->engines[e].local ? s->policies[c] : "server"};
            status = add_cell(p, o, cell, monitors[m].hash, err);
            if (status) return status;
          }
    }
  return SLUICE_OK;
}

static sluice_status hash_plan(struct plan *p, struct sluice_error *err) {
  struct sha256_stream *h = sha256_begin();
  if (!h) return no_memory(err);
  for (size_t i = 0; i < p->n_cells; i++) {
    char n[32];
    int len = snprintf(n, sizeof n, "%lld/", (long long)p->cells[i].n); /* shards of one plan share its hash */
    sha256_add(h, p->cells[i].spec_hash, SHA256_BYTES);
    sha256_add(h, n, (size_t)len);
  }
  sha256_end(h, p->hash);
  return SLUICE_OK;
}

static sluice_status fill(struct plan *p, const struct plan_options *o, struct sluice_error *err) {
  const struct suite *s = p->suite;
  double most = (double)s->n_benchmarks * (double)s->n_seeds * (double)s->n_engines * (double)s->n_monitors *
                (double)s->n_policies;
  if (most > PLAN_CELLS_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "%s: %.0f cells; at most %d", s->path, most, PLAN_CELLS_MAX);
  if (p->n_shards > 1 && (p->shard < 0 || p->shard >= p->n_shards))
    return sluice_fail(err, SLUICE_USAGE, "shard %lld of %lld: shards count from 0", (long long)p->shard,
                       (long long)p->n_shards);
  p->cells = arena_alloc(&p->memory, (size_t)most * sizeof *p->cells);
  p->datasets = arena_alloc(&p->memory, s->n_benchmarks * s->n_seeds * sizeof *p->datasets);
  struct monitor_file *monitors = arena_alloc(&p->memory, s->n_monitors * sizeof *monitors);
  if (!p->cells || !p->datasets || !monitors) return no_memory(err);
  sluice_status status = plan_open_engines(p, err);
  if (!status) status = check_monitors(p, o, monitors, err);
  if (!status) status = cross(p, o, monitors, err);
  if (!status && !p->n_cells)
    status = sluice_fail(err, SLUICE_USAGE, "%s: no cell is left after include, exclude and --cells", s->path);
  if (!status) status = hash_plan(p, err);
  return status ? status : plan_estimate(p, o->probe, err);
}

sluice_status plan_make(const struct suite *s, const struct plan_options *o, struct plan **out,
                        struct sluice_error *err) {
  *out = NULL;
  struct plan *p = calloc(1, sizeof *p);
  if (!p) return no_memory(err);
  p->suite = s;
  p->limited = o->limit || o->cells.n;
  p->shard = o->shard;
  p->n_shards = o->n_shards > 1 ? o->n_shards : 1;
  sluice_status status = fill(p, o, err);
  if (status) {
    plan_free(p);
    return status;
  }
  *out = p;
  return SLUICE_OK;
}

void plan_free(struct plan *p) {
  if (!p) return;
  for (size_t i = 0; p->engines && i < p->suite->n_engines; i++) {
    for (size_t k = 0; k < p->engines[i].n_open; k++) engine_close(p->engines[i].open[k]);
    free(p->engines[i].identity);
  }
  for (size_t i = 0; i < p->n_datasets; i++) dataset_close(p->datasets[i].data);
  arena_free(&p->memory);
  free(p);
}
