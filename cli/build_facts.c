/* Versions at build and at run. The commit comes from the Makefile, for this file alone. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "cli/build_facts.h"

#include <cJSON.h>
#include <curl/curl.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <pcre2.h>
#include <sqlite3.h>
#include <string.h>
#include <zlib.h>

#ifndef SLUICE_COMMIT
#define SLUICE_COMMIT ""
#endif

static void fact(struct library_fact *f, const char *name, const char *built, const char *running) {
  f->name = name;
  snprintf(f->built, sizeof f->built, "%s", built);
  snprintf(f->running, sizeof f->running, "%.*s", (int)strcspn(running, " "), running);
}

void build_libraries(struct library_fact out[LIBRARY_FACTS]) {
  char pcre2[32], running[64] = "", cjson[32];
  snprintf(pcre2, sizeof pcre2, "%d.%02d", PCRE2_MAJOR, PCRE2_MINOR);
  snprintf(cjson, sizeof cjson, "%d.%d.%d", CJSON_VERSION_MAJOR, CJSON_VERSION_MINOR, CJSON_VERSION_PATCH);
  int len = pcre2_config(PCRE2_CONFIG_VERSION, NULL);
  if (len > 0 && (size_t)len <= sizeof running) pcre2_config(PCRE2_CONFIG_VERSION, running);
  fact(&out[0], "PCRE2", pcre2, running);
  fact(&out[1], "SQLite", SQLITE_VERSION, sqlite3_libversion());
  fact(&out[2], "libcurl", LIBCURL_VERSION, curl_version_info(CURLVERSION_NOW)->version);
  fact(&out[3], "libevent", LIBEVENT_VERSION, event_get_version());
  fact(&out[4], "cJSON", cjson, cJSON_Version());
  fact(&out[5], "OpenSSL", OPENSSL_VERSION_STR, OpenSSL_version(OPENSSL_VERSION_STRING));
  fact(&out[6], "zlib", ZLIB_VERSION, zlibVersion());
}

bool build_pcre2_jit(void) {
  uint32_t jit = 0;
  return pcre2_config(PCRE2_CONFIG_JIT, &jit) >= 0 && jit;
}

const char *build_compiler(void) {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

const char *build_commit(void) {
  return SLUICE_COMMIT;
}

const char *build_curl_tls(void) {
  const char *tls = curl_version_info(CURLVERSION_NOW)->ssl_version;
  return tls ? tls : "";
}
