/* TLS towards clients: OpenSSL under libevent's bufferevents. */
#include "wire/tls.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct tls_server {
  struct tls_files files;
  pthread_mutex_t lock; /* over now */
  SSL_CTX *now;
};

static sluice_status fail(const char *what, const char *file, struct sluice_error *err) {
  char words[160] = "";
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code) ERR_error_string_n(code, words, sizeof words);
  return sluice_fail(err, SLUICE_USAGE, "%s: %s%s%s", file, what, words[0] ? ": " : "", words);
}

/* Clients that offer protocols get HTTP/1.1 or nothing. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in,
                           unsigned in_len, void *ctx) {
  static const unsigned char ours[] = "\x08http/1.1";
  (void)ssl, (void)ctx;
  unsigned char *chosen = NULL;
  if (SSL_select_next_proto(&chosen, len, ours, sizeof ours - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

static sluice_status use_files(SSL_CTX *c, const char *cert, const char *key, struct sluice_error *err) {
  if (SSL_CTX_use_certificate_chain_file(c, cert) != 1) return fail("is no usable certificate", cert, err);
  if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1) return fail("is no usable key", key, err);
  if (SSL_CTX_check_private_key(c) != 1) return fail("is not the certificate's key", key, err);
  return SLUICE_OK;
}

static sluice_status set_up(SSL_CTX *c, const struct tls_files *f, struct sluice_error *err) {
  static const unsigned char id[] = "sluice";
  SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
  SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_id_context(c, id, sizeof id - 1);
  SSL_CTX_set_alpn_select_cb(c, choose_protocol, NULL);
  sluice_status st = use_files(c, f->cert, f->key, err);
  if (st || !f->client_ca) return st;
  STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(f->client_ca);
  if (!names || SSL_CTX_load_verify_locations(c, f->client_ca, NULL) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return fail("holds no usable certificates", f->client_ca, err);
  }
  SSL_CTX_set_client_CA_list(c, names);
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  return SLUICE_OK;
}

sluice_status tls_server_read(struct tls_server *t, SSL_CTX **fresh, struct sluice_error *err) {
  *fresh = SSL_CTX_new(TLS_server_method());
  if (!*fresh) return sluice_fail(err, SLUICE_NOMEM, "no memory for TLS");
  sluice_status st = set_up(*fresh, &t->files, err);
  if (st) {
    SSL_CTX_free(*fresh);
    *fresh = NULL;
  }
  return st;
}

void tls_server_take(struct tls_server *t, SSL_CTX *fresh) {
  pthread_mutex_lock(&t->lock);
  SSL_CTX *before = t->now;
  t->now = fresh;
  pthread_mutex_unlock(&t->lock);
  SSL_CTX_free(before); /* connections that use it keep it */
}

void tls_server_drop(SSL_CTX *fresh) {
  SSL_CTX_free(fresh);
}

sluice_status tls_server_open(const struct tls_files *files, struct tls_server **out, struct sluice_error *err) {
  struct tls_server *t = calloc(1, sizeof *t);
  if (!t) return sluice_fail(err, SLUICE_NOMEM, "no memory for TLS");
  t->files = *files;
  pthread_mutex_init(&t->lock, NULL);
  sluice_status st = tls_server_read(t, &t->now, err);
  if (st)
    tls_server_close(t);
  else
    *out = t;
  return st;
}

void tls_server_close(struct tls_server *t) {
  if (!t) return;
  SSL_CTX_free(t->now);
  pthread_mutex_destroy(&t->lock);
  free(t);
}

struct bufferevent *tls_accept(struct tls_server *t, struct event_base *loop, evutil_socket_t fd) {
  pthread_mutex_lock(&t->lock);
  SSL *ssl = SSL_new(t->now);
  pthread_mutex_unlock(&t->lock);
  if (!ssl) return NULL;
  struct bufferevent *bev =
      bufferevent_openssl_socket_new(loop, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
  if (!bev) {
    SSL_free(ssl);
    return NULL;
  }
  /* Many clients close without close_notify; a request says by its framing where it ends. */
  bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
  return bev;
}

void tls_say_goodbye(struct bufferevent *bev) {
  SSL *ssl = bufferevent_openssl_get_ssl(bev);
  if (ssl && SSL_is_init_finished(ssl)) SSL_shutdown(ssl);
  ERR_clear_error();
}

sluice_status tls_check_client_files(const char *ca, const char *cert, const char *key, struct sluice_error *err) {
  SSL_CTX *c = SSL_CTX_new(TLS_client_method());
  if (!c) return sluice_fail(err, SLUICE_NOMEM, "no memory for TLS");
  sluice_status st = SLUICE_OK;
  if (ca && SSL_CTX_load_verify_locations(c, ca, NULL) != 1) st = fail("holds no usable certificates", ca, err);
  if (!st && cert) st = use_files(c, cert, key ? key : cert, err);
  SSL_CTX_free(c);
  return st;
}
