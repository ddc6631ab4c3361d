#!/bin/sh
# tests/run.sh itself: a failing, crashing, silent, hanging or missing program must be reported and fail the run.
set -u
tree=$(mktemp -d "${TMPDIR:-/tmp}/run-sh.XXXXXX")
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/tests/unit" "$tree/tests/integration" "$tree/build/tests/unit"
cp tests/run.sh "$tree/tests/run.sh"
bad=0

program() { # program NAME BODY: stands for a built cmocka program
  : >"$tree/tests/unit/test_$1.c"
  printf '#!/bin/sh\n%s\n' "$2" >"$tree/build/tests/unit/test_$1"
  chmod +x "$tree/build/tests/unit/test_$1"
}
script() {
  printf '#!/bin/sh\n%s\n' "$2" >"$tree/tests/integration/$1.sh"
  chmod +x "$tree/tests/integration/$1.sh"
}
fresh() { rm -f "$tree"/tests/unit/* "$tree"/tests/integration/* "$tree"/build/tests/unit/*; }
expect() { # expect NAME STATUS LAST-LINE
  TEST_TIMEOUT=${seconds:-20} BUILD=build "$tree/tests/run.sh" >"$tree/said" 2>&1
  status=$?
  last=$(tail -n 1 "$tree/said")
  if [ $status -eq "$2" ] && [ "$last" = "$3" ]; then
    echo "ok - $1"
  else
    echo "not ok - $1: status $status, last line \"$last\", wanted $2 and \"$3\""
    sed 's/^/# /' "$tree/said"
    bad=1
  fi
}
shown() { # shown NAME TEXT: the last run printed TEXT
  if grep -qF -- "$2" "$tree/said"; then echo "ok - $1"; else echo "not ok - $1"; bad=1; fi
}

good='echo "[==========] Running 2 test(s)."; echo "[       OK ] a"; echo "[       OK ] b"'
program good "$good"
script good 'echo "ok - one"; echo "skip - two: no browser here"'
expect "what passes is counted" 0 "3 passed, 0 failed, 1 skipped"
shown "the reason of a skip is shown" "skipped two: no browser here"

fresh
program failing 'echo "[==========] Running 2 test(s)."; echo "[       OK ] a"; echo "expected 1, got 2"
echo "[  FAILED  ] b"; echo "[==========] 2 test(s) run."; echo "[  FAILED  ] 1 test(s), listed below:" >&2
echo "[  FAILED  ] b" >&2; exit 1'
expect "a failing program fails the run, once" 1 "1 passed, 1 failed"
shown "its output is shown" "expected 1, got 2"

fresh
program good "$good"
script failing 'echo "ok - one"; echo "not ok - two: wanted 3"; exit 0'
expect "a script's \"not ok\" fails the run whatever it exits with" 1 "3 passed, 1 failed"

fresh
program crashing 'echo "[==========] Running 3 test(s)."; echo "[       OK ] a"; kill -SEGV $$'
expect "tests that a crash kept from running have failed" 1 "1 passed, 2 failed"

fresh
program late "$good"'; exit 3'
expect "a bad exit after good tests is a failure" 1 "2 passed, 1 failed"

fresh
program silent 'exit 0'
expect "a program without tests has failed" 1 "0 passed, 1 failed"

fresh
: >"$tree/tests/unit/test_absent.c"
expect "a program that was not built has failed" 1 "0 passed, 1 failed"
shown "and is named" "test_absent was not built"

fresh
expect "no tests at all is a failure" 1 "0 passed, 0 failed"

fresh
script hanging "echo 'ok - began'; sleep 300 & echo \$! >'$tree/child'; sleep 300"
seconds=1 expect "a hanging program is stopped" 1 "1 passed, 1 failed"
shown "and named as such" "stopped after 1 seconds"
# A killed child may stay a zombie where nothing reaps orphans.
if grep -qs '^State:[[:space:]]*[RSDT]' "/proc/$(cat "$tree/child")/status"; then
  echo "not ok - its children are stopped too"
  bad=1
else
  echo "ok - its children are stopped too"
fi

fresh
script patient '# timeout: 30
sleep 1.5; echo "ok - slow but sure"'
seconds=1 expect "a script may ask for more time" 0 "1 passed, 0 failed"

fresh
program good "$good"
program cmocka 'echo "[==========] Running 2 test(s)."; echo "[ RUN      ] a"; echo "no data"
echo "[  SKIPPED ] a"; echo "[       OK ] b"
echo "[==========] 2 test(s) run."; echo "[  SKIPPED ] 1 test(s), listed below:"; echo "[  SKIPPED ] a"'
expect "a skipped cmocka test is counted once" 0 "3 passed, 0 failed, 1 skipped"
shown "with what it said" "skipped a: no data"
exit $bad
