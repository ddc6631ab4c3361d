/* tokenizer.json (the Hugging Face tokenizers library, version "1.0") into tables. What would change ids or lose bytes
 * and is not done here is refused by name: other normalizers, dropout, sub-word prefixes. A post_processor is not run:
 * it adds tokens around a text (a BOS), which here is the caller's work; only whether it would is kept. */
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/tokenizer.h"

/* An item that is absent, null, false, "" or 0 asks for nothing. */
static bool asks_for_nothing(const cJSON *item) {
  if (!item || cJSON_IsNull(item) || cJSON_IsFalse(item)) return true;
  if (cJSON_IsString(item)) return item->valuestring[0] == '\0';
  return cJSON_IsNumber(item) && item->valuedouble == 0;
}

static sluice_status refuse_unknown_work(const char *path, const cJSON *model, struct sluice_error *err) {
  static const char *const keys[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", NULL};
  for (size_t i = 0; keys[i]; i++)
    if (!asks_for_nothing(cJSON_GetObjectItemCaseSensitive(model, keys[i])))
      return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: model.%s is set, which is not done here", path, keys[i]);
  return SLUICE_OK;
}

/* `list` and `name` say which id it is in messages. */
static sluice_status read_id(const char *path, const char *list, const char *name, const cJSON *item, int32_t *id,
                             struct sluice_error *err) {
  if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble != (double)item->valueint)
    return sluice_fail(err, cJSON_IsNumber(item) && item->valuedouble > INT_MAX ? SLUICE_LIMIT : SLUICE_INPUT,
                       "%s: %s \"%.80s\": the id is not a whole number from 0 to %d", path, list, name,
                       (int)TOKENIZER_MAX_IDS - 1);
  if (item->valueint >= TOKENIZER_MAX_IDS)
    return sluice_fail(err, SLUICE_LIMIT, "%s: %s \"%.80s\": id %d is past the bound of %d", path, list, name,
                       item->valueint, (int)TOKENIZER_MAX_IDS);
  *id = item->valueint;
  return SLUICE_OK;
}

/* An added token's text, for messages too: "" when there is none. */
static const char *content_of(const cJSON *item) {
  const cJSON *content = cJSON_GetObjectItemCaseSensitive(item, "content");
  return cJSON_IsString(content) ? content->valuestring : "";
}

static sluice_status read_added_id(const char *path, const cJSON *item, int32_t *id, struct sluice_error *err) {
  return read_id(path, "added_tokens", content_of(item), cJSON_GetObjectItemCaseSensitive(item, "id"), id, err);
}

/* First pass: how many ids there are. */
static sluice_status find_size(struct tokenizer *t, const char *path, const cJSON *vocab, const cJSON *added,
                               struct sluice_error *err) {
  const cJSON *item;
  int32_t id = 0, largest = -1;
  sluice_status st;
  cJSON_ArrayForEach(item, vocab) {
    if ((st = read_id(path, "model.vocab", item->string, item, &id, err))) return st;
    if (id > largest) largest = id;
  }
  cJSON_ArrayForEach(item, added) {
    if ((st = read_added_id(path, item, &id, err))) return st;
    if (id > largest) largest = id;
  }
  if (largest < 0) return sluice_fail(err, SLUICE_INPUT, "%s: model.vocab is empty", path);
  return vocabulary_begin(t, path, largest + 1, (size_t)cJSON_GetArraySize(added), err);
}

/* Whether the vocabulary's spelling of an id that is also an added token means that token: as it stands, or printable.
 */
static bool same_token(const struct tokenizer *t, int32_t id, const char *spelling, struct slice raw) {
  struct token_text text = t->texts[id];
  struct slice token = {t->pool.ptr + text.start, text.len};
  return slice_equal(token, slice_of(spelling)) || slice_equal(token, raw);
}

/* <0x41>: found by its byte alone, so that it is no other spelling of "A". */
static sluice_status load_byte(struct tokenizer *t, int byte, int32_t id, struct sluice_error *err) {
  const char raw = (char)byte;
  t->byte_id[byte] = id;
  t->texts[id] = (struct token_text){(uint32_t)t->pool.len, 1};
  return buffer_append(&t->pool, &raw, 1, err);
}

static sluice_status load_token(struct tokenizer *t, const char *path, const cJSON *item, struct sluice_error *err) {
  int32_t id = 0;
  sluice_status st = read_id(path, "model.vocab", item->string, item, &id, err);
  if (st) return st;
  size_t start = t->pool.len, len = strlen(item->string);
  bool mapped;
  const int byte = t->byte_fallback ? vocabulary_byte(item->string, len) : -1;
  if (byte >= 0) return load_byte(t, byte, id, err);
  st = vocabulary_decode(t, item->string, len, &t->pool, &mapped, err);
  if (!st && !mapped) st = buffer_append(&t->pool, item->string, len, err); /* an added token, as it stands */
  if (st || t->pool.len == start) return st;
  struct slice raw = {t->pool.ptr + start, t->pool.len - start};
  int32_t added = bytes_map_get(t, &t->added_by_bytes, raw.ptr, raw.len);
  if (added >= 0 && added != id && slice_is(raw, item->string))
    return sluice_fail(err, SLUICE_INPUT, "%s: \"%.80s\" has id %d in model.vocab and id %d in added_tokens", path,
                       item->string, id, added);
  if (t->texts[id].len == 0) {
    t->texts[id] = (struct token_text){(uint32_t)start, (uint32_t)raw.len};
  } else {
    if (!same_token(t, id, item->string, raw))
      return sluice_fail(err, SLUICE_INPUT, "%s: model.vocab: id %d is given twice, again to \"%.80s\"", path, id,
                         item->string);
    /* Gemma's runs of U+2581 are added tokens too: looked for as they are spelled, they stand for spaces. */
    if (t->kind == VOCABULARY_MERGES && !slice_is(raw, item->string))
      t->texts[id] = (struct token_text){(uint32_t)start, (uint32_t)raw.len};
    else
      t->pool.len = start;
  }
  if (mapped) bytes_map_put(t, &t->by_bytes, id); /* no text and no merge ever spells the others */
  return SLUICE_OK;
}

static sluice_status load_vocab(struct tokenizer *t, const char *path, const cJSON *vocab, struct sluice_error *err) {
  const cJSON *item;
  cJSON_ArrayForEach(item, vocab) {
    sluice_status st = load_token(t, path, item, err);
    if (st) return st;
  }
  return vocabulary_bytes(t, path, err);
}

/* Both spellings: "a b" and ["a", "b"]. */
static bool merge_halves(const cJSON *item, struct slice *left, struct slice *right) {
  if (cJSON_IsString(item)) {
    const char *space = strchr(item->valuestring, ' ');
    if (!space || strchr(space + 1, ' ')) return false;
    *left = (struct slice){item->valuestring, (size_t)(space - item->valuestring)};
    *right = slice_of(space + 1);
  } else {
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2) return false;
    const cJSON *a = item->child, *b = a->next;
    if (!cJSON_IsString(a) || !cJSON_IsString(b)) return false;
    *left = slice_of(a->valuestring);
    *right = slice_of(b->valuestring);
  }
  return left->len > 0 && right->len > 0;
}

static sluice_status load_merge(struct tokenizer *t, const char *path, const cJSON *item, int32_t rank,
                                struct buffer *raw, struct sluice_error *err) {
  struct slice half[2];
  if (!merge_halves(item, &half[0], &half[1]))
    return sluice_fail(err, SLUICE_INPUT, "%s: model.merges[%d]: neither \"a b\" nor [\"a\", \"b\"]", path, rank);
  return vocabulary_merge(t, path, "model.merges", half[0], half[1], rank, raw, err);
}

static sluice_status load_merges(struct tokenizer *t, const char *path, const cJSON *merges, struct sluice_error *err) {
  sluice_status st = merge_map_init(&t->merges, (size_t)cJSON_GetArraySize(merges), err);
  struct buffer raw;
  buffer_init(&raw, TOKENIZER_MAX_FILE);
  const cJSON *item;
  int32_t rank = 0;
  if (!st) {
    cJSON_ArrayForEach(item, merges) {
      if ((st = load_merge(t, path, item, rank++, &raw, err))) break;
    }
  }
  buffer_free(&raw);
  return st;
}

static bool is_true(const cJSON *item, const char *key) {
  return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, key));
}

static sluice_status read_added(struct tokenizer *t, const char *path, const cJSON *item, size_t index,
                                struct sluice_error *err) {
  const char *text = content_of(item);
  if (!text[0])
    return sluice_fail(err, SLUICE_INPUT, "%s: added_tokens[%zu].content is not a text of at least one byte", path,
                       index);
  size_t len = strlen(text);
  int32_t id = 0;
  sluice_status st = read_added_id(path, item, &id, err);
  if (st) return st;
  int32_t other = bytes_map_get(t, &t->added_by_bytes, text, len);
  if (other >= 0 && other != id)
    return sluice_fail(err, SLUICE_INPUT, "%s: added_tokens[%zu]: \"%.80s\" has id %d here and id %d before", path,
                       index, text, id, other);
  if (other < 0) {
    if (t->texts[id].len)
      return sluice_fail(err, SLUICE_INPUT, "%s: added_tokens[%zu]: id %d is already another token than \"%.80s\"",
                         path, index, id, text);
    t->texts[id] = (struct token_text){(uint32_t)t->pool.len, (uint32_t)len};
    if ((st = buffer_append(&t->pool, text, len, err))) return st;
    bytes_map_put(t, &t->added_by_bytes, id);
  }
  const struct added_token token = {.id = id,
                                    .special = is_true(item, "special"),
                                    .normalized = is_true(item, "normalized"),
                                    .lstrip = is_true(item, "lstrip"),
                                    .rstrip = is_true(item, "rstrip"),
                                    .single_word = is_true(item, "single_word")};
  t->special[id] = t->special[id] || token.special;
  return other < 0 ? vocabulary_add(t, token, err) : SLUICE_OK;
}

static sluice_status load_added(struct tokenizer *t, const char *path, const cJSON *added, struct sluice_error *err) {
  const cJSON *item;
  size_t index = 0;
  cJSON_ArrayForEach(item, added) {
    sluice_status st = read_added(t, path, item, index++, err);
    if (st) return st;
  }
  return vocabulary_sort_added(t, path, err);
}

static sluice_status load_unknown(struct tokenizer *t, const char *path, const cJSON *model, struct sluice_error *err) {
  const cJSON *unk = cJSON_GetObjectItemCaseSensitive(model, "unk_token");
  if (asks_for_nothing(unk)) return SLUICE_OK;
  if (cJSON_IsString(unk)) t->unknown = tokenizer_find(t, unk->valuestring);
  if (t->unknown >= 0) return SLUICE_OK;
  return sluice_fail(err, SLUICE_INPUT, "%s: model.unk_token is not in model.vocab", path);
}

/* ByteLevel changes nothing but offsets, and a template of the text alone nothing at all; what is not known may add
 * tokens. */
static bool step_adds_tokens(const cJSON *step) {
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(step, "type"), *part;
  if (!cJSON_IsString(type)) return true;
  if (strcmp(type->valuestring, "ByteLevel") == 0) return false;
  if (strcmp(type->valuestring, "TemplateProcessing") != 0) return true;
  cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(step, "single")) {
    if (cJSON_GetObjectItemCaseSensitive(part, "SpecialToken")) return true;
  }
  return false;
}

static bool adds_tokens(const cJSON *post) {
  const cJSON *steps = cJSON_GetObjectItemCaseSensitive(post, "processors"), *step;
  if (!cJSON_IsArray(steps)) return step_adds_tokens(post);
  cJSON_ArrayForEach(step, steps) {
    if (step_adds_tokens(step)) return true;
  }
  return false;
}

sluice_status tokenizer_load(struct tokenizer *t, const char *path, const struct cJSON *root,
                             struct sluice_error *err) {
  buffer_init(&t->pool, TOKENIZER_MAX_FILE);
  if (!cJSON_IsObject(root)) return sluice_fail(err, SLUICE_INPUT, "%s: not a JSON object", path);
  const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
  if (!cJSON_IsObject(model)) return sluice_fail(err, SLUICE_INPUT, "%s: no object \"model\"", path);
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(model, "type"); /* older files leave it out */
  if (type && (!cJSON_IsString(type) || strcmp(type->valuestring, "BPE") != 0))
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: model.type is \"%s\"; only \"BPE\" is done here", path,
                       cJSON_IsString(type) ? type->valuestring : "?");
  const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(model, "vocab");
  const cJSON *merges = cJSON_GetObjectItemCaseSensitive(model, "merges");
  const cJSON *added = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
  if (!cJSON_IsObject(vocab)) return sluice_fail(err, SLUICE_INPUT, "%s: no object \"model.vocab\"", path);
  if (!cJSON_IsArray(merges)) return sluice_fail(err, SLUICE_INPUT, "%s: no array \"model.merges\"", path);
  if (added && !cJSON_IsNull(added) && !cJSON_IsArray(added))
    return sluice_fail(err, SLUICE_INPUT, "%s: \"added_tokens\" is not an array", path);
  if (!cJSON_IsArray(added)) added = NULL;
  const cJSON *post = cJSON_GetObjectItemCaseSensitive(root, "post_processor");
  t->wants_bos = !cJSON_IsObject(post) || adds_tokens(post);
  t->ignore_merges = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(model, "ignore_merges"));
  t->fuse_unknown = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(model, "fuse_unk"));
  sluice_status st = refuse_unknown_work(path, model, err);
  if (!st) st = normalizer_load(t, path, root, err);
  if (!st && t->form) st = nfc_open(t->form, &t->nfc, err);
  if (!st) st = pre_tokenizer_load(t, path, root, err);
  t->byte_fallback = t->kind == VOCABULARY_MERGES && is_true(model, "byte_fallback");
  if (!st) st = find_size(t, path, vocab, added, err);
  if (!st) st = load_added(t, path, added, err);
  if (!st) st = load_vocab(t, path, vocab, err);
  if (!st) st = load_unknown(t, path, model, err);
  if (!st) st = load_merges(t, path, merges, err);
  return st;
}
