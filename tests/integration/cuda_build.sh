#!/bin/sh
# What .ci/cuda.sh makes of toolkits: whole, compiler alone, a script in front of the real compiler, none.
set -u
cd "$(dirname "$0")/../.." || exit 1
tree=$(mktemp -d "${TMPDIR:-/tmp}/cuda.XXXXXX") || exit 1
trap 'rm -rf "$tree"' EXIT
bad=0
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok - $name"; else
    echo "not ok - $name"
    sed 's/^/# /' "$tree/out" "$tree/err"
    bad=1
  fi
}
ask() { NVCC=$1 CC=${CC:-cc} .ci/cuda.sh >"$tree/out" 2>"$tree/err"; }
compiler() { # compiler FILE TOOLKIT: an nvcc that says where its toolkit lies
  mkdir -p "$(dirname "$1")"
  printf '#!/bin/sh\necho "#$ TOP=%s/bin/.." >&2\n' "$2" >"$1"
  chmod +x "$1"
}
library() { # library FILE
  mkdir -p "$(dirname "$1")"
  echo 'int nothing(void) { return 0; }' | ${CC:-cc} -shared -fPIC -x c -o "$1" -
}

compiler "$tree/whole/bin/nvcc" "$tree/whole"
library "$tree/whole/lib64/libcublas.so"
library "$tree/whole/lib64/libcudart.so"
library "$tree/whole/lib64/libstdc++.so" # a C compiler alone has none
ask "$tree/whole/bin/nvcc"
check "a whole toolkit is linked" grep -q -- "-L.*/whole/lib64 .*-lcublas -lcudart" "$tree/out"

compiler "$tree/path/nvcc" "$tree/whole"
ask "$tree/path/nvcc"
check "a script in front of the compiler leads to the same libraries" grep -q -- "-L.*/whole/lib64 " "$tree/out"

compiler "$tree/alone/bin/nvcc" "$tree/alone"
ask "$tree/alone/bin/nvcc"
if echo 'int main(void) { return 0; }' | ${CC:-cc} -x c -o "$tree/a" - -lcublas -lcudart 2>/dev/null; then
  echo "skip - a compiler without its libraries: this system's linker finds cuBLAS by itself"
else
  check "a compiler without its libraries: no words, and the reason" \
    test ! -s "$tree/out" -a "$(grep -c 'building without CUDA' "$tree/err")" -eq 1
fi

mkdir -p "$tree/broken/lib64"
compiler "$tree/broken/bin/nvcc" "$tree/broken"
: >"$tree/broken/lib64/libcublas.so"
ask "$tree/broken/bin/nvcc"
check "a library that is none: no words from it" test "$(grep -c broken "$tree/out")" -eq 0

ask "$tree/absent"
check "no compiler: silence" test ! -s "$tree/out" -a ! -s "$tree/err"
exit $bad
