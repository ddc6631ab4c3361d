/* The network compiled for avx512bf16; network.c chooses at run time. */
#if defined(__x86_64__)
#define NET_NAME "avx512bf16"
#define NET(name) name##_avx512bf16
#include "engine/train/network.inc"
#else
typedef int network_avx512bf16_is_for_x86_64;
#endif
