#!/bin/sh
# `sluice filter` and `sluice replay` as people use them: recorded streams in, judged streams out, exit codes, slow writers, the audit.
set -u
cd "$(dirname "$0")/../.." || exit 1
sluice=${SLUICE:-${BUILD:-build}/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/filter.XXXXXX")
trap 'rm -rf "$work"' EXIT
streams=fixtures/streams
policy=fixtures/policies/default.json
bad=0
is() { # is NAME GOT WANTED
  if [ "$2" = "$3" ]; then
    echo "ok - $1"
  else
    echo "not ok - $1"
    printf '%s\n' "$2" | cut -c 1-300 | sed 's/^/# got:    /'
    printf '%s\n' "$3" | cut -c 1-300 | sed 's/^/# wanted: /'
    bad=1
  fi
}
has() { if grep -qF -- "$3" "$2"; then echo "ok - $1"; else echo "not ok - $1: no \"$3\""; bad=1; fi; }
lacks() { if grep -qF -- "$3" "$2"; then echo "not ok - $1: \"$3\" is there"; bad=1; else echo "ok - $1"; fi; }
filter() { "$sluice" filter --policy $policy "$@" >"$work/out" 2>"$work/err"; status=$?; }

# ---- recorded streams ----
filter <$streams/clean.sse
is "a clean stream is exit 0" $status 0
cmp -s "$work/out" $streams/clean.sse
is "and leaves byte for byte as it came" $? 0
is "and nothing is said" "$(cat "$work/err")" ""

filter <$streams/harmful.sse
is "a harmful stream is exit 10" $status 10
lacks "the harm does not leave" "$work/out" '" pipe'
lacks "nor what follows it" "$work/out" 'hardware'
has "what came before it does" "$work/out" '"content":" Nobel"'
is "it ends as content_filter, then [DONE]" "$(grep -v '^$' "$work/out" | tail -n 2 | sed 's/.*"finish_reason":"\([a-z_]*\)".*/\1/')" "content_filter
data: [DONE]"
is "one ending only" "$(grep -c content_filter "$work/out")" 1
has "the rule is named" "$work/err" "harm.explosives"
before=$(grep -n '"content":" build"' $streams/harmful.sse | head -n 1 | cut -d: -f1)
head -n "$before" $streams/harmful.sse >"$work/wanted"
head -n "$before" "$work/out" | cmp -s - "$work/wanted"
is "frames before it are the bytes that came" $? 0

filter --audit "$work/audit.db" <$streams/personal.sse
is "a stream with personal data is exit 0" $status 0
for secret in lindqvist@example '174' '4111' 'WEST' '203.0' 'q7Zp3' '4477'; do lacks "masked: $secret" "$work/out" "$secret"; done
has "masks stand in" "$work/out" '[masked]'
has "the finish frame is there" "$work/out" '"finish_reason":"stop"'
has "usage is there" "$work/out" '"completion_tokens"'
if command -v sqlite3 >/dev/null; then
  is "an audit row an event" "$(sqlite3 "$work/audit.db" 'SELECT group_concat(rule) FROM (SELECT rule FROM event ORDER BY channel DESC, start)')" \
    "pii.email-tail,pii.email-tail,pii.phone,pii.phone,pii.card,pii.card-named,pii.iban,pii.phone,pii.ipv4,secret.assigned"
  is "without the text" "$(sqlite3 "$work/audit.db" 'SELECT count(text) FROM event')" 0
fi
filter --audit - <$streams/harmful.sse
has "audit lines on stderr" "$work/err" '"rule":"harm.explosives"'

# ---- every cut gives the same bytes ----
slowly() { # one write a byte
  od -An -v -to1 | tr -s ' ' '\n' | sed '/^$/d' | while read -r byte; do printf "\\$byte"; done
}
awk 'BEGIN{RS="";ORS="\n\n"} NR<=9 || (NR>=24 && NR<=31)' $streams/personal.sse >"$work/short.sse"
filter --format sse <"$work/short.sse"
cp "$work/out" "$work/whole"
slowly <"$work/short.sse" | "$sluice" filter --policy $policy --format auto >"$work/out" 2>"$work/err"
cmp -s "$work/out" "$work/whole"
is "byte by byte: the same output" $? 0
lacks "and no part of the address" "$work/out" 'anna.l'

# ---- latency: what is decided leaves before more comes ----
mkfifo "$work/in"
: >"$work/live"
"$sluice" filter --policy $policy --format text <"$work/in" >"$work/live" &
pid=$!
exec 8>"$work/in"
printf 'hello 12' >&8
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ -s "$work/live" ] && break; sleep 0.25; done
is "decided text leaves at once" "$(cat "$work/live")" "hello "
exec 8>&-
wait $pid
is "the rest at the end" "$(cat "$work/live")" "hello 12"

# ---- formats ----
printf 'mail bob@example.org now' | "$sluice" filter --policy $policy --mask '<>' >"$work/out"
is "text" "$(cat "$work/out")" "mail <> now"
printf 'mail bob@a.org' | "$sluice" filter --policy $policy --mask-each >"$work/out"
is "a mask a character" "$(cat "$work/out")" "mail *********"
printf '{"text":"mail bob@"}\n{"text":"example.org"}\n' | "$sluice" filter --policy $policy >"$work/out"
is "JSON lines" "$(cat "$work/out")" '{"text":"mail [masked]"}
{"text":""}'
printf '{\n"choices":[{"index":0,"message":{"content":"mail bob@example.org"},"finish_reason":"stop"}]}\n' |
  "$sluice" filter --policy $policy >"$work/out"
is "a whole body" "$(tail -n 1 "$work/out")" '"choices":[{"index":0,"message":{"content":"mail [masked]"},"finish_reason":"stop"}]}'
printf 'a\0b\377c' | "$sluice" filter --policy $policy --format text | od -An -tx1 | tr -d ' \n' >"$work/out"
is "NUL and invalid bytes pass" "$(cat "$work/out")" 610062ff63
"$sluice" filter --policy $policy </dev/null >"$work/out" 2>&1
is "nothing in, nothing out" "$?-$(cat "$work/out")" "0-"

# ---- for a person ----
"$sluice" replay $streams/harmful.sse --pace 0 | "$sluice" filter --policy $policy --show >"$work/out" 2>"$work/err"
is "--show keeps the exit status" $? 10
has "--show prints the text" "$work/out" "The history of mining"
has "and says why it stopped" "$work/out" "[stopped by sluice: weapons, rule harm.explosives]"
lacks "and no frames" "$work/out" "data:"
"$sluice" replay $streams/clean.sse --pace 0 | cmp -s - $streams/clean.sse
is "replay changes nothing" $? 0

# ---- other dialects, recognised by themselves ----
cat >"$work/two.json" <<'END'
{"rules":[{"id":"mask","category":"m","action":"mask","pattern":"SECRET"},{"id":"stop","category":"s","action":"stop","pattern":"BOMB"}]}
END
block() { printf 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}\n\n' "$1"; }
(block "a SEC"; block "RET b "; block "BO"; block "MB") | "$sluice" filter --policy "$work/two.json" >"$work/out" 2>"$work/err"
is "Anthropic: a stop is exit 10" $? 10
is "Anthropic: masked, then its own ending" "$(sed -n 's/.*"text":"\([^"]*\)".*/\1/p; s/^event: //p' "$work/out" | grep -v delta$ | tr '\n' '|')" "a [masked]| b |message_stop|"
has "Anthropic: stop_reason" "$work/out" '"stop_reason":"refusal"'
piece() { printf 'data: {"type":"response.output_text.%s","%s":"%s"}\n\n' "$@"; }
(piece delta delta "a SEC"; piece delta delta "RET b"; piece done text "a SECRET b") | "$sluice" filter --policy "$work/two.json" >"$work/out" 2>"$work/err"
is "Responses: masked is exit 0" $? 0
has "Responses: the pieces are masked" "$work/out" '"delta":"a [masked]"'
has "Responses: so is their repeat" "$work/out" '"text":"a [masked] b"'
piece delta delta "a BOMB" | "$sluice" filter --policy "$work/two.json" >"$work/out" 2>"$work/err"
is "Responses: a stop is exit 10" $? 10
has "Responses: its own ending" "$work/out" 'event: response.incomplete'
(piece delta delta "a SEC"; piece delta delta "RET b"; piece done text "a SECRET b") | "$sluice" filter --policy "$work/two.json" --show >"$work/out" 2>"$work/err"
is "--show says it once" "$(cat "$work/out")" "a [masked] b"

# ---- errors ----
printf 'data: {"choices":[{"index":0,"delta":{"content":"fine "}}]}\n\ndata: {oops}\n\n' | "$sluice" filter --policy $policy >"$work/out" 2>"$work/err"
is "garbage is exit 2" $? 2
has "garbage is named by its byte" "$work/err" "byte 61"
has "what came before it has left" "$work/out" "fine "
printf 'data: {"candidates":[{"content":{"parts":[{"text":"x"}]}}]}\n\n' | "$sluice" filter --policy $policy >"$work/out" 2>"$work/err"
is "a frame that no dialect reads is exit 2" "$?-$(cat "$work/out")" "2-"
"$sluice" filter --policy "$work/none.json" </dev/null 2>"$work/err"
is "a policy that is not there is exit 2" $? 2
echo '{"rules":[{"id":"a","category":"c","action":"stp","pattern":"x"}]}' >"$work/wrong.json"
"$sluice" filter --policy "$work/wrong.json" </dev/null 2>"$work/err"
is "a wrong policy is exit 2" $? 2
has "with a suggestion" "$work/err" 'did you mean "stop"'
"$sluice" filter --format sze </dev/null 2>"$work/err"
is "a wrong format is exit 2" $? 2
has "with a suggestion too" "$work/err" "did you mean sse"
for n in 1 2 3 4; do cat $streams/clean.sse; done | ("$sluice" filter --policy $policy --format text 2>"$work/err"; echo $? >"$work/status") | true
case $(cat "$work/status") in 141 | 0) echo "ok - a reader that goes away is no crash" ;; *) echo "not ok - a reader that goes away: $(cat "$work/status")"; bad=1 ;; esac
exit $bad
