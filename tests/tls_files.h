/* Certificates for tests of TLS: a CA, and certificates for 127.0.0.1 that it signs. */
#ifndef SLUICE_TESTS_TLS_FILES_H
#define SLUICE_TESTS_TLS_FILES_H

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

struct tls_identity {
  EVP_PKEY *key;
  X509 *cert;
};

static inline bool tls_extend(X509 *cert, int nid, const char *value) {
  X509V3_CTX ctx;
  X509V3_set_ctx_nodb(&ctx);
  X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
  X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
  bool good = e && X509_add_ext(cert, e, -1) == 1;
  X509_EXTENSION_free(e);
  return good;
}

/* by NULL: it signs itself, and others. name: its common name. */
static inline struct tls_identity tls_make(const char *name, const struct tls_identity *by) {
  struct tls_identity it = {EVP_EC_gen("P-256"), X509_new()};
  static long serial = 1000;
  X509_set_version(it.cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(it.cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(it.cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(it.cert), 24 * 3600);
  X509_set_pubkey(it.cert, it.key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(it.cert), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
                             0);
  X509_set_issuer_name(it.cert, X509_get_subject_name(by ? by->cert : it.cert));
  tls_extend(it.cert, NID_basic_constraints, by ? "critical,CA:FALSE" : "critical,CA:TRUE");
  if (by) tls_extend(it.cert, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
  X509_sign(it.cert, by ? by->key : it.key, EVP_sha256());
  return it;
}

static inline void tls_free(struct tls_identity *it) {
  EVP_PKEY_free(it->key);
  X509_free(it->cert);
}

/* Certificate, then key where asked for, as PEM. */
static inline bool tls_write(const char *path, const struct tls_identity *it, bool key) {
  FILE *f = fopen(path, "w");
  bool good = f && PEM_write_X509(f, it->cert) == 1 &&
              (!key || PEM_write_PrivateKey(f, it->key, NULL, NULL, 0, NULL, NULL) == 1);
  if (f) good &= fclose(f) == 0;
  return good;
}

#endif
