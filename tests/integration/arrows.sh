#!/bin/sh
# The arrows between rooms (docs/architecture.md), read off the #include lines. `make check-style` runs this too.
# TREE: another tree to read, for trying this script.
set -u
cd "${TREE:-$(dirname "$0")/../..}" || exit 1
rooms="base wire engine monitor judge datasets evaluators ledger runner reports sluice cli"
found=$(mktemp) edges=$(mktemp)
trap 'rm -f "$found" "$edges"' EXIT
bad=0

# What each room may include, besides itself.
may_include() {
  case $1 in
  base) echo nothing ;;
  wire | datasets | ledger) echo base ;;
  evaluators) echo base datasets ;;
  engine) echo base wire ;;
  monitor | judge) echo base wire engine ;;
  reports) echo base ledger evaluators ;;
  sluice) echo base monitor ;;
  runner) echo base wire engine monitor judge datasets evaluators ledger ;;
  cli) echo "$rooms" ;;
  esac
}

# file line header
find $rooms \( -name '*.c' -o -name '*.h' -o -name '*.inc' -o -name '*.cu' \) -exec grep -HEn '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' {} + |
  sed -n 's/^\([^:]*\):\([0-9]*\):[^"<]*["<]\([^">]*\)[">].*/\1 \2 \3/p' | sort >"$edges"

report() { # report NAME: what stands in $found
  if [ -s "$found" ]; then
    sed 's/^/# /' "$found"
    echo "not ok - $1"
    bad=1
  else
    echo "ok - $1"
  fi
}

for room in $rooms; do
  allowed=" $(may_include "$room") "
  awk -v room="$room" -v rooms=" $rooms " -v allowed="$allowed" '
    substr($1, 1, length(room) + 1) == room "/" {
      other = $3
      if (!sub(/\/.*/, "", other) || other == room || !index(rooms, " " other " ")) next
      if (!index(allowed, " " other " ")) print $1 ":" $2 ": includes " $3 ": no arrow from " room " to " other
    }' "$edges" >"$found"
  report "$room stands on:${allowed% }"
done

awk -v rooms=" $rooms " '
  { room = $1; sub(/\/.*/, "", room); other = $3
    if (!sub(/\/.*/, "", other) || other == room || !index(rooms, " " other " ")) next
    if ($3 != other "/" other ".h") print $1 ":" $2 ": includes " $3 ", which is private to " other }' "$edges" >"$found"
report "no room includes another's private header"

# "base.h" instead of "base/base.h" would pass unseen through the checks above.
for room in $rooms; do
  for header in $(find "$room" -name '*.h' -o -name '*.inc' | sed 's|.*/||'); do
    awk -v header="$header" '$3 == header { print $1 ":" $2 ": includes " $3 " without its room" }' "$edges"
  done
done >"$found"
report "includes are written from the root"

for room in $rooms; do [ "$room" = cli ] || [ -f "$room/$room.h" ] || echo "$room has no $room/$room.h"; done >"$found"
report "every room has its public header"

# A public header stands on public headers alone, or what is private would be public after all.
awk -v rooms=" $rooms " '
  { room = $1; sub(/\/.*/, "", room); other = $3
    if ($1 != room "/" room ".h" || !sub(/\/.*/, "", other) || !index(rooms, " " other " ")) next
    if ($3 != other "/" other ".h") print $1 ":" $2 ": includes " $3 }' "$edges" >"$found"
report "public headers include public headers"

# The installed header stands alone.
grep -Hn '^ *# *include *"' sluice/sluice.h >"$found"
report "sluice/sluice.h includes no header of the tree"

# The rooms as the code has them must have no way back.
awk -v rooms=" $rooms " '
  { room = $1; sub(/\/.*/, "", room); other = $3
    if (sub(/\/.*/, "", other) && other != room && index(rooms, " " other " ")) print room, other }' "$edges" | sort -u |
  tsort >/dev/null 2>"$found"
report "no circle of rooms"
exit $bad
