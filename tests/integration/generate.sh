#!/bin/sh
# `sluice generate` as people use it: prompts, pipes, a chat at a terminal, an API, and the monitor in front of all of them.
set -u
build=${BUILD:-build}
sluice=${SLUICE:-$build/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/generate.XXXXXX")
model=
trap 'exec 9>&-; rm -rf "$work" ${model:+"$model"}' EXIT
no_proxy=127.0.0.1
export no_proxy
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
has() { # has NAME FILE TEXT
  if grep -qF -- "$3" "$2"; then
    echo "ok - $1"
  else
    echo "not ok - $1: no \"$3\""
    head -n 5 "$2" | cut -c 1-300 | sed 's/^/# /'
    bad=1
  fi
}
lacks() { # lacks NAME FILE TEXT
  if grep -qF -- "$3" "$2"; then echo "not ok - $1: \"$3\" is there"; bad=1; else echo "ok - $1"; fi
}
for tool in tiny_model api_server; do
  tool=${build#"$PWD"/}/tests/integration/$tool
  [ -x "$tool" ] || env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s BUILD="${build#"$PWD"/}" "$tool" || exit 1
done
model=$("$build/tests/integration/tiny_model") || exit 1
generate() { # generate OPTIONS -> $work/out, $work/err, $status
  "$sluice" generate "$@" >"$work/out" 2>"$work/err" </dev/null
  status=$?
}
local_model() { generate --model "$model" --threads 1 "$@"; }

# ---- local weights
local_model --prompt 'the rock' --max-tokens 20 --stats
is "a prompt is answered" "$status" 0
has "figures on stderr: speed" "$work/err" "tok/s"
has "figures on stderr: cache bytes" "$work/err" "KV "
cp "$work/out" "$work/first"
local_model --prompt 'the rock' --max-tokens 20
is "greedy text repeats" "$(cksum <"$work/out")" "$(cksum <"$work/first")"
is "no figures without a terminal or --stats" "$(cat "$work/err")" ""
printf 'the rock\n' | "$sluice" generate --model "$model" --threads 1 --max-tokens 20 >"$work/out" 2>"$work/err"
is "stdin is the prompt" "$(cksum <"$work/out")" "$(cksum <"$work/first")"
local_model --prompt 'the rock' --max-tokens 20 --temperature 1 --seed 1
one=$(cksum <"$work/out")
local_model --prompt 'the rock' --max-tokens 20 --temperature 1 --seed 1
is "a seed repeats" "$(cksum <"$work/out")" "$one"
local_model --prompt 'the rock' --max-tokens 20 --temperature 1 --seed 2
[ "$(cksum <"$work/out")" != "$one" ] && echo "ok - another seed differs" || { echo "not ok - another seed differs"; bad=1; }
local_model --prompt 'the rock' --max-tokens 40 --policy streaming:sinks=2,recent=6 --json
is "a policy by name" "$status" 0
bytes=$(sed -n 's/.*"peak_kv_bytes":\([0-9]*\).*/\1/p' "$work/out")
local_model --prompt 'the rock' --max-tokens 40 --json
full=$(sed -n 's/.*"peak_kv_bytes":\([0-9]*\).*/\1/p' "$work/out")
[ "$bytes" -lt "$full" ] && echo "ok - a small cache holds fewer bytes" || { echo "not ok - $bytes bytes against $full"; bad=1; }
is "every line of --json is an object" "$(grep -cv '^{.*}$' "$work/out")" 0
is "the last line is the end" "$(tail -n 1 "$work/out" | cut -c 1-14)" '{"type":"end",'

# ---- an API
mkfifo "$work/hold"
"$build/tests/integration/api_server" <"$work/hold" >"$work/address" &
exec 9>"$work/hold"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  [ -s "$work/address" ] && break
  sleep 0.1
done
api=$(cat "$work/address")
remote() { generate --api "$api" --api-model m "$@"; }
remote --prompt 'hello' --system 'be brief'
is "an API answers" "$status $(cat "$work/out")" "0 I was sent 2 messages."
printf '{"name":"t","rules":[{"id":"pass","category":"secret","pattern":"hunter\\\\d","action":"stop"}]}' >"$work/stop.json"
printf '{"name":"t","rules":[{"id":"pass","category":"secret","pattern":"hunter\\\\d","action":"mask","mask":"[gone]"}]}' >"$work/mask.json"
remote --prompt 'the password?' --monitor "$work/stop.json" --audit "$work/audit.jsonl"
is "a stop has its own exit status" "$status" 10
is "nothing of the secret came out" "$(cat "$work/out")" "The secret is "
has "the rule is named" "$work/err" "stopped by rule pass (secret)"
has "the audit has the event" "$work/audit.jsonl" '"pass"'
lacks "the audit has no text unless asked" "$work/audit.jsonl" "hunter"
remote --prompt 'the password?' --monitor "$work/mask.json"
is "a mask goes on" "$status $(cat "$work/out")" "0 The secret is [gone], keep it."
remote --prompt 'the password?' --monitor "$work/stop.json" --json
is "a stop in JSON" "$status $(tail -n 1 "$work/out" | grep -c '"outcome":"stopped".*"rule":"pass"')" "10 1"
lacks "JSON holds no secret" "$work/out" "hun"
remote --prompt 'hello' --monitor "$work/stop.json"
is "clean text passes unchanged" "$status $(cat "$work/out")" "0 I was sent 1 messages."
remote --prompt 'break'
is "a broken stream is a failure" "$status" 4
has "and says its class" "$work/err" "network after 1 attempt"
SLUICE_CANARY=canary-2f7 generate --api "$api" --api-key-env SLUICE_CANARY --prompt 'break'
lacks "the key is not printed" "$work/err" "canary-2f7"

# ---- Ctrl-C in a chat: the answer ends, the chat goes on
keys=$work/fifo
mkfifo "$keys"
"$sluice" generate --interactive --model "$model" --threads 1 --max-tokens 1000000 --template raw <"$keys" >"$work/out" 2>"$work/err" &
chat=$!
exec 8>"$keys"
grown() { # grown BYTES: waits until more than so many have been answered
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ "$(wc -c <"$work/out")" -gt "$1" ] && return 0
    sleep 0.5
  done
  return 1
}
echo 'the rock' >&8
grown 0
kill -INT $chat
said=
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  said=$(wc -c <"$work/out")
  sleep 0.3
  [ "$said" = "$(wc -c <"$work/out")" ] && break
done
is "an interrupt stops the answer" "$(wc -c <"$work/out")" "$said"
if kill -0 $chat 2>/dev/null; then echo "ok - and not the program"; else echo "not ok - and not the program"; bad=1; fi
echo 'the paper' >&8
if grown "$said"; then echo "ok - the next question is answered"; else echo "not ok - the next question is answered"; bad=1; fi
kill -INT $chat
sleep 0.5
echo '/quit' >&8
exec 8>&-
wait $chat
is "/quit ends the chat" $? 0

# ---- log-probabilities
local_model --prompt 'the rock' --max-tokens 3 --json --logprobs 2
is "tokens come with their alternatives" "$(grep -c '"type":"token".*"logprob":-.*"surprisal":.*"top":\[{"id":.*},{"id":' "$work/out")" 3

# ---- a chat
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
  printf 'first\nthe password?\nagain\n/reset\nafter\n/quit\n' >"$work/keys"
  script -qec "$sluice generate --api $api --monitor $work/stop.json" /dev/null <"$work/keys" >"$work/out" 2>&1
  is "a chat in which an answer was stopped says so at its end" $? 10
  has "the first answer" "$work/out" "I was sent 1 messages."
  has "a stopped answer" "$work/out" "stopped by rule pass"
  lacks "stays stopped" "$work/out" "hun"
  has "the dialogue goes on with what was shown" "$work/out" "I was sent 5 messages."
  is "reset begins anew" "$(grep -c 'I was sent 1 messages' "$work/out")" 2
else
  echo "skip - a chat at a terminal: no script(1), or no pseudo-terminals, here"
fi

# ---- what is wrong is said
expect_usage() { # expect_usage TEXT OPTIONS
  text=$1
  shift
  generate "$@"
  is "exit 2: $*" "$status" 2
  has "and why" "$work/err" "$text"
}
expect_usage "did you mean --prompt" --prmpt x
expect_usage "no prompt" --model "$model"
expect_usage "--api goes without --model" --api "$api" --model "$model" --prompt x
expect_usage "did you mean" --model "$model" --policy streming --prompt x
expect_usage "address" --api 127.0.0.1:1 --prompt x
expect_usage "NO_SUCH_VARIABLE" --api "$api" --api-key-env NO_SUCH_VARIABLE --prompt x
expect_usage "goes with --json" --model "$model" --logprobs 2 --prompt x
expect_usage "--logprobs is 0 to" --model "$model" --json --logprobs 99 --prompt x
expect_usage "unknown chat template" --model "$model" --template chatlm --prompt x
expect_usage "--audit needs --monitor" --model "$model" --audit - --prompt x
expect_usage "max-tokens" --model "$model" --max-tokens 0 --prompt x
generate --model "$work" --prompt x
[ "$status" -ne 0 ] && echo "ok - a folder without a model" || { echo "not ok - a folder without a model"; bad=1; }
exit $bad
