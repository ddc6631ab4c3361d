#!/bin/sh
# timeout: 420
# Opens report.html in a real headless Chromium, as a reader would: its numbers against plain SQL, with JavaScript and without,
# nothing on the console, light and dark and narrow pictures in $BUILD/tests/browser/.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-$PWD/build}
SLUICE=${SLUICE:-$BUILD/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-browser.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
ok() { echo "ok - report: $1"; }
bad() { echo "not ok - report: $1"; failed=1; }

chrome=${CHROME:-}
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  [ -n "$chrome" ] || chrome=$(command -v "$name" || true)
done
# Ubuntu's chromium is a snap that a container cannot run; its apt package only says so.
works() { timeout 60 "$1" --headless --no-sandbox --disable-gpu --user-data-dir="$work/probe" --dump-dom about:blank 2>/dev/null | grep -q '<html'; }
if [ -z "$chrome" ] || ! works "$chrome"; then
  if [ "${CI:-}" = true ] && apt-cache show chromium 2>/dev/null | grep -q '^Version: [0-9]' && ! grep -qi ubuntu /etc/os-release; then
    bad "no Chromium runs here, and this distribution has one: apt-get install chromium, or set CHROME"
    exit 1
  fi
  echo "skip - report in a browser: no Chromium runs here; install one or set CHROME"
  exit 0
fi

# browse NAME OPTIONS... : one fresh profile; the console goes to $work/NAME.log.
browse() {
  name=$1
  shift
  timeout 100 "$chrome" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr --user-data-dir="$work/profile-$name" \
    "$@" 2>"$work/$name.log"
}
# The console's own lines; the browser's chatter about the machine (no bus, no GPU) is not the page's.
console() { grep -E 'CONSOLE[(:]' "$work/$1.log"; }

if ! SLUICE_REPORT_FIXTURE=$work "$BUILD/tests/unit/test_reports_html" >"$work/fixture.out" 2>&1; then
  sed 's/^/# /' "$work/fixture.out"
  bad "the synthetic ledger was not made"
  exit 1
fi
if ! "$SLUICE" report "$work/ledger.db" --out "$work/report.html" 2>"$work/sluice.err"; then
  sed 's/^/# /' "$work/sluice.err"
  bad "sluice report failed"
  exit 1
fi
page=file://$work/report.html

# The matrix as the browser has it: one value a line, in reading order.
matrix() { grep -o '<td class="heat h[0-9]" data-v="[^"]*"><b>[^<]*</b>' "$1" | sed 's/.*<b>//; s/<.*//'; }

browse live --dump-dom "$page#d3" >"$work/live.html"
matrix "$work/live.html" >"$work/live"
if [ -s "$work/live" ] && cmp -s "$work/live" "$work/expected"; then
  ok "the matrix holds what SQL says ($(wc -l <"$work/live") values)"
else
  diff "$work/expected" "$work/live" | head -5 | sed 's/^/# /'
  bad "the matrix holds what SQL says"
fi
if console live | sed 's/^/# /' | grep .; then bad "nothing on the console"; else ok "nothing on the console"; fi
shown=$(grep -o 'id="shown"[^>]*>[^<]*' "$work/live.html" | sed 's/.*>//')
blocks=$(grep -o '<details class="sample"' "$work/live.html" | wc -l)
[ "$shown" = "$blocks of $blocks shown" ] && ok "the script ran under its policy ($shown)" || bad "the script ran under its policy: \"$shown\", $blocks dialogues"
grep -o 'id="theme"[^>]*' "$work/live.html" | grep -q hidden && bad "the theme button appears" || ok "the theme button appears"

grep -q '<details class="sample" id="d3"[^>]* open' "$work/live.html" && ok "a link opens its dialogue" || bad "a link opens its dialogue"

# A reader's hand: sort a table both ways, filter the dialogues, change the theme. The policy is lifted for this copy alone.
cat >"$work/hand.js" <<'END'
var said = [], table = document.querySelector('#differences details.data table'), head = table.tHead.rows[0].cells[1];
function column() { return Array.prototype.map.call(table.tBodies[0].rows, function (r) { return parseFloat(r.cells[1].dataset.v) }); }
function ordered(v, sign) { return v.every(function (x, i) { return !i || sign * (x - v[i - 1]) >= 0 }); }
head.click();
said.push('up ' + ordered(column(), 1) + ' ' + head.getAttribute('aria-sort'));
head.click();
said.push('down ' + ordered(column(), -1) + ' ' + head.getAttribute('aria-sort'));
var bench = document.getElementById('bench');
bench.value = 'rps';
bench.dispatchEvent(new Event('input'));
said.push(document.getElementById('shown').textContent);
var was = document.getElementById('theme').textContent;
document.getElementById('theme').click();
said.push('theme ' + (was !== document.getElementById('theme').textContent) + ' ' + document.documentElement.dataset.theme);
document.title = said.join('; ');
END
{ sed 's,<meta http-equiv="Content-Security-Policy"[^>]*>,,; /<\/body>/,$d' "$work/report.html"; echo '<script>'; cat "$work/hand.js"; echo '</script></body></html>'; } >"$work/hand.html"
browse hand --dump-dom "file://$work/hand.html" | sed -n 's,.*<title>\(up [^<]*\)</title>.*,\1,p' >"$work/hand"
if [ "$(cat "$work/hand")" = "up true ascending; down true descending; 6 of 30 shown; theme true dark" ]; then
  ok "sorting, filtering and the theme button"
else
  sed 's/^/# /' "$work/hand"
  bad "sorting, filtering and the theme button"
fi

# --dump-dom itself needs a script engine, so JavaScript is taken away by the page's own policy.
sed "s,script-src 'sha256-[^']*',script-src 'none'," "$work/report.html" >"$work/silent.html"
browse still --dump-dom "file://$work/silent.html" >"$work/still.html"
matrix "$work/still.html" >"$work/values"
if cmp -s "$work/values" "$work/expected" && grep -q '<details class="sample"' "$work/still.html"; then
  ok "readable without JavaScript"
else
  bad "readable without JavaScript"
fi
grep -q 'id="tools" hidden' "$work/still.html" && grep -o 'id="theme"[^>]*' "$work/still.html" | grep -q hidden && ok "no dead controls without JavaScript" || bad "no dead controls without JavaScript"

# The hostile answer is in the page as text, and made no element.
if grep -q '&lt;img src=x onerror=alert(1)&gt;' "$work/live.html" && ! grep -q '<img' "$work/live.html"; then
  ok "a hostile answer is only text"
else
  bad "a hostile answer is only text"
fi
# The other way round: a script that got into the page is stopped, and this test would see it.
sed 's,</main>,<script>document.title="owned"</script></main>,' "$work/report.html" >"$work/owned.html"
browse owned --dump-dom "file://$work/owned.html" >"$work/owned.dom"
if console owned | grep -q 'Content Security Policy' && ! grep -q '<title>owned' "$work/owned.dom"; then
  ok "the security policy stops a foreign script"
else
  bad "the security policy stops a foreign script"
fi

pictures=$BUILD/tests/browser
mkdir -p "$pictures"
# picture NAME WIDTH HEIGHT PAGE: a PNG that is no blank sheet.
picture() {
  browse "$1" --screenshot="$work/$1.png" --window-size="$2,$3" "$4" >/dev/null
  if [ -s "$work/$1.png" ] && [ "$(wc -c <"$work/$1.png")" -gt 20000 ]; then
    cp "$work/$1.png" "$pictures/report-$1.png"
    ok "a picture, $1"
  else
    bad "a picture, $1"
  fi
}
sed 's/<html lang="en">/<html lang="en" data-theme="dark">/' "$work/report.html" >"$work/dark.html"
picture light 1280 2400 "$page"
picture dark 1280 2400 "file://$work/dark.html"
picture narrow 390 2400 "$page"
exit $failed
