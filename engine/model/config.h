/* engine/model: config.json. Private to engine/. */
#ifndef SLUICE_ENGINE_MODEL_CONFIG_H
#define SLUICE_ENGINE_MODEL_CONFIG_H

#include "engine/engine.h"

/* Reads a Hugging Face config.json of a family in family.c, as transformers 4 and 5 write it; a key that is left out
 * means that family's default. What the engine does not do (another activation, other ways to stretch RoPE than linear,
 * llama3, dynamic and yarn, quantised weights) is refused by the key's name. Keys that do not change the computation
 * are ignored. */
sluice_status model_config_read(const char *path, struct model_config *out, struct sluice_error *err);
/* eos_token_id of generation_config.json, where a chat model's ends stand that its config.json does not have. */
sluice_status model_config_read_generation(const char *path, struct model_config *c, struct sluice_error *err);
/* What a rotation asks of its numbers once theta and rotary_dims are known; a text may be as long as YaRN stretches it.
 */
sluice_status model_config_check_rope(const char *path, struct model_config *c, struct sluice_error *err);
/* One more end. False: there are ENDS_MAX. */
bool model_config_ends(struct model_config *c, int64_t id);
/* The same from the open GGUF files of *m into m->config and m->fused_qkv; rope_divisors points into a file. */
struct model;
sluice_status gguf_config_read(struct model *m, struct sluice_error *err);
/* SHA-256, in hex, of all that changes what the model computes: equal weights under another theta are another model. */
void model_config_hash(const struct model_config *c, char hex[2 * SHA256_BYTES + 1]);

#endif
