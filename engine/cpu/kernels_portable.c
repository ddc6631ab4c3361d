/* kernels.inc compiled for portable; kernels.c chooses at run time. */
#define KERNELS_TABLE kernels_portable
#define KERNELS_NAME "portable"
#include "engine/cpu/kernels.inc"
