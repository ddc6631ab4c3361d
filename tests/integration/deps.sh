#!/bin/sh
# .ci/deps.sh with stand-ins for apt-get, sudo, id, pkg-config and the tools it looks for: nothing is installed.
set -u
tree=$(mktemp -d "${TMPDIR:-/tmp}/deps.XXXXXX")
trap 'rm -rf "$tree"' EXIT
bad=0
for tool in sh env cat date mktemp tail rm grep; do ln -s "$(command -v $tool)" "$tree/real-$tool"; done

stand_in() {
  printf '#!/bin/sh\n%s\n' "$2" >"$tree/bin/$1"
  chmod +x "$tree/bin/$1"
}
fresh() { # a machine with every tool; $1: what is missing, $2: ID in os-release
  rm -rf "$tree/bin"
  mkdir "$tree/bin"
  for tool in sh env cat date mktemp tail rm grep; do ln -s "$tree/real-$tool" "$tree/bin/$tool"; done
  : >"$tree/log"
  for tool in cc make valgrind chromium clang; do
    case " $1 " in *" $tool "*) ;; *) stand_in $tool 'exit 0' ;; esac
  done
  stand_in pkg-config "case ' $1 ' in *\" \$2 \"*) exit 1 ;; esac"
  stand_in id 'echo 0'
  stand_in sudo "echo sudo >>'$tree/log'; exec \"\$@\""
  stand_in apt-get "echo \"\$*\" >>'$tree/log'"
  echo "ID=$2" >"$tree/os-release"
}
deps() {
  env -i PATH="$tree/bin" CC=cc OS_RELEASE="$tree/os-release" /bin/sh .ci/deps.sh "$@" >"$tree/said" 2>&1
  status=$?
}
check() { # check NAME CONDITION...
  name=$1
  shift
  if "$@"; then echo "ok - $name"; else
    echo "not ok - $name"
    sed 's/^/# /' "$tree/said" "$tree/log"
    bad=1
  fi
}
said() { grep -qF -- "$1" "$tree/said"; }
did() { grep -qF -- "$1" "$tree/log"; }

fresh "" debian
deps --test
check "nothing missing: nothing said, nothing done" test $status -eq 0 -a ! -s "$tree/said" -a ! -s "$tree/log"

fresh "cc libcjson zlib cmocka" debian
deps --test
check "what is missing is installed" did "install -y --no-install-recommends gcc libc6-dev libcjson-dev zlib1g-dev libcmocka-dev"
check "and its time is printed" said "deps: packages took"
check "without an update that was not needed" test "$(grep -c update "$tree/log")" -eq 0
deps
check "the program alone needs no test packages" test "$(tail -n 1 "$tree/log" | grep -c cmocka)" -eq 0

fresh "sqlite3" ubuntu
stand_in apt-get "echo \"\$*\" >>'$tree/log'; case \"\$*\" in *update*) : >'$tree/fresh' ;; *) [ -e '$tree/fresh' ] ;; esac"
stand_in id 'echo 1000'
deps
check "old package lists: one update, then again" test $status -eq 0 -a "$(grep -c update "$tree/log")" -eq 1
check "a user goes through sudo" did sudo
check "with the package of the library" did libsqlite3-dev

fresh "libcurl" debian
stand_in apt-get 'echo "E: no such package"; exit 100'
deps
check "a failed installation fails" test $status -ne 0
check "with the package manager's words" said "E: no such package"

fresh "valgrind" debian
stand_in apt-get 'exit 100'
deps --test
check "an optional tool that cannot be had is no failure" test $status -eq 0
check "but is named" said "could not install valgrind"

fresh "chromium" ubuntu
deps --test
check "Ubuntu's chromium is not installed" test $status -eq 0 -a ! -s "$tree/log"
check "the skipped browser test is announced" said "browser test is skipped"

fresh "libpcre2-8" fedora
deps
check "elsewhere the list is printed" said "libpcre2-dev"
check "and the step fails" test $status -ne 0 -a ! -s "$tree/log"
fresh "clang" debian
deps --fuzz
check "make fuzz asks for clang and its run-time library" did "install -y --no-install-recommends clang libclang-rt-dev"
stand_in clang 'exit 1'
deps --fuzz
check "a clang that cannot link a fuzzer lacks its library" did "install -y --no-install-recommends libclang-rt-dev"
stand_in clang 'exit 0'
: >"$tree/log"
deps --fuzz
check "a clang that can is enough" test $status -eq 0 -a ! -s "$tree/log"
exit $bad
