/* A synthetic ledger for tests of what reads one: eight cache policies over five benchmarks, answers drawn from fixed
 * probabilities. Made through ledger.h and plain SQL, so that a report's numbers can be checked against other SQL. */
#ifndef SLUICE_TESTS_LEDGER_FIXTURE_H
#define SLUICE_TESTS_LEDGER_FIXTURE_H

#include "ledger/ledger.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
  int dialogues; /* a cell */
  int runs;      /* 2: a second run, a little worse under sirllm; the first is the baseline "blessed" */
  bool hostile;  /* one dialogue holds markup, control characters, bidi marks and invalid UTF-8 */
  bool troubled; /* errors, truncations, refusals, a missing dialogue */
};

#define HOSTILE_TEXT                                                                                                   \
  "</script><img src=x onerror=alert(1)>\xe2\x80\xae"                                                                  \
  "drow\x01\xff <b>&amp;"

struct fixture_policy {
  const char *name, *full;
  double ability; /* 1: as with a full cache */
  double share;   /* of the dialogue's bytes */
};
static const struct fixture_policy fixture_policies[] = {
    {"full", "full", 1.00, 1.00},
    {"recompute:budget=25%", "recompute:budget=96", 0.42, 0.25},
    {"window:budget=25%", "window:budget=96", 0.05, 0.25},
    {"streaming:budget=25%", "streaming:sinks=4,recent=92", 0.36, 0.25},
    {"sirllm:budget=25%,mode=paper", "sirllm:sinks=4,entropy=92,mode=paper", 0.86, 0.25},
    {"sirllm:budget=25%,mode=repo", "sirllm:sinks=4,entropy=92,mode=repo", 0.70, 0.25},
    {"random:budget=25%", "random:sinks=4,budget=92", 0.48, 0.25},
    {"interval:budget=25%", "interval:sinks=4,budget=92", 0.22, 0.25},
};
enum { FIXTURE_POLICIES = sizeof fixture_policies / sizeof fixture_policies[0] };
static const char *const fixture_benchmarks[][2] = {
    {"grocery", "grocery:depth=random,seed=7,turns=12"},
    {"next", "dialogue:seed=7"},
    {"lines", "streameval:seed=7"},
    {"rps", "rps:player=rock,seed=7"},
    {"story", "story:seed=7"},
};
static const char *const fixture_items[] = {"salt", "tea", "rice", "milk", "flour", "honey", "butter", "apples"};

static struct sluice_error fixture_error;
#define MUST(call)                                                                                                     \
  do {                                                                                                                 \
    if ((call) != SLUICE_OK) fail_msg("%s: %s", #call, fixture_error.message);                                         \
  } while (0)

struct fixture_state {
  struct ledger *l;
  const struct fixture *f;
  struct rng rng;
  int64_t engine, host, invocation, scorer_choice, scorer_contest, scorer_nll, trivial[3];
  int run;
  char run_id[LEDGER_RUN_ID];
};

static void fixture_blob(struct fixture_state *s, const char *text, unsigned char hash[32]) {
  MUST(ledger_put_blob(s->l, slice_of(text), hash, &fixture_error));
}

static void fixture_uid(int benchmark, int dialogue, unsigned char uid[32]) {
  char name[40];
  snprintf(name, sizeof name, "%d/%d", benchmark, dialogue);
  sha256(name, strlen(name), uid);
}

static void fixture_turn(struct fixture_state *s, const unsigned char *uid, int turn, const char *role,
                         const char *task, const char *metric, const char *text, const char *choices, int answer,
                         int tie, const char *expected, int distance) {
  unsigned char blob[32];
  fixture_blob(s, text, blob);
  MUST(ledger_run(
      s->l,
      "INSERT OR IGNORE INTO sample_turn(sample_uid, turn_no, role, task, metric, text, choices, answer, tie, "
      "expected, distance, gold_in_context) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,1)",
      LEDGER_VALUES(lv_hash(uid), lv_int(turn), lv_text(role), lv_text(task), lv_text(metric), lv_hash(blob),
                    lv_text(choices), lv_int_or_null(answer, answer >= 0), lv_int_or_null(tie, tie >= 0),
                    lv_text(expected), lv_int_or_null(distance, distance >= 0)),
      &fixture_error));
}

static const char fixture_choices[] = "[{\"label\":\"A\",\"text\":\" salt\"},{\"label\":\"B\",\"text\":\" tea\"},"
                                      "{\"label\":\"C\",\"text\":\" rice\"},{\"label\":\"D\",\"text\":\" milk\"}]";
static const char fixture_moves[] = "[{\"label\":null,\"text\":\" rock\"},{\"label\":null,\"text\":\" "
                                    "paper\"},{\"label\":null,\"text\":\" scissors\"}]";

/* Turns of dialogue d: scored ones have odd numbers. Returns how many turns there are. */
static int fixture_sample(struct fixture_state *s, int benchmark, int d, unsigned char uid[32]) {
  char ext[64], text[1024];
  fixture_uid(benchmark, d, uid);
  snprintf(ext, sizeof ext, "%s/7/%06d", fixture_benchmarks[benchmark][0], d);
  int turns = benchmark == 4 ? 1 : benchmark == 3 ? 24 : benchmark == 1 ? 2 : 8;
  MUST(ledger_run(s->l, "INSERT OR IGNORE INTO sample(uid, ext_id, cluster, n_turns, n_scored) VALUES(?1,?2,?2,?3,?4)",
                  LEDGER_VALUES(lv_hash(uid), lv_text(ext), lv_int(turns), lv_int(turns / 2 + turns % 2)),
                  &fixture_error));
  struct rng rng;
  rng_seed_named(&rng, (uint64_t)d, ext);
  for (int t = 0; t + 1 < turns; t += 2) {
    const char *item = fixture_items[rng_below(&rng, 8)];
    bool last = t + 2 == turns;
    int distance = (int)rng_below(&rng, 40) + 1, answer = (int)rng_below(&rng, benchmark == 3 ? 3 : 4);
    if (benchmark == 0)
      snprintf(text, sizeof text,
               last ? "Which of these did I ask you to buy? (A) salt (B) tea (C) rice (D) milk"
                    : "Please remember the %s. Where do people keep %s at home?",
               item, item);
    else if (benchmark == 1)
      snprintf(text, sizeof text, "I went to the market for %s today, and it rained all the way home.", item);
    else if (benchmark == 2)
      snprintf(text, sizeof text, "line %d: the %s weighs %d grams. What did line %d say?", t + 20, item, 100 + t, t);
    else
      snprintf(text, sizeof text, "Round %d. You choose:", t / 2 + 1);
    if (s->f->hostile && d == 0 && t == 0) snprintf(text, sizeof text, "%s", HOSTILE_TEXT);
    fixture_turn(s, uid, t, "user", "feed", NULL, text, NULL, -1, -1, NULL, -1);
    if (benchmark == 2)
      fixture_turn(s, uid, t + 1, "bot", "generate", "recall", "It said", NULL, -1, -1, item, distance);
    else if (benchmark == 3)
      fixture_turn(s, uid, t + 1, "bot", "choose", "rps", "", fixture_moves, (answer + 1) % 3, answer, NULL, -1);
    else
      fixture_turn(s, uid, t + 1, "bot", "choose",
                   benchmark == 1 ? "next"
                   : last         ? "acc_g"
                                  : "acc_c",
                   "The answer is", fixture_choices, answer, -1, NULL, last && benchmark == 0 ? distance : -1);
  }
  if (benchmark == 4) {
    memset(text, 0, sizeof text);
    for (int i = 0; i < 18; i++) strcat(text, "The miller walked to the town before the rain. ");
    fixture_turn(s, uid, 0, "bot", "text", "perplexity", text, NULL, -1, -1, NULL, -1);
  }
  return turns;
}

static void fixture_score(struct fixture_state *s, int64_t attempt, int turn, int64_t scorer, const char *metric,
                          double value, double weight, const char *label) {
  MUST(ledger_run(s->l,
                  "INSERT INTO score(attempt_id, turn_no, scorer_id, metric, value, weight, label, reason) "
                  "VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
                  LEDGER_VALUES(lv_int(attempt), lv_int(turn), lv_int(scorer), lv_text(metric), lv_real_or_null(value),
                                lv_real(weight), lv_text(label), lv_text("synthetic")),
                  &fixture_error));
}

static void fixture_nll(struct fixture_state *s, int64_t attempt, double ability, double *sum, int *tokens) {
  *sum = 0;
  *tokens = 0;
  for (int i = 0; i < 24; i++) {
    int start = i == 0 ? 0 : (int)floor(16 * pow(2, (i - 1) / 2.0) + 0.5);
    int end = (int)floor(16 * pow(2, i / 2.0) + 0.5);
    if (start >= 4096) break;
    double per = 1.2 + 0.5 / (1 + i) + (start >= 96 ? 2.4 * pow(1 - ability, 6) : 0) + 0.1 * rng_double(&s->rng);
    MUST(ledger_run(s->l,
                    "INSERT INTO nll_bucket(attempt_id, turn_no, start, width, tokens, nats) VALUES(?1,0,?2,?3,?3,?4)",
                    LEDGER_VALUES(lv_int(attempt), lv_int(start), lv_int(end - start), lv_real(per * (end - start))),
                    &fixture_error));
    *sum += per * (end - start);
    *tokens += end - start;
  }
}

struct fixture_played {
  int64_t attempt;
  int benchmark, turn;
  const unsigned char *uid;
  double ability;
  const char *state;
};

/* One scored turn: draws whether it is right, writes the turn and its score. */
static void fixture_answer(struct fixture_state *s, const struct fixture_played *p, const unsigned char *message) {
  int64_t answer = 0, tie = -1, distance = 0;
  MUST(ledger_query_int(s->l, "SELECT answer FROM sample_turn WHERE sample_uid = ?1 AND turn_no = ?2",
                        LEDGER_VALUES(lv_hash(p->uid), lv_int(p->turn)), -1, &answer, &fixture_error));
  MUST(ledger_query_int(s->l, "SELECT tie FROM sample_turn WHERE sample_uid = ?1 AND turn_no = ?2",
                        LEDGER_VALUES(lv_hash(p->uid), lv_int(p->turn)), -1, &tie, &fixture_error));
  MUST(ledger_query_int(s->l, "SELECT distance FROM sample_turn WHERE sample_uid = ?1 AND turn_no = ?2",
                        LEDGER_VALUES(lv_hash(p->uid), lv_int(p->turn)), 8, &distance, &fixture_error));
  double fade = pow(p->ability, 0.3 + (double)distance / 14), floor_ = p->benchmark == 3 ? 0.33 : 0.25;
  double chance = p->benchmark == 3 ? 0.36 + 0.16 * p->ability : floor_ + (0.97 - floor_) * fade;
  int n = p->benchmark == 3 ? 3 : 4;
  bool right = rng_double(&s->rng) < chance, generated = p->benchmark == 2;
  int64_t chosen = right ? answer : (answer + 1 + (int64_t)rng_below(&s->rng, (uint32_t)n - 1)) % n;
  unsigned char output[32];
  bool hostile = s->f->hostile && p->turn == 1;
  fixture_blob(s,
               hostile ? HOSTILE_TEXT
               : right ? " the item that was asked for."
                       : " something else, at length.",
               output);
  MUST(ledger_run(
      s->l,
      "INSERT INTO turn(attempt_id, turn_no, state, finish, message_hash, output, chosen, committed, position, "
      "kv_held, kv_peak, prompt_tokens, output_tokens, start_ns, first_ns, end_ns) "
      "VALUES(?1,?2,?3,'stop',?4,?5,?6,?6,?7,1000,2000,?8,?9,?10,?11,?12)",
      LEDGER_VALUES(lv_int(p->attempt), lv_int(p->turn), lv_text(p->state), lv_hash(message),
                    generated ? lv_hash(output) : lv_null(), generated ? lv_null() : lv_int(chosen),
                    lv_int(40 * p->turn), lv_int(38), generated ? lv_int(7) : lv_null(), lv_int(1000000LL * p->turn),
                    generated ? lv_int(1000000LL * p->turn + 3100000) : lv_null(),
                    lv_int(1000000LL * p->turn + 9200000 + rng_below(&s->rng, 900000))),
      &fixture_error));
  const char *metrics[] = {p->turn == 7 ? "acc_g" : "acc_c", "next", "recall", "rps"};
  const char *label = p->benchmark == 3 ? (right ? "win" : chosen == tie ? "tie" : "lose") : right ? "right" : "wrong";
  if (!strcmp(p->state, "refused"))
    fixture_score(s, p->attempt, p->turn, s->scorer_choice, metrics[p->benchmark], NAN, 1, "unscored");
  else
    fixture_score(s, p->attempt, p->turn, p->benchmark == 3 ? s->scorer_contest : s->scorer_choice,
                  metrics[p->benchmark], right ? 1 : 0, 1, label);
}

static void fixture_trivial(struct fixture_state *s, int benchmark, int64_t attempt, int turn) {
  const char *metrics[] = {turn == 7 ? "acc_g" : "acc_c", "next", "recall", "rps"};
  if (benchmark == 2 || benchmark == 4) return;
  double chance = benchmark == 3 ? 1.0 / 3 : 0.25;
  double value = benchmark == 3 ? (turn % 4 == 1) : (attempt + turn) % 10 < 3 ? 1 : 0;
  for (int i = 0; i < 2; i++)
    MUST(ledger_run(s->l,
                    "INSERT OR IGNORE INTO trivial_score(attempt_id, turn_no, scorer_id, metric, value) "
                    "VALUES(?1,?2,?3,?4,?5)",
                    LEDGER_VALUES(lv_int(attempt), lv_int(turn),
                                  lv_int(s->trivial[i == 0           ? 0
                                                    : benchmark == 3 ? 2
                                                                     : 1]),
                                  lv_text(metrics[benchmark]), lv_real(i == 0 ? chance : value)),
                    &fixture_error));
}

static void fixture_attempt(struct fixture_state *s, int64_t cell, int policy, int benchmark, int d) {
  unsigned char uid[32], message[32], out[32];
  int turns = fixture_sample(s, benchmark, d, uid);
  const struct fixture_policy *p = &fixture_policies[policy];
  int64_t begun = 1790000000000000000LL + s->run * 86400000000000LL;
  MUST(ledger_run(s->l,
                  "INSERT INTO attempt(cell_id, ordinal, attempt_no, sample_uid, invocation_id, started_ns) "
                  "VALUES(?1,?2,1,?3,?4,?5)",
                  LEDGER_VALUES(lv_int(cell), lv_int(d), lv_hash(uid), lv_int(s->invocation), lv_int(begun)),
                  &fixture_error));
  int64_t attempt = ledger_last_id(s->l);
  bool error = s->f->troubled && policy == 1 && benchmark == 0 && d < 2;
  MUST(ledger_put_message(s->l, NULL, 0, "user", slice_of("x"), message, &fixture_error));
  double ability = p->ability - (s->run == 1 && policy == 4 ? 0.35 : 0);
  for (int t = 1; t < turns && !error; t += 2) {
    bool odd = s->f->troubled && benchmark == 2 && policy == 2 && t == 3;
    struct fixture_played played = {attempt, benchmark, t,
                                    uid,     ability,   odd ? d % 2 ? "refused" : "truncated" : "done"};
    fixture_answer(s, &played, message);
    fixture_trivial(s, benchmark, attempt, t);
  }
  if (benchmark == 4) {
    double nats;
    int tokens;
    fixture_nll(s, attempt, ability, &nats, &tokens);
    MUST(ledger_run(
        s->l,
        "INSERT INTO turn(attempt_id, turn_no, state, finish, message_hash, nats, nats_tokens, position, kv_held, "
        "kv_peak, start_ns, end_ns) VALUES(?1,0,'done','stop',?2,?3,?4,?4,1000,2000,0,5000000)",
        LEDGER_VALUES(lv_int(attempt), lv_hash(message), lv_real(nats), lv_int(tokens)), &fixture_error));
    fixture_score(s, attempt, 0, s->scorer_nll, "perplexity", nats / tokens, tokens, NULL);
  }
  sha256(&attempt, sizeof attempt, out);
  int64_t peak = (int64_t)(p->share * (benchmark == 4 ? 4096 : 384)) * 2048 + d % 3 * 512;
  MUST(ledger_run(
      s->l,
      "INSERT INTO attempt_end(attempt_id, state, error_class, error, message_hash, out_hash, tokens, kv_held, "
      "kv_peak, resumed, ended_ns) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?8,0,?9)",
      LEDGER_VALUES(lv_int(attempt), lv_text(error ? "error" : "done"), lv_text(error ? "network" : NULL),
                    lv_text(error ? "the server closed the connection after 3 retries" : NULL), lv_hash(message),
                    lv_hash(out), lv_int(384), lv_int(peak), lv_int(begun + 90000000 + 1000000 * d)),
      &fixture_error));
}

static void fixture_cell(struct fixture_state *s, int policy, int benchmark, int ordinal) {
  unsigned char hash[32];
  char spec[160];
  int64_t dataset;
  const struct fixture_policy *p = &fixture_policies[policy];
  snprintf(spec, sizeof spec, "{\"policy\":\"%s\",\"benchmark\":\"%s\"}", p->full, fixture_benchmarks[benchmark][1]);
  sha256(spec, strlen(spec), hash);
  MUST(ledger_run(s->l, "INSERT OR IGNORE INTO spec(hash, json) VALUES(?1, ?2)",
                  LEDGER_VALUES(lv_hash(hash), lv_text(spec)), &fixture_error));
  MUST(ledger_put_dataset(s->l, fixture_benchmarks[benchmark][1], fixture_benchmarks[benchmark][0], s->f->dialogues,
                          "Apache-2.0", &dataset, &fixture_error));
  MUST(ledger_run(
      s->l,
      "INSERT INTO cell(run_id, ordinal, spec_hash, engine_id, engine, policy, policy_full, monitor, benchmark, "
      "dataset_id, seed, n_planned) VALUES(?1,?2,?3,?4,'embedded',?5,?6,'none',?7,?8,7,?9)",
      LEDGER_VALUES(lv_text(s->run_id), lv_int(ordinal), lv_hash(hash), lv_int(s->engine), lv_text(p->name),
                    lv_text(p->full), lv_text(fixture_benchmarks[benchmark][0]), lv_int(dataset),
                    lv_int(s->f->dialogues)),
      &fixture_error));
  int64_t cell = ledger_last_id(s->l);
  bool missing = s->f->troubled && policy == 7 && benchmark == 1;
  for (int d = 0; d < s->f->dialogues - missing; d++) fixture_attempt(s, cell, policy, benchmark, d);
}

static void fixture_run(struct fixture_state *s, int run) {
  s->run = run;
  rng_seed(&s->rng, 100 + (uint64_t)run);
  snprintf(s->run_id, sizeof s->run_id, "01KA%022d", run + 1);
  unsigned char plan[32];
  sha256("plan", 4, plan);
  MUST(ledger_run(s->l,
                  "INSERT INTO run(id, plan_hash, suite, suite_json, tool_version, started_ns) VALUES(?1,?2,'demo',"
                  "'{\"name\":\"demo\",\"gate\":{\"margin\":0.05}}','0.1.0',?3)",
                  LEDGER_VALUES(lv_text(s->run_id), lv_hash(plan), lv_int(1790000000000000000LL + run)),
                  &fixture_error));
  MUST(ledger_run(s->l,
                  "INSERT INTO invocation(run_id, host_id, tool_version, argv, started_ns) VALUES(?1,?2,'0.1.0',"
                  "'sluice run demo.json --ledger demo.db', 1790000000000000000)",
                  LEDGER_VALUES(lv_text(s->run_id), lv_int(s->host)), &fixture_error));
  s->invocation = ledger_last_id(s->l);
  for (int b = 0; b < 5; b++)
    for (int p = 0; p < FIXTURE_POLICIES; p++) fixture_cell(s, p, b, b * FIXTURE_POLICIES + p);
}

static void fixture_make(const char *path, const struct fixture *f) {
  struct fixture_state s = {.f = f};
  unlink(path);
  MUST(ledger_open(path, LEDGER_CREATE, NULL, &s.l, &fixture_error));
  MUST(ledger_begin(s.l, &fixture_error));
  MUST(ledger_put_engine(s.l,
                         "{\"kind\":\"local\",\"model\":\"embedded\",\"weights_sha256\":\"9f2c\",\"kernel\":\"avx2\"}",
                         &s.engine, &fixture_error));
  MUST(ledger_run(s.l, "INSERT INTO host(hash, json) VALUES(?1, '{\"cpu\":\"synthetic\",\"processors\":2}')",
                  LEDGER_VALUES(lv_hash((const unsigned char *)"01234567890123456789012345678901")), &fixture_error));
  s.host = ledger_last_id(s.l);
  MUST(ledger_put_scorer(s.l, "choice", 1, "rule=sum", "metric", &s.scorer_choice, &fixture_error));
  MUST(ledger_put_scorer(s.l, "contest", 1, "rule=sum", "metric", &s.scorer_contest, &fixture_error));
  MUST(ledger_put_scorer(s.l, "perplexity", 1, "", "metric", &s.scorer_nll, &fixture_error));
  MUST(ledger_put_scorer(s.l, "chance", 1, "", "trivial", &s.trivial[0], &fixture_error));
  MUST(ledger_put_scorer(s.l, "longest", 1, "", "trivial", &s.trivial[1], &fixture_error));
  MUST(ledger_put_scorer(s.l, "counting", 1, "", "trivial", &s.trivial[2], &fixture_error));
  for (int run = 0; run < f->runs; run++) fixture_run(&s, run);
  if (f->runs > 1)
    MUST(ledger_run(
        s.l, "INSERT INTO baseline(name, run_id, set_ns, set_by) VALUES('blessed', ?1, 1790000000000000000, 'me')",
        LEDGER_VALUES(lv_text("01KA0000000000000000000001")), &fixture_error));
  MUST(ledger_commit(s.l, &fixture_error));
  MUST(ledger_close(s.l, &fixture_error));
}

#endif
