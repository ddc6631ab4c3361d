/* Private to the ledger: the schema, one string a migration. */
#ifndef SLUICE_LEDGER_SCHEMA_H
#define SLUICE_LEDGER_SCHEMA_H

#define LEDGER_APPLICATION_ID 0x736c7563 /* "sluc": what file(1) reads at offset 68 */

extern const char *const ledger_migrations[]; /* ends with NULL; applying the first n gives user_version n */
extern const char
    *const ledger_views; /* dropped and made anew around every migration, so that they may always change */

#endif
