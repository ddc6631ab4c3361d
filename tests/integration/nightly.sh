#!/bin/sh
# docs/nightly as it stands: the script's exit codes over three nights, the systemd units by systemd's own check, the cron line.
# timeout: 240
set -u
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/nightly.XXXXXX")
model=
trap 'rm -rf "$work" ${model:+"$model"}' EXIT
tool=${build#"$PWD"/}/tests/integration/tiny_model
[ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
model=$("$tool") || { echo "not ok - a tiny model"; exit 1; }
cat >"$work/nightly.json" <<END
{"name": "n", "engines": {"tiny": {"model": "$model"}}, "benchmarks": [{"data": "rps:rounds=3", "n": 4}]}
END
bad=0
night() { # night CODE NAME
  SLUICE=$sluice SUITE=$work/nightly.json LEDGER=$work/n.db docs/nightly/nightly.sh >"$work/said" 2>&1
  code=$?
  if [ $code = "$1" ]; then echo "ok - $2"; else
    echo "not ok - $2 (exit $code, not $1)"
    head -n 10 "$work/said" | sed 's/^/# /'
    bad=1
  fi
}
night 6 "a first night without a baseline says so"
"$sluice" baseline set "$work/n.db" good 2>"$work/said" || bad=1
night 0 "the same outputs pass on the second night"
[ -s "$work/n.html" ] && echo "ok - and there is a report" || { echo "not ok - and there is a report"; bad=1; }
[ "$("$sluice" export "$work/n.db" --runs | wc -l)" = 2 ] && echo "ok - each night is a run" || { echo "not ok - each night is a run"; bad=1; }
(exec 9>"$work/n.db.nightly" && flock -n 9 && night 4 "two nights at once are refused" && exit $bad) || bad=1

if command -v systemd-analyze >/dev/null; then
  # The program is not installed here: any file stands for it.
  for unit in service timer; do
    sed 's|^ExecStart=.*|ExecStart=/bin/true|; s|^Documentation=.*||' "docs/nightly/sluice-nightly.$unit" >"$work/sluice-nightly.$unit"
  done
  said=$(systemd-analyze verify "$work/sluice-nightly.service" "$work/sluice-nightly.timer" 2>&1 | grep "sluice-nightly\.[a-z]*:[0-9]")
  [ -z "$said" ] && echo "ok - systemd accepts the units" || { echo "not ok - systemd accepts the units"; echo "$said" | sed 's/^/# /'; bad=1; }
else
  echo "skip - systemd accepts the units: systemd-analyze is not here"
fi
# cron runs its line with sh.
line=$(grep -v '^#' docs/nightly/crontab | grep sluice-nightly | sed 's/^\([^ ]* *\)\{5\}//')
[ -n "$line" ] && sh -n -c "$line" && echo "ok - the cron line is a shell's" || { echo "not ok - the cron line is a shell's"; bad=1; }
exit $bad
