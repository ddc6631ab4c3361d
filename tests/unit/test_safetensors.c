/* The safetensors reader against every way a file can lie, and the writer against the reader. */
#include "tests/sample_data.h"

#include <math.h>

#include "engine/model/safetensors.h"

static char *path;

static int begin(void **state) {
  (void)state;
  path = scratch_path("weights.safetensors");
  return path ? 0 : -1;
}

static int end(void **state) {
  (void)state;
  unlink(path);
  free(path);
  return 0;
}

/* Writes a file of an 8-byte length, a header and `data` bytes of zeros. length: -1 for the true one. */
static void write_raw(const char *header, int64_t length, size_t data) {
  struct sluice_error err;
  struct buffer b;
  buffer_init(&b, 0);
  uint64_t n = length == -1 ? strlen(header) : (uint64_t)length;
  for (int i = 0; i < 8; i++) assert_int_equal(buffer_append(&b, &(char){(char)(n >> (8 * i))}, 1, &err), 0);
  assert_int_equal(buffer_append_str(&b, header, &err), 0);
  for (size_t i = 0; i < data; i++) assert_int_equal(buffer_append(&b, "", 1, &err), 0);
  assert_int_equal(file_write_atomic(path, b.ptr, b.len, &err), 0);
  buffer_free(&b);
}

/* The file is refused with this status, and the message names the file and has `part` in it. */
static void refused(const char *header, int64_t length, size_t data, sluice_status status, const char *part) {
  struct sluice_error err = {0};
  struct safetensors *s = NULL;
  write_raw(header, length, data);
  sluice_status st = safetensors_open(path, &s, &err);
  if (st == SLUICE_OK) fail_msg("accepted: %s", header);
  assert_null(s);
  assert_int_equal(st, status);
  assert_int_equal(err.code, status);
  if (!strstr(err.message, part) || !strstr(err.message, "weights.safetensors"))
    fail_msg("\"%s\" does not say \"%s\" and name the file", err.message, part);
}

/* The header's length is a multiple of 8, so that data offsets decide the alignment. */
static char *padded(const char *header) {
  size_t n = strlen(header);
  char *out = sluice_format("%s%*s", header, (int)((8 - n % 8) % 8), "");
  assert_non_null(out);
  return out;
}

static void refused_tensors(const char *header, size_t data, sluice_status status, const char *part) {
  char *text = padded(header);
  refused(text, -1, data, status, part);
  free(text);
}

static void lying_lengths_are_refused(void **state) {
  (void)state;
  struct sluice_error err;
  struct safetensors *s;
  for (size_t n = 0; n < 8; n++) { /* cut inside the length */
    assert_int_equal(file_write_atomic(path, "\x02\0\0\0\0\0\0", n, &err), 0);
    assert_int_not_equal(safetensors_open(path, &s, &err), SLUICE_OK);
  }
  refused("{}", 3, 0, SLUICE_INPUT, "only 2 follow");
  refused("{}", INT64_MAX, 0, SLUICE_INPUT, "only 2 follow");
  refused("{}", INT64_MIN, 0, SLUICE_INPUT, "only 2 follow"); /* 2^63: not a negative number */
  refused("{}", 1, 0, SLUICE_INPUT, "header");
  refused("", -1, 0, SLUICE_INPUT, "header");
  refused("[]", -1, 0, SLUICE_INPUT, "not a JSON object");
  refused("{\"a\":", -1, 0, SLUICE_INPUT, "header");
  refused("{}", -1, 5, SLUICE_INPUT, "5 follow the header");
}

static void malformed_tensors_are_refused(void **state) {
  (void)state;
  refused_tensors("{\"a\":1}", 0, SLUICE_INPUT, "tensor \"a\"");
  refused_tensors("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "dtype");
  refused_tensors("{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "F31");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "shape");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "shape[0]");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1.5],\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "shape[1]");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "shape[0]");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, SLUICE_LIMIT,
                  "8 dimensions");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, SLUICE_INPUT, "data_offsets");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, SLUICE_INPUT, "data_offsets");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, SLUICE_INPUT,
                  "data_offsets");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, SLUICE_INPUT, "data_offsets");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, SLUICE_INPUT, "data_offsets");
  refused_tensors(
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[4,8]}}",
      8, SLUICE_INPUT, "twice");
}

static void shapes_that_overflow_are_refused(void **state) {
  (void)state;
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
                  SLUICE_INPUT, "64 bits");
  /* 2^62 elements of 4 bytes: the product wraps to 0. */
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648],\"data_offsets\":[0,0]}}", 0,
                  SLUICE_INPUT, "64 bits");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "shape[0]");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, SLUICE_INPUT, "ask for 8");
  refused_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9007199254740992]}}", 4, SLUICE_INPUT,
                  "which has 4");
}

static void places_out_of_order_are_refused(void **state) {
  (void)state;
#define PLACED(from, to) "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #from "," #to "]}"
  refused_tensors("{\"a\":" PLACED(0, 8) ",\"b\":" PLACED(4, 12) "}", 12, SLUICE_INPUT, "overlaps");
  refused_tensors("{\"a\":" PLACED(0, 8) ",\"b\":" PLACED(0, 8) "}", 8, SLUICE_INPUT, "overlaps");
  refused_tensors("{\"a\":" PLACED(0, 8) ",\"b\":" PLACED(12, 20) "}", 20, SLUICE_INPUT, "byte 8 was expected");
  refused_tensors("{\"a\":" PLACED(8, 16) "}", 16, SLUICE_INPUT, "byte 0 was expected");
  refused_tensors("{\"a\":" PLACED(0, 8) "}", 12, SLUICE_INPUT, "12 follow the header");
  refused_tensors("{\"a\":" PLACED(0, 8) "}", 7, SLUICE_INPUT, "which has 7");
  refused_tensors("{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":" PLACED(1, 9) "}", 9,
                  SLUICE_INPUT, "multiple of 4");
  char *even = padded("{\"a\":" PLACED(0, 8) "}"), *odd = sluice_format("%s ", even);
  refused(odd, -1, 8, SLUICE_INPUT, "multiple of 4"); /* the header's length moves all data */
  free(odd);
  free(even);
}

static void what_is_written_is_read(void **state) {
  (void)state;
  static const float numbers[6] = {1, -2, 0.5f, 3e38f, -0.0f, 1e-40f};
  uint16_t halves[4];
  struct sluice_error err;
  struct safetensors *s;
  for (size_t i = 0; i < 4; i++) dtype_from_float(halves, DTYPE_BF16, i, numbers[i]);
  const struct tensor_source sources[] = {
      {"z.weight", DTYPE_F32, 2, {2, 3}, numbers},
      {"a \"quoted\"", DTYPE_BF16, 1, {3}, halves}, /* an odd number: what follows must still be aligned */
      {"m", DTYPE_F32, 1, {1}, numbers},
      {"empty", DTYPE_F16, 2, {0, 7}, halves},
      {"number", DTYPE_F32, 0, {0}, numbers},
  };
  if (safetensors_write(path, sources, 5, &err)) fail_msg("%s", err.message);
  if (safetensors_open(path, &s, &err)) fail_msg("%s", err.message);
  assert_int_equal(safetensors_count(s), 5);
  for (size_t i = 0; i < 5; i++) {
    const struct tensor *t = safetensors_find(s, sources[i].name);
    assert_non_null(t);
    assert_true(t->readable);
    assert_int_equal(t->dtype, sources[i].dtype);
    assert_int_equal(t->n_dims, sources[i].n_dims);
    for (int k = 0; k < t->n_dims; k++) assert_int_equal(t->shape[k], sources[i].shape[k]);
    assert_memory_equal(t->data, sources[i].data, t->bytes);
  }
  assert_string_equal(safetensors_at(s, 0)->name, "a \"quoted\"");
  assert_null(safetensors_find(s, "z"));
  assert_int_equal((uintptr_t)safetensors_find(s, "z.weight")->data % 64, 0);
  safetensors_close(s);
  const struct tensor_source wrong = {"w", DTYPE_F32, 2, {INT64_MAX, 3}, numbers};
  assert_int_equal(safetensors_write(path, &wrong, 1, &err), SLUICE_USAGE);
}

/* Cut anywhere, the file is refused, never read past its end. */
static void every_truncation_is_refused(void **state) {
  (void)state;
  static const float numbers[6] = {1, 2, 3, 4, 5, 6};
  const struct tensor_source sources[] = {{"a", DTYPE_F32, 2, {2, 2}, numbers}, {"b", DTYPE_F32, 1, {2}, numbers}};
  struct sluice_error err;
  struct safetensors *s;
  char *bytes;
  size_t len;
  assert_int_equal(safetensors_write(path, sources, 2, &err), 0);
  assert_int_equal(file_read(path, 0, &bytes, &len, &err), 0);
  for (size_t n = 0; n < len; n++) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    if (safetensors_open(path, &s, &err) == SLUICE_OK) fail_msg("%zu of %zu bytes were accepted", n, len);
  }
  free(bytes);
}

static void element_types_convert_exactly(void **state) {
  (void)state;
  static const struct {
    uint16_t half;
    float value;
  } halves[] = {{0x0000, 0},        {0x3c00, 1},          {0xc000, -2},       {0x7bff, 65504},
                {0x0001, 0x1p-24f}, {0x03ff, 0x3ffp-24f}, {0x0400, 0x1p-14f}, {0x3555, 0x1.554p-2f},
                {0x7c00, INFINITY}, {0xfc00, -INFINITY}};
  for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
    uint16_t back;
    assert_true(dtype_to_float(&halves[i].half, DTYPE_F16, 0) == halves[i].value);
    dtype_from_float(&back, DTYPE_F16, 0, halves[i].value);
    assert_int_equal(back, halves[i].half);
  }
  for (uint32_t h = 0; h < 0x10000; h++) { /* there and back, every value but the NaNs' payloads */
    for (int d = DTYPE_F16; d <= DTYPE_BF16; d++) {
      uint16_t from = (uint16_t)h, back;
      float f = dtype_to_float(&from, (enum dtype)d, 0);
      dtype_from_float(&back, (enum dtype)d, 0, f);
      if (isnan(f))
        assert_true(isnan(dtype_to_float(&back, (enum dtype)d, 0)));
      else
        assert_int_equal(back, from);
    }
  }
}

static void rounding_is_to_nearest_even(void **state) {
  (void)state;
  static const struct {
    enum dtype dtype;
    float value;
    uint16_t bits;
  } cases[] = {{DTYPE_F16, 1 + 0x1p-11f, 0x3c00}, /* half way: to even */
               {DTYPE_F16, 1 + 0x3p-11f, 0x3c02}, {DTYPE_F16, 1 + 0x1.1p-11f, 0x3c01},
               {DTYPE_F16, 65519.9f, 0x7bff},     {DTYPE_F16, 65520, 0x7c00}, /* the first that overflows */
               {DTYPE_F16, 0x1p-25f, 0x0000},     {DTYPE_F16, 0x1.1p-25f, 0x0001},
               {DTYPE_F16, 0x1.ffap-15f, 0x03ff}, {DTYPE_F16, 0x1.ffcp-15f, 0x0400},
               {DTYPE_BF16, 1 + 0x1p-8f, 0x3f80}, {DTYPE_BF16, 1 + 0x3p-8f, 0x3f82},
               {DTYPE_BF16, 3.4e38f, 0x7f80},     {DTYPE_BF16, -1e-45f, 0x8000}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint16_t bits;
    dtype_from_float(&bits, cases[i].dtype, 0, cases[i].value);
    if (bits != cases[i].bits) fail_msg("case %zu: %04x, not %04x", i, bits, cases[i].bits);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lying_lengths_are_refused),        cmocka_unit_test(malformed_tensors_are_refused),
      cmocka_unit_test(shapes_that_overflow_are_refused), cmocka_unit_test(places_out_of_order_are_refused),
      cmocka_unit_test(what_is_written_is_read),          cmocka_unit_test(every_truncation_is_refused),
      cmocka_unit_test(element_types_convert_exactly),    cmocka_unit_test(rounding_is_to_nearest_even),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
