/* Stands for the fold table where ICU was not found when the program was built: nothing is folded, and `sluice version`
 * says so. */
#include "monitor/fold_table.h"

const char fold_source[] = "";
const uint16_t fold_stage1[0x110000 / 256] = {0};
const uint16_t fold_blocks[256] = {0};
const unsigned char fold_pool[2] = {0};
