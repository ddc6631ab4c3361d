#!/bin/sh
# `sluice completion SHELL`: the scripts as a shell runs them. bash always; zsh and fish where they are installed.
set -u
cd "$(dirname "$0")/../.." || exit 1
sluice=${SLUICE:-${BUILD:-build}/sluice}
case $sluice in /*) ;; *) sluice=$PWD/$sluice ;; esac
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sluice-completion.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/bin" "$tmp/files"
ln -s "$sluice" "$tmp/bin/sluice"
PATH=$tmp/bin:$PATH
: >"$tmp/files/policy one.json"
bad=0
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok - $name"; else
    echo "not ok - $name"
    sed 's/^/# /' "$tmp/offered"
    bad=1
  fi
}
offers() { grep -qxF -- "$1" "$tmp/offered"; }
offers_not() { ! grep -qxF -- "$1" "$tmp/offered"; }
offers_only() { [ "$(sort "$tmp/offered" | tr '\n' ' ')" = "$1" ]; }

# What bash would offer for the words given, the last one unfinished.
in_bash() {
  (cd "$tmp/files" && bash --norc -c '
    source <(sluice completion bash) || exit 1
    [[ $(complete -p sluice) == *"-F _sluice"* ]] || exit 1
    COMP_WORDS=(sluice "$@") COMP_CWORD=$#
    _sluice sluice "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    ((${#COMPREPLY[@]})) && printf "%s\n" "${COMPREPLY[@]}"
    exit 0' bash "$@") >"$tmp/offered" 2>&1
}
if command -v bash >/dev/null 2>&1; then
  in_bash "" && check "bash: the script is taken" true
  for verb in $(sluice completion verbs | cut -f1); do check "bash: offers $verb" offers "$verb"; done
  in_bash ver
  check "bash: a verb's beginning" offers_only "version "
  in_bash run --
  for option in --ledger --limit --shard --help; do check "bash: run offers $option" offers $option; done
  in_bash run suite.json --led
  check "bash: an option behind a file" offers_only "--ledger "
  in_bash run --ledger pol
  check "bash: a value that is a file" offers_only "policy one.json "
  in_bash run --ledger = pol
  check "bash: behind =" offers_only "policy one.json "
  in_bash run --limit ""
  check "bash: nothing for a number" offers_only ""
  in_bash generate --policy s
  check "bash: cache policies" offers streaming
  check "bash: and no files among them" offers_not "policy one.json"
  in_bash filter --policy p
  check "bash: filter's policy is a file" offers_only "policy one.json "
  in_bash data ""
  check "bash: a verb's actions" offers_only "list make show "
  in_bash data make g
  check "bash: datasets" offers_only "grocery "
  in_bash train lm --tok
  check "bash: an action's own options" offers_only "--tokenizer "
  in_bash nosuch --
  check "bash: nothing for a verb that is none" offers_only ""
  in_bash completion z
  check "bash: shells" offers_only "zsh "
else
  echo "skip - bash: not installed"
fi

if command -v zsh >/dev/null 2>&1; then
  sluice completion zsh >"$tmp/_sluice"
  check "zsh: the script has no wrong syntax" zsh -fn "$tmp/_sluice"
else
  echo "skip - zsh: not installed"
fi

in_fish() { fish --no-config -c "cd '$tmp/files'; sluice completion fish | source; complete -C '$1'" | cut -f1 >"$tmp/offered" 2>&1; }
if command -v fish >/dev/null 2>&1; then
  in_fish "sluice ver"
  check "fish: a verb" offers_only "version "
  in_fish "sluice run suite.json --led"
  check "fish: an option" offers_only "--ledger "
  in_fish "sluice generate --policy str"
  check "fish: a cache policy" offers_only "streaming "
  in_fish "sluice data make gro"
  check "fish: a dataset" offers_only "grocery "
  in_fish "sluice data ma"
  check "fish: an action" offers_only "make "
else
  echo "skip - fish: not installed"
fi

: >"$tmp/offered"
sluice completion tcsh >"$tmp/offered" 2>&1
check "another shell is exit 2" [ $? -eq 2 ]
sluice completion bsh 2>"$tmp/offered"
check "a misspelled shell has a suggestion" grep -q 'did you mean "bash"' "$tmp/offered"
exit $bad
