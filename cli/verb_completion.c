/* sluice completion bash|zsh|fish: scripts that ask the program itself, so that they never fall behind it. What they
 * ask: `sluice VERB [ACTION] --help=words`, and `sluice completion verbs|policies|datasets`. */
#include "cli/verbs.h"

#include "base/base.h"
#include "datasets/datasets.h"
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

static const struct verb_help help = {
    .verb = "completion",
    .summary = "print a completion script for a shell",
    .usage = "sluice completion bash|zsh|fish",
    .examples = "  source <(sluice completion bash)                 # in ~/.bashrc\n"
                "  sluice completion zsh > ~/.zfunc/_sluice         # a folder of $fpath\n"
                "  sluice completion fish > ~/.config/fish/completions/sluice.fish\n",
    .notes =
        "The scripts complete verbs, their actions and options, cache policies, datasets and files; they ask the\n"
        "program each time. `sluice completion verbs`, `policies` and `datasets` print what they offer, a word and\n"
        "its summary a line.\n"};

/* bash cuts its words at "=" too: "--option=va" are three of them. */
static const char bash_script[] =
    "_sluice() {\n"
    "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}\n"
    "  local name argument help action= options= actions= wants= list=files\n"
    "  COMPREPLY=()\n"
    "  if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
    "  if ((COMP_CWORD == 1)); then\n"
    "    COMPREPLY=($(compgen -W \"$(\"$1\" completion verbs 2>/dev/null | cut -f1)\" -- \"$word\"))\n"
    "    return\n"
    "  fi\n"
    "  ((COMP_CWORD > 2)) && [[ ${COMP_WORDS[2]} != -* ]] && action=${COMP_WORDS[2]}\n"
    "  while IFS=$'\\t' read -r name argument help; do\n"
    "    [[ $name == --* ]] && options+=\" $name\" || actions+=\" $name\"\n"
    "    [[ $name == \"$before\" && $argument != - ]] && wants=\"$name $argument\"\n"
    "  done < <(\"$1\" \"$verb\" ${action:+\"$action\"} --help=words 2>/dev/null)\n"
    "  case $wants in\n"
    "  '') ;;\n"
    "  *FILE* | *DIR*) ;;\n"
    "  *policy*) list=policies ;;\n"
    "  *) return ;;\n"
    "  esac\n"
    "  if [[ -z $wants && $word == -* ]]; then\n"
    "    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
    "  elif [[ -z $wants && -n $actions ]] && ((COMP_CWORD == 2)); then\n"
    "    COMPREPLY=($(compgen -W \"$actions\" -- \"$word\"))\n"
    "  else\n"
    "    [[ -z $wants && $verb == data ]] && list=datasets\n"
    "    if [[ $list == files ]]; then\n"
    "      compopt -o filenames 2>/dev/null\n"
    "      local IFS=$'\\n'\n"
    "      COMPREPLY=($(compgen -f -- \"$word\"))\n"
    "    else\n"
    "      COMPREPLY=($(compgen -W \"$(\"$1\" completion $list 2>/dev/null | cut -f1)\" -- \"$word\"))\n"
    "    fi\n"
    "  fi\n"
    "}\n"
    "complete -F _sluice sluice\n";

/* For a file in $fpath, and for `source <(sluice completion zsh)`. */
static const char zsh_script[] =
    "#compdef sluice\n"
    "_sluice() {\n"
    "  local line name argument help action wants list=files before=$words[CURRENT-1]\n"
    "  local -a offered actions\n"
    "  if (( CURRENT == 2 )); then\n"
    "    for line in ${(f)\"$($words[1] completion verbs 2>/dev/null)\"}; do offered+=(\"${line/$'\\t'/:}\"); done\n"
    "    _describe verb offered\n"
    "    return\n"
    "  fi\n"
    "  (( CURRENT > 3 )) && [[ $words[3] != -* ]] && action=$words[3]\n"
    "  if [[ $PREFIX == --*=* ]]; then\n"
    "    before=${PREFIX%%=*}\n"
    "    compset -P '*='\n"
    "  fi\n"
    "  while IFS=$'\\t' read -r name argument help; do\n"
    "    if [[ $name == --* ]]; then offered+=(\"$name:$help\"); else actions+=(\"$name\"); fi\n"
    "    [[ $name == \"$before\" && $argument != - ]] && wants=\"$name $argument\"\n"
    "  done < <($words[1] $words[2] $action --help=words 2>/dev/null)\n"
    "  case $wants in\n"
    "  ('') ;;\n"
    "  (*FILE*|*DIR*) ;;\n"
    "  (*policy*) list=policies ;;\n"
    "  (*) return 1 ;;\n"
    "  esac\n"
    "  if [[ -z $wants && $PREFIX == -* ]]; then\n"
    "    _describe -o option offered\n"
    "  elif [[ -z $wants && CURRENT -eq 3 && $#actions -gt 0 ]]; then\n"
    "    compadd -- $actions\n"
    "  else\n"
    "    [[ -z $wants && $words[2] == data ]] && list=datasets\n"
    "    if [[ $list == files ]]; then\n"
    "      _files\n"
    "    else\n"
    "      offered=()\n"
    "      for line in ${(f)\"$($words[1] completion $list 2>/dev/null)\"}; do offered+=(\"${line/$'\\t'/:}\"); done\n"
    "      _describe $list offered\n"
    "    fi\n"
    "  fi\n"
    "}\n"
    "if [[ $funcstack[1] == _sluice ]]; then _sluice \"$@\"; else compdef _sluice sluice; fi\n";

static const char fish_script[] = "function __sluice_offer\n"
                                  "  set -l words (commandline -opc)\n"
                                  "  set -l word (commandline -ct)\n"
                                  "  set -l wants\n"
                                  "  set -l action\n"
                                  "  set -l actions\n"
                                  "  set -l options\n"
                                  "  if test (count $words) -eq 1\n"
                                  "    $words[1] completion verbs 2>/dev/null\n"
                                  "    return\n"
                                  "  end\n"
                                  "  if test (count $words) -gt 2; and not string match -q -- '-*' $words[3]\n"
                                  "    set action $words[3]\n"
                                  "  end\n"
                                  "  for line in ($words[1] $words[2] $action --help=words 2>/dev/null)\n"
                                  "    set -l part (string split \\t -- $line)\n"
                                  "    if string match -q -- '--*' $part[1]\n"
                                  "      set -a options $part[1]\\t$part[3]\n"
                                  "    else\n"
                                  "      set -a actions $part[1]\n"
                                  "    end\n"
                                  "    if test \"$part[1]\" = \"$words[-1]\" -a \"$part[2]\" != -\n"
                                  "      set wants \"$part[1] $part[2]\"\n"
                                  "    end\n"
                                  "  end\n"
                                  "  if test -n \"$wants\"\n"
                                  "    if string match -qr 'FILE|DIR' -- $wants\n"
                                  "      __fish_complete_path $word\n"
                                  "    else if string match -q '*policy*' -- $wants\n"
                                  "      $words[1] completion policies 2>/dev/null\n"
                                  "    end\n"
                                  "  else if string match -q -- '-*' $word\n"
                                  "    printf '%s\\n' $options\n"
                                  "  else if test (count $words) -eq 2 -a (count $actions) -gt 0\n"
                                  "    printf '%s\\n' $actions\n"
                                  "  else if test $words[2] = data\n"
                                  "    $words[1] completion datasets 2>/dev/null\n"
                                  "  else\n"
                                  "    __fish_complete_path $word\n"
                                  "  end\n"
                                  "end\n"
                                  "complete -c sluice -f -a '(__sluice_offer)'\n";

static void print_word(const char *name, const char *summary) {
  printf("%s\t%s\n", name, summary);
}

static void print_verbs(void) {
  for (const struct verb *v = verb_table(); v->name; v++) print_word(v->name, v->summary);
}

static void print_policies(void) {
  for (const struct policy_info *p = policy_table(); p->name; p++) print_word(p->name, p->summary);
}

static void print_datasets(void) {
  for (const struct dataset_info *d = dataset_table(); d->name; d++) print_word(d->name, d->summary);
}

static const struct {
  const char *name, *script; /* script NULL: words, printed by fn */
  void (*fn)(void);
} answers[] = {{"bash", bash_script, NULL},  {"zsh", zsh_script, NULL},          {"fish", fish_script, NULL},
               {"verbs", NULL, print_verbs}, {"policies", NULL, print_policies}, {"datasets", NULL, print_datasets}};
enum { ANSWERS = sizeof answers / sizeof *answers };

static sluice_status answer(const char *word, struct sluice_error *err) {
  const char *names[ANSWERS + 1] = {0};
  for (size_t i = 0; i < ANSWERS; i++) {
    names[i] = answers[i].name;
    if (strcmp(word, answers[i].name) != 0) continue;
    if (answers[i].script)
      fputs(answers[i].script, stdout);
    else
      answers[i].fn();
    return SLUICE_OK;
  }
  const char *near = suggest(word, names);
  return sluice_fail(err, SLUICE_USAGE, "no completion for \"%s\": bash, zsh or fish%s%s%s", word,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

int verb_completion(int argc, char **argv) {
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  sluice_status st = options_parse(&help, NULL, 0, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n != 1) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
  if (!st && !helped) st = answer(words.items[0], &err);
  if (st) log_line(LOG_ERROR, "completion: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : 0;
}
