/* Private to monitor/: what each code point folds to. The data is made when the program is built
 * (monitor/tools/make_fold_table.c says how a code point is folded). */
#ifndef SLUICE_MONITOR_FOLD_TABLE_H
#define SLUICE_MONITOR_FOLD_TABLE_H

#include "base/base.h"

extern const char fold_source[];     /* "Unicode 15.0 (ICU 72.1)"; empty: built without ICU, nothing is folded */
extern const uint16_t fold_stage1[]; /* [code point / 256] -> block */
extern const uint16_t
    fold_blocks[]; /* [block * 256 + code point % 256] -> FOLD_SAME, FOLD_REMOVED, offset in the pool */
extern const unsigned char fold_pool[]; /* a length byte, then UTF-8 */
enum { FOLD_SAME = 0, FOLD_REMOVED = 1 };

/* False: the code point stays as it is. Else *to is what stands for it, empty when it is removed. */
static inline bool fold_code_point(uint32_t c, struct slice *to) {
  uint16_t entry = fold_blocks[(size_t)fold_stage1[c >> 8] * 256 + (c & 255)];
  if (entry == FOLD_SAME) return false;
  *to = entry == FOLD_REMOVED ? (struct slice){"", 0}
                              : (struct slice){(const char *)fold_pool + entry + 1, fold_pool[entry]};
  return true;
}

#endif
