// What a bool picture consists of: connected components, and the cells of a grid that hold a set pixel. Both
// walk runs of set pixels, skip empty stretches eight bytes at a time and never build a picture of labels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reknit {

// A tight half-open box around `area` set pixels.
struct Blob {
  std::int32_t x0, y0, x1, y1;
  std::int64_t area;
};

// 8-connected components, in the raster order of each one's first pixel.
std::vector<Blob> components(const std::uint8_t* mask, std::ptrdiff_t row_stride, int height, int width);

// One blob for each `cell_px` × `cell_px` cell (aligned at the top left corner) that holds a set pixel, cells
// in raster order.
std::vector<Blob> occupied_cells(const std::uint8_t* mask, std::ptrdiff_t row_stride, int height, int width,
                                 int cell_px);

}  // namespace reknit
