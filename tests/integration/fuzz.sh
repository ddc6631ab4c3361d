#!/bin/sh
# Every fuzz target over its corpus and the same few variations of each file, without a fuzzer (tests/fuzz/driver.c). `make fuzz` runs
# libFuzzer over the same targets.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
said=$(mktemp "${TMPDIR:-/tmp}/fuzz.XXXXXX")
trap 'rm -f "$said"' EXIT
bad=0
for source in tests/fuzz/fuzz_*.c; do
  name=${source##*/fuzz_} name=${name%.c}
  program=$build/tests/fuzz/fuzz_$name
  [ -x "$program" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "${program#"$PWD"/}" >"$said" 2>&1
  if ls "tests/fuzz/corpus/$name"/* >/dev/null 2>&1 && "$program" "tests/fuzz/corpus/$name"/* >"$said" 2>&1; then
    echo "ok - $name: $(ls "tests/fuzz/corpus/$name" | wc -l) files and variations"
  else
    echo "not ok - $name"
    tail -n 3 "$said" | sed 's/^/# /'
    bad=1
  fi
done
exit $bad
