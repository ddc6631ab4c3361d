/* The network compiled for any CPU; network.c chooses at run time. */
#define NET_NAME "portable"
#define NET(name) name##_portable
#include "engine/train/network.inc"
