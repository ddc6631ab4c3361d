/* What the rules cost a stream, text by text: `bench_streams [--policy NAME]... [--text NAME]... [--kb N] [--alone]
 * [--hostile] [DIR]`.
 *
 * Policies: "shipped", "gitleaks" (DIR/gitleaks.toml), "mixed" (1,000 rules: gitleaks', 250 of numbers, codes, hashes,
 * addresses without any literal, DIR/en a line each, made-up names), "forms" (160 forms alone). DIR:
 * $SLUICE_DATA/rules, else build/data/rules. Each text of N KB (256) comes four bytes at a time, as one stream.
 * Processor time, the best of three; --alone: Hyperscan's streaming mode over the same patterns beside it, which says
 * where matches end and nothing else. Printed too: PCRE2 runs a token, the share of pieces after which something
 * waited, bytes that waited on average and at most. A stop begins a new stream.
 *
 * --hostile: texts and rules that are as bad as we could make them, a megabyte each. */
#include <math.h>

#include "hyperscan_alone.h"
#include "judged_texts.h"
#include "made_rules.h"
#include "made_texts.h"

enum { BARE_RULES = 250 };

/* ---- Hyperscan alone ---- */

struct beside {
#ifdef SLUICE_HYPERSCAN
  hs_database_t *db;
  hs_scratch_t *scratch;
#endif
  size_t state;
};

#ifdef SLUICE_HYPERSCAN
static void beside_open(struct beside *b, const struct monitor_policy *p) {
  size_t left_out;
  b->db = hyperscan_compile(p, HS_MODE_STREAM, &left_out);
  if (!b->db) return;
  hs_alloc_scratch(b->db, &b->scratch);
  hs_stream_size(b->db, &b->state);
  printf("Hyperscan alone: %zu bytes a stream, %zu patterns left out\n", b->state, left_out);
}

static double beside_time(const struct beside *b, struct slice text) {
  double best = NAN;
  uint64_t ends = 0;
  hs_stream_t *stream = NULL;
  for (int run = 0; b->db && run < RUNS; run++) {
    const double began = cpu_seconds();
    if (hs_open_stream(b->db, 0, &stream) != HS_SUCCESS) return NAN;
    for (size_t at = 0; at < text.len; at += TOKEN_BYTES)
      hs_scan_stream(stream, text.ptr + at, (unsigned)(text.len - at < TOKEN_BYTES ? text.len - at : TOKEN_BYTES), 0,
                     b->scratch, hyperscan_count, &ends);
    hs_close_stream(stream, b->scratch, NULL, NULL);
    best = fmin(best, cpu_seconds() - began);
  }
  return best;
}

static void beside_close(struct beside *b) {
  hs_free_scratch(b->scratch);
  hs_free_database(b->db);
}
#else
static void beside_open(struct beside *b, const struct monitor_policy *p) {
  (void)b, (void)p;
  printf("Hyperscan alone: this build is without it\n");
}
static double beside_time(const struct beside *b, struct slice text) {
  (void)b, (void)text;
  return NAN;
}
static void beside_close(struct beside *b) {
  (void)b;
}
#endif

/* ---- the table ---- */

static void print_head(const struct wanted *w) {
  printf("%-14s %8s%s %7s %7s %6s %7s %6s  %s\n", "text", "us/token", w->alone ? "    alone      x" : "", "PCRE2",
         "held%", "mean", "max", "capped", "stops/masks/flags/not scanned");
}

static void print_row(const char *name, double us, double alone, const struct wanted *w,
                      const struct monitor_counts *c) {
  printf("%-14s %8.3f", name, us);
  if (w->alone) printf(" %8.3f %6.2f", alone, us / alone);
  printf(" %7.3f %7.2f %6.2f %7llu %6llu  %llu/%llu/%llu/%llu\n", (double)c->pattern_runs / (double)c->pieces,
         100.0 * (double)c->pieces_held / (double)c->pieces, (double)c->held_sum / (double)c->pieces,
         (unsigned long long)c->held_max, (unsigned long long)c->capped, (unsigned long long)c->stops,
         (unsigned long long)c->masks, (unsigned long long)c->flags, (unsigned long long)c->not_scanned);
  fflush(stdout);
}

static sluice_status table(const struct monitor_policy *p, const struct wanted *w, struct sluice_error *err) {
  struct monitor *m = NULL;
  struct beside b = {0};
  struct buffer text;
  buffer_init(&text, 0);
  if (w->alone) beside_open(&b, p);
  print_head(w);
  sluice_status st = monitor_open(p, NULL, NULL, &m, err);
  for (size_t k = 0; !st && k < MADE_TEXTS; k++) {
    struct monitor_counts counts;
    double seconds = 0;
    if (!is_wanted(w->texts, w->n_texts, made_texts[k].name)) continue;
    st = made_text(k, w->kb << 10, &text, err);
    const struct slice all = {text.ptr, text.len};
    if (!st) st = time_judge(m, all, all.len, TOKEN_BYTES, &seconds, &counts, err);
    const double tokens = (double)text.len / TOKEN_BYTES;
    if (!st) print_row(made_texts[k].name, seconds * 1e6 / tokens, beside_time(&b, all) * 1e6 / tokens, w, &counts);
  }
  monitor_close(m);
  beside_close(&b);
  buffer_free(&text);
  return st;
}

static sluice_status rules_named(const char *name, const struct wanted *w, cJSON **out, struct sluice_error *err) {
  char *words = sluice_format("%s/en", w->dir);
  cJSON *root = strcmp(name, "forms") == 0 ? made_empty() : made_gitleaks(w->dir, err);
  cJSON *rules = cJSON_GetObjectItem(root, "rules");
  sluice_status st = !words || !root ? SLUICE_INTERNAL : SLUICE_OK;
  int n = cJSON_GetArraySize(rules);
  if (!st && strcmp(name, "forms") == 0) made_forms(rules, FORM_RULES);
  if (!st && strcmp(name, "mixed") == 0) {
    made_bare(rules);
    made_forms(rules, n + BARE_RULES);
    st = made_words(rules, words, err);
    if (!st) made_names(rules, ALL_RULES);
  }
  *out = root;
  free(words);
  return st;
}

static sluice_status measure(const char *name, const struct wanted *w, struct sluice_error *err) {
  struct monitor_policy *p = NULL;
  char *path = NULL, *json = NULL;
  cJSON *root = NULL;
  bool shipped = strcmp(name, "shipped") == 0;
  sluice_status st = shipped ? monitor_policy_default_path(&path, err) : rules_named(name, w, &root, err);
  if (root && !st) json = cJSON_PrintUnformatted(root);
  const double began = cpu_seconds();
  if (!st)
    st = shipped ? monitor_policy_load(path, &p, err) : monitor_policy_parse(name, NULL, slice_of(json), &p, err);
  const double loaded = cpu_seconds();
  if (!st) monitor_policy_prepare(p);
  if (!st)
    printf("\n%s: %zu rules, %.0f ms to load, %.0f ms more to prepare. Streams of %zu KB\n", name,
           monitor_policy_rules(p), (loaded - began) * 1e3, (cpu_seconds() - loaded) * 1e3, w->kb);
  if (!st) st = table(p, w, err);
  monitor_policy_free(p);
  cJSON_Delete(root);
  free(json);
  free(path);
  return st;
}

/* ---- hostile ---- */

static const struct hostile {
  const char *name, *pattern, *text; /* the text repeats */
  int max_match, rules;              /* so many rules of this pattern */
} hostile[] = {
    {"nested", "(a+)+b", "a", 512, 1},
    {"span 64 KB", "a[^b]*b", "a", 65536, 1},
    {"span of pairs", "(?:ab)+c", "ab", 65536, 1},
    {"late miss", "[a-z]{400}\\d", "abcdefgh", 512, 1},
    {"late, 64 KB", "[a-z]{30000}\\d", "abcdefgh", 65536, 1},
    {"200 open", "\\b[a-z]+(?:-[a-z]+)*@x", "abc-", 512, 200},
    {"every start", "[a-z]*[a-z]*[a-z]*\\d", "abc", 256, 1},
    {"words", "\\w+\\s\\w+\\s\\w+\\s\\d", "ab ", 512, 10},
    {"capped", "x.*y", "x", 2048, 4},
    {"lookahead", "(?=.{1,200}z)a", "a", 512, 1},
    {"matches", "a{1,500}", "a", 512, 4},
};

static sluice_status hostile_row(const struct hostile *h, const struct wanted *w, struct buffer *text,
                                 struct sluice_error *err) {
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  struct monitor_counts counts = {0};
  cJSON *root = made_empty(), *rules = cJSON_GetObjectItem(root, "rules");
  for (int i = 0; i < h->rules; i++) made_capped(rules, h->pattern, h->max_match);
  char *json = cJSON_PrintUnformatted(root);
  sluice_status st = json ? monitor_policy_parse("hostile", NULL, slice_of(json), &p, err) : SLUICE_NOMEM;
  buffer_clear(text);
  while (!st && text->len < w->kb << 10) st = buffer_append_str(text, h->text, err);
  if (!st) st = monitor_open(p, NULL, NULL, &m, err);
  const double began = cpu_seconds();
  if (!st) st = judge(m, (struct slice){text->ptr, text->len}, TOKEN_BYTES, &counts, err);
  if (!st) print_row(h->name, (cpu_seconds() - began) * 1e6 * TOKEN_BYTES / (double)text->len, NAN, w, &counts);
  monitor_close(m);
  monitor_policy_free(p);
  cJSON_Delete(root);
  free(json);
  return st;
}

static sluice_status measure_hostile(const struct wanted *w, struct sluice_error *err) {
  struct buffer text;
  sluice_status st = SLUICE_OK;
  buffer_init(&text, 0);
  print_head(w);
  for (size_t i = 0; !st && i < sizeof hostile / sizeof *hostile; i++)
    if (is_wanted(w->texts, w->n_texts, hostile[i].name)) st = hostile_row(&hostile[i], w, &text, err);
  buffer_free(&text);
  return st;
}

int main(int argc, char **argv) {
  static const char *const policies[] = {"gitleaks", "shipped", "mixed", "forms"};
  struct sluice_error err = {0};
  struct wanted w = {.kb = 256};
  sluice_status st = wanted_read(argc, argv, &w);
  if (!st && w.hostile) st = measure_hostile(&w, &err);
  for (size_t i = 0; !st && !w.hostile && i < sizeof policies / sizeof *policies; i++)
    if (is_wanted(w.policies, w.n_policies, policies[i])) st = measure(policies[i], &w, &err);
  if (st) fprintf(stderr, "bench_streams: %s\n", err.message);
  free(w.dir);
  return st ? 1 : 0;
}
