/* engine/model/gguf: llama.cpp's file format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2
 * and 3, little-endian. Metadata pairs, tensor descriptions, then the tensors' bytes, each at a multiple of the
 * alignment. Private to engine/. */
#ifndef SLUICE_ENGINE_MODEL_GGUF_H
#define SLUICE_ENGINE_MODEL_GGUF_H

#include "engine/model/tensors.h"

enum {
  GGUF_MAX_PAIRS = 1 << 16,
  GGUF_MAX_TENSORS = 1 << 20,
  GGUF_MAX_NAME = 1 << 10 /* bytes of a key's or tensor's name */
};

struct gguf; /* begins with a struct tensor_file */
/* Whether the file begins as GGUF files do. */
bool gguf_is(const char *path);
/* Maps the file and checks all of its header: after that every question below stays inside the mapping. Errors name the
 * file, the key or tensor and the byte. Overlapping tensors are refused. */
sluice_status gguf_open(const char *path, struct gguf **out, struct sluice_error *err);
void gguf_close(struct gguf *g);
const char *gguf_path(const struct gguf *g);

/* ---- metadata: a missing key gives the fallback; another type than asked for is SLUICE_INPUT ---- */
bool gguf_has(const struct gguf *g, const char *key);
/* A whole number of any width, within [min, max]; SLUICE_INPUT when it is required and absent. */
sluice_status gguf_whole(const struct gguf *g, const char *key, bool required, int64_t fallback, int64_t min,
                         int64_t max, int64_t *out, struct sluice_error *err);
sluice_status gguf_real(const struct gguf *g, const char *key, bool required, double fallback, double *out,
                        struct sluice_error *err);
sluice_status gguf_flag(const struct gguf *g, const char *key, bool fallback, bool *out, struct sluice_error *err);
/* Points into the mapping, not NUL-terminated; ptr NULL when the key is absent. */
sluice_status gguf_string(const struct gguf *g, const char *key, struct slice *out, struct sluice_error *err);

/* An array, walked from its beginning. */
struct gguf_array {
  uint64_t n; /* elements left */
  uint32_t type;
  const unsigned char *at;
};
enum gguf_element { GGUF_STRINGS, GGUF_WHOLES, GGUF_REALS };
/* *out has n 0 when the key is absent. */
sluice_status gguf_array(const struct gguf *g, const char *key, enum gguf_element element, struct gguf_array *out,
                         struct sluice_error *err);
struct slice gguf_next_string(struct gguf_array *a);
int64_t gguf_next_whole(struct gguf_array *a);
double gguf_next_real(struct gguf_array *a);

#endif
