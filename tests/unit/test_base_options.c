/* base: options, suggestions, spec strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct values {
  bool json, quiet;
  const char *policy;
  int64_t limit;
  double rate;
  struct string_list rules;
};

static const struct verb_help help = {
    .verb = "filter",
    .summary = "stop harmful output",
    .usage = "sluice filter --policy FILE [options] < stream",
    .examples = "curl -N api | sluice filter --policy p.json\nsluice filter --policy p.json --json < log",
    .notes = "exit status 3: stopped",
};

#define PARSE(v, ...) parse((v), (const char *const[]){"filter", __VA_ARGS__, NULL})

static struct sluice_error err;
static struct string_list positional;
static bool helped;

static sluice_status parse(struct values *v, const char *const *words) {
  static char copies[16][64];
  char *argv[17] = {0};
  int argc = 0;
  for (; words[argc]; argc++) {
    snprintf(copies[argc], sizeof copies[argc], "%s", words[argc]);
    argv[argc] = copies[argc];
  }
  *v = (struct values){.limit = 7};
  const struct option_spec specs[] = {
      {"json", 'j', OPTION_FLAG, &v->json, NULL, "JSON lines"},
      {"quiet", 'q', OPTION_FLAG, &v->quiet, NULL, "say nothing"},
      {"policy", 'p', OPTION_STRING, &v->policy, "FILE", "rules"},
      {"limit", 'n', OPTION_INT, &v->limit, "TOKENS", "tokens (default 7)"},
      {"rate", 0, OPTION_DOUBLE, &v->rate, "HZ", "pieces a second"},
      {"rule", 'r', OPTION_LIST, &v->rules, "ID", "only this rule"},
  };
  memset(&err, 0, sizeof err);
  return options_parse(&help, specs, 6, argc, argv, &positional, &helped, &err);
}

static void release(struct values *v) {
  free(v->rules.items);
  free(positional.items);
  positional = (struct string_list){0};
}

static void all_forms_are_understood(void **state) {
  (void)state;
  struct values v;
  assert_int_equal(
      PARSE(&v, "--policy", "a.json", "--limit=12", "-jq", "--rule", "x", "-ry", "in.txt", "-", "--", "--json"),
      SLUICE_OK);
  assert_true(v.json && v.quiet && !helped);
  assert_string_equal(v.policy, "a.json");
  assert_int_equal(v.limit, 12);
  assert_int_equal(v.rules.n, 2);
  assert_string_equal(v.rules.items[0], "x");
  assert_string_equal(v.rules.items[1], "y");
  assert_int_equal(positional.n, 3);
  assert_string_equal(positional.items[0], "in.txt");
  assert_string_equal(positional.items[1], "-");
  assert_string_equal(positional.items[2], "--json");
  release(&v);
  assert_int_equal(PARSE(&v, "-n", "-5", "--rate", "-1.5e2", "--policy="), SLUICE_OK);
  assert_int_equal(v.limit, -5);
  assert_true(v.rate == -150.0);
  assert_string_equal(v.policy, "");
  release(&v);
}

static void refused(const char *wanted, const char *const *words) {
  struct values v;
  assert_int_equal(parse(&v, words), SLUICE_USAGE);
  if (!strstr(err.message, wanted)) fail_msg("\"%s\" does not contain \"%s\"", err.message, wanted);
  assert_int_equal(positional.n, 0);
  free(v.rules.items);
}

#define REFUSED(wanted, ...) refused(wanted, (const char *const[]){"filter", __VA_ARGS__, NULL})

static void mistakes_are_named(void **state) {
  (void)state;
  REFUSED("did you mean --policy?", "--polcy", "x");
  REFUSED("did you mean --policy?", "word", "--ploicy=x");
  REFUSED("did you mean --help?", "--hepl");
  REFUSED("`sluice filter -h`", "--zzzzzzzz");
  REFUSED("no option -x (in \"-jx\")", "-jx");
  REFUSED("--limit 12x: expected a whole number", "--limit", "12x");
  REFUSED("a whole number", "--limit", "1.0");
  REFUSED("a whole number", "--limit=");
  REFUSED("a whole number", "--limit", " 5");
  REFUSED("a whole number", "--limit=99999999999999999999");
  REFUSED("a number", "--rate", "fast");
  REFUSED("a number", "--rate", "1e999");
  REFUSED("a number", "--rate=nan");
  REFUSED("--policy needs FILE", "--policy");
  REFUSED("--policy needs FILE", "--policy", "--json");
  REFUSED("--json takes no value", "--json=yes");
}

static void help_starts_with_examples(void **state) {
  (void)state;
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  const struct option_spec specs[] = {{"policy", 'p', OPTION_STRING, NULL, "FILE", "rules"},
                                      {"rule", 0, OPTION_LIST, NULL, "ID", "only this rule"}};
  options_print_help(out, &help, specs, 2);
  fclose(out);
  char *examples = strstr(text, "Examples:\n  curl -N api"), *usage = strstr(text, "Usage:\n  sluice filter");
  assert_non_null(examples);
  assert_non_null(usage);
  assert_true(examples < usage);
  assert_non_null(strstr(text, "  -p, --policy FILE  rules\n"));
  assert_non_null(strstr(text, "      --rule ID      only this rule (may be given several times)\n"));
  assert_non_null(strstr(text, "  -h, --help         print this and exit\n"));
  assert_non_null(strstr(text, "Notes:\n  exit status 3"));
  assert_null(strchr(text, '\033')); /* not a terminal */
  free(text);
}

static void suggestions(void **state) {
  (void)state;
  static const char *const known[] = {"streaming", "sirllm", "window", "full", "recompute", NULL};
  assert_string_equal(suggest("steaming", known), "streaming");
  assert_string_equal(suggest("sirlml", known), "sirllm");
  assert_string_equal(suggest("ful", known), "full");
  assert_string_equal(suggest("stream", known), "streaming");
  assert_null(suggest("quantized", known));
  assert_null(suggest("", known));
  assert_null(suggest("x", known));
  char longest[5000];
  memset(longest, 'a', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  assert_null(suggest(longest, known));
  const char *const long_known[] = {longest, NULL};
  assert_null(suggest("aaaa", long_known));
}

static void specs_are_cut(void **state) {
  (void)state;
  struct spec s;
  int64_t n;
  double d;
  assert_int_equal(spec_parse("streaming", &s, &err), SLUICE_OK);
  assert_string_equal(s.name, "streaming");
  assert_int_equal(s.n, 0);
  assert_int_equal(spec_int(&s, "sinks", 4, 0, 100, &n, &err), SLUICE_OK);
  assert_int_equal(n, 4);
  spec_free(&s);
  assert_int_equal(spec_parse("sirllm:mode=paper,decay=0.7,file=C:\\,x\\\\=y,empty=", &s, &err), SLUICE_OK);
  assert_int_equal(s.n, 4);
  assert_string_equal(spec_get(&s, "mode"), "paper");
  assert_string_equal(spec_get(&s, "file"), "C:,x\\=y");
  assert_string_equal(spec_get(&s, "empty"), "");
  assert_null(spec_get(&s, "mod"));
  assert_int_equal(spec_double(&s, "decay", 1, 0, 1, &d, &err), SLUICE_OK);
  assert_true(d == 0.7);
  spec_free(&s);
  assert_null(s.name);
}

static void bad_spec(const char *text, sluice_status code, const char *wanted) {
  struct spec s;
  assert_int_equal(spec_parse(text, &s, &err), code);
  if (!strstr(err.message, wanted)) fail_msg("\"%s\" does not contain \"%s\"", err.message, wanted);
  assert_null(s.name);
}

static void bad_specs_are_refused(void **state) {
  (void)state;
  bad_spec("", SLUICE_USAGE, "expected a name");
  bad_spec(":a=1", SLUICE_USAGE, "expected a name");
  bad_spec("sinks=4", SLUICE_USAGE, "a colon before");
  bad_spec("a:", SLUICE_USAGE, "key=value");
  bad_spec("a:b", SLUICE_USAGE, "key=value at \"b\"");
  bad_spec("a:b=1,", SLUICE_USAGE, "key=value");
  bad_spec("a:=1", SLUICE_USAGE, "key=value");
  bad_spec("a:b=1,b=2", SLUICE_USAGE, "b is given twice");
  char *huge = calloc(1, 10000), many[1000] = "a:";
  memset(huge, 'a', 9999);
  bad_spec(huge, SLUICE_LIMIT, "4096");
  free(huge);
  for (int i = 0; i < 65; i++) {
    size_t used = strlen(many);
    snprintf(many + used, sizeof many - used, "%sk%d=1", i ? "," : "", i);
  }
  bad_spec(many, SLUICE_LIMIT, "more than 64 keys");
}

static void spec_values_are_checked(void **state) {
  (void)state;
  static const char *const known[] = {"sinks", "recent", NULL}, *const none[] = {NULL};
  static const char *const not_int[] = {"p:sinks=4x",
                                        "p:sinks=",
                                        "p:sinks=+4",
                                        "p:sinks= 4",
                                        "p:sinks=101",
                                        "p:sinks=-1",
                                        "p:sinks=99999999999999999999"};
  struct spec s;
  int64_t n;
  double d;
  for (size_t i = 0; i < sizeof not_int / sizeof *not_int; i++) {
    assert_int_equal(spec_parse(not_int[i], &s, &err), SLUICE_OK);
    assert_int_equal(spec_int(&s, "sinks", 1, 0, 100, &n, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.message, "0 to 100"));
    spec_free(&s);
  }
  assert_int_equal(spec_parse("p:sink=1", &s, &err), SLUICE_OK);
  assert_int_equal(spec_check_keys(&s, known, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "did you mean \"sinks\"?"));
  assert_int_equal(spec_check_keys(&s, none, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "none"));
  assert_int_equal(spec_double(&s, "sink", 0, 2, 3, &d, &err), SLUICE_USAGE);
  spec_free(&s);
  assert_int_equal(spec_parse("p:wxyz=1,recent=inf", &s, &err), SLUICE_OK);
  assert_int_equal(spec_check_keys(&s, known, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "sinks, recent"));
  assert_int_equal(spec_double(&s, "recent", 0, 0, 1e308, &d, &err), SLUICE_USAGE);
  spec_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_forms_are_understood),
      cmocka_unit_test(mistakes_are_named),
      cmocka_unit_test(help_starts_with_examples),
      cmocka_unit_test(suggestions),
      cmocka_unit_test(specs_are_cut),
      cmocka_unit_test(bad_specs_are_refused),
      cmocka_unit_test(spec_values_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
