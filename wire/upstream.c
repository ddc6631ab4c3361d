/* libcurl's multi interface in libevent's loop: libcurl says which sockets and which time it waits for. */
#include "wire/proxy.h"

#include <event2/event_struct.h>
#include <stdlib.h>

/* A callback of libcurl's that says -1 ends every transfer of the multi handle and leaves its sockets' lists as they
 * were half way: with 7.88 the next curl_multi_socket_action then reads freed transfers. So set_watch and set_timer
 * never do. A transfer whose socket cannot be watched for want of memory is cut by upstream_check instead; a socket
 * that was watched once can be so again without memory, as libevent keeps its place and the event lies in the watch. */
struct watch { /* one socket of libcurl's */
  struct upstream *upstream;
  struct event event;
  struct watch *prev, *next;
};
struct upstream {
  struct proxy_loop *loop;
  CURLM *multi;
  struct event *timer;
  int64_t due_ns; /* what the timer waits for; 0: nothing */
  struct watch *watches;
  struct transfer *cut; /* to be told so by the next upstream_check */
};

static void on_socket(evutil_socket_t fd, short what, void *ctx) {
  struct upstream *u = ctx;
  u->loop->now_ns = clock_mono_ns();
  int running, action = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
  curl_multi_socket_action(u->multi, fd, action, &running);
  upstream_check(u);
}

/* Without memory for a place among the loop's timers the loop comes round again at once, until there is some. */
static void arm_timer(struct upstream *u, int64_t ns) {
  struct timeval t = {ns / 1000000000, ns % 1000000000 / 1000};
  if (event_add(u->timer, &t)) event_active(u->timer, EV_TIMEOUT, 1);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
  struct upstream *u = ctx;
  int running;
  (void)fd, (void)what;
  u->loop->now_ns = clock_mono_ns();
  if (u->due_ns > u->loop->now_ns) {
    arm_timer(u, u->due_ns - u->loop->now_ns);
    return;
  }
  u->due_ns = 0;
  curl_multi_socket_action(u->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  upstream_check(u);
}

static int set_timer(CURLM *multi, long ms, void *ctx) {
  struct upstream *u = ctx;
  (void)multi;
  u->due_ns = ms < 0 ? 0 : clock_mono_ns() + ms * INT64_C(1000000);
  if (ms < 0)
    event_del(u->timer);
  else
    arm_timer(u, ms * INT64_C(1000000));
  return 0;
}

static void watch_free(struct watch *w) {
  if (!w) return;
  event_del(&w->event);
  if (w->prev)
    w->prev->next = w->next;
  else
    w->upstream->watches = w->next;
  if (w->next) w->next->prev = w->prev;
  free(w);
}

static struct watch *watch_new(struct upstream *u, curl_socket_t fd) {
  struct watch *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->upstream = u;
  event_assign(&w->event, u->loop->server.loop, fd, EV_PERSIST, on_socket, u);
  w->next = u->watches;
  if (w->next) w->next->prev = w;
  u->watches = w;
  curl_multi_assign(u->multi, fd, w);
  return w;
}

static void cut(struct upstream *u, CURL *easy) {
  char *private = NULL;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
  struct transfer *t = (struct transfer *)(void *)private;
  if (!t || t->is_cut) return;
  t->is_cut = true;
  t->next_cut = u->cut;
  u->cut = t;
}

static int set_watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket) {
  struct upstream *u = ctx;
  struct watch *w = socket;
  short wanted = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
  if (what == CURL_POLL_REMOVE) {
    watch_free(w);
    curl_multi_assign(u->multi, fd, NULL);
    return 0;
  }
  if (!w) w = watch_new(u, fd);
  if (w) event_del(&w->event);
  if (!w || event_assign(&w->event, u->loop->server.loop, fd, wanted, on_socket, u) || event_add(&w->event, NULL))
    cut(u, easy);
  return 0;
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
  while (u->cut) {
    struct transfer *t = u->cut;
    u->cut = t->next_cut;
    t->is_cut = false;
    t->done(t, CURLE_OUT_OF_MEMORY);
  }
  answers_leave(u->loop);
}

sluice_status upstream_add(struct upstream *u, CURL *easy, struct sluice_error *err) {
  CURLMcode code = curl_multi_add_handle(u->multi, easy);
  return code ? sluice_fail(err, SLUICE_NOMEM, "upstream: %s", curl_multi_strerror(code)) : SLUICE_OK;
}

void upstream_remove(struct upstream *u, CURL *easy) {
  char *private = NULL;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
  for (struct transfer **at = &u->cut; *at; at = &(*at)->next_cut) {
    if (*at != (struct transfer *)(void *)private) continue;
    (*at)->is_cut = false;
    *at = (*at)->next_cut;
    break;
  }
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
