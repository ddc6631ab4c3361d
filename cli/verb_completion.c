/* sluice completion bash|zsh|fish: scripts that ask the program itself, so that they never fall behind it. */
#include "cli/verbs.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static const struct verb_help help = {.verb = "completion",
                                      .summary = "print a completion script for a shell",
                                      .usage = "sluice completion bash|zsh|fish",
                                      .examples =
                                          "  source <(sluice completion bash)\n"
                                          "  sluice completion zsh > ~/.zfunc/_sluice\n"
                                          "  sluice completion fish > ~/.config/fish/completions/sluice.fish\n"};

static const char bash[] = "_sluice() {\n"
                           "  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}\n"
                           "  COMPREPLY=()\n"
                           "  if [ \"$COMP_CWORD\" = 1 ]; then\n"
                           "    COMPREPLY=($(compgen -W \"%s\" -- \"$word\"))\n"
                           "  elif [[ $word == -* ]]; then\n"
                           "    COMPREPLY=($(compgen -W \"$(sluice \"$verb\" -h 2>/dev/null | grep -o -- "
                           "'--[a-z][a-z-]*' | sort -u)\" -- \"$word\"))\n"
                           "  else\n"
                           "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
                           "  fi\n"
                           "}\n"
                           "complete -o filenames -F _sluice sluice\n";

static void print_bash(void) {
  struct buffer names;
  struct sluice_error err;
  buffer_init(&names, 1 << 16);
  for (const struct verb *v = verb_table(); v->name; v++)
    if (buffer_printf(&names, &err, "%s%s", names.len ? " " : "", v->name)) break;
  printf(bash, names.ptr ? names.ptr : "");
  buffer_free(&names);
}

/* Single quotes end a shell string: '\'' is one inside. */
static void print_quoted(const char *text) {
  for (; *text; text++) {
    if (*text == '\'')
      fputs("'\\''", stdout);
    else
      putchar(*text);
  }
}

static void print_zsh(void) {
  printf("#compdef sluice\n_sluice() {\n  local -a verbs options\n  verbs=(\n");
  for (const struct verb *v = verb_table(); v->name; v++) {
    printf("    '%s:", v->name);
    print_quoted(v->summary);
    printf("'\n");
  }
  printf("  )\n"
         "  if (( CURRENT == 2 )); then\n"
         "    _describe 'verb' verbs\n"
         "  elif [[ $PREFIX == -* ]]; then\n"
         "    options=(${(f)\"$(sluice $words[2] -h 2>/dev/null | grep -o -- '--[a-z][a-z-]*' | sort -u)\"})\n"
         "    compadd -- $options\n"
         "  else\n"
         "    _files\n"
         "  fi\n"
         "}\n"
         "compdef _sluice sluice\n");
}

static void print_fish(void) {
  for (const struct verb *v = verb_table(); v->name; v++) {
    printf("complete -c sluice -n __fish_use_subcommand -f -a %s -d '", v->name);
    print_quoted(v->summary);
    printf("'\n");
  }
  printf("complete -c sluice -n 'not __fish_use_subcommand' -a '(set -l verb (commandline -opc)[2]; "
         "sluice $verb -h 2>/dev/null | string match -r -a -- \"--[a-z][a-z-]*\" | sort -u)'\n");
}

int verb_completion(int argc, char **argv) {
  static const char *const shells[] = {"bash", "zsh", "fish", NULL};
  static void (*const print[])(void) = {print_bash, print_zsh, print_fish};
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false, known = false;
  sluice_status st = options_parse(&help, NULL, 0, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n != 1) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
  for (size_t i = 0; !st && !helped && shells[i]; i++)
    if (!strcmp(words.items[0], shells[i])) {
      print[i]();
      known = true;
    }
  if (!st && !helped && !known)
    st = sluice_fail(&err, SLUICE_USAGE, "no completion for \"%s\": bash, zsh or fish", words.items[0]);
  if (st) log_line(LOG_ERROR, "completion: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : 0;
}
