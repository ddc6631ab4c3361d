/* The pre_tokenizer of tokenizer.json as a list of splitters: ByteLevel, or a Sequence of Split, Digits and Punctuation
 * with a ByteLevel in it; Metaspace, or nothing, for SentencePiece's vocabularies. */
#include <cjson/cJSON.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

/* Where we are, for messages: the file, and the step's place in the Sequence. */
struct step_place {
  const char *path;
  char key[64];
};

static const char *string_of(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  return cJSON_IsString(item) ? item->valuestring : "";
}

sluice_status pre_tokenizer_add(struct tokenizer *t, const char *path, const char *key, const char *pattern,
                                bool literal, struct sluice_error *err) {
  if (t->n_splits == TOKENIZER_MAX_SPLITS)
    return sluice_fail(err, SLUICE_LIMIT, "%s: %s: more than %d splitting steps", path, key, (int)TOKENIZER_MAX_SPLITS);
  char where[512];
  snprintf(where, sizeof where, "%.400s: %s", path, key);
  sluice_status st = splitter_open(&t->splits[t->n_splits], where, pattern, literal, err);
  if (!st) t->n_splits++;
  return st;
}

static sluice_status add_split(struct tokenizer *t, const struct step_place *at, const char *pattern, bool literal,
                               struct sluice_error *err) {
  return pre_tokenizer_add(t, at->path, at->key, pattern, literal, err);
}

static sluice_status add_byte_level(struct tokenizer *t, const struct step_place *at, const cJSON *step,
                                    struct sluice_error *err) {
  /* The library's own default for both keys is true. */
  if (!cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(step, "add_prefix_space")))
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: %s.add_prefix_space is not false; text is never given a space that it does not have",
                       at->path, at->key);
  if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(step, "use_regex"))) return SLUICE_OK;
  return add_split(t, at, SPLIT_PATTERN_GPT2, false, err);
}

static sluice_status add_split_step(struct tokenizer *t, const struct step_place *at, const cJSON *step,
                                    struct sluice_error *err) {
  const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(step, "pattern");
  const char *regex = string_of(pattern, "Regex"), *text = string_of(pattern, "String");
  /* Gemma's: by then the normalizer has left no space to split at. */
  if (t->kind == VOCABULARY_MERGES && strcmp(text, " ") == 0) return SLUICE_OK;
  /* "Removed" with invert drops the gaps between matches. Published patterns leave no gap, and here a gap is kept. */
  const char *behavior = string_of(step, "behavior");
  bool invert = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(step, "invert"));
  if (strcmp(behavior, "Isolated") != 0 && !(strcmp(behavior, "Removed") == 0 && invert))
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s.behavior: \"%s\"%s is not done here; \"Isolated\" is", at->path,
                       at->key, behavior, invert ? " with invert" : "");
  if (*regex) return add_split(t, at, regex, false, err);
  if (*text) return add_split(t, at, text, true, err);
  return sluice_fail(err, SLUICE_INPUT, "%s: %s.pattern: neither {\"Regex\": ...} nor {\"String\": ...}", at->path,
                     at->key);
}

/* prepend_scheme, and before it add_prefix_space, say where a space is put before the text. */
static sluice_status add_metaspace(struct tokenizer *t, const struct step_place *at, const cJSON *step,
                                   struct sluice_error *err) {
  const char *scheme = string_of(step, "prepend_scheme"), *mark = string_of(step, "replacement");
  const bool prefix = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(step, "add_prefix_space"));
  if (strcmp(mark, "\xe2\x96\x81") != 0)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s.replacement: \"%.20s\" is not done here; U+2581 is", at->path,
                       at->key, mark);
  t->kind = VOCABULARY_MERGES;
  t->dummy_unless_space = true;
  if (strcmp(scheme, "first") == 0)
    t->dummy = DUMMY_FIRST;
  else if (strcmp(scheme, "always") == 0 || (!*scheme && prefix))
    t->dummy = DUMMY_EVERY;
  if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(step, "split"))) return SLUICE_OK;
  return add_split(t, at, " [^ ]*|[^ ]+", false, err);
}

static sluice_status add_punctuation(struct tokenizer *t, const struct step_place *at, const cJSON *step,
                                     struct sluice_error *err) {
  const char *behavior = string_of(step, "behavior"); /* ASCII's symbols count as punctuation too */
  if (strcmp(behavior, "Contiguous") == 0) return add_split(t, at, "[\\p{P}$+<=>^`|~]+", false, err);
  if (!*behavior || strcmp(behavior, "Isolated") == 0) return add_split(t, at, "[\\p{P}$+<=>^`|~]", false, err);
  return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s.behavior: \"%s\" is not done here; Isolated and Contiguous are",
                     at->path, at->key, behavior);
}

/* Behind ByteLevel, text is spelled in printable characters: only a pattern of digits means there what it means here.
 */
static bool is_of_digits(const cJSON *step) {
  const char *regex = string_of(cJSON_GetObjectItemCaseSensitive(step, "pattern"), "Regex");
  return *regex && strspn(regex, "[]0-9{},+") == strlen(regex);
}

static sluice_status add_step(struct tokenizer *t, const struct step_place *at, const cJSON *step, bool *byte_level,
                              struct sluice_error *err) {
  const char *type = string_of(step, "type");
  if (*byte_level && !(strcmp(type, "Split") == 0 && is_of_digits(step)))
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s: a step after ByteLevel is not done here", at->path, at->key);
  if (strcmp(type, "ByteLevel") == 0) {
    *byte_level = true;
    return add_byte_level(t, at, step, err);
  }
  if (strcmp(type, "Split") == 0) return add_split_step(t, at, step, err);
  if (strcmp(type, "Digits") == 0) {
    bool each = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(step, "individual_digits"));
    return add_split(t, at, each ? "\\p{N}" : "\\p{N}+", false, err);
  }
  if (strcmp(type, "Punctuation") == 0) return add_punctuation(t, at, step, err);
  if (strcmp(type, "Metaspace") == 0) return add_metaspace(t, at, step, err);
  return sluice_fail(err, SLUICE_UNSUPPORTED,
                     "%s: %s.type: \"%s\" is not done here; ByteLevel, Split, Digits, Punctuation and Metaspace are",
                     at->path, at->key, type);
}

sluice_status pre_tokenizer_load(struct tokenizer *t, const char *path, const struct cJSON *root,
                                 struct sluice_error *err) {
  const cJSON *pre = cJSON_GetObjectItemCaseSensitive(root, "pre_tokenizer");
  struct step_place at = {path, "pre_tokenizer"};
  bool byte_level = false;
  sluice_status st = SLUICE_OK;
  if (strcmp(string_of(pre, "type"), "Sequence") == 0) {
    const cJSON *step, *steps = cJSON_GetObjectItemCaseSensitive(pre, "pretokenizers");
    size_t i = 0;
    cJSON_ArrayForEach(step, steps) {
      snprintf(at.key, sizeof at.key, "pre_tokenizer.pretokenizers[%zu]", i++);
      if ((st = add_step(t, &at, step, &byte_level, err))) return st;
    }
  } else if (cJSON_IsObject(pre)) {
    if ((st = add_step(t, &at, pre, &byte_level, err))) return st;
  }
  if (byte_level != (t->kind == VOCABULARY_MERGES)) return SLUICE_OK;
  return sluice_fail(
      err, SLUICE_UNSUPPORTED,
      byte_level ? "%s: pre_tokenizer: ByteLevel beside a normalizer that writes spaces as U+2581"
                 : "%s: pre_tokenizer: neither a ByteLevel step nor SentencePiece's U+2581; only these are done "
                   "here",
      path);
}
