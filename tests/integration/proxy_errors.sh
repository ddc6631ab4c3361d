#!/bin/sh
# `sluice proxy` and answers that are no success, or lead elsewhere: proxy_errors.c, all on 127.0.0.1.
set -u
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/proxy_errors.XXXXXX")
trap 'rm -rf "$work"' EXIT
tool=${build#"$PWD"/}/tests/integration/proxy_errors
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=${SLUICE:-$build/sluice} "$tool" "$work"
