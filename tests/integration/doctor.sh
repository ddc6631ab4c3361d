#!/bin/sh
# sluice doctor and sluice version, as a user types them.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sluice-doctor.XXXXXX")
model=
trap 'rm -rf "$tmp" ${model:+"$model"}' EXIT
bad=0
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok - $name"; else
    echo "not ok - $name"
    sed 's/^/# /' "$tmp/said"
    bad=1
  fi
}
said() { grep -qE -- "$1" "$tmp/said"; }
said_not() { ! grep -qE -- "$1" "$tmp/said"; }
doctor() {
  "$sluice" doctor "$@" >"$tmp/said" 2>&1
  status=$?
}
same() { [ "$1" = "$2" ]; }

tool=${build#"$PWD"/}/tests/integration/tiny_model
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
model=$("$tool") || { echo "not ok - a tiny model"; exit 1; }
export SLUICE_MODEL="$model"

doctor
check "all is well: exit 0" same $status 0
for finding in sluice libraries system processor threads memory model cuda data ledger terminal; do
  check "it looks at $finding" said "^(ok|note) +$finding "
done
check "the kernel is named" said "kernel (avx512vnni|avx512|avx2|portable)$"
check "the model's parameters and hash" said "M parameters, 2 layers, .*, [0-9a-f]{12}; a token in"
check "bandwidth" said "reads about [0-9.]+ GB/s"
check "without a terminal there is no colour" same "$(tr -d '\n' <"$tmp/said" | tr -dc '\033' | wc -c | tr -d ' ')" 0

doctor --json
check "--json: exit 0" same $status 0
check "--json says so" said '^\{"ok":true,"checks":\[$'
check "--json has the kernel" said '"kernel":"(avx512vnni|avx512|avx2|portable)"'
check "--json has the whole hash" said '"sha256":"[0-9a-f]{64}"'
check "--json ends" same "$(tail -n 1 "$tmp/said")" "]}"

SLUICE_MODEL=$tmp/none doctor
check "no model: exit 1" same $status 1
check "and a remedy" said "-> .*SLUICE_MODEL"
check "and the folder is named" said "^FAIL +model +$tmp/none"
cp -R "$model" "$tmp/cut" && head -c 100 "$model/model.safetensors" >"$tmp/cut/model.safetensors"
SLUICE_MODEL=$tmp/cut doctor --json
check "a cut model: exit 1" same $status 1
check "and --json says so" said '^\{"ok":false'
rm "$tmp/cut/tokenizer.json" && cp "$model/model.safetensors" "$tmp/cut/model.safetensors"
SLUICE_MODEL=$tmp/cut doctor
check "a model without a tokenizer: exit 1" same $status 1

echo "no ledger" >"$tmp/text.db"
doctor "$tmp/text.db"
check "a file that is no ledger: exit 1" same $status 1
doctor "$tmp/no/such.db"
check "a folder that is not there: exit 1" same $status 1
doctor "$tmp/new.db"
check "a ledger to be made: exit 0" same $status 0
check "and nothing is made" [ ! -e "$tmp/new.db" ]
doctor a b
check "two ledgers are exit 2" same $status 2
SLUICE_DATA=$tmp/none doctor
check "a wrong SLUICE_DATA is a note, and no failure" same $status 0
check "with a remedy" said "-> set SLUICE_DATA"
mkdir -p "$tmp/sets/one" "$tmp/sets/two"
SLUICE_DATA=$tmp/sets doctor
check "its sets are named" said "2 sets: one, two$"

"$sluice" version >"$tmp/said"
check "version begins with the name and the number" same "$(head -n 1 "$tmp/said")" \
  "sluice $(sed -n 's/^.define SLUICE_VERSION "\(.*\)"/\1/p' base/base.h)"
check "version names the compiler" said "^built +(gcc|clang) [0-9]"
check "version names the libraries" said "PCRE2 [0-9.]+.*, SQLite [0-9.]+, libcurl [0-9.]+, libevent [0-9.]+[a-z-]*, cJSON [0-9.]+, OpenSSL [0-9.]+, zlib [0-9.]+"
check "version says how it stands with CUDA" said "^CUDA "
"$sluice" --version >"$tmp/other"
check "--version is the same" cmp -s "$tmp/said" "$tmp/other"
"$sluice" version --json >"$tmp/said"
check "version --json is one object" said '^\{"version":"[0-9.]+","compiler":".*","commit":(null|"[0-9a-f]+(-dirty)?"),"libraries":\{.*\},"pcre2_jit":(true|false),"fold_table":".*","cuda":(true|false),"cuda_library":".*"\}$'
exit $bad
