// The nearest-neighbour field: for every site, the offset to the patch that it shows.
//
// An offset (dx, dy) is packed in one int, so neighbours that continue the same copied piece hold equal
// numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "level.hpp"

namespace reknit {

constexpr int32_t kNowhere = INT32_MIN;  // no offset known
constexpr int kFarthest = 32767;         // px along each axis

static inline int32_t pack_offset(int dx, int dy) {
  return static_cast<int32_t>((static_cast<uint32_t>(dy) << 16) | (static_cast<uint32_t>(dx) & 0xffffu));
}
static inline int offset_x(int32_t offset) {
  return static_cast<int16_t>(static_cast<uint32_t>(offset) & 0xffffu);
}
static inline int offset_y(int32_t offset) {
  return static_cast<int16_t>(static_cast<uint32_t>(offset) >> 16);
}

struct Field {
  std::vector<int32_t> offset;  // per site
  std::vector<int32_t> cost;    // of the patch at the offset, proximity included

  explicit Field(int sites = 0)
      : offset(static_cast<size_t>(sites), kNowhere), cost(static_cast<size_t>(sites), INT32_MAX / 4) {}
};

// Gives every site without an offset a random source, near ones first.
void scatter(const Level& level, Field& field, uint32_t seed);

// Carries a coarser level's offsets over, each moved to the nearest source.
Field refine(const Level& coarse, const Field& from, const Level& fine);

}  // namespace reknit
