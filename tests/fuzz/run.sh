#!/bin/sh
# Each fuzz target under libFuzzer for SECONDS, from its corpus: tests/fuzz/run.sh SECONDS [WORD...]. `make fuzz` calls it.
# FUZZ_SEED draws the same inputs again; without it each run draws others. FUZZ_RUNS bounds how many are tried, whatever the time. New inputs go to $BUILD/found/NAME, where the next run goes on
# from; what breaks a target to $BUILD/broken.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build/fuzz}
seconds=$1
shift
bad=0 n=0
mkdir -p "$BUILD/broken"
for source in tests/fuzz/fuzz_*.c; do
  name=${source##*/fuzz_} name=${name%.c}
  chosen=$([ $# -eq 0 ] && echo yes)
  for word; do case $name in *"$word"*) chosen=yes ;; esac; done
  [ -n "$chosen" ] || continue
  n=$((n + 1))
  mkdir -p "$BUILD/found/$name"
  # -timeout: one input may take so many seconds. Leaks are looked for at the end of the run and, where one is likely, before.
  if UBSAN_OPTIONS=print_stacktrace=1 "$BUILD/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$BUILD/broken/$name-" -print_final_stats=1 ${FUZZ_SEED:+-seed="$FUZZ_SEED"} ${FUZZ_RUNS:+-runs="$FUZZ_RUNS"} "$BUILD/found/$name" "tests/fuzz/corpus/$name" >"$BUILD/broken/$name.log" 2>&1; then
    sed -n 's/^stat::number_of_executed_units: */ok - '"$name"', inputs: /p' "$BUILD/broken/$name.log"
    rm -f "$BUILD/broken/$name.log"
  else
    bad=$((bad + 1))
    echo "not ok - $name: $BUILD/broken/$name.log"
    grep -E 'broken:|ERROR|SUMMARY|runtime error|Test unit written' "$BUILD/broken/$name.log" | head -8 | sed 's/^/# /'
  fi
done
[ $bad -eq 0 ] && [ $n -gt 0 ]
