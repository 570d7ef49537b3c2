// How unlike what lies along the hole a source is. A piece that is like nothing there, a head for the wall
// behind it, may fit in without a seam and yet be wrong; on the coarse levels, which decide what goes where,
// it pays for that.
#pragma once

#include <cstdint>
#include <vector>

#include "level.hpp"

namespace reknit {

constexpr int kRimSamples = 16;

// A few known pixels along the hole, chosen to differ from each other in colour and place.
class Rim {
 public:
  explicit Rim(const Level& coarsest);

  // Sets level.unlike, for every pixel the squared difference in R, G, B and texture from each sample, and
  // level.away, for every site how much further each sample is than the nearest, both in 1/16 and at most
  // 255. A source costs a site the least of their sums.
  void measure(Level& level) const;

 private:
  struct Sample {
    double x, y;  // at full size
    int colour[4];
  };
  std::vector<Sample> samples_;
  double px_;  // full-size pixels per pixel of the coarsest level
};

}  // namespace reknit
