/* Rubric files: what a judge is told, and the closed menu of verdicts. JSON with comments, checked strictly. */
#include "judge/kinds.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool good_word(const char *w) {
  size_t len = strlen(w);
  return len >= 1 && len <= 32 && strspn(w, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static sluice_status read_menu_word(const struct cJSON *item, const char *where, struct rubric *r,
                                    struct sluice_error *err) {
  static const char *const keys[] = {"verdict", "value", "meaning", "say", NULL};
  struct menu_word *w = &r->menu[r->n_menu];
  sluice_status st = json_check_keys(item, where, keys, err);
  if (st == SLUICE_OK) st = json_string(item, where, "verdict", true, NULL, &w->word, err);
  if (st == SLUICE_OK) st = json_double(item, where, "value", true, 0, &w->value, err);
  if (st == SLUICE_OK) st = json_string(item, where, "meaning", false, "", &w->meaning, err);
  if (st == SLUICE_OK) st = json_string(item, where, "say", false, w->word, &w->say, err);
  if (st != SLUICE_OK) return st;
  if (!good_word(w->word) || !isfinite(w->value)) {
    return sluice_fail(err, SLUICE_USAGE, "%s: verdict \"%.40s\": 1 to 32 of a-z 0-9 _ - and a finite value are needed",
                       where, w->word);
  }
  for (size_t i = 0; i < r->n_menu; i++) {
    if (strcmp(r->menu[i].word, w->word) == 0) {
      return sluice_fail(err, SLUICE_USAGE, "%s: verdict \"%s\" stands twice in the menu", where, w->word);
    }
  }
  r->n_menu++;
  return SLUICE_OK;
}

static sluice_status read_menu(const char *path, struct rubric *r, struct sluice_error *err) {
  const struct cJSON *menu = cJSON_GetObjectItemCaseSensitive(r->json, "menu"), *item = NULL;
  if (r->pairwise && menu == NULL) {
    r->menu[0] = (struct menu_word){"first", 1, "the first answer is better", "first"};
    r->menu[1] = (struct menu_word){"second", 0, "the second answer is better", "second"};
    r->menu[2] = (struct menu_word){"tie", 0.5, "neither is better", "tie"};
    r->n_menu = 3;
    return SLUICE_OK;
  }
  if (!cJSON_IsArray(menu) || cJSON_GetArraySize(menu) < 2 || cJSON_GetArraySize(menu) > JUDGE_MENU_MAX) {
    return sluice_fail(err, SLUICE_USAGE, "%s: menu: a list of 2 to %d verdicts is needed", path, JUDGE_MENU_MAX);
  }
  cJSON_ArrayForEach(item, menu) {
    sluice_status st = read_menu_word(item, path, r, err);
    if (st != SLUICE_OK) return st;
    if (r->pairwise && strcmp(r->menu[r->n_menu - 1].word, "first") != 0 &&
        strcmp(r->menu[r->n_menu - 1].word, "second") != 0 && strcmp(r->menu[r->n_menu - 1].word, "tie") != 0) {
      return sluice_fail(err, SLUICE_USAGE, "%s: a pairwise menu holds first, second and tie only", path);
    }
  }
  return SLUICE_OK;
}

static sluice_status read_keys(const char *path, struct rubric *r, struct sluice_error *err) {
  static const char *const keys[] = {"name", "kind",       "instructions",    "prompt",
                                     "menu", "max_tokens", "needs_reference", NULL};
  static const char *const kinds[] = {"pointwise", "pairwise", NULL};
  const char *kind = NULL;
  int64_t max_tokens = 0;
  if (!cJSON_IsObject(r->json)) return sluice_fail(err, SLUICE_USAGE, "%s: a rubric is a JSON object", path);
  sluice_status st = json_check_keys(r->json, path, keys, err);
  if (st == SLUICE_OK) st = json_string(r->json, path, "name", true, NULL, &r->name, err);
  if (st == SLUICE_OK) st = json_string(r->json, path, "kind", true, NULL, &kind, err);
  if (st == SLUICE_OK) st = json_string(r->json, path, "instructions", false, NULL, &r->instructions, err);
  if (st == SLUICE_OK) st = json_string(r->json, path, "prompt", false, NULL, &r->prompt, err);
  if (st == SLUICE_OK) st = json_bool(r->json, path, "needs_reference", false, &r->needs_reference, err);
  if (st == SLUICE_OK) st = json_int(r->json, path, "max_tokens", false, 512, 1, 65536, &max_tokens, err);
  if (st != SLUICE_OK) return st;
  r->max_tokens = (int)max_tokens;
  r->pairwise = strcmp(kind, "pairwise") == 0;
  if (!r->pairwise && strcmp(kind, "pointwise") != 0) {
    const char *near = suggest(kind, kinds);
    return sluice_fail(err, SLUICE_USAGE, "%s: kind \"%.40s\": pointwise or pairwise%s%s%s", path, kind,
                       near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
  }
  return read_menu(path, r, err);
}

sluice_status rubric_load(const char *path, struct rubric *out, struct sluice_error *err) {
  char *bytes = NULL;
  size_t len = 0;
  unsigned char digest[SHA256_BYTES];
  *out = (struct rubric){0};
  if (!file_exists(path)) return sluice_fail(err, SLUICE_USAGE, "%s: no such rubric (fixtures/judges/ has some)", path);
  sluice_status st = file_read(path, 1 << 20, &bytes, &len, err);
  if (st == SLUICE_OK) st = json_parse(path, bytes, len, true, &out->json, err);
  if (st == SLUICE_OK) {
    sha256(bytes, len, digest);
    hex_of(digest, SHA256_BYTES, out->hash);
    st = read_keys(path, out, err);
  }
  free(bytes);
  return st;
}

void rubric_free(struct rubric *r) {
  cJSON_Delete(r->json);
  *r = (struct rubric){0};
}
