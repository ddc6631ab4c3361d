/* kernels.inc compiled for avx512vnni; kernels.c chooses at run time. */
#if defined(__x86_64__)
#define KERNELS_TABLE kernels_avx512vnni
#define KERNELS_NAME "avx512vnni"
#include "engine/cpu/kernels.inc"
#else
typedef int kernels_avx512vnni_is_for_x86_64;
#endif
