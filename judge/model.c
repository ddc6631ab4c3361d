/* The model judge: local weights read the rubric's prompt, and each verdict of the menu is weighed as the continuation.
 * No text is parsed, so nothing can be unparsable: the verdict is the most likely one, and the value is the expectation
 * of the menu's numbers under the verdicts' probabilities (as G-Eval does, but over the whole menu instead of the top
 * 20). Menu texts ("say") should be of equal length in tokens: a longer one is less likely by its length alone. */
#include "judge/kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static sluice_status open_model(struct judge *j, const struct spec *s, struct sluice_error *err) {
  struct engine_local_options o = {.model_dir = spec_get(s, "dir"), .template_name = spec_get(s, "template")};
  const char *rubric = spec_get(s, "rubric");
  int64_t threads = 1;
  if (rubric == NULL) {
    return sluice_fail(err, SLUICE_USAGE, "judge model: rubric=FILE is needed (fixtures/judges/ has rubrics)");
  }
  sluice_status st = rubric_load(rubric, &j->rubric, err);
  if (st == SLUICE_OK && j->rubric.prompt == NULL) {
    st = sluice_fail(err, SLUICE_USAGE, "%s: a model judge needs \"prompt\", with {question} and {answer} in it",
                     rubric);
  }
  if (st == SLUICE_OK) st = spec_int(s, "threads", 1, 1, 1024, &threads, err);
  o.threads = (int)threads;
  return st == SLUICE_OK ? engine_open_local(&o, &j->engine, err) : st;
}

/* raw: {"first":{"logprob":-1.2,"p":0.7,"tokens":1},...} */
static sluice_status write_raw(const struct rubric *r, const double *logprob, const double *p, const int *tokens,
                               struct judgement *out, struct sluice_error *err) {
  struct buffer b;
  buffer_init(&b, 1 << 16);
  sluice_status st = buffer_append_str(&b, "{", err);
  for (size_t i = 0; i < r->n_menu && st == SLUICE_OK; i++) {
    st = buffer_printf(&b, err, "%s\"%s\":{\"logprob\":%.6f,\"p\":%.6f,\"tokens\":%d}", i > 0 ? "," : "",
                       r->menu[i].word, logprob[i], p[i], tokens[i]);
  }
  if (st == SLUICE_OK) st = buffer_append_str(&b, "}", err);
  if (st == SLUICE_OK) judgement_raw(out, &b);
  buffer_free(&b);
  return st;
}

static sluice_status weigh(struct judge *j, struct talk *t, struct judgement *out, struct sluice_error *err) {
  const struct rubric *r = &j->rubric;
  struct slice says[JUDGE_MENU_MAX];
  double logprob[JUDGE_MENU_MAX], first[JUDGE_MENU_MAX], p[JUDGE_MENU_MAX], total = 0, value = 0;
  int tokens[JUDGE_MENU_MAX];
  struct choice_scores scores = {.logprob = logprob, .first_logprob = first, .tokens = tokens};
  size_t best = 0;
  for (size_t i = 0; i < r->n_menu; i++) says[i] = slice_of(r->menu[i].say);
  sluice_status st = talk_choose(t, (struct slice){0}, says, r->n_menu, &scores, NULL, NULL, err);
  if (st != SLUICE_OK) return st;
  for (size_t i = 1; i < r->n_menu; i++) best = logprob[i] > logprob[best] ? i : best;
  for (size_t i = 0; i < r->n_menu; i++) total += p[i] = exp(logprob[i] - logprob[best]);
  for (size_t i = 0; i < r->n_menu; i++) value += (p[i] /= total) * r->menu[i].value;
  judgement_scored(out, &r->menu[best]);
  out->value = value;
  return write_raw(r, logprob, p, tokens, out, err);
}

static sluice_status ask_model(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement *out,
                               struct sluice_error *err) {
  struct buffer prompt;
  struct talk *t = NULL;
  (void)call;
  buffer_init(&prompt, 5 * JUDGE_TEXT_MAX);
  sluice_status st = prompt_fill(j->rubric.prompt, item, &prompt, err);
  if (st == SLUICE_OK) {
    sha256(prompt.len > 0 ? prompt.ptr : "", prompt.len, out->prompt_hash);
    st = talk_open(j->engine, NULL, j->seed, &t, err);
  }
  if (st == SLUICE_OK) st = talk_feed(t, ROLE_USER, (struct slice){prompt.ptr, prompt.len}, err);
  if (st == SLUICE_OK) st = weigh(j, t, out, err);
  talk_close(t);
  buffer_free(&prompt);
  return judgement_of_failure(out, st, err);
}

static const char *const keys[] = {"rubric", "dir", "template", "threads", NULL};
const struct judge_type judge_model = {.about = {.name = "model"}, .keys = keys, .open = open_model, .ask = ask_model};
