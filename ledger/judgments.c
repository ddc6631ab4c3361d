/* The judge's rows: a verdict with the raw text that it was read from. */
#include "ledger/handle.h"

sluice_status ledger_put_judgment(struct ledger *l, const struct ledger_judgment *j, struct sluice_error *err) {
  unsigned char raw[SHA256_BYTES];
  sluice_status status = ledger_put_blob(l, j->raw, raw, err);
  if (status) return status;
  return ledger_run(
      l,
      "INSERT INTO judgment(scorer_id, attempt_a, attempt_b, turn_no, order_ab, verdict, value, parse_ok, raw,"
      " prompt_hash, parser_version, error, at_ns) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
      LEDGER_VALUES(lv_int(j->scorer_id), lv_int(j->attempt_a), lv_int_or_null(j->attempt_b, j->attempt_b != 0),
                    lv_int(j->turn_no), lv_int(j->b_first), lv_text(j->verdict ? j->verdict : "unscored"),
                    lv_real_or_null(j->value), lv_int(j->parse_ok), lv_hash(raw), lv_hash(j->prompt_hash),
                    lv_int(j->parser_version), lv_text(j->error), lv_int(clock_wall_ns())),
      err);
}
