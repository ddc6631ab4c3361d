#!/bin/sh
# Runs every test and prints one line a program, then "N passed, N failed" (", N skipped" when something was).
#
#   tests/run.sh            the programs of tests/{unit,conformance,fault} and the scripts of tests/{integration,browser}
#   tests/run.sh --unit     the programs only
#   tests/run.sh WORD...    only what has one of the words in its path
#
# BUILD (default: build) is the folder that was built; TEST_TIMEOUT (default: 120) the seconds that one program may take, which a
# script raises for itself by a line "# timeout: SECONDS". Programs are cmocka's. A script prints "ok - NAME",
# "not ok - NAME" or "skip - NAME: WHY", one line a test. What exits non-zero without naming a failed test, and what names no test
# at all, counts as one failed test.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
limit=${TEST_TIMEOUT:-120}
export BUILD SLUICE="${SLUICE:-$BUILD/sluice}" SLUICE_DATA="${SLUICE_DATA:-$PWD/build/data}"
export CMOCKA_MESSAGE_OUTPUT=stdout UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"

scripts=yes
[ "${1:-}" = --unit ] && { scripts=no; shift; }

work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-tests.XXXXXX") || exit 1
running=
# A test's children live in the process group of `timeout`: nothing outlives the test that started it.
stop_group() { [ -z "$running" ] || kill -KILL -- "-$running" 2>/dev/null; running=; }
trap 'stop_group; rm -rf "$work"' EXIT
trap 'stop_group; exit 130' INT
trap 'stop_group; exit 143' TERM

wanted() { # wanted PATH WORD...
  path=$1
  shift
  [ $# -eq 0 ] && return 0
  for word; do case $path in *"$word"*) return 0 ;; esac; done
  return 1
}

list() {
  for source in tests/unit/test_*.c tests/conformance/test_*.c tests/fault/test_*.c; do
    [ -f "$source" ] && echo "${source%.c}"
  done
  [ $scripts = no ] && return
  for script in tests/integration/*.sh tests/browser/*.sh; do
    [ -f "$script" ] && [ -x "$script" ] && echo "$script"
  done
}

# Reads a program's output; prints "passed failed skipped", then what was skipped and why. cmocka names failed and skipped tests
# once more in its summary, so a name counts once; tests that a crash kept from ending count as failed.
count() {
  awk -v exit_status="$1" '
    /^\[=+\] .*Running [0-9]+ test\(s\)/ { for (i = 1; i < NF; i++) if ($i == "Running") planned += $(i + 1) }
    /^\[ RUN / { said = "" }
    /^[^[]/ { said = $0 } # a test says why before it skips
    /^\[ +OK \] /      { passed++; ended++ }
    /^\[  (FAILED|SKIPPED)  ?\] [0-9]+ test\(s\)/ { next }
    /^\[  FAILED  \] / { if (!seen["f" $0]++) { failed++; ended++ } }
    /^\[  SKIPPED \] / { if (!seen["s" $0]++) { skipped++; ended++; why[skipped] = $4 (said == "" ? "" : ": " said) } }
    /^ok - /           { passed++ }
    /^not ok - /       { failed++ }
    /^skip - /         { skipped++; why[skipped] = substr($0, 8) }
    END {
      if (planned > ended) failed += planned - ended
      if (!failed && (exit_status != 0 || passed + skipped == 0)) failed++
      print passed + 0, failed + 0, skipped + 0
      for (i = 1; i <= skipped; i++) print "        skipped " why[i]
    }'
}

run_one() { # run_one PATH -> $work/output, sets status and took (milliseconds)
  program=$1 seconds=$limit
  case $1 in
  *.sh) own=$(sed -n 's/^# timeout: \([0-9][0-9]*\).*/\1/p' "$1" | head -n 1) && [ -n "$own" ] && seconds=$own ;;
  *) program=$BUILD/$1 ;;
  esac
  rm -rf "$work/tmp"
  mkdir "$work/tmp"
  began=$(date +%s%N)
  if [ -x "$program" ]; then
    case $1 in *.sh) program=./$1 ;; esac
    TMPDIR=$work/tmp timeout -k 5 "$seconds" "$program" </dev/null >"$work/output" 2>&1 &
    running=$!
    wait "$running"
    status=$?
    stop_group
  else
    echo "$program was not built" >"$work/output"
    status=127
  fi
  took=$((($(date +%s%N) - began) / 1000000))
  [ $status -eq 124 ] || [ $status -eq 137 ] && echo "stopped after $seconds seconds" >>"$work/output"
}

passed=0 failed=0 skipped=0
list >"$work/list"
while read -r path <&3; do
  wanted "$path" "$@" || continue
  run_one "$path"
  count $status <"$work/output" >"$work/counts"
  read -r p f s <"$work/counts"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  verdict=ok
  [ "$f" -eq 0 ] || verdict=FAILED
  printf '%-6s  %-48s %4d passed, %d failed, %d skipped  %3d.%02d s\n' "$verdict" "$path" "$p" "$f" "$s" \
    $((took / 1000)) $((took % 1000 / 10))
  sed 1d "$work/counts"
  if [ "$f" -ne 0 ]; then
    sed 's/^/        | /' "$work/output"
    echo "        exit status $status"
  fi
done 3<"$work/list"

summary="$passed passed, $failed failed"
[ $skipped -eq 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ $failed -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
