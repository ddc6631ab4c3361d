#!/bin/sh
# `sluice proxy` and answers that are no success, or lead elsewhere: proxy_errors.c, all on 127.0.0.1.
set -u
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/proxy_errors.XXXXXX")
trap 'rm -rf "$work"' EXIT
tool=${build#"$PWD"/}/tests/integration/proxy_errors
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=${SLUICE:-$build/sluice}
export SLUICE
"$tool" "$work"
bad=$?
"$SLUICE" proxy --upstream http://127.0.0.1:1 --listen 127.0.0.1:0 --cors https://app.example/ 2>"$work/usage"
if [ $? = 2 ] && grep -q -- '--cors https://app.example/: neither an origin' "$work/usage"; then
  echo "ok - what is no origin is refused"
else
  echo "not ok - what is no origin is refused"
  bad=1
fi
exit $bad
