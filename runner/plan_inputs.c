/* What a plan stands on: engines, datasets, and policies whose budgets are shares of a dialogue. */
#include "runner/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "no memory for a plan");
}

const char *plan_path(struct plan *p, const char *path) {
  const char *slash = strrchr(p->suite->path, '/');
  if (path[0] == '/' || !slash) return arena_strndup(&p->memory, path, strlen(path));
  char *beside = sluice_format("%.*s/%s", (int)(slash - p->suite->path), p->suite->path, path);
  if (!beside) return NULL;
  const char *found = file_exists(beside) ? beside : path;
  char *kept = arena_strndup(&p->memory, found, strlen(found));
  free(beside);
  return kept;
}

/* ---- engines ------------------------------------------------------------------------------------------------------
 */

static sluice_status open_local(struct plan *p, const struct suite_engine *from, struct plan_engine *e,
                                struct sluice_error *err) {
  const char *model = from->model ? plan_path(p, from->model) : NULL;
  if (from->model && !model) return no_memory(err);
  struct engine_local_options o = {.model_dir = model,
                                   .threads = (int)from->threads,
                                   .kernel = from->kernel,
                                   .template_name = from->template_name,
                                   .device = from->device,
                                   .weights = from->weights};
  sluice_status status = engine_open_local(&o, &e->open[0], err);
  e->n_open = status ? 0 : 1;
  int lanes = threads_available() / (int)(from->threads > 0 ? from->threads : 1);
  e->jobs = from->jobs ? (int)from->jobs : lanes > 1 ? lanes : 1;
  return status;
}

static sluice_status open_remote(const struct suite_engine *from, struct plan_engine *e, struct sluice_error *err) {
  e->jobs = from->jobs ? (int)from->jobs : 4 * (int)from->urls.n;
  for (size_t i = 0; i < from->urls.n; i++) {
    struct engine_remote_options o = {.url = from->urls.items[i],
                                      .model = from->model,
                                      .key_env = from->key_env,
                                      .timeout_ms = from->timeout_ms,
                                      .stall_ms = from->stall_ms,
                                      .retries = (int)from->retries};
    sluice_status status = engine_open_remote(&o, &e->open[i], err);
    if (status) return status;
    e->n_open = i + 1;
  }
  return SLUICE_OK;
}

sluice_status plan_open_engines(struct plan *p, struct sluice_error *err) {
  const struct suite *s = p->suite;
  p->engines = arena_alloc(&p->memory, s->n_engines * sizeof *p->engines);
  if (!p->engines) return no_memory(err);
  for (size_t i = 0; i < s->n_engines; i++) {
    const struct suite_engine *from = &s->engines[i];
    struct plan_engine *e = &p->engines[i];
    e->open = arena_alloc(&p->memory, (from->local ? 1 : from->urls.n) * sizeof(struct engine *));
    if (!e->open) return no_memory(err);
    sluice_status status = from->local ? open_local(p, from, e, err) : open_remote(from, e, err);
    if (!status) status = engine_identity(e->open[0], &e->identity, err);
    if (status) return sluice_fail_in(err, "%s: engine \"%s\"", s->path, from->name);
  }
  return SLUICE_OK;
}

/* ---- datasets -----------------------------------------------------------------------------------------------------
 */

static bool takes_key(const struct dataset *d, const char *key) {
  char pattern[32];
  snprintf(pattern, sizeof pattern, "%s=", key);
  return strstr(dataset_canonical(d), pattern) != NULL;
}

/* Opens "data" with key=value added, where the dataset knows the key and the suite did not say. */
static sluice_status reopen_with(struct dataset **d, char **spec, const char *key, int64_t value,
                                 struct sluice_error *err) {
  struct spec said;
  sluice_status status = spec_parse(*spec, &said, err);
  if (status) return status;
  bool add = !spec_get(&said, key) && takes_key(*d, key);
  spec_free(&said);
  if (!add) return SLUICE_OK;
  char *longer = sluice_format("%s%c%s=%lld", *spec, strchr(*spec, ':') ? ',' : ':', key, (long long)value);
  if (!longer) return no_memory(err);
  struct dataset *other;
  status = dataset_open(longer, &other, err);
  if (status) {
    free(longer);
    return status;
  }
  dataset_close(*d);
  *d = other;
  free(*spec);
  *spec = longer;
  return SLUICE_OK;
}

static sluice_status open_data(const struct suite_benchmark *b, int64_t seed, struct dataset **out,
                               struct sluice_error *err) {
  char *spec = sluice_strdup(b->data);
  struct dataset *d = NULL;
  sluice_status status = spec ? dataset_open(spec, &d, err) : no_memory(err);
  if (!status) status = reopen_with(&d, &spec, "seed", seed, err);
  if (!status && (int64_t)dataset_size(d) < b->n) status = reopen_with(&d, &spec, "dialogues", b->n, err);
  if (!status && (int64_t)dataset_size(d) < b->n)
    status = sluice_fail(err, SLUICE_USAGE, "%s has %zu dialogues, not the %lld that \"n\" asks for", spec,
                         dataset_size(d), (long long)b->n);
  if (!status && !dataset_size(d)) status = sluice_fail(err, SLUICE_INPUT, "%s has no dialogues", spec);
  free(spec);
  if (status) dataset_close(d);
  *out = status ? NULL : d;
  return status;
}

static sluice_status count_tokens(const struct plan_engine *e, const struct dialogue *d, double *tokens,
                                  struct sluice_error *err) {
  const struct model *m = engine_model(e->open[0]);
  const struct tokenizer *t = m ? model_tokenizer(m) : NULL;
  for (size_t i = 0; i < d->n_turns; i++) {
    const struct turn *turn = &d->turns[i];
    const char *parts[2] = {turn->text, turn->task == TASK_GENERATE ? turn->expected : NULL};
    if (turn->task == TASK_CHOOSE && turn->n_choices)
      parts[1] = turn->choices[turn->answer > 0 ? turn->answer : 0].text;
    for (size_t k = 0; k < 2; k++) {
      if (!parts[k]) continue;
      if (!t) { /* four bytes a token is the usual rule for an API whose tokenizer is unknown */
        *tokens += (double)strlen(parts[k]) / 4;
        continue;
      }
      int32_t *ids = NULL;
      size_t n = 0;
      sluice_status status = tokenizer_encode(t, slice_of(parts[k]), TOKENIZE_PLAIN, &ids, &n, err);
      free(ids);
      if (status) return status;
      *tokens += (double)n;
    }
  }
  return SLUICE_OK;
}

static sluice_status measure_data(struct plan *p, struct plan_dataset *d, int64_t n, struct sluice_error *err) {
  size_t n_engines = p->suite->n_engines;
  size_t sampled = n < PLAN_SAMPLED ? (size_t)n : PLAN_SAMPLED;
  if (!(d->tokens = arena_alloc(&p->memory, n_engines * sizeof *d->tokens))) return no_memory(err);
  for (size_t i = 0; i < sampled; i++) {
    struct dialogue one;
    sluice_status status = dataset_dialogue(d->data, i, &one, err);
    if (status) return status;
    for (size_t k = 0; k < one.n_turns; k++) d->scored += one.turns[k].task != TASK_FEED;
    for (size_t e = 0; e < n_engines && !status; e++) status = count_tokens(&p->engines[e], &one, &d->tokens[e], err);
    dialogue_free(&one);
    if (status) return status;
  }
  d->scored /= (double)sampled;
  for (size_t e = 0; e < n_engines; e++) d->tokens[e] /= (double)sampled;
  return SLUICE_OK;
}

sluice_status plan_open_dataset(struct plan *p, const struct suite_benchmark *b, int64_t seed, size_t *index,
                                struct sluice_error *err) {
  struct dataset *data;
  sluice_status status = open_data(b, seed, &data, err);
  if (status) return sluice_fail_in(err, "%s: benchmark \"%s\"", p->suite->path, b->name);
  for (size_t i = 0; i < p->n_datasets; i++) {
    if (strcmp(dataset_canonical(p->datasets[i].data), dataset_canonical(data))) continue;
    dataset_close(data);
    *index = i;
    return SLUICE_OK;
  }
  *index = p->n_datasets;
  p->datasets[p->n_datasets] = (struct plan_dataset){.data = data};
  p->n_datasets++; /* plan_free closes it from here on */
  int64_t n = b->n ? b->n : (int64_t)dataset_size(data);
  status = measure_data(p, &p->datasets[*index], n, err);
  return status ? sluice_fail_in(err, "%s: benchmark \"%s\"", p->suite->path, b->name) : SLUICE_OK;
}

/* ---- policies -----------------------------------------------------------------------------------------------------
 */

#define BUDGET_SMALLEST 16 /* tokens: a share of a short dialogue must still hold sinks and a question */

static sluice_status spell_shares(const char *policy, double tokens, struct buffer *out, struct sluice_error *err) {
  for (const char *at = policy; *at;) {
    char *end;
    double share = at > policy && at[-1] == '=' ? strtod(at, &end) : (double)NAN;
    if (!isnan(share) && *end == '%') {
      if (!(share > 0 && share <= 100))
        return sluice_fail(err, SLUICE_USAGE, "policy \"%s\": a share of the dialogue is above 0%% and at most 100%%",
                           policy);
      double budget = floor(tokens * share / 100 + 0.5);
      sluice_status status = buffer_printf(out, err, "%.0f", budget < BUDGET_SMALLEST ? BUDGET_SMALLEST : budget);
      if (status) return status;
      at = end + 1;
      continue;
    }
    sluice_status status = buffer_append(out, at++, 1, err);
    if (status) return status;
  }
  return SLUICE_OK;
}

sluice_status plan_resolve_policy(struct plan *p, size_t engine, size_t dataset, const char *policy, const char **full,
                                  struct sluice_error *err) {
  struct buffer spelled;
  buffer_init(&spelled, 4096);
  char *canonical = NULL;
  sluice_status status = spell_shares(policy, p->datasets[dataset].tokens[engine], &spelled, err);
  if (!status) status = policy_check(spelled.ptr ? spelled.ptr : "", &canonical, err);
  if (!status && !(*full = arena_strndup(&p->memory, canonical, strlen(canonical)))) status = no_memory(err);
  free(canonical);
  buffer_free(&spelled);
  return status ? sluice_fail_in(err, "%s: policies", p->suite->path) : SLUICE_OK;
}
