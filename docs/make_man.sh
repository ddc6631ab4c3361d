#!/bin/sh
# docs/make_man.sh PROGRAM DIR: writes sluice.1, sluice-VERB.1 and sluice-VERB-ACTION.1 (where an action has options of its own) from
# the program's own tables. `make man` calls this.
set -eu
program=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
rm -f "$out"/sluice*.1
write() { # write WORD...: the file is named by the page's own title
  "$program" "$@" --help=man >"$out/page"
  name=$(sed -n 's/\\-/-/g; s/^\.TH \([A-Z-]*\) .*/\1/p' "$out/page" | tr '[:upper:]' '[:lower:]')
  [ -n "$name" ] || { echo "make_man: sluice $* --help=man gave no page" >&2; exit 1; }
  mv "$out/page" "$out/$name.1"
}
: >"$out/verbs"
for verb in $("$program" completion verbs | cut -f1); do
  for action in $("$program" "$verb" --help=words | sed -n 's/^\([a-z].*\)	-	-$/\1/p'); do write "$verb" "$action"; done
  write "$verb"
  sed -n '/^\.SH NAME/{n;s/^\([^ ]*\) \\- \(.*\)/.TP\n\\fB\1\\fR(1)\n\2/p;}' "$out/$name.1" >>"$out/verbs"
done
version=$("$program" version | sed -n '1s/^sluice //p')
awk -v verbs="$out/verbs" -v version="sluice $version" '
  /^\.TH / { sub(/"sluice [0-9.]*"/, "\"" version "\"") }
  /^\.\\" VERBS/ { while ((getline line <verbs) > 0) print line; next }
  { print }' "$here/sluice.1" >"$out/page"
mv "$out/page" "$out/sluice.1"
rm "$out/verbs"
