/* The network compiled for avx512bf16; network.c chooses at run time. */
#define NET_NAME "avx512bf16"
#define NET(name) name##_avx512bf16
#include "engine/train/network.inc"
