#!/bin/sh
# `sluice serve`: its words on the command line, serve_client.c around it, and the harness's remote path against it.
# timeout: 180
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/serve.XXXXXX")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
bad=0
say() { # say NAME STATUS: "ok - NAME" when the status is 0
  if [ "$2" -eq 0 ]; then echo "ok - $1"; else
    echo "not ok - $1"
    cat "$work/out" "$work/err" 2>/dev/null | head -n 8 | cut -c 1-300 | sed 's/^/# /'
    bad=1
  fi
}
refused() { # refused NAME WORDS ARGUMENTS...
  name=$1 words=$2
  shift 2
  timeout 20 "$sluice" serve "$@" >"$work/out" 2>"$work/err" </dev/null
  [ $? -eq 2 ] && grep -qF -- "$words" "$work/err"
  say "$name" $?
}
refused "a model must be there" "no-such-model" --model no-such-model
refused "a place to listen has a port" "is no place to listen" --listen nowhere
refused "limits have limits" "--parallel 0 is outside 1 to 256" --parallel 0
refused "a cache policy has a name" "did you mean" --policy streamin
refused "an audit needs a monitor" "--audit goes with --monitor" --audit audit.db

tool=${build#"$PWD"/}/tests/integration/serve_client
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=$sluice "$tool" "$work" || bad=1

# ---- the harness's own client ----
"$sluice" serve --listen "unix:$work/socket" --listen 127.0.0.1:0 2>"$work/log" &
server=$!
address=
for _ in $(seq 200); do
  address=$(sed -n 's/.*listening at \(127[0-9.:]*\),.*/\1/p' "$work/log")
  [ -n "$address" ] && break
  sleep 0.05
done
question='I want you to buy apples.'
"$sluice" generate --prompt "$question" >"$work/local" 2>/dev/null
"$sluice" generate --api "http://$address/v1" --api-model embedded --prompt "$question" >"$work/out" 2>"$work/err"
cmp -s "$work/local" "$work/out" && [ -s "$work/out" ]
say "generate --api says what generate says" $?

suite() { # suite NAME ENGINE POLICY
  printf '{"name": "%s", "engines": {"e": %s}, "policies": ["%s"], "benchmarks": [{"data": "grocery:form=open,turns=4,answer=gold", "n": 3, "max_tokens": 24}], "seeds": [7]}' \
    "$1" "$2" "$3" >"$work/$1.json"
  "$sluice" run "$work/$1.json" --ledger "$work/$1.db" >"$work/out" 2>"$work/err"
  say "a suite runs: $1" $?
  "$sluice" export "$work/$1.db" results 2>/dev/null | sed -n 's/.*\("metric":"[a-z_]*"\).*\("value":[0-9.]*\).*/\1 \2/p' | sort >"$work/$1.scores"
}
suite here '{"model": "embedded"}' full
suite served "{\"api\": \"http://$address/v1\", \"model\": \"embedded\"}" server
grep acc_g "$work/here.scores" >"$work/out" && grep acc_g "$work/served.scores" | cmp -s "$work/out" -
say "the served model scores what the local one scores" $?
kill "$server"
wait "$server"
say "and it drains" $?
server=
exit $bad
