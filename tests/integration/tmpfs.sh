#!/bin/sh
# A real full disk: a ledger on a small tmpfs. The run stops with exit code 4, what was committed is readable, and with room the
# same command ends like one that always had it. Where mounting is not allowed, tests/fault/test_disk_full.c covers it alone.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-$PWD/build}
SLUICE=${SLUICE:-$BUILD/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-tmpfs.XXXXXX") || exit 1
trap 'umount "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT
failed=0
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok - $name"; else echo "not ok - $name"; failed=1; fi
}
mkdir "$work/disk"
if ! mount -t tmpfs -o size=1200k none "$work/disk" 2>/dev/null; then
  echo "skip - a full tmpfs: mounting is not allowed here"
  exit 0
fi
cat >"$work/suite.json" <<'SUITE'
{"name": "full disk", "engines": {"e": {"model": "embedded"}}, "policies": ["full", "streaming:budget=64"],
 "benchmarks": [{"name": "rps", "data": "rps:rounds=10", "n": 60}, {"name": "story", "data": "story:words=300", "n": 40}], "seeds": [1]}
SUITE
export SLUICE_MODEL="${SLUICE_MODEL:-$PWD/fixtures/model}"
"$SLUICE" run "$work/suite.json" --ledger "$work/whole.db" -q >/dev/null 2>&1 || { echo "not ok - a run with room"; exit 1; }
"$SLUICE" run "$work/suite.json" --ledger "$work/disk/part.db" -q >/dev/null 2>"$work/err"
check "a full disk is exit code 4" [ $? -eq 4 ]
check "and the message says so" grep -qiE 'no space|full' "$work/err"
"$SLUICE" export "$work/disk/part.db" same >"$work/kept" 2>/dev/null
check "what was committed is there" [ -s "$work/kept" ]
mount -o remount,size=32m "$work/disk"
"$SLUICE" run "$work/suite.json" --ledger "$work/disk/part.db" -q >/dev/null 2>&1
check "with room the same command ends" [ $? -eq 0 ]
"$SLUICE" export "$work/whole.db" same >"$work/a"
"$SLUICE" export "$work/disk/part.db" same >"$work/b"
check "and gives what an undisturbed run gives" cmp -s "$work/a" "$work/b"
exit $failed
