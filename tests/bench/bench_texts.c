/* What the rules cost on texts of many kinds: `bench_texts [--policy NAME]... [--text NAME]... [--kb N]
 * [--no-prefilter] [DIR]`.
 *
 * Policies: "shipped", "gitleaks" (DIR/gitleaks.toml), "forms" (1,000 rules: gitleaks', DIR/en a line each, 160 forms
 * of numbers and codes without any fixed letter, made-up names). DIR: $SLUICE_DATA/rules, else build/data/rules. Texts,
 * made from a seed but for prose ($SLUICE_DATA/english_novels, else made too): prose, code, json, base64, csv,
 * languages, dense (lines of `name = "hex"`).
 *
 * Each text of N KB (1,024) is judged whole, as a prompt or an answer that does not stream, then as prompts of 4 KB,
 * then four bytes at a time; beside each Hyperscan over the same patterns and the same bytes (block mode, streaming
 * mode), which says where matches end and nothing else. Processor time, the best of three. A stop begins a new stream.
 */
#include <dirent.h>
#include <math.h>

#include "hyperscan_alone.h"
#include "judged_texts.h"
#include "made_rules.h"
#include "made_texts.h"

enum { PROMPT_BYTES = 4096 };

/* ---- Hyperscan alone ---- */

struct beside {
#ifdef SLUICE_HYPERSCAN
  hs_database_t *block, *stream;
  hs_scratch_t *scratch;
#endif
  double whole, prompts, tokens; /* seconds */
};

#ifdef SLUICE_HYPERSCAN
static void beside_open(struct beside *b, const struct monitor_policy *p) {
  size_t left_out;
  b->block = hyperscan_compile(p, HS_MODE_BLOCK, &left_out);
  b->stream = hyperscan_compile(p, HS_MODE_STREAM, &left_out);
  if (b->block) hs_alloc_scratch(b->block, &b->scratch);
  if (b->stream) hs_alloc_scratch(b->stream, &b->scratch);
}

static double time_block(const struct beside *b, struct slice text, size_t whole) {
  double best = NAN;
  uint64_t ends = 0;
  for (int run = 0; run < RUNS; run++) {
    const double began = cpu_seconds();
    for (size_t at = 0; at < text.len; at += whole)
      hs_scan(b->block, text.ptr + at, (unsigned)(text.len - at < whole ? text.len - at : whole), 0, b->scratch,
              hyperscan_count, &ends);
    best = fmin(best, cpu_seconds() - began);
  }
  return best;
}

static double time_stream(const struct beside *b, struct slice text) {
  double best = NAN;
  uint64_t ends = 0;
  hs_stream_t *stream = NULL;
  for (int run = 0; run < RUNS; run++) {
    const double began = cpu_seconds();
    if (hs_open_stream(b->stream, 0, &stream) != HS_SUCCESS) return NAN;
    for (size_t at = 0; at < text.len; at += TOKEN_BYTES)
      hs_scan_stream(stream, text.ptr + at, (unsigned)(text.len - at < TOKEN_BYTES ? text.len - at : TOKEN_BYTES), 0,
                     b->scratch, hyperscan_count, &ends);
    hs_close_stream(stream, b->scratch, NULL, NULL);
    best = fmin(best, cpu_seconds() - began);
  }
  return best;
}

static void beside_time(struct beside *b, struct slice text) {
  b->whole = b->block ? time_block(b, text, text.len) : NAN;
  b->prompts = b->block ? time_block(b, text, PROMPT_BYTES) : NAN;
  b->tokens = b->stream ? time_stream(b, text) : NAN;
}

static void beside_close(struct beside *b) {
  hs_free_scratch(b->scratch);
  hs_free_database(b->block);
  hs_free_database(b->stream);
}
#else
static void beside_open(struct beside *b, const struct monitor_policy *p) {
  (void)b, (void)p;
}
static void beside_time(struct beside *b, struct slice text) {
  (void)text;
  b->whole = b->prompts = b->tokens = NAN;
}
static void beside_close(struct beside *b) {
  (void)b;
}
#endif

/* ---- the table ---- */

static sluice_status row(struct monitor *m, struct beside *b, size_t kind, struct slice text,
                         struct sluice_error *err) {
  struct monitor_counts whole, prompts, tokens;
  double whole_s = 0, prompts_s = 0, tokens_s = 0, mb = (double)text.len / 1e6;
  sluice_status st = time_judge(m, text, text.len, text.len, &whole_s, &whole, err);
  if (!st) st = time_judge(m, text, PROMPT_BYTES, PROMPT_BYTES, &prompts_s, &prompts, err);
  if (!st) st = time_judge(m, text, text.len, TOKEN_BYTES, &tokens_s, &tokens, err);
  if (st) return st;
  beside_time(b, text);
  const double n_prompts = ceil((double)text.len / PROMPT_BYTES), n_tokens = (double)text.len / TOKEN_BYTES;
  printf("%-10s %7.1f %7.1f %6.2f  %8.1f %6.2f  %8.3f %8.3f %6.2f  %6.3f %6.2f  %llu/%llu/%llu\n",
         made_texts[kind].name, mb / whole_s, mb / b->whole, whole_s / b->whole, prompts_s * 1e6 / n_prompts,
         prompts_s / b->prompts, tokens_s * 1e6 / n_tokens, b->tokens * 1e6 / n_tokens, tokens_s / b->tokens,
         (double)tokens.pattern_runs / n_tokens, 100.0 * (double)tokens.pieces_held / (double)tokens.pieces,
         (unsigned long long)tokens.stops, (unsigned long long)tokens.masks, (unsigned long long)tokens.flags);
  fflush(stdout);
  return SLUICE_OK;
}

static sluice_status table(const char *name, const struct monitor_policy *p, double loading, const struct wanted *w,
                           struct sluice_error *err) {
  struct monitor *m = NULL;
  struct beside b = {0};
  struct buffer text;
  buffer_init(&text, 0);
  printf("\n%s: %zu rules, %.1f ms to load. Texts of %zu KB; x: times Hyperscan alone\n", name, monitor_policy_rules(p),
         loading * 1e3, w->kb);
  printf("%-10s %7s %7s %6s  %8s %6s  %8s %8s %6s  %6s %6s  %s\n", "text", "MB/s", "alone", "x", "us/4 KB", "x",
         "us/token", "alone", "x", "PCRE2", "held%", "stops/masks/flags");
  beside_open(&b, p);
  sluice_status st = monitor_open(p, NULL, NULL, &m, err);
  for (size_t k = 0; !st && k < MADE_TEXTS; k++) {
    if (!is_wanted(w->texts, w->n_texts, made_texts[k].name)) continue;
    st = made_text(k, w->kb << 10, &text, err);
    if (!st) st = row(m, &b, k, (struct slice){text.ptr, text.len}, err);
  }
  monitor_close(m);
  beside_close(&b);
  buffer_free(&text);
  return st;
}

static sluice_status measure(const char *name, const struct wanted *w, struct sluice_error *err) {
  struct monitor_policy *p = NULL;
  char *path = NULL, *json = NULL, *words = sluice_format("%s/en", w->dir);
  bool shipped = strcmp(name, "shipped") == 0;
  cJSON *root = shipped ? NULL : made_gitleaks(w->dir, err), *rules = cJSON_GetObjectItem(root, "rules");
  sluice_status st = !words || (!shipped && !root) ? SLUICE_INTERNAL : SLUICE_OK;
  if (!st && strcmp(name, "forms") == 0) {
    int gitleaks = cJSON_GetArraySize(rules);
    made_forms(rules, gitleaks + FORM_RULES);
    st = made_words(rules, words, err);
    if (!st) made_names(rules, ALL_RULES);
  }
  if (root && !st) json = cJSON_PrintUnformatted(root);
  if (shipped && !st) st = monitor_policy_default_path(&path, err);
  const double began = cpu_seconds();
  if (!st)
    st = shipped ? monitor_policy_load(path, &p, err) : monitor_policy_parse(name, NULL, slice_of(json), &p, err);
  const double loading = cpu_seconds() - began;
  if (!st && !w->unfiltered) {
    const double compiling = cpu_seconds();
    bool there = monitor_policy_compile_prefilter(p);
    printf("\nprefilter over %zu rules, %.0f ms to compile%s\n", monitor_policy_prefiltered(p),
           (cpu_seconds() - compiling) * 1e3, there ? "" : " (none)");
  }
  if (!st) st = table(name, p, loading, w, err);
  monitor_policy_free(p);
  cJSON_Delete(root);
  free(json);
  free(words);
  free(path);
  return st;
}

int main(int argc, char **argv) {
  static const char *const policies[] = {"shipped", "gitleaks", "forms"};
  struct sluice_error err = {0};
  struct wanted w = {.kb = 1024};
  sluice_status st = wanted_read(argc, argv, &w);
  for (size_t i = 0; !st && i < sizeof policies / sizeof *policies; i++)
    if (is_wanted(w.policies, w.n_policies, policies[i])) st = measure(policies[i], &w, &err);
  if (st) fprintf(stderr, "bench_texts: %s\n", err.message);
  free(w.dir);
  return st ? 1 : 0;
}
