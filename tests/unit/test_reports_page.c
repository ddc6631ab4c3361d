/* Escaping, numbers, labels, and the palette's contrast in both themes. */
#include "reports/page.h"
#include "reports/svg.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct sluice_error err;
static struct buffer out;

static const char *drawn(struct page *p) {
  assert_int_equal(p->status, SLUICE_OK);
  return out.ptr ? out.ptr : "";
}

static struct page fresh(void) {
  buffer_free(&out);
  buffer_init(&out, 1 << 20);
  return (struct page){&out, SLUICE_OK, &err};
}

static const char *escaped(enum markup m, const char *text, size_t len) {
  struct page p = fresh();
  put_slice(&p, m, (struct slice){text, len});
  return drawn(&p);
}

static void markup_is_neutral(void **state) {
  (void)state;
  assert_string_equal(escaped(MARKUP_PLAIN, "<a href='x' b=\"y\">&", 19),
                      "&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;");
  assert_string_equal(escaped(MARKUP_PLAIN, "a\0b", 3), "a\\u{0}b");
  assert_string_equal(escaped(MARKUP_PLAIN, "\xc3", 1), "\\xC3");                   /* cut in the middle */
  assert_string_equal(escaped(MARKUP_PLAIN, "\xed\xa0\x80", 3), "\\xED\\xA0\\x80"); /* a surrogate */
  assert_string_equal(escaped(MARKUP_PLAIN, "\xc0\xaf", 2), "\\xC0\\xAF");          /* overlong / */
  assert_string_equal(escaped(MARKUP_HTML, "\xe2\x80\xae", 3), "<span class=\"u\">\\u{202E}</span>");
  assert_string_equal(escaped(MARKUP_PLAIN, "\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf\xf3\xa0\x81\x81", 13),
                      "\\u{2066}\\u{200B}\\u{FEFF}\\u{E0041}");
  assert_string_equal(escaped(MARKUP_PLAIN, "\xe2\x80\xa8|\x1b[31m", 9), "\\u{2028}|\\u{1B}[31m");
  assert_string_equal(escaped(MARKUP_PLAIN, "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5\xe6\x9c\xac", 13), "grüß 日本");
  assert_string_equal(escaped(MARKUP_PLAIN,
                              "a\xe2\x80\x8d"
                              "b",
                              5),
                      "a\xe2\x80\x8d"
                      "b"); /* a joiner stays */
}

static void other_markups_are_neutral_too(void **state) {
  (void)state;
  assert_string_equal(escaped(MARKUP_CSV, "a\"b,c\n", 6), "\"a\"\"b,c\n\"");
  assert_string_equal(escaped(MARKUP_CSV, "=cmd|x", 6), "\"'=cmd|x\""); /* no spreadsheet runs it */
  assert_string_equal(escaped(MARKUP_MARKDOWN, "a|b\n*c* _d_ `e` [f]", 18), "a\\|b<br>\\*c\\* \\_d\\_ \\`e\\` \\[f");
}

static void clipping_keeps_characters_whole(void **state) {
  (void)state;
  char text[400];
  for (int i = 0; i < 200; i++) memcpy(text + 2 * i, "\xc3\xa9", 2);
  struct page p = fresh();
  put_clipped(&p, MARKUP_PLAIN, (struct slice){text, 400}, 101);
  const char *got = drawn(&p);
  assert_null(strstr(got, "\\x"));
  assert_non_null(strstr(got, "300 more bytes"));
}

static void numbers_read_well(void **state) {
  (void)state;
  struct page p = fresh();
  put_percent(&p, 0.9625, 1);
  put(&p, " ");
  put_points(&p, -0.1204, 1);
  put(&p, " ");
  put_points(&p, 0.05, 1);
  put(&p, " ");
  put_points(&p, -0.00001, 1);
  put(&p, " ");
  put_count(&p, 1234567);
  put(&p, " ");
  put_number(&p, NAN, 2);
  put(&p, " ");
  put_number(&p, -INFINITY, 2);
  put(&p, " ");
  put_bytes(&p, 1536);
  put(&p, " ");
  put_p_value(&p, 0.0002);
  assert_string_equal(drawn(&p), "96.2 −12.0 +5.0 0.0 1\xe2\x80\xaf"
                                 "234\xe2\x80\xaf"
                                 "567 – −∞ 1.50\xc2\xa0KiB &lt;0.001");
}

static void first_error_sticks(void **state) {
  (void)state;
  struct buffer small;
  buffer_init(&small, 8);
  struct page p = {&small, SLUICE_OK, &err};
  put(&p, "123456789");
  assert_int_equal(p.status, SLUICE_LIMIT);
  put(&p, "1");
  putf(&p, "%d", 1);
  put_text(&p, "<");
  assert_int_equal(p.status, SLUICE_LIMIT);
  buffer_free(&small);
}

static void ticks_and_labels_stay_inside(void **state) {
  (void)state;
  double t[16];
  struct scale s = {-0.93, 0.1, 0, 100, false};
  size_t n = scale_ticks(&s, 6, t);
  assert_true(n >= 3 && n <= 7);
  for (size_t i = 0; i < n; i++) assert_true(t[i] >= s.low - 1e-9 && t[i] <= s.high + 1e-9);
  struct scale l = {8, 4000000, 0, 100, true};
  n = scale_ticks(&l, 10, t);
  assert_true(n >= 4 && n <= 10);
  struct scale flat = {1, 1, 0, 100, false};
  assert_int_equal(scale_ticks(&flat, 5, t), 0);
  assert_true(scale_at(&flat, 1) == 50 && scale_at(&s, NAN) == 0 && scale_at(&s, 1e300) == 100);
  double y[] = {50, 50, 50, 10, 99};
  labels_spread(y, 5, 12, 0, 100);
  for (int i = 0; i < 5; i++) {
    assert_true(y[i] >= -1e-9 && y[i] <= 100 + 1e-9);
    for (int j = 0; j < i; j++) assert_true(fabs(y[i] - y[j]) >= 12 - 1e-9);
  }
}

static double linear(const char *hex) {
  double v = (double)strtol((char[]){hex[0], hex[1], 0}, NULL, 16) / 255;
  return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

/* WCAG 2.2 relative luminance of "#rrggbb". */
static double luminance(const char *colour) {
  assert_true(colour[0] == '#' && strlen(colour) == 7);
  return 0.2126 * linear(colour + 1) + 0.7152 * linear(colour + 3) + 0.0722 * linear(colour + 5);
}

static const struct palette_colour *colour_named(const char *name) {
  for (const struct palette_colour *c = palette_colours(); c->name; c++)
    if (!strcmp(c->name, name)) return c;
  fail_msg("no colour %s", name);
  return NULL;
}

static double contrast(const char *a, const char *b) {
  double x = luminance(a), y = luminance(b);
  return (fmax(x, y) + 0.05) / (fmin(x, y) + 0.05);
}

static void palette_is_readable_in_both_themes(void **state) {
  (void)state;
  assert_true(fabs(contrast("#ffffff", "#000000") - 21) < 1e-9);
  assert_true(fabs(contrast("#777777", "#ffffff") - 4.478) < 1e-3); /* the well-known grey that just fails */
  size_t pairs = 0;
  for (const struct palette_pair *p = palette_pairs(); p->front; p++, pairs++) {
    const struct palette_colour *front = colour_named(p->front), *back = colour_named(p->back);
    double light = contrast(front->light, back->light), dark = contrast(front->dark, back->dark);
    if (light < p->ratio) fail_msg("%s on %s, light: %.2f of %.1f", p->front, p->back, light, p->ratio);
    if (dark < p->ratio) fail_msg("%s on %s, dark: %.2f of %.1f", p->front, p->back, dark, p->ratio);
  }
  assert_true(pairs > 40);
}

static int finish(void **state) {
  (void)state;
  buffer_free(&out);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(markup_is_neutral),
      cmocka_unit_test(other_markups_are_neutral_too),
      cmocka_unit_test(clipping_keeps_characters_whole),
      cmocka_unit_test(numbers_read_well),
      cmocka_unit_test(first_error_sticks),
      cmocka_unit_test(ticks_and_labels_stay_inside),
      cmocka_unit_test(palette_is_readable_in_both_themes),
  };
  return cmocka_run_group_tests(tests, NULL, finish);
}
