/* kernels.inc compiled for avx2; kernels.c chooses at run time. */
#if defined(__x86_64__)
#define KERNELS_TABLE kernels_avx2
#define KERNELS_NAME "avx2"
#include "engine/cpu/kernels.inc"
#else
typedef int kernels_avx2_is_for_x86_64;
#endif
