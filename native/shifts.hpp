// The shifts by which a picture repeats itself: windows of a facade, bricks, tiles, a fence. They are the
// offsets that most known patches have to their like elsewhere (He, Sun: Statistics of Patch Offsets for
// Image Completion, ECCV 2012, doi 10.1007/978-3-642-33709-3_2), and good guesses for unknown ones.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.hpp"
#include "level.hpp"
#include "settings.hpp"

namespace reknit {

// For every level, at most settings.shifts packed offsets, the same ones at each level's scale and in one
// order, the commonest first. Empty where the picture does not repeat itself.
std::vector<std::vector<int32_t>> find_shifts(std::vector<Level>& levels, const Settings& settings,
                                              const Kernels& kernels);

}  // namespace reknit
