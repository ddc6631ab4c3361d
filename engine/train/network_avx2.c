/* The network compiled for avx2; network.c chooses at run time. */
#if defined(__x86_64__)
#define NET_NAME "avx2"
#define NET(name) name##_avx2
#include "engine/train/network.inc"
#else
typedef int network_avx2_is_for_x86_64;
#endif
