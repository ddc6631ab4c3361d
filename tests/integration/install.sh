#!/bin/sh
# `make install`: the installed library and headers are enough to build a program against, and `make uninstall` takes all away.
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

cat >"$tree/user.c" <<'END'
#include <base/base.h>
#include <engine/engine.h>
#include <monitor/monitor.h>
int main(void) {
  int policies = 0;
  while (policy_table()[policies].name) policies++;
  printf("%s with %d policies\n", SLUICE_VERSION, policies);
  return policies < 7;
}
END
check "install" install_with install
check "the program is there" "$root/bin/sluice" version
libs=$(PKG_CONFIG_PATH="$root/lib/pkgconfig" "${PKG_CONFIG:-pkg-config}" --libs sluice | sed "s|-L/usr/local/lib|-L$root/lib|")
flags=$(PKG_CONFIG_PATH="$root/lib/pkgconfig" "${PKG_CONFIG:-pkg-config}" --cflags sluice | sed "s|/usr/local|$root|")
check "a program builds against the library" ${CC:-cc} -std=c11 -Wall -Werror $flags -o "$tree/user" "$tree/user.c" $libs
check "and runs" "$tree/user"
check "the manual pages are there" test -f "$root/share/man/man1/sluice.1" -a -f "$root/share/man/man1/sluice-run.1"
check "the model is there" test -f "$root/share/sluice/model/config.json"
check "uninstall" install_with uninstall
check "nothing is left" test -d "$root" -a -z "$(find "$root" -type f)"
exit $bad
