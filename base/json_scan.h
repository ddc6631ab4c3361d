/* Private to base: the strict scanner that both the wire spans and the configuration parser stand on. */
#ifndef SLUICE_JSON_SCAN_H
#define SLUICE_JSON_SCAN_H

#include "base/base.h"

#define JSON_DEPTH_MAX 64

/* Checks that text is exactly one value as RFC 8259 writes it, with at most JSON_DEPTH_MAX nested containers. Bytes
 * from 0x80 inside strings are not judged. On failure *offset and *why say where and what. */
bool json_scan(struct slice text, struct json_span *root, size_t *offset, const char **why);

#endif
