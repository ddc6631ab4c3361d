/* Private to the engine room: chat templates, the sampler, and the two kinds of talk behind engine.h's talk_*. */
#ifndef SLUICE_ENGINE_TALK_H
#define SLUICE_ENGINE_TALK_H

#include "engine/engine.h"

/* The most text that one turn may hold, fed or generated, local or remote. */
#define TALK_TEXT_LIMIT ((size_t)16 << 20)

/* ---- token id lists ------------------------------------------------------------------------------------------- */
struct ids {
  int32_t *at; /* malloc'd by tokenizer_encode */
  size_t n;
};
void ids_free(struct ids *l);
sluice_status ids_push(struct ids *l, int32_t id, struct sluice_error *err);

/* ---- chat templates (engine/template.c) ----------------------------------------------------------------------- */
struct turn_opening {
  const char *control; /* read with special tokens: "<|im_start|>" */
  const char *label;   /* plain text, encoded together with what follows it: "user\n" */
  /* Of a bot's turn: what stands in label's place before an answer that is to be generated, without the space that the
   * answer's first token brings. NULL: label itself. */
  const char *bare;
};
struct chat_template {
  const char *name, *summary;
  const char *begin;           /* control text once at the start of a dialogue; NULL: the model's BOS, if it has one */
  struct turn_opening open[3]; /* by enum role */
  const char *close;           /* after each turn, control text */
  const char *closes[3];       /* by enum role; NULL: close */
  struct turn_opening user_after_system; /* where the system's text stands in the user's turn; NULLs: open[ROLE_USER] */
  const char *user_label_after_bot;      /* in the place of open[ROLE_USER].label; NULL: the same */
  const char *stop_text;                 /* ends a generated turn when no special token does; NULL: none */
  const char *needs[6];                  /* special tokens that the vocabulary must hold; NULL after the last */
  /* Texts that tell a published program in its canonical form; none: needs. NULL after the last. */
  const char *marks[6];
  const char *strange[8]; /* texts that no program of this kind holds */
  enum {
    SHAPE_ANY,
    SHAPE_CHATML /* <|im_start|>, a role, a line break; a line break behind each <|im_end|> */
  } shape;
  enum {
    INVENTS_NOTHING,
    INVENTS_TURN /* one literal is the turn */,
    INVENTS_LITERAL /* a literal behind `invents_behind` */
  } invents;
  const char *invents_behind;
  const char *default_system; /* the system's text where a dialogue brings none, even ""; NULL: there is no such turn */
  bool trims[3];              /* by enum role: white space around a fed text goes */
  bool trims_behind_system;   /* also in front of a user's text that stands behind the system's in one turn */
  bool system_last;           /* of a dialogue that is known whole, the system's text stands in the last user's turn */
};
enum { TEMPLATES_MAX = 64 };
const struct chat_template *template_table(void); /* engine/template_table.c; ends with a NULL name */
/* By name; SLUICE_USAGE with a suggestion and the choices. */
sluice_status template_by_name(const char *name, const struct tokenizer *t, const struct chat_template **out,
                               struct sluice_error *err);
/* What a program does beside its marks, whatever its template. */
struct template_traits {
  bool drops_empty_system;      /* a system's text of no character makes no turn */
  bool drops_thoughts;          /* of a bot's finished turn all up to the last </think> goes */
  bool drops_lines_behind;      /* and the line breaks behind that */
  const char *no_thought;       /* in front of an answer that is asked for without one; NULL: nothing is known */
  const char *thought_in_front; /* of an answer that is gone on with; NULL: nothing */
};
/* A template as a model's program uses it. */
struct recognised_template {
  const struct chat_template *chat; /* NULL: none fits */
  char *system; /* malloc'd: the system's text that the program writes where a dialogue brings none; NULL: none */
  struct template_traits traits;
};
/* From the model's folder: tokenizer_config.json's chat_template first, the vocabulary's special tokens second.
 * out->chat is NULL, and that is no error, when nothing is recognised: raw text can still be scored. */
sluice_status template_recognise(const char *model_dir, const struct tokenizer *t, struct recognised_template *out,
                                 struct sluice_error *err);
/* By a published program, as GGUF's tokenizer.chat_template holds it; NULL: by the vocabulary alone. */
sluice_status template_match(const char *published, const struct tokenizer *t, struct recognised_template *out,
                             struct sluice_error *err);
/* engine/template_program.c. In the canonical form a program's literals stand between two TEMPLATE_QUOTE, their escapes
 * read; outside them there is no white space, a.b is a['b'], and |trim is .strip(). Ends with a 0. */
#define TEMPLATE_QUOTE "\1"
sluice_status template_canonical(const char *published, struct buffer *out, struct sluice_error *err);
sluice_status template_invented(const struct chat_template *c, const char *canonical, char **text,
                                struct sluice_error *err);
struct template_traits template_traits_of(const char *canonical);
bool template_has_shape(const struct chat_template *c, const char *canonical);
const char *template_close(const struct chat_template *c, enum role role);
/* Whether what closes such a turn ends in text, not in a special token. */
bool template_ends_in_text(const struct chat_template *c, enum role role);
void template_hash(const struct chat_template *t, const char *system, const struct template_traits *traits,
                   char hex[2 * SHA256_BYTES + 1]);
/* Appends "sluice, chatml, ..." to a message. */
void template_choices(char *out, size_t cap);

/* ---- sampler (engine/sampler.c) ------------------------------------------------------------------------------- */
struct candidate {
  float logit;
  int32_t id;
};
struct sampler {
  double temperature, top_p, min_p; /* 0: off */
  int top_k;
  float penalty;             /* 1: off */
  float frequency, presence; /* 0: off */
  struct rng rng;
  struct candidate *pool; /* [vocab]; NULL when nothing is cut */
  unsigned char *seen;    /* [vocab] tokens that the penalty meets; NULL: none is counted */
  float *adjusted;        /* [vocab]; NULL: logits are taken as they come */
  uint16_t *said;         /* [vocab] how often the answer has each token; NULL: not counted */
  struct token_bias *bias;
  size_t n_bias;
};
/* Whether a back end that draws tokens itself can draw the next one (no penalty), and how: takes its random number. */
struct draw;
bool sampler_draws(const struct sampler *s);
void sampler_draw(struct sampler *s, struct draw *out);
sluice_status sampler_open(struct sampler *s, const struct generate_options *o, int vocab, struct sluice_error *err);
void sampler_close(struct sampler *s);
void sampler_saw(struct sampler *s, const int32_t *ids, size_t n); /* in the context */
void sampler_said(struct sampler *s, int32_t id);                  /* in the answer */
int32_t sampler_pick(struct sampler *s, const float *logits, int vocab);
/* The k likeliest, best first, into out[k]; how many there are. */
int top_candidates(const float *logits, int vocab, int k, struct candidate *out);
/* log of the sum of exp(logits), in float64; what a log-probability subtracts. NAN when a logit is not finite. */
double logits_log_sum(const float *logits, int vocab);

/* ---- engines and talks ---------------------------------------------------------------------------------------- */
struct remote_engine;
struct remote_talk;
struct local_talk;

struct engine {
  struct model *model; /* local */
  int threads;
  char *device, *weights;           /* NULL: the CPU, as the files have them */
  char *kernel;                     /* resolved name */
  struct session *together;         /* what talks that advance together share; NULL: each has its own */
  const struct chat_template *chat; /* NULL: not recognised */
  char *system;                     /* recognised_template.system */
  struct template_traits traits;    /* likewise */
  struct remote_engine *remote;     /* remote */
  char *identity;                   /* canonical JSON */
};

/* local (engine/talk_local.c): engine.h's talk_* describe them */
sluice_status local_open(const struct engine *e, const char *policy, uint64_t seed, struct local_talk **out,
                         struct sluice_error *err);
void local_close(struct local_talk *t);
sluice_status local_feed(struct local_talk *t, enum role role, struct slice text, struct sluice_error *err);
sluice_status local_choose(struct local_talk *t, struct slice prefix, const struct slice *choices, size_t n,
                           struct choice_scores *scores,
                           size_t (*commit)(void *ctx, const struct choice_scores *, size_t n), void *ctx,
                           struct sluice_error *err);
sluice_status local_generate(struct local_talk *t, struct slice prefix, const struct generate_options *o, piece_fn tap,
                             void *ctx, const struct slice *commit_text, struct buffer *text, enum outcome *outcome,
                             struct talk_timing *timing, struct sluice_error *err);
sluice_status local_reply_begin(struct local_talk *t, const struct reply_request *r, const struct generate_options *o,
                                piece_fn tap, void *ctx, struct reply **out, struct sluice_error *err);
sluice_status local_perplexity(struct local_talk *t, struct slice text,
                               void (*per_token)(void *ctx, uint64_t position, double nats), void *ctx, double *nats,
                               size_t *tokens, struct sluice_error *err);
sluice_status local_snapshot(const struct local_talk *t, unsigned char **bytes, size_t *len, struct sluice_error *err);
sluice_status local_restore(struct local_talk *t, const unsigned char *bytes, size_t len, struct sluice_error *err);
const struct session *local_session(const struct local_talk *t);

/* remote (engine/remote.c over libcurl, engine/remote_stream.c over wire's SSE parser and openai_chat dialect) */
sluice_status remote_engine_open(const struct engine_remote_options *o, struct remote_engine **out,
                                 struct sluice_error *err);
void remote_engine_close(struct remote_engine *r);
sluice_status remote_identity(const struct remote_engine *r, struct buffer *out, struct sluice_error *err);
sluice_status remote_open(const struct remote_engine *r, uint64_t seed, struct remote_talk **out,
                          struct sluice_error *err);
void remote_close(struct remote_talk *t);
sluice_status remote_feed(struct remote_talk *t, enum role role, struct slice text, struct sluice_error *err);
sluice_status remote_generate(struct remote_talk *t, struct slice prefix, const struct generate_options *o,
                              piece_fn tap, void *ctx, const struct slice *commit_text, struct buffer *text,
                              enum outcome *outcome, struct talk_timing *timing, struct sluice_error *err);
const struct talk_failure *remote_last_failure(const struct remote_talk *t);
uint64_t remote_tokens(const struct remote_talk *t);

#endif
