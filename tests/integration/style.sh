#!/bin/sh
# The rules of CONTRIBUTING.md that a script can check. `make check-style` runs this; `make test` counts it as one test.
set -u
cd "$(dirname "$0")/../.." || exit 1
rooms="base wire engine monitor judge datasets evaluators ledger runner reports cli"
found=$(mktemp)
trap 'rm -f "$found"' EXIT

sources=$(find $rooms \( -name '*.c' -o -name '*.h' -o -name '*.cu' \) | sort)
everything="$sources $(find tests \( -name '*.c' -o -name '*.h' \) | sort)"

# Text that is no code: a word in a comment or a string is not a call.
code() {
  awk -v file="$1" '
    { line = $0
      if (inside) { if ((i = index(line, "*/")) == 0) next; line = substr(line, i + 2); inside = 0 }
      gsub(/\\./, "", line); gsub(/"[^"]*"/, "\"\"", line)
      while ((i = index(line, "/*")) > 0) {
        rest = substr(line, i + 2); j = index(rest, "*/")
        if (j == 0) { line = substr(line, 1, i - 1); inside = 1; break }
        line = substr(line, 1, i - 1) " " substr(rest, j + 2)
      }
      sub(/\/\/.*/, "", line)
      print file ":" NR ": " line
    }' "$1"
}

banned='(^|[^A-Za-z0-9_])(sprintf|vsprintf|strcpy|strcat|strncpy|strncat|gets|atoi|atol|atoll|atof|sscanf|strtok|rand|srand|abort|alloca)[[:space:]]*\('
unchecked='(^|[^A-Za-z0-9_])strto(l|ll|ul|ull|f|d|ld|imax|umax)[[:space:]]*\([^,]*,[[:space:]]*NULL'
names='^[a-z].*[ *](util|misc|helper)s?_|(^|[ *])[a-z0-9_]*_(utils?|misc|helpers?)\('
for file in $sources; do
  code "$file" | grep -E "$banned" | sed 's/$/   <- banned function/'
  code "$file" | grep -E "$unchecked" | sed 's/$/   <- the end of the number is not checked/'
  code "$file" | grep -E "$names" | sed 's/$/   <- a name that says nothing/'
  case $file in
  cli/* | *.cu) ;;
  *) code "$file" | grep -E '(^|[^A-Za-z0-9_])(exit|_exit|abort)[[:space:]]*\(' | grep -v '^base/signal.c:' |
    sed 's/$/   <- a library ends no process/' ;;
  esac
done >"$found"

for file in $everything; do
  awk -v file="$file" '
    length($0) > 130 { print file ":" NR ": " length($0) " columns" }
    /[ \t]$/ { print file ":" NR ": space at the end of the line" }
    /^ *\t/ && file !~ /Makefile/ { print file ":" NR ": a tab" }
    NR <= 5 && /table/ { table = 1 }
    # A function begins with a line at the margin that ends in "{" behind a ")", and ends with "}" at the margin.
    /^[A-Za-z_].*\) *\{$/ || (/^ .*\) *\{$/ && open_paren) { start = NR; name = $0 }
    { open_paren = /^[A-Za-z_][^;={]*\([^;{]*$/ || (open_paren && /^ / && !/[;{]/) }
    /^}/ && start { if (NR - start > 75) print file ":" start ": a function of " NR - start + 1 " lines"; start = 0 }
    /^[A-Za-z_].*[ *][a-z]+[A-Z][A-Za-z]*\(.*\{$/ { print file ":" NR ": names are words joined by _" }
    END { if (NR > 700 && !table) print file ": " NR " lines (at most 700, unless it is a table)" }' "$file"
done >>"$found"

# Arrows between rooms (docs/architecture.md): what each room may include, besides its own headers.
may_include() {
  case $1 in
  base) echo base ;;
  wire | datasets | ledger) echo base ;;
  evaluators) echo base datasets ;;
  engine) echo base wire ;;
  monitor | judge) echo base wire engine ;;
  reports) echo base ledger evaluators ;;
  runner) echo base wire engine monitor judge datasets evaluators ledger ;;
  cli) echo "$rooms" ;;
  esac
}
for file in $sources; do
  room=${file%%/*}
  sed -n 's|^[[:space:]]*#[[:space:]]*include "\([^"]*\)".*|\1|p' "$file" | while read -r header; do
    other=${header%%/*}
    [ "$other" = "$room" ] && continue
    case " $(may_include "$room") " in
    *" $other "*) ;;
    *) echo "$file: includes $header: no arrow from $room to $other" ;;
    esac
    [ "$header" = "$other/$other.h" ] || echo "$file: includes $header, which is private to $other"
  done
done >>"$found"

if [ -s "$found" ]; then
  sed 's/^/# /' "$found"
  echo "not ok - style: $(grep -c . "$found") places"
  exit 1
fi
echo "ok - style"
