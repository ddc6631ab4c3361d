/* The rules judge: a monitor policy over the whole answer. */
#include "judge/kinds.h"

#include <math.h>

static sluice_status open_rules(struct judge *j, const struct spec *s, struct sluice_error *err) {
  const char *policy = spec_get(s, "policy");
  if (j->scanner == NULL) return sluice_fail(err, SLUICE_UNSUPPORTED, "judge rules: no monitor is at hand here");
  if (policy == NULL) return sluice_fail(err, SLUICE_USAGE, "judge rules: policy=FILE is needed");
  j->rubric.name = "rules";
  j->rubric.n_menu = 2;
  j->rubric.menu[0] = (struct menu_word){"clean", 1, "no rule fired", "clean"};
  j->rubric.menu[1] = (struct menu_word){"flagged", 0, "a rule fired", "flagged"};
  sluice_status st = sha256_file_hex(policy, j->policy_hash, err);
  return st == SLUICE_OK ? j->scanner->open(policy, &j->scan, err) : st;
}

static sluice_status ask_rules(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement *out,
                               struct sluice_error *err) {
  struct buffer findings;
  bool flagged = false;
  (void)call;
  buffer_init(&findings, JUDGE_TEXT_MAX);
  sha256(item->answer.len > 0 ? item->answer.ptr : "", item->answer.len, out->prompt_hash);
  sluice_status st = j->scanner->scan(j->scan, item->answer, &flagged, &findings, err);
  if (st == SLUICE_OK) judgement_scored(out, &j->rubric.menu[flagged ? 1 : 0]);
  if (st == SLUICE_OK && findings.len > 0) judgement_raw(out, &findings);
  buffer_free(&findings);
  return judgement_of_failure(out, st, err);
}

static const char *const keys[] = {"policy", NULL};
const struct judge_type judge_rules = {.about = {.name = "rules"}, .keys = keys, .open = open_rules, .ask = ask_rules};
