/* The page's colours in both themes, and which pairs must be readable. tests/unit/test_reports_palette.c computes the
 * contrast of every pair. Policy colours follow Okabe and Ito (2008), shifted until each reaches 3:1 on both grounds;
 * no chart relies on them alone. */
#include "reports/reports.h"

#include <stddef.h>

static const struct palette_colour colours[] = {
    {"ground", "#fbfaf8", "#14161a"},
    {"panel", "#ffffff", "#1b1e24"},
    {"ink", "#1d1f23", "#e9e7e2"},
    {"soft", "#5a5f69", "#a3a8b2"},
    {"line", "#e4e1db", "#2e323a"},
    {"axis", "#8b8f98", "#737985"},
    {"accent", "#0b5c8c", "#7cc0ea"},
    {"good", "#1a6b3c", "#7fd0a0"},
    {"bad", "#a3271f", "#f39a90"},
    {"open", "#7a5600", "#e5bf62"},
    {"good-wash", "#e6f2ea", "#19301f"},
    {"bad-wash", "#faeae7", "#3a1d1a"},
    {"open-wash", "#f8f0dc", "#332a14"},
    {"quiet", "#f3f1ec", "#23272e"},
    /* Policies, in suite order; shapes and labels go with them. */
    {"p0", "#0b6ba8", "#5cb3ea"},
    {"p1", "#b4490a", "#ef9254"},
    {"p2", "#1b7a52", "#55c499"},
    {"p3", "#8d3f87", "#d68fd0"},
    {"p4", "#7a6000", "#d9bd4a"},
    {"p5", "#475063", "#aab3c5"},
    {"p6", "#a8324d", "#ee8ba0"},
    {"p7", "#25747d", "#66c3cd"},
    /* The heat map's ramp from low to high, with the text that stands on each step. */
    {"h0", "#f8ece4", "#3a2620"},
    {"h1", "#f7f0e6", "#33291f"},
    {"h2", "#f6f4ec", "#2a2b27"},
    {"h3", "#eaf1ee", "#22302f"},
    {"h4", "#d8e9e8", "#1c3a3d"},
    {"h5", "#c0dee1", "#19474d"},
    {"h6", "#a2d0d7", "#17565f"},
    {"h7", "#7fbeca", "#166672"},
    {"h8", "#2f7f94", "#4f9fb0"},
    {"h9", "#17647b", "#76bfcd"},
    {"hlow", "#1d1f23", "#eef0ef"},
    {"hhigh", "#ffffff", "#0e1418"},
    {NULL, NULL, NULL},
};

static const struct palette_pair pairs[] = {
    {"ink", "ground", 7},     {"ink", "panel", 7},        {"ink", "quiet", 7},       {"soft", "ground", 4.5},
    {"soft", "panel", 4.5},   {"soft", "quiet", 4.5},     {"accent", "ground", 4.5}, {"accent", "panel", 4.5},
    {"accent", "quiet", 4.5}, {"good", "panel", 4.5},     {"bad", "panel", 4.5},     {"open", "panel", 4.5},
    {"good", "ground", 4.5},  {"bad", "ground", 4.5},     {"open", "ground", 4.5},   {"good", "good-wash", 4.5},
    {"bad", "bad-wash", 4.5}, {"open", "open-wash", 4.5}, {"ink", "good-wash", 7},   {"ink", "bad-wash", 7},
    {"ink", "open-wash", 7},  {"soft", "good-wash", 4.5}, {"soft", "bad-wash", 4.5}, {"soft", "open-wash", 4.5},
    {"axis", "panel", 3},     {"p0", "panel", 4.5},       {"p1", "panel", 4.5},      {"p2", "panel", 4.5},
    {"p3", "panel", 4.5},     {"p4", "panel", 4.5},       {"p5", "panel", 4.5},      {"p6", "panel", 4.5},
    {"p7", "panel", 4.5},     {"hlow", "h0", 4.5},        {"hlow", "h1", 4.5},       {"hlow", "h2", 4.5},
    {"hlow", "h3", 4.5},      {"hlow", "h4", 4.5},        {"hlow", "h5", 4.5},       {"hlow", "h6", 4.5},
    {"hlow", "h7", 4.5},      {"hhigh", "h8", 4.5},       {"hhigh", "h9", 4.5},      {NULL, NULL, 0},
};

const struct palette_colour *palette_colours(void) {
  return colours;
}
const struct palette_pair *palette_pairs(void) {
  return pairs;
}
