/* The servers behind the proxy: which one is asked, which ones are left alone, and when those come back. */
#include "wire/proxy.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND 1000000000LL
#define AWAY_S 2 /* the first time; twice as long after each probe that fails */
#define AWAY_MAX_S 60
#define UNREACHABLE_S 10 /* then it is worth another request */

sluice_status target_read(struct target *t, const char *url, bool backup, struct sluice_error *err) {
  t->name = url;
  t->backup = backup;
  if (!strncmp(url, "unix:", 5)) {
    t->unix_path = url + 5;
    url = "http://localhost";
  }
  size_t scheme = !strncasecmp(url, "http://", 7) ? 7 : !strncasecmp(url, "https://", 8) ? 8 : 0;
  size_t host = strcspn(url + scheme, "/?#");
  const char *path = url + scheme + host;
  if (!scheme || !host || strpbrk(path, "?# ") || memchr(url + scheme, '@', host))
    return sluice_fail(err, SLUICE_USAGE,
                       "\"%s\" is no upstream: give http://HOST[:PORT], https://HOST[:PORT] or unix:PATH", t->name);
  size_t n = strlen(path);
  while (n && path[n - 1] == '/') n--;
  t->base = sluice_strndup(url, scheme + host);
  t->prefix = sluice_strndup(path, n);
  return t->base && t->prefix ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for the upstream");
}

void target_free(struct target *t) {
  free(t->base);
  free(t->prefix);
}

/* ---- choosing ---- */

/* The one with the fewest requests under way; equal ones take turns. */
static size_t least_busy(struct wire_proxy *p, uint64_t tried, bool backup) {
  size_t best = PROXY_TARGETS_MAX, from = (size_t)(atomic_fetch_add(&p->turn, 1) % p->n_targets);
  int fewest = 0;
  for (size_t k = 0; k < p->n_targets; k++) {
    size_t i = (from + k) % p->n_targets;
    const struct target *t = &p->targets[i];
    int busy = atomic_load(&t->outstanding);
    if (tried >> i & 1 || t->backup != backup || atomic_load(&t->away_until_ns)) continue;
    if (best < PROXY_TARGETS_MAX && busy >= fewest) continue;
    best = i;
    fewest = busy;
  }
  return best;
}

size_t target_pick(struct wire_proxy *p, uint64_t tried) {
  size_t best = least_busy(p, tried, false);
  if (best == PROXY_TARGETS_MAX) best = least_busy(p, tried, true);
  if (best < PROXY_TARGETS_MAX || tried) return best;
  best = 0; /* all are left alone: the one whose time is over first is better than none */
  for (size_t i = 1; i < p->n_targets; i++)
    if (atomic_load(&p->targets[i].away_until_ns) < atomic_load(&p->targets[best].away_until_ns)) best = i;
  return best;
}

bool target_set(const struct wire_proxy *p, size_t target, CURL *easy) {
  const struct target *t = &p->targets[target];
  const struct wire_proxy_options *o = &p->o;
  char url[2048];
  int n = snprintf(url, sizeof url, "%s/", t->base);
  bool bad = n < 0 || (size_t)n >= sizeof url || curl_easy_setopt(easy, CURLOPT_URL, url);
  bad |= curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, t->unix_path) != CURLE_OK;
  bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK;
  if (o->upstream_ca) bad |= curl_easy_setopt(easy, CURLOPT_CAINFO, o->upstream_ca) != CURLE_OK;
  if (o->upstream_cert)
    bad |= curl_easy_setopt(easy, CURLOPT_SSLCERT, o->upstream_cert) ||
           curl_easy_setopt(easy, CURLOPT_SSLKEY, o->upstream_key ? o->upstream_key : o->upstream_cert);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  /* HTTP/2's windows hide back-pressure: only where it is asked for. */
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                   (long)(o->upstream_http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)o->connect_s);
  return !bad;
}

/* ---- health ---- */

void target_note(struct wire_proxy *p, size_t target, bool good) {
  struct target *t = &p->targets[target];
  if (good) {
    atomic_store(&t->failures, 0);
    atomic_store(&t->away_until_ns, 0);
    atomic_store(&t->away_for_ns, 0);
    atomic_store(&t->unreachable_ns, 0);
    return;
  }
  int64_t now = clock_mono_ns(), longer = 2 * atomic_load(&t->away_for_ns);
  atomic_fetch_add(&t->failed, 1);
  atomic_store(&t->unreachable_ns, now);
  if (atomic_fetch_add(&t->failures, 1) + 1 < p->o.eject_after || p->n_targets == 1) return;
  if (longer < AWAY_S * SECOND) longer = AWAY_S * SECOND;
  if (longer > AWAY_MAX_S * SECOND) longer = AWAY_MAX_S * SECOND;
  if (!atomic_load(&t->away_until_ns)) {
    atomic_fetch_add(&t->ejections, 1);
    log_line(LOG_WARN, "proxy upstream=%s is left alone after %d failures", t->name, atomic_load(&t->failures));
  }
  atomic_store(&t->away_for_ns, longer);
  atomic_store(&t->away_until_ns, now + longer);
}

bool target_any_ready(struct wire_proxy *p) {
  int64_t now = clock_mono_ns();
  for (size_t i = 0; i < p->n_targets; i++) {
    int64_t failed = atomic_load(&p->targets[i].unreachable_ns);
    if (!atomic_load(&p->targets[i].away_until_ns) && (!failed || now - failed >= UNREACHABLE_S * SECOND)) return true;
  }
  return false;
}

/* ---- probes: a connection, with TLS where the server speaks it, and where a path was given an answer to GET ---- */

struct probe {
  struct transfer transfer; /* first */
  struct proxy_loop *loop;
  size_t target;
  CURL *easy;
};

static size_t drop_bytes(char *bytes, size_t size, size_t n, void *ctx) {
  (void)bytes, (void)ctx;
  return size * n;
}

static void probe_done(struct transfer *transfer, CURLcode code) {
  struct probe *b = (struct probe *)(void *)transfer;
  struct wire_proxy *p = b->loop->whole;
  struct target *t = &p->targets[b->target];
  long status = 0;
  curl_easy_getinfo(b->easy, CURLINFO_RESPONSE_CODE, &status);
  bool good = code == CURLE_OK && (!p->o.probe_path || (status >= 200 && status < 400));
  upstream_remove(b->loop->upstream, b->easy);
  curl_easy_cleanup(b->easy);
  if (good) log_line(LOG_INFO, "proxy upstream=%s is asked again", t->name);
  target_note(p, b->target, good);
  atomic_store(&t->probing, false);
  free(b);
}

static bool probe_set(struct probe *b) {
  const struct wire_proxy *p = b->loop->whole;
  if (!target_set(p, b->target, b->easy)) return false;
  curl_easy_setopt(b->easy, CURLOPT_PRIVATE, (char *)(void *)b);
  curl_easy_setopt(b->easy, CURLOPT_TIMEOUT, (long)p->o.connect_s);
  curl_easy_setopt(b->easy, CURLOPT_WRITEFUNCTION, drop_bytes);
  curl_easy_setopt(b->easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(b->easy, CURLOPT_FORBID_REUSE, 1L);
  if (!p->o.probe_path) return curl_easy_setopt(b->easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK;
  return curl_easy_setopt(b->easy, CURLOPT_REQUEST_TARGET, p->o.probe_path) == CURLE_OK;
}

static void probe_start(struct proxy_loop *l, size_t target) {
  struct sluice_error ignored = {0};
  struct probe *b = calloc(1, sizeof *b);
  if (!b) return;
  *b = (struct probe){.transfer.done = probe_done, .loop = l, .target = target, .easy = curl_easy_init()};
  if (b->easy && probe_set(b) && !upstream_add(l->upstream, b->easy, &ignored)) {
    atomic_store(&l->whole->targets[target].probing, true);
    return;
  }
  curl_easy_cleanup(b->easy);
  free(b);
}

void targets_probe(struct proxy_loop *l, int64_t now) {
  for (size_t i = 0; i < l->whole->n_targets; i++) {
    const struct target *t = &l->whole->targets[i];
    int64_t until = atomic_load(&t->away_until_ns);
    if (until && now >= until && !atomic_load(&t->probing)) probe_start(l, i);
  }
}
