/* The tokenizer of a Hugging Face folder: tokenizer.json, tokenizer.model, vocab.json with merges.txt, or tekken.json,
 * whichever is there first. Its own file may not name all added tokens: those that only tokenizer_config.json
 * (added_tokens_decoder) or added_tokens.json has are added as transformers adds them. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lfs_pointer.h"
#include "engine/model/gguf.h"
#include "engine/tokenizer/compose.h"

enum { EXTRAS_MAX = 1 << 16 };

struct extras {
  struct extra_token *tokens; /* contents lie in config and added */
  size_t n;
  struct cJSON *config, *added, *map; /* tokenizer_config.json, added_tokens.json, special_tokens_map.json, or NULL */
};

static bool is_true(const cJSON *item, const char *key) {
  return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, key));
}

static sluice_status put_extra(struct extras *e, const char *path, struct extra_token token, struct sluice_error *err) {
  for (size_t i = 0; i < e->n; i++)
    if (e->tokens[i].id == token.id || strcmp(e->tokens[i].content, token.content) == 0) return SLUICE_OK;
  if (e->n == EXTRAS_MAX) return sluice_fail(err, SLUICE_LIMIT, "%s: more than %d added tokens", path, (int)EXTRAS_MAX);
  struct extra_token *grown = e->n % 64 ? e->tokens : realloc(e->tokens, (e->n + 64) * sizeof *grown);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  e->tokens = grown;
  e->tokens[e->n++] = token;
  return SLUICE_OK;
}

/* {"32000": {"content": "<|im_end|>", "special": true, ...}, ...} */
static sluice_status read_decoder(struct extras *e, const char *path, struct sluice_error *err) {
  const cJSON *item;
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(e->config, "added_tokens_decoder")) {
    const char *content = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));
    char *end = NULL;
    const long id = strtol(item->string, &end, 10);
    if (end == item->string || *end || id < 0 || id >= TOKENIZER_MAX_IDS || !content || !content[0])
      return sluice_fail(err, SLUICE_INPUT,
                         "%s: added_tokens_decoder.%.40s: an id of 0 to %d and an object with a content are needed",
                         path, item->string, (int)TOKENIZER_MAX_IDS - 1);
    const struct extra_token token = {.id = (int32_t)id,
                                      .content = content,
                                      .special = is_true(item, "special"),
                                      .normalized = is_true(item, "normalized"),
                                      .lstrip = is_true(item, "lstrip"),
                                      .rstrip = is_true(item, "rstrip"),
                                      .single_word = is_true(item, "single_word")};
    const sluice_status st = put_extra(e, path, token, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

/* {"<|im_end|>": 32000, ...}: older folders, beside tokenizer.model. transformers takes them for special ones. */
static sluice_status read_added(struct extras *e, const char *path, struct sluice_error *err) {
  const cJSON *item;
  cJSON_ArrayForEach(item, e->added) {
    const bool whole = cJSON_IsNumber(item) && item->valuedouble == (double)item->valueint;
    if (!whole || item->valueint < 0 || item->valueint >= TOKENIZER_MAX_IDS || !item->string[0])
      return sluice_fail(err, SLUICE_INPUT, "%s: \"%.80s\": an id of 0 to %d is needed", path, item->string,
                         (int)TOKENIZER_MAX_IDS - 1);
    const struct extra_token token = {.id = item->valueint, .content = item->string, .special = true};
    const sluice_status st = put_extra(e, path, token, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

static sluice_status read_nothing(struct extras *e, const char *path, struct sluice_error *err) {
  (void)e, (void)path, (void)err;
  return SLUICE_OK;
}

static sluice_status read_beside(struct extras *e, const char *dir, const char *name, cJSON **json,
                                 sluice_status (*read)(struct extras *e, const char *path, struct sluice_error *err),
                                 struct sluice_error *err) {
  char *path = sluice_format("%s/%s", dir, name);
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", dir);
  sluice_status st = SLUICE_OK;
  if (file_exists(path)) st = json_read_file(path, false, json, err);
  if (!st && *json) st = read(e, path, err);
  free(path);
  return st;
}

static void extras_free(struct extras *e) {
  free(e->tokens);
  cJSON_Delete(e->config);
  cJSON_Delete(e->added);
  cJSON_Delete(e->map);
}

/* ---- tokenizer.json -----------------------------------------------------------------------------------------------
 */

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Contents of the file's own added tokens, in order. Caller frees. */
static const char **own_contents(const cJSON *added, size_t *n) {
  const cJSON *item;
  const char **own = malloc(((size_t)cJSON_GetArraySize(added) + 1) * sizeof *own);
  *n = 0;
  if (!own) return NULL;
  cJSON_ArrayForEach(item, added) {
    const char *content = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "content"));
    if (content) own[(*n)++] = content;
  }
  qsort(own, *n, sizeof *own, by_text);
  return own;
}

/* The id that a missing token gets: that of the vocabulary's word, else its own, if nothing else has it. */
static int32_t id_of(const cJSON *root, const struct extra_token *token) {
  const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "model"), "vocab"),
              *item;
  int32_t id = token->id;
  cJSON_ArrayForEach(item, vocab) {
    if (strcmp(item->string, token->content) == 0) return cJSON_IsNumber(item) ? item->valueint : -1;
    if (cJSON_IsNumber(item) && item->valueint == token->id) id = -1;
  }
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "added_tokens")) {
    const cJSON *taken = cJSON_GetObjectItemCaseSensitive(item, "id");
    if (cJSON_IsNumber(taken) && taken->valueint == token->id) id = -1;
  }
  return id;
}

static bool append_token(cJSON *added, const struct extra_token *token, int32_t id) {
  cJSON *item = cJSON_CreateObject();
  const bool whole =
      item && cJSON_AddNumberToObject(item, "id", id) && cJSON_AddStringToObject(item, "content", token->content) &&
      cJSON_AddBoolToObject(item, "special", token->special) &&
      cJSON_AddBoolToObject(item, "normalized", token->normalized) &&
      cJSON_AddBoolToObject(item, "lstrip", token->lstrip) && cJSON_AddBoolToObject(item, "rstrip", token->rstrip) &&
      cJSON_AddBoolToObject(item, "single_word", token->single_word);
  if (!whole || !cJSON_AddItemToArray(added, item)) {
    cJSON_Delete(item);
    return false;
  }
  return true;
}

/* Appends what is missing to the file's own list. *hash becomes one of both, where there was something. */
static sluice_status add_missing(cJSON *root, const char *path, const struct extras *e, struct sha256_stream *hash,
                                 bool *any, struct sluice_error *err) {
  cJSON *added = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
  if (e->n == 0 || !cJSON_IsObject(root)) return SLUICE_OK;
  if (!cJSON_IsArray(added)) {
    cJSON_DeleteItemFromObjectCaseSensitive(root, "added_tokens");
    added = cJSON_AddArrayToObject(root, "added_tokens");
  }
  size_t n_own = 0;
  const char **own = added ? own_contents(added, &n_own) : NULL;
  if (!own) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for added tokens", path);
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; i < e->n && !st; i++) {
    if (bsearch(&e->tokens[i].content, own, n_own, sizeof *own, by_text)) continue;
    const int32_t id = id_of(root, &e->tokens[i]);
    if (id < 0) continue; /* another token has it; transformers would give it a new one, that no model knows */
    if (!append_token(added, &e->tokens[i], id)) st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
    sha256_add(hash, e->tokens[i].content, strlen(e->tokens[i].content) + 1);
    sha256_add(hash, &e->tokens[i].special, sizeof e->tokens[i].special);
    *any = true;
  }
  free(own);
  return st;
}

/* Takes root over. digest: of the files' bytes. */
static sluice_status load_root(struct tokenizer *t, const char *path, cJSON *root, const struct extras *e,
                               const unsigned char digest[SHA256_BYTES], struct sluice_error *err) {
  unsigned char both[SHA256_BYTES];
  bool any = false;
  struct sha256_stream *s = sha256_begin();
  sluice_status st = SLUICE_OK;
  if (!s) {
    st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  } else {
    sha256_add(s, digest, SHA256_BYTES);
    st = add_missing(root, path, e, s, &any, err);
    sha256_end(s, both);
    hex_of(any ? both : digest, SHA256_BYTES, t->hash);
  }
  if (!st) st = tokenizer_load(t, path, root, err);
  cJSON_Delete(root);
  return st;
}

static sluice_status parse_json(struct tokenizer *t, const char *path, struct slice bytes, const struct extras *e,
                                struct sluice_error *err) {
  struct cJSON *root = NULL;
  unsigned char digest[SHA256_BYTES];
  sha256(bytes.ptr, bytes.len, digest);
  sluice_status st = json_parse(path, bytes.ptr, bytes.len, false, &root, err);
  return st ? st : load_root(t, path, root, e, digest, err);
}

static sluice_status parse_tekken(struct tokenizer *t, const char *path, struct slice bytes, const struct extras *e,
                                  struct sluice_error *err) {
  struct cJSON *file = NULL, *root = NULL;
  unsigned char digest[SHA256_BYTES];
  sha256(bytes.ptr, bytes.len, digest);
  sluice_status st = json_parse(path, bytes.ptr, bytes.len, false, &file, err);
  if (!st) st = compose_tekken(path, file, &root, err);
  cJSON_Delete(file);
  if (!st) st = load_root(t, path, root, e, digest, err);
  return st ? st : merges_from_ranks(t, err);
}

/* ---- tokenizer.model ----------------------------------------------------------------------------------------------
 */

/* Llama 3's original files have that name too, and are lists of "base64 rank". */
static bool is_tiktoken(struct slice bytes) {
  const size_t word = strcspn(bytes.ptr, " \n"); /* file_read ends it with a 0 */
  return bytes.len > 8 && word > 0 && word < 64 && bytes.ptr[word] == ' ' && strchr("0123456789", bytes.ptr[word + 1]);
}

/* What tokenizer_config.json says of text: whether a BOS stands in front, and where spaces are put. */
static void follow_config(struct tokenizer *t, const cJSON *config) {
  if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(config, "add_bos_token"))) t->wants_bos = false;
  if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(config, "add_prefix_space"))) t->dummy = DUMMY_NONE;
  const bool behind_specials = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(config, "legacy"));
  if (t->dummy == DUMMY_EVERY && !behind_specials) t->dummy = DUMMY_FIRST;
}

static sluice_status parse_model(struct tokenizer *t, const char *path, struct slice bytes, const struct extras *e,
                                 struct sluice_error *err) {
  unsigned char digest[SHA256_BYTES];
  if (is_tiktoken(bytes))
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: a list of base64 words and ranks (tiktoken) is not read; take the folder's tokenizer.json",
                       path);
  sluice_status st = sentencepiece_load(t, path, bytes, e->tokens, e->n, err);
  struct sha256_stream *s = st ? NULL : sha256_begin();
  if (st) return st;
  if (!s) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  follow_config(t, e->config);
  const int settings[] = {(int)t->dummy, t->wants_bos};
  sha256_add(s, bytes.ptr, bytes.len);
  sha256_add(s, settings, sizeof settings);
  for (size_t i = 0; i < e->n; i++) {
    sha256_add(s, &e->tokens[i].id, sizeof e->tokens[i].id);
    sha256_add(s, e->tokens[i].content, strlen(e->tokens[i].content) + 1);
    sha256_add(s, &e->tokens[i].special, sizeof e->tokens[i].special);
  }
  sha256_end(s, digest);
  hex_of(digest, sizeof digest, t->hash);
  return SLUICE_OK;
}

/* ---- vocab.json and merges.txt --------------------------------------------------------------------------------------
 */

/* Special tokens that are only named ("eos_token": "<|endoftext|>") stand in the vocabulary; one that does not is none.
 */
static sluice_status name_special(struct extras *e, const char *path, const cJSON *vocab, const cJSON *item,
                                  struct sluice_error *err) {
  const cJSON *content = cJSON_IsObject(item) ? cJSON_GetObjectItemCaseSensitive(item, "content") : item;
  const char *text = cJSON_GetStringValue(content);
  const cJSON *id = text ? cJSON_GetObjectItemCaseSensitive(vocab, text) : NULL;
  if (!cJSON_IsNumber(id) || !*text) return SLUICE_OK;
  return put_extra(e, path, (struct extra_token){.id = id->valueint, .content = text, .special = true}, err);
}

static sluice_status name_specials(struct extras *e, const char *path, const cJSON *vocab, const cJSON *from,
                                   struct sluice_error *err) {
  static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
  sluice_status st = SLUICE_OK;
  const cJSON *item;
  for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++)
    st = name_special(e, path, vocab, cJSON_GetObjectItemCaseSensitive(from, keys[i]), err);
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(from, "additional_special_tokens")) {
    if (!st) st = name_special(e, path, vocab, item, err);
  }
  return st;
}

/* By tokenizer_config.json's class, else by config.json's model_type. */
static sluice_status find_class(const char *dir, const struct extras *e, const struct pre_tokenizer_name **out,
                                struct sluice_error *err) {
  cJSON *config = NULL;
  const char *key = "tokenizer_config.json: tokenizer_class",
             *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e->config, "tokenizer_class"));
  char choices[160];
  *out = NULL;
  if (!name) {
    char *path = sluice_format("%s/config.json", dir);
    if (!path) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", dir);
    sluice_status st = file_exists(path) ? json_read_file(path, false, &config, err) : SLUICE_OK;
    free(path);
    if (st) return st;
    key = "config.json: model_type";
    name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "model_type"));
  }
  if (name) *out = compose_class(name);
  compose_class_choices(choices, sizeof choices);
  sluice_status st = SLUICE_OK;
  if (!*out)
    st = sluice_fail(
        err, SLUICE_UNSUPPORTED,
        "%s/%s: %s%.80s%s; known are %s: take one of these classes if it splits alike, or the model's tokenizer.json",
        dir, key, name ? "\"" : "", name ? name : "there is none",
        name ? "\" splits text in a way that is not known here" : "", choices);
  cJSON_Delete(config);
  return st;
}

/* Takes *vocab over, also where it fails. */
static sluice_status compose_beside(const char *dir, struct slice bytes, cJSON **vocab, const struct extras *e,
                                    unsigned char digest[SHA256_BYTES], cJSON **root, struct sluice_error *err) {
  const struct pre_tokenizer_name *splits = NULL;
  struct slice merges = {0};
  char *text = NULL, *path = sluice_format("%s/merges.txt", dir);
  struct sha256_stream *hash = sha256_begin();
  const bool adds_bos = is_true(e->config, "add_bos_token");
  sluice_status st = path && hash ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", dir);
  if (!st && is_true(e->config, "add_prefix_space"))
    st = sluice_fail(err, SLUICE_UNSUPPORTED,
                     "%s/tokenizer_config.json: add_prefix_space: text is never given a space that it does not have",
                     dir);
  if (!st) st = find_class(dir, e, &splits, err);
  if (!st) st = file_read(path, TOKENIZER_MAX_FILE, &text, &merges.len, err);
  merges.ptr = text;
  if (!st) {
    sha256_add(hash, bytes.ptr, bytes.len);
    sha256_add(hash, merges.ptr, merges.len);
    sha256_add(hash, splits->name, strlen(splits->name));
    sha256_add(hash, &adds_bos, sizeof adds_bos);
    st = compose_merges(vocab, path, merges, splits, adds_bos, root, err);
  }
  if (hash) sha256_end(hash, digest);
  cJSON_Delete(*vocab);
  free(text);
  free(path);
  return st;
}

static sluice_status parse_vocab(struct tokenizer *t, const char *path, struct slice bytes, const struct extras *e,
                                 struct sluice_error *err) {
  static const char default_end[] = "<|endoftext|>";        /* of all these classes */
  struct extras all = {.config = e->config, .map = e->map}; /* with those that are only named */
  struct cJSON *vocab = NULL, *root = NULL, *end = NULL;
  unsigned char digest[SHA256_BYTES];
  char *dir = sluice_strndup(path, strlen(path) - strlen("/vocab.json"));
  sluice_status st = dir ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  for (size_t i = 0; !st && i < e->n; i++) st = put_extra(&all, path, e->tokens[i], err);
  if (!st) st = json_parse(path, bytes.ptr, bytes.len, false, &vocab, err);
  if (!st && !cJSON_IsObject(vocab)) st = sluice_fail(err, SLUICE_INPUT, "%s: not a JSON object", path);
  if (!st) st = name_specials(&all, path, vocab, e->config, err);
  if (!st) st = name_specials(&all, path, vocab, e->map, err);
  if (!st && !(end = cJSON_CreateString(default_end))) st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  if (!st) st = name_special(&all, path, vocab, end, err);
  if (st)
    cJSON_Delete(vocab);
  else
    st = compose_beside(dir, bytes, &vocab, e, digest, &root, err);
  char *both = sluice_format("%s and merges.txt", path);
  if (!st) st = load_root(t, both ? both : path, root, &all, digest, err);
  free(both);
  free(all.tokens);
  cJSON_Delete(end);
  free(dir);
  return st;
}

/* ---- opening ------------------------------------------------------------------------------------------------------
 */

static bool ends_in(const char *path, const char *ending) {
  const size_t n = strlen(path), k = strlen(ending);
  return n >= k && strcmp(path + n - k, ending) == 0;
}

static sluice_status open_file(const char *path, const struct extras *e, struct tokenizer **out,
                               struct sluice_error *err) {
  char *bytes = NULL;
  size_t len = 0;
  sluice_status st = file_read(path, TOKENIZER_MAX_FILE, &bytes, &len, err);
  if (st) return st;
  struct tokenizer *t = calloc(1, sizeof *t);
  const struct slice all = {bytes, len};
  if (!t)
    st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  else if (lfs_pointer(all))
    st = sluice_fail(err, SLUICE_INPUT, LFS_POINTER_MESSAGE, path);
  else if (ends_in(path, ".model"))
    st = parse_model(t, path, all, e, err);
  else if (ends_in(path, "/vocab.json"))
    st = parse_vocab(t, path, all, e, err);
  else if (ends_in(path, "tekken.json"))
    st = parse_tekken(t, path, all, e, err);
  else
    st = parse_json(t, path, all, e, err);
  free(bytes);
  if (st) {
    tokenizer_close(t);
    return st;
  }
  *out = t;
  return SLUICE_OK;
}

static sluice_status open_gguf(const char *path, struct tokenizer **out, struct sluice_error *err) {
  struct gguf *g;
  sluice_status st = gguf_open(path, &g, err);
  if (st) return st;
  st = tokenizer_from_gguf(g, out, err);
  if (!st && !*out) st = sluice_fail(err, SLUICE_INPUT, "%s: the file has no vocabulary", path);
  gguf_close(g);
  return st;
}

sluice_status tokenizer_open(const char *path, struct tokenizer **out, struct sluice_error *err) {
  static const struct extras none = {0};
  return gguf_is(path) ? open_gguf(path, out, err) : open_file(path, &none, out, err);
}

sluice_status tokenizer_open_folder(const char *dir, struct tokenizer **out, struct sluice_error *err) {
  static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"};
  struct extras e = {0};
  sluice_status st = SLUICE_OK;
  *out = NULL;
  for (size_t i = 0; !st && !*out && i < sizeof names / sizeof *names; i++) {
    char *path = sluice_format("%s/%s", dir, names[i]);
    if (!path) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", dir);
    if (file_exists(path)) {
      st = read_beside(&e, dir, "tokenizer_config.json", &e.config, read_decoder, err);
      if (!st && i > 0) st = read_beside(&e, dir, "added_tokens.json", &e.added, read_added, err);
      if (!st && i > 1) st = read_beside(&e, dir, "special_tokens_map.json", &e.map, read_nothing, err);
      if (!st) st = open_file(path, &e, out, err);
    }
    free(path);
  }
  extras_free(&e);
  return st;
}
