/* The api judge: a language model reads the rubric and the fenced texts, and writes reasons and a verdict. */
#include "judge/kinds.h"

#include <stdlib.h>
#include <string.h>

static sluice_status open_api(struct judge *j, const struct spec *s, struct sluice_error *err) {
  struct engine_remote_options o = {
      .url = spec_get(s, "url"), .model = spec_get(s, "model"), .key_env = spec_get(s, "key_env")};
  const char *rubric = spec_get(s, "rubric");
  int64_t retries = 0;
  if (o.url == NULL || rubric == NULL) {
    return sluice_fail(err, SLUICE_USAGE,
                       "judge api: url=URL and rubric=FILE are needed (fixtures/judges/ has rubrics)");
  }
  sluice_status st = rubric_load(rubric, &j->rubric, err);
  if (st == SLUICE_OK && j->rubric.instructions == NULL) {
    st = sluice_fail(err, SLUICE_USAGE, "%s: an api judge needs \"instructions\"", rubric);
  }
  if (st == SLUICE_OK) st = spec_int(s, "timeout_ms", 120000, 1, 86400000, &o.timeout_ms, err);
  if (st == SLUICE_OK) st = spec_int(s, "stall_ms", 60000, 1, 86400000, &o.stall_ms, err);
  if (st == SLUICE_OK) st = spec_int(s, "retries", 5, 0, 100, &retries, err);
  if (st == SLUICE_OK) st = spec_int(s, "backoff_ms", 500, 1, 60000, &o.backoff_ms, err);
  o.retries = (int)retries;
  return st == SLUICE_OK ? engine_open_remote(&o, &j->engine, err) : st;
}

static void read_answer(struct judge *j, struct slice text, enum outcome outcome, struct judgement *out) {
  const char *why = NULL;
  if (outcome == OUTCOME_REFUSED) {
    judgement_unscored(out, JUDGE_REFUSED, "the judge refused to answer");
  } else if (outcome != OUTCOME_DONE) {
    judgement_unscored(out, JUDGE_UNSCORED, "the judge's answer was cut at max_tokens %d", j->rubric.max_tokens);
  } else {
    int at = verdict_read(text, j->rubric.menu, j->rubric.n_menu, &why);
    if (at >= 0)
      judgement_scored(out, &j->rubric.menu[at]);
    else
      judgement_unscored(out, JUDGE_UNSCORED, "%s", why);
  }
}

static void hash_prompt(const struct buffer *system, const struct buffer *user, unsigned char hash[SHA256_BYTES]) {
  struct sha256_stream *s = sha256_begin();
  if (s == NULL) return;
  sha256_add(s, system->ptr, system->len + 1); /* with the NUL, so that the border counts */
  sha256_add(s, user->ptr, user->len);
  sha256_end(s, hash);
}

static sluice_status converse(struct judge *j, uint64_t call, const struct buffer *system, const struct buffer *user,
                              struct judgement *out, struct sluice_error *err) {
  struct talk *t = NULL;
  char *text = NULL;
  size_t len = 0;
  enum outcome outcome = OUTCOME_ERROR;
  struct talk_timing timing;
  struct generate_options o = {.max_tokens = j->rubric.max_tokens, .seed = j->seed};
  sluice_status st = talk_open(j->engine, NULL, j->seed ^ call, &t, err);
  if (st == SLUICE_OK) st = talk_feed(t, ROLE_SYSTEM, (struct slice){system->ptr, system->len}, err);
  if (st == SLUICE_OK) st = talk_feed(t, ROLE_USER, (struct slice){user->ptr, user->len}, err);
  if (st == SLUICE_OK) {
    st = talk_generate(t, (struct slice){0}, &o, NULL, NULL, NULL, &text, &len, &outcome, &timing, err);
  }
  talk_close(t);
  if (st == SLUICE_OK) {
    out->raw = text;
    out->raw_len = len;
    read_answer(j, (struct slice){text, len}, outcome, out);
  }
  return st;
}

static sluice_status ask_api(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement *out,
                             struct sluice_error *err) {
  struct buffer system, user;
  char nonce[17];
  buffer_init(&system, 1 << 21);
  buffer_init(&user, 5 * JUDGE_TEXT_MAX);
  prompt_nonce(j->seed, call, nonce);
  sluice_status st = prompt_system(&j->rubric, nonce, &system, err);
  if (st == SLUICE_OK) st = prompt_user(&j->rubric, item, nonce, &user, err);
  if (st == SLUICE_OK) hash_prompt(&system, &user, out->prompt_hash);
  if (st == SLUICE_OK) st = converse(j, call, &system, &user, out, err);
  buffer_free(&system);
  buffer_free(&user);
  return judgement_of_failure(out, st, err);
}

static const char *const keys[] = {"url",      "model",   "key_env",    "rubric", "timeout_ms",
                                   "stall_ms", "retries", "backoff_ms", NULL};
const struct judge_type judge_api = {.about = {.name = "api"}, .keys = keys, .open = open_api, .ask = ask_api};
