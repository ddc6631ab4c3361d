/* Content-addressed text, and the rows that say what produced it. */
#include "ledger/handle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static bool is_text(struct slice s) {
  size_t bad;
  return utf8_valid_prefix(s.ptr, s.len, &bad) == s.len && !memchr(s.ptr, '\0', s.len);
}

sluice_status ledger_put_blob(struct ledger *l, struct slice text, unsigned char hash[SHA256_BYTES],
                              struct sluice_error *err) {
  sha256(text.ptr, text.len, hash);
  struct ledger_value body = lv_blob(text.ptr ? text.ptr : "", text.len);
  if (!text.len || is_text(text)) body.type = LEDGER_TEXT;
  return ledger_run(l, "INSERT OR IGNORE INTO blob(sha256, len, body) VALUES(?1, ?2, ?3)",
                    LEDGER_VALUES(lv_hash(hash), lv_int((int64_t)text.len), body), err);
}

sluice_status ledger_get_blob(struct ledger *l, const unsigned char hash[SHA256_BYTES], struct buffer *out,
                              struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status =
      ledger_query(l, "SELECT body FROM blob WHERE sha256 = ?1", LEDGER_VALUES(lv_hash(hash)), &q, err);
  if (status) return status;
  bool row;
  status = ledger_next(q, &row, err);
  if (!status && !row) {
    char hex[2 * SHA256_BYTES + 1];
    hex_of(hash, SHA256_BYTES, hex);
    status = sluice_fail(err, SLUICE_INPUT, "%s: text %s is missing", l->path, hex);
  }
  if (!status) {
    struct slice body = ledger_bytes(q, 0);
    status = buffer_append(out, body.ptr, body.len, err);
  }
  ledger_rows_end(q);
  return status;
}

void message_hash_of(const unsigned char *parent, const char *role, struct slice text,
                     unsigned char hash[SHA256_BYTES]) {
  unsigned char joined[2 * SHA256_BYTES + 16] = {0};
  if (parent) memcpy(joined, parent, SHA256_BYTES);
  size_t n = strlen(role) < 15 ? strlen(role) : 15;
  memcpy(joined + SHA256_BYTES, role, n);
  sha256(text.ptr, text.len, joined + SHA256_BYTES + n + 1);
  sha256(joined, 2 * SHA256_BYTES + n + 1, hash);
}

sluice_status ledger_put_message(struct ledger *l, const unsigned char *parent, int64_t depth, const char *role,
                                 struct slice text, unsigned char hash[SHA256_BYTES], struct sluice_error *err) {
  unsigned char name[SHA256_BYTES], body[SHA256_BYTES];
  message_hash_of(parent, role, text, name);
  sluice_status status = ledger_put_blob(l, text, body, err);
  if (!status)
    status =
        ledger_run(l, "INSERT OR IGNORE INTO message(hash, parent, depth, role, body) VALUES(?1, ?2, ?3, ?4, ?5)",
                   LEDGER_VALUES(lv_hash(name), lv_hash(parent), lv_int(depth), lv_text(role), lv_hash(body)), err);
  if (!status) memcpy(hash, name, SHA256_BYTES); /* hash may be parent */
  return status;
}

sluice_status ledger_put_dataset(struct ledger *l, const char *spec, const char *name, int64_t size,
                                 const char *license, int64_t *id, struct sluice_error *err) {
  sluice_status status =
      ledger_run(l, "INSERT OR IGNORE INTO dataset(spec, name, size, license) VALUES(?1, ?2, ?3, ?4)",
                 LEDGER_VALUES(lv_text(spec), lv_text(name), lv_int(size), lv_text(license)), err);
  if (status) return status;
  return ledger_query_int(l, "SELECT id FROM dataset WHERE spec = ?1", LEDGER_VALUES(lv_text(spec)), 0, id, err);
}

sluice_status ledger_put_engine(struct ledger *l, const char *identity, int64_t *id, struct sluice_error *err) {
  unsigned char hash[SHA256_BYTES];
  sha256(identity, strlen(identity), hash);
  sluice_status status = ledger_run(l, "INSERT OR IGNORE INTO engine(hash, identity) VALUES(?1, ?2)",
                                    LEDGER_VALUES(lv_hash(hash), lv_text(identity)), err);
  if (status) return status;
  return ledger_query_int(l, "SELECT id FROM engine WHERE hash = ?1", LEDGER_VALUES(lv_hash(hash)), 0, id, err);
}

sluice_status ledger_put_scorer(struct ledger *l, const char *name, int version, const char *config, const char *kind,
                                int64_t *id, struct sluice_error *err) {
  sluice_status status =
      ledger_run(l, "INSERT OR IGNORE INTO scorer(name, version, config, kind) VALUES(?1, ?2, ?3, ?4)",
                 LEDGER_VALUES(lv_text(name), lv_int(version), lv_text(config), lv_text(kind)), err);
  if (status) return status;
  return ledger_query_int(l, "SELECT id FROM scorer WHERE name = ?1 AND version = ?2 AND config = ?3 AND kind = ?4",
                          LEDGER_VALUES(lv_text(name), lv_int(version), lv_text(config), lv_text(kind)), 0, id, err);
}

/* "model name	: X" of the first processor; "unknown" where /proc does not say. */
static void processor_name(char *out, size_t room) {
  snprintf(out, room, "unknown");
  FILE *f = fopen("/proc/cpuinfo", "r");
  if (!f) return;
  char line[512];
  while (fgets(line, sizeof line, f)) {
    char *colon = strncmp(line, "model name", 10) ? NULL : strchr(line, ':');
    if (!colon) continue;
    colon += 1 + (colon[1] == ' ');
    colon[strcspn(colon, "\n")] = '\0';
    snprintf(out, room, "%s", colon);
    break;
  }
  fclose(f);
}

sluice_status ledger_put_host(struct ledger *l, int64_t *id, struct sluice_error *err) {
  char cpu[256];
  struct utsname os;
  struct buffer json;
  buffer_init(&json, 1 << 16);
  processor_name(cpu, sizeof cpu);
  if (uname(&os)) memset(&os, 0, sizeof os);
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  sluice_status status = buffer_append_str(&json, "{\"cpu\":", err);
  if (!status) status = json_quote(&json, cpu, strlen(cpu), err);
  if (!status)
    status = buffer_printf(&json, err, ",\"machine\":\"%s\",\"memory_mib\":%lld,\"os\":", os.machine,
                           (long long)pages * page / (1 << 20));
  if (!status) status = json_quote(&json, os.sysname, strlen(os.sysname), err);
  if (!status) status = buffer_append_str(&json, ",\"release\":", err);
  if (!status) status = json_quote(&json, os.release, strlen(os.release), err);
  if (!status) status = buffer_printf(&json, err, ",\"processors\":%d}", threads_available());
  unsigned char hash[SHA256_BYTES];
  if (!status) sha256(json.ptr, json.len, hash);
  if (!status)
    status = ledger_run(l, "INSERT OR IGNORE INTO host(hash, json) VALUES(?1, ?2)",
                        LEDGER_VALUES(lv_hash(hash), lv_text(json.ptr)), err);
  if (!status)
    status = ledger_query_int(l, "SELECT id FROM host WHERE hash = ?1", LEDGER_VALUES(lv_hash(hash)), 0, id, err);
  buffer_free(&json);
  return status;
}
