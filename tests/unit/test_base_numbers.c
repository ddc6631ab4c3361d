/* base: UTF-8, random numbers, hashes, clocks. Expected values come from the published reference implementations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/base.h"

static void every_codepoint_survives_a_round_trip(void **state) {
  (void)state;
  for (uint32_t c = 0; c <= 0x110001; c++) {
    char bytes[4];
    uint32_t back;
    size_t bad;
    int n = utf8_encode(c, bytes);
    bool scalar = c < 0x110000 && !(c >= 0xD800 && c <= 0xDFFF);
    if (!scalar) {
      assert_int_equal(n, 0);
      continue;
    }
    if (utf8_decode(bytes, (size_t)n, &back) != n || back != c) fail_msg("U+%04X does not come back", c);
    if (utf8_valid_prefix(bytes, (size_t)n, &bad) != (size_t)n) fail_msg("U+%04X is called invalid", c);
    for (int cut = 1; cut < n; cut++)
      if (utf8_decode(bytes, (size_t)cut, &back) != 0)
        fail_msg("U+%04X cut to %d bytes is not called truncated", c, cut);
  }
}

/* All 3-byte strings against the table of the Unicode standard, written down once more in another way. */
static int slow_decode(const unsigned char *s) {
  static const struct {
    unsigned char low[4], high[4];
    int n;
  } rows[] = {
      {{0x00}, {0x7F}, 1},
      {{0xC2, 0x80}, {0xDF, 0xBF}, 2},
      {{0xE0, 0xA0, 0x80}, {0xE0, 0xBF, 0xBF}, 3},
      {{0xE1, 0x80, 0x80}, {0xEC, 0xBF, 0xBF}, 3},
      {{0xED, 0x80, 0x80}, {0xED, 0x9F, 0xBF}, 3},
      {{0xEE, 0x80, 0x80}, {0xEF, 0xBF, 0xBF}, 3},
      {{0xF0, 0x90, 0x80, 0x80}, {0xF0, 0xBF, 0xBF, 0xBF}, 4},
      {{0xF1, 0x80, 0x80, 0x80}, {0xF3, 0xBF, 0xBF, 0xBF}, 4},
      {{0xF4, 0x80, 0x80, 0x80}, {0xF4, 0x8F, 0xBF, 0xBF}, 4},
  };
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    int matched = 0;
    while (matched < rows[r].n && matched < 3 && s[matched] >= rows[r].low[matched] &&
           s[matched] <= rows[r].high[matched])
      matched++;
    if (matched == rows[r].n) return matched;
    if (matched == 3) return 0;
  }
  return -1;
}

static void decoding_agrees_with_the_table(void **state) {
  (void)state;
  for (unsigned v = 0; v < 1u << 24; v++) {
    unsigned char s[3] = {(unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
    uint32_t c;
    if (s[0] < 0x80 && (v & 0xFFFF)) continue;
    if (utf8_decode((const char *)s, 3, &c) != slow_decode(s)) fail_msg("bytes %02x %02x %02x", s[0], s[1], s[2]);
  }
}

static void valid_prefix_tells_bad_from_truncated(void **state) {
  (void)state;
  size_t bad;
  assert_int_equal(utf8_valid_prefix("ab\xC3", 3, &bad), 2);
  assert_int_equal(bad, 3);
  assert_int_equal(utf8_valid_prefix("ab\xC3(", 4, &bad), 2);
  assert_int_equal(bad, 2);
  assert_int_equal(utf8_valid_prefix("\xED\xA0\x80", 3, &bad), 0);
  assert_int_equal(bad, 0);
  assert_int_equal(utf8_valid_prefix("a\0b", 3, &bad), 3);
  assert_int_equal(bad, 3);
  assert_int_equal(utf8_valid_prefix("", 0, &bad), 0);
  assert_int_equal(bad, 0);
}

/* First outputs of xoshiro256** 1.0 with its state filled by splitmix64 from the seed, as the authors' C code gives
 * them. */
static void the_random_sequence_is_fixed(void **state) {
  (void)state;
  static const uint64_t from_zero[] = {0x99EC5F36CB75F2B4u, 0xBF6E1F784956452Au, 0x1A5F849D4933E6E0u};
  struct rng r;
  rng_seed(&r, 0);
  assert_true(r.s[0] == 0xE220A8397B1DCDAFu); /* splitmix64's first output from 0 */
  for (size_t i = 0; i < 3; i++) assert_true(rng_u64(&r) == from_zero[i]);
}

static void named_streams_differ(void **state) {
  (void)state;
  struct rng a, b, c, again;
  rng_seed_named(&a, 1, "grocery");
  rng_seed_named(&b, 1, "rps");
  rng_seed_named(&c, 2, "grocery");
  rng_seed_named(&again, 1, "grocery");
  uint64_t first = rng_u64(&a);
  assert_true(first == rng_u64(&again));
  assert_true(first != rng_u64(&b));
  assert_true(first != rng_u64(&c));
}

static void below_is_uniform_and_in_range(void **state) {
  (void)state;
  struct rng r;
  rng_seed(&r, 11);
  uint32_t seen[7] = {0};
  for (int i = 0; i < 70000; i++) {
    uint32_t v = rng_below(&r, 7);
    assert_true(v < 7);
    seen[v]++;
  }
  double chi2 = 0;
  for (int i = 0; i < 7; i++) chi2 += ((double)seen[i] - 10000) * ((double)seen[i] - 10000) / 10000;
  assert_true(chi2 < 22.46); /* 99.9 % of chi-squared with 6 degrees */
  for (int i = 0; i < 100; i++) assert_int_equal(rng_below(&r, 1), 0);
  /* With n just above 2^31 nearly half of the draws must be refused: the mean shows a bias at once. */
  double sum = 0;
  uint32_t n = 0x80000001u;
  for (int i = 0; i < 40000; i++) sum += (double)rng_below(&r, n) / n;
  assert_true(fabs(sum / 40000 - 0.5) < 0.006);
}

static void doubles_and_normals(void **state) {
  (void)state;
  struct rng r;
  rng_seed(&r, 5);
  double sum = 0, sum2 = 0, normal = 0, normal2 = 0;
  for (int i = 0; i < 100000; i++) {
    double u = rng_double(&r), z = rng_normal(&r);
    assert_true(u >= 0 && u < 1);
    sum += u;
    sum2 += u * u;
    normal += z;
    normal2 += z * z;
  }
  assert_true(fabs(sum / 1e5 - 0.5) < 0.005);
  assert_true(fabs(sum2 / 1e5 - 1.0 / 3) < 0.005);
  assert_true(fabs(normal / 1e5) < 0.015);
  assert_true(fabs(normal2 / 1e5 - 1) < 0.02);
}

static void sha256_known_answers(void **state) {
  (void)state;
  unsigned char digest[SHA256_BYTES];
  char hex[65];
  sha256("", 0, digest);
  hex_of(digest, 32, hex);
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, digest);
  hex_of(digest, 32, hex);
  assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  struct sha256_stream *s = sha256_begin();
  char a[1000];
  memset(a, 'a', sizeof a);
  for (int i = 0; i < 1000; i++) sha256_add(s, a, sizeof a);
  sha256_end(s, digest);
  hex_of(digest, 32, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void hash64_is_stable_and_spreads(void **state) {
  (void)state;
  /* The finalizer over FNV-1a's published values of "" and "foobar". */
  assert_true(hash64("", 0) == 0xEFD01F60BA992926u);
  assert_true(hash64("foobar", 6) == 0x2C22194922D1672Bu);
  int buckets[64] = {0};
  for (int i = 0; i < 6400; i++) {
    char key[16];
    buckets[hash64(key, (size_t)snprintf(key, sizeof key, "%d", i)) % 64]++;
  }
  for (int i = 0; i < 64; i++) assert_in_range(buckets[i], 60, 145);
}

static void clocks(void **state) {
  (void)state;
  char text[32];
  clock_iso8601(0, text);
  assert_string_equal(text, "1970-01-01T00:00:00Z");
  clock_iso8601(1795417465999999999, text);
  assert_string_equal(text, "2026-11-23T07:04:25Z");
  clock_iso8601(-1, text);
  assert_string_equal(text, "1969-12-31T23:59:59Z");
  int64_t before = clock_mono_ns();
  clock_sleep_ns(3000000);
  clock_sleep_ns(-5);
  int64_t took = clock_mono_ns() - before;
  assert_true(took >= 3000000);
  assert_true(clock_wall_ns() > 1600000000LL * 1000000000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_codepoint_survives_a_round_trip),
      cmocka_unit_test(decoding_agrees_with_the_table),
      cmocka_unit_test(valid_prefix_tells_bad_from_truncated),
      cmocka_unit_test(the_random_sequence_is_fixed),
      cmocka_unit_test(named_streams_differ),
      cmocka_unit_test(below_is_uniform_and_in_range),
      cmocka_unit_test(doubles_and_normals),
      cmocka_unit_test(sha256_known_answers),
      cmocka_unit_test(hash64_is_stable_and_spreads),
      cmocka_unit_test(clocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
