/* `sluice proxy` with TLS on both sides: two of them in a row, the outer one plain towards clients and TLS towards the
 * inner one. Run by proxy_tls.sh, which names the program to test in $SLUICE. Prints "ok - NAME" or "not ok - NAME". */
#include "tests/proxy_process.h"
#include "tests/tls_files.h"

#define EVENT(text) "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define FINISH "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define SSE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

static struct proxy_upstream upstream;
static char ca_file[256], cert_file[256], stranger_file[256], client_file[256];

static void play(struct visit *v) {
  if (!visit_say(v, SSE_HEAD EVENT("one "))) return;
  if (!strcmp(v->script, "held")) visit_await_end(v, 5000);
  for (int i = 0; i < 15 && !strcmp(v->script, "slowly"); i++, sleep_ms(100)) visit_say(v, EVENT("tick "));
  static const char event[] = EVENT("a line of text that says nothing much at all, only to be long enough to count");
  while (!strcmp(v->script, "flood") && v->sent < ((size_t)64 << 20) && visit_send(v, event, sizeof event - 1)) {
  }
  visit_say_cut(v, EVENT("a SEC") EVENT("RET b") FINISH DONE, 7);
}

/* ---- a client that speaks TLS ---- */

struct tls_client {
  SSL_CTX *ctx;
  SSL *ssl;
  int fd;
};

static void tls_end(struct tls_client *c) {
  SSL_free(c->ssl);
  SSL_CTX_free(c->ctx);
  close(c->fd);
}

/* False when the handshake fails, or the server cannot be verified. */
static bool tls_dial(struct tls_client *c, int port, int max_version, const char *identity) {
  *c = (struct tls_client){SSL_CTX_new(TLS_client_method()), NULL, dial(port)};
  SSL_CTX_load_verify_locations(c->ctx, ca_file, NULL);
  SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
  if (max_version) {
    SSL_CTX_set_security_level(c->ctx, 0);
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(c->ctx, max_version);
  }
  if (identity) {
    SSL_CTX_use_certificate_chain_file(c->ctx, identity);
    SSL_CTX_use_PrivateKey_file(c->ctx, identity, SSL_FILETYPE_PEM);
  }
  c->ssl = SSL_new(c->ctx);
  SSL_set_fd(c->ssl, c->fd);
  return c->fd >= 0 && SSL_connect(c->ssl) == 1;
}

static void tls_ask(struct tls_client *c, const char *script) {
  char text[512];
  ask(text, sizeof text, "/v1/chat/completions", script);
  SSL_write(c->ssl, text, (int)strlen(text));
}

/* All until the other side ends; *whole: it said so in TLS. */
static char *tls_hear(struct tls_client *c, bool *whole) {
  size_t len = 0, cap = 1 << 20;
  char *all = malloc(cap + 1);
  int n = 0;
  while (len < cap && (n = SSL_read(c->ssl, all + len, (int)(cap - len))) > 0) len += (size_t)n;
  *whole = SSL_get_error(c->ssl, n) == SSL_ERROR_ZERO_RETURN;
  all[len] = '\0';
  return all;
}

static void name_of(struct tls_client *c, char out[64]) {
  X509 *cert = SSL_get1_peer_certificate(c->ssl);
  out[0] = '\0';
  if (cert) X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out, 64);
  X509_free(cert);
}

/* ---- tests ---- */

static void test_clients(int port) {
  struct tls_client c;
  bool whole = false;
  if (!tls_dial(&c, port, 0, NULL)) return check("a client that trusts the CA is let in", false, NULL);
  tls_ask(&c, "clean");
  char *answer = tls_hear(&c, &whole), *body = body_of(answer);
  check("a stream over TLS is judged", body && has(body, "[x]") && !has(body, "RET") && has(body, DONE), answer);
  check("and ends with close_notify", whole, NULL);
  free(answer);
  tls_end(&c);
  check("TLS 1.1 is not spoken", !tls_dial(&c, port, TLS1_1_VERSION, NULL), NULL);
  tls_end(&c);
  check("TLS 1.2 is", tls_dial(&c, port, TLS1_2_VERSION, NULL), NULL);
  tls_end(&c);
  answer = chat(port, "clean");
  check("a client without TLS gets nothing", !has(answer, "HTTP/1.1 200"), answer);
  free(answer);
}

static void test_vanishing(int port) {
  struct tls_client c;
  if (!tls_dial(&c, port, 0, NULL)) return check("a client is let in", false, NULL);
  tls_ask(&c, "held");
  struct visit *v = proxy_upstream_visit(&upstream, "held");
  sleep_ms(200);
  int64_t left = now_ns();
  tls_end(&c);
  for (int i = 0; v && !v->gone_ns && i < 200; i++) sleep_ms(10);
  check("a client that leaves cancels the upstream", v && v->gone_ns && v->gone_ns - left < 1000000000LL, NULL);
}

static void test_slow_reader(const struct proxy *p) {
  struct tls_client c;
  size_t before = proxy_memory(p), most = 0;
  if (!tls_dial(&c, p->port, 0, NULL)) return check("a client is let in", false, NULL);
  tls_ask(&c, "flood");
  struct visit *v = proxy_upstream_visit(&upstream, "flood");
  for (int i = 0; i < 100; i++, sleep_ms(10)) {
    size_t now = proxy_memory(p);
    if (now > most) most = now;
  }
  check("a client that does not read holds its upstream",
        v && !v->ended && v->sent < ((size_t)32 << 20) && most < before + ((size_t)16 << 20), NULL);
  tls_end(&c);
}

static void test_upstream(int inner) {
  char url[64];
  snprintf(url, sizeof url, "https://127.0.0.1:%d", inner);
  const char *const good[] = {"--backup", url, "--upstream-ca", ca_file, NULL};
  const char *const stranger[] = {"--backup", url, "--upstream-ca", stranger_file, NULL};
  const char *const http2[] = {"--backup", url, "--upstream-ca", ca_file, "--upstream-http2", NULL};
  const char *const *const sets[] = {good, http2, stranger};
  static const char *const names[] = {"an upstream over TLS", "an upstream that does not offer HTTP/2 gets HTTP/1.1",
                                      "an upstream that cannot be verified is not asked: 502"};
  for (int i = 0; i < 3; i++) {
    struct proxy p;
    if (!proxy_start(&p, 1, sets[i])) { /* port 1: nobody is there, so the other is asked */
      check("a proxy starts", false, NULL);
      continue;
    }
    char *answer = chat(p.port, "clean"), *body = body_of(answer);
    check(names[i], i < 2 ? body && has(body, "[x]") && has(body, DONE) : has(answer, "HTTP/1.1 502 "), answer);
    free(answer);
    check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
  }
}

static bool reaches(int admin, const char *name, uint64_t value) {
  for (int64_t until = now_ns() + 4000000000LL; now_ns() < until; sleep_ms(20))
    if (metric(admin, name) == value) return true;
  return false;
}

/* The admin's port, which speaks plain, from the log. */
static int admin_port(const struct proxy *p) {
  char line[512];
  int port = 0;
  FILE *f = fopen(p->log, "r");
  while (f && fgets(line, sizeof line, f)) {
    const char *at = strstr(line, "listens at 127.0.0.1:");
    if (at) port = (int)strtol(at + 21, NULL, 10);
  }
  if (f) fclose(f);
  return port;
}

static void test_new_certificate(const struct proxy *p, const struct tls_identity *ca) {
  struct tls_identity next = tls_make("second", ca);
  struct tls_client old, c;
  char name[64];
  bool whole = false;
  int admin = admin_port(p);
  if (!tls_dial(&old, p->port, 0, NULL)) return check("a client is let in", false, NULL);
  tls_ask(&old, "slowly");
  sleep_ms(200);
  tls_write(cert_file, &next, true);
  kill(p->pid, SIGHUP);
  check("SIGHUP reads the certificate again", reaches(admin, "sluice_reloads_total", 1), NULL);
  check("new connections see it", tls_dial(&c, p->port, 0, NULL) && (name_of(&c, name), !strcmp(name, "second")), name);
  tls_end(&c);
  char *answer = tls_hear(&old, &whole), *body = body_of(answer);
  check("a stream under way ends whole", body && whole && has(body, "[x]") && has(body, DONE), answer);
  free(answer);
  tls_end(&old);
  FILE *f = fopen(cert_file, "w");
  if (f) fclose(f);
  kill(p->pid, SIGHUP);
  check("a broken certificate is refused", reaches(admin, "sluice_reloads_failed_total", 1), NULL);
  check("and the one before stays", tls_dial(&c, p->port, 0, NULL) && (name_of(&c, name), !strcmp(name, "second")),
        name);
  tls_end(&c);
  tls_write(cert_file, &next, true);
  tls_free(&next);
}

static void test_client_certificates(void) {
  const char *const more[] = {"--tls-cert", cert_file, "--tls-client-ca", ca_file, NULL};
  struct proxy p;
  struct tls_client c;
  bool whole = false;
  if (!proxy_start(&p, upstream.port, more)) return check("a proxy that asks for certificates starts", false, NULL);
  tls_dial(&c, p.port, 0, NULL); /* in TLS 1.3 the refusal comes with the first read */
  tls_ask(&c, "clean");
  char *answer = tls_hear(&c, &whole);
  check("a client without a certificate is refused", !has(answer, "HTTP/1.1"), answer);
  free(answer);
  tls_end(&c);
  if (tls_dial(&c, p.port, 0, client_file)) tls_ask(&c, "clean");
  answer = tls_hear(&c, &whole);
  check("one with a certificate is served", has(answer, "HTTP/1.1 200") && has(answer, "[x]"), answer);
  free(answer);
  tls_end(&c);
  char url[64];
  snprintf(url, sizeof url, "https://127.0.0.1:%d", p.port);
  const char *const shows[] = {"--backup", url, "--upstream-ca", ca_file, "--upstream-cert", client_file, NULL};
  struct proxy outer;
  if (!proxy_start(&outer, 1, shows)) return check("a proxy that shows a certificate starts", false, NULL);
  answer = chat(outer.port, "clean");
  check("a proxy shows its own to an upstream", has(answer, "[x]") && has(answer, DONE), answer);
  free(answer);
  check("clean ends", proxy_stop(&outer, SIGTERM, 3000) == 0 && proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
}

static bool prepare(const struct tls_identity *ca) {
  char path[256];
  struct tls_identity stranger = tls_make("stranger", NULL), server = tls_make("first", ca), client = tls_make("c", ca);
  snprintf(ca_file, sizeof ca_file, "%s/ca.pem", work);
  snprintf(cert_file, sizeof cert_file, "%s/server.pem", work);
  snprintf(stranger_file, sizeof stranger_file, "%s/stranger.pem", work);
  snprintf(client_file, sizeof client_file, "%s/client.pem", work);
  snprintf(path, sizeof path, "%s/policy.json", work);
  bool good = tls_write(ca_file, ca, false) && tls_write(stranger_file, &stranger, false) &&
              tls_write(cert_file, &server, true) && tls_write(client_file, &client, true);
  FILE *f = fopen(path, "w");
  if (f)
    fputs("{\"rules\":[{\"id\":\"m\",\"category\":\"m\",\"action\":\"mask\",\"mask\":\"[x]\",\"pattern\":\"SECRET\"}]}",
          f);
  if (f) fclose(f);
  tls_free(&stranger);
  tls_free(&server);
  tls_free(&client);
  return good && f;
}

int main(int argc, char **argv) {
  if (argc != 2 || !getenv("SLUICE")) {
    fprintf(stderr, "usage: SLUICE=PROGRAM proxy_tls FOLDER\n");
    return 2;
  }
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  struct tls_identity ca = tls_make("test CA", NULL);
  const char *const more[] = {"--tls-cert", cert_file, "--admin", "127.0.0.1:0", NULL};
  struct proxy p;
  if (!prepare(&ca) || !proxy_upstream_start(&upstream, play) || !proxy_start(&p, upstream.port, more)) {
    check("a proxy with TLS starts", false, NULL);
    return 1;
  }
  test_clients(p.port);
  test_vanishing(p.port);
  test_slow_reader(&p);
  test_upstream(p.port);
  test_new_certificate(&p, &ca);
  check("a clean end", proxy_stop(&p, SIGTERM, 4000) == 0, NULL);
  test_client_certificates();
  tls_free(&ca);
  return bad;
}
