/* The network compiled for avx512; network.c chooses at run time. */
#define NET_NAME "avx512"
#define NET(name) name##_avx512
#include "engine/train/network.inc"
