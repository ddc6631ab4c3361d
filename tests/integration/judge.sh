#!/bin/sh
# `sluice judge` over a real ledger: rules, local weights and an API; pairs in both orders; errors are asked again, and nothing is
# judged twice.
set -u
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/judge.XXXXXX")
model=
trap 'exec 9>&-; rm -rf "$work" ${model:+"$model"}' EXIT
no_proxy=127.0.0.1
export no_proxy
bad=0
is() { # is NAME GOT WANTED
  if [ "$2" = "$3" ]; then
    echo "ok - $1"
  else
    echo "not ok - $1: got \"$2\", wanted \"$3\""
    [ ! -s "$work/err" ] || head -n 3 "$work/err" | cut -c 1-300 | sed 's/^/# /'
    bad=1
  fi
}
number() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$work/out"; }
for tool in tiny_model api_server; do
  tool=${build#"$PWD"/}/tests/integration/$tool
  [ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
done
model=$("$build/tests/integration/tiny_model") || exit 1
mkfifo "$work/hold"
"$build/tests/integration/api_server" <"$work/hold" >"$work/address" &
exec 9>"$work/hold"
cat >"$work/suite.json" <<END
{
  "name": "judged",
  "engines": {"tiny": {"model": "$model"}},
  "policies": ["full", "streaming:sinks=4,recent=60"],
  "benchmarks": [
    {"name": "grocery", "data": "grocery:depth=random", "n": 2},
    {"name": "lines", "data": "streameval", "n": 1, "max_tokens": 6}
  ]
}
END
"$sluice" run "$work/suite.json" --ledger "$work/l.db" --quiet >/dev/null 2>"$work/err" || { echo "not ok - a run to judge"; sed 's/^/# /' "$work/err"; exit 1; }
api=$(cat "$work/address")
judge() { # judge OPTIONS -> $work/out, $work/err, $status
  "$sluice" judge "$work/l.db" --json "$@" >"$work/out" 2>"$work/err" </dev/null
  status=$?
}

# ---- rules
judge --judge rules:policy=fixtures/policies/default.json
is "rules judge every answer" "$status $(number scored) $(number unscored) $(number errors)" "0 $(number turns) 0 0"
turns=$(number turns)
[ "${turns:-0}" -gt 40 ] && echo "ok - $turns answers" || { echo "not ok - only ${turns:-no} answers"; bad=1; }
judge --judge rules:policy=fixtures/policies/default.json
is "a second pass judges nothing again" "$status $(number already) $(number scored)" "0 $turns $turns"

# ---- local weights
judge --judge "model:rubric=fixtures/judges/yes-no.json,dir=$model" --metric acc_g
is "local weights weigh every answer of a metric" "$status $(number turns) $(number scored)" "0 4 4"

# ---- an API: down, then up
down="api:url=http://127.0.0.1:9/v1,model=j,retries=0,rubric=fixtures/judges/correct.json"
judge --judge "$down" --metric acc_g
is "a judge that is down leaves errors" "$status $(number scored) $(number errors)" "4 0 4"
judge --judge "$down" --metric acc_g
is "and they are asked again" "$status $(number already) $(number errors)" "4 0 4"
up="api:url=$api,model=j,rubric=fixtures/judges/correct.json"
judge --judge "$up" --metric acc_g
is "a judge that is up scores" "$status $(number scored) $(number errors)" "0 4 0"
agreed=$(sed -n 's/.*"agreement":{"n":\([0-9]*\),"raw":\([0-9.]*\).*/\1 \2/p' "$work/out")
is "this judge compares texts as the metric does" "$agreed" "4 1.000000"
judge --judge "$up" --metric acc_g --limit 2
is "a limit" "$(number turns)" 2

# ---- pairs
pair="api:url=$api,model=j,rubric=fixtures/judges/better.json"
judge --judge "$pair" --policy full --against-policy streaming:sinks=4,recent=60 --metric acc_g
is "a judge that likes the first answer makes only ties" "$status $(number turns) $(number wins) $(number ties) $(number losses) $(number inconsistent)" "0 2 0 2 0 2"
judge --judge "$pair" --policy full --against-policy streaming:sinks=4,recent=60 --metric acc_g
is "pairs are not judged twice" "$(number already) $(number ties)" "2 2"

# ---- what is recorded
if command -v sqlite3 >/dev/null 2>&1; then
  is "each judgment has its text, prompt and parser" "$(sqlite3 "$work/l.db" "SELECT count(*) FROM judgment WHERE parse_ok = 1 AND (raw IS NULL OR prompt_hash IS NULL OR parser_version <> 1)")" 0
  is "both orders stand in the ledger" "$(sqlite3 "$work/l.db" "SELECT group_concat(order_ab, '') FROM (SELECT order_ab FROM judgment WHERE attempt_b IS NOT NULL ORDER BY id)")" 0101
  is "an error is no score" "$(sqlite3 "$work/l.db" "SELECT count(*) FROM score s JOIN judgment j ON j.scorer_id = s.scorer_id AND j.attempt_a = s.attempt_id AND j.turn_no = s.turn_no WHERE j.error IS NOT NULL")" 0
  is "a judge is a scorer of its own kind" "$(sqlite3 "$work/l.db" "SELECT group_concat(DISTINCT kind) FROM scorer WHERE id IN (SELECT scorer_id FROM judgment)")" judge
else
  echo "skip - rows in the ledger: no sqlite3 here"
fi

# ---- what is wrong is said
usage() { # usage NAME TEXT OPTIONS
  name=$1 text=$2
  shift 2
  judge "$@"
  is "$name" "$status $(grep -cF -- "$text" "$work/err")" "2 1"
}
usage "a pairwise rubric wants another side" "--against" --judge "$pair"
usage "a pointwise one does not" "judges one answer" --judge "$up" --against latest
usage "an unknown kind" "did you mean \"rules\"" --judge rule:policy=x
usage "half a pair" "go together" --judge "$pair" --policy full
usage "a missing rubric" "no-such.json" --judge "api:url=$api,rubric=no-such.json"
"$sluice" judge "$work/none.db" --judge rules:policy=fixtures/policies/default.json >/dev/null 2>"$work/err"
is "a ledger that is not there" "$? $(grep -c none.db "$work/err")" "2 1"
exit $bad
