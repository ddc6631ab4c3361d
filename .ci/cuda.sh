#!/bin/sh
# Prints the linker's words for cuBLAS and the CUDA runtime of the toolkit that $NVCC belongs to; nothing, and why on stderr,
# where a program cannot be linked with them. Called by the Makefile.
set -u
nvcc=$(command -v "$NVCC") || exit 0
# nvcc itself says where its toolkit lies: the one on the path may be a script that calls another.
root=$("$nvcc" --dryrun -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')
[ -n "$root" ] && root=$(cd "$root" 2>/dev/null && pwd -P) || root=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
work=$(mktemp -d) || exit 0
trap 'rm -rf "$work"' EXIT
echo 'int main(void) { return 0; }' >"$work/empty.c"

for folder in "$root/lib64" "$root/lib" "$root/targets/$(uname -m)-linux/lib" ""; do
  [ -z "$folder" ] || [ -e "$folder/libcublas.so" ] || continue
  words="${folder:+-L$folder -Wl,-rpath,$folder }-lcublas -lcudart -lstdc++"
  # --no-as-needed: the linker must really open them.
  # shellcheck disable=SC2086
  if ${CC:-cc} -Wl,--no-as-needed -o "$work/empty" "$work/empty.c" $words 2>"$work/said"; then
    echo "$words"
    exit 0
  fi
done
echo "make: $nvcc is there, but cuBLAS or the CUDA runtime cannot be linked ($(head -n 1 "$work/said")); building without CUDA" >&2
