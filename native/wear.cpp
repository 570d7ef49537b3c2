#include "wear.hpp"

#include <algorithm>
#include <vector>

namespace reknit {

namespace {

constexpr int kGrain = 8192;            // pixels of a tile
constexpr double kPixelSeconds = 2e-9;  // of one pixel, about

}  // namespace

void update_wear(Level& level, Field& field, ThreadPool& pool) {
  const Sites& s = level.sites;
  const size_t pixels = level.flags.size();
  level.wear.resize(pixels, 0);
  std::vector<uint16_t> copies(pixels, 0), across(pixels, 0);
  auto source_of = [&](int i) {
    const int32_t o = field.offset[static_cast<size_t>(i)];
    return static_cast<size_t>(s.at[static_cast<size_t>(i)] + offset_y(o) * level.stride + offset_x(o));
  };
  int count = 0;
  for (int i = 0; i < s.count(); ++i) {
    if (s.depth[static_cast<size_t>(i)] == 0 || field.offset[static_cast<size_t>(i)] == kNowhere) continue;
    ++copies[source_of(i)];
    ++count;
  }
  const int share = std::max(16, 20 * count / std::max(1, level.source_count));
  const size_t stride = static_cast<size_t>(level.stride);
  const size_t first = kRadius * stride + kRadius, last = pixels - first;
  auto sum_row = [&](int pixel) {
    const size_t at = static_cast<size_t>(pixel);
    across[at] =
        static_cast<uint16_t>(copies[at - 2] + copies[at - 1] + copies[at] + copies[at + 1] + copies[at + 2]);
  };
  auto wear = [&](int pixel) {
    const size_t at = static_cast<size_t>(pixel);
    if (!(level.flags[at] & kSource)) return;
    const int sum = across[at - 2 * stride] + across[at - stride] + across[at] + across[at + stride] +
                    across[at + 2 * stride];
    const int excess = std::min(255, std::max(0, sum * 16 / (kSide * kSide) - share));
    level.wear[at] = static_cast<uint8_t>((level.wear[at] + excess + 1) / 2);
  };
  pool.each(kRadius, static_cast<int>(pixels) - kRadius, kGrain, sum_row, kPixelSeconds);
  pool.each(static_cast<int>(first), static_cast<int>(last), kGrain, wear, kPixelSeconds);
  for (int i = 0; i < s.count(); ++i)
    if (field.offset[static_cast<size_t>(i)] != kNowhere && level.wear[source_of(i)] > 0)
      field.stirred[static_cast<size_t>(i)] = 1;
}

}  // namespace reknit
