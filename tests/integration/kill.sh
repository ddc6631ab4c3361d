#!/bin/sh
# `kill -9` at random moments of `sluice run`, then the same command again: every attempt and output must equal an uninterrupted
# run's. KILLS (default 20) and SEED choose how often and when. Half of the ledgers resume from cache snapshots, half by replay.
# timeout: 300
set -u
kills=${KILLS:-20}
seed=${SEED:-$(date +%s)}
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/kill.XXXXXX")
model=
trap 'rm -rf "$work" ${model:+"$model"}' EXIT

tool=${build#"$PWD"/}/tests/integration/tiny_model
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
model=$("$tool") || { echo "not ok - a tiny model"; exit 1; }

cat >"$work/suite.json" <<END
{
  "name": "kill",
  "engines": {"tiny": {"model": "$model", "jobs": 2}},
  "policies": ["full", "streaming:budget=25%", "sirllm:budget=25%", "random:budget=25%"],
  "benchmarks": [
    {"name": "grocery", "data": "grocery:depth=random", "n": 2},
    {"name": "lines", "data": "streameval", "n": 2, "max_tokens": 8},
    {"name": "rps", "data": "rps", "n": 1, "choice": "first"},
    {"name": "story", "data": "story", "n": 1}
  ]
}
END

run() { # run LEDGER [OPTIONS]
  ledger=$1
  shift
  "$sluice" run "$work/suite.json" --ledger "$ledger" --quiet "$@"
}
dump() { "$sluice" export "$1" same; }
# Killed processes are this script's own children; the shell's notice of their end is of no interest.
run_and_kill() { # run_and_kill MILLISECONDS LEDGER [OPTIONS] -> exit code
  delay=$1
  shift
  ledger=$1
  shift
  "$sluice" run "$work/suite.json" --ledger "$ledger" --quiet "$@" >/dev/null 2>"$work/said" &
  victim=$!
  sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
  kill -9 "$victim" 2>/dev/null
  wait "$victim" 2>/dev/null
}
bad=0
ok() { echo "ok - $1"; }
not_ok() { # not_ok NAME [FILE]
  echo "not ok - $1"
  [ $# -lt 2 ] || cut -c 1-600 "$2" | head -n 8 | sed 's/^/# /'
  bad=1
}
same_as_whole() { # same_as_whole LEDGER
  dump "$1" >"$work/resumed"
  diff "$work/whole" "$work/resumed" >"$work/differences"
}

began=$(date +%s%N)
run "$work/whole.db" 2>"$work/said" || { not_ok "an uninterrupted run" "$work/said"; exit 1; }
span=$((($(date +%s%N) - began) / 1000000))
dump "$work/whole.db" >"$work/whole" || exit 1
echo "# uninterrupted: $span ms, $(wc -l <"$work/whole") rows; seed $seed"

# Delays in ms, uniform over the whole run.
# shellcheck disable=SC2046
set -- $(awk -v n=$((kills * 20)) -v span="$span" -v seed="$seed" 'BEGIN { srand(seed); for (i = 0; i < n; i++) printf "%d ", rand() * span }')
hit=0 ledgers=0 inside=0
while [ "$hit" -lt "$kills" ] && [ $# -gt 4 ] && [ $bad = 0 ]; do
  ledgers=$((ledgers + 1))
  ledger=$work/$ledgers.db
  options="--checkpoint-turns 1 --jobs 1"
  [ $((ledgers % 2)) = 0 ] && options="--checkpoint-turns 1 --snapshot-limit -1"
  for try in 1 2 3 4; do # up to four kills of one ledger, then one run to the end
    # shellcheck disable=SC2086
    run_and_kill "$1" "$ledger" $options
    [ $? = 137 ] || break
    hit=$((hit + 1))
    shift
    "$sluice" export "$ledger" in-flight 2>/dev/null | grep -q '"next_turn":[1-9]' && inside=$((inside + 1))
  done
  shift
  # shellcheck disable=SC2086
  run "$ledger" $options 2>"$work/said" || not_ok "the run continues after kills (ledger $ledgers)" "$work/said"
  same_as_whole "$ledger" || not_ok "a killed run ends as an uninterrupted one (ledger $ledgers)" "$work/differences"
  rm -f "$ledger"*
done
if [ "$hit" -ge "$kills" ]; then
  [ $bad = 0 ] && ok "$hit kills ($inside inside a dialogue) over $ledgers ledgers: every attempt and output as without"
else
  [ $bad = 1 ] || not_ok "only $hit of $kills kills hit a running process"
fi

# Inside a dialogue, each way of coming back.
for limit in 0 -1; do
  way=$([ $limit = 0 ] && echo "its snapshot" || echo "a replay")
  caught=no
  for delay in $(seq 100 60 1500); do
    rm -f "$work/mid.db"*
    run_and_kill "$delay" "$work/mid.db" --checkpoint-turns 1 --snapshot-limit "$limit" --jobs 1
    "$sluice" export "$work/mid.db" in-flight 2>/dev/null | grep -q '"next_turn":[2-9]' && { caught=yes; break; }
  done
  run "$work/mid.db" --checkpoint-turns 1 --snapshot-limit "$limit" --json >"$work/said" 2>&1
  grep -q '"resumed":[1-9]' "$work/said" || caught=no
  if [ $caught = yes ] && same_as_whole "$work/mid.db"; then ok "killed inside a dialogue, continued from $way"; else
    not_ok "killed inside a dialogue, continued from $way (caught: $caught)" "$work/differences"
  fi
done

# A polite stop: the first signal ends with a checkpoint and the documented code.
for signal in INT TERM; do
  rm -f "$work/polite.db"*
  # Shells start background jobs with SIGINT ignored; a program's own handler is not affected.
  "$sluice" run "$work/suite.json" --ledger "$work/polite.db" --quiet --jobs 1 2>"$work/said" &
  victim=$!
  sleep "$(printf '%d.%03d' $((span / 3000)) $((span / 3 % 1000)))"
  kill -s $signal "$victim" 2>/dev/null
  wait "$victim"
  code=$?
  want=$([ $signal = INT ] && echo 130 || echo 143)
  run "$work/polite.db" 2>>"$work/said"
  if [ $code = "$want" ] && grep -q "to continue: sluice run" "$work/said" && same_as_whole "$work/polite.db"; then
    ok "SIG$signal ends with $want, says how to continue, and loses nothing"
  else
    not_ok "SIG$signal ends with $want (it was $code), says how to continue, and loses nothing" "$work/said"
  fi
done
exit $bad
