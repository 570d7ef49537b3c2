// How much each patch has to say about the pixels it covers.
#pragma once

#include <vector>

#include "field.hpp"
#include "kernels.hpp"
#include "level.hpp"
#include "settings.hpp"
#include "threads.hpp"

namespace reknit {

// A patch's share falls by `decay` per px of depth and, unless `flat`, with exp(−cost / (2 · sigma · local
// mean cost)), the mean being taken over 5 × 5 sites.
std::vector<float> vote_shares(const Level& level, const Field& field, double decay, double sigma, bool flat,
                               ThreadPool& pool);

// Sets every target pixel of the guide to the weighted mean of what its patches show. Returns the mean
// absolute change in levels of 255, and, unless `flat`, notes in the field which patches it stirred.
double vote(Level& level, const LevelView& view, Field& field, bool flat, const Settings& settings,
            const Kernels& kernels, ThreadPool& pool);

}  // namespace reknit
