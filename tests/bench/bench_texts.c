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
#include <time.h>

#include "hyperscan_alone.h"
#include "made_rules.h"
#include "monitor/policy.h"

enum { TOKEN_BYTES = 4, PROMPT_BYTES = 4096, RUNS = 3, FORM_RULES = 160, ALL_RULES = 1000, NAMES_MAX = 16 };

/* ---- texts ---- */

struct text_kind {
  const char *name;
  sluice_status (*line)(struct rng *rng, struct buffer *out, struct sluice_error *err);
};

static const char *pick(struct rng *rng, const char *const *words, size_t n) {
  return words[rng_below(rng, (uint32_t)n)];
}
#define PICK(rng, words) pick(rng, words, sizeof words / sizeof *words)

static sluice_status digits_of(struct rng *rng, const char *alphabet, unsigned n, struct buffer *out,
                               struct sluice_error *err) {
  char bytes[128];
  uint32_t size = (uint32_t)strlen(alphabet);
  for (unsigned i = 0; i < n; i++) bytes[i] = alphabet[rng_below(rng, size)];
  return buffer_append(out, bytes, n, err);
}

static sluice_status prose_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const starts[] = {"The harbour was quiet", "He took the rope from her hands",
                                       "Rain had been falling", "A single lamp was burning",
                                       "\"You are late,\" said the old man"};
  static const char *const ends[] = {" when the last boat came in. ", " without another word; ", " since noon. ",
                                     " in the customs house, and nobody spoke. ", ".\n\n"};
  const char *start = PICK(rng, starts);
  return buffer_printf(out, err, "%s%s", start, PICK(rng, ends));
}

static sluice_status code_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const names[] = {"state",        "token_end", "n_keys", "buffer",
                                      "password_len", "at",        "offset", "secret"};
  const char *a = PICK(rng, names), *b = PICK(rng, names), *c = PICK(rng, names);
  switch (rng_below(rng, 5)) {
  case 0:
    return buffer_printf(out, err, "  if (%s->%s < %u) return fail(err, \"%s: no memory for %%zu bytes\", %s);\n", a, b,
                         rng_below(rng, 4096), c, a);
  case 1:
    return buffer_printf(out, err, "  for (size_t i = 0; i < %s->n; i++) %s[i] = (uint8_t)(%s >> %u & 0xff);\n", a, b,
                         c, 8 * rng_below(rng, 4));
  case 2:
    return buffer_printf(out, err, "static const uint32_t %s_%s[] = {0x%08x, 0x%08x, %u};\n", a, b,
                         (uint32_t)rng_u64(rng), (uint32_t)rng_u64(rng), rng_below(rng, 100000));
  case 3:
    return buffer_printf(out, err, "  memcpy(%s + %s, %s, sizeof *%s); /* whole rows only, see %s() */\n", a, b, c, a,
                         b);
  default:
    return buffer_printf(out, err, "}\n\n/* The %s of a %s. */\nstatic int %s_of(const struct %s *%s) {\n", a, b, a, b,
                         c);
  }
}

static sluice_status json_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const levels[] = {"info", "info", "debug", "warn", "error"};
  static const char *const what[] = {"request done", "connection reset by peer", "cache miss", "retry scheduled"};
  const char *level = PICK(rng, levels);
  sluice_status st = buffer_printf(
      out, err, "{\"ts\":\"2026-03-%02uT%02u:%02u:%02u.%06uZ\",\"level\":\"%s\",\"msg\":\"%s\",\"status\":%u,",
      1 + rng_below(rng, 28), rng_below(rng, 24), rng_below(rng, 60), rng_below(rng, 60), rng_below(rng, 1000000),
      level, PICK(rng, what), 200 + rng_below(rng, 304));
  if (!st)
    st = buffer_printf(out, err, "\"latency_ms\":%u.%03u,\"peer\":\"10.%u.%u.%u:%u\",\"trace\":\"", rng_below(rng, 900),
                       rng_below(rng, 1000), rng_below(rng, 256), rng_below(rng, 256), rng_below(rng, 256),
                       1024 + rng_below(rng, 60000));
  if (!st) st = digits_of(rng, "0123456789abcdef", 32, out, err);
  return st ? st : buffer_append_str(out, "\"}\n", err);
}

static sluice_status base64_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  sluice_status st = digits_of(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 76, out, err);
  return st ? st : buffer_append_str(out, "\n", err);
}

static sluice_status csv_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_printf(out, err, "%u", 100000 + rng_below(rng, 900000));
  for (int i = 0; i < 8 && !st; i++)
    st = i % 2 ? buffer_printf(out, err, ",%u.%02u", rng_below(rng, 10000), rng_below(rng, 100))
               : buffer_printf(out, err, ",%u", rng_below(rng, 1u << (8 + i)));
  return st ? st : buffer_append_str(out, "\n", err);
}

static sluice_status languages_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const lines[] = {
      /* clang-format off: it counts wide characters twice */
      "昨夜はずっと雨が降っていて、港には誰もいなかった。",
      "最后一班船进港的时候，码头上静悄悄的。\n",
      "كان الميناء هادئا عندما وصل القارب الأخير. ",
      "Der Regen fällt seit Mittag; über den Dächern hängt Nebel. ",
      "Гавань была тиха, когда пришла последняя лодка. ",
      "부두에는 아무도 없었고 비만 내리고 있었다. ",
      "Le café était fermé, et l’été déjà loin… ",
      "हवा चल रही थी और नाव धीरे-धीरे आ रही थी। ",
      "👩‍🚀🚀✨ yes!! 🎉🎉 ",
      "Το λιμάνι ήταν ήσυχο. ",
      "The harbour was quiet. ",
      /* clang-format on */
  };
  return buffer_append_str(out, PICK(rng, lines), err);
}

static sluice_status dense_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const names[] = {"api_key",    "session", "client_secret", "checksum",
                                      "auth_token", "commit",  "access"};
  sluice_status st = buffer_printf(out, err, "%s = \"", PICK(rng, names));
  if (!st) st = digits_of(rng, "0123456789abcdef", 32, out, err);
  return st ? st : buffer_append_str(out, "\"\n", err);
}

static const struct text_kind kinds[] = {
    {"prose", prose_line}, {"code", code_line},           {"json", json_line},   {"base64", base64_line},
    {"csv", csv_line},     {"languages", languages_line}, {"dense", dense_line},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static sluice_status read_novels(struct buffer *out, size_t bytes, struct sluice_error *err) {
  const char *dir = getenv("SLUICE_DATA");
  char *path = sluice_format("%s/english_novels/Gaskell_Wives_1865.txt", dir && dir[0] ? dir : "build/data"),
       *text = NULL;
  size_t len = 0;
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "no memory for a path");
  sluice_status st = file_exists(path) ? file_read(path, MADE_FILE_BYTES, &text, &len, err) : SLUICE_OK;
  while (!st && len && out->len < bytes)
    st = buffer_append(out, text, len < bytes - out->len ? len : bytes - out->len, err);
  free(text);
  free(path);
  return st;
}

static sluice_status make_text(size_t kind, size_t bytes, struct buffer *out, struct sluice_error *err) {
  struct rng rng;
  rng_seed(&rng, 7);
  buffer_clear(out);
  sluice_status st = kind == 0 ? read_novels(out, bytes, err) : SLUICE_OK;
  while (!st && out->len < bytes) st = kinds[kind].line(&rng, out, err);
  return st;
}

/* ---- ours ---- */

/* Processor time: the same on a machine that does other work too. */
static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* One text in pieces of `piece` bytes, ended. */
static sluice_status judge(struct monitor *m, struct slice text, size_t piece, struct monitor_counts *sum,
                           struct sluice_error *err) {
  struct monitor_stream *s = NULL;
  struct monitor_verdict v = {0};
  sluice_status st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  for (size_t at = 0; !st && at < text.len; at += piece) {
    st = monitor_push(s, (struct slice){text.ptr + at, text.len - at < piece ? text.len - at : piece}, &v, err);
    if (!st) monitor_forget(s, v.released);
    if (st || !v.stop) continue;
    monitor_counts_add(sum, monitor_stream_counts(s));
    monitor_stream_close(s);
    st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  }
  if (!st) st = monitor_settle(s, &v, err);
  if (!st) monitor_counts_add(sum, monitor_stream_counts(s));
  monitor_stream_close(s);
  return st;
}

/* Texts of `whole` bytes in pieces of `piece`. *seconds: the best run. */
static sluice_status time_ours(struct monitor *m, struct slice text, size_t whole, size_t piece, double *seconds,
                               struct monitor_counts *sum, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (int run = 0; run < RUNS && !st; run++) {
    *sum = (struct monitor_counts){0};
    const double began = cpu_seconds();
    for (size_t at = 0; at < text.len && !st; at += whole)
      st = judge(m, (struct slice){text.ptr + at, text.len - at < whole ? text.len - at : whole}, piece, sum, err);
    const double took = cpu_seconds() - began;
    if (run == 0 || took < *seconds) *seconds = took;
  }
  return st;
}

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

struct wanted {
  const char *policies[NAMES_MAX], *texts[NAMES_MAX];
  int n_policies, n_texts;
  size_t kb;
  bool unfiltered;
  char *dir;
};

static bool is_wanted(const char *const *names, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(names[i], name) == 0) return true;
  return n == 0;
}

static sluice_status row(struct monitor *m, struct beside *b, size_t kind, struct slice text,
                         struct sluice_error *err) {
  struct monitor_counts whole, prompts, tokens;
  double whole_s = 0, prompts_s = 0, tokens_s = 0, mb = (double)text.len / 1e6;
  sluice_status st = time_ours(m, text, text.len, text.len, &whole_s, &whole, err);
  if (!st) st = time_ours(m, text, PROMPT_BYTES, PROMPT_BYTES, &prompts_s, &prompts, err);
  if (!st) st = time_ours(m, text, text.len, TOKEN_BYTES, &tokens_s, &tokens, err);
  if (st) return st;
  beside_time(b, text);
  const double n_prompts = ceil((double)text.len / PROMPT_BYTES), n_tokens = (double)text.len / TOKEN_BYTES;
  printf("%-10s %7.1f %7.1f %6.2f  %8.1f %6.2f  %8.3f %8.3f %6.2f  %6.3f %6.2f  %llu/%llu/%llu\n", kinds[kind].name,
         mb / whole_s, mb / b->whole, whole_s / b->whole, prompts_s * 1e6 / n_prompts, prompts_s / b->prompts,
         tokens_s * 1e6 / n_tokens, b->tokens * 1e6 / n_tokens, tokens_s / b->tokens,
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
  for (size_t k = 0; !st && k < KINDS; k++) {
    if (!is_wanted(w->texts, w->n_texts, kinds[k].name)) continue;
    st = make_text(k, w->kb << 10, &text, err);
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
  const char *data = getenv("SLUICE_DATA"), *dir = NULL;
  for (int i = 1; i < argc; i++) {
    bool value = i + 1 < argc;
    if (value && strcmp(argv[i], "--policy") == 0 && w.n_policies < NAMES_MAX)
      w.policies[w.n_policies++] = argv[++i];
    else if (value && strcmp(argv[i], "--text") == 0 && w.n_texts < NAMES_MAX)
      w.texts[w.n_texts++] = argv[++i];
    else if (value && strcmp(argv[i], "--kb") == 0)
      w.kb = strtoul(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--no-prefilter") == 0)
      w.unfiltered = true;
    else
      dir = argv[i];
  }
  w.dir = dir ? sluice_strdup(dir) : sluice_format("%s/rules", data && data[0] ? data : "build/data");
  sluice_status st = w.dir && w.kb ? SLUICE_OK : SLUICE_INTERNAL;
  for (size_t i = 0; !st && i < sizeof policies / sizeof *policies; i++)
    if (is_wanted(w.policies, w.n_policies, policies[i])) st = measure(policies[i], &w, &err);
  if (st) fprintf(stderr, "bench_texts: %s\n", err.message);
  free(w.dir);
  return st ? 1 : 0;
}
