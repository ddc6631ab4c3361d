#include "engine/model/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum value_type {
  VALUE_U8,
  VALUE_I8,
  VALUE_U16,
  VALUE_I16,
  VALUE_U32,
  VALUE_I32,
  VALUE_F32,
  VALUE_BOOL,
  VALUE_STRING,
  VALUE_ARRAY,
  VALUE_U64,
  VALUE_I64,
  VALUE_F64,
  VALUE_TYPES
};
static const uint64_t VALUE_BYTES[VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct pair {
  struct slice key;
  uint32_t type, element;  /* element: of an array */
  uint64_t n;              /* elements of an array */
  const unsigned char *at; /* the value; an array's first element */
};

struct gguf {
  struct tensor_file file;
  struct pair *pairs; /* in order of key */
  size_t n_pairs;
  struct arena names; /* the tensors' */
  uint64_t n_tensors; /* as the header says */
};

/* Types of tensors by GGUF's number. What has no dtype here is known only by its size. */
struct tensor_type {
  const char *name;
  uint64_t block, bytes;
  int dtype; /* -1: not read */
};
static const struct tensor_type TENSOR_TYPES[] = {
    [0] = {"F32", 1, 4, DTYPE_F32},
    [1] = {"F16", 1, 2, DTYPE_F16},
    [2] = {"Q4_0", 32, 18, DTYPE_Q4_0},
    [3] = {"Q4_1", 32, 20, DTYPE_Q4_1},
    [6] = {"Q5_0", 32, 22, DTYPE_Q5_0},
    [7] = {"Q5_1", 32, 24, DTYPE_Q5_1},
    [8] = {"Q8_0", 32, 34, DTYPE_Q8_0},
    [9] = {"Q8_1", 32, 36, -1},
    [10] = {"Q2_K", 256, 84, DTYPE_Q2_K},
    [11] = {"Q3_K", 256, 110, DTYPE_Q3_K},
    [12] = {"Q4_K", 256, 144, DTYPE_Q4_K},
    [13] = {"Q5_K", 256, 176, DTYPE_Q5_K},
    [14] = {"Q6_K", 256, 210, DTYPE_Q6_K},
    [15] = {"Q8_K", 256, 292, -1},
    [16] = {"IQ2_XXS", 256, 66, -1},
    [17] = {"IQ2_XS", 256, 74, -1},
    [18] = {"IQ3_XXS", 256, 98, -1},
    [19] = {"IQ1_S", 256, 50, -1},
    [20] = {"IQ4_NL", 32, 18, DTYPE_IQ4_NL},
    [21] = {"IQ3_S", 256, 110, -1},
    [22] = {"IQ2_S", 256, 82, -1},
    [23] = {"IQ4_XS", 256, 136, DTYPE_IQ4_XS},
    [24] = {"I8", 1, 1, -1},
    [25] = {"I16", 1, 2, -1},
    [26] = {"I32", 1, 4, -1},
    [27] = {"I64", 1, 8, -1},
    [28] = {"F64", 1, 8, -1},
    [29] = {"IQ1_M", 256, 56, -1},
    [30] = {"BF16", 1, 2, DTYPE_BF16},
    [34] = {"TQ1_0", 256, 54, -1},
    [35] = {"TQ2_0", 256, 66, -1},
    [39] = {"MXFP4", 32, 17, -1},
};
enum { N_TENSOR_TYPES = sizeof TENSOR_TYPES / sizeof *TENSOR_TYPES };

/* ---- reading bytes ------------------------------------------------------------------------------------------------
 */

struct cursor {
  const struct gguf *g;
  const unsigned char *at, *end;
  const char *what; /* being read, for messages */
};

static uint64_t little_endian(const unsigned char *p, uint64_t bytes) {
  uint64_t v = 0;
  for (uint64_t i = bytes; i-- > 0;) v = v << 8 | p[i];
  return v;
}

static sluice_status cut_short(const struct cursor *c, const char *asked, struct sluice_error *err) {
  return sluice_fail(err, SLUICE_INPUT, "%s: %s: %s at byte %zu goes past the file's end at %zu: the file is cut short",
                     c->g->file.path, c->what, asked, (size_t)(c->at - c->g->file.bytes), c->g->file.len);
}

static sluice_status take(struct cursor *c, uint64_t bytes, uint64_t *out, struct sluice_error *err) {
  if ((uint64_t)(c->end - c->at) < bytes) return cut_short(c, "a number", err);
  *out = little_endian(c->at, bytes);
  c->at += bytes;
  return SLUICE_OK;
}

static sluice_status take_string(struct cursor *c, struct slice *out, struct sluice_error *err) {
  uint64_t n = 0;
  sluice_status st = take(c, 8, &n, err);
  if (st) return st;
  if ((uint64_t)(c->end - c->at) < n) return cut_short(c, "a string", err);
  *out = (struct slice){(const char *)c->at, (size_t)n};
  c->at += n;
  return SLUICE_OK;
}

static sluice_status take_name(struct cursor *c, struct slice *out, struct sluice_error *err) {
  sluice_status st = take_string(c, out, err);
  if (!st && (out->len == 0 || out->len > GGUF_MAX_NAME || memchr(out->ptr, '\0', out->len)))
    st = sluice_fail(err, SLUICE_INPUT, "%s: %s: the name that ends at byte %zu has %zu bytes; 1 to %d without a NUL",
                     c->g->file.path, c->what, (size_t)(c->at - c->g->file.bytes), out->len, (int)GGUF_MAX_NAME);
  return st;
}

/* ---- metadata -----------------------------------------------------------------------------------------------------
 */

static sluice_status skip_array(struct cursor *c, struct pair *p, struct sluice_error *err) {
  uint64_t element = 0;
  sluice_status st = take(c, 4, &element, err);
  if (!st) st = take(c, 8, &p->n, err);
  if (st) return st;
  p->element = (uint32_t)element;
  p->at = c->at;
  if (element >= VALUE_TYPES || element == VALUE_ARRAY)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s: an array of elements of type %llu is not read",
                       c->g->file.path, c->what, (unsigned long long)element);
  if (element != VALUE_STRING) {
    if (p->n > (uint64_t)(c->end - c->at) / VALUE_BYTES[element]) return cut_short(c, "an array", err);
    c->at += p->n * VALUE_BYTES[element];
    return SLUICE_OK;
  }
  struct slice text;
  for (uint64_t i = 0; !st && i < p->n; i++) st = take_string(c, &text, err);
  return st;
}

static sluice_status read_pair(struct cursor *c, struct pair *p, struct sluice_error *err) {
  uint64_t type = 0;
  struct slice text;
  char what[160];
  c->what = "metadata";
  sluice_status st = take_name(c, &p->key, err);
  if (st) return st;
  snprintf(what, sizeof what, "key %.*s", (int)(p->key.len < 120 ? p->key.len : 120), p->key.ptr);
  c->what = what;
  st = take(c, 4, &type, err);
  p->type = (uint32_t)type;
  p->at = c->at;
  if (st) {
  } else if (type == VALUE_STRING) {
    st = take_string(c, &text, err);
  } else if (type == VALUE_ARRAY) {
    st = skip_array(c, p, err);
  } else if (type < VALUE_TYPES) {
    st = take(c, VALUE_BYTES[type], &p->n, err);
    p->n = 0;
  } else {
    st = sluice_fail(err, SLUICE_INPUT, "%s: %s: unknown type %llu at byte %zu", c->g->file.path, what,
                     (unsigned long long)type, (size_t)(p->at - c->g->file.bytes) - 4);
  }
  c->what = "metadata";
  return st;
}

static int compare_keys(struct slice a, struct slice b) {
  const size_t n = a.len < b.len ? a.len : b.len;
  const int order = memcmp(a.ptr, b.ptr, n);
  return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_key(const void *a, const void *b) {
  return compare_keys(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static sluice_status read_pairs(struct gguf *g, struct cursor *c, uint64_t n, struct sluice_error *err) {
  g->pairs = calloc((size_t)n + 1, sizeof *g->pairs);
  if (!g->pairs) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for metadata", g->file.path);
  for (uint64_t i = 0; i < n; i++) {
    sluice_status st = read_pair(c, &g->pairs[i], err);
    if (st) return st;
  }
  g->n_pairs = (size_t)n;
  qsort(g->pairs, g->n_pairs, sizeof *g->pairs, by_key);
  for (size_t i = 1; i < g->n_pairs; i++)
    if (by_key(&g->pairs[i - 1], &g->pairs[i]) == 0)
      return sluice_fail(err, SLUICE_INPUT, "%s: key %.*s comes twice", g->file.path, (int)g->pairs[i].key.len,
                         g->pairs[i].key.ptr);
  return SLUICE_OK;
}

static const struct pair *find(const struct gguf *g, const char *key) {
  const struct pair wanted = {.key = slice_of(key)};
  return g->n_pairs ? bsearch(&wanted, g->pairs, g->n_pairs, sizeof *g->pairs, by_key) : NULL;
}

static sluice_status wrong_type(const struct gguf *g, const char *key, const char *wanted, struct sluice_error *err) {
  return sluice_fail(err, SLUICE_INPUT, "%s: key %s: expected %s", g->file.path, key, wanted);
}

static sluice_status missing(const struct gguf *g, const char *key, struct sluice_error *err) {
  return sluice_fail(err, SLUICE_INPUT, "%s: no key %s", g->file.path, key);
}

static bool is_whole(uint32_t type) {
  return type <= VALUE_I32 || type == VALUE_U64 || type == VALUE_I64;
}

/* -1 also stands for what does not fit: every caller bounds what it takes. */
static int64_t whole_at(uint32_t type, const unsigned char *at) {
  const uint64_t v = little_endian(at, VALUE_BYTES[type]);
  switch (type) {
  case VALUE_I8:
    return (int8_t)v;
  case VALUE_I16:
    return (int16_t)v;
  case VALUE_I32:
    return (int32_t)v;
  case VALUE_I64:
    return (int64_t)v;
  default:
    return v > INT64_MAX ? -1 : (int64_t)v;
  }
}

static double real_at(uint32_t type, const unsigned char *at) {
  float f;
  double d;
  if (type == VALUE_F32) {
    memcpy(&f, at, sizeof f);
    return (double)f;
  }
  if (type != VALUE_F64) return (double)whole_at(type, at);
  memcpy(&d, at, sizeof d);
  return d;
}

bool gguf_has(const struct gguf *g, const char *key) {
  return find(g, key) != NULL;
}

sluice_status gguf_whole(const struct gguf *g, const char *key, bool required, int64_t fallback, int64_t min,
                         int64_t max, int64_t *out, struct sluice_error *err) {
  const struct pair *p = find(g, key);
  if (!p && required) return missing(g, key, err);
  *out = fallback;
  if (!p) return SLUICE_OK;
  if (!is_whole(p->type)) return wrong_type(g, key, "a whole number", err);
  const int64_t v = whole_at(p->type, p->at);
  if (v < min || v > max)
    return sluice_fail(err, SLUICE_INPUT, "%s: key %s: %lld is outside %lld to %lld", g->file.path, key, (long long)v,
                       (long long)min, (long long)max);
  *out = v;
  return SLUICE_OK;
}

sluice_status gguf_real(const struct gguf *g, const char *key, bool required, double fallback, double *out,
                        struct sluice_error *err) {
  const struct pair *p = find(g, key);
  if (!p && required) return missing(g, key, err);
  *out = fallback;
  if (!p) return SLUICE_OK;
  if (!is_whole(p->type) && p->type != VALUE_F32 && p->type != VALUE_F64) return wrong_type(g, key, "a number", err);
  *out = real_at(p->type, p->at);
  return isfinite(*out) ? SLUICE_OK : wrong_type(g, key, "a finite number", err);
}

sluice_status gguf_flag(const struct gguf *g, const char *key, bool fallback, bool *out, struct sluice_error *err) {
  const struct pair *p = find(g, key);
  *out = p ? p->at[0] != 0 : fallback;
  return p && (p->type != VALUE_BOOL || p->at[0] > 1) ? wrong_type(g, key, "true or false", err) : SLUICE_OK;
}

sluice_status gguf_string(const struct gguf *g, const char *key, struct slice *out, struct sluice_error *err) {
  const struct pair *p = find(g, key);
  *out = (struct slice){NULL, 0};
  if (!p) return SLUICE_OK;
  if (p->type != VALUE_STRING) return wrong_type(g, key, "a string", err);
  *out = (struct slice){(const char *)p->at + 8, (size_t)little_endian(p->at, 8)};
  return SLUICE_OK;
}

sluice_status gguf_array(const struct gguf *g, const char *key, enum gguf_element element, struct gguf_array *out,
                         struct sluice_error *err) {
  static const char *const wanted[] = {"an array of strings", "an array of whole numbers", "an array of numbers"};
  const struct pair *p = find(g, key);
  *out = (struct gguf_array){0};
  if (!p) return SLUICE_OK;
  const bool real = p->element == VALUE_F32 || p->element == VALUE_F64;
  const bool fits = p->type == VALUE_ARRAY && (element == GGUF_STRINGS  ? p->element == VALUE_STRING
                                               : element == GGUF_WHOLES ? is_whole(p->element)
                                                                        : real);
  if (!fits) return wrong_type(g, key, wanted[element], err);
  *out = (struct gguf_array){p->n, p->element, p->at};
  return SLUICE_OK;
}

struct slice gguf_next_string(struct gguf_array *a) {
  const struct slice s = {(const char *)a->at + 8, (size_t)little_endian(a->at, 8)};
  a->at += 8 + s.len;
  a->n--;
  return s;
}

int64_t gguf_next_whole(struct gguf_array *a) {
  const int64_t v = whole_at(a->type, a->at);
  a->at += VALUE_BYTES[a->type];
  a->n--;
  return v;
}

double gguf_next_real(struct gguf_array *a) {
  const double v = real_at(a->type, a->at);
  a->at += VALUE_BYTES[a->type];
  a->n--;
  return v;
}

/* ---- tensors ------------------------------------------------------------------------------------------------------
 */

/* The shape, innermost first in the file, and with the type the number of bytes. */
static sluice_status read_shape(struct cursor *c, struct tensor *t, struct sluice_error *err) {
  uint64_t n_dims = 0, type = 0, dims[4] = {1, 1, 1, 1};
  const char *path = c->g->file.path;
  sluice_status st = take(c, 4, &n_dims, err);
  if (!st && (n_dims < 1 || n_dims > 4))
    st = sluice_fail(err, SLUICE_INPUT, "%s: %s: %llu dimensions; 1 to 4 are read", path, c->what,
                     (unsigned long long)n_dims);
  for (uint64_t i = 0; !st && i < n_dims; i++) st = take(c, 8, &dims[i], err);
  if (!st) st = take(c, 4, &type, err);
  if (st) return st;
  const struct tensor_type *known = type < N_TENSOR_TYPES && TENSOR_TYPES[type].name ? &TENSOR_TYPES[type] : NULL;
  if (!known)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: %s: type %llu is not read; " GGUF_TYPES_READ " are", path, c->what,
                       (unsigned long long)type);
  if (dims[0] % known->block != 0)
    return sluice_fail(err, SLUICE_INPUT, "%s: %s: rows of %llu are no whole blocks of %llu (%s)", path, c->what,
                       (unsigned long long)dims[0], (unsigned long long)known->block, known->name);
  uint64_t bytes = dims[0] / known->block;
  bool over = __builtin_mul_overflow(bytes, known->bytes, &bytes);
  for (int i = 1; i < 4; i++) over = __builtin_mul_overflow(bytes, dims[i], &bytes) || over;
  for (int i = 0; i < 4; i++) over = over || dims[i] > INT32_MAX;
  if (over) return sluice_fail(err, SLUICE_INPUT, "%s: %s: its shape is larger than any file", path, c->what);
  t->dtype_text = known->name;
  t->readable = known->dtype >= 0;
  t->dtype = t->readable ? (enum dtype)known->dtype : DTYPE_F32;
  t->n_dims = (int)n_dims;
  for (uint64_t i = 0; i < n_dims; i++) t->shape[i] = (int64_t)dims[n_dims - 1 - i];
  t->bytes = bytes;
  return SLUICE_OK;
}

static sluice_status read_tensor(struct gguf *g, struct cursor *c, struct tensor *t, struct sluice_error *err) {
  struct slice name;
  char what[160];
  c->what = "tensors";
  sluice_status st = take_name(c, &name, err);
  if (st) return st;
  snprintf(what, sizeof what, "tensor \"%.*s\"", (int)(name.len < 120 ? name.len : 120), name.ptr);
  c->what = what;
  t->name = arena_strndup(&g->names, name.ptr, name.len);
  if (!t->name) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for names", g->file.path);
  st = read_shape(c, t, err);
  if (!st) st = take(c, 8, &t->start, err);
  c->what = "tensors";
  return st;
}

static int by_place(const void *a, const void *b) {
  const struct tensor *x = a, *y = b;
  if (x->start != y->start) return x->start < y->start ? -1 : 1;
  return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static sluice_status place_tensors(struct gguf *g, uint64_t alignment, const unsigned char *header_end,
                                   struct sluice_error *err) {
  const char *path = g->file.path;
  const uint64_t head = (uint64_t)(header_end - g->file.bytes), base = (head + alignment - 1) / alignment * alignment;
  const uint64_t room = base <= g->file.len ? g->file.len - base : 0;
  uint64_t end = 0;
  qsort(g->file.tensors, g->file.n, sizeof *g->file.tensors, by_place);
  for (size_t i = 0; i < g->file.n; i++) {
    struct tensor *t = &g->file.tensors[i];
    if (t->start % alignment != 0)
      return sluice_fail(err, SLUICE_INPUT,
                         "%s: tensor \"%.120s\": its data begins at byte %llu of the data section, no "
                         "multiple of %llu",
                         path, t->name, (unsigned long long)t->start, (unsigned long long)alignment);
    if (t->start < end)
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\": its data overlaps that of \"%.120s\"", path,
                         t->name, g->file.tensors[i - 1].name);
    if (t->start > room || t->bytes > room - t->start)
      return sluice_fail(
          err, SLUICE_INPUT,
          "%s: tensor \"%.120s\": %llu bytes from byte %llu of the data section, which has %llu: the file "
          "is cut short",
          path, t->name, (unsigned long long)t->bytes, (unsigned long long)t->start, (unsigned long long)room);
    t->data = g->file.bytes + base + t->start;
    end = t->start + t->bytes;
  }
  return tensors_sort(&g->file, err);
}

/* ---- the file -----------------------------------------------------------------------------------------------------
 */

static sluice_status read_counts(struct gguf *g, struct cursor *c, uint64_t *pairs, struct sluice_error *err) {
  uint64_t magic = 0, version = 0;
  const char *path = g->file.path;
  c->what = "header";
  sluice_status st = take(c, 4, &magic, err);
  if (!st && magic != 0x46554747)
    st = sluice_fail(err, SLUICE_INPUT, "%s: no GGUF file: it does not begin with \"GGUF\"", path);
  if (!st) st = take(c, 4, &version, err);
  if (!st && version != 2 && version != 3)
    st = sluice_fail(err, SLUICE_UNSUPPORTED, "%s: GGUF version %llu%s; 2 and 3 are read", path,
                     (unsigned long long)version, version > 0xffff ? " (or a big-endian file)" : "");
  if (!st) st = take(c, 8, &g->n_tensors, err);
  if (!st) st = take(c, 8, pairs, err);
  if (st) return st;
  if (g->n_tensors > GGUF_MAX_TENSORS || *pairs > GGUF_MAX_PAIRS)
    return sluice_fail(err, SLUICE_LIMIT, "%s: %llu tensors and %llu keys; at most %d and %d are read", path,
                       (unsigned long long)g->n_tensors, (unsigned long long)*pairs, (int)GGUF_MAX_TENSORS,
                       (int)GGUF_MAX_PAIRS);
  return SLUICE_OK;
}

static sluice_status read_file(struct gguf *g, struct sluice_error *err) {
  struct cursor c = {g, g->file.bytes, g->file.bytes + g->file.len, "header"};
  uint64_t pairs = 0;
  int64_t alignment = 0;
  sluice_status st = read_counts(g, &c, &pairs, err);
  if (!st) st = read_pairs(g, &c, pairs, err);
  if (!st) st = gguf_whole(g, "general.alignment", false, 32, 8, 1 << 20, &alignment, err);
  if (!st && (alignment & (alignment - 1)) != 0) st = wrong_type(g, "general.alignment", "a power of two", err);
  /* The smallest description has 8 + 1 + 4 + 8 + 4 + 8 bytes: a hostile count asks for no more memory than that. */
  if (!st && g->n_tensors > (uint64_t)(c.end - c.at) / 33) st = cut_short(&c, "the list of tensors", err);
  if (st) return st;
  g->file.tensors = calloc((size_t)g->n_tensors + 1, sizeof *g->file.tensors);
  if (!g->file.tensors) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for tensors", g->file.path);
  for (; !st && g->file.n < g->n_tensors; g->file.n++) st = read_tensor(g, &c, &g->file.tensors[g->file.n], err);
  return st ? st : place_tensors(g, (uint64_t)alignment, c.at, err);
}

static void close_file(struct tensor_file *f) {
  gguf_close((struct gguf *)f);
}

sluice_status gguf_open(const char *path, struct gguf **out, struct sluice_error *err) {
  struct gguf *g = calloc(1, sizeof *g);
  if (g) {
    g->file.path = sluice_strdup(path);
    g->file.close = close_file;
  }
  sluice_status st = SLUICE_OK;
  if (!g || !g->file.path) st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  if (!st) st = file_map(path, &g->file.bytes, &g->file.len, err);
  if (!st) st = read_file(g, err);
  if (st) {
    gguf_close(g);
    return st;
  }
  *out = g;
  return SLUICE_OK;
}

void gguf_close(struct gguf *g) {
  if (!g) return;
  if (g->file.bytes) file_unmap(g->file.bytes, g->file.len);
  arena_free(&g->names);
  free(g->pairs);
  free(g->file.tensors);
  free(g->file.path);
  free(g);
}

const char *gguf_path(const struct gguf *g) {
  return g->file.path;
}

bool gguf_is(const char *path) {
  char magic[4] = "";
  FILE *f = fopen(path, "rb");
  if (!f) return false;
  const bool read = fread(magic, 1, sizeof magic, f) == sizeof magic;
  fclose(f);
  return read && memcmp(magic, "GGUF", 4) == 0;
}
