/* Private to wire/: TLS towards clients. */
#ifndef SLUICE_WIRE_TLS_H
#define SLUICE_WIRE_TLS_H

#include "wire/wire.h"

#include <event2/bufferevent.h>

struct tls_server; /* certificate and key, shared by threads, replaced while connections are open */
struct tls_files {
  const char *cert, *key; /* PEM; cert: the chain, the server's own first. Must outlive the server */
  const char *client_ca;  /* whose certificates clients must show; NULL: none is asked for */
};
sluice_status tls_server_open(const struct tls_files *files, struct tls_server **out, struct sluice_error *err);
void tls_server_close(struct tls_server *t);
/* The files again, for connections from now on. In two steps, so that they can be taken together with something else:
 * tls_server_read may fail and changes nothing, tls_server_take cannot fail. */
struct ssl_ctx_st;
sluice_status tls_server_read(struct tls_server *t, struct ssl_ctx_st **fresh, struct sluice_error *err);
void tls_server_take(struct tls_server *t, struct ssl_ctx_st *fresh);
void tls_server_drop(struct ssl_ctx_st *fresh);
/* Takes fd; NULL: no memory, and fd is still the caller's. */
struct bufferevent *tls_accept(struct tls_server *t, struct event_base *loop, evutil_socket_t fd);
void tls_say_goodbye(struct bufferevent *bev); /* close_notify; nothing where there is no TLS */
/* Whether files of certificates can be used; errors name them. Either may be NULL. */
sluice_status tls_check_client_files(const char *ca, const char *cert, const char *key, struct sluice_error *err);

#endif
