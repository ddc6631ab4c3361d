#!/bin/sh
# `sluice proxy` with several upstreams and threads, SIGHUP, a bound on memory: proxy_many.c around it, all on 127.0.0.1.
# timeout: 120
set -u
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/proxy_many.XXXXXX")
trap 'rm -rf "$work"' EXIT
tool=${build#"$PWD"/}/tests/integration/proxy_many
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=${SLUICE:-$build/sluice} "$tool" "$work"
