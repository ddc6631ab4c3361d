/* engine/model: config.json. Private to engine/. */
#ifndef SLUICE_ENGINE_MODEL_CONFIG_H
#define SLUICE_ENGINE_MODEL_CONFIG_H

#include "engine/engine.h"

/* Reads a Hugging Face config.json of a Llama model. What the engine does not do (scaled RoPE, biases, another
 * activation, quantised weights) is refused by the key's name. Keys that do not change the computation are ignored. */
sluice_status model_config_read(const char *path, struct model_config *out, struct sluice_error *err);

#endif
