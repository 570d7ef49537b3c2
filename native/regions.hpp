// Cuts a hole into regions that are filled one crop at a time. The cells of the hole are divided like those
// of a k-d tree for ray tracing, by what the boxes of both sides cost (MacDonald and Booth, "Heuristics for
// ray tracing using space subdivision", 1990). Integers and IEEE doubles only: the same plan on every
// machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reknit {

struct RegionRule {
  double context;           // surroundings on each side, as a multiple of the hole's extent
  std::int64_t min_px;      // at least this many pixels of them; tiny holes get fewer
  std::int64_t max_px;      // at most this many
  std::int64_t call_px;     // what one more crop costs, in pixels
  std::int64_t max_pixels;  // no crop is larger, where that can be
};

struct Frame {
  std::int64_t x0, y0, x1, y1;
};

struct Region {
  Frame hole, crop;
  int wave;
};

// Regions in the order of their waves, each wave in raster order. Hole frames are disjoint and cover the
// hole. Regions of one wave do not see each other's hole frames; the inside of a hole comes after its rim.
std::vector<Region> plan_regions(const std::uint8_t* hole, std::ptrdiff_t row_stride, int height, int width,
                                 const RegionRule& rule);

}  // namespace reknit
