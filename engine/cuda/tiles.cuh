/* Rows of weights that the copy engine brings to shared memory, and their products with a vector: what the
 * matrix-vector products of one token share (gemv.cu, token_products.cuh). Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_TILES_CUH
#define SLUICE_ENGINE_CUDA_TILES_CUH

#include "engine/cuda/inference.cuh"

namespace {

/* N values of 16 bytes, and their products with N floats added to a sum. */
template <class W> struct lanes_of;
template <> struct lanes_of<float> {
  enum { N = 4 };
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    sum = fmaf(__uint_as_float(u.x), x[0], sum), sum = fmaf(__uint_as_float(u.y), x[1], sum);
    return fmaf(__uint_as_float(u.w), x[3], fmaf(__uint_as_float(u.z), x[2], sum));
  }
};
template <> struct lanes_of<bf16> {
  enum { N = 8 };
  __device__ static float two(unsigned u, const float *x, float sum) {
    return fmaf(__uint_as_float(u & 0xffff0000u), x[1], fmaf(__uint_as_float(u << 16), x[0], sum));
  }
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    return two(u.w, x + 6, two(u.z, x + 4, two(u.y, x + 2, two(u.x, x, sum))));
  }
};
template <> struct lanes_of<__half> {
  enum { N = 8 };
  __device__ static float two(unsigned u, const float *x, float sum) {
    const float2 v = __half22float2(*reinterpret_cast<const __half2 *>(&u));
    return fmaf(v.y, x[1], fmaf(v.x, x[0], sum));
  }
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    return two(u.w, x + 6, two(u.z, x + 4, two(u.y, x + 2, two(u.x, x, sum))));
  }
};
template <> struct lanes_of<int8_t> {
  enum { N = 16 };
  /* A byte plus 128 in the low bits of 2^23 is an exact float; integer conversion would run at an eighth of the rate.
   */
  __device__ static float four(unsigned u, const float *x, float sum) {
    u ^= 0x80808080u;
#pragma unroll
    for (int i = 0; i < 4; i++)
      sum = fmaf(__uint_as_float(__byte_perm(u, 0x4b000000u, 0x7540u + static_cast<unsigned>(i))) - 8388736.0f, x[i],
                 sum);
    return sum;
  }
  __device__ static float dot(const uint4 &u, const float *x, float sum) {
    return four(u.w, x + 12, four(u.z, x + 8, four(u.y, x + 4, four(u.x, x, sum))));
  }
};

/* Lane 0 gets the first row's sum and lane 16 the second's. */
__device__ float reduce_two(const float *sum) {
  const bool upper = threadIdx.x & 16;
  float v = upper ? sum[1] : sum[0];
  v += __shfl_xor_sync(~0u, upper ? sum[0] : sum[1], 16);
  for (int o = 8; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}

#if __CUDA_ARCH__ >= 900
__device__ void bulk_copy(unsigned to, const void *from, unsigned bytes, unsigned barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}

__device__ void barrier_init(unsigned bar) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(bar) : "memory");
}

__device__ void barrier_expect(unsigned bar, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

__device__ void barrier_wait(unsigned bar, unsigned phase) {
  asm volatile(
      "{\n.reg .pred p;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra done;\nbra again;\n"
      "done:\n}" ::"r"(bar),
      "r"(phase)
      : "memory");
}

__device__ uint4 shared16(unsigned at) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at));
  return v;
}
#endif

} // namespace

#endif
