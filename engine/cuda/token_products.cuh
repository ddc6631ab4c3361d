/* What blocks give each other, and the matrix-vector products between. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_TOKEN_PRODUCTS_CUH
#define SLUICE_ENGINE_CUDA_TOKEN_PRODUCTS_CUH

#include "engine/cuda/activate.cuh"
#include "engine/cuda/token_tile.cuh"

#if __CUDA_ARCH__ >= 900
namespace {

/* ---- numbers with their tags ---- */

__device__ void give(unsigned long long *to, float v, unsigned tag) {
  const unsigned long long both = static_cast<unsigned long long>(tag) << 32 | __float_as_uint(v);
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(both) : "memory");
}

__device__ unsigned long long look(const unsigned long long *from) {
  unsigned long long v;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(from) : "memory");
  return v;
}

__device__ ulonglong2 look_two(const unsigned long long *from) {
  ulonglong2 v;
  asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(v.x), "=l"(v.y) : "l"(from) : "memory");
  return v;
}

__device__ bool is_of(unsigned long long v, unsigned tag) {
  return static_cast<unsigned>(v >> 32) == tag;
}

__device__ float number_of(unsigned long long v) {
  return __uint_as_float(static_cast<unsigned>(v));
}

/* What was looked at before may not have been there yet. */
__device__ float await(const unsigned long long *from, unsigned long long v, unsigned tag) {
  while (!is_of(v, tag)) v = look(from);
  return number_of(v);
}

/* ---- what all blocks read: inputs of products, in a form that depends on the layers' type of matrices ---- */

template <class L> struct token_words {
  enum { AHEAD = 3 }; /* quads that a thread looks at together */
  struct quad {
    ulonglong2 low, high;
  };
  __device__ static struct quad look_at(const unsigned long long *from, int i) {
    return {look_two(from + 4 * i), look_two(from + 4 * i + 2)};
  }
  __device__ static bool are_of(const struct quad &q, unsigned tag) {
    return is_of(q.low.x, tag) && is_of(q.low.y, tag) && is_of(q.high.x, tag) && is_of(q.high.y, tag);
  }
  __device__ static float4 numbers_of(const struct quad &q) {
    return make_float4(number_of(q.low.x), number_of(q.low.y), number_of(q.high.x), number_of(q.high.y));
  }
  __device__ static void give_all(unsigned long long *to, int i, float v, unsigned tag, bool mine) {
    if (mine) give(to + i, v, tag);
  }
};

/* Two numbers a word, without the last 8 bits of each: tensor cores would take no more (token_tile.cuh). What a place
 * held before has the tag before, so 16 bits of a tag are enough. */
template <> struct token_words<bf16> {
  enum { AHEAD = 6 };
  struct quad {
    ulonglong2 both;
  };
  __device__ static struct quad look_at(const unsigned long long *from, int i) { return {look_two(from + 2 * i)}; }
  __device__ static bool are_of(const struct quad &q, unsigned tag) {
    return q.both.x >> 48 == (tag & 0xffff) && q.both.y >> 48 == (tag & 0xffff);
  }
  __device__ static float first(unsigned long long word) { return __uint_as_float(static_cast<unsigned>(word) << 8); }
  __device__ static float second(unsigned long long word) {
    return __uint_as_float(static_cast<unsigned>(word >> 16) & 0xffffff00u);
  }
  __device__ static float4 numbers_of(const struct quad &q) {
    return make_float4(first(q.both.x), second(q.both.x), first(q.both.y), second(q.both.y));
  }
  /* To the nearest; what is not a number stays so. */
  __device__ static unsigned long long upper(float v) {
    const unsigned bits = __float_as_uint(v);
    return isnan(v) ? 0x7fffff : (bits + 0x7f + (bits >> 8 & 1)) >> 8;
  }
  __device__ static void give_all(unsigned long long *to, int i, float v, unsigned tag, bool mine) {
    const unsigned long long one = upper(v), two = __shfl_down_sync(~0u, one, 1),
                             word = static_cast<unsigned long long>(tag) << 48 | two << 24 | one;
    if (mine && i % 2 == 0) asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to + i / 2), "l"(word) : "memory");
  }
};

/* Number i of what begins at `to`, from each thread that it is `mine`; neighbouring lanes have neighbouring numbers,
 * and whole warps come here. */
template <class L> __device__ void give_all(unsigned long long *to, int i, float v, unsigned tag, bool mine) {
  token_words<L>::give_all(to, i, v, tag, mine);
}

template <class L>
__device__ float4 await_quad(const unsigned long long *from, int i, typename token_words<L>::quad v, unsigned tag) {
  while (!token_words<L>::are_of(v, tag)) v = token_words<L>::look_at(from, i);
  return token_words<L>::numbers_of(v);
}

/* ---- among the workers of a block ---- */

__device__ void workers_meet() {
  asm volatile("bar.sync 1, %0;" ::"r"(static_cast<int>(WORKERS)) : "memory");
}

__device__ float warp_sum(float v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}

__device__ float sum_of_parts(const float *parts) {
  float v = 0;
#pragma unroll
  for (int i = 0; i < TOKEN_WARPS; i++) v += parts[i];
  return v;
}

/* ---- a product's input ---- */

struct token_input {
  const unsigned long long *from;
  unsigned tag;
  const float *gain, *shift; /* of its norm; NULL: none */
};

/* Puts numbers of x where the lanes will read them, times the norm's gain, and gathers what the norm needs. */
template <class W> struct token_taker {
  int chunks;
  bool layer;
  float sum;
  __device__ void put(int i, float4 v, const float4 &gain, bool norm) {
    if (layer) {
      sum += v.x + v.y + v.z + v.w;
      *token_vector<W>::raw(chunks, i) = v;
      return;
    }
    if (norm) {
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
      v.x *= gain.x, v.y *= gain.y, v.z *= gain.z, v.w *= gain.w;
    }
    token_vector<W>::put(chunks, i, v);
  }
};

/* A LayerNorm of what lies in x as it came, each thread its own part. */
template <class W>
__device__ void token_layer_norm(struct token_block &m, const struct token_input &in, int cols, int chunks, float sum,
                                 float eps) {
  float squares = 0;
  const float mean = __fdividef(sum, static_cast<float>(cols));
  for (int i = threadIdx.x; i < cols / 4; i += WORKERS) {
    float4 v = *token_vector<W>::raw(chunks, i);
    v.x -= mean, v.y -= mean, v.z -= mean, v.w -= mean;
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) m.parts[TOKEN_WARPS + threadIdx.x / 32] = squares;
  workers_meet();
  const float factor = rsqrtf(__fdividef(sum_of_parts(m.parts + TOKEN_WARPS), static_cast<float>(cols)) + eps);
  for (int i = threadIdx.x; i < chunks * (lanes_of<W>::N / 4); i += WORKERS) {
    float4 v = make_float4(0, 0, 0, 0);
    if (i < cols / 4) {
      const float4 g = __ldg(reinterpret_cast<const float4 *>(in.gain) + i),
                   b = __ldg(reinterpret_cast<const float4 *>(in.shift) + i);
      v = *token_vector<W>::raw(chunks, i);
      v.x = (v.x - mean) * factor * g.x + b.x, v.y = (v.y - mean) * factor * g.y + b.y;
      v.z = (v.z - mean) * factor * g.z + b.z, v.w = (v.w - mean) * factor * g.w + b.w;
    }
    token_vector<W>::put(chunks, i, v);
  }
  workers_meet();
}

/* A product's input into shared memory; returns the factor that makes it normalised. The first look of a thread is
 * repeated until its numbers are there; by then the others mostly are, and many looks are under way at a time. W: the
 * matrix's type, L: that of the layers' matrices. */
template <class W, class L>
__device__ float token_take(struct token_block &m, const struct token_shape &s, const struct token_input &in) {
  typedef struct token_words<L> words;
  enum { N4 = lanes_of<W>::N / 4, AHEAD = words::AHEAD };
  const struct token_args &a = m.a;
  const int quads = s.chunks * N4, used = s.cols / 4;
  const float4 *gain = reinterpret_cast<const float4 *>(in.gain);
  const bool norm = in.gain, rms = norm && !in.shift;
  struct token_taker<W> t = {
    s.chunks, norm &&in.shift, 0
  };
  for (int first = threadIdx.x; first < quads; first += AHEAD * WORKERS) {
    typename words::quad u[AHEAD];
    float4 g[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++)
      if (rms && first + k * WORKERS < used) g[k] = __ldg(gain + first + k * WORKERS);
    do {
      if (first < used) u[0] = words::look_at(in.from, first);
    } while (first < used && !words::are_of(u[0], in.tag));
#pragma unroll
    for (int k = 1; k < AHEAD; k++)
      if (first + k * WORKERS < used) u[k] = words::look_at(in.from, first + k * WORKERS);
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const int at = first + k * WORKERS;
      if (at < used)
        t.put(at, await_quad<L>(in.from, at, u[k], in.tag), g[k], norm);
      else if (at < quads)
        token_vector<W>::put(s.chunks, at, make_float4(0, 0, 0, 0));
    }
  }
  if (norm) {
    const float sum = warp_sum(t.sum);
    if (threadIdx.x % 32 == 0) m.parts[threadIdx.x / 32] = sum;
  }
  workers_meet();
  if (!norm) return 1.0f;
  const float sum = sum_of_parts(m.parts);
  if (rms) return rsqrtf(__fdividef(sum, static_cast<float>(s.cols)) + a.final_norm.eps);
  token_layer_norm<W>(m, in, s.cols, s.chunks, sum, a.final_norm.eps);
  return 1.0f;
}

/* ---- the product itself ---- */

struct token_worker {
  int warp, lane, turn; /* turn: as the cursor's */
  int slot;             /* of its ring */
  unsigned phase;
  float residual; /* of the row that this thread finishes */
};

/* The warp's units of a matrix: each(unit, v) with the first row's sum in lane 0 and the second's in lane 16. W: the
 * matrix's type, L: that of the layers' matrices, for which the ring is made. */
template <class W, class L, class EACH>
__device__ void token_product(const struct token_block &m, int which, struct token_worker *w, EACH each) {
  const struct token_shape &s = m.a.shape[which];
  const int units = m.cut[which].units, share = 1 << s.share_log, chunks = s.chunks, width = s.tile, tiles = s.tiles,
            slots = m.a.slots;
  const unsigned ring = shared_address(token_layers_of(m.a) + m.a.n_layers) + w->warp * slots * token_ring<L>::SLOT,
                 full = shared_address(m.full[w->warp]), empty = shared_address(m.empty[w->warp]),
                 x = shared_address(token_memory),
                 gap = tiles == 1 && s.distance == 1 ? chunks * 16 : static_cast<unsigned>(TOKEN_TILE_BYTES);
  for (int unit = token_first(w->warp, w->turn); unit < units; unit += TOKEN_WARPS) {
    struct token_sum<W> sum = {};
    for (int tile = unit & (share - 1); tile < tiles; tile += share) {
      const unsigned at = ring + w->slot * token_ring<L>::SLOT;
      barrier_wait(full + w->slot * 8, w->phase);
      sum.add(x, chunks, {at, gap, at + 2 * TOKEN_TILE_BYTES, tile * width, min(chunks - tile * width, width)});
      __syncwarp();
      if (w->lane == 0) barrier_arrive(empty + w->slot * 8);
      if (++w->slot == slots) w->slot = 0, w->phase ^= 1;
    }
    each(unit, sum.of_rows());
  }
  w->turn = (w->turn + units) % TOKEN_WARPS;
}

/* Row `row` of a pair, from the sums of its units. */
__device__ float token_row_sum(const struct token_args &a, const struct token_shape &s, int pair, int row) {
  const float *sums = token_sums(a) + (pair << s.share_log) * 2 + row;
  const int n = 1 << s.share_log;
  float v = 0;
#pragma unroll 4
  for (int i = 0; i < n; i++) v += sums[2 * i];
  return v;
}

/* A thread's result of one of a layer's products, to whom it concerns. L: the layers' type of matrices. */
template <class L>
__device__ void token_finish(const struct token_block &m, int which, unsigned tag, float factor, const float *bias,
                             struct token_worker *w) {
  const struct token_args &a = m.a;
  const struct token_shape &s = a.shape[which];
  const int begin = m.cut[which].begin, pairs = m.cut[which].pairs, t = threadIdx.x;
  if (which == TOKEN_FFN && a.gated) {
    const bool mine = t < pairs;
    const float gate = mine ? token_row_sum(a, s, t, 0) * factor + bias[0] : 0.0f,
                up = mine ? token_row_sum(a, s, t, 1) * factor + bias[1] : 0.0f;
    give_all<L>(a.act, begin + t, activate(a.activation, gate) * up, tag, mine);
    return;
  }
  const int row = begin * 2 + t;
  const bool mine = t < pairs * 2 && row < s.rows;
  const float v = mine ? token_row_sum(a, s, t / 2, t % 2) * factor + bias[0] : 0.0f;
  if (which == TOKEN_QKV) {
    if (mine) give(a.qkv + row, v, tag);
  } else if (which == TOKEN_FFN) {
    give_all<L>(a.act, row, activate(a.activation, v), tag, mine);
  } else {
    w->residual += v;
    if (which == TOKEN_DOWN || !a.parallel) give_all<L>(a.x[which == TOKEN_DOWN], row, w->residual, tag, mine);
  }
}

/* Biases of what a thread will finish, asked for early. */
__device__ void token_biases(const struct token_block &m, int which, const float *from, bool gated, float *bias) {
  const struct token_shape &s = m.a.shape[which];
  bias[0] = bias[1] = 0;
  if (!from) return;
  const int row = m.cut[which].begin * (gated ? 1 : 2) + static_cast<int>(threadIdx.x);
  if (row < (gated ? s.pairs : s.rows)) bias[0] = __ldg(from + row);
  if (gated && row < s.pairs) bias[1] = __ldg(from + row + s.distance);
}

} // namespace
#endif

#endif
