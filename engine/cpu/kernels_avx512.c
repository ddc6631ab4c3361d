/* kernels.inc compiled for avx512; kernels.c chooses at run time. */
#if defined(__x86_64__)
#define KERNELS_TABLE kernels_avx512
#define KERNELS_NAME "avx512"
#include "engine/cpu/kernels.inc"
#else
typedef int kernels_avx512_is_for_x86_64;
#endif
