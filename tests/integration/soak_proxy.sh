#!/bin/sh
# Fifteen seconds of mixed traffic through `sluice proxy` (soak_proxy.c); `make soak SECONDS=3600` runs longer.
# timeout: 120
set -u
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/soak_proxy.XXXXXX")
trap 'rm -rf "$work"' EXIT
tool=${build#"$PWD"/}/tests/integration/soak_proxy
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=${SLUICE:-$build/sluice} "$tool" "$work" "${SOAK_SECONDS:-15}" ${SOAK_CLIENTS:-}
