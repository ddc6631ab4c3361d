#!/bin/sh
# Every fuzz target under libFuzzer from its corpus, with sanitizers: 2,000 inputs from a fixed seed, so that a compiler tries the
# same ones each time. `make fuzz` goes on to others.
# timeout: 600
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/libfuzzer.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' >"$work/try.c"
if ! clang -fsanitize=fuzzer,address -o "$work/try" "$work/try.c" >/dev/null 2>&1; then
  echo "skip - libFuzzer: install clang and libclang-rt-dev (Debian, Ubuntu)"
  exit 0
fi
if ! env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u BUILD make -s fuzz-programs >"$work/said" 2>&1; then
  echo "not ok - the targets do not build with clang"
  tail -n 15 "$work/said" | sed 's/^/# /'
  exit 1
fi
mv build/fuzz/found "$work/found" 2>/dev/null # an earlier run's inputs would change what this one tries
FUZZ_SEED=1 FUZZ_RUNS=2000 BUILD=build/fuzz tests/fuzz/run.sh 30
bad=$?
rm -rf build/fuzz/found
[ -d "$work/found" ] && mv "$work/found" build/fuzz/found
exit $bad
