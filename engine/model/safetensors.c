#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lfs_pointer.h"
#include "engine/model/safetensors.h"

struct safetensors {
  struct tensor_file file;
  struct cJSON *header; /* owns the tensors' names */
};

/* The header's length comes first: 8 bytes, little-endian. */
static sluice_status read_header(struct safetensors *s, struct sluice_error *err) {
  if (s->file.len < 8)
    return sluice_fail(err, SLUICE_INPUT, "%s: %zu bytes; a safetensors file begins with 8 bytes of header length",
                       s->file.path, s->file.len);
  uint64_t n = 0;
  for (int i = 7; i >= 0; i--) n = n << 8 | s->file.bytes[i];
  if (lfs_pointer((struct slice){(const char *)s->file.bytes, s->file.len}))
    return sluice_fail(err, SLUICE_INPUT, LFS_POINTER_MESSAGE, s->file.path);
  if (n > s->file.len - 8)
    return sluice_fail(
        err, SLUICE_INPUT,
        "%s: the header says that it has %llu bytes, but only %zu follow; the file is cut short or is not "
        "safetensors",
        s->file.path, (unsigned long long)n, s->file.len - 8);
  if (n > SAFETENSORS_MAX_HEADER)
    return sluice_fail(err, SLUICE_LIMIT, "%s: a header of %llu bytes; at most %d are read", s->file.path,
                       (unsigned long long)n, (int)SAFETENSORS_MAX_HEADER);
  char where[512];
  snprintf(where, sizeof where, "%.400s (header)", s->file.path);
  sluice_status st = json_parse(where, (const char *)s->file.bytes + 8, (size_t)n, false, &s->header, err);
  if (st) return st;
  if (!cJSON_IsObject(s->header))
    return sluice_fail(err, SLUICE_INPUT, "%s: the header is not a JSON object", s->file.path);
  return SLUICE_OK;
}

static uint64_t data_start(const struct safetensors *s) {
  uint64_t n = 0;
  for (int i = 7; i >= 0; i--) n = n << 8 | s->file.bytes[i];
  return n + 8;
}

/* Element size by the format's names; 0: unknown. */
static uint64_t element_size(const char *dtype) {
  static const struct {
    const char *name;
    uint64_t size;
  } known[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8},  {"U64", 8},     {"I32", 4},    {"U32", 4},
               {"I16", 2}, {"U16", 2}, {"I8", 1},   {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(dtype, known[i].name) == 0) return known[i].size;
  return 0;
}

/* A whole number from 0 to 2^53, which is as far as a JSON number of ours is exact. */
static bool read_whole(const cJSON *item, uint64_t *out) {
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53)) return false;
  *out = (uint64_t)item->valuedouble;
  return (double)*out == item->valuedouble;
}

static sluice_status read_shape(const char *path, const cJSON *item, struct tensor *t, uint64_t size, uint64_t *bytes,
                                struct sluice_error *err) {
  const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape"), *dim;
  if (!cJSON_IsArray(shape))
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": no array \"shape\"", path, t->name);
  *bytes = size;
  cJSON_ArrayForEach(dim, shape) {
    uint64_t d;
    if (t->n_dims == SAFETENSORS_MAX_DIMS)
      return sluice_fail(err, SLUICE_LIMIT, "%s: tensor \"%.120s\": more than %d dimensions", path, t->name,
                         (int)SAFETENSORS_MAX_DIMS);
    if (!read_whole(dim, &d))
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": shape[%d] is not a whole number", path, t->name,
                         t->n_dims);
    if (__builtin_mul_overflow(*bytes, d, bytes))
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": its shape has more bytes than 64 bits count", path,
                         t->name);
    t->shape[t->n_dims++] = (int64_t)d;
  }
  return SLUICE_OK;
}

static sluice_status read_place(const struct safetensors *s, const cJSON *item, struct tensor *t, uint64_t size,
                                uint64_t bytes, struct sluice_error *err) {
  const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
  uint64_t from, to, base = data_start(s), room = s->file.len - base;
  if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 || !read_whole(offsets->child, &from) ||
      !read_whole(offsets->child->next, &to) || from > to)
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": data_offsets is not [start, end] in whole bytes",
                       s->file.path, t->name);
  if (to > room)
    return sluice_fail(
        err, SLUICE_INPUT,
        "%s: tensor \"%.120s\": ends at byte %llu of the data, which has %llu; the file is cut short or its "
        "header is wrong",
        s->file.path, t->name, (unsigned long long)to, (unsigned long long)room);
  if (to - from != bytes)
    return sluice_fail(err, SLUICE_INPUT,
                       "%s: tensor \"%.120s\": %llu bytes of data, but its shape and %s ask for %llu", s->file.path,
                       t->name, (unsigned long long)(to - from), t->dtype_text, (unsigned long long)bytes);
  if ((base + from) % size != 0)
    return sluice_fail(
        err, SLUICE_INPUT,
        "%s: tensor \"%.120s\": its data begins at byte %llu of the file, not at a multiple of %llu; save "
        "it again with a current safetensors library, which aligns the data",
        s->file.path, t->name, (unsigned long long)(base + from), (unsigned long long)size);
  t->start = from;
  t->bytes = bytes;
  t->data = s->file.bytes + base + from;
  return SLUICE_OK;
}

static sluice_status read_tensor(const struct safetensors *s, const cJSON *item, struct tensor *t,
                                 struct sluice_error *err) {
  *t = (struct tensor){.name = item->string};
  const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
  if (!cJSON_IsObject(item) || !cJSON_IsString(dtype))
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": not an object with a string \"dtype\"", s->file.path,
                       t->name);
  t->dtype_text = dtype->valuestring;
  uint64_t size = element_size(t->dtype_text), bytes = 0;
  if (size == 0)
    return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": unknown dtype \"%.40s\"", s->file.path, t->name,
                       t->dtype_text);
  for (int d = DTYPE_F32; d <= DTYPE_BF16; d++)
    if (strcmp(t->dtype_text, dtype_name((enum dtype)d)) == 0) {
      t->readable = true;
      t->dtype = (enum dtype)d;
    }
  sluice_status st = read_shape(s->file.path, item, t, size, &bytes, err);
  return st ? st : read_place(s, item, t, size, bytes, err);
}

static int by_place(const void *a, const void *b) {
  const struct tensor *x = a, *y = b;
  if (x->start != y->start) return x->start < y->start ? -1 : 1;
  return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* an empty tensor before what begins at the same byte */
}

/* The format has neither holes nor overlaps: sorted, each tensor begins where the last one ended. */
static sluice_status check_places(struct safetensors *s, struct sluice_error *err) {
  qsort(s->file.tensors, s->file.n, sizeof *s->file.tensors, by_place);
  uint64_t end = 0, room = s->file.len - data_start(s);
  for (size_t i = 0; i < s->file.n; i++) {
    const struct tensor *t = &s->file.tensors[i];
    if (t->start < end)
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": its data overlaps that of \"%.120s\"", s->file.path,
                         t->name, s->file.tensors[i - 1].name);
    if (t->start > end)
      return sluice_fail(err, SLUICE_INPUT,
                         "%s: tensor \"%.120s\": begins at byte %llu of the data, byte %llu was expected", s->file.path,
                         t->name, (unsigned long long)t->start, (unsigned long long)end);
    end += t->bytes;
  }
  if (end != room)
    return sluice_fail(err, SLUICE_INPUT, "%s: the tensors have %llu bytes, but %llu follow the header", s->file.path,
                       (unsigned long long)end, (unsigned long long)room);
  return tensors_sort(&s->file, err);
}

static sluice_status read_tensors(struct safetensors *s, struct sluice_error *err) {
  s->file.tensors = calloc((size_t)cJSON_GetArraySize(s->header) + 1, sizeof *s->file.tensors);
  if (!s->file.tensors)
    return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for the list of tensors", s->file.path);
  const cJSON *item;
  cJSON_ArrayForEach(item, s->header) {
    if (strcmp(item->string, "__metadata__") == 0) continue;
    sluice_status st = read_tensor(s, item, &s->file.tensors[s->file.n], err);
    if (st) return st;
    s->file.n++;
  }
  return check_places(s, err);
}

static void close_file(struct tensor_file *f) {
  safetensors_close((struct safetensors *)f);
}

sluice_status safetensors_open(const char *path, struct safetensors **out, struct sluice_error *err) {
  struct safetensors *s = calloc(1, sizeof *s);
  if (s) {
    s->file.path = sluice_strdup(path);
    s->file.close = close_file;
  }
  sluice_status st = SLUICE_OK;
  if (!s || !s->file.path) st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  if (!st) st = file_map(path, &s->file.bytes, &s->file.len, err);
  if (!st) st = read_header(s, err);
  if (!st) st = read_tensors(s, err);
  if (st) {
    safetensors_close(s);
    return st;
  }
  *out = s;
  return SLUICE_OK;
}

void safetensors_close(struct safetensors *s) {
  if (!s) return;
  if (s->file.bytes) file_unmap(s->file.bytes, s->file.len);
  cJSON_Delete(s->header);
  free(s->file.tensors);
  free(s->file.path);
  free(s);
}

const char *safetensors_path(const struct safetensors *s) {
  return s->file.path;
}

struct slice safetensors_bytes(const struct safetensors *s) {
  return (struct slice){(const char *)s->file.bytes, s->file.len};
}

size_t safetensors_count(const struct safetensors *s) {
  return s->file.n;
}

const struct tensor *safetensors_at(const struct safetensors *s, size_t index) {
  return &s->file.tensors[index];
}

const struct tensor *safetensors_find(const struct safetensors *s, const char *name) {
  return tensors_find(&s->file, name);
}
