// The first guess at the coarsest level: the target is peeled ring by ring from the rim, each pixel taking
// the centre of the best of some sampled patches, compared with what is known or already guessed.
#pragma once

#include "kernels.hpp"
#include "level.hpp"
#include "threads.hpp"

namespace reknit {

// Fills the guide of all target pixels. Leaves the weights as weigh_by_depth()
// will overwrite them.
void peel(Level& level, const LevelView& view, const Kernels& kernels, int samples,
          const std::vector<int32_t>& shifts, double bias, uint32_t seed, ThreadPool& pool);

}  // namespace reknit
