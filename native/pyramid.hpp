// The pyramid of known pixels: level 0 is the picture itself as an 8-bit guide, each next one is smaller.
//
// The fourth guide channel says how busy the surroundings are (mean absolute gradient in a window that
// matches the coarsest level), so that a blurred guess is not mistaken for a flat area: Newson et al., SIAM
// J. Imaging Sci. 2014, doi 10.1137/140954933.
#pragma once

#include <cstdint>
#include <vector>

#include "level.hpp"
#include "settings.hpp"
#include "threads.hpp"

namespace reknit {

// What is to be filled: borrowed arrays in raster order, without padding.
struct Picture {
  const void* samples = nullptr;  // uint8 or uint16, channels interleaved
  int width = 0, height = 0;
  int channels = 3;   // 3, or 4 with alpha
  bool deep = false;  // uint16
  const bool* hole = nullptr;
  const bool* target = nullptr;  // part of hole
  const bool* source = nullptr;  // where pixels may be copied from
};

// Level 0 first. Every level has its flags, known weights, sources and sites.
std::vector<Level> build_pyramid(const Picture& picture, const Settings& settings, ThreadPool& pool);

}  // namespace reknit
