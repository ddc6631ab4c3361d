#!/bin/sh
# `sluice proxy --upstream-http2` in front of a server that speaks HTTP/2: proxy_http2.c, all on 127.0.0.1. nginx stands between the
# proxy and a scripted server; without it the tests are skipped.
set -u
PATH=$PATH:/usr/sbin
build=${BUILD:-build}
if ! nginx -V 2>&1 | grep -q http_v2_module; then
  echo "skip - an upstream that speaks HTTP/2: there is no nginx with http_v2_module here"
  exit 0
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/proxy_http2.XXXXXX")
trap 'rm -rf "$work"' EXIT
tool=${build#"$PWD"/}/tests/integration/proxy_http2
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=${SLUICE:-$build/sluice} "$tool" "$work"
