/* Chat templates: that a dialogue becomes the very tokens of the text that the published program would write, whatever
 * spaces a SentencePiece vocabulary puts in; and which program is recognised as which template. */
#include "tests/sample_data.h"

#include <math.h>

#include "engine/session.h"
#include "engine/talk.h"
#include "tests/generated_model.h"
#include "tests/gguf_writer.h"
#include "tests/tiny_model.h"

static struct sluice_error err;

static void must(sluice_status st) {
  if (st != SLUICE_OK) fail_msg("%s: %s", sluice_status_name(st), err.message);
}

/* Every printable ASCII character alone and behind a space, a line break, and the special tokens given: so that a space
 * too many or too few is another token. */
static char *vocabulary(const char *const *specials, bool spaces) {
  struct buffer b, merges;
  int id = 0;
  buffer_init(&b, 0), buffer_init(&merges, 0);
  must(buffer_append_str(&b, "{\"added_tokens\":[", &err));
  for (size_t i = 0; specials[i]; i++)
    must(buffer_printf(&b, &err, "%s{\"id\":%d,\"content\":\"%s\",\"special\":true}", i ? "," : "", id++, specials[i]));
  must(buffer_append_str(&b, "],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[", &err));
  if (spaces) must(buffer_append_str(&b, "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},", &err));
  must(buffer_append_str(
      &b,
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},\"model\":{"
      "\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"<0x0A>\":",
      &err));
  must(buffer_printf(&b, &err, "%d,\"\xe2\x96\x81\":%d", id, id + 1));
  id += 2;
  for (char c = '!'; c <= '~'; c++, id += 2) {
    char one[8], two[16];
    snprintf(one, sizeof one, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    snprintf(two, sizeof two, "\xe2\x96\x81%s", one);
    must(buffer_printf(&b, &err, ",\"%s\":%d,\"%s\":%d", one, id, two, id + 1));
    must(buffer_printf(&merges, &err, "%s[\"\xe2\x96\x81\",\"%s\"]", merges.len ? "," : "", one));
  }
  must(buffer_printf(&b, &err, "},\"merges\":[%s]}}", merges.ptr));
  buffer_free(&merges);
  return buffer_take(&b, NULL);
}

struct dialogue_case {
  const char *name;
  const char *specials[8];
  const char *text; /* what the published program writes for the dialogue below, up to the answer */
};

static const struct dialogue_case CASES[] = {
    {"llama2",
     {"<s>", "</s>", NULL},
     "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Yo </s><s>[INST] Bye [/INST]"},
    {"mistral", {"<s>", "</s>", NULL}, "<s>[INST] Be kind.\n\nHi [/INST] Yo</s>[INST] Bye [/INST]"},
    {"mistral-v3",
     {"<s>", "</s>", "[INST]", "[/INST]", NULL},
     "<s>[INST] Be kind.\n\nHi[/INST] Yo</s>[INST] Bye[/INST]"},
    {"mistral-tekken",
     {"<s>", "</s>", "[INST]", "[/INST]", NULL},
     "<s>[INST]Be kind.\n\nHi[/INST]Yo</s>[INST]Bye[/INST]"},
    {"vicuna", {"<s>", "</s>", NULL}, "<s>Be kind. USER: Hi ASSISTANT: Yo</s>USER: Bye ASSISTANT:"},
    {"chatml",
     {"<|im_start|>", "<|im_end|>", NULL},
     "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
     "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"},
    {"yi",
     {"<|im_start|>", "<|im_end|>", NULL},
     "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
     "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"},
    {"llama3",
     {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", NULL},
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user"
     "<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|><|start_header_id|>"
     "user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"phi3",
     {"<|user|>", "<|assistant|>", "<|end|>", "<|system|>", NULL},
     "<|system|>\nBe "
     "kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nYo<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n"},
    {"phi4-mini",
     {"<|user|>", "<|assistant|>", "<|end|>", "<|system|>", NULL},
     "<|system|>Be kind.<|end|><|user|>Hi<|end|><|assistant|>Yo<|end|><|user|>Bye<|end|><|assistant|>"},
    {"llama3.1",
     {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", NULL},
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday "
     "Date: 26 "
     "Jul 2024\n\nBe "
     "kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
     "<|end_header_id|>\n\nYo<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>"
     "assistant<|end_header_id|>\n\n"},
    {"yi-1.5",
     {"<|im_start|>", "<|im_end|>", NULL},
     "Be kind.<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
     "<|im_start|>assistant\n"},
    {"chatml-think",
     {"<|im_start|>", "<|im_end|>", NULL},
     "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
     "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<think>\n"},
    {"mistral-v1", {"<s>", "</s>", NULL}, "<s> [INST] Be kind.\n\nHi [/INST] Yo</s> [INST] Bye [/INST]"},
    {"mistral-v0.2", {"<s>", "</s>", NULL}, "<s>[INST] Be kind.\n\nHi [/INST]Yo</s>[INST] Bye [/INST]"},
    {"mistral-v0.1", {"<s>", "</s>", NULL}, "<s>[INST] Be kind.\n\nHi [/INST]Yo</s> [INST] Bye [/INST]"},
    {"mistral-v3-close",
     {"<s>", "</s>", "[INST]", "[/INST]", NULL},
     "<s>[INST] Be kind.\n\nHi[/INST]Yo</s>[INST] Bye[/INST]"},
    {"mistral-large",
     {"<s>", "</s>", "[INST]", "[/INST]", NULL},
     "<s>[INST] Be kind.\n\nHi[/INST] Yo</s>[INST] Bye[/INST]"},
    {"vicuna-spaced", {"<s>", "</s>", NULL}, "<s>Be kind. USER: Hi ASSISTANT: Yo</s> USER: Bye ASSISTANT:"},
    {"vicuna-lines", {"<s>", "</s>", NULL}, "<s>Be kind.\n\nUSER: Hi\nASSISTANT: Yo</s>\nUSER: Bye\nASSISTANT:"},
    {"phi4",
     {"<|im_start|>", "<|im_sep|>", "<|im_end|>", NULL},
     "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant"
     "<|im_sep|>Yo<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|><|im_start|>assistant<|im_sep|>"},
    {"mistral-v7",
     {"<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", NULL},
     "<s>[SYSTEM_PROMPT] Be kind.[/SYSTEM_PROMPT][INST] Hi[/INST] Yo</s>[INST] Bye[/INST]"},
    {"mistral-v7-tekken",
     {"<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", NULL},
     "<s>[SYSTEM_PROMPT]Be kind.[/SYSTEM_PROMPT][INST]Hi[/INST]Yo</s>[INST]Bye[/INST]"},
    {"deepseek-r1",
     {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", NULL},
     "<｜begin▁of▁sentence｜>Be kind.<｜User｜>Hi<｜Assistant｜>Yo<｜end▁of▁sentence｜>"
     "<｜User｜>Bye<｜Assistant｜>"},
    {"deepseek-r1-think",
     {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", NULL},
     "<｜begin▁of▁sentence｜>Be "
     "kind.<｜User｜>Hi<｜Assistant｜>Yo<｜end▁of▁sentence｜><｜User｜>Bye"
     "<｜Assistant｜><think>\n"},
    {"gemma",
     {"<bos>", "<start_of_turn>", "<end_of_turn>", NULL},
     "<bos><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n<start_of_turn>user"
     "\nBye<end_of_turn>\n<start_of_turn>model\n"},
    {"command-r",
     {"<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>",
      "<|CHATBOT_TOKEN|>", NULL},
     "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be kind.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
     "<|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Yo<|END_OF_TURN_TOKEN|>"
     "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
    {"zephyr",
     {"<s>", "</s>", NULL},
     "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n<|user|>\nBye</s>\n<|assistant|>\n"},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static bool hear(void *ctx, const struct piece *p) {
  double *first = ctx;
  if (isnan(*first)) *first = (double)p->logprob;
  return false;
}

/* The first token's log-probability after the whole text, run by hand; *n: its tokens. */
static double by_hand(const struct model *m, const char *text, size_t *n) {
  int32_t *ids = NULL;
  struct session *s;
  float logits[TINY_VOCAB], largest = -INFINITY;
  double total = 0;
  *n = 0;
  must(tokenizer_encode(model_tokenizer(m), slice_of(text), TOKENIZE_SPECIALS, &ids, n, &err));
  must(session_open(m, NULL, &s, &err));
  must(session_append(s, ids, *n, logits, 1, &err));
  for (int i = 0; i < TINY_VOCAB; i++) largest = fmaxf(largest, logits[i]);
  for (int i = 0; i < TINY_VOCAB; i++) total += exp((double)logits[i] - (double)largest);
  session_close(s);
  free(ids);
  return -log(total);
}

static void run_case(const struct tiny_model *dir, const struct dialogue_case *c, bool spaces, bool resumed) {
  struct engine *e;
  struct talk *t;
  struct generate_options o = {.max_tokens = 1};
  struct talk_timing timing;
  enum outcome outcome;
  char *text, *json = vocabulary(c->specials, spaces);
  size_t len, tokens;
  double heard = NAN;
  assert_true(tiny_write(dir->dir, "tokenizer.json", json));
  must(engine_open_local(&(struct engine_local_options){.model_dir = dir->dir, .template_name = c->name}, &e, &err));
  must(talk_open(e, NULL, 1, &t, &err));
  must(talk_feed(t, ROLE_SYSTEM, slice_of("Be kind."), &err));
  if (resumed) { /* what a template does next depends on the turn before */
    unsigned char *bytes;
    must(talk_snapshot(t, &bytes, &len, &err));
    talk_close(t);
    must(talk_open(e, NULL, 1, &t, &err));
    must(talk_restore(t, bytes, len, &err));
    free(bytes);
  }
  must(talk_feed(t, ROLE_USER, slice_of("Hi"), &err));
  must(talk_feed(t, ROLE_BOT, slice_of("Yo"), &err));
  must(talk_feed(t, ROLE_USER, slice_of("Bye"), &err));
  must(talk_generate(t, (struct slice){0}, &o, hear, &heard, NULL, &text, &len, &outcome, &timing, &err));
  const double want = by_hand(engine_model(e), c->text, &tokens);
  if ((size_t)timing.prompt_tokens != tokens)
    fail_msg("%s%s: %d tokens before the answer; the text has %zu", c->name, spaces ? " with spaces" : "",
             timing.prompt_tokens, tokens);
  if (!isnan(heard) && !(fabs(heard - want) < 1e-4)) fail_msg("%s: log p %g, by hand %g", c->name, heard, want);
  if (len > 0 && spaces) assert_true(text[0] != ' ');
  free(text);
  talk_close(t);
  engine_close(e);
  free(json);
}

static void dialogues_become_the_published_text(void **state) {
  (void)state;
  struct tiny_model dir;
  assert_true(tiny_model_make(&dir, 3));
  for (int i = 0; i < N_CASES; i++)
    for (int k = 0; k < 4; k++) run_case(&dir, &CASES[i], k % 2 != 0, k / 2 != 0);
  tiny_model_remove(&dir);
}

static const struct {
  const char *program, *name;
  const char *specials[8];
} PROGRAMS[] = {
    {"{% for m in messages %}{{ bos_token + '[INST] ' + '<<SYS>>' + m['content'] + ' [/INST]' }}",
     "llama2",
     {"<s>", "</s>", NULL}},
    {"{{ bos_token }}{{ '[INST] ' + m['content'] + ' [/INST]' }}", "mistral", {"<s>", "</s>", NULL}},
    {"{{ bos_token }}{{ '[INST] ' + m['content'] + '[/INST]' }}",
     "mistral-v3",
     {"<s>", "</s>", "[INST]", "[/INST]", NULL}},
    {"{{ bos_token }}{{ '[INST]' + m['content'] + '[/INST]' }}",
     "mistral-tekken",
     {"<s>", "</s>", "[INST]", "[/INST]", NULL}},
    {"{{ bos_token }}{{ '[INST]' + m['content'] + '[/INST]' }}", NULL, {"<s>", "</s>", NULL}},
    {"{{ bos_token }}{{ ' [INST] ' + m['content'] + ' [/INST]' }}{{ m['content'] }}", NULL, {"<s>", "</s>", NULL}},
    {"{{ bos_token }}{{ '[SYSTEM_PROMPT]' + s + '[/SYSTEM_PROMPT]' + '[INST]' + m['content'] + '[/INST]' }}",
     NULL,
     {"<s>", "</s>", "[INST]", "[/INST]", NULL}},
    {"{{ bos_token }}{{ '<|im_start|>' + m['role'] + '\\n' + '<|im_end|>\\n' }}",
     "chatml-bos",
     {"<|im_start|>", "<|im_end|>", NULL}},
    {"{{ 'USER: ' + m['content'] + ' ASSISTANT:' }}", "vicuna", {"<s>", "</s>", NULL}},
    {"{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}",
     "chatml",
     {"<|im_start|>", "<|im_end|>", NULL}},
    /* the same tokens in another order of things: no line break, no role of its own line */
    {"{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' }}",
     NULL,
     {"<|im_start|>", "<|im_end|>", NULL}},
    {"{{ '<|im_start|>' + m['role'] + ': ' + m['content'] + '<|im_end|>\\n' }}",
     NULL,
     {"<|im_start|>", "<|im_end|>", NULL}},
    {"{{ '<|im_start|>' + m.role.title() + '\\n' + m['content'] + '<|im_end|>\\n' }}",
     NULL,
     {"<|im_start|>", "<|im_end|>", NULL}},
    {"{{ '<|user|>\\n' + m['content'] + eos_token + '<|assistant|>' }}", "zephyr", {"<s>", "</s>", NULL}},
    {"{{ '<|user|>\\n' + message['content'] + '\\n' }}{{ '<|assistant|>' + eos_token }}", NULL, {"</s>", NULL}},
    {"{{ '<|system|>\\n' + m['content'] + '<|end|>\\n<|user|>' + '\\n' + m['content'] + '<|end|>' + '<|assistant|>' }}",
     "phi3",
     {"<|user|>", "<|assistant|>", "<|end|>", "<|system|>", NULL}},
    {"{{ '<|user|>' + '\\n' + m['content'] + '<|end|>' + '<|assistant|>' }}",
     NULL, /* a system's text goes nowhere */
     {"<|user|>", "<|assistant|>", "<|end|>", "<|system|>", NULL}},
    {"{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{{ '<|assistant|>' }}",
     "phi4-mini",
     {"<|user|>", "<|assistant|>", "<|end|>", "<|system|>", NULL}},
    {"{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>' + m['content'] + '<|eot_id|>' }}",
     "llama3",
     {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", NULL}},
    {"{%- for m in messages -%}{{- '<|im_start|>assistant\\n<think>\\n' -}}",
     "chatml-think",
     {"<|im_start|>", "<|im_end|>", NULL}},
    {"{{ bos_token }}{{ 'GPT4 Correct ' + message.role.title() + ': ' + message.content + '<|end_of_turn|>' }}"
     "{{ 'GPT4 Correct Assistant:' }}",
     "openchat",
     {"<|end_of_turn|>", NULL}},
    {"{{ '### System:\\n' + message.content + '\\n\\n' }}{{ '### User:\\n' + message.content + '\\n\\n' }}"
     "{{ '### Assistant:\\n' + message.content }}{{ '### Assistant:\\n' }}",
     "solar",
     {"</s>", NULL}},
    {"{{ bos_token }}{{ ns.system_prompt }}{{ '<｜User｜>' + message.content }}{{ '<｜Assistant｜>' + content + "
     "'<｜end▁of▁sentence｜>' }}{{ '<｜Assistant｜>' }}",
     "deepseek-r1",
     {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", NULL}},
    {"{{ '<|im_start|>user<|im_sep|>' + m['content'] + '<|im_end|>' }}", NULL, {"<|im_start|>", "<|im_end|>", NULL}},
    {"{{ '<|im_start|>' }}{{ '<|im_end|>' }}\n{# bos_token #}", "chatml", {"<|im_start|>", "<|im_end|>", NULL}},
    {"{% if message.role == \"user\" %}{{ \" [INST] \" + message.content + \" [/INST]\" }}{% endif %}{{ ' ' + "
     "message['content'] + eos_token }}",
     "mistral-v1",
     {"<s>", "</s>", NULL}},
    {"{{ '[INST] ' + message['content'] + ' [/INST]' }}{{ message['content'] + eos_token}}",
     "mistral-v0.2",
     {"<s>", "</s>", NULL}},
    {"{{ bos_token }}{{ '[INST] <<SYS>> [/INST]' }}", NULL, {"</s>", NULL}},
    {"{{ '<start_of_turn>' + m['role'] }}", NULL, {"<s>", "</s>", "<|im_start|>", "<|im_end|>", NULL}},
    {NULL, "chatml", {"<|im_start|>", "<|im_end|>", NULL}},
    {NULL, NULL, {"<s>", "</s>", NULL}}, /* a base model: nothing is guessed from these */
};

static void programs_are_recognised_by_their_marks(void **state) {
  (void)state;
  char *path = scratch_path("template-tokenizer.json");
  for (size_t i = 0; i < sizeof PROGRAMS / sizeof *PROGRAMS; i++) {
    struct tokenizer *t;
    char *json = vocabulary(PROGRAMS[i].specials, true);
    must(file_write_atomic(path, json, strlen(json), &err));
    must(tokenizer_open(path, &t, &err));
    struct recognised_template found;
    must(template_match(PROGRAMS[i].program, t, &found, &err));
    const struct chat_template *c = found.chat;
    free(found.system);
    if (!PROGRAMS[i].name != !c || (c && strcmp(c->name, PROGRAMS[i].name) != 0))
      fail_msg("case %zu is %s, not %s", i, c ? c->name : "unknown", PROGRAMS[i].name ? PROGRAMS[i].name : "unknown");
    tokenizer_close(t);
    free(json);
  }
  unlink(path);
  free(path);
}

/* What a program does beside its marks: a system turn that it invents, white space that it trims, the system's text in
 * the last user's turn. The prompt of a whole dialogue is compared with the text that Jinja writes for it. */
#define QWEN                                                                                                           \
  "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}"       \
  "{%- else %}{{- '<|im_start|>system\\nIt\\'s \\\\boxed.<|im_end|>\\n' }}{%- endif %}{{ '<|im_start|>' }}"
/* Qwen3's ways with thoughts, and with a system's text of nothing. */
#define THINKING                                                                                                       \
  "{% if message.role == 'system' and message.content %}{{ '<|im_start|>system\\n' + message.content + "               \
  "'<|im_end|>\\n' }}{% endif %}{% set content = message.content.split('</think>')[-1].lstrip('\\n') %}"               \
  "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"     \
  "{% if loop.index0 > ns.last_query_index %}{{ '<|im_start|>' + message.role + '\\n<think>\\n' + thought }}{% endif " \
  "%}"
#define NAMED "{% set system_message = 'Named.' %}{{ '<|im_start|>system\\n' + system_message + '<|im_end|>\\n' }}"
#define INVENTED "<|im_start|>system\nIt's \\boxed.<|im_end|>\n<|im_start|>user\n"
#define HEADERS "'<|start_header_id|>' + message.role + '<|end_header_id|>' + message.content | trim + '<|eot_id|>'"
#define DATES                                                                                                          \
  "{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' }}{{ \"Cutting Knowledge Date: December 2023\\n\" }}"         \
  "{{ \"Today Date: \" + date_string + \"\\n\\n\" }}{% set date_string = '26 Jul 2024' %}"
#define NEMO "{{ '[INST]' + message['content'] + '[/INST]' }}{{ message['content'] + eos_token }}"
static const struct {
  const char *program, *specials[8];
  struct turn_text turns[4];
  size_t n;
  const char *text;
} HABITS[] = {
    {QWEN,
     {"<|im_start|>", "<|im_end|>", NULL},
     {{ROLE_USER, {" Hi", 3}}},
     1,
     INVENTED " Hi<|im_end|>\n<|im_start|>assistant\n"},
    {QWEN,
     {"<|im_start|>", "<|im_end|>", NULL},
     {{ROLE_SYSTEM, {"S", 1}}, {ROLE_USER, {"Hi", 2}}},
     2,
     "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
    {NAMED,
     {"<|im_start|>", "<|im_end|>", NULL},
     {{ROLE_USER, {"Hi", 2}}},
     1,
     "<|im_start|>system\nNamed.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
    {THINKING,
     {"<|im_start|>", "<|im_end|>", NULL},
     {{ROLE_SYSTEM, {"", 0}},
      {ROLE_USER, {"x</think>", 9}},
      {ROLE_BOT, {"mmh</think>\n\nYo", 15}},
      {ROLE_USER, {"B", 1}}},
     4,
     "<|im_start|>user\nx</think><|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>user\nB<|im_end|>\n"
     "<|im_start|>assistant\n"},
    {THINKING,
     {"<|im_start|>", "<|im_end|>", NULL},
     {{ROLE_USER, {"Hi", 2}}, {ROLE_BOT, {"It is", 5}}},
     2,
     "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nIt is"},
    {THINKING,
     {"<|im_start|>", "<|im_end|>", NULL},
     {{ROLE_USER, {"Hi", 2}}},
     1,
     "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"},
    {DATES HEADERS,
     {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", NULL},
     {{ROLE_USER, {"\n Hi ", 5}}},
     1,
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday "
     "Date: 26 "
     "Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
     "<|end_header_id|>\n\n"},
    {HEADERS,
     {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", NULL},
     {{ROLE_SYSTEM, {" S", 2}}, {ROLE_USER, {"Hi", 2}}},
     2,
     "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_"
     "id|>"
     "\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {NEMO,
     {"<s>", "</s>", "[INST]", "[/INST]", NULL},
     {{ROLE_SYSTEM, {"S", 1}}, {ROLE_USER, {"Hi", 2}}, {ROLE_BOT, {"Yo", 2}}, {ROLE_USER, {"Bye", 3}}},
     4,
     "<s>[INST]Hi[/INST]Yo</s>[INST]S\n\nBye[/INST]"},
};

static void programs_invent_trim_and_move(void **state) {
  (void)state;
  struct tiny_model dir;
  assert_true(tiny_model_make(&dir, 3));
  for (size_t i = 0; i < sizeof HABITS / sizeof *HABITS; i++) {
    struct engine *e;
    struct talk *t;
    struct reply *a;
    size_t tokens;
    double heard = NAN;
    char *json = vocabulary(HABITS[i].specials, true);
    assert_true(tiny_write(dir.dir, "tokenizer.json", json));
    assert_true(tiny_write(dir.dir, "chat_template.jinja", HABITS[i].program));
    must(engine_open_local(&(struct engine_local_options){.model_dir = dir.dir}, &e, &err));
    must(talk_open(e, NULL, 1, &t, &err));
    struct reply_request r = {.turns = HABITS[i].turns, .n_turns = HABITS[i].n};
    const size_t whole = strlen(HABITS[i].text); /* an answer without a thought was asked for */
    r.no_thought = whole > 10 && strcmp(HABITS[i].text + whole - 10, "</think>\n\n") == 0;
    if (HABITS[i].turns[r.n_turns - 1].role == ROLE_BOT)
      r.prefix = HABITS[i].turns[--r.n_turns].text; /* gone on with */
    must(reply_begin(t, &r, &(struct generate_options){.max_tokens = 1}, hear, &heard, &a, &err));
    while (!reply_done(a)) must(replies_advance(&a, 1, &err));
    const double want = by_hand(engine_model(e), HABITS[i].text, &tokens);
    if ((size_t)reply_timing(a)->prompt_tokens != tokens)
      fail_msg("case %zu: %d tokens; the text has %zu", i, reply_timing(a)->prompt_tokens, tokens);
    if (!isnan(heard) && !(fabs(heard - want) < 1e-4)) fail_msg("case %zu: log p %g, by hand %g", i, heard, want);
    reply_close(a);
    talk_close(t);
    engine_close(e);
    free(json);
  }
  tiny_model_remove(&dir);
}

/* A GGUF file brings its program along; the ledger's identity names the template. */
static void a_gguf_files_program_is_recognised(void **state) {
  (void)state;
  static const char *const programs[] = {"{{ '[INST] <<SYS>>' }} [/INST]", "{{ 'what is this' }}"};
  static const char *const tokens[] = {"<unk>", "<s>", "</s>", "\xe2\x96\x81", "a"};
  static const int types[] = {2, 3, 3, 1, 1};
  char *path = scratch_path("template.gguf");
  struct generated_model g;
  must(generated_make(&g, "tests/parity/golden/llama.json", &err));
  for (int i = 0; i < 2; i++) {
    struct gguf_writer w;
    struct engine *e;
    size_t len;
    gguf_begin(&w);
    gguf_put_config(&w, &g.config, "llama");
    gguf_put_string(&w, "tokenizer.ggml.model", "llama");
    gguf_put_array(&w, "tokenizer.ggml.tokens", W_STRING, 5);
    for (int k = 0; k < 5; k++) gguf_words(&w, &w.pairs, slice_of(tokens[k]));
    gguf_put_array(&w, "tokenizer.ggml.scores", W_F32, 5);
    for (int k = 0; k < 5; k++) gguf_number(&w, &w.pairs, 0, 4);
    gguf_put_array(&w, "tokenizer.ggml.token_type", W_I32, 5);
    for (int k = 0; k < 5; k++) gguf_number(&w, &w.pairs, (uint64_t)types[k], 4);
    gguf_put_string(&w, "tokenizer.chat_template", programs[i]);
    for (size_t k = 0; k < g.n; k++) gguf_put_float_tensor(&w, &g.config, g.family, &g.tensors[k]);
    char *bytes = gguf_finish(&w, &len), *identity;
    must(file_write_atomic(path, bytes, len, &err));
    must(engine_open_local(&(struct engine_local_options){.model_dir = path}, &e, &err));
    must(engine_identity(e, &identity, &err));
    assert_non_null(strstr(identity, i == 0 ? "\"name\":\"llama2\"" : "\"name\":\"\""));
    if (i == 1) { /* the choices are listed */
      struct talk *t;
      must(talk_open(e, NULL, 0, &t, &err));
      assert_int_equal(talk_feed(t, ROLE_USER, slice_of("a"), &err), SLUICE_USAGE);
      assert_non_null(strstr(err.message, "vicuna"));
      assert_non_null(strstr(err.message, "--template"));
      talk_close(t);
    }
    engine_close(e);
    free(bytes), free(identity);
  }
  unlink(path);
  free(path);
  generated_free(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dialogues_become_the_published_text),
      cmocka_unit_test(programs_are_recognised_by_their_marks),
      cmocka_unit_test(programs_invent_trim_and_move),
      cmocka_unit_test(a_gguf_files_program_is_recognised),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
