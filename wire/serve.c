/* A server over the connections of server.h, whose loop its owner turns: between two turns the owner computes. */
#include "wire/server.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000LL
#define TICK_MS 200

struct wire_call {
  struct client *client;
  struct buffer path;
  void *mine;
};
struct wire_server {
  struct wire_server_options o;
  struct server server;
  struct cors cors;
  struct event *clock, *on_term, *on_int;
  int64_t drain_until_ns;
};

/* ---- hooks ---- */

static void on_request(struct client *c) {
  struct wire_server *s = c->server->owner;
  struct sluice_error ignored = {0};
  if (client_preflight(c)) return;
  struct wire_call *call = calloc(1, sizeof *call);
  if (!call) {
    client_refuse(c, 503, "no_memory", "no memory for the request");
    return;
  }
  call->client = c;
  buffer_init(&call->path, SERVER_HEAD_MAX);
  sluice_status st = http_path_plain(c->head.target, &call->path, &ignored);
  if (!st) st = buffer_append(&call->path, "", 1, &ignored);
  if (st) {
    buffer_free(&call->path);
    free(call);
    client_refuse(c, 400, "bad_request", "the path cannot be read");
    return;
  }
  c->call = call;
  s->o.request(s->o.ctx, call);
}

static void call_free(struct wire_call *call) {
  buffer_free(&call->path);
  free(call);
}

static void on_left(struct client *c) {
  struct wire_server *s = c->server->owner;
  struct wire_call *call = c->call;
  c->call = NULL;
  s->o.left(s->o.ctx, call);
  call_free(call);
}

static sluice_status error_body(const struct client *c, int status, const char *code, const char *message,
                                struct buffer *out, struct sluice_error *err) {
  (void)c;
  return wire_answer_error(status, code, NULL, message, out, err);
}

static const struct server_hooks hooks = {.request = on_request, .left = on_left, .error_body = error_body};

/* ---- calls ---- */

struct slice wire_call_method(const struct wire_call *c) {
  return c->client->head.method;
}
bool wire_call_field(const struct wire_call *c, const char *name, struct slice *value) {
  const struct http_head *h = &c->client->head;
  for (size_t i = 0; i < h->n_fields; i++) {
    if (!slice_is_nocase(h->fields[i].name, name)) continue;
    *value = h->fields[i].value;
    return true;
  }
  return false;
}
const char *wire_call_path(const struct wire_call *c) {
  return c->path.ptr;
}
struct slice wire_call_body(const struct wire_call *c) {
  return (struct slice){c->client->body.ptr ? c->client->body.ptr : "", c->client->body.len};
}
void wire_call_keep(struct wire_call *c, void *mine) {
  c->mine = mine;
}
void *wire_call_kept(const struct wire_call *c) {
  return c->mine;
}

void wire_call_answer(struct wire_call *c, int status, const char *type, struct slice body) {
  if (c->client->server->cors)
    client_answer_across(c->client, status, type, body);
  else
    client_answer(c->client, status, type, body);
  call_free(c);
}

void wire_call_begin(struct wire_call *c, int status, const char *type) {
  const struct cors *cors = c->client->server->cors;
  struct buffer fields;
  struct sluice_error ignored = {0};
  buffer_init(&fields, SERVER_HEAD_MAX);
  sluice_status st = buffer_printf(&fields, &ignored, "Content-Type: %s\r\nCache-Control: no-store\r\n", type);
  if (!st && cors) st = cors_fields(cors, &c->client->head, true, &fields, &ignored);
  client_begin(c->client, status, NULL, (struct slice){st ? "" : fields.ptr, st ? 0 : fields.len}, -1);
  buffer_free(&fields);
}

void wire_call_send(struct wire_call *c, struct slice bytes) {
  client_body(c->client, bytes);
}

void wire_call_end(struct wire_call *c) {
  client_end(c->client);
  call_free(c);
}

bool wire_call_slow(const struct wire_call *c) {
  return client_backlog(c->client) > SERVER_BACKLOG_HIGH;
}

/* ---- the loop ---- */

static void on_signal(evutil_socket_t number, short what, void *ctx) {
  struct wire_server *s = ctx;
  (void)number, (void)what;
  s->drain_until_ns = clock_mono_ns() + (s->server.draining ? 0 : s->o.drain_s * SECOND);
  s->server.draining = true;
  server_stop_listening(&s->server, true);
}

static void on_clock(evutil_socket_t fd, short what, void *ctx) {
  struct wire_server *s = ctx;
  (void)fd, (void)what;
  server_tick(&s->server, clock_mono_ns());
}

bool wire_server_turn(struct wire_server *s, bool wait) {
  event_base_loop(s->server.loop, wait ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
  if (!s->server.draining) return true;
  return server_busy(&s->server) && clock_mono_ns() < s->drain_until_ns;
}

bool wire_server_draining(const struct wire_server *s) {
  return s->server.draining;
}

const char *wire_server_address(const struct wire_server *s, size_t i) {
  return i < s->server.n_listeners ? s->server.listeners[i].address : NULL;
}

static sluice_status open_loop(struct wire_server *s, struct sluice_error *err) {
  struct timeval tick = {0, TICK_MS * 1000};
  s->server.loop = event_base_new();
  if (!s->server.loop) return sluice_fail(err, SLUICE_NOMEM, "no event loop");
  s->clock = event_new(s->server.loop, -1, EV_PERSIST, on_clock, s);
  s->on_term = evsignal_new(s->server.loop, SIGTERM, on_signal, s);
  s->on_int = evsignal_new(s->server.loop, SIGINT, on_signal, s);
  if (!s->clock || !s->on_term || !s->on_int || event_add(s->clock, &tick) || event_add(s->on_term, NULL) ||
      event_add(s->on_int, NULL))
    return sluice_fail(err, SLUICE_NOMEM, "no memory for the event loop");
  return SLUICE_OK;
}

sluice_status wire_server_open(const struct wire_server_options *o, struct wire_server **out,
                               struct sluice_error *err) {
  struct wire_server *s = calloc(1, sizeof *s);
  if (!s) return sluice_fail(err, SLUICE_NOMEM, "no memory for a server");
  s->o = *o;
  if (!s->o.drain_s) s->o.drain_s = 30;
  s->server = (struct server){.hooks = &hooks,
                              .owner = s,
                              .max_body = o->max_body ? o->max_body : 32 << 20,
                              .max_clients = o->max_clients ? o->max_clients : 4096};
  s->cors = (struct cors){o->cors, o->n_cors};
  if (o->n_cors) s->server.cors = &s->cors;
  sluice_status st = cors_check(&s->cors, err);
  if (!st) st = open_loop(s, err);
  for (size_t i = 0; !st && i < o->n_listen; i++) st = server_listen(&s->server, o->listen[i], false, err);
  if (st) {
    wire_server_close(s);
    return st;
  }
  *out = s;
  return SLUICE_OK;
}

void wire_server_close(struct wire_server *s) {
  if (!s) return;
  server_stop_listening(&s->server, true);
  server_free_clients(&s->server);
  if (s->clock) event_free(s->clock);
  if (s->on_term) event_free(s->on_term);
  if (s->on_int) event_free(s->on_int);
  if (s->server.loop) event_base_free(s->server.loop);
  free(s);
}
