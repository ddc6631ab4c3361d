/* Engines and talks: opens local weights or an API, and sends each talk_* to the kind that it belongs to. */
#include "engine/talk.h"

#include "engine/model/config.h"
#include "engine/model/gguf.h"

#include <stdlib.h>
#include <string.h>

struct talk {
  struct engine *engine;
  struct local_talk *local; /* one of the two */
  struct remote_talk *remote;
};

/* ---- engines -------------------------------------------------------------------------------------------------- */
/* The kernel that a NULL option stands for is learnt from a session, which alone resolves it. */
static sluice_status resolve_kernel(struct engine *e, const char *kernel, bool together, struct sluice_error *err) {
  struct session *s = NULL;
  struct session_options o = {.threads = e->threads, .kernel = kernel, .device = e->device, .weights = e->weights};
  sluice_status st = session_open(e->model, &o, &s, err);
  if (st != SLUICE_OK) return st;
  e->kernel = sluice_strdup(session_kernel(s));
  if (together)
    e->together = s;
  else
    session_close(s);
  return e->kernel != NULL ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for an engine");
}

static sluice_status local_identity(struct engine *e, struct buffer *out, struct sluice_error *err) {
  const struct tokenizer *t = model_tokenizer(e->model);
  char hash[2 * SHA256_BYTES + 1] = "", config[2 * SHA256_BYTES + 1], device[80] = "";
  if (e->device != NULL) snprintf(device, sizeof device, "\"device\":\"%.40s\",", e->device);
  if (e->chat != NULL) template_hash(e->chat, e->system, &e->traits, hash);
  model_config_hash(model_configuration(e->model), config);
  return buffer_printf(
      out, err,
      "{\"config_sha256\":\"%s\",%s\"kernel\":\"%s\",\"template\":{\"name\":\"%s\",\"sha256\":\"%s\"},\"threads\":%d,"
      "\"tokenizer_sha256\":\"%s\",\"weights_sha256\":\"%s\"}",
      config, device, e->kernel, e->chat != NULL ? e->chat->name : "", hash, e->threads,
      t != NULL ? tokenizer_hash(t) : "", model_hash(e->model));
}

static bool on_device(const struct engine_local_options *o) {
  return o->device != NULL && strcmp(o->device, "cpu") != 0;
}

/* By the program that the model's folder or file publishes. */
static sluice_status recognise(const struct model *m, struct recognised_template *out, struct sluice_error *err) {
  const struct tokenizer *t = model_tokenizer(m);
  struct slice program;
  if (m->gguf == NULL) return template_recognise(model_directory(m), t, out, err);
  sluice_status st = gguf_string(m->gguf, "tokenizer.chat_template", &program, err);
  if (st != SLUICE_OK || t == NULL) return st;
  char *text = program.ptr != NULL ? sluice_strndup(program.ptr, program.len) : NULL;
  if (program.ptr != NULL && text == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a chat template");
  st = template_match(text, t, out, err);
  free(text);
  return st;
}

static sluice_status open_local(const struct engine_local_options *o, struct engine *e, struct sluice_error *err) {
  char *found = NULL;
  sluice_status st = SLUICE_OK;
  if (o->model_dir == NULL) st = model_default_dir(&found, err);
  if (st == SLUICE_OK) st = model_open(o->model_dir != NULL ? o->model_dir : found, &e->model, err);
  free(found);
  if (st != SLUICE_OK) return st;
  e->threads = o->threads > 0 && !on_device(o) ? o->threads : 1; /* a device's results depend on no thread */
  if (on_device(o)) {
    e->device = sluice_strdup(o->device);
    if (o->weights != NULL) e->weights = sluice_strdup(o->weights);
    if (e->device == NULL || (o->weights != NULL && e->weights == NULL))
      return sluice_fail(err, SLUICE_NOMEM, "no memory for an engine");
  } else if (o->weights != NULL) {
    return sluice_fail(err, SLUICE_USAGE, "weights '%.40s': only a GPU keeps them otherwise than the files have them",
                       o->weights);
  }
  const struct tokenizer *t = model_tokenizer(e->model);
  if (o->template_name == NULL) {
    struct recognised_template published = {0};
    st = recognise(e->model, &published, err);
    e->chat = published.chat;
    e->system = published.system;
    e->traits = published.traits;
  } else if (t == NULL) {
    st = sluice_fail(err, SLUICE_INPUT, "%s: no tokenizer.json or tokenizer.model, so no chat template applies",
                     model_directory(e->model));
  } else {
    st = template_by_name(o->template_name, t, &e->chat, err);
  }
  return st == SLUICE_OK ? resolve_kernel(e, o->kernel, o->together, err) : st;
}

static sluice_status keep_identity(struct engine *e, struct sluice_error *err) {
  struct buffer b;
  buffer_init(&b, 1 << 16);
  sluice_status st = e->remote != NULL ? remote_identity(e->remote, &b, err) : local_identity(e, &b, err);
  if (st == SLUICE_OK) e->identity = buffer_take(&b, NULL);
  buffer_free(&b);
  return st;
}

sluice_status engine_open_local(const struct engine_local_options *o, struct engine **out, struct sluice_error *err) {
  struct engine *e = calloc(1, sizeof *e);
  if (e == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for an engine");
  sluice_status st = open_local(o, e, err);
  if (st == SLUICE_OK) st = keep_identity(e, err);
  if (st != SLUICE_OK) {
    engine_close(e);
    return st;
  }
  *out = e;
  return SLUICE_OK;
}

sluice_status engine_open_remote(const struct engine_remote_options *o, struct engine **out, struct sluice_error *err) {
  struct engine *e = calloc(1, sizeof *e);
  if (e == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for an engine");
  sluice_status st = remote_engine_open(o, &e->remote, err);
  if (st == SLUICE_OK) st = keep_identity(e, err);
  if (st != SLUICE_OK) {
    engine_close(e);
    return st;
  }
  *out = e;
  return SLUICE_OK;
}

void engine_close(struct engine *e) {
  if (e == NULL) return;
  session_close(e->together);
  if (e->model != NULL) model_close(e->model);
  if (e->remote != NULL) remote_engine_close(e->remote);
  free(e->kernel);
  free(e->system);
  free(e->device);
  free(e->weights);
  free(e->identity);
  free(e);
}

bool engine_is_local(const struct engine *e) {
  return e->model != NULL;
}

const struct model *engine_model(const struct engine *e) {
  return e->model;
}

sluice_status engine_identity(const struct engine *e, char **json, struct sluice_error *err) {
  *json = sluice_strdup(e->identity);
  return *json != NULL ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for an engine's identity");
}

/* ---- talks ---------------------------------------------------------------------------------------------------- */
sluice_status talk_open(struct engine *e, const char *policy, uint64_t seed, struct talk **out,
                        struct sluice_error *err) {
  if (e->remote != NULL && policy != NULL && strcmp(policy, "server") != 0) {
    return sluice_fail(
        err, SLUICE_UNSUPPORTED,
        "cache policy \"%s\": a remote engine keeps its own cache; leave the policy out or write \"server\"", policy);
  }
  struct talk *t = calloc(1, sizeof *t);
  if (t == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a dialogue");
  t->engine = e;
  sluice_status st =
      e->remote != NULL ? remote_open(e->remote, seed, &t->remote, err) : local_open(e, policy, seed, &t->local, err);
  if (st != SLUICE_OK) {
    talk_close(t);
    return st;
  }
  *out = t;
  return SLUICE_OK;
}

void talk_close(struct talk *t) {
  if (t == NULL) return;
  local_close(t->local);
  remote_close(t->remote);
  free(t);
}

sluice_status talk_feed(struct talk *t, enum role role, struct slice text, struct sluice_error *err) {
  if (text.len > TALK_TEXT_LIMIT) {
    return sluice_fail(err, SLUICE_LIMIT, "a turn of %zu bytes is over the limit of %zu", text.len, TALK_TEXT_LIMIT);
  }
  return t->remote != NULL ? remote_feed(t->remote, role, text, err) : local_feed(t->local, role, text, err);
}

sluice_status talk_choose(struct talk *t, struct slice prefix, const struct slice *choices, size_t n,
                          struct choice_scores *scores,
                          size_t (*commit)(void *ctx, const struct choice_scores *, size_t n), void *ctx,
                          struct sluice_error *err) {
  if (t->remote != NULL) {
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "a remote engine cannot score choices: generate an answer and parse it");
  }
  return local_choose(t->local, prefix, choices, n, scores, commit, ctx, err);
}

sluice_status talk_generate(struct talk *t, struct slice prefix, const struct generate_options *o, piece_fn tap,
                            void *ctx, const struct slice *commit_text, char **text, size_t *len, enum outcome *outcome,
                            struct talk_timing *timing, struct sluice_error *err) {
  struct buffer b;
  struct talk_timing unused;
  buffer_init(&b, TALK_TEXT_LIMIT);
  *text = NULL;
  *len = 0;
  *outcome = OUTCOME_ERROR;
  if (timing == NULL) timing = &unused;
  if (t->remote != NULL && (o->min_p > 0 || (o->repetition_penalty > 0 && o->repetition_penalty != 1))) {
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "min_p and repetition_penalty are for local weights: an API gets temperature, top_k, top_p, "
                       "stop, top_logprobs and seed");
  }
  sluice_status st = buffer_append(&b, "", 0, err);
  if (st == SLUICE_OK) {
    st = t->remote != NULL ? remote_generate(t->remote, prefix, o, tap, ctx, commit_text, &b, outcome, timing, err)
                           : local_generate(t->local, prefix, o, tap, ctx, commit_text, &b, outcome, timing, err);
  }
  if (st == SLUICE_OK && b.ptr == NULL) {
    *text = sluice_strdup("");
    if (*text == NULL) st = sluice_fail(err, SLUICE_NOMEM, "no memory for the answer");
  } else if (st == SLUICE_OK) {
    *text = buffer_take(&b, len);
  }
  if (st != SLUICE_OK) *outcome = OUTCOME_ERROR;
  buffer_free(&b);
  return st;
}

sluice_status reply_begin(struct talk *t, const struct reply_request *r, const struct generate_options *o, piece_fn tap,
                          void *ctx, struct reply **out, struct sluice_error *err) {
  if (t->remote != NULL) return sluice_fail(err, SLUICE_UNSUPPORTED, "a remote engine's answers come by talk_generate");
  size_t bytes = r->prefix.len;
  for (size_t i = 0; i < r->n_turns; i++) bytes += r->turns[i].text.len;
  if (bytes > TALK_TEXT_LIMIT)
    return sluice_fail(err, SLUICE_LIMIT, "a context of %zu bytes is over the limit of %zu", bytes, TALK_TEXT_LIMIT);
  return local_reply_begin(t->local, r, o, tap, ctx, out, err);
}

sluice_status talk_perplexity(struct talk *t, struct slice text,
                              void (*per_token)(void *ctx, uint64_t position, double nats), void *ctx, double *nats,
                              size_t *tokens, struct sluice_error *err) {
  if (t->remote != NULL) {
    return sluice_fail(err, SLUICE_UNSUPPORTED, "a remote engine does not give the log-probabilities of a text");
  }
  return local_perplexity(t->local, text, per_token, ctx, nats, tokens, err);
}

const struct talk_failure *talk_last_failure(const struct talk *t) {
  return t->remote != NULL ? remote_last_failure(t->remote) : NULL;
}

size_t talk_kv_bytes(const struct talk *t) {
  return t->local != NULL ? session_bytes(local_session(t->local)) : 0;
}

size_t talk_peak_kv_bytes(const struct talk *t) {
  return t->local != NULL ? session_peak_bytes(local_session(t->local)) : 0;
}

uint64_t talk_tokens(const struct talk *t) {
  return t->local != NULL ? session_position(local_session(t->local)) : remote_tokens(t->remote);
}

sluice_status talk_snapshot(const struct talk *t, unsigned char **bytes, size_t *len, struct sluice_error *err) {
  if (t->remote != NULL) {
    return sluice_fail(err, SLUICE_UNSUPPORTED, "a remote talk has no snapshot: feed its recorded turns again");
  }
  return local_snapshot(t->local, bytes, len, err);
}

sluice_status talk_restore(struct talk *t, const unsigned char *bytes, size_t len, struct sluice_error *err) {
  if (t->remote != NULL) {
    return sluice_fail(err, SLUICE_UNSUPPORTED, "a remote talk has no snapshot: feed its recorded turns again");
  }
  return local_restore(t->local, bytes, len, err);
}
