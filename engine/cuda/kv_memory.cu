/* Keys and values of one session on the device, and what the kernels must know of each slot. */
#include "engine/cuda/session_memory.cuh"

#include <stdlib.h>

namespace {

enum { SPARE_SLOTS = 64 }; /* tiles of 64 slots may reach behind the last block */

cudaStream_t stream_of(const struct kv_store *s) {
  return cuda_stream(static_cast<struct backend *>(s->place->owner));
}

struct kv_memory *memory_of(const struct kv_store *s) {
  return static_cast<struct kv_memory *>(s->memory);
}

size_t block_bytes(const struct kv_store *s) {
  const size_t width = static_cast<size_t>(attend_width(s->head_dim));
  return width * s->place->element * 2 * SLOT_BLOCK * static_cast<size_t>(s->n_layers) *
         static_cast<size_t>(s->n_kv_heads);
}

void memory_free(struct kv_memory *m) {
  if (!m) return;
  cudaFree(m->data);
  cudaFree(m->born);
  cudaFree(m->dead);
  cudaFree(m->at);
  cudaFree(m->index);
  free(m);
}

cudaError_t alloc(struct kv_memory *m, size_t slots, size_t bytes, cudaStream_t stream) {
  cudaError_t e = cudaMalloc(&m->data, bytes);
  if (!e) e = cudaMalloc(&m->born, slots * sizeof *m->born);
  if (!e) e = cudaMalloc(&m->dead, slots * sizeof *m->dead);
  if (!e) e = cudaMalloc(&m->at, slots * sizeof *m->at);
  if (!e) e = cudaMemsetAsync(m->data, 0, bytes, stream);
  if (!e) e = cudaMemsetAsync(m->born, 0, slots * sizeof *m->born, stream);
  if (!e) e = cudaMemsetAsync(m->dead, 0, slots * sizeof *m->dead, stream);
  if (!e) e = cudaMemsetAsync(m->at, 0, slots * sizeof *m->at, stream);
  m->slots = static_cast<uint32_t>(slots);
  return e;
}

cudaError_t copy_from(struct kv_memory *to, const struct kv_memory *from, size_t slots, size_t bytes,
                      cudaStream_t stream) {
  cudaError_t e = cudaMemcpyAsync(to->data, from->data, bytes, cudaMemcpyDeviceToDevice, stream);
  if (!e) e = cudaMemcpyAsync(to->born, from->born, slots * sizeof *to->born, cudaMemcpyDeviceToDevice, stream);
  if (!e) e = cudaMemcpyAsync(to->dead, from->dead, slots * sizeof *to->dead, cudaMemcpyDeviceToDevice, stream);
  if (!e) e = cudaMemcpyAsync(to->at, from->at, slots * sizeof *to->at, cudaMemcpyDeviceToDevice, stream);
  to->stale = from->stale;
  return e;
}

sluice_status resize(struct kv_store *s, uint32_t slots, struct sluice_error *err) {
  const size_t all = slots + SPARE_SLOTS, bytes = all / SLOT_BLOCK * s->block_bytes;
  sluice_status st = device_room(bytes + all * 16, "the cache of a session", err);
  if (st) return st;
  struct kv_memory *m = static_cast<struct kv_memory *>(calloc(1, sizeof *m));
  if (!m) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  cudaError_t e = alloc(m, all, bytes, stream_of(s));
  if (!e && s->memory)
    e = copy_from(m, memory_of(s), s->capacity, s->capacity / SLOT_BLOCK * s->block_bytes, stream_of(s));
  if (!e) e = cudaStreamSynchronize(stream_of(s));
  if (e) {
    memory_free(m);
    return cuda_status(e, "allocating a cache", err);
  }
  memory_free(memory_of(s));
  s->memory = m;
  return SLUICE_OK;
}

void release(struct kv_store *s) {
  memory_free(memory_of(s));
}

sluice_status copy(struct kv_store *to, const struct kv_store *from, size_t blocks, struct sluice_error *err) {
  cudaError_t e =
      copy_from(memory_of(to), memory_of(from), blocks * SLOT_BLOCK, blocks * from->block_bytes, stream_of(from));
  if (!e) e = cudaStreamSynchronize(stream_of(from));
  return cuda_status(e, "copying a cache", err);
}

sluice_status get(const struct kv_store *s, size_t blocks, void *out, struct sluice_error *err) {
  cudaError_t e = cudaStreamSynchronize(stream_of(s));
  if (!e) e = cudaMemcpy(out, memory_of(s)->data, blocks * s->block_bytes, cudaMemcpyDeviceToHost);
  return cuda_status(e, "reading a cache", err);
}

sluice_status set(struct kv_store *s, size_t blocks, const void *from, struct sluice_error *err) {
  memory_of(s)->stale = true; /* what the slots hold is read from the store at the next step */
  return cuda_status(cudaMemcpy(memory_of(s)->data, from, blocks * s->block_bytes, cudaMemcpyHostToDevice),
                     "writing a cache", err);
}

} // namespace

void kv_place_fill(struct kv_place *p, struct backend *owner, size_t element) {
  *p = {};
  p->owner = owner;
  p->element = element;
  p->block_bytes = block_bytes;
  p->resize = resize;
  p->release = release;
  p->copy = copy;
  p->get = get;
  p->set = set;
}

/* Between chunks: a slot is of a kept token or of none. */
sluice_status kv_freshen(struct kv_store *s, struct sluice_error *err) {
  struct kv_memory *m = memory_of(s);
  if (!m->stale) return SLUICE_OK;
  uint32_t *dead = static_cast<uint32_t *>(calloc(s->capacity, sizeof *dead));
  if (!dead) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  for (uint32_t i = 0; i < s->next; i++) dead[i] = s->dead[i] == 0 ? 0 : UINT32_MAX;
  cudaError_t e = cudaMemcpy(m->dead, dead, s->capacity * sizeof *dead, cudaMemcpyHostToDevice);
  if (!e) e = cudaMemset(m->born, 0, s->capacity * sizeof *m->born);
  if (!e) e = cudaMemcpy(m->at, s->position, s->capacity * sizeof *m->at, cudaMemcpyHostToDevice);
  free(dead);
  m->stale = false;
  return cuda_status(e, "writing a cache's slots", err);
}
