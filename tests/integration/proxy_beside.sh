#!/bin/sh
# `sluice proxy` and what is long: prompts and whole answers that are judged on the thread beside the loop (proxy_beside.c).
set -u
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/proxy_beside.XXXXXX")
trap 'rm -rf "$work"' EXIT
tool=${build#"$PWD"/}/tests/integration/proxy_beside
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=${SLUICE:-$build/sluice} "$tool" "$work"
