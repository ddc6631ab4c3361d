/* Private to the ledger: the connection and its prepared statements. */
#ifndef SLUICE_LEDGER_HANDLE_H
#define SLUICE_LEDGER_HANDLE_H

#include "ledger/ledger.h"

#include <sqlite3.h>

#define LEDGER_STATEMENTS 96 /* literals kept prepared; more are prepared for each call */

struct ledger {
  sqlite3 *db;
  char *path;
  bool writer;
  bool in_transaction;
  bool lost; /* a text could not be read for want of memory: the next call says so */
  struct {
    const char *sql; /* by address: literals */
    sqlite3_stmt *stmt;
    bool busy;
  } kept[LEDGER_STATEMENTS];
  size_t n_kept;
};

/* Fills err from the connection's last error and rolls an open transaction back. */
sluice_status ledger_fail(struct ledger *l, const char *doing, struct sluice_error *err);
sluice_status ledger_script(struct ledger *l, const char *sql, const char *doing, struct sluice_error *err);
/* SLUICE_NOMEM, once, when a text was lost. */
sluice_status ledger_lost(struct ledger *l, struct sluice_error *err);
void ledger_drop_statements(struct ledger *l);

#endif
