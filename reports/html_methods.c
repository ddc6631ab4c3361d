/* Methods: what each figure means, how it was computed, and the commands that repeat it. */
#include "reports/html.h"

static void definition(struct page *p, const char *term, const char *text) {
  put(p, "<dt>");
  put(p, term);
  put(p, "</dt><dd>");
  put(p, text);
  put(p, "</dd>\n");
}

static void definitions(struct page *p, const struct report *r) {
  put(p, "<dl class=\"defs\">\n");
  definition(p, "Score",
             "Mean over scored turns. Right, win: 1; wrong, tie, lose: 0. Truncated turns count as they scored; turns "
             "that were "
             "refused, unscored or lost in an error have no value, are in no mean, and are counted under Coverage.");
  definition(
      p, "Interval",
      "Shares: Wilson; where a dialogue has several turns, on the effective sample size (n over the design effect of "
      "the dialogues) with Student's t on C−1 degrees of freedom. Other means: clustered t, SE = "
      "√(C/(C−1)·Σ<sub>c</sub>(Σ<sub>i∈c</sub>(x<sub>i</sub>−x̄))²)/n.");
  definition(p, "Difference",
             "Mean of score minus the reference's score over turns that both answered, clustered by dialogue. "
             "Where all differences agree the interval is what so many agreeing dialogues cannot exclude, "
             "never zero wide.");
  definition(p, "p, Holm",
             "Exact sign-flip up to 20 dialogues; exact McNemar for one turn a dialogue; else t. Adjusted by Holm "
             "over every comparison in this report.");
  put(p, "<dt>Verdict</dt><dd>● within margin: the interval's lower end is above −");
  put_percent(p, r->options.margin, 1);
  put(p, " points. ▼ worse: the upper end is below 0, the difference at least ");
  put_percent(p, r->options.min_effect, 1);
  putf(p,
       " points, and p below %.3g. ◇ open: neither; “not significant” is not “the same”. For perplexity the same "
       "numbers "
       "count in nats.</dd>\n",
       1 - r->options.confidence);
  definition(p, "Detectable", "The smallest true difference that these dialogues would have found with 80 % power.");
  definition(p, "≈", "The interval reaches down to the best trivial answer: this score shows no memory.");
  definition(p, "Trivial answers",
             "chance; longest: the longest choice; overlap: the choice sharing most words with what is "
             "visible; recency, first, frequency: the choice mentioned last, first, most; counting: the "
             "move that beats the other side's most frequent one. Ties count as a fair draw. Differences from them are "
             "over the turns that both have a value for, clustered by dialogue; no p, and none of them enters Holm's "
             "correction.");
  definition(p, "Perplexity",
             "exp(summed surprisal / tokens). By position: the same over tokens in [start, end), in "
             "half-octaves from 16.");
  definition(p, "KV bytes", "What the policy really held for keys, values and its own state; peak within a dialogue.");
  definition(
      p, "Tokens/s, dialogue",
      "Tokens in context at a dialogue's last scored turn, over the seconds from its first moment to that turn's end, "
      "pooled over dialogues without interruption; one of several that run at once where the suite asks for that.");
  definition(p, "Out/s", "Generated tokens over the seconds of the turns that generated them, pooled.");
  definition(p, "TTFT", "First chunk with a generated token − start of the turn.");
  definition(p, "TPOT", "(end − first token) / (output tokens − 1); undefined for one token.");
  definition(p, "Turn",
             "End − start of a scored turn. Percentiles are type 7; p90 needs 10 values and p99 needs 100. "
             "Milliseconds.");
  definition(p, "Outcomes",
             "Done: scored right, or a plain number. Failed: scored wrong. Error: infrastructure. Truncated: cut "
             "by the token limit. Refused. Unscored: no answer could be read. None stands for another.");
  put(p, "</dl>\n");
}

static void policies_table(struct page *p, const struct report *r) {
  put(p, "<details class=\"data\"><summary>Policies, all defaults spelled out</summary><div "
         "class=\"scroll\"><table><thead><tr>"
         "<th scope=\"col\">Policy</th><th scope=\"col\">In the suite</th><th scope=\"col\">Benchmark</th><th "
         "scope=\"col\">As "
         "run</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < r->n_policies; i++)
    for (size_t b = 0; b < r->n_benchmarks; b++) {
      const struct report_group *g = NULL;
      for (size_t f = 0; f < r->n_facets && (!g || !g->present); f++) g = group_at(r, f, i, b);
      if (!g || !g->present) continue;
      put(p, "<tr><th scope=\"row\">");
      put_text(p, r->policies[i].label);
      put(p, "</th><td class=\"mono\">");
      put_text(p, r->policies[i].name);
      put(p, "</td><td>");
      put_text(p, r->benchmarks[b].name);
      put(p, "</td><td class=\"mono\">");
      put_text(p, g->policy_full ? g->policy_full : "");
      put(p, "</td></tr>\n");
    }
  put(p, "</tbody></table></div></details>\n");
}

void html_methods(struct page *p, const struct report *r) {
  definitions(p, r);
  policies_table(p, r);
  put(p, "<h3>Commands</h3>\n<pre><code>");
  for (size_t i = 0; i < r->n_commands; i++) {
    put_text(p, r->commands[i]);
    put(p, "\n");
  }
  put(p, "sluice report LEDGER --run ");
  put_text(p, r->run_id[RUN_SHOWN]);
  if (r->explicit_reference) put(p, " --against '"), put_text(p, r->options.against), put(p, "'");
  put(p, "</code></pre>\n<p>Plan hash <code>");
  put_text(p, r->plan_hash);
  put(p, "</code>. Every number above can be queried: the ledger is one SQLite file, its views are v_result, v_cell, "
         "v_coverage, "
         "v_position_nll, v_trivial, v_turn, v_flip and v_error.</p>\n");
}
