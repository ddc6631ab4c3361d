/* libcurl's multi interface in libevent's loop: libcurl says which sockets and which time it waits for. */
#include "wire/proxy.h"

#include <stdlib.h>

struct watch { /* one socket of libcurl's */
  struct upstream *upstream;
  struct event *event;
  struct watch *prev, *next;
};
struct upstream {
  struct proxy_loop *loop;
  CURLM *multi;
  struct event *timer;
  struct watch *watches;
};

static void on_socket(evutil_socket_t fd, short what, void *ctx) {
  struct upstream *u = ctx;
  u->loop->now_ns = clock_mono_ns();
  int running, action = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
  curl_multi_socket_action(u->multi, fd, action, &running);
  upstream_check(u);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
  struct upstream *u = ctx;
  int running;
  (void)fd, (void)what;
  u->loop->now_ns = clock_mono_ns();
  curl_multi_socket_action(u->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  upstream_check(u);
}

static int set_timer(CURLM *multi, long ms, void *ctx) {
  struct upstream *u = ctx;
  struct timeval t = {ms / 1000, (ms % 1000) * 1000};
  (void)multi;
  if (ms < 0) return event_del(u->timer);
  return event_add(u->timer, &t);
}

static void watch_free(struct watch *w) {
  if (!w) return;
  if (w->event) event_free(w->event);
  if (w->prev)
    w->prev->next = w->next;
  else
    w->upstream->watches = w->next;
  if (w->next) w->next->prev = w->prev;
  free(w);
}

static int set_watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket) {
  struct upstream *u = ctx;
  struct watch *w = socket;
  short wanted = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    watch_free(w);
    curl_multi_assign(u->multi, fd, NULL);
    return 0;
  }
  if (!w) {
    w = calloc(1, sizeof *w);
    if (!w) return -1;
    w->upstream = u;
    w->next = u->watches;
    if (w->next) w->next->prev = w;
    u->watches = w;
    curl_multi_assign(u->multi, fd, w);
  }
  if (w->event) event_free(w->event);
  w->event = event_new(u->loop->server.loop, fd, wanted, on_socket, u);
  return w->event && event_add(w->event, NULL) == 0 ? 0 : -1;
}

void upstream_check(struct upstream *u) {
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(u->multi, &left))) {
    char *private = NULL;
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
    struct transfer *t = (struct transfer *)(void *)private;
    t->done(t, code);
  }
  answers_leave(u->loop);
}

sluice_status upstream_add(struct upstream *u, CURL *easy, struct sluice_error *err) {
  CURLMcode code = curl_multi_add_handle(u->multi, easy);
  return code ? sluice_fail(err, SLUICE_NOMEM, "upstream: %s", curl_multi_strerror(code)) : SLUICE_OK;
}

void upstream_remove(struct upstream *u, CURL *easy) {
  curl_multi_remove_handle(u->multi, easy);
}

sluice_status upstream_open(struct proxy_loop *l, struct upstream **out, struct sluice_error *err) {
  struct upstream *u = calloc(1, sizeof *u);
  *out = u;
  if (!u) return sluice_fail(err, SLUICE_NOMEM, "no memory for the upstream");
  u->loop = l;
  u->multi = curl_multi_init();
  u->timer = evtimer_new(l->server.loop, on_timer, u);
  if (!u->multi || !u->timer) return sluice_fail(err, SLUICE_NOMEM, "no memory for the upstream");
  curl_multi_setopt(u->multi, CURLMOPT_SOCKETFUNCTION, set_watch);
  curl_multi_setopt(u->multi, CURLMOPT_SOCKETDATA, u);
  curl_multi_setopt(u->multi, CURLMOPT_TIMERFUNCTION, set_timer);
  curl_multi_setopt(u->multi, CURLMOPT_TIMERDATA, u);
  curl_multi_setopt(u->multi, CURLMOPT_MAXCONNECTS, (long)UPSTREAM_IDLE_MAX);
  curl_multi_setopt(u->multi, CURLMOPT_PIPELINING,
                    (long)(l->whole->o.upstream_http2 ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING));
  return SLUICE_OK;
}

void upstream_close(struct upstream *u) {
  if (!u) return;
  if (u->multi) curl_multi_cleanup(u->multi);
  while (u->watches) watch_free(u->watches);
  if (u->timer) event_free(u->timer);
  free(u);
}
