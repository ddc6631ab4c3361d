/* The network compiled for avx512; network.c chooses at run time. */
#if defined(__x86_64__)
#define NET_NAME "avx512"
#define NET(name) name##_avx512
#include "engine/train/network.inc"
#else
typedef int network_avx512_is_for_x86_64;
#endif
