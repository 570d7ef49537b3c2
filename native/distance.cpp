#include "distance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace reknit {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kStrip = 256;  // columns of one tile of the first pass
constexpr int kRows = 16;    // rows of one tile of the second pass

// Vertical distance to the nearest set pixel of the same column, for columns [x0, x1).
void column_pass(const std::uint8_t* mask, std::ptrdiff_t row_stride, int height, int width, int x0, int x1,
                 float* out) {
  const std::ptrdiff_t w = width;
  const int n = x1 - x0;
  for (std::ptrdiff_t y = 0; y < height; ++y) {
    const std::uint8_t* m = mask + y * row_stride + x0;
    float* row = out + y * w + x0;
    const float* above = row - w;
    if (y == 0) {
      for (int x = 0; x < n; ++x) row[x] = m[x] ? 0.0f : kInfinity;
    } else {
      for (int x = 0; x < n; ++x) row[x] = m[x] ? 0.0f : above[x] + 1.0f;
    }
  }
  for (std::ptrdiff_t y = height - 2; y >= 0; --y) {
    float* row = out + y * w + x0;
    const float* below = row + w;
    for (int x = 0; x < n; ++x) row[x] = std::min(row[x], below[x] + 1.0f);
  }
}

// One parabola of the lower envelope: column `x`, its vertical distance squared, and the first column it
// rules.
struct Parabola {
  std::int64_t x, height, from;
};

// Replaces a row of vertical distances by distances in the plane.
void row_pass(float* row, int width, std::vector<Parabola>& hull) {
  hull.clear();
  for (std::int64_t x = 0; x < width; ++x) {
    const float g = row[x];
    if (g == kInfinity) continue;
    const std::int64_t height = static_cast<std::int64_t>(g) * static_cast<std::int64_t>(g);
    const auto value = [](const Parabola& p, std::int64_t at) { return (at - p.x) * (at - p.x) + p.height; };
    while (!hull.empty() &&
           value(hull.back(), hull.back().from) > (hull.back().from - x) * (hull.back().from - x) + height)
      hull.pop_back();
    if (hull.empty()) {
      hull.push_back({x, height, 0});
      continue;
    }
    // The last column where the older parabola is not above the new one; the numerator is never negative.
    const Parabola& last = hull.back();
    const std::int64_t from = (x * x - last.x * last.x + height - last.height) / (2 * (x - last.x)) + 1;
    if (from < width) hull.push_back({x, height, from});
  }
  if (hull.empty()) return;
  for (std::size_t i = 0; i < hull.size(); ++i) {
    const Parabola p = hull[i];
    const std::int64_t end = i + 1 < hull.size() ? hull[i + 1].from : width;
    for (std::int64_t x = p.from; x < end; ++x)
      row[x] = static_cast<float>(std::sqrt(static_cast<double>((x - p.x) * (x - p.x) + p.height)));
  }
}

}  // namespace

void distance_transform(const std::uint8_t* mask, std::ptrdiff_t row_stride, int height, int width,
                        float* out, ThreadPool& pool) {
  pool.run((width + kStrip - 1) / kStrip, [&](int tile) {
    const int x0 = tile * kStrip;
    column_pass(mask, row_stride, height, width, x0, std::min(width, x0 + kStrip), out);
  });
  pool.run((height + kRows - 1) / kRows, [&](int tile) {
    std::vector<Parabola> hull;
    const int y0 = tile * kRows;
    for (int y = y0; y < std::min(height, y0 + kRows); ++y)
      row_pass(out + static_cast<std::ptrdiff_t>(y) * width, width, hull);
  });
}

}  // namespace reknit
