/* tekken.json, the vocabulary of Mistral's models since Nemo, as mistral-common reads it: `config` with the splitting
 * pattern and two sizes, `vocab` as a list of {rank, token_bytes (base64)}, and, in newer files, `special_tokens`. The
 * special tokens have the first ids, rank r of the vocabulary has id r + their number. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/compose.h"

enum { TOKEN_MAX = 1024 /* bytes; it bounds the work of finding a token's parts */ };

/* Of files that name none. */
static const char *const SPECIALS[] = {"<unk>",
                                       "<s>",
                                       "</s>",
                                       "[INST]",
                                       "[/INST]",
                                       "[AVAILABLE_TOOLS]",
                                       "[/AVAILABLE_TOOLS]",
                                       "[TOOL_RESULTS]",
                                       "[/TOOL_RESULTS]",
                                       "[TOOL_CALLS]",
                                       "[IMG]",
                                       "<pad>",
                                       "[IMG_BREAK]",
                                       "[IMG_END]",
                                       "[PREFIX]",
                                       "[MIDDLE]",
                                       "[SUFFIX]",
                                       "[SYSTEM_PROMPT]",
                                       "[/SYSTEM_PROMPT]",
                                       "[TOOL_CONTENT]"};
enum { N_SPECIALS = sizeof SPECIALS / sizeof *SPECIALS };

struct tekken {
  const char *path;
  const cJSON *root;
  int size, n_special; /* of all tokens; of the special ones, which are the first */
  const char *pattern;
};

static sluice_status read_header(struct tekken *k, struct sluice_error *err) {
  const cJSON *config = cJSON_GetObjectItemCaseSensitive(k->root, "config");
  char where[512];
  int64_t size = 0, special = 0;
  if (!cJSON_IsObject(config)) return sluice_fail(err, SLUICE_INPUT, "%s: no object \"config\"", k->path);
  snprintf(where, sizeof where, "%.400s: config", k->path);
  sluice_status st = json_string(config, where, "pattern", true, NULL, &k->pattern, err);
  if (!st) st = json_int(config, where, "default_vocab_size", true, 0, 1, TOKENIZER_MAX_IDS, &size, err);
  if (!st) st = json_int(config, where, "default_num_special_tokens", true, 0, 0, size, &special, err);
  k->size = (int)size, k->n_special = (int)special;
  return st;
}

static sluice_status add_special(const struct tekken *k, cJSON *added, int id, const char *text,
                                 struct sluice_error *err) {
  cJSON *item = cJSON_CreateObject();
  if (item && cJSON_AddNumberToObject(item, "id", id) && cJSON_AddStringToObject(item, "content", text) &&
      cJSON_AddTrueToObject(item, "special") && cJSON_AddItemToArray(added, item))
    return SLUICE_OK;
  cJSON_Delete(item);
  return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", k->path);
}

/* The list in order of rank; what is left of the special ids is named by number, as mistral-common does. */
static sluice_status add_specials(const struct tekken *k, cJSON *added, struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(k->root, "special_tokens"), *item;
  sluice_status st = SLUICE_OK;
  int n = 0;
  cJSON_ArrayForEach(item, list) {
    const cJSON *rank = cJSON_GetObjectItemCaseSensitive(item, "rank");
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "token_str"));
    if (!text || !*text || !cJSON_IsNumber(rank) || rank->valuedouble != n || n >= k->n_special)
      return sluice_fail(err, SLUICE_INPUT,
                         "%s: special_tokens[%d]: expected a token_str and rank %d, of %d that config names", k->path,
                         n, n, k->n_special);
    if ((st = add_special(k, added, n++, text, err))) return st;
  }
  for (; !st && !list && n < N_SPECIALS && n < k->n_special; n++) st = add_special(k, added, n, SPECIALS[n], err);
  for (; !st && n < k->n_special; n++) {
    char name[32];
    snprintf(name, sizeof name, "<SPECIAL_%d>", n);
    st = add_special(k, added, n, name, err);
  }
  return st;
}

static int sextet(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}

/* Base64 with its padding; false when it is none, or longer than `cap` bytes. */
static bool read_base64(const char *text, char *out, size_t cap, size_t *n) {
  const size_t len = strlen(text);
  *n = 0;
  if (len % 4 != 0 || len == 0) return false;
  const size_t padding = text[len - 1] != '=' ? 0 : text[len - 2] != '=' ? 1 : 2;
  for (size_t i = 0; i < len; i += 4) {
    const size_t last = i + 4 == len ? padding : 0;
    unsigned bits = 0;
    for (size_t k = 0; k < 4; k++) {
      const int six = k < 4 - last ? sextet(text[i + k]) : 0;
      if (six < 0) return false;
      bits = bits << 6 | (unsigned)six;
    }
    for (size_t k = 0; k < 3 - last; k++) {
      if (*n == cap) return false;
      out[(*n)++] = (char)(bits >> (16 - 8 * k));
    }
  }
  return true;
}

static sluice_status add_word(const struct tekken *k, cJSON *vocab, const cJSON *item, int index,
                              struct buffer *spelling, struct sluice_error *err) {
  const cJSON *rank = cJSON_GetObjectItemCaseSensitive(item, "rank");
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "token_bytes"));
  char bytes[TOKEN_MAX];
  size_t n = 0;
  if (!cJSON_IsNumber(rank) || rank->valuedouble != index)
    return sluice_fail(err, SLUICE_INPUT, "%s: vocab[%d].rank: expected %d", k->path, index, index);
  if (!text || !read_base64(text, bytes, sizeof bytes, &n))
    return sluice_fail(err, SLUICE_INPUT, "%s: vocab[%d].token_bytes: no base64 of 1 to %d bytes", k->path, index,
                       (int)TOKEN_MAX);
  spelling->len = 0;
  sluice_status st = byte_level_encode(bytes, n, spelling, err);
  if (!st) st = buffer_append(spelling, "", 1, err);
  if (!st && !cJSON_AddNumberToObject(vocab, spelling->ptr, index + k->n_special))
    st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", k->path);
  return st;
}

static sluice_status add_vocabulary(const struct tekken *k, cJSON *vocab, struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(k->root, "vocab"), *item;
  const int wanted = k->size - k->n_special;
  sluice_status st = SLUICE_OK;
  struct buffer spelling;
  int index = 0;
  if (!cJSON_IsArray(list)) return sluice_fail(err, SLUICE_INPUT, "%s: no array \"vocab\"", k->path);
  buffer_init(&spelling, TOKENIZER_MAX_FILE);
  cJSON_ArrayForEach(item, list) {
    if (st || index == wanted) break; /* files hold more words than a model has rows */
    st = add_word(k, vocab, item, index++, &spelling, err);
  }
  buffer_free(&spelling);
  if (!st && index < wanted)
    st = sluice_fail(err, SLUICE_INPUT, "%s: vocab: %d words, and config's sizes ask for %d; the file is cut short",
                     k->path, index, wanted);
  return st;
}

sluice_status compose_tekken(const char *path, const struct cJSON *tekken, struct cJSON **out,
                             struct sluice_error *err) {
  struct tekken k = {.path = path, .root = tekken};
  if (!cJSON_IsObject(tekken)) return sluice_fail(err, SLUICE_INPUT, "%s: not a JSON object", path);
  sluice_status st = read_header(&k, err);
  if (st) return st;
  cJSON *root = cJSON_CreateObject();
  const bool begun = root && compose_begin(root, &k.pattern, 1);
  cJSON *model = begun ? cJSON_GetObjectItemCaseSensitive(root, "model") : NULL,
        *vocab = model ? cJSON_AddObjectToObject(model, "vocab") : NULL;
  if (!vocab || !cJSON_AddArrayToObject(model, "merges") || !cJSON_AddTrueToObject(model, "ignore_merges"))
    st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  if (!st) st = add_specials(&k, cJSON_GetObjectItemCaseSensitive(root, "added_tokens"), err);
  if (!st) st = add_vocabulary(&k, vocab, err);
  if (st) {
    cJSON_Delete(root);
    return st;
  }
  *out = root;
  return SLUICE_OK;
}

/* Calls of merge_map_put: 0 counts them alone. */
static size_t walk_splits(struct tokenizer *t, bool put) {
  size_t n = 0;
  for (int32_t id = 0; id < t->size; id++) {
    const char *bytes = t->pool.ptr + t->texts[id].start;
    const size_t len = t->texts[id].len;
    if (len < 2 || bytes_map_get(t, &t->by_bytes, bytes, len) != id) continue;
    for (size_t cut = 1; cut < len; cut++) {
      const int32_t left = bytes_map_get(t, &t->by_bytes, bytes, cut);
      const int32_t right = left < 0 ? -1 : bytes_map_get(t, &t->by_bytes, bytes + cut, len - cut);
      if (right < 0) continue;
      n++;
      if (put) merge_map_put(&t->merges, left, right, id, id);
    }
  }
  return n;
}

sluice_status merges_from_ranks(struct tokenizer *t, struct sluice_error *err) {
  free(t->merges.slots);
  t->merges.slots = NULL;
  sluice_status st = merge_map_init(&t->merges, walk_splits(t, false), err);
  if (!st) walk_splits(t, true);
  return st;
}
