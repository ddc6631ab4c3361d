#!/bin/sh
# The rules of CONTRIBUTING.md that a script can check, but for the arrows between rooms (arrows.sh). `make check-style` runs this; `make test` counts it as one test.
set -u
cd "$(dirname "$0")/../.." || exit 1
rooms="base wire engine monitor judge datasets evaluators ledger runner reports sluice cli"
found=$(mktemp) code=$(mktemp)
trap 'rm -f "$found" "$code"' EXIT

sources=$(find $rooms \( -name '*.c' -o -name '*.h' -o -name '*.cu' \) | sort)
everything="$sources $(find tests \( -name '*.c' -o -name '*.h' \) | sort)"

# The sources without comments and without what stands in strings: a word there is no call.
awk '
  FNR == 1 { inside = 0 }
  { line = $0
    if (inside) { if ((i = index(line, "*/")) == 0) next; line = substr(line, i + 2); inside = 0 }
    gsub(/\\./, "", line); gsub(/"[^"]*"/, "\"\"", line)
    while ((i = index(line, "/*")) > 0) {
      rest = substr(line, i + 2); j = index(rest, "*/")
      if (j == 0) { line = substr(line, 1, i - 1); inside = 1; break }
      line = substr(line, 1, i - 1) " " substr(rest, j + 2)
    }
    sub(/\/\/.*/, "", line)
    print FILENAME ":" FNR ": " line
  }' $sources >"$code"

banned='[^A-Za-z0-9_](sprintf|vsprintf|strcpy|strcat|strncpy|strncat|gets|atoi|atol|atoll|atof|sscanf|strtok|rand|srand|alloca)[[:space:]]*\('
unchecked='[^A-Za-z0-9_]strto(l|ll|ul|ull|f|d|ld|imax|umax)[[:space:]]*\([^,]*,[[:space:]]*NULL'
names='[ *](util|misc|helper)s?_[a-z0-9_]*\(|[ *][a-z0-9_]*_(utils?|misc|helpers?)\('
{
  grep -E "$banned" "$code" | sed 's/$/   <- banned function/'
  grep -E "$unchecked" "$code" | grep -v 'NULL) ==' | sed 's/$/   <- the end of the number is not checked/'
  grep -E "$names" "$code" | sed 's/$/   <- a name that says nothing/'
  # A second interrupt ends the process in base/signal.c: that is its purpose.
  grep -E '[^A-Za-z0-9_](exit|_exit|abort)[[:space:]]*\(' "$code" | grep -vE '^(cli/|base/signal.c:)' |
    sed 's/$/   <- a library ends no process/'
} >"$found"

awk '
  function finish() { if (lines > 700 && !table) print file ": " lines " lines (at most 700, unless it is a table)" }
  FNR == 1 { finish(); file = FILENAME; table = 0; start = 0; open_paren = 0 }
  { lines = FNR; place = FILENAME ":" FNR ": " }
  length($0) > 130 { print place length($0) " columns; make format" }
  /[ \t]$/ { print place "space at the end of the line" }
  /^ *\t/ { print place "a tab" }
  FNR <= 3 && /[Tt]able of/ { table = 1 }
  # A function begins with a line at the margin that ends in "{" behind a ")", and ends with "}" at the margin.
  /^[A-Za-z_].*\) *\{$/ || (/^ .*\) *\{$/ && open_paren) { start = FNR }
  { open_paren = /^[A-Za-z_][^;={]*\([^;{]*$/ || (open_paren && /^ / && !/[;{]/) }
  /^}/ && start { if (FNR - start > 75) print place "a function of " FNR - start + 1 " lines ends here"; start = 0 }
  /^[A-Za-z_].*[ *][a-z]+[A-Z][A-Za-z]*\(.*\{$/ { print place "names are words joined by _" }
  END { finish() }' $everything >>"$found"

if [ -s "$found" ]; then
  sed 's/^/# /' "$found"
  echo "not ok - style: $(grep -c . "$found") places"
  exit 1
fi
echo "ok - style"
