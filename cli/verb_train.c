/* sluice train tokenizer | lm: make a tokenizer and a language model from JSON lines. */
#include "cli/verbs.h"
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

static int finish(const char *what, sluice_status st, const struct sluice_error *err) {
  if (st) log_line(LOG_ERROR, "train %s: %s", what, err->message);
  return sluice_exit_code(st);
}

static int train_tokenizer_verb(int argc, char **argv) {
  static const struct verb_help help = {
      .verb = "train tokenizer",
      .summary = "train a byte-level BPE tokenizer",
      .usage = "sluice train tokenizer --data FILE --out tokenizer.json [--vocab N]",
      .examples = "  sluice data make train:stage=256,seed=1 --n 20000 --out build/corpus.jsonl\n"
                  "  sluice train tokenizer --data build/corpus.jsonl --vocab 2048 --out build/tokenizer.json\n",
      .notes = "FILE holds JSON lines with a member \"text\". The result loads wherever Hugging Face tokenizer.json "
               "files do.\n"};
  const char *data = NULL, *out = NULL, *pattern = NULL;
  int64_t vocab = 2048;
  const struct option_spec specs[] = {
      {"data", 'd', OPTION_STRING, &data, "FILE", "JSON lines {\"text\": ...}"},
      {"out", 'o', OPTION_STRING, &out, "FILE", "tokenizer.json to write"},
      {"vocab", 'v', OPTION_INT, &vocab, "N", "tokens, the 256 bytes and the specials included (2048)"},
      {"pattern", 0, OPTION_STRING, &pattern, "REGEX",
       "splitting pattern, PCRE2 syntax (default: words, numbers by two digits)"},
  };
  struct string_list rest = {0};
  struct sluice_error err;
  bool helped = false;
  sluice_status st = options_parse(&help, specs, sizeof specs / sizeof *specs, argc, argv, &rest, &helped, &err);
  if (!st && helped) return 0;
  if (!st && (rest.n > 0 || !data || !out))
    st = sluice_fail(&err, SLUICE_USAGE, "--data FILE and --out FILE are needed, and nothing else; see -h");
  if (!st && (vocab < 262 || vocab > 1 << 20))
    st = sluice_fail(&err, SLUICE_USAGE, "--vocab: 262..1048576, not %lld", (long long)vocab);
  const struct train_tokenizer_options o = {.data = data, .out = out, .vocab = (int)vocab, .pattern = pattern};
  if (!st) st = train_tokenizer(&o, &err);
  free(rest.items);
  return finish("tokenizer", st, &err);
}

/* "FILE:LENGTH:BATCH:STEPS", numbers from the right so that FILE may hold colons. text is cut in place. */
static sluice_status parse_stage(char *text, struct train_stage *out, struct sluice_error *err) {
  int values[3];
  for (int i = 2; i >= 0; i--) {
    char *colon = strrchr(text, ':'), *end = NULL;
    const long v = colon && colon[1] ? strtol(colon + 1, &end, 10) : 0;
    if (!colon || colon == text || !end || *end || v < 1 || v > 1000000000)
      return sluice_fail(err, SLUICE_USAGE,
                         "--stage wants FILE:LENGTH:BATCH:STEPS with whole numbers, e.g. corpus.jsonl:512:16:2000");
    values[i] = (int)v;
    *colon = 0;
  }
  *out = (struct train_stage){.data = text, .length = values[0], .batch = values[1], .steps = values[2]};
  return SLUICE_OK;
}

static sluice_status parse_stages(const struct string_list *texts, struct train_options *o, struct train_stage **out,
                                  struct sluice_error *err) {
  struct train_stage *stages = calloc(texts->n + 1, sizeof *stages);
  *out = stages;
  if (!stages) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  for (size_t i = 0; i < texts->n; i++) {
    sluice_status st = parse_stage(texts->items[i], &stages[i], err);
    if (st) return st;
  }
  o->stages = stages;
  o->n_stages = (int)texts->n;
  return SLUICE_OK;
}

static int train_lm_verb(int argc, char **argv) {
  static const struct verb_help help = {
      .verb = "train lm",
      .summary = "train a language model of Llama architecture",
      .usage = "sluice train lm --config FILE --tokenizer FILE --out DIR --stage FILE:LENGTH:BATCH:STEPS [--stage ...] "
               "[options]",
      .examples = "  sluice train lm --config config.json --tokenizer tokenizer.json --out build/model \\\n"
                  "      --stage short.jsonl:256:32:4000 --stage long.jsonl:1024:8:2000\n"
                  "  sluice train lm ... --resume       # after Ctrl-C or a kill: goes on from the last checkpoint\n",
      .notes = "FILE of a stage: JSON lines {\"text\": ..., \"answers\": [[start,end],...]}; tokens inside an answer's "
               "bytes weigh\n"
               "--answer-weight in the loss. DIR gets config.json, tokenizer.json, model.safetensors (bf16), "
               "train.log, checkpoint.\n"
               "Exit: 0 done, 2 usage, 130/143 stopped by a signal after a checkpoint, 1 otherwise.\n"};
  struct train_options o = {.lr = 2e-3,
                            .lr_end = 2e-4,
                            .warmup_steps = 200,
                            .weight_decay = 0.1,
                            .clip = 1.0,
                            .beta1 = 0.9,
                            .beta2 = 0.95,
                            .adam_eps = 1e-8,
                            .answer_weight = 1.0,
                            .precision = "bf16",
                            .device = "cpu"};
  int64_t seed = 1, lanes = 2, every = 200;
  struct string_list stage_texts = {0}, rest = {0};
  const struct option_spec specs[] = {
      {"config", 'c', OPTION_STRING, &o.config, "FILE", "config.json of the model to make"},
      {"tokenizer", 't', OPTION_STRING, &o.tokenizer, "FILE", "tokenizer.json"},
      {"out", 'o', OPTION_STRING, &o.out, "DIR", "folder to write"},
      {"stage", 's', OPTION_LIST, &stage_texts, "F:L:B:S",
       "a stretch of training: file, tokens a sequence, sequences a step, steps"},
      {"lr", 0, OPTION_DOUBLE, &o.lr, "X", "peak learning rate (0.002)"},
      {"lr-end", 0, OPTION_DOUBLE, &o.lr_end, "X", "learning rate at the end of the cosine (0.0002)"},
      {"warmup", 0, OPTION_DOUBLE, &o.warmup_steps, "N", "steps of linear warm-up (200)"},
      {"weight-decay", 0, OPTION_DOUBLE, &o.weight_decay, "X", "decoupled decay of matrices (0.1)"},
      {"clip", 0, OPTION_DOUBLE, &o.clip, "X", "largest norm of the gradient; 0: never clipped (1)"},
      {"beta2", 0, OPTION_DOUBLE, &o.beta2, "X", "decay of the second moment (0.95)"},
      {"answer-weight", 0, OPTION_DOUBLE, &o.answer_weight, "X", "weight of answer tokens in the loss, at least 1 (1)"},
      {"seed", 0, OPTION_INT, &seed, "N", "of the first weights (1)"},
      {"lanes", 0, OPTION_INT, &lanes, "N", "fixed parts of a batch, one thread each; the result depends on it (2)"},
      {"precision", 0, OPTION_STRING, &o.precision, "P", "f32, or bf16 operands of matrix products (bf16)"},
      {"device", 0, OPTION_STRING, &o.device, "D", "cpu or cuda (cpu)"},
      {"checkpoint-every", 0, OPTION_INT, &every, "N", "steps between checkpoints (200)"},
      {"resume", 0, OPTION_FLAG, &o.resume, NULL, "go on from DIR/checkpoint when there is one"},
      {"export", 0, OPTION_FLAG, &o.export_only, NULL,
       "with --resume: write the model folder from the checkpoint and stop"},
  };
  struct sluice_error err;
  struct train_stage *stages = NULL;
  bool helped = false;
  sluice_status st = options_parse(&help, specs, sizeof specs / sizeof *specs, argc, argv, &rest, &helped, &err);
  if (!st && helped) return 0;
  if (!st && (rest.n > 0 || !o.config || !o.tokenizer || !o.out))
    st = sluice_fail(&err, SLUICE_USAGE, "--config, --tokenizer and --out are needed, and no other word; see -h");
  if (!st && (o.answer_weight < 1 || o.lr <= 0 || seed < 0 || every < 0 || lanes < 1 || lanes > 256))
    st = sluice_fail(
        &err, SLUICE_USAGE,
        "--answer-weight is at least 1, --lr above 0, --lanes 1..256, --seed and --checkpoint-every not negative");
  if (!st) st = parse_stages(&stage_texts, &o, &stages, &err);
  if (!st && o.export_only && !o.resume)
    st = sluice_fail(&err, SLUICE_USAGE, "--export writes what a checkpoint holds: add --resume");
  o.seed = (uint64_t)seed, o.lanes = (int)lanes, o.checkpoint_every = every;
  signal_catch_interrupts();
  if (!st) st = train_lm(&o, &err);
  free(stages), free(stage_texts.items), free(rest.items);
  return finish("lm", st, &err);
}

int verb_train(int argc, char **argv) {
  static const struct verb_help help = {
      .verb = "train",
      .summary = "train a tokenizer or a language model",
      .usage = "sluice train tokenizer ... | lm ...",
      .examples = "  sluice data make train:stage=256,seed=1,lines=100000 --out train256.jsonl\n"
                  "  sluice train tokenizer --data train256.jsonl --vocab 2048 --out tokenizer.json\n"
                  "  sluice train lm --config config.json --tokenizer tokenizer.json --out model --stage "
                  "train256.jsonl:256:32:3000\n",
      .notes = "`sluice train tokenizer -h` and `sluice train lm -h` show their options.\n"};
  if (argc >= 2 && strcmp(argv[1], "tokenizer") == 0) return train_tokenizer_verb(argc - 1, argv + 1);
  if (argc >= 2 && strcmp(argv[1], "lm") == 0) return train_lm_verb(argc - 1, argv + 1);
  struct string_list rest = {0};
  struct sluice_error err;
  bool helped = false;
  sluice_status st = options_parse(&help, NULL, 0, argc, argv, &rest, &helped, &err);
  if (!st && !helped) st = sluice_fail(&err, SLUICE_USAGE, "expected %s; -h shows examples", help.usage);
  free(rest.items);
  if (st) log_line(LOG_ERROR, "train: %s", err.message);
  return st ? sluice_exit_code(st) : 0;
}
