// One size of the picture that is being filled: the guide that patches are compared on, what each pixel is,
// and the sites, i.e. the places that need a patch.
//
// Planes are padded by kReach void pixels on every side, so a patch may be centred on any pixel. Sites are a
// sparse list in raster order with links up and down: memory follows the hole's area, not its bounding box.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reknit {

constexpr int kRadius = 2;
constexpr int kSide = 2 * kRadius + 1;
constexpr int kReach = 4;  // px from the centre of a wide patch to its edge
constexpr int kWideSide = 2 * kReach + 1;
constexpr uint8_t kKnownWeight = 64;

enum Flag : uint8_t {
  kTarget = 1,     // unknown, to be filled
  kVoid = 2,       // unknown, not to be filled; also all padding
  kForbidden = 4,  // known, but not to be copied from
  kSource = 8,     // centre of a patch that may be copied: wholly known, wholly allowed
};
constexpr uint8_t kUnknown = kTarget | kVoid;

// Patch centres whose patch covers a target pixel.
struct Sites {
  std::vector<int32_t> at;         // index into the level's planes
  std::vector<int32_t> up, down;   // site one row above or below, or -1
  std::vector<int32_t> row_begin;  // first site of each row; one more at the end
  std::vector<uint8_t> depth;      // distance to the nearest known pixel in half px, 255 = far; 0 when known

  int count() const { return static_cast<int>(at.size()); }
  bool left(int i) const { return i > 0 && at[i - 1] == at[i] - 1; }
  bool right(int i) const { return i + 1 < count() && at[i + 1] == at[i] + 1; }
};

struct Level {
  int width = 0, height = 0;
  int stride = 0;               // pixels from one padded row to the next
  double scale = 1;             // full-size pixels per pixel
  std::vector<uint8_t> guide;   // R, G, B, texture per pixel
  std::vector<uint8_t> flags;   // Flag bits per pixel
  std::vector<uint8_t> unlike;  // see foreign.hpp; empty on the finer levels
  std::vector<uint8_t> away;    // likewise, per site
  std::vector<uint8_t> wear;    // see wear.hpp; empty until it is measured
  std::vector<uint8_t> weight;  // trust in the pixel when patches are compared, 0 to kKnownWeight
  Sites sites;
  int source_count = 0;

  Level(int width, int height, double scale);

  int index(int x, int y) const { return (y + kReach) * stride + x + kReach; }
  int column(int index) const { return index % stride - kReach; }
  int row(int index) const { return index / stride - kReach; }
  bool known(int index) const { return !(flags[static_cast<size_t>(index)] & kUnknown); }
  uint8_t* pixel(int index) { return &guide[static_cast<size_t>(index) * 4]; }
  const uint8_t* pixel(int index) const { return &guide[static_cast<size_t>(index) * 4]; }
};

// Marks kSource and counts source_count.
void mark_sources(Level& level);

// Unmarks this part of the sources, by cells of a tenth of the picture, unless that leaves few.
void thin_sources(Level& level, double part, uint32_t seed);

// Lists the sites and measures their depth.
void find_sites(Level& level);

// The deepest site, in px.
double deepest(const Sites& sites);

// How much of the target's outline lies on the picture's border, 0 to 1.
double openness(const Level& level);

// Sets target weights: they fall by `falloff` per px of depth.
void weigh_by_depth(Level& level, double falloff);

}  // namespace reknit
