/* Which run a word means. */
#include "ledger/handle.h"

#include <string.h>
#include <sys/random.h>

/* ULID: 48 bits of milliseconds, 80 random bits, Crockford's base 32; sorts by time. */
void ledger_new_id(char id[LEDGER_RUN_ID]) {
  static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  unsigned char bytes[16];
  uint64_t ms = (uint64_t)(clock_wall_ns() / 1000000);
  for (int i = 5; i >= 0; i--, ms >>= 8) bytes[i] = (unsigned char)ms;
  if (getrandom(bytes + 6, 10, 0) != 10) { /* before the kernel has entropy: still distinct, which is all it must be */
    struct rng r;
    rng_seed(&r, (uint64_t)clock_mono_ns() ^ (uint64_t)clock_wall_ns());
    for (int i = 6; i < 16; i++) bytes[i] = (unsigned char)rng_u64(&r);
  }
  /* 130 bits in 26 digits: two zero bits, then the 128. */
  for (int digit = 0; digit < 26; digit++) {
    unsigned value = 0;
    for (int bit = 0; bit < 5; bit++) {
      int at = digit * 5 + bit - 2;
      unsigned set = at < 0 ? 0u : (unsigned)(bytes[at / 8] >> (7 - at % 8)) & 1u;
      value = value << 1 | set;
    }
    id[digit] = digits[value];
  }
  id[26] = '\0';
}

static sluice_status find_one(struct ledger *l, const char *sql, const char *word, char id[LEDGER_RUN_ID], int *found,
                              struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = word ? ledger_query(l, sql, LEDGER_VALUES(lv_text(word)), &q, err)
                              : ledger_query(l, sql, LEDGER_NO_VALUES, &q, err);
  if (status) return status;
  bool row = true;
  *found = 0;
  while (!(status = ledger_next(q, &row, err)) && row)
    if (!(*found)++) snprintf(id, LEDGER_RUN_ID, "%s", ledger_text(q, 0));
  ledger_rows_end(q);
  return status;
}

sluice_status ledger_find_run(struct ledger *l, const char *word, char id[LEDGER_RUN_ID], struct sluice_error *err) {
  int found = 0;
  if (!word || !strcmp(word, "latest")) {
    sluice_status status = find_one(l, "SELECT id FROM run ORDER BY id DESC LIMIT 1", NULL, id, &found, err);
    if (!status && !found) return sluice_fail(err, SLUICE_USAGE, "%s: no run in this ledger", l->path);
    return status;
  }
  sluice_status status = find_one(l, "SELECT run_id FROM baseline WHERE name = ?1", word, id, &found, err);
  if (!status && !found)
    status = find_one(l, "SELECT id FROM run WHERE substr(id, 1, length(?1)) = upper(?1)", word, id, &found, err);
  if (status || found == 1) return status;
  if (found > 1)
    return sluice_fail(err, SLUICE_USAGE, "%s: %d runs begin with \"%s\"; give more letters", l->path, found, word);
  return sluice_fail(err, SLUICE_USAGE, "%s: no run or baseline \"%s\"; `sluice export %s --runs` lists them", l->path,
                     word, l->path);
}
