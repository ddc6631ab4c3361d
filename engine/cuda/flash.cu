/* Attention of many queries of one store on tensor cores: a block takes 128 queries of one head, its eight warps 16
 * each, and walks over the kept slots 64 at a time, keys and values two stages deep in shared memory. A running softmax
 * goes through all segments, with the queries of each: merging by log-sum-exp without parts. (The scheme is
 * FlashAttention-2's, Dao 2023; slots take the place of positions, and a slot is seen when born <= time < dead.) */
#include "engine/cuda/mma.cuh"

namespace {

enum { WARPS = 8, THREADS = WARPS * 32, QUERIES = WARPS * 16, KEYS = 64 };

struct stage_place { /* offsets in shared memory */
  unsigned keys, values, born, dead, at;
};

template <int WIDTH> __device__ struct stage_place stage_at(unsigned base, int stage) {
  const unsigned tile = KEYS * WIDTH * 2, each = 2 * tile + KEYS * 16;
  const unsigned at = base + static_cast<unsigned>(stage) * each;
  return {at, at + tile, at + 2 * tile, at + 2 * tile + KEYS * 4, at + 2 * tile + KEYS * 8};
}

template <class T, int WIDTH>
__device__ void fetch_tile(const struct flash &f, const struct query_item *it, int kv_head, uint32_t slot,
                           const struct stage_place &to) {
  enum { PIECES = WIDTH / 8 };
  for (int i = threadIdx.x; i < KEYS * PIECES; i += THREADS) {
    const int row = i / PIECES, piece = i % PIECES;
    const uint32_t at = slot + row;
    const unsigned char *block = it->kv + static_cast<size_t>(at / SLOT_BLOCK) * f.kv.block_bytes;
    const size_t inside = (static_cast<size_t>(at % SLOT_BLOCK) * WIDTH + piece * 8) * 2;
    copy16(to.keys + place_of<WIDTH>(row, piece), block + kv_offset(f.kv, f.layer, 0, kv_head) + inside);
    copy16(to.values + place_of<WIDTH>(row, piece), block + kv_offset(f.kv, f.layer, 1, kv_head) + inside);
  }
  if (threadIdx.x < KEYS)
    copy4(to.born + threadIdx.x * 4, it->born + slot + threadIdx.x);
  else if (threadIdx.x < 2 * KEYS)
    copy4(to.dead + (threadIdx.x - KEYS) * 4, it->dead + slot + threadIdx.x - KEYS);
  else if (f.window && threadIdx.x < 3 * KEYS)
    copy8(to.at + (threadIdx.x - 2 * KEYS) * 8, it->at + slot + threadIdx.x - 2 * KEYS);
}

/* ---- one warp: 16 queries ---- */
template <int WIDTH> struct warp_state {
  unsigned q[WIDTH / 16][4];
  float out[WIDTH / 8][4];
  float top[2], total[2]; /* of rows lane / 4 and lane / 4 + 8 */
  uint32_t time[2];
  uint64_t position[2]; /* of the queries in the segment at hand */
};

template <int WIDTH> __device__ void take_queries(unsigned base, int warp, struct warp_state<WIDTH> *w) {
  const int lane = threadIdx.x % 32, row = warp * 16 + lane % 16;
#pragma unroll
  for (int k = 0; k < WIDTH / 16; k++) matrices(base + place_of<WIDTH>(row, 2 * k + lane / 16), w->q[k]);
}

template <class T, int WIDTH>
__device__ void scores_of(const struct stage_place &s, const struct warp_state<WIDTH> &w, float (*score)[4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < KEYS / 8; n++) score[n][0] = score[n][1] = score[n][2] = score[n][3] = 0;
#pragma unroll
  for (int k = 0; k < WIDTH / 16; k++) {
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
      unsigned b[4];
      matrices(s.keys + place_of<WIDTH>(n * 16 + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2), b);
      low<T>::multiply(score[2 * n], w.q[k], b[0], b[1]);
      low<T>::multiply(score[2 * n + 1], w.q[k], b[2], b[3]);
    }
  }
}

/* What is not seen scores -infinity. Tiles that all queries see whole, nearly all of them, are left alone. */
template <int WIDTH>
__device__ void hide(const struct stage_place &s, const struct warp_state<WIDTH> &w, uint32_t earliest, uint32_t latest,
                     uint64_t window, int keys, float (*score)[4]) {
  const int lane = threadIdx.x % 32;
  bool whole = keys == KEYS && !window;
  for (int i = lane; i < KEYS; i += 32) {
    uint32_t born, dead;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(born) : "r"(s.born + i * 4));
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(dead) : "r"(s.dead + i * 4));
    whole = whole && born <= earliest && latest < dead;
  }
  if (__all_sync(~0u, whole)) return;
#pragma unroll
  for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
    for (int c = 0; c < 2; c++) {
      const int key = n * 8 + lane % 4 * 2 + c;
      uint32_t born, dead;
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(born) : "r"(s.born + key * 4));
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(dead) : "r"(s.dead + key * 4));
      uint64_t position = 0;
      if (window) asm volatile("ld.shared.u64 %0, [%1];" : "=l"(position) : "r"(s.at + key * 8));
#pragma unroll
      for (int r = 0; r < 2; r++)
        if (key >= keys || born > w.time[r] || w.time[r] >= dead || (window && position + window <= w.position[r]))
          score[n][2 * r + c] = -INFINITY;
    }
}

template <int WIDTH> __device__ void soften(struct warp_state<WIDTH> *w, float scale, float (*score)[4]) {
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float top = w->top[r];
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++) top = fmaxf(top, fmaxf(score[n][2 * r], score[n][2 * r + 1]));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    const float base = top == -INFINITY ? 0 : top * scale, shrink = exp2f(w->top[r] * scale - base);
    w->top[r] = top;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
      for (int c = 0; c < 2; c++) sum += score[n][2 * r + c] = exp2f(fmaf(score[n][2 * r + c], scale, -base));
    w->total[r] = w->total[r] * shrink + sum; /* of this lane's columns; lanes are added at the end */
#pragma unroll
    for (int n = 0; n < WIDTH / 8; n++) w->out[n][2 * r] *= shrink, w->out[n][2 * r + 1] *= shrink;
  }
}

template <class T, int WIDTH>
__device__ void mix_values(const struct stage_place &s, struct warp_state<WIDTH> *w, const float (*score)[4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < KEYS / 16; k++) {
    const unsigned p[4] = {
        low<T>::pair(score[2 * k][0], score[2 * k][1]), low<T>::pair(score[2 * k][2], score[2 * k][3]),
        low<T>::pair(score[2 * k + 1][0], score[2 * k + 1][1]), low<T>::pair(score[2 * k + 1][2], score[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < WIDTH / 16; n++) {
      unsigned b[4];
      matrices_turned(s.values + place_of<WIDTH>(k * 16 + lane % 16, 2 * n + lane / 16), b);
      low<T>::multiply(w->out[2 * n], p, b[0], b[1]);
      low<T>::multiply(w->out[2 * n + 1], p, b[2], b[3]);
    }
  }
}

template <class T, int WIDTH>
__device__ void write_out(const struct flash &f, const struct warp_state<WIDTH> &w, int first, int head) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float total = w.total[r];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    const float factor = total > 0 ? 1.0f / total : 0.0f;
    const int query = first + lane / 4 + r * 8;
    if (query >= f.n) continue;
    T *out = static_cast<T *>(f.out) + static_cast<size_t>(query) * f.out_width + head * f.kv.head_dim;
#pragma unroll
    for (int n = 0; n < WIDTH / 8; n++) {
      const int at = n * 8 + lane % 4 * 2;
      if (at < f.kv.head_dim) out[at] = static_cast<T>(w.out[n][2 * r] * factor);
      if (at + 1 < f.kv.head_dim) out[at + 1] = static_cast<T>(w.out[n][2 * r + 1] * factor);
    }
  }
}

/* The slots that some query of the block may see in a segment. */
__device__ void bounds_of(const struct flash &f, int first, int last, int segment, uint32_t *from, uint32_t *to) {
  *from = f.items[first].first[segment];
  *to = 0;
  for (int i = first + static_cast<int>(threadIdx.x) % 32; i <= last; i += 32) *to = max(*to, f.items[i].end[segment]);
  for (int o = 16; o; o >>= 1) *to = max(*to, __shfl_xor_sync(~0u, *to, o));
}

template <class T, int WIDTH> __global__ void __launch_bounds__(THREADS, 1) flash_kernel(const struct flash f) {
  extern __shared__ uint4 shared[];
  const unsigned base = static_cast<unsigned>(__cvta_generic_to_shared(shared)), tiles = base + QUERIES * WIDTH * 2;
  const int head = blockIdx.y, kv_head = head / (f.n_heads / f.kv.n_kv_heads), warp = threadIdx.x / 32;
  const int first = (gridDim.x - 1 - blockIdx.x) * QUERIES, last = min(first + QUERIES, f.n) - 1; /* longest first */
  const int mine = first + warp * 16, lane = threadIdx.x % 32;
  struct warp_state<WIDTH> w;
#pragma unroll
  for (int n = 0; n < WIDTH / 8; n++) w.out[n][0] = w.out[n][1] = w.out[n][2] = w.out[n][3] = 0;
  for (int r = 0; r < 2; r++) {
    w.top[r] = -INFINITY, w.total[r] = 0;
    w.time[r] = f.items[min(mine + lane / 4 + r * 8, last)].time;
  }
  const uint32_t earliest = f.items[min(mine, last)].time, latest = f.items[min(mine + 15, last)].time;
  const float scale = f.scale * 1.44269504088896341f; /* exponents of two */
  for (int segment = 0; segment < f.n_segments; segment++) {
    uint32_t from, to;
    bounds_of(f, first, last, segment, &from, &to);
    if (to <= from) continue;
    for (int r = 0; r < 2; r++) w.position[r] = f.items[min(mine + lane / 4 + r * 8, last)].query_position[segment];
    for (int i = threadIdx.x; i < QUERIES * (WIDTH / 8); i += THREADS) {
      const int row = i / (WIDTH / 8), piece = i % (WIDTH / 8), query = min(first + row, last);
      copy16(base + place_of<WIDTH>(row, piece), static_cast<const T *>(f.q) +
                                                     (static_cast<size_t>(segment) * f.n + query) * f.q_width +
                                                     head * WIDTH + piece * 8);
    }
    const int n_tiles = static_cast<int>((to - from + KEYS - 1) / KEYS);
    fetch_tile<T, WIDTH>(f, f.items, kv_head, from, stage_at<WIDTH>(tiles, 0));
    copies_end();
    for (int t = 0; t < n_tiles; t++) {
      if (t + 1 < n_tiles)
        fetch_tile<T, WIDTH>(f, f.items, kv_head, from + (t + 1) * KEYS, stage_at<WIDTH>(tiles, (t + 1) % 2));
      copies_end();
      copies_wait<1>();
      __syncthreads();
      if (t == 0) take_queries<WIDTH>(base, warp, &w);
      const struct stage_place s = stage_at<WIDTH>(tiles, t % 2);
      float score[KEYS / 8][4];
      scores_of<T, WIDTH>(s, w, score);
      hide<WIDTH>(s, w, earliest, latest, f.window, min(static_cast<int>(to - from) - t * KEYS, static_cast<int>(KEYS)),
                  score);
      soften<WIDTH>(&w, scale, score);
      mix_values<T, WIDTH>(s, &w, score);
      __syncthreads();
    }
  }
  write_out<T, WIDTH>(f, w, mine, head);
}

template <class T, int WIDTH> cudaError_t launch_one(const struct launcher &l, const struct flash &f) {
  const size_t shared = QUERIES * WIDTH * 2 + 2 * (2 * KEYS * WIDTH * 2 + KEYS * 16);
  cudaError_t e = cudaFuncSetAttribute(flash_kernel<T, WIDTH>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared));
  if (e) return e;
  return launch(l, flash_kernel<T, WIDTH>, dim3((f.n + QUERIES - 1) / QUERIES, f.n_heads), THREADS, shared, f);
}

} // namespace

bool flash_takes(const struct kv_shape &kv) {
  return kv.element == 2 && (kv.width == 64 || kv.width == 128);
}

cudaError_t flash_launch(const struct launcher &l, const struct flash &f) {
  if (f.kv.width == 64) return f.half_type ? launch_one<__half, 64>(l, f) : launch_one<bf16, 64>(l, f);
  return f.half_type ? launch_one<__half, 128>(l, f) : launch_one<bf16, 128>(l, f);
}
