#!/bin/sh
# timeout: 300
# The trainer on a GPU gives the CPU's losses: 100 steps, within 1e-3, with float32 and with bf16 operands.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-$PWD/build}
SLUICE=${SLUICE:-$BUILD/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-devices.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

sed 's/"vocab_size": 2048/"vocab_size": 512/; s/"num_hidden_layers": 4/"num_hidden_layers": 2/' fixtures/model/config.json >"$work/config.json"
"$SLUICE" data make train:stage=128,seed=5,lines=1000 --out "$work/corpus.jsonl" 2>/dev/null &&
  "$SLUICE" train tokenizer --data "$work/corpus.jsonl" --vocab 512 --out "$work/tokenizer.json" || exit 1

train() { # train DEVICE PRECISION
  "$SLUICE" train lm --config "$work/config.json" --tokenizer "$work/tokenizer.json" --out "$work/$1-$2" --device "$1" --precision "$2" \
    --stage "$work/corpus.jsonl:128:8:100" --warmup 20 --answer-weight 3 --seed 3 2>"$work/$1-$2.err"
}
losses() { sed 's/.*"loss":\([0-9.]*\).*/\1/' "$work/$1/train.log"; }

train cuda f32
status=$?
if [ $status -ne 0 ] && grep -q "device 'cuda'" "$work/cuda-f32.err"; then
  echo "skip - losses of GPU and CPU: $(sed -n "s/.*device 'cuda': //p" "$work/cuda-f32.err" | head -n 1)"
  exit 0
fi
for precision in f32 bf16; do
  { [ "$precision" = f32 ] || train cuda "$precision"; } && train cpu "$precision"
  losses "cpu-$precision" >"$work/a"
  losses "cuda-$precision" >"$work/b"
  worst=$(paste "$work/a" "$work/b" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > m) m = d; n++ } END { if (n == 5) printf "%.6f\n", m; else print "missing" }')
  if awk -v w="$worst" 'BEGIN { exit !(w != "missing" && w <= 0.001) }'; then
    echo "ok - $precision: losses differ by at most $worst"
  else
    echo "not ok - $precision: losses differ by $worst"
    paste "$work/a" "$work/b" | sed 's/^/# cpu, cuda: /'
    failed=1
  fi
done
exit $failed
