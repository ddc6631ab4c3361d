/* The command line: one table feeds parsing, help, the manual and completion. */
#include "base/options_pages.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/* Damerau-Levenshtein distance in its optimal-string-alignment form: a swapped pair of letters counts one. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
  size_t rows[3][WORD_MAX + 1];
  size_t *before = rows[0], *last = rows[1], *now = rows[2];
  for (size_t j = 0; j <= nb; j++) last[j] = j;
  for (size_t i = 1; i <= na; i++) {
    now[0] = i;
    for (size_t j = 1; j <= nb; j++) {
      size_t cost = a[i - 1] != b[j - 1];
      now[j] = smaller(last[j - 1] + cost, smaller(last[j], now[j - 1]) + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = smaller(now[j], before[j - 2] + 1);
    }
    size_t *spare = before;
    before = last;
    last = now;
    now = spare;
  }
  return last[nb];
}

/* A word that a known one begins with ("temp" for "temperature") counts as near, but less near than a misspelling. */
const char *suggest(const char *word, const char *const *known) {
  size_t len = strlen(word), best = SIZE_MAX;
  const char *found = NULL;
  if (len == 0 || len > WORD_MAX) return NULL;
  size_t reach = smaller(3, (len + 1) / 2);
  for (; *known; known++) {
    size_t known_len = strlen(*known);
    if (known_len > WORD_MAX) continue;
    size_t d = edit_distance(word, len, *known, known_len);
    if (d > reach && len >= 3 && strncmp(word, *known, len) == 0) d = reach;
    if (d > reach || d >= best) continue;
    best = d;
    found = *known;
  }
  return found;
}

struct parse {
  const struct verb_help *help;
  const struct option_spec *specs;
  size_t n_specs;
  int argc, at; /* at: the word being read */
  char **argv;
  void (*print)(FILE *, const struct verb_help *, const struct option_spec *, size_t); /* what help was asked for */
  struct sluice_error *err;
};

static sluice_status unknown_option(struct parse *p, const char *name, size_t len) {
  char word[WORD_MAX + 1];
  const char **known = calloc(p->n_specs + 2, sizeof *known);
  if (!known) return sluice_fail(p->err, SLUICE_NOMEM, "out of memory");
  for (size_t i = 0; i < p->n_specs; i++) known[i] = p->specs[i].name;
  known[p->n_specs] = "help";
  snprintf(word, sizeof word, "%.*s", (int)smaller(len, WORD_MAX), name);
  const char *near = suggest(word, known);
  sluice_status st =
      near ? sluice_fail(p->err, SLUICE_USAGE, "no option --%s; did you mean --%s?", word, near)
           : sluice_fail(p->err, SLUICE_USAGE, "no option --%s; `sluice %s -h` lists them", word, p->help->verb);
  free(known);
  return st;
}

static sluice_status bad_value(struct parse *p, const struct option_spec *o, const char *text, const char *wanted) {
  return sluice_fail(p->err, SLUICE_USAGE, "--%s %s: expected %s", o->name, text, wanted);
}

static sluice_status store_int(struct parse *p, const struct option_spec *o, const char *text) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end || errno || (*text != '-' && (*text < '0' || *text > '9')))
    return bad_value(p, o, text, "a whole number");
  *(int64_t *)o->target = value;
  return SLUICE_OK;
}

static sluice_status store_double(struct parse *p, const struct option_spec *o, const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !isfinite(value)) return bad_value(p, o, text, "a number");
  *(double *)o->target = value;
  return SLUICE_OK;
}

static sluice_status append(struct string_list *list, char *item, struct sluice_error *err) {
  char **grown = realloc(list->items, (list->n + 1) * sizeof *grown);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  list->items = grown;
  list->items[list->n++] = item;
  return SLUICE_OK;
}

static sluice_status store(struct parse *p, const struct option_spec *o, char *text) {
  switch (o->kind) {
  case OPTION_FLAG:
    *(bool *)o->target = true;
    return SLUICE_OK;
  case OPTION_STRING:
    *(const char **)o->target = text;
    return SLUICE_OK;
  case OPTION_INT:
    return store_int(p, o, text);
  case OPTION_DOUBLE:
    return store_double(p, o, text);
  case OPTION_LIST:
    return append(o->target, text, p->err);
  }
  return sluice_fail(p->err, SLUICE_INTERNAL, "option --%s has no kind", o->name);
}

/* The value stands behind "=" or is the next word; a next word may begin with a dash (a negative number, "-" for
 * stdin), but one that begins with two dashes is taken for a forgotten value. */
static sluice_status store_with_value(struct parse *p, const struct option_spec *o, char *attached) {
  if (o->kind == OPTION_FLAG) {
    if (attached) return sluice_fail(p->err, SLUICE_USAGE, "--%s takes no value (got \"%s\")", o->name, attached);
    return store(p, o, NULL);
  }
  if (!attached && p->at + 1 < p->argc && strncmp(p->argv[p->at + 1], "--", 2) != 0) attached = p->argv[++p->at];
  if (!attached)
    return sluice_fail(p->err, SLUICE_USAGE, "--%s needs %s", o->name, o->argument ? o->argument : "a value");
  return store(p, o, attached);
}

/* "--help", and for scripts "--help=man" and "--help=words". */
static sluice_status parse_help(struct parse *p, const char *form, bool *helped) {
  if (form && !strcmp(form, "man"))
    p->print = options_print_man;
  else if (form && !strcmp(form, "words"))
    p->print = options_print_words;
  else if (form)
    return sluice_fail(p->err, SLUICE_USAGE, "--help=%s: there are --help, --help=man and --help=words", form);
  *helped = true;
  return SLUICE_OK;
}

static sluice_status parse_long(struct parse *p, char *word, bool *helped) {
  char *name = word + 2, *equals = strchr(name, '=');
  size_t len = equals ? (size_t)(equals - name) : strlen(name);
  if (len == 4 && strncmp(name, "help", 4) == 0) return parse_help(p, equals ? equals + 1 : NULL, helped);
  for (size_t i = 0; i < p->n_specs; i++) {
    const char *known = p->specs[i].name;
    if (strlen(known) == len && strncmp(known, name, len) == 0)
      return store_with_value(p, &p->specs[i], equals ? equals + 1 : NULL);
  }
  return unknown_option(p, name, len);
}

/* "-v", "-vq", "-n5", "-n 5" */
static sluice_status parse_letters(struct parse *p, char *word, bool *helped) {
  for (char *at = word + 1; *at; at++) {
    const struct option_spec *found = NULL;
    for (size_t i = 0; i < p->n_specs && !found; i++)
      if (p->specs[i].letter == *at) found = &p->specs[i];
    if (!found && *at == 'h') {
      *helped = true;
      return SLUICE_OK;
    }
    if (!found)
      return sluice_fail(p->err, SLUICE_USAGE, "no option -%c (in \"%s\"); `sluice %s -h` lists them", *at, word,
                         p->help->verb);
    if (found->kind != OPTION_FLAG) return store_with_value(p, found, at[1] ? at + 1 : NULL);
    sluice_status st = store(p, found, NULL);
    if (st) return st;
  }
  return SLUICE_OK;
}

sluice_status options_parse(const struct verb_help *help, const struct option_spec *specs, size_t n_specs, int argc,
                            char **argv, struct string_list *positional, bool *helped, struct sluice_error *err) {
  struct parse p = {help, specs, n_specs, argc, 1, argv, options_print_help, err};
  bool only_words = false;
  *helped = false;
  *positional = (struct string_list){0};
  sluice_status st = SLUICE_OK;
  for (; p.at < argc && !st && !*helped; p.at++) {
    char *word = argv[p.at];
    if (only_words || word[0] != '-' || word[1] == '\0')
      st = append(positional, word, err);
    else if (strcmp(word, "--") == 0)
      only_words = true;
    else
      st = word[1] == '-' ? parse_long(&p, word, helped) : parse_letters(&p, word, helped);
  }
  if (*helped) p.print(stdout, help, specs, n_specs);
  if (st) {
    free(positional->items);
    *positional = (struct string_list){0};
  }
  return st;
}

static void print_block(FILE *out, const char *title, const char *lines, bool colour) {
  if (!lines || !*lines) return;
  fprintf(out, "\n%s%s:%s\n", colour ? "\033[1m" : "", title, colour ? "\033[0m" : "");
  while (*lines) {
    size_t len = strcspn(lines, "\n");
    fprintf(out, len ? "  %.*s\n" : "\n", (int)len, lines);
    lines += len + (lines[len] == '\n');
  }
}

static int option_width(const struct option_spec *o) {
  return (int)(strlen(o->name) + (o->argument && o->kind != OPTION_FLAG ? strlen(o->argument) + 1 : 0));
}

static void print_option(FILE *out, const struct option_spec *o, int width) {
  char letter[8] = "    ";
  if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
  bool value = o->kind != OPTION_FLAG && o->argument;
  fprintf(out, "  %s--%s%s%s%*s  %s%s\n", letter, o->name, value ? " " : "", value ? o->argument : "",
          width - option_width(o), "", o->help, o->kind == OPTION_LIST ? " (may be given several times)" : "");
}

void options_print_help(FILE *out, const struct verb_help *help, const struct option_spec *specs, size_t n_specs) {
  static const struct option_spec help_option = {"help", 'h', OPTION_FLAG, NULL, NULL, "print this and exit"};
  bool colour = term_colour(out);
  int width = option_width(&help_option);
  for (size_t i = 0; i < n_specs; i++)
    if (option_width(&specs[i]) > width) width = option_width(&specs[i]);
  fprintf(out, "sluice %s: %s\n", help->verb, help->summary);
  print_block(out, "Examples", help->examples, colour);
  print_block(out, "Usage", help->usage, colour);
  fprintf(out, "\n%sOptions:%s\n", colour ? "\033[1m" : "", colour ? "\033[0m" : "");
  for (size_t i = 0; i < n_specs; i++) print_option(out, &specs[i], width);
  print_option(out, &help_option, width);
  print_block(out, "Notes", help->notes, colour);
}
