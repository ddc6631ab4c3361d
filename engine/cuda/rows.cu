/* Everything between matrix products: embeddings and angles at a step's beginning, norms, rotation into the store,
 * SwiGLU, and the conversions of int8 weights. */
#include "engine/cuda/activate.cuh"
#include "engine/cuda/attend.cuh"

namespace {

enum { THREADS = 256 };

/* One block a token: its row of the embedding and its angles. Block 0 also notes which slots came and went. */
__global__ void begin_kernel(const struct begin b) {
  const int item = blockIdx.x, half = b.half;
  const struct query_item *it = b.items + item;
  wait_for_inputs();
  if (b.host) { /* one token: one block */
    for (int i = threadIdx.x; i < b.words; i += THREADS) b.copied[i] = __ldcv(b.host + i);
    __syncthreads();
  }
  for (int i = threadIdx.x; i < b.ld; i += THREADS)
    b.x[static_cast<size_t>(item) * b.ld + i] =
        i < b.d ? matrix_at(b.embedding, static_cast<size_t>(it->id) * b.embedding.ld + i) : 0.0f;
  for (int i = threadIdx.x; i < half * (SEGMENTS_MAX + 1); i += THREADS) {
    const int part = i / half;
    if (part < SEGMENTS_MAX && part >= b.n_segments) continue;
    const uint64_t position = part < SEGMENTS_MAX ? it->query_position[part] : it->position;
    if (part == SEGMENTS_MAX && !b.key_true) continue;
    b.angles[static_cast<size_t>(item) * (SEGMENTS_MAX + 1) * half + i] = angle_at(b.frequency[i % half], position);
  }
  if (item == 0)
    for (int i = threadIdx.x; i < b.n_changes; i += THREADS) {
      const struct slot_change *c = b.changes + i;
      c->born[c->slot] = c->born_at;
      c->dead[c->slot] = c->dead_at;
      c->at[c->slot] = c->position;
    }
}

__device__ float block_sum(float v) {
  __shared__ float part[THREADS / 32];
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0;
  for (int i = 0; i < THREADS / 32; i++) v += part[i];
  return v;
}

__device__ void put4(float *out, const float4 &v) {
  *reinterpret_cast<float4 *>(out) = v;
}
__device__ void put4(bf16 *out, const float4 &v) {
  __nv_bfloat162 two[2] = {__floats2bfloat162_rn(v.x, v.y), __floats2bfloat162_rn(v.z, v.w)};
  *reinterpret_cast<uint2 *>(out) = *reinterpret_cast<uint2 *>(two);
}
__device__ void put4(__half *out, const float4 &v) {
  __half2 two[2] = {__floats2half2_rn(v.x, v.y), __floats2half2_rn(v.z, v.w)};
  *reinterpret_cast<uint2 *>(out) = *reinterpret_cast<uint2 *>(two);
}
__device__ float4 take4(const float *in) {
  return __ldcg(reinterpret_cast<const float4 *>(in));
}
__device__ float4 take4(const bf16 *in) {
  const uint2 u = __ldcg(reinterpret_cast<const uint2 *>(in));
  return make_float4(__uint_as_float(u.x << 16), __uint_as_float(u.x & 0xffff0000u), __uint_as_float(u.y << 16),
                     __uint_as_float(u.y & 0xffff0000u));
}
__device__ float4 take4(const __half *in) {
  const uint2 u = __ldcg(reinterpret_cast<const uint2 *>(in));
  const float2 a = __half22float2(*reinterpret_cast<const __half2 *>(&u.x)),
               b = __half22float2(*reinterpret_cast<const __half2 *>(&u.y));
  return make_float4(a.x, a.y, b.x, b.y);
}

template <class T> __global__ void norm_kernel(const float *x, const struct norm norm, int d, int ld, T *out) {
  const float *row = x + static_cast<size_t>(blockIdx.x) * ld;
  wait_for_inputs();
  float mean = 0, squares = 0;
  if (norm.bias) {
    float sum = 0;
    for (int i = threadIdx.x; i < d; i += THREADS) sum += __ldcg(row + i);
    mean = block_sum(sum) / static_cast<float>(d);
    __syncthreads();
  }
  for (int i = threadIdx.x; i < d; i += THREADS) {
    const float v = __ldcg(row + i) - mean;
    squares += v * v;
  }
  const float factor = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(d) + norm.eps);
  for (int i = threadIdx.x * 4; i < ld; i += THREADS * 4) {
    const float4 v = take4(row + i), g = __ldg(reinterpret_cast<const float4 *>(norm.gain + i));
    float4 y = make_float4((v.x - mean) * factor * g.x, (v.y - mean) * factor * g.y, (v.z - mean) * factor * g.z,
                           (v.w - mean) * factor * g.w);
    if (norm.bias) {
      const float4 b = __ldg(reinterpret_cast<const float4 *>(norm.bias + i));
      y.x += b.x, y.y += b.y, y.z += b.z, y.w += b.w;
    }
    put4(out + static_cast<size_t>(blockIdx.x) * ld + i, y);
  }
}

/* Four numbers of a row of in, with their bias; zeros behind d_ff. */
template <class T> __device__ float4 middle4(const struct ffn_middle &f, size_t row, int part, int i) {
  const T *from = static_cast<const T *>(f.in) + row * f.ld_in + part * f.d_ff + i;
  if (f.d_ff % 4 == 0 && i < f.d_ff && !f.bias) return take4(from);
  float v[4];
  for (int j = 0; j < 4; j++) {
    v[j] = i + j < f.d_ff ? static_cast<float>(from[j]) : 0.0f;
    if (f.bias && i + j < f.d_ff) v[j] += __ldg(f.bias + part * f.d_ff + i + j);
  }
  return make_float4(v[0], v[1], v[2], v[3]);
}

template <class T> __global__ void ffn_middle_kernel(const struct ffn_middle f) {
  const size_t row = blockIdx.y;
  const int i = (blockIdx.x * THREADS + threadIdx.x) * 4;
  wait_for_inputs();
  if (i >= f.ld_out) return;
  float4 g = middle4<T>(f, row, 0, i);
  g.x = activate(f.activation, g.x), g.y = activate(f.activation, g.y);
  g.z = activate(f.activation, g.z), g.w = activate(f.activation, g.w);
  if (f.gated) {
    const float4 u = middle4<T>(f, row, 1, i);
    g.x *= u.x, g.y *= u.y, g.z *= u.z, g.w *= u.w;
  }
  put4(static_cast<T *>(f.out) + row * f.ld_out + i, g);
}

__global__ void add_bias_kernel(float *x, const float *bias, int d, int ld) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  wait_for_inputs();
  if (i < d) x[static_cast<size_t>(blockIdx.y) * ld + i] += __ldg(bias + i);
}

/* A warp a head of a token: keys and values first, then queries. */
template <class T> __global__ void rope_kernel(const struct attend a, T *q, int q_width) {
  const int item = blockIdx.x, job = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
  wait_for_inputs();
  if (job < a.kv.n_kv_heads) {
    store_newest<T>(a, item, job);
    return;
  }
  const int head = job - a.kv.n_kv_heads;
  if (!q || head >= a.n_heads) return;
  for (int s = 0; s < a.n_segments; s++)
    take_head<T>(a, item, head * a.kv.head_dim, a.q_norm, a.order,
                 a.angles + (static_cast<size_t>(item) * (SEGMENTS_MAX + 1) + s) * (a.kv.head_dim / 2), 1.0f,
                 q + (static_cast<size_t>(s) * a.n + item) * q_width + head * a.kv.width);
}

__global__ void row_angles_kernel(const double *frequency, int half, uint32_t from, uint32_t to, float2 *out) {
  const uint64_t i = blockIdx.x * static_cast<uint64_t>(THREADS) + threadIdx.x;
  const uint64_t position = from + i / half;
  if (position < to) out[position * half + i % half] = angle_at(frequency[i % half], position);
}

__global__ void expand_kernel(const struct matrix w, bf16 *out, size_t n) {
  const size_t i = (blockIdx.x * static_cast<size_t>(THREADS) + threadIdx.x) * 16;
  if (i >= n) return;
  const float scale = __half2float(w.scale[i / w.ld * w.scale_ld + i % w.ld / GROUP]);
  const uint4 u = *reinterpret_cast<const uint4 *>(static_cast<const int8_t *>(w.data) + i);
  const int8_t *q = reinterpret_cast<const int8_t *>(&u);
  for (int j = 0; j < 16; j += 4)
    put4(out + i + j, make_float4(q[j] * scale, q[j + 1] * scale, q[j + 2] * scale, q[j + 3] * scale));
}

/* A warp a group of 32: the scale is the largest magnitude over 127. */
__global__ void quantise_kernel(const struct matrix w, int8_t *out, __half *scale, int scale_ld, size_t groups) {
  const size_t group = blockIdx.x * static_cast<size_t>(THREADS / 32) + threadIdx.x / 32;
  if (group >= groups) return;
  const size_t at = group * GROUP + threadIdx.x % 32;
  const float v = matrix_at(w, at);
  float largest = fabsf(v);
  for (int o = 16; o; o >>= 1) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, o));
  const __half s = __float2half_rn(largest / 127.0f);
  const float back = __half2float(s) > 0 ? 1.0f / __half2float(s) : 0.0f;
  out[at] = static_cast<int8_t>(fminf(fmaxf(rintf(v * back), -127.0f), 127.0f));
  if (threadIdx.x % 32 == 0) scale[at / w.ld * scale_ld + at % w.ld / GROUP] = s;
}

unsigned blocks_for(size_t n) {
  return static_cast<unsigned>((n + THREADS - 1) / THREADS);
}

} // namespace

cudaError_t begin_launch(const struct launcher &l, const struct begin &b) {
  return launch(l, begin_kernel, b.n, THREADS, 0, b);
}

cudaError_t norm_launch(const struct launcher &l, const float *x, const struct norm &norm, int n, int d, int ld,
                        void *out, enum matrix_kind kind) {
  if (kind == MATRIX_F32) return launch(l, norm_kernel<float>, n, THREADS, 0, x, norm, d, ld, (float *)out);
  if (kind == MATRIX_F16) return launch(l, norm_kernel<__half>, n, THREADS, 0, x, norm, d, ld, (__half *)out);
  return launch(l, norm_kernel<bf16>, n, THREADS, 0, x, norm, d, ld, (bf16 *)out);
}

cudaError_t ffn_middle_launch(const struct launcher &l, const struct ffn_middle &f) {
  const dim3 grid(blocks_for(static_cast<size_t>(f.ld_out) / 4), f.n);
  if (f.kind == MATRIX_F32) return launch(l, ffn_middle_kernel<float>, grid, THREADS, 0, f);
  if (f.kind == MATRIX_F16) return launch(l, ffn_middle_kernel<__half>, grid, THREADS, 0, f);
  return launch(l, ffn_middle_kernel<bf16>, grid, THREADS, 0, f);
}

cudaError_t add_bias_launch(const struct launcher &l, float *x, const float *bias, int n, int d, int ld) {
  return bias ? launch(l, add_bias_kernel, dim3(blocks_for(d), n), THREADS, 0, x, bias, d, ld) : cudaSuccess;
}

cudaError_t rope_launch(const struct launcher &l, const struct attend &a, void *q, int q_width) {
  const int jobs = a.kv.n_kv_heads + (q ? a.n_heads : 0);
  const dim3 grid(a.n, (jobs + 3) / 4);
  if (a.kv.element == 4) return launch(l, rope_kernel<float>, grid, 128, 0, a, (float *)q, q_width);
  if (a.half_type) return launch(l, rope_kernel<__half>, grid, 128, 0, a, (__half *)q, q_width);
  return launch(l, rope_kernel<bf16>, grid, 128, 0, a, (bf16 *)q, q_width);
}

cudaError_t row_angles_launch(const struct launcher &l, const double *frequency, int half, uint32_t from, uint32_t to,
                              float2 *out) {
  const size_t n = static_cast<size_t>(to - from) * half;
  return n ? launch(l, row_angles_kernel, blocks_for(n), THREADS, 0, frequency, half, from, to, out) : cudaSuccess;
}

cudaError_t expand_launch(const struct launcher &l, const struct matrix &w, bf16 *out) {
  const size_t n = static_cast<size_t>(w.rows) * w.ld;
  return launch(l, expand_kernel, blocks_for(n / 16), THREADS, 0, w, out, n);
}

cudaError_t quantise_launch(const struct launcher &l, const struct matrix &w, int8_t *out, __half *scale) {
  const size_t groups = static_cast<size_t>(w.rows) * w.ld / GROUP;
  return launch(l, quantise_kernel, blocks_for(groups * 32), THREADS, 0, w, out, scale, scale_ld_of(w.ld), groups);
}
