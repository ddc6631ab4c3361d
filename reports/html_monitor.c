/* What the monitor did: events by action and rule, and beside them how many turns it scanned at all. Silence of a
 * monitor that ran and silence of one that did not are different rows. */
#include "reports/html.h"

#include <string.h>

static const char events_sql[] =
    "SELECT c.engine, c.monitor, c.policy, c.benchmark, m.action, coalesce(m.rule, ''), coalesce(m.category, ''), "
    "count(*), "
    "min(m.ext_id) FROM v_monitor m JOIN v_cell c ON c.cell_id = m.cell_id WHERE c.run_id = ?1 "
    "GROUP BY c.engine, c.monitor, c.policy, c.benchmark, m.action, m.rule, m.category "
    "ORDER BY min(c.ordinal), m.action <> 'scanned', m.action, 6, 7 LIMIT 2000";

static bool any_monitor(const struct report *r) {
  for (size_t f = 0; f < r->n_facets; f++)
    if (strcmp(r->facets[f].monitor, "none") != 0) return true;
  return false;
}

static void event_row(struct page *p, const struct ledger_rows *q) {
  const char *action = ledger_text(q, 4);
  bool scanned = !strcmp(action, "scanned"), trouble = !strcmp(action, "error") || !strcmp(action, "skipped");
  put(p, "<tr><th scope=\"row\">");
  put_text(p, ledger_text(q, 1));
  for (int c = 2; c < 4; c++) {
    put(p, c == 2 ? "</th><td class=\"name\">" : "</td><td class=\"name\">");
    put_text(p, ledger_text(q, c));
  }
  putf(p, "</td><td class=\"%s\">", trouble ? "bad" : scanned ? "nil" : "open");
  put_text(p, scanned ? "scanned, turns" : action);
  put(p, "</td><td>");
  put_text(p, ledger_text(q, 5));
  put(p, "</td><td>");
  put_text(p, ledger_text(q, 6));
  put(p, "</td><td class=\"num\">");
  put_count(p, ledger_int(q, 7));
  put(p, "</td><td class=\"mono\">");
  put_text(p, scanned ? "" : ledger_text(q, 8));
  put(p, "</td></tr>\n");
}

void html_monitor(struct page *p, struct ledger *l, const struct report *r) {
  if (!any_monitor(r) || p->status != SLUICE_OK) return;
  struct ledger_rows *q = NULL;
  bool row = false;
  put(p, "<h3>What the monitor did</h3>\n<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th "
         "scope=\"col\">Monitor</th>"
         "<th scope=\"col\">Policy</th><th scope=\"col\">Benchmark</th><th scope=\"col\">Action</th><th "
         "scope=\"col\">Rule</th>"
         "<th scope=\"col\">Category</th><th scope=\"col\" class=\"num\">Events</th><th scope=\"col\">First "
         "dialogue</th></tr>"
         "</thead><tbody>\n");
  sluice_status status = ledger_query(l, events_sql, LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, p->err);
  size_t rows = 0;
  while (!status && !(status = ledger_next(q, &row, p->err)) && row) {
    event_row(p, q);
    rows++;
  }
  ledger_rows_end(q);
  if (status && p->status == SLUICE_OK) p->status = status;
  if (!rows) put(p, "<tr><td colspan=\"8\">No turn was scanned: the monitor never ran.</td></tr>\n");
  put(p, "</tbody></table></div>\n");
}
