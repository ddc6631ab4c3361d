/* Suites and plans: every mistake has a name, and a plan's hash changes with what decides outputs and with nothing
 * else. */
#include "runner_fixture.h"

#include "runner/score.h"

#include <math.h>

/* A suite with one line replaced; %s stays for the model's folder. */
static sluice_status read_text(const struct runner_fixture *f, const char *text, struct suite **out,
                               struct sluice_error *err) {
  MUST(file_write_atomic(f->suite_path, text, strlen(text), &fixture_error));
  return suite_read(f->suite_path, out, err);
}

#define HEAD "{\"name\":\"x\",\"engines\":{\"e\":{\"model\":\"embedded\"}},"
#define BENCH "\"benchmarks\":[{\"data\":\"rps\",\"n\":2}]"

static void mistakes_are_named(void **state) {
  static const struct {
    const char *text, *says;
  } cases[] = {
      {"", ""},
      {"[]", "one JSON object"},
      {HEAD BENCH ",}", ""},
      {HEAD BENCH ",\"polices\":[\"full\"]}", "policies"},
      {HEAD BENCH ",\"policies\":\"full\"}", "array"},
      {HEAD BENCH ",\"policies\":[]}", ""},
      {HEAD BENCH ",\"policies\":[1]}", "policies[0]"},
      {HEAD BENCH ",\"policies\":[\"full\",\"full\"]}", "twice"},
      {HEAD "\"benchmarks\":[]}", "empty"},
      {HEAD "\"benchmarks\":[{\"dat\":\"rps\"}]}", "data"},
      {HEAD "\"benchmarks\":[{\"data\":\"rps\",\"n\":-1}]}", "n"},
      {HEAD "\"benchmarks\":[{\"data\":\"rps\",\"n\":1.5}]}", "n"},
      {HEAD "\"benchmarks\":[{\"data\":\"rps\",\"choice\":\"summ\"}]}", "sum"},
      {HEAD "\"benchmarks\":[{\"data\":\"rps\",\"choice\":\"text\"}]}", "sum, mean or first"},
      {HEAD "\"benchmarks\":[{\"data\":\"rps\"},{\"data\":\"rps\"}]}", "name"},
      {HEAD BENCH ",\"seeds\":[1,1]}", "twice"},
      {HEAD BENCH ",\"seeds\":[-1]}", "seeds[0]"},
      {HEAD BENCH ",\"exclude\":[{}]}", "names nothing"},
      {HEAD BENCH ",\"exclude\":[{\"polcy\":\"x\"}]}", "policy"},
      {HEAD BENCH ",\"gate\":{\"confidence\":95}}", "confidence"},
      {HEAD BENCH ",\"generate\":{\"temprature\":1}}", "temperature"},
      {HEAD BENCH ",\"generate\":{\"min_p\":2}}", "min_p"},
      {HEAD BENCH ",\"generate\":{\"repetition_penalty\":0}}", "repetition_penalty"},
      {HEAD BENCH ",\"generate\":{\"stop\":\"x\"}}", "generate.stop"},
      {HEAD BENCH ",\"generate\":{\"stop\":[\"\"]}}", "generate.stop[0]"},
      {HEAD BENCH ",\"budget\":{\"minutes\":-1}}", "minutes"},
      {"{\"name\":\"x\",\"engines\":{}," BENCH "}", "engines"},
      {"{\"name\":\"x\",\"engines\":{\"e\":{\"api\":\"ftp://x\",\"model\":\"m\"}}," BENCH "}", "http"},
      {"{\"name\":\"x\",\"engines\":{\"e\":{\"api\":\"https://me:pw@x/v1\",\"model\":\"m\"}}," BENCH "}", "password"},
      {"{\"name\":\"x\",\"engines\":{\"e\":{\"api\":\"http://x/v1\"}}," BENCH "}", "model"},
      {"{\"name\":\"x\",\"engines\":{\"e\":{\"api\":\"http://x/v1\",\"model\":\"m\",\"key_env\":\"sk-secret\"}}," BENCH
       "}",
       "never the key"},
      {"{\"name\":\"x\",\"engines\":{\"e\":{\"model\":\"embedded\",\"api_key\":\"x\"}}," BENCH "}", "api_key"},
      {"{\"engines\":{\"e\":{\"model\":\"embedded\"}}," BENCH "}", "name"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct suite *s = NULL;
    struct sluice_error err = {0};
    sluice_status st = read_text(*state, cases[i].text, &s, &err);
    if (st != SLUICE_USAGE && st != SLUICE_INPUT) fail_msg("%s: %s", cases[i].text, sluice_status_name(st));
    assert_null(s);
    if (!strstr(err.message, cases[i].says))
      fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, err.message, cases[i].says);
    if (!strstr(err.message, "suite.json") && cases[i].says[0]) fail_msg("\"%s\" does not name the file", err.message);
  }
}

static void comments_and_defaults(void **state) {
  struct suite *s;
  MUST(read_text(*state, "// a comment\n" HEAD "/* and \" another */" BENCH "}", &s, &fixture_error));
  assert_int_equal(s->n_policies, 1);
  assert_string_equal(s->policies[0], "full");
  assert_string_equal(s->monitors[0], "none");
  assert_int_equal(s->seeds[0], 1);
  assert_true(s->engines[0].local && !s->engines[0].model);
  assert_string_equal(s->benchmarks[0].name, "rps");
  assert_true(s->gate.confidence == 0.95);
  suite_free(s);
}

/* Every prefix of a good suite is an error, never a crash. */
static void truncated_suites_are_errors(void **state) {
  char text[2048];
  const struct runner_fixture *f = *state;
  snprintf(text, sizeof text, fixture_suite, f->model.dir);
  for (size_t n = 0; n + 1 < strlen(text); n++) {
    char part[2048];
    struct suite *s = NULL;
    struct sluice_error err;
    snprintf(part, sizeof part, "%.*s", (int)n, text);
    assert_int_not_equal(read_text(f, part, &s, &err), SLUICE_OK);
  }
}

/* ---- plans
 * -------------------------------------------------------------------------------------------------------------- */

static const char matrix[] = "{\"name\":\"m\",\"engines\":{\"t\":{\"model\":\"%s\"},\"api\":{\"api\":\"http://"
                             "127.0.0.1:9/v1\",\"model\":\"far\"}},"
                             "\"policies\":[\"full\",\"window:budget=25%%\",\"streaming:budget=64\"],"
                             "\"benchmarks\":[{\"name\":\"a\",\"data\":\"rps:rounds=9\",\"n\":3},{\"name\":\"b\","
                             "\"data\":\"story:words=90\",\"n\":2}],"
                             "\"seeds\":[4,5],\"exclude\":[{\"engine\":\"api\",\"benchmark\":\"b\"},{\"policy\":"
                             "\"window*\",\"benchmark\":\"b\"}]}";

static void the_matrix_is_crossed_and_cut(void **state) {
  struct runner_fixture *f = *state;
  fixture_plan(f, matrix, &(struct plan_options){0});
  /* t: 3 policies x a, 2 x b; api: 1 x a; two seeds */
  assert_int_equal(f->plan->n_cells, 12);
  assert_int_equal(f->plan->dialogues, 2 * (3 * 3 + 2 * 2 + 3));
  for (size_t i = 0; i < f->plan->n_cells; i++) {
    const struct plan_cell *c = &f->plan->cells[i];
    bool remote = !f->suite->engines[c->engine].local;
    if (remote) assert_string_equal(c->policy_full, "server");
    assert_null(strchr(c->policy_full, '%'));
    char seed[16];
    snprintf(seed, sizeof seed, "seed=%d", (int)c->seed);
    assert_non_null(strstr(dataset_canonical(f->plan->datasets[c->dataset].data), seed));
    for (size_t k = 0; k < i; k++) assert_memory_not_equal(c->spec_hash, f->plan->cells[k].spec_hash, SHA256_BYTES);
  }
  fixture_unplan(f);
}

static void patterns_and_limits_pick_cells(void **state) {
  struct runner_fixture *f = *state;
  char *wanted[] = {"t/full/*/a/4", "*/streaming*/*/b/*"};
  fixture_plan(f, matrix, &(struct plan_options){.cells = {wanted, 2}, .limit = 1});
  assert_int_equal(f->plan->n_cells, 3);
  assert_int_equal(f->plan->dialogues, 3);
  assert_true(f->plan->limited);
  fixture_unplan(f);
  struct plan *p = NULL;
  struct sluice_error err;
  char *nothing[] = {"nothing/like/this"};
  MUST(suite_read(f->suite_path, &f->suite, &fixture_error));
  assert_int_equal(plan_make(f->suite, &(struct plan_options){.cells = {nothing, 1}}, &p, &err), SLUICE_USAGE);
  fixture_unplan(f);
}

static void a_share_is_of_the_mean_dialogue(void **state) {
  struct runner_fixture *f = *state;
  fixture_plan(f, matrix, &(struct plan_options){0});
  for (size_t i = 0; i < f->plan->n_cells; i++) {
    const struct plan_cell *c = &f->plan->cells[i];
    if (strcmp(c->policy, "window:budget=25%")) continue;
    double tokens = f->plan->datasets[c->dataset].tokens[c->engine];
    double want = floor(tokens / 4 + 0.5);
    assert_int_equal(kept_tokens(c->policy_full), want < 16 ? 16 : (int64_t)want);
  }
  fixture_unplan(f);
}

static void wrong_policies_data_and_twins_are_refused(void **state) {
  static const struct {
    const char *policies, *bench, *says;
  } cases[] = {
      {"\"fulll\"", "{\"data\":\"rps\",\"n\":1}", "full"},
      {"\"window:budget=0%%\"", "{\"data\":\"rps\",\"n\":1}", "share"},
      {"\"window:budget=101%%\"", "{\"data\":\"rps\",\"n\":1}", "share"},
      {"\"window:bugdet=5\"", "{\"data\":\"rps\",\"n\":1}", "budget"},
      {"\"full\"", "{\"data\":\"rsp\",\"n\":1}", "rps"},
      {"\"full\"", "{\"data\":\"rps:dialogues=3\",\"n\":4}", "3 dialogues"},
      {"\"full\"", "{\"name\":\"a\",\"data\":\"rps\",\"n\":1},{\"name\":\"b\",\"data\":\"rps:seed=1\",\"n\":1}",
       "the same"},
  };
  struct runner_fixture *f = *state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char format[1024], text[2048];
    snprintf(format, sizeof format,
             "{\"name\":\"x\",\"engines\":{\"e\":{\"model\":\"%%s\"}},\"policies\":[%s],\"benchmarks\":[%s]}",
             cases[i].policies, cases[i].bench);
    for (char *c = strstr(format, "%%"); c; c = strstr(c + 1, "%%")) memmove(c, c + 1, strlen(c));
    const char *at = strstr(format, "%s");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - format), format, f->model.dir, at + 2);
    struct plan *p = NULL;
    struct sluice_error err = {0};
    MUST(read_text(f, text, &f->suite, &fixture_error));
    sluice_status st = plan_make(f->suite, &(struct plan_options){0}, &p, &err);
    if (st != SLUICE_USAGE) fail_msg("%s: %s %s", text, sluice_status_name(st), err.message);
    if (!strstr(err.message, cases[i].says))
      fail_msg("%s: \"%s\" does not say \"%s\"", text, err.message, cases[i].says);
    fixture_unplan(f);
  }
}

static void perplexity_is_not_asked_of_an_api(void **state) {
  static const char suite[] =
      "{\"name\":\"x\",\"engines\":{\"e\":{\"model\":\"%s\"},\"far\":{\"api\":\"http://127.0.0.1:9/v1\","
      "\"model\":\"m\"}},\"benchmarks\":[{\"name\":\"s\",\"data\":\"story:words=40\",\"n\":1}]}";
  struct runner_fixture *f = *state;
  char text[2048];
  struct plan *p = NULL;
  struct sluice_error err = {0};
  const char *at = strstr(suite, "%s");
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - suite), suite, f->model.dir, at + 2);
  MUST(read_text(f, text, &f->suite, &fixture_error));
  assert_int_equal(plan_make(f->suite, &(struct plan_options){0}, &p, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "\"exclude\": [{\"engine\": \"far\", \"benchmark\": \"s\"}]"));
  fixture_unplan(f);
}

static void hash_of(struct runner_fixture *f, const char *suite, const struct plan_options *o,
                    unsigned char out[SHA256_BYTES]) {
  fixture_plan(f, suite, o);
  memcpy(out, f->plan->hash, SHA256_BYTES);
  fixture_unplan(f);
}

static void the_plan_hash_follows_what_decides_outputs(void **state) {
  static const char base[] = "{\"name\":\"a\",\"engines\":{\"e\":{\"model\":\"%s\"}},\"policies\":[\"full\"],"
                             "\"benchmarks\":[{\"name\":\"r\",\"data\":\"rps\",\"n\":2}]}";
  static const char renamed[] =
      "// other words\n{\"name\":\"b\",\"engines\":{\"other\":{\"model\":\"%s\",\"jobs\":7}},"
      "\"policies\":[\"full\"],\"benchmarks\":[{\"name\":\"q\",\"data\":\"rps:seed=1\",\"n\":2}],"
      "\"gate\":{\"margin\":0.5}}";
  static const char hotter[] =
      "{\"name\":\"a\",\"engines\":{\"e\":{\"model\":\"%s\"}},\"policies\":[\"full\"],"
      "\"benchmarks\":[{\"name\":\"r\",\"data\":\"rps\",\"n\":2}],\"generate\":{\"temperature\":1}}";
  static const char slower[] =
      "{\"name\":\"a\",\"engines\":{\"e\":{\"model\":\"%s\",\"kernel\":\"portable\"}},\"policies\":[\"full\"],"
      "\"benchmarks\":[{\"name\":\"r\",\"data\":\"rps\",\"n\":2}]}";
  static const char stopped[] =
      "{\"name\":\"a\",\"engines\":{\"e\":{\"model\":\"%s\"}},\"policies\":[\"full\"],"
      "\"benchmarks\":[{\"name\":\"r\",\"data\":\"rps\",\"n\":2}],\"generate\":{\"stop\":[\"x\"]}}";
  static const char unchanged[] =
      "{\"name\":\"a\",\"engines\":{\"e\":{\"model\":\"%s\"}},\"policies\":[\"full\"],"
      "\"benchmarks\":[{\"name\":\"r\",\"data\":\"rps\",\"n\":2}],\"generate\":{\"min_p\":0,\"repetition_penalty\":1}}";
  unsigned char a[SHA256_BYTES], b[SHA256_BYTES];
  hash_of(*state, base, &(struct plan_options){0}, a);
  hash_of(*state, renamed, &(struct plan_options){0}, b);
  assert_memory_equal(a, b, sizeof a); /* labels are not outputs */
  hash_of(*state, hotter, &(struct plan_options){0}, b);
  assert_memory_not_equal(a, b, sizeof a);
  hash_of(*state, base, &(struct plan_options){.limit = 1}, b);
  assert_memory_not_equal(a, b, sizeof a);
  hash_of(*state, stopped, &(struct plan_options){0}, b);
  assert_memory_not_equal(a, b, sizeof a);
  hash_of(*state, unchanged, &(struct plan_options){0}, b);
  assert_memory_equal(a, b, sizeof a);
  hash_of(*state, slower, &(struct plan_options){0}, b); /* another kernel rounds otherwise */
  assert_memory_not_equal(a, b, sizeof a);
}

static void shards_are_disjoint_and_complete(void **state) {
  struct runner_fixture *f = *state;
  static const char suite[] =
      "{\"name\":\"a\",\"engines\":{\"e\":{\"model\":\"%s\"}},\"benchmarks\":[{\"data\":\"rps\",\"n\":40}]}";
  int64_t sum = 0;
  for (int64_t i = 0; i < 3; i++) {
    fixture_plan(f, suite, &(struct plan_options){.shard = i, .n_shards = 3});
    assert_true(f->plan->dialogues > 0);
    sum += f->plan->dialogues;
    fixture_unplan(f);
  }
  assert_int_equal(sum, 40);
}

static void a_plan_prints_json(void **state) {
  struct runner_fixture *f = *state;
  fixture_plan(f, fixture_suite, &(struct plan_options){.probe = true});
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  MUST(plan_print(f->plan, true, out, &fixture_error));
  fclose(out);
  struct json_span root, cells, seconds;
  struct slice json = {text, len};
  MUST(json_span_root(json, &root, &fixture_error));
  assert_true(json_span_member(json, root, "cells", &cells));
  assert_int_equal(json_span_count(json, cells), f->plan->n_cells);
  assert_true(json_span_path(json, root, "cells.0.seconds", &seconds));
  assert_int_equal(seconds.type, JSON_NUMBER);
  free(text);
  fixture_unplan(f);
}

int main(void) {
  log_set(LOG_ERROR, false);
  const struct CMUnitTest tests[] = {cmocka_unit_test(mistakes_are_named),
                                     cmocka_unit_test(comments_and_defaults),
                                     cmocka_unit_test(truncated_suites_are_errors),
                                     cmocka_unit_test(the_matrix_is_crossed_and_cut),
                                     cmocka_unit_test(patterns_and_limits_pick_cells),
                                     cmocka_unit_test(a_share_is_of_the_mean_dialogue),
                                     cmocka_unit_test(wrong_policies_data_and_twins_are_refused),
                                     cmocka_unit_test(perplexity_is_not_asked_of_an_api),
                                     cmocka_unit_test(the_plan_hash_follows_what_decides_outputs),
                                     cmocka_unit_test(shards_are_disjoint_and_complete),
                                     cmocka_unit_test(a_plan_prints_json)};
  return cmocka_run_group_tests(tests, runner_setup, runner_teardown);
}
