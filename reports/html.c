/* The page: one file, no network, readable without JavaScript. Its content security policy allows this style and this
 * script by hash and nothing else, so that a hostile answer that slipped through the escaping could still run nothing.
 */
#include "reports/html.h"
#include "reports/formats.h"
#include "reports/svg.h"

#include <math.h>
#include <string.h>

static void put_base64(struct page *p, const unsigned char *bytes, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < n; i += 3) {
    uint32_t v = (uint32_t)bytes[i] << 16;
    if (i + 1 < n) v |= (uint32_t)bytes[i + 1] << 8;
    if (i + 2 < n) v |= bytes[i + 2];
    char out[5] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=',
                   i + 2 < n ? digits[v & 63] : '=', '\0'};
    put(p, out);
  }
}

static void put_hash(struct page *p, const char *text, size_t n) {
  unsigned char hash[SHA256_BYTES];
  sha256(text, n, hash);
  put(p, "'sha256-");
  put_base64(p, hash, SHA256_BYTES);
  put(p, "'");
}

static void put_head(struct page *p, const struct report *r) {
  struct buffer style;
  buffer_init(&style, 1 << 20);
  if (p->status == SLUICE_OK) p->status = page_style(&style, p->err);
  put(p, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
         "http-equiv=\"Content-Security-Policy\" "
         "content=\"default-src 'none'; base-uri 'none'; form-action 'none'; style-src ");
  if (style.ptr) put_hash(p, style.ptr, style.len);
  put(p, "; script-src ");
  put_hash(p, page_script, strlen(page_script));
  put(p, "\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"generator\" "
         "content=\"sluice " SLUICE_VERSION "\">\n<title>");
  put_plain(p, r->suite);
  put(p, " — sluice report</title>\n<style>");
  if (style.ptr) put(p, style.ptr);
  put(p, "</style>\n</head>\n");
  buffer_free(&style);
}

static void put_badge(struct page *p, const struct report *r) {
  static const char *const words[][3] = {
      {"PASS", "good", "● Pass"},
      {"REGRESSED", "bad", "▼ Regressed"},
      {"INCOMPLETE", "open", "! Incomplete"},
      {"INCONCLUSIVE", "open", "◇ Open"},
      {"INCOMPARABLE", "open", "! Nothing to compare"},
      {"COMPLETE", "good", "● Complete"},
  };
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (!strcmp(words[i][0], r->verdict))
      putf(p, "<p class=\"badge %s\" id=\"verdict\">%s</p>\n", words[i][1], words[i][2]);
}

static void tile(struct page *p, const char *name) {
  put(p, "<div><dt>");
  put(p, name);
  put(p, "</dt><dd>");
}

static void put_tiles(struct page *p, const struct report *r) {
  put(p, "<dl class=\"tiles\">\n");
  tile(p, "Dialogues finished");
  put_count(p, r->finished);
  put(p, "<small>of ");
  put_count(p, r->planned);
  put(p, " planned</small></dd></div>\n");
  tile(p, "Scored turns");
  put_count(p, r->scored_turns);
  putf(p, "<small>over %zu metrics</small></dd></div>\n", r->n_columns);
  tile(p, "Cache policies");
  putf(p, "%zu<small>over %zu benchmark%s</small></dd></div>\n", r->n_policies, r->n_benchmarks,
       r->n_benchmarks == 1 ? "" : "s");
  tile(p, "Compared");
  putf(p, "%zu<small>▼\xc2\xa0%zu worse, ●\xc2\xa0%zu within, ◇\xc2\xa0%zu open</small></dd></div>\n",
       r->regressed + r->passed + r->inconclusive, r->regressed, r->passed, r->inconclusive);
  tile(p, "In error");
  put_count(p, r->error_dialogues);
  put(p, "<small>dialogues, ");
  put_count(p, r->missing);
  put(p, " missing</small></dd></div>\n</dl>\n");
}

static void put_top(struct page *p, const struct report *r) {
  put(p, "<body>\n<a class=\"skip\" href=\"#scores\">Skip to the scores</a>\n<div class=\"page\">\n<header "
         "class=\"top\">\n"
         "<div class=\"eyebrow\"><span><b>sluice</b> report · ");
  put_text(p, r->suite);
  put(p, " · ");
  put_text(p, r->started);
  put(p, "</span><button id=\"theme\" type=\"button\" hidden>Theme</button></div>\n");
  put_badge(p, r);
  put(p, "<h1>");
  put_text(p, r->claim);
  put(p, "</h1>\n<p class=\"lede\">");
  put_text(p, r->covered);
  put(p, "</p>\n");
  if (r->limited)
    put(p, "<p class=\"lede\">A limited run: fewer dialogues than the suite asks for; it cannot become a "
           "baseline.</p>\n");
  put_tiles(p, r);
  put(p, "</header>\n");
}

static void section(struct page *p, const char *id, const char *title, const char *lede) {
  putf(p, "<section id=\"%s\" aria-labelledby=\"%s-h\">\n<h2 id=\"%s-h\">%s</h2>\n", id, id, id, title);
  if (lede) put(p, "<p>"), put(p, lede), put(p, "</p>\n");
}

static void facet_head(struct page *p, const struct report *r, size_t facet) {
  if (r->n_facets < 2) return;
  put(p, "<h3>");
  put_text(p, r->facets[facet].engine);
  put(p, " <small>monitor ");
  put_text(p, r->facets[facet].monitor);
  put(p, "</small></h3>\n");
}

static void put_matrix(struct page *p, const struct report *r) {
  section(p, "scores", "Scores", NULL);
  for (size_t f = 0; f < r->n_facets; f++) {
    facet_head(p, r, f);
    chart_matrix(p, r, f);
  }
  put(p, "<ul class=\"legend\"><li><span>●</span> no more than ");
  put_percent(p, r->options.margin, 0);
  put(p, " points below the reference</li><li><span>▼</span> worse</li><li><span>◇</span> open: too few dialogues to "
         "tell</li>"
         "<li><span>≈</span> not shown to beat the best trivial answer</li></ul>\n</section>\n");
}

typedef bool (*has_fn)(const struct report *r, size_t facet, size_t index);
typedef void (*draw_fn)(struct page *p, const struct report *r, size_t facet, size_t index);

/* A section of one figure a column (or benchmark), left out where there is none. */
static void figures(struct page *p, const struct report *r, const char *id, const char *title, const char *lede,
                    bool wide, size_t n, has_fn has, draw_fn draw) {
  bool any = false;
  for (size_t f = 0; f < r->n_facets; f++)
    for (size_t i = 0; i < n; i++) any = any || has(r, f, i);
  if (!any) return;
  section(p, id, title, lede);
  for (size_t f = 0; f < r->n_facets; f++) {
    facet_head(p, r, f);
    put(p, wide ? "<div>\n" : "<div class=\"figures\">\n");
    for (size_t i = 0; i < n; i++)
      if (has(r, f, i)) draw(p, r, f, i);
    put(p, "</div>\n");
  }
  put(p, "</section>\n");
}

static void put_figures(struct page *p, const struct report *r) {
  figures(p, r, "differences", "Differences from the reference",
          "Same dialogues, same turns: what changes when only the reference is exchanged for another. The shaded band "
          "is the "
          "margin; a bar that clears zero on the left, by enough, is worse.",
          false, r->n_columns, chart_forest_has, chart_forest);
  figures(p, r, "bytes", "Score against KV bytes",
          "What a byte of cache buys. Up and left is better; the stepped line joins policies that no other one beats. "
          "Policies "
          "that hold the same bytes stand side by side.",
          false, r->n_columns, chart_bytes_has, chart_bytes);
  figures(p, r, "positions", "Perplexity by position",
          "A policy that loses what attention leans on shows it where its cache first overflows.", true,
          r->n_benchmarks, chart_positions_has, chart_positions);
  figures(p, r, "distance", "Accuracy by distance",
          "How far back the evidence lies. The band is the interval, the dashed line the reference.", true,
          r->n_columns, chart_distance_has, chart_distance);
  figures(
      p, r, "contest", "Rock, paper, scissors",
      "Counting the other side's moves needs no model; a score that does not pass it measures strategy, not memory.",
      true, r->n_columns, chart_contest_has, chart_contest);
}

static bool facet_has_trivial(const struct report *r, size_t facet) {
  for (size_t c = 0; c < r->n_columns; c++)
    if (html_trivial_has(r, facet, c)) return true;
  return false;
}

static void put_trivial(struct page *p, const struct report *r) {
  bool begun = false;
  for (size_t f = 0; f < r->n_facets; f++) {
    if (!facet_has_trivial(r, f)) continue;
    if (!begun)
      section(p, "trivial", "Against trivial answers",
              "What needs no model, on the very same turns and seeing no more than the policy's budget: score minus "
              "trivial answer, by dialogue. Each score beside chance and its best trivial answer; where counting the "
              "other side's moves is possible it stands there too.");
    begun = true;
    facet_head(p, r, f);
    html_trivial(p, r, f);
  }
  if (begun) put(p, "</section>\n");
}

static void put_tables(struct page *p, struct ledger *l, const struct report *r) {
  section(
      p, "latency", "Speed and memory",
      "Milliseconds; definitions stand under Methods. A dash: not measured, or too few values for that percentile.");
  for (size_t f = 0; f < r->n_facets; f++) facet_head(p, r, f), html_latency(p, r, f);
  put(p, "</section>\n");
  section(p, "coverage", "Coverage",
          "What was planned and what came of it. A missing or failed dialogue is never a wrong answer, and never a "
          "right one.");
  for (size_t f = 0; f < r->n_facets; f++) facet_head(p, r, f), html_coverage(p, r, f);
  put(p, "<h3>Errors by class</h3>\n");
  html_errors(p, r);
  html_monitor(p, l, r);
  put(p, "</section>\n");
}

static void put_contents(struct page *p, const struct report *r) {
  static const char *const links[][2] = {{"scores", "Scores"},
                                         {"trivial", "Trivial answers"},
                                         {"differences", "Differences"},
                                         {"bytes", "KV bytes"},
                                         {"positions", "Perplexity"},
                                         {"distance", "Distance"},
                                         {"contest", "Rock, paper, scissors"},
                                         {"latency", "Speed and memory"},
                                         {"coverage", "Coverage"},
                                         {"dialogues", "Dialogues"},
                                         {"provenance", "What was run"},
                                         {"methods", "Methods"}};
  static const has_fn has[] = {NULL,
                               html_trivial_has,
                               chart_forest_has,
                               chart_bytes_has,
                               chart_positions_has,
                               chart_distance_has,
                               chart_contest_has};
  put(p, "<nav class=\"toc\" aria-label=\"Contents\"><ol>\n");
  for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
    bool any = i >= sizeof has / sizeof has[0] || !has[i];
    size_t n = any || has[i] == chart_positions_has ? r->n_benchmarks : r->n_columns;
    for (size_t f = 0; f < r->n_facets && !any; f++)
      for (size_t k = 0; k < n && !any; k++) any = has[i](r, f, k);
    if (any) putf(p, "<li><a href=\"#%s\">%s</a></li>\n", links[i][0], links[i][1]);
  }
  put(p, "</ol></nav>\n");
}

static void put_tail(struct page *p, const struct report *r) {
  section(p, "provenance", "What was run", NULL);
  html_facts(p, r);
  put(p, "</section>\n");
  section(p, "methods", "Methods", NULL);
  html_methods(p, r);
  put(p, "</section>\n</main>\n<footer>One file, no network. The same ledger gives the same "
         "bytes.</footer>\n</div>\n<script>");
  put(p, page_script);
  put(p, "</script>\n</body>\n</html>\n");
}

sluice_status report_write_html(struct ledger *l, const struct report *r, struct buffer *out,
                                struct sluice_error *err) {
  struct page p = {out, SLUICE_OK, err};
  struct buffer tail;
  buffer_init(&tail, 0);
  struct page after = {&tail, SLUICE_OK, err};
  put_head(&p, r);
  put_top(&p, r);
  put_contents(&p, r);
  put(&p, "<main>\n");
  put_matrix(&p, r);
  put_trivial(&p, r);
  put_figures(&p, r);
  put_tables(&p, l, r);
  put_tail(&after, r);
  section(&p, "dialogues", "Dialogues", NULL);
  size_t used = out->len + tail.len + 4096,
         room = r->options.max_bytes > used ? (size_t)r->options.max_bytes - used : 0;
  html_dialogues(&p, l, r, room);
  put(&p, "</section>\n");
  if (p.status == SLUICE_OK) p.status = after.status;
  if (p.status == SLUICE_OK) p.status = buffer_append(out, tail.ptr, tail.len, err);
  buffer_free(&tail);
  return p.status;
}
