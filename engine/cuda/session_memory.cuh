/* The cache of one session on the device. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_SESSION_MEMORY_CUH
#define SLUICE_ENGINE_CUDA_SESSION_MEMORY_CUH

#include "engine/cuda/inference.cuh"

struct kv_memory { /* what kv_store.memory points to */
  unsigned char *data;
  uint32_t *born, *dead; /* [slots] as the kernels read them: counted from the store's first token, never settled */
  uint64_t *at;          /* [slots] true positions */
  uint32_t *index;       /* [KV_CHUNK][slots] cache positions in each epoch of the running chunk; NULL until asked for */
  uint32_t slots;
  bool stale; /* the store was read from bytes: born, dead and at must be written anew */
};

void kv_place_fill(struct kv_place *p, struct backend *owner, size_t element);
/* To be called before a chunk is planned or, as its slots' entries are written after, before it runs. */
sluice_status kv_freshen(struct kv_store *s, struct sluice_error *err);
cudaStream_t cuda_stream(const struct backend *b); /* run.cu */

#endif
