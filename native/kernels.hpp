// The inner loops, compiled once for each instruction set and chosen at run time.
//
// All variants return the same numbers: patch costs are integers, votes are floats added in one order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace reknit {

// A level as the kernels see it; see Level.
struct LevelView {
  uint8_t* guide;
  const uint8_t* flags;
  const uint8_t* weight;
  const uint8_t* unlike;  // or null; see foreign.hpp
  const uint8_t* away;
  int foreign_price;
  const uint8_t* wear;  // or null
  int wear_price;       // of one copy too many
  const int32_t* at;
  const int32_t* up;
  const int32_t* down;
  const int32_t* row_begin;
  int sites;
  int width, height, stride;
  int proximity_x, proximity_y;  // price of one px of distance, in 1/256
  float reach_x, reach_y;        // px that one unit of cost pays for
  int bank_row;                  // sources from this row on are transformed copies: no distance
  int bank_price;
  float ring_inverse;          // 256 / ring_share
  int core_share, ring_share;  // of the inner 5 × 5 and of the rest of a wide patch, in 1/256; ring 0: narrow
};

// One pass of PatchMatch (Barnes et al. 2009, doi 10.1145/1531326.1531330) over rows [first_row, last_row),
// which see the neighbours outside them as they were before. A site pays `disagreement` for each neighbour
// with another offset.
struct Sweep {
  int32_t* offset;
  const int32_t* offset_before;
  int32_t* cost;
  int first_row, last_row;
  bool backward;
  bool rescore;  // the guide changed since the costs were taken, where `stirred` says so
  int radius;    // of the first random probe, halved down to 1; 0 for none
  int disagreement;
  int disagreement_busy;  // added to it where the texture channel is full
  const int32_t* shifts;  // offsets worth trying anywhere
  int shift_count;
  uint32_t seed, pass;  // pass counts from 1
  const uint8_t* stirred;
  uint16_t* visited;
  uint16_t* moved;
  const uint16_t* moved_before;
};

// Sets each target pixel of sites [first, last) to the weighted mean of what its patches show. Returns the
// sum of absolute changes over R, G, B, and counts the pixels.
struct Vote {
  const int32_t* offset;
  const float* share;  // per site
  uint8_t* changed;    // per site, out: whether its pixel did
  int tolerance;       // a change of no more in any channel does not count
  int first, last;
};

// A pixel by its index into a level, its column and its row.
struct Spot {
  int32_t at, x, y;
};

struct Kernels {
  void (*sweep)(const LevelView&, const Sweep&);
  int64_t (*vote)(const LevelView&, const Vote&, int64_t& pixels);
  // The cheapest of `count` sources for the patch centred at `at`: its index into the level, or -1.
  int (*closest)(const LevelView&, int at, const Spot* sources, int count);
  // The cost of showing at `at` the patch centred at `source`, proximity included.
  int (*cost)(const LevelView&, int at, int source);
};

// Names of the variants that this machine can run, slowest first.
std::vector<std::string> runnable_kernels();

// The fastest variant, or the named one. Throws std::invalid_argument for a name that cannot run here.
const Kernels& kernels(const std::string& name = "");

}  // namespace reknit
