#!/bin/sh
# The manual pages: there is one for every verb, they name every option, and no formatter complains.
set -u
cd "$(dirname "$0")/../.." || exit 1
sluice=${SLUICE:-${BUILD:-build}/sluice}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sluice-man.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
bad=0
: >"$tmp/said"
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok - $name"; else
    echo "not ok - $name"
    sed 's/^/# /' "$tmp/said"
    bad=1
  fi
}
man=$tmp/man
check "the pages are made" sh docs/make_man.sh "$sluice" "$man"

# The options of a verb as -h prints them must stand in its page, and the other way round.
options_agree() { # options_agree PAGE VERB [ACTION]
  page=$1
  shift
  "$sluice" "$@" -h | sed -n 's/^  \(-., \|    \)\(--[a-z0-9-]*\).*/\2/p' | sort >"$tmp/help"
  "$sluice" "$@" --help=words | cut -f1 | grep -e '^--' | sort >"$tmp/words"
  sed 's/\\-/-/g' "$man/$page.1" | sed -n 's/^.*\\fB\(--[a-z0-9-]*\)\\fR.*/\1/p' | sort >"$tmp/page"
  diff "$tmp/help" "$tmp/page" >"$tmp/said" && diff "$tmp/help" "$tmp/words" >>"$tmp/said" && [ -s "$tmp/help" ]
}
listed() { sed -n '/^\.SH VERBS/,/^\.SH OPTIONS/p' "$man/sluice.1" | sed 's/\\-/-/g' | grep -qF "\\fBsluice-$1\\fR(1)"; }
n=0
for verb in $("$sluice" completion verbs | cut -f1); do
  n=$((n + 1))
  check "$verb: the page names every option" options_agree "sluice-$verb" "$verb"
  check "$verb: sluice(1) names it" listed "$verb"
  check "$verb: help lists it" sh -c "\"$sluice\" help | grep -q '^  $verb '"
done
check "there are verbs" [ "$n" -gt 10 ]
for action in tokenizer lm; do
  check "train $action: the page names every option" options_agree "sluice-train-$action" train $action
done
# A verb in the program's table must have its line in the help, and nothing else is one.
check "no verb without a page" [ "$n" -eq "$("$sluice" help | grep -c '^  [a-z]')" ]

for page in "$man"/*.1; do
  name=${page##*/}
  awk '
    /^\.SH / { title = substr($0, 5); gsub(/"/, "", title); if (seen[title]++) print "twice: " title; order[++n] = title }
    /^\.(TH|SH|TP|PP|nf|fi|B|I|BR|IR|RS|RE)( |$)/ || /^\.\\"/ || !/^[.'"'"']/ { known++ }
    /^\.nf/ { open++ } /^\.fi/ { open-- }
    { for (i = 1; i <= length($0); i++) if (substr($0, i, 1) > "~") { print "not ASCII: line " NR; break } }
    END {
      if (known != NR) print "unknown requests: " NR - known
      if (open) print ".nf without .fi"
      if (order[1] != "NAME" || order[2] != "SYNOPSIS" || order[3] != "DESCRIPTION") print "sections begin wrongly"
      if (!seen["OPTIONS"] || !seen["EXIT STATUS"] || !seen["EXAMPLES"] || !seen["SEE ALSO"]) print "a section is missing"
    }' "$page" >"$tmp/said"
  check "$name: its structure" [ ! -s "$tmp/said" ]
  if command -v groff >/dev/null 2>&1; then
    groff -man -ww -z -Tutf8 "$page" >"$tmp/said" 2>&1
    check "$name: groff has no warning" [ ! -s "$tmp/said" ]
  fi
  if command -v mandoc >/dev/null 2>&1; then
    mandoc -T lint -W error "$page" >"$tmp/said" 2>&1
    check "$name: mandoc finds no error" [ $? -eq 0 ]
  fi
done
command -v groff >/dev/null 2>&1 || echo "skip - groff: not installed; the structure alone was checked"

# What the whole program's page promises.
for policy in $("$sluice" completion policies | cut -f1); do
  check "sluice(1) names the policy $policy" grep -q "^\.B $policy\$" "$man/sluice.1"
done
for code in 0 1 2 3 4 5 6 10; do check "sluice(1) explains exit status $code" grep -q "^\.B $code\$" "$man/sluice.1"; done
for variable in $(grep -ho 'getenv("[A-Z_a-z]*")' base/*.c wire/*.c engine/*.c engine/*/*.c monitor/*.c ledger/*.c runner/*.c reports/*.c cli/*.c | cut -d'"' -f2 | sort -u); do
  check "sluice(1) explains $variable" grep -q "$variable" "$man/sluice.1"
done
same_version() { [ "$(sed -n 's/^\.TH .*"\(sluice [0-9.]*\)".*/\1/p' "$1")" = "$("$sluice" version | head -n 1)" ]; }
check "its version is the program's" same_version "$man/sluice.1"
"$sluice" help run >"$tmp/one" && "$sluice" run -h >"$tmp/other"
check "help VERB is VERB -h" cmp -s "$tmp/one" "$tmp/other"
"$sluice" help rnu >"$tmp/said" 2>&1
check "help of a verb that is none is exit 2" [ $? -eq 2 ]
"$sluice" run --help=pdf >"$tmp/said" 2>&1
check "another form of help is exit 2" [ $? -eq 2 ]
exit $bad
