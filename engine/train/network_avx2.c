/* The network compiled for avx2; network.c chooses at run time. */
#define NET_NAME "avx2"
#define NET(name) name##_avx2
#include "engine/train/network.inc"
