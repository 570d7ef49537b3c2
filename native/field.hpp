// The nearest-neighbour field: for every site, the offset to the patch that it shows.
//
// An offset (dx, dy) is packed in one int, so neighbours that continue the same copied piece hold equal
// numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "level.hpp"
#include "threads.hpp"

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
  // What lets a sweep skip a site that nothing happened to.
  std::vector<uint8_t> stirred;          // whether its patch changed since the costs were taken
  std::vector<uint16_t> visited, moved;  // the last pass that looked at it, and that changed its offset
  // As they were before the pass that is at work.
  std::vector<int32_t> offset_before;
  std::vector<uint16_t> moved_before;

  explicit Field(int sites = 0)
      : offset(static_cast<size_t>(sites), kNowhere),
        cost(static_cast<size_t>(sites), INT32_MAX / 4),
        stirred(static_cast<size_t>(sites), 1),
        visited(static_cast<size_t>(sites), 0),
        moved(static_cast<size_t>(sites), 0) {}
};

// Gives every site without an offset a random source, near ones first.
void scatter(const Level& level, Field& field, uint32_t seed);

// Sets field.stirred where a changed pixel lies within a site's patch. changed: per site.
void stir(const Sites& sites, const std::vector<uint8_t>& changed, Field& field, ThreadPool& pool);

// Sets field.stirred where a site disagrees with a neighbour: only there pieces meet and may be mended.
void stir_seams(const Sites& sites, Field& field);

// Carries a coarser level's offsets over, each moved to the nearest source; one that equals a known shift
// there becomes the same shift here.
Field refine(const Level& coarse, const Field& from, const Level& fine,
             const std::vector<int32_t>& coarse_shifts, const std::vector<int32_t>& fine_shifts,
             ThreadPool& pool);

}  // namespace reknit
