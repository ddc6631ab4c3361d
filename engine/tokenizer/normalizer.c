/* The normalizer of tokenizer.json: one of Unicode's forms; and what SentencePiece's vocabularies have, a space put
 * before the text and spaces written U+2581. */
#include <cjson/cJSON.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

#define SPACE_MARK "\xe2\x96\x81" /* U+2581 */

static const char *string_of(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  return cJSON_IsString(item) ? item->valuestring : "";
}

static sluice_status add_step(struct tokenizer *t, const char *path, const cJSON *step, struct sluice_error *err) {
  const char *type = string_of(step, "type");
  static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    if (strcmp(type, forms[i]) != 0) continue;
    if (t->form)
      return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: normalizer: %s behind %s is not done here", path, type, t->form);
    t->form = forms[i];
    return SLUICE_OK;
  }
  if (strcmp(type, "Prepend") == 0 && strcmp(string_of(step, "prepend"), SPACE_MARK) == 0) {
    t->dummy = DUMMY_EVERY;
    return SLUICE_OK;
  }
  const char *from = string_of(cJSON_GetObjectItemCaseSensitive(step, "pattern"), "String");
  if (strcmp(type, "Replace") == 0 && strcmp(from, " ") == 0 && strcmp(string_of(step, "content"), SPACE_MARK) == 0) {
    t->kind = VOCABULARY_MERGES;
    t->spelled_early = true;
    return SLUICE_OK;
  }
  return sluice_fail(err, SLUICE_UNSUPPORTED,
                     "%s: normalizer: type \"%.40s\" is not done here, because it would change the text; NFC, NFD, "
                     "NFKC, NFKD, Prepend and "
                     "Replace of a space by U+2581 are",
                     path, *type ? type : "?");
}

sluice_status normalizer_load(struct tokenizer *t, const char *path, const struct cJSON *root,
                              struct sluice_error *err) {
  const cJSON *normalizer = cJSON_GetObjectItemCaseSensitive(root, "normalizer"), *step;
  if (!cJSON_IsObject(normalizer)) return SLUICE_OK;
  if (strcmp(string_of(normalizer, "type"), "Sequence") != 0) return add_step(t, path, normalizer, err);
  cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(normalizer, "normalizers")) {
    sluice_status st = add_step(t, path, step, err);
    if (st) return st;
  }
  return SLUICE_OK;
}
