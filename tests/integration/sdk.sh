#!/bin/sh
# The `openai`, `@anthropic-ai/sdk` and `ai` packages, curl and a browser against `sluice proxy` (tests/sdk). The packages are pinned by
# tests/sdk/package-lock.json and kept in $BUILD/sdk; without node, npm or a registry the tests are skipped, with CI=true they fail.
# timeout: 300
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-$PWD/build}
absent() {
  if [ "${CI:-}" = true ]; then echo "not ok - official clients: $1"; exit 1; fi
  echo "skip - official clients: $1"
  exit 0
}
command -v node >/dev/null || absent "node is not installed"
command -v npm >/dev/null || absent "npm is not installed"
[ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || absent "node $(node --version) is older than 20, which the packages want"

lock=$(cksum <tests/sdk/package-lock.json | cut -d ' ' -f 1)
modules=$build/sdk/$lock
if [ ! -e "$modules/done" ]; then
  mkdir -p "$build/sdk"
  fresh=$(mktemp -d "$build/sdk/new.XXXXXX") || exit 1
  trap 'rm -rf "$fresh"' EXIT
  cp tests/sdk/package.json tests/sdk/package-lock.json "$fresh/"
  if ! (cd "$fresh" && timeout 200 npm ci --ignore-scripts --no-audit --no-fund) >"$fresh/log" 2>&1; then
    tail -n 5 "$fresh/log" | sed 's/^/# /'
    absent "npm could not install the packages"
  fi
  touch "$fresh/done"
  mv "$fresh" "$modules" 2>/dev/null || [ -e "$modules/done" ] || exit 1
fi

chrome=${CHROME:-}
for name in chromium chromium-browser google-chrome; do [ -n "$chrome" ] || chrome=$(command -v "$name" || true); done
probe=$(mktemp -d)
timeout 60 "${chrome:-false}" --headless --no-sandbox --disable-gpu --user-data-dir="$probe" --dump-dom about:blank 2>/dev/null | grep -q '<html' || chrome=
rm -rf "$probe"
SLUICE=${SLUICE:-$build/sluice} MODULES=$modules CHROME=$chrome timeout 90 node tests/sdk/clients.mjs
