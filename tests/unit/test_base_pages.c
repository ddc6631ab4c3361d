/* base: the manual page and the completion words of an option table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/options_pages.h"

static bool flag;
static const char *file;
static struct string_list list;

static const struct option_spec specs[] = {
    {"json-lines", 'j', OPTION_FLAG, &flag, NULL, "one object a line."},
    {"policy", 0, OPTION_STRING, &file, "FILE", "`full` or it's a\\b"},
    {"cells", 0, OPTION_LIST, &list, "PATTERN", ".hidden too"},
};

static const struct verb_help help = {
    .verb = "toy box",
    .summary = "list, make and show toys",
    .usage = "sluice toy box list | make [A|B] SPEC [--n N] | show-all | --never\n"
             "sluice other first|second",
    .examples = "  sluice toy box list\n"
                "      --continued 'x'\n"
                ".dotted\n",
    .notes = "First note with a lone ` mark.\n"
             "Exit codes: 0 fine,\n"
             "2 not.\n"
             "Last note.\n",
};

typedef void (*print_fn)(FILE *, const struct verb_help *, const struct option_spec *, size_t);

static char *printed(print_fn print, const struct verb_help *h, size_t n) {
  char *text = NULL;
  size_t len;
  FILE *out = open_memstream(&text, &len);
  assert_non_null(out);
  print(out, h, specs, n);
  fclose(out);
  return text;
}

static void expect(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no \"%s\" in:\n%s", part, text);
}

static void test_words(void **state) {
  (void)state;
  char *text = printed(options_print_words, &help, 3);
  assert_string_equal(text, "list\t-\t-\nmake\t-\t-\nshow-all\t-\t-\n"
                            "--json-lines\t-\tone object a line.\n--policy\tFILE\t`full` or it's a\\b\n"
                            "--cells\tPATTERN\t.hidden too\n--help\t-\tprint a summary with examples, and exit\n");
  free(text);
}

static void test_no_actions(void **state) {
  static const char *const usages[] = {"sluice toy box",
                                       "sluice toy box LEDGER [VIEW]",
                                       "sluice toy box [list|show]",
                                       "sluice toy box --list | FILE",
                                       "sluice toy boxes list | show",
                                       ""};
  (void)state;
  for (size_t i = 0; i < sizeof usages / sizeof *usages; i++) {
    struct verb_help h = help;
    h.usage = usages[i];
    char *text = printed(options_print_words, &h, 0);
    assert_string_equal(text, "--help\t-\tprint a summary with examples, and exit\n");
    free(text);
  }
}

static void test_page(void **state) {
  static const char *const order[] = {
      ".TH SLUICE\\-TOY\\-BOX 1", ".SH NAME",  ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS",
      ".SH EXIT STATUS",          ".SH NOTES", ".SH EXAMPLES", ".SH SEE ALSO"};
  (void)state;
  char *text = printed(options_print_man, &help, 3), *at = text;
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    char *found = strstr(at, order[i]);
    if (!found) fail_msg("no \"%s\" behind the sections before it:\n%s", order[i], text);
    at = found;
  }
  expect(text, "sluice\\-toy\\-box \\- list, make and show toys\n");
  expect(text, "\\fBsluice toy box\\fR list | make");
  expect(text, "\\fB\\-j\\fR, \\fB\\-\\-json\\-lines\\fR\nOne object a line.\n");
  expect(text, "\\fB\\-\\-policy\\fR \\fIFILE\\fR\n\\fBfull\\fR or it\\(aqs a\\(rsb.\n");
  expect(text, "\n\\&.hidden too.\nMay be given several times.\n");
  expect(text, ".nf\nsluice toy box list\n    \\-\\-continued \\(aqx\\(aq\n\\&.dotted\n.fi\n");
  expect(text,
         ".SH EXIT STATUS\nExit codes: 0 fine,\n2 not.\n.SH NOTES\nFirst note with a lone \\(ga mark.\nLast note.\n");
  free(text);
}

static void test_page_of_little(void **state) {
  (void)state;
  struct verb_help h = {.verb = "x", .summary = "do x", .usage = "sluice x"};
  char *text = printed(options_print_man, &h, 0);
  expect(text, ".SH EXIT STATUS\n0 when all went well");
  assert_null(strstr(text, ".SH NOTES"));
  assert_null(strstr(text, ".SH EXAMPLES"));
  free(text);
}

static void test_asked_for(void **state) {
  (void)state;
  static const char *const bad[] = {"--help=", "--help=mn", "--help=word"};
  struct string_list rest;
  struct sluice_error err;
  bool helped;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char word[16], *argv[] = {"toy", word, NULL};
    snprintf(word, sizeof word, "%s", bad[i]);
    assert_int_equal(options_parse(&help, specs, 3, 2, argv, &rest, &helped, &err), SLUICE_USAGE);
    assert_false(helped);
    expect(err.message, "--help=man");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_no_actions),
                                     cmocka_unit_test(test_page), cmocka_unit_test(test_page_of_little),
                                     cmocka_unit_test(test_asked_for)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
