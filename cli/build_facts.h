/* What this program is made of: shared by `version` and `doctor`. */
#ifndef SLUICE_CLI_BUILD_FACTS_H
#define SLUICE_CLI_BUILD_FACTS_H

#include "base/base.h"

struct library_fact {
  const char *name;
  char built[32], running[64]; /* versions of the headers, and of what is loaded now */
};
enum { LIBRARY_FACTS = 7 };
/* PCRE2, SQLite, libcurl, libevent, cJSON, OpenSSL, zlib. */
void build_libraries(struct library_fact out[LIBRARY_FACTS]);
bool build_pcre2_jit(void);       /* the loaded PCRE2 compiles patterns */
const char *build_compiler(void); /* "gcc 12.2.0" */
const char *build_commit(void);   /* `git describe`, "-dirty" behind it; "" when built without git */
const char *build_curl_tls(void); /* libcurl's TLS library, "OpenSSL/3.0.17"; "" when it has none */

#endif
