#!/bin/sh
# sluice data, as a user types it: list, make, show, and what it says of wrong words.
set -u
cd "$(dirname "$0")/../.." || exit 1
sluice=${BUILD:-build}/sluice
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sluice-data.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
bad=0
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok - $name"; else echo "not ok - $name"; bad=1; fi
}
lines() { [ "$(wc -l <"$1" | tr -d ' ')" = "$2" ]; }

"$sluice" data list >"$tmp/list"
for name in grocery rps streameval dialogue story sirllm_grocery sirllm_rps sirllm_dailydialog longeval_lines train; do
  check "list names $name" grep -q "^$name " "$tmp/list"
done

"$sluice" data make grocery:turns=3 --n 5 >"$tmp/one"
"$sluice" data make grocery:turns=3 -n 5 --out "$tmp/two"
check "make prints a dialogue a line" lines "$tmp/one" 5
check "--out writes the same bytes" cmp -s "$tmp/one" "$tmp/two"
check "--out leaves no partial file" [ ! -e "$tmp/two.tmp" ]

"$sluice" data make train:stage=64,lines=7,words=40 --out "$tmp/train"
check "training text has its lines" lines "$tmp/train" 7
check "a line has text and answers" grep -q '^{"text": ".*", "answers": \[' "$tmp/train"

echo before >"$tmp/kept"
"$sluice" data make grocery:turns=x --out "$tmp/kept" 2>"$tmp/said"
check "a wrong value is exit 2" [ $? -eq 2 ]
check "and the old file stays" grep -qx before "$tmp/kept"
"$sluice" data make grocery --out "$tmp/no/such/folder" 2>"$tmp/said"
check "a folder that is not there is exit 1" [ $? -eq 1 ]
check "and is named" grep -q "no/such/folder" "$tmp/said"

"$sluice" data make grocry 2>"$tmp/said"
check "a wrong name is exit 2" [ $? -eq 2 ]
check "with a suggestion" grep -q 'did you mean "grocery"' "$tmp/said"
"$sluice" data mke grocery 2>"$tmp/said"
check "a wrong action has a suggestion" grep -q 'sluice data make' "$tmp/said"
"$sluice" data show grocery 500 2>"$tmp/said"
check "a number past the end is exit 2" [ $? -eq 2 ]
"$sluice" data show grocery 1x 2>"$tmp/said"
check "a number that is none is exit 2" [ $? -eq 2 ]
"$sluice" data make train:stage=64,wrds=3 2>"$tmp/said"
check "a wrong key of train has a suggestion" grep -q '"words"' "$tmp/said"

"$sluice" data show dialogue 0 >"$tmp/shown"
check "show marks the right answer" grep -q '<- right' "$tmp/shown"
"$sluice" data -h >"$tmp/help"
check "help shows examples" grep -q 'sluice data show grocery' "$tmp/help"
exit $bad
