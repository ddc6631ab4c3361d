/* engine/tokenizer: vocabularies of other files in the form of a tokenizer.json, which load.c then reads. Private to
 * engine/tokenizer. */
#ifndef SLUICE_ENGINE_TOKENIZER_COMPOSE_H
#define SLUICE_ENGINE_TOKENIZER_COMPOSE_H

#include "engine/tokenizer/tokenizer.h"

/* How a class of transformers' tokenizers splits what vocab.json and merges.txt then spell; NULL: not known. `name` is
 * tokenizer_config.json's tokenizer_class, with or without "Fast", or config.json's model_type. */
const struct pre_tokenizer_name *compose_class(const char *name);
void compose_class_choices(char *out, size_t cap); /* "GPT2Tokenizer, ..." for messages */

/* vocab.json (taken over: *vocab is NULL then) and the bytes of merges.txt. `path` is merges.txt's, for messages.
 * Caller deletes *out. */
sluice_status compose_merges(struct cJSON **vocab, const char *path, struct slice merges,
                             const struct pre_tokenizer_name *splits, bool adds_bos, struct cJSON **out,
                             struct sluice_error *err);

/* What both begin with: an empty list of added tokens, the splits, an empty model. False: out of memory. */
bool compose_begin(struct cJSON *root, const char *const *patterns, size_t n);

/* tekken.json (mistral-common): a tokenizer.json without merges, since there every two tokens whose bytes together are
 * a token merge, the lowest id first: merges_from_ranks adds these once the vocabulary is loaded. Caller deletes *out.
 */
sluice_status compose_tekken(const char *path, const struct cJSON *tekken, struct cJSON **out,
                             struct sluice_error *err);
sluice_status merges_from_ranks(struct tokenizer *t, struct sluice_error *err);

#endif
