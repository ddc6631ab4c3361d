#!/bin/sh
# `make install`: what is there, programs that build against the installed libsluice in C and in C++, shared and static, what the
# library exports and needs, and `make uninstall` takes all away.
set -u
tree=$(mktemp -d "${TMPDIR:-/tmp}/install.XXXXXX")
trap 'rm -rf "$tree"' EXIT
root=$tree/root/usr/local
bad=0
check() { # check NAME COMMAND...
  name=$1
  shift
  if "$@" >"$tree/said" 2>&1; then echo "ok - $name"; else
    echo "not ok - $name"
    sed 's/^/# /' "$tree/said"
    bad=1
  fi
}
# The outer make's job server is not open to this one.
install_with() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="$build" DESTDIR="$tree/root" "$1"; }
build=${BUILD:-build}
build=${build#"$PWD"/}

check "install" install_with install
check "the program is there" "$root/bin/sluice" version
pc() { PKG_CONFIG_PATH="$root/lib/pkgconfig" "${PKG_CONFIG:-pkg-config}" --define-variable=prefix="$root" "$@" sluice; }
check "only one header is installed" test "$(cd "$root/include" && find . -type f)" = ./sluice.h
check "libsluice.so leads to libsluice.so.0" test "$(readlink "$root/lib/libsluice.so")" = libsluice.so.0

# The example that the documentation shows, as a user builds it: -pedantic, and nothing of this tree in sight.
example=$PWD/docs/examples/embed.c
strict="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
cxx=${CXX:-$(command -v g++ || command -v clang++ || command -v c++)}
build_c() { (cd "$tree" && ${CC:-cc} -std=c11 $strict $(pc --cflags) -o embed "$example" $(pc --libs)); }
build_cxx() { (cd "$tree" && $cxx -std=c++11 $strict $(pc --cflags) -o embed-cxx -x c++ "$example" -x none $(pc --libs)); }
build_static() {
  (cd "$tree" && ${CC:-cc} -std=c11 $(pc --cflags) -o embed-static own.c "$root/lib/libsluice.a" $(pc --static --libs | sed 's/-lsluice //'))
}
embed() { # embed PROGRAM: its output and exit code on a text with a mask, then on one with a stop
  {
    printf 'the key=abcdefgh; and on' | LD_LIBRARY_PATH=$root/lib "$1" "$tree/policy.json" 2>"$tree/err"
    echo " $?"
    printf 'well, BOMB it is' | LD_LIBRARY_PATH=$root/lib "$1" "$tree/policy.json" 2>>"$tree/err"
    echo " $?"
  } >"$tree/out"
  printf 'the key=[masked]; and on 0\nwell,  10\n' | diff - "$tree/out" && grep 'stopped by bomb (harm)' "$tree/err"
}
cat >"$tree/policy.json" <<'END'
{"rules": [{"id": "key", "category": "secrets", "action": "mask", "pattern": "key=(\\w{4,});", "protect": 1},
           {"id": "bomb", "category": "harm", "action": "stop", "pattern": "BOMB"}]}
END
check "the example builds against the library" build_c
check "and judges a stream" embed "$tree/embed"
check "it reads the installed default policy" env SLUICE_POLICY="$root/share/sluice/policies/default.json" \
  LD_LIBRARY_PATH="$root/lib" "$tree/embed"
if [ -n "$cxx" ]; then
  check "the example is C++ too" build_cxx
  check "and judges a stream the same" embed "$tree/embed-cxx"
else
  echo "skip - the example as C++: no C++ compiler"
fi
# A program with names of its own that the library uses inside.
{
  echo 'int buffer_append(void); int buffer_append(void) { return 7; } int sha256(void); int sha256(void) { return 7; }'
  cat "$example"
} >"$tree/own.c"
check "the static library takes no name from the program" build_static
check "and judges a stream the same" embed "$tree/embed-static"

sed -n 's/^ *\(sluice_[a-z_]*\);$/\1/p' sluice/libsluice.map | sort >"$tree/map"
sed -n 's/^SLUICE_API [^(]*[ *]\(sluice_[a-z_]*\)(.*/\1/p' sluice/sluice.h | sort >"$tree/header"
nm -D --defined-only "$root/lib/libsluice.so.0" | sed -n 's/.* T \(.*\)@@SLUICE_0$/\1/p' | sort >"$tree/shared"
nm -g --defined-only "$root/lib/libsluice.a" | sed -n 's/.* [A-Z] //p' | sort >"$tree/static"
same() { (cd "$tree" && [ -s map ] && diff map header && diff map shared && diff map static); }
check "header, version script, shared and static library: the same functions" same
check "libsluice.so.0 exports nothing else" \
  test -z "$(nm -D --defined-only "$root/lib/libsluice.so.0" | grep -vE ' T sluice_[a-z_]*@@SLUICE_0$| A SLUICE_0$')"
check "and needs neither client, server nor database" test -z "$(ldd "$root/lib/libsluice.so.0" | grep -E 'curl|event|sqlite|libssl|cuda|cublas')"
check "its name is libsluice.so.0" sh -c 'readelf -d "$1" | grep "SONAME.*\[libsluice.so.0\]"' - "$root/lib/libsluice.so.0"
check "the manual pages are there" test -f "$root/share/man/man1/sluice.1" -a -f "$root/share/man/man1/sluice-run.1"
check "the model is there" test -f "$root/share/sluice/model/config.json"
check "uninstall" install_with uninstall
check "nothing is left" test -d "$root" -a -z "$(find "$root" -type f -o -type l)"
exit $bad
