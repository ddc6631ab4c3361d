#!/bin/sh
# A two-dialogue suite, its scores, a comparison and an export under valgrind: no error, nothing lost. No suppressions of our own code.
# timeout: 600
set -u
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
if ! command -v valgrind >/dev/null; then
  [ "${CI:-}" = true ] && { echo "not ok - valgrind is not installed"; exit 1; }
  echo "skip - a two-dialogue suite under valgrind: valgrind is not installed (make deps)"
  exit 0
fi
case $(nm "$sluice" 2>/dev/null | grep -c __asan_init) in
0) ;;
*) echo "skip - a two-dialogue suite under valgrind: this build has its own sanitizers"; exit 0 ;;
esac
work=$(mktemp -d "${TMPDIR:-/tmp}/valgrind.XXXXXX")
model=
trap 'rm -rf "$work" ${model:+"$model"}' EXIT
tool=${build#"$PWD"/}/tests/integration/tiny_model
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
model=$("$tool") || { echo "not ok - a tiny model"; exit 1; }
# The portable kernel: valgrind knows no AVX-512.
cat >"$work/suite.json" <<END
{
  "name": "valgrind",
  "engines": {"tiny": {"model": "$model", "kernel": "portable", "jobs": 2}},
  "policies": ["full", "sirllm:budget=25%"],
  "benchmarks": [
    {"name": "rps", "data": "rps:rounds=2", "n": 2, "choice": "first"},
    {"name": "lines", "data": "streameval:lines=30", "n": 2, "max_tokens": 3},
    {"name": "story", "data": "story:words=20", "n": 2}
  ]
}
END
bad=0
check() { # check NAME CODE COMMAND...
  name=$1 want=$2
  shift 2
  valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
    --num-callers=25 "$sluice" "$@" >"$work/out" 2>"$work/said"
  code=$?
  if [ $code = "$want" ]; then echo "ok - valgrind: $name"; else
    echo "not ok - valgrind: $name (exit $code, not $want)"
    grep -v '^$' "$work/said" | head -n 40 | sed 's/^/# /'
    bad=1
  fi
}
check "run" 0 run "$work/suite.json" --ledger "$work/l.db" --quiet --checkpoint-turns 1
check "run, with nothing to do" 0 run "$work/suite.json" --ledger "$work/l.db" --quiet
check "score" 0 score "$work/l.db"
check "compare" 5 compare "$work/l.db" --policy-a full --policy-b 'sirllm*'
check "export" 0 export "$work/l.db"
check "a suite that is wrong" 2 plan "$0"
exit $bad
