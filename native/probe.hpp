// One level, one search, one vote, laid open: what the slow oracles of the tests are compared with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "settings.hpp"

namespace reknit {

// Per pixel in raster order; meaningless where `site` is 0.
struct Probe {
  std::vector<uint8_t> site;
  std::vector<uint8_t> weight;
  std::vector<int32_t> offset;  // dx, dy
  std::vector<int32_t> cost;
  std::vector<float> share;
  std::vector<uint8_t> voted;  // the guide after the vote, 4 bytes a pixel
};

// Searches for the patches of `target` in a guide (4 bytes a pixel) whose target pixels hold a guess, with
// settings.sweeps sweeps, then votes.
Probe probe(const uint8_t* guide, const bool* target, int width, int height, const Settings& settings,
            const std::string& isa);

}  // namespace reknit
