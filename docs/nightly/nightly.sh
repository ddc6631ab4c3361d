#!/bin/sh
# One night: continue or begin a run, hold it against the named baseline, write the report. The exit code says what happened:
# 0 pass, 3 regression, 4 incomplete (the next night continues), 5 inconclusive, 6 no baseline yet.
#
#   SUITE      the suite (default: nightly.json in the current folder)
#   LEDGER     where everything is kept (default: nightly.db)
#   BASELINE   a name that `sluice baseline set` gave to a run (default: good)
#   SLUICE     the program (default: sluice)
set -u
suite=${SUITE:-nightly.json}
ledger=${LEDGER:-nightly.db}
baseline=${BASELINE:-good}
sluice=${SLUICE:-sluice}

# One at a time, also when somebody starts it by hand.
exec 9>"$ledger.nightly" || exit 1
flock -n 9 || { echo "another nightly is using $ledger" >&2; exit 4; }

"$sluice" run "$suite" --ledger "$ledger" --new-run --quiet
code=$?
if [ $code != 0 ]; then
  echo "the run ended with $code; the next one continues it" >&2
  exit $code
fi
"$sluice" gate "$ledger" --baseline "$baseline"
code=$?
"$sluice" report "$ledger" --out "${ledger%.db}.html" || exit 1
exit $code
