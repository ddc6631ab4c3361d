#include "monitor/detectors/detectors.h"

const struct detector *const detectors[] = {
    &detector_rules,
};
const size_t n_detectors = sizeof detectors / sizeof *detectors;
