/* The largest of some logits: ties go to the lower id. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_BEST_CUH
#define SLUICE_ENGINE_CUDA_BEST_CUH

#include "engine/cuda/inference.cuh"

namespace {

struct best {
  float logit, sum; /* sum of exp(x - logit) */
  int32_t id;
};

__device__ struct best join(const struct best &a, const struct best &b) {
  const bool first = a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  const struct best &high = first ? a : b, &low = first ? b : a;
  return {high.logit, low.logit == -INFINITY ? high.sum : high.sum + low.sum * __expf(low.logit - high.logit), high.id};
}

} // namespace

#endif
