/* The launch of a decode step for weights of one type, for models of long rows. */
#define TOKEN_WARPS 8
#include "engine/cuda/token_kernel.cuh"

token_kernel_fn token_kernel_bf16_eight(int width) {
  return token_kernel_of<bf16, bf16>(width);
}
