/* The option tables in two more forms: a manual page (`sluice VERB --help=man`) and words to complete (`--help=words`).
 * Pages hold no date and no path: the same program gives the same bytes. */
#include "base/options_pages.h"

#include <ctype.h>
#include <string.h>

static const struct option_spec help_option = {"help", 'h',  OPTION_FLAG,
                                               NULL,   NULL, "print a summary with examples, and exit"};

/* One character of text for roff: what it would read as an instruction, or set as a typographic quote or hyphen, is
 * spelled out, so that an example can be copied from the page. */
static void roff_char(FILE *out, char c) {
  static const struct {
    char c;
    const char *roff;
  } spelled[] = {{'\\', "\\(rs"}, {'-', "\\-"}, {'\'', "\\(aq"}, {'`', "\\(ga"}, {'^', "\\(ha"}, {'~', "\\(ti"}};
  for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++)
    if (c == spelled[i].c) {
      fputs(spelled[i].roff, out);
      return;
    }
  fputc(c, out);
}

static void roff_literal(FILE *out, const char *text, size_t len) {
  if (len && *text == '.') fputs("\\&", out);
  for (size_t i = 0; i < len; i++) roff_char(out, text[i]);
}

/* As roff_literal, but what stands between backquotes is set in bold without them. */
static void roff_prose(FILE *out, const char *text, size_t len, bool capital) {
  bool bold = false;
  if (len && *text == '.') fputs("\\&", out);
  for (size_t i = 0; i < len; i++) {
    bool pair = text[i] == '`' && (bold || memchr(text + i + 1, '`', len - i - 1));
    if (pair) bold = !bold;
    if (pair)
      fputs(bold ? "\\fB" : "\\fR", out);
    else
      roff_char(out, capital && i == 0 ? (char)toupper((unsigned char)*text) : text[i]);
  }
  if (bold) fputs("\\fR", out);
}

static size_t line_length(const char *text) {
  return strcspn(text, "\n");
}

static const char *next_line(const char *text) {
  size_t len = line_length(text);
  return text + len + (text[len] == '\n');
}

static void sentence(FILE *out, const char *text) {
  size_t len = strlen(text);
  roff_prose(out, text, len, true);
  fputs(len && text[len - 1] == '.' ? "\n" : ".\n", out);
}

static void example_lines(FILE *out, const char *lines) {
  fputs(".nf\n", out);
  for (; *lines; lines = next_line(lines)) {
    size_t len = line_length(lines), indent = strspn(lines, " ");
    if (indent > 2) indent = 2; /* what tables begin every example with; more is a continued command */
    if (indent > len) indent = len;
    roff_literal(out, lines + indent, len - indent);
    fputc('\n', out);
  }
  fputs(".fi\n", out);
}

static void usage_lines(FILE *out, const char *verb, const char *usage) {
  fputs(".nf\n", out);
  for (; *usage; usage = next_line(usage)) {
    size_t len = line_length(usage), indent = strspn(usage, " "), name = strlen(verb) + sizeof "sluice " - 1;
    usage += indent, len -= indent;
    bool ours = len >= name && !strncmp(usage, "sluice ", 7) && !strncmp(usage + 7, verb, name - 7);
    if (ours) fputs("\\fB", out), roff_literal(out, usage, name), fputs("\\fR", out);
    if (ours) usage += name, len -= name;
    roff_literal(out, usage, len);
    fputc('\n', out);
  }
  fputs(".fi\n", out);
}

static void option_paragraph(FILE *out, const struct option_spec *o) {
  fputs(".TP\n", out);
  if (o->letter) fputs("\\fB\\-", out), roff_char(out, o->letter), fputs("\\fR, ", out);
  fputs("\\fB\\-\\-", out);
  roff_literal(out, o->name, strlen(o->name));
  fputs("\\fR", out);
  if (o->kind != OPTION_FLAG && o->argument) {
    fputs(" \\fI", out);
    roff_literal(out, o->argument, strlen(o->argument));
    fputs("\\fR", out);
  }
  fputc('\n', out);
  sentence(out, o->help);
  if (o->kind == OPTION_LIST) fputs("May be given several times.\n", out);
}

/* A paragraph of the notes that begins with "Exit" has a section of its own; it goes on until a line ends its sentence.
 */
static void notes_lines(FILE *out, const char *notes, bool exits, const char *title) {
  bool inside = false, begun = false;
  for (; notes && *notes; notes = next_line(notes)) {
    size_t len = line_length(notes), indent = strspn(notes, " ");
    if (indent > len) indent = len;
    if (!inside && !strncmp(notes + indent, "Exit", 4)) inside = true;
    if (inside == exits && (len > indent || begun)) {
      if (!begun) fprintf(out, ".SH %s\n", title);
      begun = true;
      if (len == indent)
        fputs(".PP\n", out);
      else
        roff_prose(out, notes + indent, len - indent, false), fputc('\n', out);
    }
    if (inside && (!len || notes[len - 1] == '.')) inside = false;
  }
  if (exits && !begun)
    fputs(".SH EXIT STATUS\n0 when all went well; the other codes are those of \\fBsluice\\fR(1).\n", out);
}

static void page_name(FILE *out, const char *verb, bool capitals) {
  fputs(capitals ? "SLUICE\\-" : "sluice\\-", out);
  for (; *verb; verb++) roff_char(out, *verb == ' ' ? '-' : capitals ? (char)toupper((unsigned char)*verb) : *verb);
}

void options_print_man(FILE *out, const struct verb_help *help, const struct option_spec *specs, size_t n_specs) {
  fprintf(out, ".\\\" Made by `sluice %s --help=man`.\n.TH ", help->verb);
  page_name(out, help->verb, true);
  fprintf(out, " 1 \"\" \"sluice %s\" \"sluice manual\"\n.SH NAME\n", SLUICE_VERSION);
  page_name(out, help->verb, false);
  fputs(" \\- ", out);
  roff_literal(out, help->summary, strlen(help->summary));
  fputs("\n.SH SYNOPSIS\n", out);
  usage_lines(out, help->verb, help->usage);
  fputs(".SH DESCRIPTION\n", out);
  sentence(out, help->summary);
  fputs(".SH OPTIONS\n", out);
  for (size_t i = 0; i < n_specs; i++) option_paragraph(out, &specs[i]);
  option_paragraph(out, &help_option);
  notes_lines(out, help->notes, true, "EXIT STATUS");
  notes_lines(out, help->notes, false, "NOTES");
  if (help->examples && *help->examples) {
    fputs(".SH EXAMPLES\n", out);
    example_lines(out, help->examples);
  }
  fputs(".SH SEE ALSO\n\\fBsluice\\fR(1)\n", out);
}

/* "sluice data list | make SPEC | show SPEC I": the first words of the alternatives, where they are plain words. */
static void print_actions(FILE *out, const char *verb, const char *usage) {
  for (; usage && *usage; usage = next_line(usage)) {
    const char *at = usage + strspn(usage, " "), *end = usage + line_length(usage);
    size_t name = strlen(verb);
    if (strncmp(at, "sluice ", 7) != 0 || strncmp(at + 7, verb, name) != 0 || at[7 + name] != ' ') continue;
    for (at += 8 + name; at < end; at++) {
      at += strspn(at, " ");
      size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz-");
      if (len == 0 || *at == '-' || !strchr(" |\n", at[len])) break;
      fprintf(out, "%.*s\t-\t-\n", (int)len, at);
      for (int depth = 0; at < end && (depth || *at != '|'); at++) depth += (*at == '[') - (*at == ']');
    }
  }
}

void options_print_words(FILE *out, const struct verb_help *help, const struct option_spec *specs, size_t n_specs) {
  print_actions(out, help->verb, help->usage);
  for (size_t i = 0; i < n_specs; i++)
    fprintf(out, "--%s\t%s\t%s\n", specs[i].name,
            specs[i].kind == OPTION_FLAG ? "-"
            : specs[i].argument          ? specs[i].argument
                                         : "VALUE",
            specs[i].help);
  fprintf(out, "--%s\t-\t%s\n", help_option.name, help_option.help);
}
