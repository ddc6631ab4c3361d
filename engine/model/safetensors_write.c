#include <string.h>

#include "engine/model/safetensors.h"

static sluice_status tensor_bytes(const char *path, const struct tensor_source *t, uint64_t *bytes,
                                  struct sluice_error *err) {
  *bytes = dtype_size(t->dtype);
  for (int i = 0; i < t->n_dims; i++)
    if (t->shape[i] < 0 || __builtin_mul_overflow(*bytes, (uint64_t)t->shape[i], bytes))
      return sluice_fail(err, SLUICE_USAGE, "%s: tensor \"%.120s\": its shape is negative or overflows", path, t->name);
  return SLUICE_OK;
}

static sluice_status write_entry(struct buffer *out, const struct tensor_source *t, uint64_t from, uint64_t bytes,
                                 struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, ",", err);
  if (!st) st = json_quote(out, t->name, strlen(t->name), err);
  if (!st) st = buffer_printf(out, err, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(t->dtype));
  for (int i = 0; !st && i < t->n_dims; i++)
    st = buffer_printf(out, err, "%s%lld", i ? "," : "", (long long)t->shape[i]);
  if (!st)
    st = buffer_printf(out, err, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)from,
                       (unsigned long long)(from + bytes));
  return st;
}

typedef sluice_status (*tensor_fn)(struct buffer *out, const struct tensor_source *t, uint64_t from, uint64_t bytes,
                                   struct sluice_error *err);

/* Calls fn on every tensor in the order of the data: four-byte elements first, so that each is aligned without holes,
 * as the reference implementation does. */
static sluice_status in_data_order(struct buffer *out, const char *path, const struct tensor_source *tensors, size_t n,
                                   tensor_fn fn, struct sluice_error *err) {
  static const size_t sizes[] = {4, 2};
  uint64_t at = 0, bytes;
  for (size_t s = 0; s < 2; s++)
    for (size_t i = 0; i < n; i++) {
      if (dtype_size(tensors[i].dtype) != sizes[s]) continue;
      sluice_status st = tensor_bytes(path, &tensors[i], &bytes, err);
      if (!st) st = fn(out, &tensors[i], at, bytes, err);
      if (st) return st;
      at += bytes;
    }
  return SLUICE_OK;
}

/* The data begins at a multiple of 64 bytes, for kernels that like whole cache lines: the header is padded with spaces.
 */
static sluice_status write_header(struct buffer *out, const char *path, const struct tensor_source *tensors, size_t n,
                                  struct sluice_error *err) {
  static const char length_goes_here[8] = "";
  sluice_status st = buffer_append(out, length_goes_here, 8, err);
  if (!st) st = buffer_append_str(out, "{\"__metadata__\":{\"format\":\"pt\"}", err);
  if (!st) st = in_data_order(out, path, tensors, n, write_entry, err);
  if (!st) st = buffer_append_str(out, "}", err);
  while (!st && out->len % 64 != 0) st = buffer_append_str(out, " ", err);
  if (st) return st;
  uint64_t length = out->len - 8;
  for (int i = 0; i < 8; i++) out->ptr[i] = (char)(unsigned char)(length >> (8 * i));
  return SLUICE_OK;
}

static sluice_status write_data(struct buffer *out, const struct tensor_source *t, uint64_t from, uint64_t bytes,
                                struct sluice_error *err) {
  (void)from;
  return buffer_append(out, t->data, (size_t)bytes, err);
}

sluice_status safetensors_write(const char *path, const struct tensor_source *tensors, size_t n,
                                struct sluice_error *err) {
  struct buffer out;
  buffer_init(&out, SIZE_MAX / 2); /* as much as there are weights */
  sluice_status st = write_header(&out, path, tensors, n, err);
  if (!st) st = in_data_order(&out, path, tensors, n, write_data, err);
  if (!st) st = file_write_atomic(path, out.ptr, out.len, err);
  buffer_free(&out);
  return st;
}
