#!/bin/sh
# Shards merged equal one undivided run; what is no shard of the plan, not all of it, or twice there is refused. Then the exit codes of
# baseline, gate and compare as a nightly meets them.
# timeout: 240
set -u
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/shards.XXXXXX")
model=
trap 'rm -rf "$work" ${model:+"$model"}' EXIT
tool=${build#"$PWD"/}/tests/integration/tiny_model
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
model=$("$tool") || { echo "not ok - a tiny model"; exit 1; }
bad=0
ok() { echo "ok - $1"; }
not_ok() {
  echo "not ok - $1"
  head -n 12 "$work/said" | cut -c 1-400 | sed 's/^/# /'
  bad=1
}
exits() { # exits CODE NAME COMMAND...
  want=$1 name=$2
  shift 2
  "$@" >"$work/said" 2>&1
  code=$?
  if [ $code = "$want" ]; then ok "$name"; else not_ok "$name (exit $code, not $want)"; fi
}
suite() { # suite FILE POLICY N
  cat >"$1" <<END
{
  "name": "shards",
  "engines": {"tiny": {"model": "$model"}},
  "policies": ["full", "$2"],
  "benchmarks": [
    {"name": "rps", "data": "rps:rounds=4", "n": $3, "choice": "first"},
    {"name": "story", "data": "story:words=40", "n": 4}
  ]
}
END
}
suite "$work/suite.json" "window:budget=40" 8
suite "$work/other.json" "window:budget=41" 8
run() { "$sluice" run "$work/suite.json" --quiet --ledger "$@" 2>"$work/said"; }

run "$work/whole.db" || not_ok "the undivided run"
for i in 0 1; do run "$work/$i.db" --shard $i/2 || not_ok "shard $i"; done
exits 2 "a merge wants all shards" "$sluice" merge "$work/part.db" "$work/0.db"
exits 0 "unless it may be partial" "$sluice" merge "$work/part.db" "$work/0.db" --allow-partial
exits 2 "the same shard twice is refused" "$sluice" merge "$work/twice.db" "$work/0.db" "$work/0.db"
exits 2 "an undivided run is no shard of two" "$sluice" merge "$work/mixed.db" "$work/0.db" "$work/whole.db"
exits 0 "two shards are merged" "$sluice" merge "$work/all.db" "$work/0.db" "$work/1.db"
exits 2 "but not twice into one file" "$sluice" merge "$work/all.db" "$work/0.db" "$work/1.db"
"$sluice" export "$work/whole.db" same >"$work/a"
"$sluice" export "$work/all.db" same >"$work/b"
if cmp "$work/a" "$work/b" >"$work/said" 2>&1; then ok "and equal the undivided run"; else not_ok "and equal the undivided run"; fi
exits 0 "the merged run is complete" "$sluice" run "$work/suite.json" --ledger "$work/all.db" --quiet

# A nightly's life.
exits 6 "a gate without its baseline" "$sluice" gate "$work/whole.db" --baseline good
exits 0 "a complete run becomes a baseline" "$sluice" baseline set "$work/whole.db" good --note "first light"
exits 0 "which is listed" "$sluice" baseline list "$work/whole.db"
grep -q "first light" "$work/said" || not_ok "with its note"
exits 0 "the next night begins a new run" "$sluice" run "$work/suite.json" --ledger "$work/whole.db" --quiet --new-run
exits 0 "identical outputs pass the gate" "$sluice" gate "$work/whole.db" --baseline good
exits 5 "eight dialogues cannot tell two policies apart" "$sluice" compare "$work/whole.db" --policy-a full --policy-b 'window*'
exits 2 "half a dialogue is no limit" "$sluice" run "$work/suite.json" --ledger "$work/whole.db" --quiet --limit 0.5
exits 0 "a limited run is a run" "$sluice" run "$work/suite.json" --ledger "$work/whole.db" --quiet --limit 1
exits 2 "but no baseline" "$sluice" baseline set "$work/whole.db" bad
exits 6 "another policy's ledger does not pair" "$sluice" compare "$work/whole.db" "$work/all.db" --engine-a nobody --engine-b nobody
exits 0 "a baseline can be removed" "$sluice" baseline rm "$work/whole.db" good
exits 2 "once" "$sluice" baseline rm "$work/whole.db" good
exit $bad
