/* A suite file: JSON with comments, every key known, every value in range, before anything runs. */
#include "runner/runner.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define SUITE_BYTES_MAX ((size_t)4 << 20)
#define SUITE_LIST_MAX 4096 /* engines, policies, benchmarks, seeds, rules: a matrix past this is a mistake */

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "no memory for a suite");
}

static const char *keep(struct suite *s, const char *text) {
  return text ? arena_strndup(&s->memory, text, strlen(text)) : NULL;
}

/* The member as an array of at most SUITE_LIST_MAX; *n 0 and NULL when absent and not required. */
static sluice_status array_of(const cJSON *obj, const char *where, const char *key, bool required, const cJSON **array,
                              size_t *n, struct sluice_error *err) {
  *array = cJSON_GetObjectItemCaseSensitive(obj, key);
  *n = 0;
  if (!*array && !required) return SLUICE_OK;
  if (!*array) return sluice_fail(err, SLUICE_USAGE, "%s: \"%s\" is missing", where, key);
  if (!cJSON_IsArray(*array)) return sluice_fail(err, SLUICE_USAGE, "%s.%s must be an array", where, key);
  int size = cJSON_GetArraySize(*array);
  if (!size) return sluice_fail(err, SLUICE_USAGE, "%s.%s is empty%s", where, key, required ? "" : ": leave it out");
  if (size > SUITE_LIST_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "%s.%s has %d entries; at most %d", where, key, size, SUITE_LIST_MAX);
  *n = (size_t)size;
  return SLUICE_OK;
}

static sluice_status strings_of(struct suite *s, const cJSON *root, const char *where, const char *key,
                                const char *alone, const char ***out, size_t *n, struct sluice_error *err) {
  const cJSON *array, *item;
  sluice_status status = array_of(root, where, key, alone == NULL, &array, n, err);
  if (status) return status;
  *out = arena_alloc(&s->memory, (*n ? *n : 1) * sizeof **out);
  if (!*out) return no_memory(err);
  if (!*n) {
    (*out)[0] = alone;
    *n = 1;
    return SLUICE_OK;
  }
  size_t i = 0;
  cJSON_ArrayForEach(item, array) {
    if (!cJSON_IsString(item) || !item->valuestring[0])
      return sluice_fail(err, SLUICE_USAGE, "%s.%s[%zu] must be a string", where, key, i);
    for (size_t k = 0; k < i; k++)
      if (!strcmp((*out)[k], item->valuestring))
        return sluice_fail(err, SLUICE_USAGE, "%s.%s names \"%s\" twice", where, key, item->valuestring);
    if (!((*out)[i++] = keep(s, item->valuestring))) return no_memory(err);
  }
  return SLUICE_OK;
}

/* ---- engines ------------------------------------------------------------------------------------------------------
 */

static sluice_status add_url(struct suite *s, struct suite_engine *e, const cJSON *item, const char *where,
                             struct sluice_error *err) {
  if (!cJSON_IsString(item) || (strncmp(item->valuestring, "http://", 7) && strncmp(item->valuestring, "https://", 8)))
    return sluice_fail(err, SLUICE_USAGE, "%s.api must be \"http://.../v1\", \"https://...\" or an array of such",
                       where);
  const char *host = strstr(item->valuestring, "://") + 3;
  if (memchr(host, '@', strcspn(host, "/?#"))) /* the suite is kept in the ledger, word for word */
    return sluice_fail(err, SLUICE_USAGE, "%s.api holds a user or password: name the variable of a key in \"key_env\"",
                       where);
  if (!(e->urls.items[e->urls.n++] = (char *)(uintptr_t)keep(s, item->valuestring))) return no_memory(err);
  return SLUICE_OK;
}

static sluice_status read_api(struct suite *s, const cJSON *obj, const char *where, struct suite_engine *e,
                              struct sluice_error *err) {
  static const char *const known[] = {"api", "model", "key_env", "timeout_ms", "stall_ms", "retries", "jobs", NULL};
  sluice_status status = json_check_keys(obj, where, known, err);
  const cJSON *api = cJSON_GetObjectItemCaseSensitive(obj, "api"), *item;
  int n = cJSON_IsArray(api) ? cJSON_GetArraySize(api) : 1;
  if (!status && (n < 1 || n > 64))
    status = sluice_fail(err, SLUICE_USAGE, "%s.api: 1 to 64 addresses, not %d", where, n);
  if (status) return status;
  e->urls.items = arena_alloc(&s->memory, (size_t)n * sizeof *e->urls.items);
  if (!e->urls.items) return no_memory(err);
  if (cJSON_IsArray(api)) {
    cJSON_ArrayForEach(item, api) {
      if (!status) status = add_url(s, e, item, where, err);
    }
  } else {
    status = add_url(s, e, api, where, err);
  }
  if (!status) status = json_string(obj, where, "model", true, NULL, &e->model, err);
  if (!status) status = json_string(obj, where, "key_env", false, NULL, &e->key_env, err);
  if (!status) status = json_int(obj, where, "timeout_ms", false, 0, 0, 86400000, &e->timeout_ms, err);
  if (!status) status = json_int(obj, where, "stall_ms", false, 0, 0, 86400000, &e->stall_ms, err);
  if (!status) status = json_int(obj, where, "retries", false, -1, -1, 100, &e->retries, err);
  if (!status) status = json_int(obj, where, "jobs", false, 0, 0, 256, &e->jobs, err);
  if (!status && e->key_env && strpbrk(e->key_env, " -./:"))
    status = sluice_fail(err, SLUICE_USAGE, "%s.key_env is the name of an environment variable, never the key itself",
                         where);
  return status;
}

static sluice_status read_local(const cJSON *obj, const char *where, struct suite_engine *e, struct sluice_error *err) {
  static const char *const known[] = {"model", "template", "threads", "kernel", "device", "weights", "jobs", NULL};
  e->local = true;
  sluice_status status = json_check_keys(obj, where, known, err);
  if (!status) status = json_string(obj, where, "model", true, NULL, &e->model, err);
  if (!status) status = json_string(obj, where, "kernel", false, NULL, &e->kernel, err);
  if (!status) status = json_string(obj, where, "device", false, NULL, &e->device, err);
  if (!status) status = json_string(obj, where, "weights", false, NULL, &e->weights, err);
  if (!status) status = json_string(obj, where, "template", false, NULL, &e->template_name, err);
  if (!status) status = json_int(obj, where, "threads", false, 1, 1, 1024, &e->threads, err);
  if (!status) status = json_int(obj, where, "jobs", false, 0, 0, 256, &e->jobs, err);
  if (!status && !strcmp(e->model, "embedded")) e->model = NULL;
  return status;
}

static sluice_status read_engine(struct suite *s, const cJSON *obj, struct suite_engine *e, struct sluice_error *err) {
  char where[160];
  snprintf(where, sizeof where, "%.80s: engines.%.60s", s->path, obj->string);
  if (!cJSON_IsObject(obj))
    return sluice_fail(err, SLUICE_USAGE,
                       "%s must be an object such as {\"model\": \"embedded\"} or {\"api\": URL, \"model\": NAME}",
                       where);
  if (!(e->name = keep(s, obj->string))) return no_memory(err);
  sluice_status status =
      cJSON_HasObjectItem(obj, "api") ? read_api(s, obj, where, e, err) : read_local(obj, where, e, err);
  if (status) return status;
  e->model = keep(s, e->model); /* until now they pointed into the tree */
  e->kernel = keep(s, e->kernel);
  e->template_name = keep(s, e->template_name);
  e->key_env = keep(s, e->key_env);
  return SLUICE_OK;
}

static sluice_status read_engines(struct suite *s, const cJSON *root, struct sluice_error *err) {
  const cJSON *engines = cJSON_GetObjectItemCaseSensitive(root, "engines"), *item;
  int n = cJSON_IsObject(engines) ? cJSON_GetArraySize(engines) : 0;
  if (n < 1 || n > SUITE_LIST_MAX)
    return sluice_fail(err, SLUICE_USAGE, "%s: \"engines\" must be an object {NAME: {\"model\": \"embedded\"}, ...}",
                       s->path);
  s->engines = arena_alloc(&s->memory, (size_t)n * sizeof *s->engines);
  if (!s->engines) return no_memory(err);
  cJSON_ArrayForEach(item, engines) {
    sluice_status status = read_engine(s, item, &s->engines[s->n_engines++], err);
    if (status) return status;
  }
  return SLUICE_OK;
}

/* ---- benchmarks, rules, numbers -----------------------------------------------------------------------------------
 */

static sluice_status read_benchmark(struct suite *s, const cJSON *item, size_t i, struct suite_benchmark *b,
                                    struct sluice_error *err) {
  static const char *const known[] = {"data", "name", "n", "choice", "max_tokens", NULL};
  char where[160];
  snprintf(where, sizeof where, "%.80s: benchmarks[%zu]", s->path, i);
  if (!cJSON_IsObject(item))
    return sluice_fail(err, SLUICE_USAGE, "%s must be an object {\"data\": ..., \"n\": ...}", where);
  const char *name, *choice;
  sluice_status status = json_check_keys(item, where, known, err);
  if (!status) status = json_string(item, where, "data", true, NULL, &b->data, err);
  if (!status) status = json_string(item, where, "name", false, b->data, &name, err);
  if (!status) status = json_int(item, where, "n", false, 0, 0, INT32_MAX, &b->n, err);
  if (!status) status = json_int(item, where, "max_tokens", false, 48, 1, 1 << 20, &b->max_tokens, err);
  if (!status) status = json_string(item, where, "choice", false, "sum", &choice, err);
  if (!status && (status = choice_rule_parse(choice, &b->choice, err))) return sluice_fail_in(err, "%s.choice", where);
  if (!status && (b->choice == CHOICE_BY_GREEDY || b->choice == CHOICE_BY_TEXT))
    status = sluice_fail(err, SLUICE_USAGE, "%s.choice: a local engine scores choices: sum, mean or first", where);
  if (status) return status;
  b->data = keep(s, b->data);
  b->name = keep(s, name);
  return b->data && b->name ? SLUICE_OK : no_memory(err);
}

static sluice_status read_benchmarks(struct suite *s, const cJSON *root, struct sluice_error *err) {
  const cJSON *array, *item;
  size_t n, i = 0;
  sluice_status status = array_of(root, s->path, "benchmarks", true, &array, &n, err);
  if (status) return status;
  s->benchmarks = arena_alloc(&s->memory, n * sizeof *s->benchmarks);
  if (!s->benchmarks) return no_memory(err);
  cJSON_ArrayForEach(item, array) {
    status = read_benchmark(s, item, i, &s->benchmarks[i], err);
    if (status) return status;
    for (size_t k = 0; k < i; k++)
      if (!strcmp(s->benchmarks[k].name, s->benchmarks[i].name))
        return sluice_fail(err, SLUICE_USAGE, "%s: two benchmarks are called \"%s\"; give one a \"name\"", s->path,
                           s->benchmarks[i].name);
    s->n_benchmarks = ++i;
  }
  return SLUICE_OK;
}

static sluice_status read_seeds(struct suite *s, const cJSON *root, struct sluice_error *err) {
  const cJSON *array, *item;
  size_t n;
  sluice_status status = array_of(root, s->path, "seeds", false, &array, &n, err);
  if (status) return status;
  s->seeds = arena_alloc(&s->memory, (n ? n : 1) * sizeof *s->seeds);
  if (!s->seeds) return no_memory(err);
  if (!n) s->seeds[s->n_seeds++] = 1;
  cJSON_ArrayForEach(item, array) {
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 9e15 ||
        (double)(int64_t)item->valuedouble != item->valuedouble)
      return sluice_fail(err, SLUICE_USAGE, "%s: seeds[%zu] must be a whole number from 0", s->path, s->n_seeds);
    int64_t seed = (int64_t)item->valuedouble;
    for (size_t k = 0; k < s->n_seeds; k++)
      if (s->seeds[k] == seed)
        return sluice_fail(err, SLUICE_USAGE, "%s: seeds names %lld twice", s->path, (long long)seed);
    s->seeds[s->n_seeds++] = seed;
  }
  return SLUICE_OK;
}

static sluice_status read_rules(struct suite *s, const cJSON *root, const char *key, struct suite_rule **rules,
                                size_t *n_rules, struct sluice_error *err) {
  static const char *const known[] = {"engine", "policy", "monitor", "benchmark", NULL};
  const cJSON *array, *item;
  size_t n, i = 0;
  sluice_status status = array_of(root, s->path, key, false, &array, &n, err);
  if (status || !n) return status;
  *rules = arena_alloc(&s->memory, n * sizeof **rules);
  if (!*rules) return no_memory(err);
  cJSON_ArrayForEach(item, array) {
    char where[160];
    snprintf(where, sizeof where, "%.80s: %s[%zu]", s->path, key, i);
    struct suite_rule *r = &(*rules)[i++];
    if (!cJSON_IsObject(item))
      return sluice_fail(err, SLUICE_USAGE, "%s must be an object {\"policy\": \"recompute*\", ...}", where);
    status = json_check_keys(item, where, known, err);
    if (!status) status = json_string(item, where, "engine", false, NULL, &r->engine, err);
    if (!status) status = json_string(item, where, "policy", false, NULL, &r->policy, err);
    if (!status) status = json_string(item, where, "monitor", false, NULL, &r->monitor, err);
    if (!status) status = json_string(item, where, "benchmark", false, NULL, &r->benchmark, err);
    if (status) return status;
    if (!r->engine && !r->policy && !r->monitor && !r->benchmark)
      return sluice_fail(err, SLUICE_USAGE, "%s names nothing: engine, policy, monitor or benchmark", where);
    r->engine = keep(s, r->engine);
    r->policy = keep(s, r->policy);
    r->monitor = keep(s, r->monitor);
    r->benchmark = keep(s, r->benchmark);
  }
  *n_rules = n;
  return SLUICE_OK;
}

/* "stop": texts that end an answer. */
static sluice_status read_stops(struct suite *s, const cJSON *generate, const char *where, struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(generate, "stop"), *item;
  const int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
  if (!list) return SLUICE_OK;
  if (n < 1 || n > STOPS_MAX)
    return sluice_fail(err, SLUICE_USAGE, "%s.stop: expected an array of 1 to %d texts", where, STOPS_MAX);
  s->stop = arena_alloc(&s->memory, (size_t)n * sizeof *s->stop);
  if (!s->stop) return no_memory(err);
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsString(item) || !item->valuestring[0] || strlen(item->valuestring) > STOP_BYTES_MAX)
      return sluice_fail(err, SLUICE_USAGE, "%s.stop[%zu]: expected a text of 1 to %d bytes", where, s->n_stop,
                         STOP_BYTES_MAX);
    const char *kept = keep(s, item->valuestring);
    if (!kept) return no_memory(err);
    s->stop[s->n_stop++] = slice_of(kept);
  }
  return SLUICE_OK;
}

static sluice_status read_sampling(struct suite *s, const cJSON *generate, struct sluice_error *err) {
  static const char *const known[] = {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop", NULL};
  char where[200];
  snprintf(where, sizeof where, "%.120s: generate", s->path);
  sluice_status status = json_check_keys(generate, where, known, err);
  if (!status) status = json_double(generate, where, "temperature", false, 0, &s->temperature, err);
  if (!status) status = json_double(generate, where, "top_p", false, 1, &s->top_p, err);
  if (!status) status = json_int(generate, where, "top_k", false, 0, 0, 1 << 24, &s->top_k, err);
  if (!status) status = json_double(generate, where, "min_p", false, 0, &s->min_p, err);
  if (!status) status = json_double(generate, where, "repetition_penalty", false, 1, &s->repetition_penalty, err);
  if (!status) status = read_stops(s, generate, where, err);
  if (status) return status;
  if (!(s->temperature >= 0 && s->temperature <= 100) || !(s->top_p >= 0 && s->top_p <= 1) ||
      !(s->min_p >= 0 && s->min_p <= 1) || !(s->repetition_penalty > 0 && s->repetition_penalty <= 100))
    return sluice_fail(err, SLUICE_USAGE,
                       "%s: temperature is 0 to 100, top_p and min_p 0 to 1, repetition_penalty above 0 to 100", where);
  return SLUICE_OK;
}

static sluice_status read_numbers(struct suite *s, const cJSON *root, struct sluice_error *err) {
  static const char *const gate_keys[] = {"confidence", "margin", "min_effect", NULL};
  static const char *const budget_keys[] = {"minutes", NULL};
  static const cJSON none = {.type = cJSON_Object};
  const cJSON *generate = cJSON_GetObjectItemCaseSensitive(root, "generate");
  const cJSON *gate = cJSON_GetObjectItemCaseSensitive(root, "gate");
  const cJSON *budget = cJSON_GetObjectItemCaseSensitive(root, "budget");
  char where[200];
  if (!generate) generate = &none;
  if (!gate) gate = &none;
  if (!budget) budget = &none;
  if (!cJSON_IsObject(generate) || !cJSON_IsObject(gate) || !cJSON_IsObject(budget))
    return sluice_fail(err, SLUICE_USAGE, "%s: generate, gate and budget are objects", s->path);
  sluice_status status = read_sampling(s, generate, err);
  snprintf(where, sizeof where, "%.120s: gate", s->path);
  if (!status) status = json_check_keys(gate, where, gate_keys, err);
  if (!status) status = json_double(gate, where, "confidence", false, 0.95, &s->gate.confidence, err);
  if (!status) status = json_double(gate, where, "margin", false, 0.05, &s->gate.margin, err);
  if (!status) status = json_double(gate, where, "min_effect", false, 0.02, &s->gate.min_effect, err);
  snprintf(where, sizeof where, "%.120s: budget", s->path);
  if (!status) status = json_check_keys(budget, where, budget_keys, err);
  if (!status) status = json_double(budget, where, "minutes", false, 0, &s->minutes, err);
  if (status) return status;
  if (!(s->gate.confidence >= 0.5 && s->gate.confidence < 1) || !(s->gate.margin >= 0) || !(s->gate.min_effect >= 0))
    return sluice_fail(err, SLUICE_USAGE,
                       "%s: gate.confidence is 0.5 to below 1, margin and min_effect are not negative", s->path);
  if (!(s->minutes >= 0)) return sluice_fail(err, SLUICE_USAGE, "%s: budget.minutes is not negative", s->path);
  return SLUICE_OK;
}

static sluice_status read_tree(struct suite *s, const cJSON *root, struct sluice_error *err) {
  static const char *const known[] = {"name",    "engines", "policies", "monitors", "benchmarks", "seeds",
                                      "include", "exclude", "generate", "gate",     "budget",     NULL};
  if (!cJSON_IsObject(root)) return sluice_fail(err, SLUICE_USAGE, "%s: a suite is one JSON object", s->path);
  const char *name = NULL;
  sluice_status status = json_check_keys(root, s->path, known, err);
  if (!status) status = json_string(root, s->path, "name", true, NULL, &name, err);
  if (!status && !(s->name = keep(s, name))) status = no_memory(err);
  if (!status) status = read_engines(s, root, err);
  if (!status) status = strings_of(s, root, s->path, "policies", "full", &s->policies, &s->n_policies, err);
  if (!status) status = strings_of(s, root, s->path, "monitors", "none", &s->monitors, &s->n_monitors, err);
  if (!status) status = read_benchmarks(s, root, err);
  if (!status) status = read_seeds(s, root, err);
  if (!status) status = read_rules(s, root, "include", &s->include, &s->n_include, err);
  if (!status) status = read_rules(s, root, "exclude", &s->exclude, &s->n_exclude, err);
  if (!status) status = read_numbers(s, root, err);
  return status;
}

sluice_status suite_read(const char *path, struct suite **out, struct sluice_error *err) {
  *out = NULL;
  struct suite *s = calloc(1, sizeof *s);
  if (!s || !(s->path = sluice_strdup(path))) {
    free(s);
    return no_memory(err);
  }
  size_t len;
  cJSON *root = NULL;
  sluice_status status = file_read(path, SUITE_BYTES_MAX, &s->text, &len, err);
  if (!status) status = json_parse(path, s->text, len, true, &root, err);
  if (!status) status = read_tree(s, root, err);
  cJSON_Delete(root);
  if (status) {
    suite_free(s);
    return status;
  }
  *out = s;
  return SLUICE_OK;
}

void suite_free(struct suite *s) {
  if (!s) return;
  arena_free(&s->memory);
  free(s->path);
  free(s->text);
  free(s);
}
