/* engine/model: which files hold a model's tensors. Private to engine/model. */
#ifndef SLUICE_ENGINE_MODEL_WEIGHTS_H
#define SLUICE_ENGINE_MODEL_WEIGHTS_H

#include "engine/model/model.h"

/* Opens model.safetensors, or the shards that model.safetensors.index.json names, into m->files. m->dir is set. */
sluice_status weights_open(struct model *m, struct sluice_error *err);
/* Opens a GGUF file, with its other parts if it is the first of several, into m->files; *out is the one with the
 * metadata. */
struct gguf;
sluice_status weights_open_gguf(struct model *m, const char *path, struct gguf **out, struct sluice_error *err);
/* Fills embedding, head, norms and layers from m->files after m->config; every tensor must be there, with its shape,
 * and none that such a model does not have. */
sluice_status weights_bind(struct model *m, struct sluice_error *err);

#endif
