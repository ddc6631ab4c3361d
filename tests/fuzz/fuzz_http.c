/* A client's head and a chunked body. A head that is taken is taken at its last byte and no earlier, its parts lie
 * inside it; a body is the same however it is cut; a plain path is plain. The first byte chooses: h, c, p. */
#include "fuzz.h"
#include "wire/http.h"

static void inside(struct slice part, struct slice whole) {
  PROMISE(part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len));
}

static void head(struct slice in, const uint8_t *data, size_t size) {
  static struct http_head h, again;
  size_t used = 0, less = 0;
  int status = http_head_parse(in, &h, &used);
  PROMISE(used <= in.len);
  if (status || !used) return;
  struct slice own = {in.ptr, used};
  inside(h.method, own);
  inside(h.target, own);
  PROMISE(h.target.len > 0 && h.n_fields <= HTTP_FIELDS_MAX && !(h.chunked && h.length));
  for (size_t i = 0; i < h.n_fields; i++) {
    inside(h.fields[i].name, own);
    inside(h.fields[i].value, own);
    http_field_is_of_hop(h.fields[i].name);
    http_list_has(h.fields[i].value, slice_of("close"));
  }
  PROMISE(http_head_parse(own, &again, &less) == 0 && less == used && again.n_fields == h.n_fields);
  struct slice part = {in.ptr, data[size - 1] * used / 256};
  PROMISE(http_head_parse(part, &again, &less) == 0 && less == 0);
}

struct body {
  struct buffer bytes;
  int status;
  bool done;
  size_t used;
};

static void chunks(struct slice in, struct cuts cuts, struct body *b) {
  struct http_chunks c = {0};
  buffer_init(&b->bytes, 1000);
  while (in.len && !b->status && !b->done) {
    struct slice piece = next_piece(&cuts, &in);
    size_t used = 0;
    b->status = http_chunks_push(&c, piece, &used, &b->bytes, &b->done);
    PROMISE(used <= piece.len && (b->status || b->done || used == piece.len));
    b->used += used;
  }
}

static void path(struct slice in) {
  struct sluice_error err;
  struct buffer once, twice;
  buffer_init(&once, 0);
  buffer_init(&twice, 0);
  if (http_path_plain(in, &once, &err) == SLUICE_OK && once.len) {
    PROMISE(!memmem(once.ptr, once.len, "//", 2) && !memmem(once.ptr, once.len, "/../", 4));
    PROMISE(http_path_plain((struct slice){once.ptr, once.len}, &twice, &err) == SLUICE_OK);
  }
  buffer_free(&once);
  buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  struct slice in = {(const char *)data + 1, size - 1};
  if (data[0] == 'h') head(in, data, size);
  if (data[0] == 'p') path(in);
  if (data[0] != 'c') return 0;
  struct body whole = {0}, cut = {0};
  chunks(in, (struct cuts){.whole = true}, &whole);
  chunks(in, (struct cuts){.data = data, .size = size}, &cut);
  PROMISE(whole.status == cut.status && whole.done == cut.done);
  PROMISE(whole.status || (whole.used == cut.used && same_bytes(&whole.bytes, &cut.bytes)));
  buffer_free(&whole.bytes);
  buffer_free(&cut.bytes);
  return 0;
}
