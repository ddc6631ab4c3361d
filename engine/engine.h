/* engine: weights -> tokens. A model (local weights) or an API (libcurl), one conversation at a time, under a cache policy.
 * Two levels: `session_*` works on token ids of a local model; `talk_*` works on turns of text, local or remote. */
#ifndef SLUICE_ENGINE_H
#define SLUICE_ENGINE_H

#include "base/base.h"

/* ---- tokenizer (engine/tokenizer/) ---------------------------------------------------------------------------- */
struct tokenizer;
enum {
  TOKENIZE_PLAIN = 0,
  TOKENIZE_SPECIALS = 1, /* text such as <|user|> becomes its special id */
  /* For vocabularies that put a space before a text (tokenizer_puts_space): this text goes on where other text ended, or
   * it follows a special token of the same text. Neither: it begins a text. */
  TOKENIZE_CONTINUES = 2,
  TOKENIZE_AFTER_SPECIAL = 4
};
/* tokenizer.json, or the vocabulary in a GGUF file: BPE over bytes, or over characters as SentencePiece has it. */
sluice_status tokenizer_open(const char *path, struct tokenizer **out, struct sluice_error *err);
void tokenizer_close(struct tokenizer *t);
/* Appends ids of text to *ids (malloc'd, grown; *n is updated). Never adds BOS. */
sluice_status tokenizer_encode(const struct tokenizer *t, struct slice text, unsigned flags, int32_t **ids, size_t *n,
                               struct sluice_error *err);
/* Raw bytes of one id (may split a UTF-8 character); a special token's own text. Empty slice: no such id. */
struct slice tokenizer_bytes(const struct tokenizer *t, int32_t id);
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
int32_t tokenizer_find(const struct tokenizer *t, const char *token); /* id of an exact token text; -1 */
int tokenizer_size(const struct tokenizer *t);
const char *tokenizer_hash(const struct tokenizer *t); /* SHA-256, hex: of tokenizer.json, or of GGUF's vocabulary */
/* False when the file has a post_processor that puts no token around a text (GPT-2's, SmolLM2's): such a model saw none in
 * training, whatever bos_token_id its configuration names. */
bool tokenizer_wants_bos(const struct tokenizer *t);
/* Whether a text is given a space in front, as SentencePiece does, so that the first token of an answer has one too many. */
bool tokenizer_puts_space(const struct tokenizer *t);

/* ---- model (engine/model/) ------------------------------------------------------------------------------------ */
/* How RoPE frequencies are stretched for texts longer than the model was first trained on; the names are Hugging Face's. */
enum rope_type {
  ROPE_DEFAULT,
  ROPE_LINEAR, /* all divided by factor */
  ROPE_LLAMA3, /* long waves divided by factor, short ones left, a ramp between (Llama 3.1) */
  ROPE_DYNAMIC, /* as they are within original_context; behind it theta grows with the position (dynamic NTK) */
  ROPE_YARN,    /* a ramp by dimension between left and divided, and scores times attention^2 (Peng et al. 2023) */
  ROPE_LONG     /* each divided by its own factor, and scores times attention^2 (LongRoPE; the short factors) */
};
struct rope_scaling {
  enum rope_type type;
  double factor, low_freq_factor, high_freq_factor;
  double original_context; /* tokens: original_max_position_embeddings; ROPE_DYNAMIC: max_position_embeddings */
  /* ROPE_YARN: waves in original_context from which a dimension is left and up to which it is divided; whether the ramp's
   * ends are whole dimensions. */
  double beta_fast, beta_slow;
  bool whole_ramp;
  double attention; /* what cosines and sines are multiplied by, of queries and of keys; 0: 1 */
};
enum norm_kind { NORM_RMS, NORM_LAYER /* subtracts the mean, adds a bias */ };
enum activation { ACTIVATION_SILU, ACTIVATION_GELU /* by erf */, ACTIVATION_GELU_TANH };
/* What a block of the network computes; the families that the engine knows are rows of a table (engine/model/family.c). A
 * member that is zero means Llama's way. */
enum { ENDS_MAX = 16, ROPE_FACTORS_MAX = 128 };
struct model_config {
  const char *family; /* "llama", "mistral", "qwen2", "qwen3", "gpt_neox": a constant; NULL: llama */
  int n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, vocab;
  int max_context; /* max_position_embeddings: trained context */
  float norm_eps;
  double rope_theta;
  bool tied; /* output head shares the embedding */
  int32_t bos, eos; /* -1: none */
  int32_t more_ends[ENDS_MAX]; /* that end a turn beside eos: the rest of eos_token_id, generation_config.json's */
  int n_more_ends;
  struct rope_scaling rope_scaling;
  int rotary_dims;         /* of each head, even: only these are rotated; 0: all of head_dim */
  bool rotary_neighbours;  /* rotated in pairs (2i, 2i+1), as GGUF orders Llama's rows, not (i, i + rotary_dims/2) */
  const float *rope_divisors; /* [rotary_dims/2]: each frequency is divided by its own (GGUF's rope_freqs); NULL: none */
  float rope_factors[ROPE_FACTORS_MAX]; /* ROPE_LONG of a folder: the same */
  int n_rope_factors;                   /* rotary_dims/2; 0: none */
  enum norm_kind norm;
  enum activation activation;
  bool plain_ffn;         /* down(activation(up x)): no gate */
  bool parallel_residual; /* attention and FFN read the same input, and both are added to it */
  bool qkv_bias, o_bias, ffn_bias;
  bool qk_norm; /* RMSNorm over each head of q and k, before the rotation */
  /* Sliding window: in layers from window_from on, a token sees the keys whose position is more than its own less
   * `window`; itself included, that is `window` tokens. 0: all. */
  int window, window_from;
};
struct model; /* weights mapped or loaded; immutable after opening; shared by sessions */
/* A Hugging Face folder: config.json, model.safetensors or its shards, tokenizer.json (absent tokenizer is allowed); or a
 * GGUF file, which may be named by a folder that holds it and no config.json. */
sluice_status model_open(const char *path, struct model **out, struct sluice_error *err);
void model_close(struct model *m);
const struct model_config *model_configuration(const struct model *m);
const struct tokenizer *model_tokenizer(const struct model *m); /* NULL when the folder has none */
const char *model_hash(const struct model *m);                  /* SHA-256 of the weights' file, hex */
const char *model_directory(const struct model *m); /* the folder, or the GGUF file */
uint64_t model_parameters(const struct model *m);
/* The folder of the embedded default: $SLUICE_MODEL, else beside the program, else the installed share directory. */
sluice_status model_default_dir(char **dir, struct sluice_error *err);

/* Where the library that device "cuda" loads is looked for: beside the program or up to two folders above it, else where
 * `make install` puts it. Caller frees; NULL when out of memory. */
char *cuda_library(void);

/* ---- session: one token sequence under one cache policy (engine/session.c) -------------------------------------- */
struct session;
struct session_options {
  const char *policy; /* "full", "streaming:sinks=4,recent=1020", "sirllm:..." ; NULL: full */
  int threads;        /* 0: 1 */
  const char *kernel; /* "avx512vnni", "avx512", "avx2", "portable"; NULL: best of this CPU */
  uint64_t seed;      /* for `random` */
  const char *device;  /* "cpu", "cuda"; NULL: cpu */
  const char *weights; /* how a GPU keeps them: "int8"; NULL: as the files have them */
};
sluice_status session_open(const struct model *m, const struct session_options *o, struct session **out,
                           struct sluice_error *err);
void session_close(struct session *s);
/* Runs n tokens through the model and the policy, in order, as one chunk. logits: NULL, or room for vocab floats (the last
 * token's) when rows == 1, or n*vocab floats when rows == n. Results do not depend on how a caller cuts the text into
 * chunks, except where the policy itself is defined by turns. */
sluice_status session_append(struct session *s, const int32_t *ids, size_t n, float *logits, size_t rows,
                             struct sluice_error *err);
/* The logits after the newest token, logits[vocab], computed when asked: append without logits what nobody scores, and ask here
 * where a score is wanted. Under `recompute` each such question is a pass over the whole window. USAGE before any token. */
sluice_status session_logits(struct session *s, float *logits, struct sluice_error *err);
/* A session of the same model that shares its threads, working memory and, on a device, its weights. Only one thread may
 * use sessions that share. */
sluice_status session_open_beside(const struct session *s, const char *policy, uint64_t seed, struct session **out,
                                  struct sluice_error *err);
/* ids[i] for sessions[i], all of which share (session_open_beside, session_fork): one step, one reading of the weights.
 * logits[i]: NULL, or room for vocab floats. On the CPU each gets, bit for bit, what session_append would give; on a GPU the
 * last bits depend on the batch. After a failure other than SLUICE_INPUT the sessions are of no use. */
sluice_status session_step_many(struct session *const *sessions, const int32_t *ids, float *const *logits, size_t n,
                                struct sluice_error *err);
sluice_status session_end_turn(struct session *s, struct sluice_error *err); /* policies with decay act here */
sluice_status session_fork(const struct session *s, struct session **out, struct sluice_error *err);
/* Bounded snapshot of the whole state, for scoring choices from one past, and for resume. Caller frees *bytes. */
sluice_status session_snapshot(const struct session *s, unsigned char **bytes, size_t *len, struct sluice_error *err);
sluice_status session_restore(struct session *s, const unsigned char *bytes, size_t len, struct sluice_error *err);
uint64_t session_position(const struct session *s); /* tokens seen */
size_t session_bytes(const struct session *s);      /* KV bytes held now */
size_t session_peak_bytes(const struct session *s);
/* True positions of the tokens that layer 0 keeps now, ascending. Returns how many there are; fills at most cap. */
size_t session_trace(const struct session *s, uint64_t *positions, size_t cap);
const char *session_policy(const struct session *s); /* canonical string, all defaults spelled out */
const char *session_kernel(const struct session *s); /* "avx512"; on a GPU "sm_90" */
const char *session_best_kernel(void); /* what sessions use here unless told otherwise */
/* The table of policies: name and one line each, for -h and docs. Ends with a NULL name. */
struct policy_info {
  const char *name, *summary, *keys;
};
const struct policy_info *policy_table(void);
/* Checks a policy string without a model: USAGE errors with a suggestion; *canonical (caller frees) spells out defaults. */
sluice_status policy_check(const char *policy, char **canonical, struct sluice_error *err);

/* ---- talk: turns of text, local or remote (engine/talk.c, engine/remote.c) --------------------------------------- */
/* A piece of stream (DESIGN.md). Text is raw bytes, may split a character. */
enum channel { CHANNEL_CONTENT, CHANNEL_REASONING, CHANNEL_TOOL, CHANNEL_REFUSAL };
struct piece {
  int choice;
  enum channel channel;
  struct slice bytes;
  int32_t token;    /* -1 when unknown */
  float logprob;    /* NAN when unknown */
  float surprisal;  /* nats of the token under the model before it came; NAN when unknown */
  const struct token_chance *top; /* the likeliest tokens in its place, best first, when asked for */
  int n_top;
  bool context; /* it stands before the answer (reply_request.tell_context) */
};
struct token_chance {
  int32_t token;
  struct slice bytes;
  float logprob;
};
/* Returns false to stop generation (the monitor's verdict). */
typedef bool (*piece_fn)(void *ctx, const struct piece *piece);

enum outcome { OUTCOME_DONE, OUTCOME_TRUNCATED, OUTCOME_REFUSED, OUTCOME_STOPPED /* by the tap */, OUTCOME_ERROR };
struct talk_timing {
  int64_t started_ns, first_token_ns, ended_ns; /* monotonic */
  int prompt_tokens, output_tokens; /* whole context before the turn, the turn itself; -1: the API did not say */
  int attempts;                     /* requests made; 1 for a local talk */
};
enum { STOPS_MAX = 16, STOP_BYTES_MAX = 1024, TOP_LOGPROBS_MAX = 20 };
enum { BIASES_MAX = 1024 };
struct token_bias {
  int32_t token;
  float added; /* -100 to 100 */
};
struct generate_options {
  int max_tokens;     /* 0: 256 */
  float temperature;  /* 0: greedy */
  int top_k;          /* 0: off */
  float top_p;        /* 0 or 1: off */
  float min_p;        /* keeps tokens at least so likely as this times the likeliest; 0: off */
  float repetition_penalty; /* of tokens that stand in the reply's own context and text; 0 or 1: off. Local only */
  /* OpenAI's: what is taken from the logit of a token that the answer has, for each time it stands there and once for all,
   * -2 to 2; and what is added to some tokens' logits, at most BIASES_MAX of them. Local only */
  float frequency_penalty, presence_penalty;
  const struct token_bias *bias;
  size_t n_bias;
  uint64_t seed;
  const struct slice *stop; /* texts that end the answer and are no part of it; none may be empty or over STOP_BYTES_MAX.
                               A text that spans tokens has been read by the cache all the same. Local only */
  size_t n_stop;            /* at most STOPS_MAX */
  int top_logprobs;         /* alternatives told with each token, at most TOP_LOGPROBS_MAX */
};
struct choice_scores { /* arrays of n_choices, owned by the caller */
  double *logprob;       /* sum of log p over the choice's tokens, after the prefix */
  double *first_logprob; /* log p of the first token (SirLLM's rule) */
  int *tokens;           /* tokens of each choice */
};

struct engine; /* local weights, or an API */
struct engine_local_options {
  const char *model_dir; /* NULL: the embedded default */
  int threads;
  const char *kernel;
  const char *device;        /* "cpu", "cuda"; NULL: cpu */
  const char *weights;       /* how a GPU keeps them: "int8"; NULL: as the files have them */
  const char *template_name; /* chat template; NULL: recognised from the model's folder (docs/engine.md) */
  bool together; /* its talks share threads and working memory, so that their replies can advance together; then only one
                    thread may use the engine */
};
struct engine_remote_options {
  const char *url;      /* ".../v1" */
  const char *model;
  const char *key_env;  /* the name of the environment variable that holds the key; NULL: none */
  int64_t timeout_ms;   /* whole request; 0: 120000 */
  int64_t stall_ms;     /* no byte for this long; 0: 30000 */
  int retries;          /* -1: 5 */
  int64_t backoff_ms;   /* wait before the first retry, doubled each time, with jitter; 0: 500 */
};
sluice_status engine_open_local(const struct engine_local_options *o, struct engine **out, struct sluice_error *err);
sluice_status engine_open_remote(const struct engine_remote_options *o, struct engine **out, struct sluice_error *err);
void engine_close(struct engine *e);
bool engine_is_local(const struct engine *e);
const struct model *engine_model(const struct engine *e); /* NULL for a remote one */
/* Canonical JSON of what decides outputs (weights hash, tokenizer hash, template hash, kernel, threads | url, model). */
sluice_status engine_identity(const struct engine *e, char **json, struct sluice_error *err);

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_BOT };
struct talk; /* one dialogue */
/* policy: NULL is `full` for a local engine. A remote engine keeps its own cache: only NULL and "server" are accepted. */
sluice_status talk_open(struct engine *e, const char *policy, uint64_t seed, struct talk **out, struct sluice_error *err);
void talk_close(struct talk *t);
/* Feeds a finished turn of the given role as context (template applied). A remote talk only remembers it. */
sluice_status talk_feed(struct talk *t, enum role role, struct slice text, struct sluice_error *err);
/* Opens the bot's turn, scores each choice as its continuation after `prefix` (may be empty) from the same past, then commits
 * prefix + choices[commit(ctx, scores)] as the bot's turn. Remote engines: SLUICE_UNSUPPORTED (generate and parse instead). */
sluice_status talk_choose(struct talk *t, struct slice prefix, const struct slice *choices, size_t n,
                          struct choice_scores *scores, size_t (*commit)(void *ctx, const struct choice_scores *, size_t n),
                          void *ctx, struct sluice_error *err);
/* Opens the bot's turn with `prefix`, generates until the end of turn, and commits what was generated. *text (caller frees)
 * holds the raw output without the prefix. commit_text, when not NULL, is put in the context instead of the model's own. */
sluice_status talk_generate(struct talk *t, struct slice prefix, const struct generate_options *o, piece_fn tap, void *ctx,
                            const struct slice *commit_text, char **text, size_t *len, enum outcome *outcome,
                            struct talk_timing *timing, struct sluice_error *err);
/* ---- replies under way (engine/reply.c): continuous batching over a local engine opened with `together` ---- */
struct turn_text {
  enum role role;
  struct slice text;
};
struct reply_request {
  const struct turn_text *turns; /* finished turns that stand before the answer */
  size_t n_turns;
  struct slice prefix; /* how the answer begins; not told again. raw: the whole text before it */
  bool raw;            /* no template: text goes on. Special tokens are read where their text stands */
  const int32_t *ids;  /* raw: the tokens before it, as they are (no BOS), in prefix's place */
  size_t n_ids;
  bool tell_context; /* the tokens before the answer are told too, but for the BOS that was put in front */
  bool context_only; /* and no answer is wanted */
  bool no_thought;   /* the answer begins behind an empty thought, where the model's program knows that (Qwen3) */
};
struct reply;
/* Encodes; nothing runs yet. The talk is of no other use until reply_end. */
sluice_status reply_begin(struct talk *t, const struct reply_request *r, const struct generate_options *o,
                           piece_fn tap, void *ctx, struct reply **out, struct sluice_error *err);
/* One step: a part of one reply's context enters, and every reply whose context is in gets one token. On the CPU
 * each gets what it would get alone, bit for bit. What one reply fails of is told by its reply_end; a failure here ends
 * them all. */
sluice_status replies_advance(struct reply *const *replies, size_t n, struct sluice_error *err);
bool reply_done(const struct reply *a);
const struct talk_timing *reply_timing(const struct reply *a);
void reply_limit(struct reply *a, int max_tokens); /* lowers generate_options.max_tokens of one that has begun */
/* Of a done reply: closes its turn in the dialogue (raw: leaves the talk of no further use). */
sluice_status reply_end(struct reply *a, enum outcome *outcome, struct sluice_error *err);
void reply_close(struct reply *a); /* before its talk */

/* Feeds raw text (no template) and returns the summed surprisal in nats and the tokens scored; per_token, when not NULL, is
 * called with each token's position and surprisal. Local only. */
sluice_status talk_perplexity(struct talk *t, struct slice text, void (*per_token)(void *ctx, uint64_t position, double nats),
                              void *ctx, double *nats, size_t *tokens, struct sluice_error *err);
/* Why the last talk_generate of a remote talk failed. Nothing of it entered the dialogue: the turn may be asked again. */
struct talk_failure {
  const char *error_class; /* rate_limited, server, timeout, network, protocol, auth, refused */
  int http_status;         /* 0: no answer came */
  int attempts;            /* requests made */
  int64_t retry_after_ms;  /* what the server asked for last; -1: nothing */
  struct slice partial;    /* text that arrived before the failure; owned by the talk until its next call */
};
const struct talk_failure *talk_last_failure(const struct talk *t); /* NULL when the last generation did not fail */
size_t talk_kv_bytes(const struct talk *t);
size_t talk_peak_kv_bytes(const struct talk *t);
uint64_t talk_tokens(const struct talk *t); /* tokens in the dialogue so far */
/* Resume: the bytes of a local talk between turns. */
sluice_status talk_snapshot(const struct talk *t, unsigned char **bytes, size_t *len, struct sluice_error *err);
sluice_status talk_restore(struct talk *t, const unsigned char *bytes, size_t len, struct sluice_error *err);

/* ---- training (engine/train/) ---------------------------------------------------------------------------------- */
struct train_tokenizer_options {
  const char *data;   /* JSON lines of {"text": ...} */
  const char *out;    /* tokenizer.json */
  int vocab;          /* including specials and the 256 bytes */
  const char *pattern; /* PCRE2 splitting pattern; NULL: the house's */
};
sluice_status train_tokenizer(const struct train_tokenizer_options *o, struct sluice_error *err);

struct train_stage { /* one stretch of the curriculum */
  const char *data;  /* JSON lines of {"text", "answers": [[start,end],...]} byte offsets of up-weighted spans */
  int length;        /* tokens a sequence */
  int batch;         /* sequences a step, over all lanes */
  int steps;
};
struct train_options {
  const char *config;    /* config.json of the model to make */
  const char *tokenizer; /* tokenizer.json */
  const char *out;       /* folder: config.json, model.safetensors, tokenizer.json, train.log, checkpoint */
  const struct train_stage *stages;
  int n_stages;
  double lr, lr_end, warmup_steps, weight_decay, clip, beta1, beta2, adam_eps;
  double answer_weight; /* loss weight of tokens in answer spans; others weigh 1 */
  uint64_t seed;
  int lanes;             /* fixed partition of a batch: the result depends on lanes, never on timing */
  const char *precision; /* "f32" or "bf16" (operands of matrix products; sums and state stay f32) */
  const char *device;    /* "cpu" or "cuda" */
  int64_t checkpoint_every; /* steps; 0: only at the end and on a signal */
  bool resume;
  bool export_only; /* with resume: write the folder from the checkpoint, train nothing */
};
sluice_status train_lm(const struct train_options *o, struct sluice_error *err);

#endif
