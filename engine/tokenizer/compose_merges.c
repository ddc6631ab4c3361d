/* vocab.json and merges.txt, as GPT-2 and Qwen2 came before there was a tokenizer.json: what the slow tokenizer of the
 * same class does with them (transformers: convert_slow_tokenizer.py). */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/compose.h"

static const struct {
  const char *class_name, *model_type, *splits;
} classes[] = {
    {"GPT2Tokenizer", "gpt2", "gpt-2"},   {"Qwen2Tokenizer", "qwen2", "qwen2"},
    {"Qwen2Tokenizer", "qwen3", "qwen2"}, {"GPTNeoXTokenizer", "gpt_neox", "gpt-neox"},
    {"CodeGenTokenizer", "phi", "gpt-2"},
};
enum { N_CLASSES = sizeof classes / sizeof *classes };

const struct pre_tokenizer_name *compose_class(const char *name) {
  size_t n = strlen(name);
  if (n > 4 && strcmp(name + n - 4, "Fast") == 0) n -= 4;
  for (size_t i = 0; i < N_CLASSES; i++)
    if (slice_is((struct slice){name, n}, classes[i].class_name) || strcmp(name, classes[i].model_type) == 0)
      return pre_tokenizer_named(slice_of(classes[i].splits));
  return NULL;
}

void compose_class_choices(char *out, size_t cap) {
  size_t at = 0;
  out[0] = '\0';
  for (size_t i = 0; i < N_CLASSES && at < cap; i++) {
    if (i > 0 && strcmp(classes[i].class_name, classes[i - 1].class_name) == 0) continue;
    const int n = snprintf(out + at, cap - at, "%s%s", i ? ", " : "", classes[i].class_name);
    at += n > 0 ? (size_t)n : 0;
  }
}

/* A line "left right". Every other token of the vocabulary is made of two such, so a space never belongs to one. */
static bool is_merge(struct slice line) {
  const char *space = line.len > 2 ? memchr(line.ptr + 1, ' ', line.len - 2) : NULL;
  return space && !memchr(space + 1, ' ', line.len - 1 - (size_t)(space - line.ptr));
}

static sluice_status read_merges(const char *path, struct slice text, cJSON *list, struct sluice_error *err) {
  size_t number = 0;
  for (const char *at = text.ptr, *end = text.ptr + text.len; at < end;) {
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    if (!line_end) line_end = end;
    struct slice line = {at, (size_t)(line_end - at)};
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
    number++;
    at = line_end + 1;
    if (line.len == 0 || (number == 1 && line.len >= 8 && memcmp(line.ptr, "#version", 8) == 0)) continue;
    if (!is_merge(line) || memchr(line.ptr, 0, line.len))
      return sluice_fail(err, SLUICE_INPUT, "%s: line %zu: not two words, \"a b\"; the file is cut short or another's",
                         path, number);
    char *copy = sluice_strndup(line.ptr, line.len);
    cJSON *item = copy ? cJSON_CreateString(copy) : NULL;
    free(copy);
    if (!item || !cJSON_AddItemToArray(list, item)) {
      cJSON_Delete(item);
      return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
    }
  }
  return SLUICE_OK;
}

static bool add_split(cJSON *steps, const char *pattern) {
  cJSON *split = cJSON_CreateObject();
  if (!split || !cJSON_AddItemToArray(steps, split)) {
    cJSON_Delete(split);
    return false;
  }
  cJSON *regex = cJSON_AddObjectToObject(split, "pattern");
  return regex && cJSON_AddStringToObject(split, "type", "Split") && cJSON_AddStringToObject(regex, "Regex", pattern) &&
         cJSON_AddStringToObject(split, "behavior", "Isolated");
}

/* Splits, and then bytes as characters. */
static bool add_pre_tokenizer(cJSON *root, const char *const *patterns, size_t n) {
  cJSON *pre = cJSON_AddObjectToObject(root, "pre_tokenizer");
  cJSON *steps =
      pre && cJSON_AddStringToObject(pre, "type", "Sequence") ? cJSON_AddArrayToObject(pre, "pretokenizers") : NULL;
  bool ok = steps != NULL;
  for (size_t i = 0; ok && i < n && patterns[i]; i++) ok = add_split(steps, patterns[i]);
  cJSON *bytes = ok ? cJSON_CreateObject() : NULL;
  if (!bytes || !cJSON_AddItemToArray(steps, bytes)) {
    cJSON_Delete(bytes);
    return false;
  }
  return cJSON_AddStringToObject(bytes, "type", "ByteLevel") && cJSON_AddFalseToObject(bytes, "add_prefix_space") &&
         cJSON_AddFalseToObject(bytes, "use_regex");
}

bool compose_begin(cJSON *root, const char *const *patterns, size_t n) {
  return cJSON_AddArrayToObject(root, "added_tokens") && add_pre_tokenizer(root, patterns, n) &&
         cJSON_AddObjectToObject(root, "model");
}

sluice_status compose_merges(struct cJSON **vocab, const char *path, struct slice merges,
                             const struct pre_tokenizer_name *splits, bool adds_bos, struct cJSON **out,
                             struct sluice_error *err) {
  cJSON *root = cJSON_CreateObject(), *list = NULL, *part;
  bool ok = root && compose_begin(root, splits->patterns, sizeof splits->patterns / sizeof *splits->patterns);
  if (ok && splits->flags & PRE_NFC)
    ok = (part = cJSON_AddObjectToObject(root, "normalizer")) && cJSON_AddStringToObject(part, "type", "NFC");
  if (ok && !adds_bos) /* of ByteLevel's kind, which adds no token; without one, a BOS is */
    ok = (part = cJSON_AddObjectToObject(root, "post_processor")) && cJSON_AddStringToObject(part, "type", "ByteLevel");
  cJSON *model = ok ? cJSON_GetObjectItemCaseSensitive(root, "model") : NULL;
  ok = ok && cJSON_AddItemToObject(model, "vocab", *vocab);
  if (ok) *vocab = NULL;
  list = ok ? cJSON_AddArrayToObject(model, "merges") : NULL;
  sluice_status st =
      list ? read_merges(path, merges, list, err) : sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  if (st) {
    cJSON_Delete(root);
    return st;
  }
  *out = root;
  return SLUICE_OK;
}
