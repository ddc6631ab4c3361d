#!/bin/sh
# `sluice proxy`: its words on the command line, then proxy_client.c around it. Everything is on 127.0.0.1.
# timeout: 180
set -u
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/proxy.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0
check() { # check NAME STATUS_WANTED WORDS -- ARGUMENTS
  name=$1 wanted=$2 words=$3
  shift 4
  timeout 20 "$sluice" proxy "$@" >"$work/out" 2>"$work/err" </dev/null
  status=$?
  if [ $status -eq "$wanted" ] && grep -qF -- "$words" "$work/out" "$work/err"; then echo "ok - $name"; else
    echo "not ok - $name: status $status"
    head -n 5 "$work/out" "$work/err" | cut -c 1-300 | sed 's/^/# /'
    bad=1
  fi
}
check "help shows examples" 0 "curl -sN http://127.0.0.1:8080/v1/chat/completions" -- -h
check "an upstream is needed" 2 "--upstream URL is needed" --
check "an upstream is a URL" 2 "is no upstream" -- --upstream 127.0.0.1:8000
check "an upstream holds no password" 2 "is no upstream" -- --upstream http://user:word@127.0.0.1:8000
check "a place to listen has a port" 2 "is no place to listen" -- --upstream http://127.0.0.1:1 --listen nowhere
check "a file is not taken for a socket" 2 "a file is there" -- --upstream http://127.0.0.1:1 --listen "unix:$work/err"
check "a policy must be there" 2 "no-such-policy" -- --upstream http://127.0.0.1:1 --policy no-such-policy.json
check "limits have limits" 2 "--max-streams: 0 is not in 1 to 100000" -- --upstream http://127.0.0.1:1 --max-streams 0

# The unit: what systemd makes of it, with a program that is there, and how much of the system it leaves open (0 to 100).
if command -v systemd-analyze >/dev/null 2>&1 && systemd-analyze security --help 2>&1 | grep -q offline; then
  sed "s:/usr/local/bin/sluice:$PWD/${sluice#"$PWD"/}:; /^Documentation/d" docs/proxy/sluice-proxy.service >"$work/sluice-proxy.service"
  if said=$(systemd-analyze verify "$work/sluice-proxy.service" 2>&1); then echo "ok - systemd reads the unit"; else
    echo "not ok - systemd reads the unit"
    echo "$said" | head -n 5 | sed 's/^/# /'
    bad=1
  fi
  if systemd-analyze security --offline=true --threshold=15 docs/proxy/sluice-proxy.service >/dev/null 2>&1; then
    echo "ok - the unit's exposure is at most 1.5 of 10"
  else
    echo "not ok - the unit's exposure is at most 1.5 of 10"
    bad=1
  fi
else
  echo "skip - systemd reads the unit: there is no systemd-analyze here that reads files"
fi

tool=${build#"$PWD"/}/tests/integration/proxy_client
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=$sluice "$tool" "$work" || bad=1
exit $bad
