#!/bin/sh
# Installs what is missing on Debian and Ubuntu; elsewhere prints what to install. Says nothing when all is there.
#   .ci/deps.sh         what the program needs
#   .ci/deps.sh --test  and what its tests need
#   .ci/deps.sh --fuzz  what the program and `make fuzz` need
set -u
needed= optional=

has_tool() { command -v "$1" >/dev/null 2>&1; }
has_library() { ${PKG_CONFIG:-pkg-config} --exists "$1" 2>/dev/null; }
need() { needed="$needed $1"; }
want() { optional="$optional $1"; }

has_tool "${CC:-cc}" || need gcc
echo '#include <stdio.h>' | "${CC:-cc}" -E - >/dev/null 2>&1 || need libc6-dev
has_tool make || need make
has_tool "${PKG_CONFIG:-pkg-config}" || need pkg-config
has_library libpcre2-8 || need libpcre2-dev
has_library icu-uc || need libicu-dev
has_library libcjson || need libcjson-dev
has_library libcurl || need libcurl4-openssl-dev
{ has_library libevent_core && has_library libevent_openssl; } || need libevent-dev
has_library sqlite3 || need libsqlite3-dev
{ has_library libcrypto && has_library libssl; } || need libssl-dev
has_library zlib || need zlib1g-dev
has_library icu-i18n || need libicu-dev
# Looks through long texts; a build without it does the same more slowly.
case $(uname -m 2>/dev/null) in aarch64 | ppc64*) hyperscan=libvectorscan-dev ;; *) hyperscan=libhyperscan-dev ;; esac
has_library libhs || want $hyperscan

. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null
if [ "${1:-}" = --test ]; then
  has_library cmocka || need libcmocka-dev
  has_tool valgrind || want valgrind
  # Its package starts a server: only where nobody else's port 80 is.
  [ "${CI:-}" != true ] || has_tool nginx || [ -x /usr/sbin/nginx ] || want nginx-light
  # Ubuntu's chromium package only points at a snap, which does not run in containers.
  if [ -z "${CHROME:-}" ] && ! has_tool chromium && ! has_tool chromium-browser && ! has_tool google-chrome; then
    case ${ID:-} in
    debian) want chromium ;;
    *) echo "deps: no Chromium: the browser test is skipped; set CHROME=/path/to/chrome to run it" ;;
    esac
  fi
fi
if [ "${1:-}" = --fuzz ] || [ "${1:-}" = --test ]; then
  ask=need # without libFuzzer its test is skipped
  [ "$1" = --test ] && ask=want
  fuzzer=$(mktemp)
  if ! has_tool clang; then
    $ask clang
    $ask libclang-rt-dev
  elif ! echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
    clang -fsanitize=fuzzer,address -x c -o "$fuzzer" - >/dev/null 2>&1; then
    $ask libclang-rt-dev
  fi
  rm -f "$fuzzer"
fi
[ -n "$needed$optional" ] || exit 0

case " ${ID:-} ${ID_LIKE:-} " in
*" debian "* | *" ubuntu "*) has_tool apt-get || ID=other ;;
*) ID=other ;;
esac
if [ "$ID" = other ]; then
  echo "deps: please install what these Debian packages hold:$needed${optional:+ (for all tests also:$optional)}" >&2
  [ -z "$needed" ]
  exit
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
  has_tool sudo || {
    echo "deps: as root, please run: apt-get install$needed$optional" >&2
    [ -z "$needed" ]
    exit
  }
  as_root=sudo
fi

apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@" </dev/null; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
updated=
# The package lists may be absent or old: the first install that fails is tried again after one update.
install() {
  apt install -y --no-install-recommends "$@" >"$log" 2>&1 && return 0
  [ -z "$updated" ] || return 1
  updated=yes
  apt update >>"$log" 2>&1
  apt install -y --no-install-recommends "$@" >>"$log" 2>&1
}

began=$(date +%s)
status=0
echo "deps: installing$needed$optional"
if [ -n "$needed" ] && ! install $needed; then
  tail -n 20 "$log" >&2
  echo "deps: could not install$needed; the package manager's last words stand above" >&2
  status=1
fi
for package in $optional; do
  [ $status -eq 0 ] || break
  install "$package" || echo "deps: could not install $package; the tests that want it are skipped" >&2
done
echo "deps: packages took $(($(date +%s) - began)) s (not part of any time that sluice states)"
exit $status
