#!/bin/sh
# timeout: 600
# The tests of sessions, policies and steps together once more, on the GPU; skipped with the reason where there is none.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
why=$("$build/tests/unit/test_cuda" 2>&1 | sed -n 's/^skipped: //p' | head -n 1)
if [ -n "$why" ]; then
  echo "skip - sessions on a GPU: $why"
  exit 0
fi
for test in engine_policies engine_session session_batch; do
  if said=$(SLUICE_TEST_DEVICE=cuda "$build/tests/unit/test_$test" 2>&1); then
    echo "ok - test_$test on the GPU"
  else
    echo "$said" | sed 's/^/# /'
    echo "not ok - test_$test on the GPU"
  fi
done
