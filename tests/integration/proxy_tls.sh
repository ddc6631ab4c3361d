#!/bin/sh
# `sluice proxy` with TLS on both sides: its words on the command line, then proxy_tls.c around it, all on 127.0.0.1.
# timeout: 120
set -u
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/proxy_tls.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0
check() { # check NAME WORDS ARGUMENTS...
  name=$1 words=$2
  shift 2
  timeout 20 "$sluice" proxy --upstream https://127.0.0.1:1 "$@" >"$work/out" 2>&1 </dev/null
  status=$?
  if [ $status -eq 2 ] && grep -qF -- "$words" "$work/out"; then echo "ok - $name"; else
    echo "not ok - $name: status $status"
    head -n 5 "$work/out" | cut -c 1-300 | sed 's/^/# /'
    bad=1
  fi
}
echo nonsense >"$work/nonsense.pem"
check "a certificate that is none" "nonsense.pem: is no usable certificate" --tls-cert "$work/nonsense.pem"
check "a certificate that is not there" "absent.pem: is no usable certificate" --tls-cert "$work/absent.pem"
check "a key without a certificate" "needs a certificate: --tls-cert FILE" --tls-key "$work/nonsense.pem"
check "a CA that is none" "nonsense.pem: holds no usable certificates" --upstream-ca "$work/nonsense.pem"

tool=${build#"$PWD"/}/tests/integration/proxy_tls
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
SLUICE=$sluice "$tool" "$work" || bad=1
exit $bad
