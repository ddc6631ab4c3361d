/* tokenizer.json (the Hugging Face tokenizers library, version "1.0") into tables. What would change ids or lose bytes
 * and is not done here is refused by name: a normalizer, dropout, sub-word prefixes, byte fallback, stripping added
 * tokens. A post_processor is not run: it adds tokens around a text (a BOS), which here is the caller's work; only
 * whether it would is kept. */
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

/* An item that is absent, null, false, "" or 0 asks for nothing. */
static bool asks_for_nothing(const cJSON *item) {
  if (!item || cJSON_IsNull(item) || cJSON_IsFalse(item)) return true;
  if (cJSON_IsString(item)) return item->valuestring[0] == '\0';
  return cJSON_IsNumber(item) && item->valuedouble == 0;
}

static sluice_status refuse_unknown_work(const char *path, const cJSON *root, const cJSON *model,
                                         struct sluice_error *err) {
  static const char *const keys[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
                                     NULL};
  for (size_t i = 0; keys[i]; i++)
    if (!asks_for_nothing(cJSON_GetObjectItemCaseSensitive(model, keys[i])))
      return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: model.%s is set; only plain byte-level BPE is done here", path,
                         keys[i]);
  const cJSON *normalizer = cJSON_GetObjectItemCaseSensitive(root, "normalizer");
  if (asks_for_nothing(normalizer)) return SLUICE_OK;
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(normalizer, "type");
  const cJSON *steps = cJSON_GetObjectItemCaseSensitive(normalizer, "normalizers");
  if (cJSON_IsArray(steps) && cJSON_GetArraySize(steps) == 0) return SLUICE_OK;
  return sluice_fail(err, SLUICE_UNSUPPORTED,
                     "%s: normalizer: type \"%s\" is not done here, because it would change the text; use a tokenizer "
                     "with \"normalizer\": null",
                     path, cJSON_IsString(type) ? type->valuestring : "?");
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
  t->size = largest + 1;
  t->texts = calloc((size_t)t->size, sizeof *t->texts);
  t->special = calloc((size_t)t->size, sizeof *t->special);
  if (!t->texts || !t->special) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %d ids", path, t->size);
  st = bytes_map_init(&t->by_bytes, (size_t)t->size, err);
  return st ? st : bytes_map_init(&t->added_by_bytes, (size_t)cJSON_GetArraySize(added), err);
}

/* Whether the vocabulary's spelling of an id that is also an added token means that token: as it stands, or printable.
 */
static bool same_token(const struct tokenizer *t, int32_t id, const char *spelling, struct slice raw) {
  struct token_text text = t->texts[id];
  struct slice token = {t->pool.ptr + text.start, text.len};
  return slice_equal(token, slice_of(spelling)) || slice_equal(token, raw);
}

static sluice_status load_token(struct tokenizer *t, const char *path, const cJSON *item, struct sluice_error *err) {
  int32_t id = 0;
  sluice_status st = read_id(path, "model.vocab", item->string, item, &id, err);
  if (st) return st;
  size_t start = t->pool.len, len = strlen(item->string);
  bool mapped;
  st = byte_level_decode(item->string, len, &t->pool, &mapped, err);
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
    t->pool.len = start;
  }
  bytes_map_put(t, &t->by_bytes, id);
  return SLUICE_OK;
}

static sluice_status load_vocab(struct tokenizer *t, const char *path, const cJSON *vocab, struct sluice_error *err) {
  const cJSON *item;
  cJSON_ArrayForEach(item, vocab) {
    sluice_status st = load_token(t, path, item, err);
    if (st) return st;
  }
  for (int b = 0; b < 256; b++) {
    char byte = (char)b;
    t->byte_id[b] = bytes_map_get(t, &t->by_bytes, &byte, 1);
    if (t->byte_id[b] >= 0 && t->special[t->byte_id[b]])
      return sluice_fail(err, SLUICE_INPUT, "%s: added_tokens: the byte 0x%02x is a special token", path, (unsigned)b);
  }
  return SLUICE_OK;
}

/* An id for one printable token text of the merges; -1 when the vocabulary has none. */
static sluice_status find_text(const struct tokenizer *t, const char *text, size_t len, struct buffer *raw, int32_t *id,
                               struct sluice_error *err) {
  bool mapped;
  sluice_status st = byte_level_decode(text, len, raw, &mapped, err);
  if (st) return st;
  *id = mapped ? bytes_map_get(t, &t->by_bytes, raw->ptr, raw->len) : -1;
  return SLUICE_OK;
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
  int32_t ids[2];
  for (size_t i = 0; i < 2; i++) {
    buffer_clear(raw);
    sluice_status st = find_text(t, half[i].ptr, half[i].len, raw, &ids[i], err);
    if (st) return st;
    if (ids[i] < 0)
      return sluice_fail(err, SLUICE_INPUT, "%s: model.merges[%d]: \"%.*s\" is not in model.vocab", path, rank,
                         (int)(half[i].len < 80 ? half[i].len : 80), half[i].ptr);
  }
  buffer_clear(raw);
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < 2; i++)
    st = buffer_append(raw, t->pool.ptr + t->texts[ids[i]].start, t->texts[ids[i]].len, err);
  if (st) return st;
  int32_t made = bytes_map_get(t, &t->by_bytes, raw->ptr, raw->len);
  if (made < 0)
    return sluice_fail(err, SLUICE_INPUT, "%s: model.merges[%d]: what it makes is not in model.vocab", path, rank);
  if (t->special[made]) /* else plain text could become a special token */
    return sluice_fail(err, SLUICE_INPUT, "%s: model.merges[%d]: it makes the special token with id %d", path, rank,
                       made);
  merge_map_put(&t->merges, ids[0], ids[1], rank, made);
  return SLUICE_OK;
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

static sluice_status read_added(struct tokenizer *t, const char *path, const cJSON *item, size_t index,
                                struct sluice_error *err) {
  static const char *const stripping[] = {"lstrip", "rstrip", "single_word", NULL};
  for (size_t i = 0; stripping[i]; i++)
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, stripping[i])))
      return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: added_tokens[%zu].%s: true is not done here", path, index,
                         stripping[i]);
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
  bool special = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "special"));
  t->special[id] = t->special[id] || special;
  if (other < 0) t->added[t->n_added++] = (struct added_token){id, special};
  return SLUICE_OK;
}

/* qsort hands no context to the comparison, so what it compares is copied out. */
struct added_order {
  struct added_token token;
  unsigned char first;
  uint32_t len;
};

static int compare_added(const void *a, const void *b) {
  const struct added_order *x = a, *y = b;
  if (x->first != y->first) return x->first < y->first ? -1 : 1;
  if (x->len != y->len) return x->len > y->len ? -1 : 1;
  return x->token.id < y->token.id ? -1 : x->token.id > y->token.id;
}

static sluice_status sort_added(struct tokenizer *t, const char *path, struct sluice_error *err) {
  struct added_order *order = malloc((t->n_added + 1) * sizeof *order);
  if (!order) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %zu added tokens", path, t->n_added);
  for (size_t i = 0; i < t->n_added; i++) {
    struct token_text text = t->texts[t->added[i].id];
    order[i] = (struct added_order){t->added[i], (unsigned char)t->pool.ptr[text.start], text.len};
  }
  qsort(order, t->n_added, sizeof *order, compare_added);
  size_t at = 0;
  for (unsigned b = 0; b < 256; b++) {
    t->added_from[b] = (uint32_t)at;
    for (; at < t->n_added && order[at].first == b; at++) t->added[at] = order[at].token;
  }
  t->added_from[256] = (uint32_t)t->n_added;
  free(order);
  return SLUICE_OK;
}

static sluice_status load_added(struct tokenizer *t, const char *path, const cJSON *added, struct sluice_error *err) {
  t->added = calloc((size_t)cJSON_GetArraySize(added) + 1, sizeof *t->added);
  if (!t->added) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for added tokens", path);
  const cJSON *item;
  size_t index = 0;
  cJSON_ArrayForEach(item, added) {
    sluice_status st = read_added(t, path, item, index++, err);
    if (st) return st;
  }
  return sort_added(t, path, err);
}

static sluice_status load_unknown(struct tokenizer *t, const char *path, const cJSON *model, struct sluice_error *err) {
  t->unknown = -1;
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
  sluice_status st = refuse_unknown_work(path, root, model, err);
  if (!st) st = pre_tokenizer_load(t, path, root, err);
  if (!st) st = find_size(t, path, vocab, added, err);
  if (!st) st = load_added(t, path, added, err);
  if (!st) st = load_vocab(t, path, vocab, err);
  if (!st) st = load_unknown(t, path, model, err);
  if (!st) st = load_merges(t, path, merges, err);
  return st;
}
